/**
 * A set of routes as a hosted participant: how both services host it, and what it says of itself.
 * It must not know which service it is.
 */
import { type HostedParticipant, type HostOptions, hostParticipant } from '@kedge/bus';
import type { RouteWorld } from '@kedge/routes';

import type { RouteSet } from './route-set.js';

/** What a service brings to the hosting of its routes; the rest is the set's own. */
export type RouteHostOptions = Pick<
  HostOptions<RouteWorld>,
  'board' | 'slot' | 'clock' | 'log' | 'acknowledgeable'
> & {
  readonly config: { readonly reconcileMs: number; readonly budgetMs: number };
};

/** Hosts a set of routes on a path: it is at work when this returns. */
export function hostRoutes(
  routes: RouteSet,
  path: 'overlay' | 'underlay',
  { config, ...given }: RouteHostOptions,
): HostedParticipant {
  return hostParticipant({
    ...given,
    participant: routes.participant(path),
    reconcileEveryMs: config.reconcileMs,
    budgetMs: config.budgetMs,
    limit: () => routes.limit(),
    follow: () => {
      routes.follow();
    },
    onStatus: ({ loop }) => {
      if (loop.state === 'running') routes.runs();
      else routes.settled();
    },
    beforeEscalation: (world, move) => {
      routes.beforeEscalation(world, move);
    },
  });
}

/** The part of a status reply that both services have. */
export interface RouteStatus {
  readonly state: string;
  readonly why: string;
  readonly desired: number;
  readonly allowed: number;
  readonly epochTaken: bigint;
  readonly lastOutcome: string;
  readonly lastChanges: number;
  readonly lastStartedAtNs: bigint;
  readonly lastFinishedAtNs: bigint;
  readonly alarms: readonly string[];
}

/** How a participant and its routes stand. */
export function statusOf(status: ReturnType<HostedParticipant['status']>, routes: RouteSet): RouteStatus {
  const { loop, last, wanted, serving } = status;
  const why = loop.state === 'inert' ? loop.why : loop.state === 'running' ? loop.because : '';
  return {
    state: loop.state,
    why,
    desired: routes.desired.length,
    allowed: routes.allowedCount(wanted.level),
    epochTaken: routes.epochTaken,
    lastOutcome: last?.outcome ?? '',
    lastChanges: last?.changes ?? 0,
    lastStartedAtNs: last?.startedAt ?? 0n,
    lastFinishedAtNs: last?.finishedAt ?? 0n,
    alarms: [
      ...routes.alarms,
      ...(serving ? [] : ['not at the current posture yet']),
      ...(wanted.limits.length === 0
        ? []
        : [`held at level ${wanted.level}, decided is ${wanted.decided}: ${wanted.limits.join(', ')}`]),
      ...(last?.outcome === 'failed'
        ? [`the last round failed: ${last.failure.code}: ${last.failure.message}`]
        : []),
    ],
  };
}

/** True when a round ended well within the time, false when it failed, takes longer, or nobody waits any more. */
export async function settledWithin(
  round: ReturnType<HostedParticipant['reconcileNow']>,
  ms: number,
  signal: AbortSignal,
): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  let gone: (() => void) | undefined;
  try {
    return await Promise.race([
      round.then(
        ({ outcome }) => outcome === 'applied' || outcome === 'unchanged',
        () => false,
      ),
      new Promise<boolean>((resolve) => {
        gone = () => {
          resolve(false);
        };
        timer = setTimeout(gone, ms);
        signal.addEventListener('abort', gone);
      }),
    ]);
  } finally {
    clearTimeout(timer);
    if (gone !== undefined) signal.removeEventListener('abort', gone);
  }
}

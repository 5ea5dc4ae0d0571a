/**
 * The one reconciliation loop as a total table: which run starts, which waits, and when one is tried again.
 * It must not run anything, read a clock or hold a timer; {@link step} says what is to be done.
 */
import { nanosOf, type Nanos } from '@kedge/units';

/** Why a run is wanted, from the most to the least urgent. */
export const LOOP_REASONS = [
  'posture',
  'fail-closed',
  'board',
  'start',
  'request',
  'retry',
  'interval',
] as const;
/** See {@link LOOP_REASONS}. */
export type LoopReason = (typeof LOOP_REASONS)[number];

/** What the loop does now. */
export type LoopStatus =
  /** It may not run. What is wanted meanwhile is remembered. */
  | { readonly state: 'inert'; readonly why: string; readonly since: Nanos }
  | { readonly state: 'running'; readonly since: Nanos; readonly because: LoopReason }
  /** Nothing to do before `next`; undefined = until it is asked. */
  | { readonly state: 'idle'; readonly next: Nanos | undefined; readonly nextBecause: 'interval' | 'retry' };

/** How a run ended. Failures are values. */
export type RunOutcome =
  | { readonly outcome: 'applied' | 'unchanged'; readonly changes: number }
  | { readonly outcome: 'cancelled'; readonly changes: number }
  | {
      readonly outcome: 'failed';
      readonly changes: number;
      readonly failure: { readonly code: string; readonly message: string };
    };

/** The last run that ended. */
export type LastRun = RunOutcome & {
  readonly because: LoopReason;
  readonly startedAt: Nanos;
  readonly finishedAt: Nanos;
};

/** The loop. */
export interface LoopState {
  readonly status: LoopStatus;
  readonly last: LastRun | undefined;
  /** Number of the running or last run, from 1. */
  readonly run: number;
  /** Runs that failed one after the other since the last good one. */
  readonly failures: number;
  /** What is wanted next: one place, the most urgent reason has it. */
  readonly pending: LoopReason | undefined;
  /** When a run is due by itself, also while inert. */
  readonly due: { readonly at: Nanos; readonly because: 'interval' | 'retry' } | undefined;
  /** The running one was told to stop. */
  readonly aborted: boolean;
  /** Why nothing may start after the running one; undefined = it may. */
  readonly blocked: string | undefined;
  /** Requests that shared a run with another one. */
  readonly coalesced: bigint;
  readonly settings: LoopSettings;
}

/** How often a loop runs. */
export interface LoopSettings {
  /** From the end of a good run to the next one by itself; 0 = never. */
  readonly everyNs: Nanos;
  /** From the first failure to the next try; doubled with each further one. */
  readonly backoffFirstNs: Nanos;
  /** Longest time between two tries. */
  readonly backoffMostNs: Nanos;
}

/** What happens to a loop. */
export type LoopEvent =
  /** Somebody wants a run. It starts now, or after the running one. */
  | { readonly kind: 'want'; readonly because: LoopReason; readonly at: Nanos }
  /** What runs is void: stop it, and run again (PO-10). */
  | { readonly kind: 'preempt'; readonly because: LoopReason; readonly at: Nanos }
  | { readonly kind: 'ended'; readonly run: number; readonly result: RunOutcome; readonly at: Nanos }
  | { readonly kind: 'tick'; readonly at: Nanos }
  /** Nothing may start any more; what runs ends by itself, or is told to by `preempt`. */
  | { readonly kind: 'block'; readonly why: string; readonly at: Nanos }
  | { readonly kind: 'unblock'; readonly at: Nanos };

/** What is to be done. */
export type LoopEffect =
  | { readonly do: 'start'; readonly run: number; readonly because: LoopReason }
  | { readonly do: 'abort'; readonly run: number };

/** The loop after an event. */
export type LoopStep =
  | { readonly kind: 'moved'; readonly state: LoopState; readonly effects: readonly LoopEffect[] }
  | { readonly kind: 'refused'; readonly why: string };

/** A loop that has not run yet. */
export function loopOf(settings: LoopSettings, at: Nanos, why = 'not started'): LoopState {
  return {
    status: { state: 'inert', why, since: at },
    last: undefined,
    run: 0,
    failures: 0,
    pending: undefined,
    due: undefined,
    aborted: false,
    blocked: why,
    coalesced: 0n,
    settings,
  };
}

/** How long to wait after so many failures: doubled each time, never longer than the most. */
export function backoffNs({ backoffFirstNs, backoffMostNs }: LoopSettings, failures: number): Nanos {
  if (failures <= 0) return nanosOf(0n);
  // 2^63 nanoseconds are longer than any limit.
  const wanted = backoffFirstNs << BigInt(Math.min(failures - 1, 63));
  return nanosOf(wanted > backoffMostNs ? backoffMostNs : wanted);
}

type Table = {
  readonly [S in LoopStatus['state']]: {
    readonly [K in LoopEvent['kind']]: (
      state: LoopState & { readonly status: Extract<LoopStatus, { state: S }> },
      event: Extract<LoopEvent, { kind: K }>,
    ) => LoopStep;
  };
};

/** What happens to `state` on `event`. Total and pure. */
export function step(state: LoopState, event: LoopEvent): LoopStep {
  // One cast: the table's type proves that the handler fits both.
  const handlers = TABLE[state.status.state] as unknown as Readonly<
    Record<LoopEvent['kind'], (state: LoopState, event: LoopEvent) => LoopStep>
  >;
  return handlers[event.kind](state, event);
}

const moved = (state: LoopState, effects: readonly LoopEffect[] = []): LoopStep => ({
  kind: 'moved',
  state,
  effects,
});
const refused = (why: string): LoopStep => ({ kind: 'refused', why });

function more(state: LoopState, because: LoopReason): LoopState {
  const { pending } = state;
  const urgent =
    pending === undefined || LOOP_REASONS.indexOf(because) < LOOP_REASONS.indexOf(pending)
      ? because
      : pending;
  return { ...state, pending: urgent, coalesced: state.coalesced + (pending === undefined ? 0n : 1n) };
}

function started(state: LoopState, because: LoopReason, at: Nanos): LoopStep {
  const run = state.run + 1;
  return moved(
    {
      ...state,
      status: { state: 'running', since: at, because },
      run,
      pending: undefined,
      due: undefined,
      aborted: false,
    },
    [{ do: 'start', run, because }],
  );
}

/** Rests, or starts what is wanted or due. */
function rested(state: LoopState, at: Nanos): LoopStep {
  if (state.blocked !== undefined)
    return moved({ ...state, status: { state: 'inert', why: state.blocked, since: at } });
  if (state.pending !== undefined) return started(state, state.pending, at);
  const { due } = state;
  if (due !== undefined && due.at <= at) return started(state, due.because, at);
  return moved({
    ...state,
    status: { state: 'idle', next: due?.at, nextBecause: due?.because ?? 'interval' },
  });
}

function ended(
  state: LoopState & { readonly status: Extract<LoopStatus, { state: 'running' }> },
  event: Extract<LoopEvent, { kind: 'ended' }>,
): LoopState {
  const { result, at } = event;
  const failures =
    result.outcome === 'failed' ? state.failures + 1 : result.outcome === 'cancelled' ? state.failures : 0;
  const { everyNs } = state.settings;
  const due: LoopState['due'] =
    result.outcome === 'failed'
      ? { at: nanosOf(at + backoffNs(state.settings, failures)), because: 'retry' }
      : result.outcome === 'cancelled'
        ? // Whoever cancels says what comes next; if nobody does, nothing was done, and that is tried again.
          { at: nanosOf(at + state.settings.backoffFirstNs), because: 'retry' }
        : everyNs > 0n
          ? { at: nanosOf(at + everyNs), because: 'interval' }
          : undefined;
  return {
    ...state,
    last: { ...result, because: state.status.because, startedAt: state.status.since, finishedAt: at },
    failures,
    due,
    aborted: false,
  };
}

const TABLE: Table = {
  inert: {
    want: (state, { because }) => moved(more(state, because)),
    preempt: (state, { because }) => moved(more(state, because)),
    ended: (_state, { run }) => refused(`run ${run} does not run`),
    tick: (state) => moved(state),
    block: (state, { why }) => moved({ ...state, status: { ...state.status, why }, blocked: why }),
    unblock: (state, { at }) => rested({ ...state, blocked: undefined }, at),
  },
  running: {
    want: (state, { because }) => moved(more(state, because)),
    preempt: (state, { because }) =>
      moved(
        { ...more(state, because), aborted: true },
        state.aborted ? [] : [{ do: 'abort', run: state.run }],
      ),
    ended: (state, event) =>
      event.run === state.run
        ? rested(ended(state, event), event.at)
        : refused(`run ${event.run} does not run`),
    tick: (state) => moved(state),
    block: (state, { why }) => moved({ ...state, blocked: why }),
    unblock: (state) => moved({ ...state, blocked: undefined }),
  },
  idle: {
    want: (state, { because, at }) => started(more(state, because), because, at),
    preempt: (state, { because, at }) => started(more(state, because), because, at),
    ended: (_state, { run }) => refused(`run ${run} does not run`),
    tick: (state, { at }) => rested(state, at),
    block: (state, { why, at }) => rested({ ...state, blocked: why }, at),
    unblock: (state) => moved(state),
  },
};

/**
 * What a set of routes says to the ledger: every pass that wrote to the kernel, every change that somebody asked for,
 * and the state from before a lockdown.
 * It must not hold up what it tells of: records of a pass are made once the pass has come to its end.
 */
import type { Action, Applied, LedgerRecord, Mutation, NetworkMutation, Plan } from '@kedge/contracts';
import {
  type ForensicItem,
  forensicRecords,
  type MutationFacts,
  mutationRecords,
  type RecordedStep,
} from '@kedge/ledger';
import type { RouteWorld } from '@kedge/routes';
import { type Clock, type Epoch, type Level, LOCKDOWN } from '@kedge/units';

import { baseOf } from './route-steps.js';

/** A section of a forensic snapshot, as a service has it. */
export interface TakenSection {
  readonly section: 'mesh' | 'tunnels' | 'devices';
  readonly items: readonly ForensicItem[];
}

/** See the fields. */
export interface RouteRecordsOptions {
  readonly appliance: string;
  readonly mode: 'overlay' | 'underlay';
  /** Which boot this is: moments of the monotonic clock come again after the next one. */
  readonly bootId: string;
  readonly clock: Clock;
  /** Takes records one after the other, and nobody waits for them; those that have time can be held. An `Outbox` does. */
  readonly outbox: {
    spread(records: Iterable<LedgerRecord | undefined>): void;
    spreadInTime(records: Iterable<LedgerRecord | undefined>): void;
    hold(): () => void;
  };
  /** What the service has for a forensic snapshot beside its routes. Called before anything is taken away. */
  readonly sections?: () => readonly TakenSection[];
}

/** A plan that was carried out, as far as it was. */
export interface RoutePass {
  readonly plan: Plan;
  readonly applied: Applied;
  readonly level: Level;
  readonly startedAtNs: bigint;
}

/** What became of a change that somebody asked for. */
export interface ChangeFacts {
  readonly mutation: Mutation;
  readonly epoch: Epoch;
  readonly level: Level;
  readonly steps: readonly RecordedStep[];
  readonly result: NetworkMutation['result'];
  readonly failure?: { readonly code: string; readonly message: string } | undefined;
  readonly startedAtNs: bigint;
}

/** A request that was refused before it came to be a mutation. */
export interface RefusedRequest extends Pick<Mutation, 'tier' | 'channel'> {
  readonly action: Action;
  /** What it was sent to: `routes/NAME`. */
  readonly target: string;
  readonly epoch: Epoch;
  readonly level: Level;
  readonly error: { readonly code: string; readonly message: string };
}

type EndedPass = RoutePass & { readonly finishedAtNs: bigint };

/** Passes that may wait for the end of a run. */
const PASSES_MAX = 8;
const NS_PER_MS = 1_000_000n;

/** See the head of the file. */
export class RouteRecords {
  readonly #options: RouteRecordsOptions;
  #passes: EndedPass[] = [];
  /** The last pass, where it failed: the same one again says nothing new. */
  #failed = '';
  #release: (() => void) | undefined;
  #refusals = 0;

  constructor(options: RouteRecordsOptions) {
    this.#options = options;
  }

  now(): bigint {
    return this.#options.clock.monotonicNs();
  }

  /** A plan was carried out. Its records are made with {@link settled}. */
  passEnded(pass: RoutePass): void {
    const { outcome, failure } = pass.applied;
    const failed = outcome === 'failed' ? `${pass.plan.id} ${failure?.message ?? ''}` : '';
    if (failed !== '' && failed === this.#failed) return;
    this.#failed = failed;
    this.#passes.push({ ...pass, finishedAtNs: this.now() });
    if (this.#passes.length >= PASSES_MAX) this.#write();
  }

  /** Something runs: what ended before has time until it has ended, too. */
  runs(): void {
    this.#release ??= this.#options.outbox.hold();
  }

  /** Nothing runs any more: what ended is written down. */
  settled(): void {
    this.#release?.();
    this.#release = undefined;
    this.#write();
  }

  #write(): void {
    const passes = this.#passes;
    this.#passes = [];
    for (const pass of passes) this.#options.outbox.spreadInTime(this.#recordsOf(pass));
  }

  /** The world before a tightening: on the way to a lockdown it is kept, as it was (LE-8). */
  beforeEscalation(world: RouteWorld, { to, epoch }: { readonly to: Level; readonly epoch: Epoch }): void {
    const { appliance, mode, outbox, sections, clock } = this.#options;
    if (to !== LOCKDOWN) return;
    const takenAtNs = this.now();
    const taken = [{ section: 'routes' as const, items: itemsOf(world) }, ...(sections?.() ?? [])];
    const snapshot = `forensic-snapshot/${appliance}/${String(epoch)}`;
    const at = new Date(clock.wallMs()).toISOString();
    // After what was begun in this turn: while the kernel is at work.
    setImmediate(() => {
      for (const { section, items } of taken) {
        outbox.spread(
          forensicRecords(
            `forensic-part/${appliance}/${String(epoch)}/${section}/${mode}`,
            {
              appliance,
              at,
              epoch: String(epoch),
              snapshot,
              section,
              source: mode,
              takenAtNs: String(takenAtNs),
              reason: '',
            },
            items,
          ),
        );
      }
    });
  }

  /** The records of a change that somebody asked for, to be kept before it is said to be done (UN-13). */
  changeRecords(facts: ChangeFacts): Iterable<LedgerRecord | undefined> {
    const { mutation, epoch, level, steps, result, failure, startedAtNs } = facts;
    const { id, planId, target, principal, tier, channel, kind } = mutation;
    return this.#mutation(
      { startedAtNs, finishedAtNs: this.now() },
      {
        epoch: String(epoch),
        mutation: id,
        principal,
        tier,
        channel,
        kind,
        level,
        target,
        planId,
        base: baseOf(steps),
        result,
        failure: failureOf(failure),
      },
      steps,
    );
  }

  /** Somebody was refused (PO-5). The principal is not told: nothing of the request is believed. */
  refused({ action, target, tier, channel, epoch, level, error }: RefusedRequest): void {
    const { appliance, mode, bootId, clock, outbox } = this.#options;
    const askedAtNs = this.now();
    this.#refusals += 1;
    const place = `${appliance}/${bootId.slice(0, 8)}/${mode}`;
    outbox.spread([
      {
        schema: 'kedge.authorisation-decision/1',
        id: `authorisation-decision/${place}/${String(askedAtNs)}-${String(this.#refusals)}`,
        appliance,
        at: new Date(clock.wallMs()).toISOString(),
        epoch: String(epoch),
        allow: false,
        rule: error.code.slice(0, 64),
        reason: [...error.message.replaceAll(/[\p{Cc}\p{Cs}]/gu, ' ')].slice(0, 250).join(''),
        principal: '',
        tier,
        channel,
        action,
        resource: target,
        level,
        askedAtNs: String(askedAtNs),
      },
    ]);
  }

  #recordsOf({ plan, applied, level, startedAtNs, finishedAtNs }: EndedPass) {
    const { mode } = this.#options;
    const name = `pass-${String(startedAtNs)}`;
    return this.#mutation(
      { startedAtNs, finishedAtNs },
      {
        epoch: String(plan.epoch),
        mutation: name,
        principal: `service:${mode}`,
        tier: 'site_owner',
        channel: 'local',
        kind: 'ordinary',
        level,
        target: plan.target,
        planId: plan.id,
        base: plan.base,
        result: applied.outcome,
        failure: failureOf(applied.failure),
      },
      planSteps(plan, new Set(applied.done)),
    );
  }

  #mutation(
    { startedAtNs, finishedAtNs }: Pick<EndedPass, 'startedAtNs' | 'finishedAtNs'>,
    facts: Omit<MutationFacts, 'appliance' | 'at' | 'startedAtNs' | 'finishedAtNs'>,
    steps: Iterable<RecordedStep>,
  ): Iterable<LedgerRecord | undefined> {
    const { appliance, bootId, clock } = this.#options;
    const agoMs = Number((this.now() - finishedAtNs) / NS_PER_MS);
    return mutationRecords(
      // The same mutation may be asked for again, and be another fact then.
      `network-mutation/${appliance}/${bootId.slice(0, 8)}/${facts.mutation}/${String(startedAtNs)}`,
      {
        ...facts,
        appliance,
        at: new Date(Math.max(0, clock.wallMs() - agoMs)).toISOString(),
        startedAtNs: String(startedAtNs),
        finishedAtNs: String(finishedAtNs),
      },
      steps,
    );
  }
}

/** The steps of a plan with what became of them, made as they are asked for. */
function* planSteps({ steps }: Plan, done: ReadonlySet<string>): Generator<RecordedStep> {
  for (const { id, kind, path, before, after } of steps)
    yield { step: id.slice(0, 128), kind, path: path.slice(0, 512), before, after, done: done.has(id) };
}

/** A world as items, by what makes each the same one. */
function* itemsOf({ entries }: RouteWorld): Generator<ForensicItem> {
  for (const { kind, key, text } of entries) yield { name: key.slice(0, 128), state: kind, facts: text };
}

function failureOf(failure: { readonly code: string; readonly message: string } | undefined) {
  if (failure === undefined) return null;
  const message = [...failure.message.replaceAll(/[\p{Cc}\p{Cs}]/gu, ' ')].slice(0, 250).join('');
  return { code: failure.code, message };
}

/**
 * What is recorded of plans on devices (UN-13): who, under what, every step with before and after, the result, and what a
 * rollback could not bring back.
 * It must not decide when a record is kept.
 */
import { type LedgerRecord, lineOf, type Mutation, type NetworkMutation, type Plan } from '@kedge/contracts';
import type { CarriedOut } from '@kedge/driver-host';
import { mutationRecords, type RecordedStep } from '@kedge/ledger';
import type { Clock, Level } from '@kedge/units';

/** Whose records these are. */
export interface PlanRecordsOptions {
  readonly appliance: string;
  /** Which boot this is: moments of the monotonic clock come again after the next one. */
  readonly bootId: string;
  readonly clock: Clock;
}

/** A mutation of a device. */
export interface PlanFacts {
  readonly mutation: Mutation;
  readonly plan: Plan;
  /** Of the permit, or under which it was refused. */
  readonly epoch: bigint;
  /** The level in force when it ended. */
  readonly level: Level;
  readonly startedAtNs: bigint;
  /** What it came to, or why it was not let in. */
  readonly became: CarriedOut | { readonly code: string; readonly message: string };
}

/** Kind of a recorded step that nobody planned: what a rollback left, with how it was before and how it is now. */
const REMAINS = 'remains';

/** The steps of a plan as they are recorded. */
export function* recordedSteps({ steps }: Plan, done: ReadonlySet<string>): Generator<RecordedStep> {
  for (const { id, kind, path, before, after } of steps)
    yield { step: id.slice(0, 128), kind, path: path.slice(0, 512), before, after, done: done.has(id) };
}

/** Makes records of mutations. */
export class PlanRecords {
  readonly #options: PlanRecordsOptions;

  constructor(options: PlanRecordsOptions) {
    this.#options = options;
  }

  recordsOf(facts: PlanFacts): Iterable<LedgerRecord | undefined> {
    const { appliance, bootId, clock } = this.#options;
    const { mutation, plan, epoch, level, startedAtNs, became } = facts;
    const { id, principal, tier, channel, kind, target } = mutation;
    return mutationRecords(
      // The same mutation may be asked for again, and be another fact then.
      `network-mutation/${appliance}/${bootId.slice(0, 8)}/${id}/${String(startedAtNs)}`,
      {
        ...{ appliance, epoch: String(epoch), mutation: id, principal, tier, channel, kind, level, target },
        at: new Date(clock.wallMs()).toISOString(),
        planId: plan.id.slice(0, 64),
        base: plan.base,
        ...endOf(became),
        startedAtNs: String(startedAtNs),
        finishedAtNs: String(clock.monotonicNs()),
      },
      allSteps(plan, became),
    );
  }
}

function* allSteps(plan: Plan, became: PlanFacts['became']): Generator<RecordedStep> {
  if ('code' in became) {
    yield* recordedSteps(plan, new Set());
    return;
  }
  yield* recordedSteps(plan, new Set(became.applied.done));
  for (const [index, { path, intended, actual }] of became.remaining.entries())
    yield {
      step: `${REMAINS}/${String(index + 1)}`,
      kind: REMAINS,
      path: path.slice(0, 512),
      before: intended,
      after: actual,
      done: true,
    };
}

function endOf(became: PlanFacts['became']): Pick<NetworkMutation, 'result' | 'failure'> {
  if ('code' in became) return { result: 'refused', failure: failureOf(became) };
  const { applied, rolledBack, remaining } = became;
  if (rolledBack !== false)
    return {
      result: applied.outcome,
      failure: applied.failure === undefined ? null : failureOf(applied.failure),
    };
  const why =
    applied.failure === undefined
      ? 'the posture changed'
      : `${applied.failure.code}: ${applied.failure.message}`;
  return {
    result: 'failed',
    failure: failureOf({
      code: 'UNDERLAY_NOT_ROLLED_BACK',
      message: `${String(remaining.length)} differences remain after ${why}`,
    }),
  };
}

function failureOf({ code, message }: { readonly code: string; readonly message: string }) {
  return { code, message: lineOf(message, 250) };
}

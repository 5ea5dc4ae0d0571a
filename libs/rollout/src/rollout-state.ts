/**
 * What is known of one device, what is heard of it and what is to be done: state, events, answers and effects as data.
 * It must not decide anything; the table in rollout-machine.ts does.
 */
import type { CompileRefusal, Difference, Dormant } from '@kedge/compiler';
import type { Plan } from '@kedge/contracts';
import type { Holder, IntentRefusal, Moment } from '@kedge/datastores';
import type { Drift } from '@kedge/drift';
import type { InventoryDevice, Reading } from '@kedge/driver-kit';
import type { Sha256 } from '@kedge/reconcile';
import type { Nanos } from '@kedge/units';

import type { DeviceMemory } from './device-memory.js';
import type { DevicePosture } from './device-posture.js';
import type { Intended } from './intended.js';
import type { Judgement, Question } from './judgement.js';

/** What a pass over a device does now. `idle`: it waits for the next one. */
export const PHASES = ['idle', 'reading', 'judging', 'carrying'] as const;
/** See {@link PHASES}. */
export type Phase = (typeof PHASES)[number];

/** What every step is made with. */
export interface Surroundings {
  readonly sha256: Sha256;
}

/** What somebody asks about a device; answered once. */
export type Asked =
  | { readonly what: 'check'; readonly id: string }
  | {
      readonly what: 'remedy';
      readonly id: string;
      readonly by: Holder;
      /** The place; what is below it too. Undefined: all. */
      readonly path: string | undefined;
    };
type AskedOf<What extends Asked['what']> = Extract<Asked, { what: What }>;

/** From a reading to what follows from it. */
export interface Pass {
  readonly checks: readonly AskedOf<'check'>[];
  readonly remedy: AskedOf<'remedy'> | undefined;
  /** Whether a plan may come of it; false once it only measures what one has left. */
  readonly mayBring: boolean;
  readonly mayRemedy: boolean;
  /** Differences that the asked remedy has remedied; undefined: it did not come to it. */
  readonly remedied: number | undefined;
  /** How its plan failed. */
  readonly failure: Failure | undefined;
}

/** A code of docs/errors.md and a sentence. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

export type Work =
  | { readonly phase: 'idle' }
  | { readonly phase: 'reading'; readonly pass: Pass }
  | {
      readonly phase: 'judging';
      readonly pass: Pass;
      readonly reading: Reading;
      /** What was asked with: where either is another one by then, the answer is of yesterday. */
      readonly intended: Intended;
      readonly posture: DevicePosture;
    }
  | {
      readonly phase: 'carrying';
      readonly pass: Pass;
      /** What the plan was made for. */
      readonly intended: Intended;
      readonly posture: DevicePosture;
    };

/** What failed last, and how often. */
export interface Trouble extends Failure {
  /** Failures one after the other, and those of them that were alike. */
  readonly inARow: number;
  readonly alike: number;
  /** When it is tried again before the next pass by interval; undefined = not before. */
  readonly againNs: Nanos | undefined;
}

/** What is alarming about a device until it is no more. */
export type AlarmKind = 'memory' | 'remedies' | 'rollback';

/** One device. */
export interface RolloutState {
  readonly device: string;
  readonly memory: DeviceMemory;
  /** Undefined: the inventory does not have it. */
  readonly intended: Intended | undefined;
  readonly posture: DevicePosture;
  readonly work: Work;
  /** Number of the last effect that is answered by an event. */
  readonly number: number;
  /** A pass is wanted as soon as there can be one. */
  readonly isWanted: boolean;
  /** Waiting for the next pass. */
  readonly asked: readonly Asked[];
  /** As measured last. */
  readonly drifts: readonly Drift[];
  /** Differences that are being told. */
  readonly telling: readonly Drift[] | undefined;
  readonly trouble: Trouble | undefined;
  /** The plan that runs, or was not let through last, and the id that it was given. */
  readonly refused: { readonly what: string; readonly id: string } | undefined;
  /** It was read at the last try. */
  readonly isReached: boolean;
  readonly refusals: readonly CompileRefusal[];
  readonly dormant: readonly Dormant[];
  /** Proof of the last reading in which nothing differed: intent and base. */
  readonly known: string | undefined;
  /** Automatic remedies of the last hour, each by the monotonic clock. */
  readonly remedies: readonly { readonly path: string; readonly atNs: Nanos }[];
  readonly readAtMs: number | undefined;
  /** When the last pass ended. */
  readonly passedNs: Nanos | undefined;
  /** Time as it is counted: the wall clock where it goes on, the monotonic one where it was set back. */
  readonly clock: Moment;
  readonly alarms: Readonly<Partial<Record<AlarmKind, string>>>;
  /** When a timer was asked for. */
  readonly wakeNs: Nanos | undefined;
}

/* ----------------------------------------------------------------- events */

export interface RolloutEvents {
  /** This is intended for it; undefined: the inventory has it no more. */
  intended: { readonly intended: Intended | undefined };
  posture: { readonly posture: DevicePosture };
  /** Time passes. */
  tick: Record<never, never>;
  asked: { readonly asked: Asked };
  /** Answers to the effect of the same number. */
  read: { readonly number: number; readonly reading: Reading };
  unread: { readonly number: number; readonly failure: Failure };
  judged: { readonly number: number; readonly judgement: Judgement };
  carried: { readonly number: number; readonly result: Result };
  /** Whether the differences of the last `tell` are durable. */
  told: { readonly isDurable: boolean };
}

/** How a plan ended. */
export type Result =
  | {
      readonly end: 'known';
      readonly outcome: 'applied' | 'unchanged' | 'failed' | 'cancelled';
      readonly failure?: Failure;
      readonly rolledBack?: boolean;
      /** What differs from how it was before; empty unless a rollback was not complete. */
      readonly remaining: readonly Difference[];
      readonly reading?: Reading;
    }
  /** It was not let through: nothing was written. */
  | { readonly end: 'refused'; readonly failure: Failure }
  /** The answer was lost: it may have been carried out or not. */
  | { readonly end: 'unknown'; readonly failure: Failure };

export const EVENT_KINDS = [
  'intended',
  'posture',
  'tick',
  'asked',
  'read',
  'unread',
  'judged',
  'carried',
  'told',
] as const satisfies readonly (keyof RolloutEvents)[];
export type EventKind = keyof RolloutEvents;
export type EventOf<K extends EventKind> = {
  readonly kind: K;
  readonly at: Moment;
} & RolloutEvents[K];
export type RolloutEvent = { [K in EventKind]: EventOf<K> }[EventKind];
/** An event that has happened and was not taken yet. */
export type Happening = { [K in EventKind]: Omit<EventOf<K>, 'at'> }[EventKind];

/** Requests that wait for one device, at most. */
export const ASKED_MAX = 16;

/* ---------------------------------------------------------------- effects */

/** One difference that is there now, is another one, or is there no more. */
export interface DriftChange {
  readonly kind: 'appeared' | 'changed' | 'cleared';
  /** As it is; as it was told last where it is cleared. */
  readonly drift: Drift;
}

/**
 * What is to be done, in this order; nothing of it may be left out. `keep` is always the first: nothing else of a step is
 * done before its memory is durable.
 */
export type Effect =
  | { readonly do: 'keep'; readonly memory: DeviceMemory }
  /** Read it; then `read` or `unread`. */
  | { readonly do: 'read'; readonly number: number; readonly device: InventoryDevice }
  /** Work {@link judgementOf} out; then `judged`. */
  | { readonly do: 'judge'; readonly number: number; readonly question: Question }
  /** Where {@link supersededBy} says nothing against it in the moment before: carry it out. Then `carried`. */
  | {
      readonly do: 'carryOut';
      readonly number: number;
      readonly id: string;
      readonly device: InventoryDevice;
      readonly plan: Plan;
      readonly by: Holder;
    }
  /** Record these; then `told`. */
  | { readonly do: 'tell'; readonly changes: readonly DriftChange[]; readonly posture: DevicePosture }
  /** `tick` is wanted then; undefined: no longer. The last one counts. */
  | { readonly do: 'wake'; readonly at: Nanos | undefined }
  | { readonly do: 'alarm'; readonly kind: AlarmKind; readonly message: string }
  /** The one answer to a request: how many differences were remedied, 0 for a check. */
  | { readonly do: 'answer'; readonly id: string; readonly reply: Answer };

/** How a request is answered. */
export type Answer = { readonly kind: 'done'; readonly remedied: number } | IntentRefusal;

export interface Step {
  readonly state: RolloutState;
  readonly effects: readonly Effect[];
}

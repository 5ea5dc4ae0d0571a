/**
 * What the datastores hold, hear and want done: states, events, answers and effects as data.
 * It must not decide anything; the table in datastores-machine.ts does.
 */
import type { Sha256 } from '@kedge/reconcile';
import { type Epoch, EPOCH_NONE, type Level, LOCKDOWN, type Nanos } from '@kedge/units';

import type { IntentEdit, KeysOf } from './data-path.js';
import type { IntentDocument } from './document.js';
import type { HistoryBounds } from './history.js';
import type { Finding, IntentRefusal } from './refusal.js';
import type { Heads, Holder, Keep, Kept, Lock, Pending, Revision } from './revision.js';

/**
 * `opening`: nothing is known yet. `settled`: running is confirmed, and startup is the same. `confirming`: a commit has
 * to be confirmed in time. `waiting`: its time is over, or it did not survive a restart, and putting back what stood
 * before waits until the posture lets it (UN-14). `failed`: storage failed, what it holds is known at the next start.
 */
export const PHASES = ['opening', 'settled', 'confirming', 'waiting', 'failed'] as const;
/** See {@link PHASES}. */
export type Phase = (typeof PHASES)[number];

/** The posture, as far as it matters here. */
export interface Posture {
  /** The strictest of what is in force and where a transition goes. */
  readonly level: Level;
  readonly epoch: Epoch;
}

/** A moment: one clock to measure with, one for people. */
export interface Moment {
  /** CLOCK_MONOTONIC. */
  readonly ns: Nanos;
  /** Milliseconds since 1970 by the wall clock. */
  readonly wallMs: number;
}

/** What every step is made with. Nothing of it changes while a machine lives. */
export interface Surroundings {
  readonly sha256: Sha256;
  /** Largest document, bytes of canonical text. */
  readonly documentBytes: number;
  readonly history: HistoryBounds;
  /** By what lists are keyed. */
  readonly keysOf: KeysOf;
}

/** A revision with its document. */
export interface Held {
  readonly revision: Revision;
  readonly text: string;
}

/** The candidate: running, or what somebody made of it. */
export interface Candidate extends IntentDocument {
  /** The revision of running that it was made from. */
  readonly base: number;
  /** Who changed it last; null where it is what its base is. */
  readonly by: Holder | null;
  readonly atMs: number;
}

/** Whether the modules in use accept running. */
export type Validity =
  | { readonly state: 'valid' }
  /** It is being asked. */
  | { readonly state: 'unchecked' }
  /** Of other modules than those in use, and these do not accept it; or nobody asked for it. */
  | { readonly state: 'invalid'; readonly findings: readonly Finding[] };

/** What was observed of the world (RFC 8342 section 5.3); it does not survive a restart. */
export interface Operational extends IntentDocument {
  readonly atMs: number;
}

/** A document that the schema is asked about, and for what. */
export type Check =
  | {
      readonly for: 'commit' | 'rollback';
      readonly id: string;
      readonly by: Holder;
      readonly comment: string;
      /** Undefined: it need not be confirmed. */
      readonly confirmSeconds: number | undefined;
      readonly document: IntentDocument;
      /** The revision of running that it goes on top of. */
      readonly base: number;
      /** The revision whose document it is; null for the candidate. */
      readonly of: number | null;
    }
  | {
      readonly for: 'running';
      readonly id: string;
      readonly number: number;
    };

interface Common {
  /** The level in force, and its epoch; the strictest while nobody has said it. */
  readonly level: Level;
  readonly epoch: Epoch;
}

interface Known extends Common {
  /** Transactions so far. */
  readonly step: number;
  /** Hash of the modules in use. */
  readonly modules: string;
  readonly running: Held;
  /** What a start begins with: running, or what stands before a commit that is not confirmed. */
  readonly startup: Held;
  /** What the compiler was given last: running that the modules accept. */
  readonly intended: Held | undefined;
  /** The revision that the compiler was given since the process began. */
  readonly given: number | undefined;
  readonly candidate: Candidate;
  readonly operational: Operational | undefined;
  readonly lock: Lock | null;
  /** Oldest first; running is the last. */
  readonly history: readonly Revision[];
  readonly validity: Validity;
  readonly checks: readonly Check[];
}

export interface OpeningState extends Common {
  readonly phase: 'opening';
}
export interface SettledState extends Known {
  readonly phase: 'settled';
}
export interface ConfirmingState extends Known {
  readonly phase: 'confirming';
  readonly pending: Pending;
  readonly deadline: Nanos;
}
export interface WaitingState extends Known {
  readonly phase: 'waiting';
  readonly pending: Pending;
  readonly because: 'expired' | 'restarted';
  readonly since: Moment;
}
export interface FailedState extends Known {
  readonly phase: 'failed';
  readonly why: string;
}
/** States in which revisions are known and requests are taken. */
export type OpenState = SettledState | ConfirmingState | WaitingState;
export type DatastoresState = OpeningState | OpenState | FailedState;
/** The state that belongs to a phase. */
export type StateOf<P extends Phase> = Extract<DatastoresState, { phase: P }>;

/** Before anything is known. */
export const INITIAL: OpeningState = { phase: 'opening', level: LOCKDOWN, epoch: EPOCH_NONE };

/** What a level stops (underlay.md): no compilation at 2 and 1, and at 1 no remediation either. */
export function frozenAt(level: Level): { readonly compilation: boolean; readonly remediation: boolean } {
  return { compilation: level <= 2, remediation: level <= 1 };
}

/* ----------------------------------------------------------------- events */

interface Asked {
  /** Unique among the requests under way; the answer carries it. */
  readonly id: string;
  readonly by: Holder;
}

/** What the machine hears, each at its moment. Everything it needs to know is in here; it asks nobody. */
export interface DatastoresEvents {
  /** What the store has; undefined: it is new. */
  opened: { readonly kept: Kept | undefined; readonly modules: string };
  level: Posture;
  /** Time passes. */
  tick: Record<never, never>;
  /** A whole document for the candidate, JSON. */
  load: Asked & { readonly text: string };
  edit: Asked & { readonly edits: readonly IntentEdit[] };
  discard: Asked;
  lock: Asked & { readonly comment: string };
  /** `force`: also that of somebody else; what was changed under it is discarded. */
  unlock: Asked & { readonly force: boolean };
  commit: Asked & {
    readonly comment: string;
    /** 1 to {@link CONFIRM_SECONDS_MAX}. */
    readonly confirmSeconds?: number;
    /** Refused as raced unless this revision is running. */
    readonly ifRevision?: number;
  };
  rollback: Asked & {
    readonly to: number;
    /** Its document; undefined where the store has none. */
    readonly text: string | undefined;
    readonly comment: string;
    readonly confirmSeconds?: number;
    readonly ifRevision?: number;
  };
  /** The revision that is meant, if it is said. */
  confirm: Asked & { readonly revision?: number };
  cancel: Asked & { readonly revision?: number };
  /** The schema's answer to effect `validate`; `failure` where it could not be asked, or what follows not be done. */
  validated: {
    readonly id: string;
    readonly findings: readonly Finding[];
    /** False where the schema stops at its first finding. */
    readonly complete: boolean;
    readonly failure?: { readonly code: string; readonly message: string; readonly help?: string };
  };
  /** The actual state, as far as it was read; JSON. */
  observed: { readonly text: string };
  /** A transaction may be on storage, and may not. */
  storeFailed: { readonly why: string };
}
/** Names of all events. */
export const EVENT_KINDS = [
  'opened',
  'level',
  'tick',
  'load',
  'edit',
  'discard',
  'lock',
  'unlock',
  'commit',
  'rollback',
  'confirm',
  'cancel',
  'validated',
  'observed',
  'storeFailed',
] as const satisfies readonly (keyof DatastoresEvents)[];
export type EventKind = keyof DatastoresEvents;
export type EventOf<K extends EventKind> = {
  readonly kind: K;
  readonly at: Moment;
} & DatastoresEvents[K];
export type DatastoresEvent = { [K in EventKind]: EventOf<K> }[EventKind];

/** Events that somebody is answered on. */
export const REQUEST_KINDS = [
  'load',
  'edit',
  'discard',
  'lock',
  'unlock',
  'commit',
  'rollback',
  'confirm',
  'cancel',
] as const satisfies readonly EventKind[];
export type RequestKind = (typeof REQUEST_KINDS)[number];

/** Longest time to confirm, seconds: a day. */
export const CONFIRM_SECONDS_MAX = 86_400;
/** Requests that the schema is asked about at once, at most. */
export const CHECKS_MAX = 8;

/* ---------------------------------------------------------------- answers */

/** How a request is answered. */
export type Reply =
  | { readonly kind: 'candidate'; readonly base: number; readonly hash: string; readonly changed: boolean }
  | { readonly kind: 'locked'; readonly lock: Lock }
  | { readonly kind: 'unlocked'; readonly was: Lock }
  /** `confirmByMs`: by the wall clock; undefined where it need not be confirmed. */
  | { readonly kind: 'committed'; readonly revision: Revision; readonly confirmByMs: number | undefined }
  /** The candidate is what is running. */
  | { readonly kind: 'unchanged'; readonly revision: Revision }
  | { readonly kind: 'confirmed'; readonly revision: Revision }
  /** What stood before a commit that had to be confirmed is running again. */
  | { readonly kind: 'cancelled'; readonly revision: Revision; readonly was: number }
  | IntentRefusal;

/** What is written down for the ledger. */
export type Fact =
  /**
   * Running is another revision now; its cause says why. `was`: the one before. Said again at every start, for the
   * process may have ended between the two.
   */
  | { readonly fact: 'running'; readonly revision: Revision; readonly was: number }
  | { readonly fact: 'confirmed'; readonly revision: Revision; readonly by: Holder }
  /** More time to confirm it. */
  | { readonly fact: 'extended'; readonly revision: Revision; readonly by: Holder; readonly seconds: number }
  /** What stood before `revision` is to be put back, and waits for the posture. */
  | { readonly fact: 'waiting'; readonly revision: Revision; readonly because: 'expired' | 'restarted' }
  | { readonly fact: 'lock-broken'; readonly was: Lock; readonly by: Holder }
  | {
      readonly fact: 'refused';
      readonly request: RequestKind;
      readonly by: Holder;
      readonly comment: string;
      /** The revision that was asked for; null where none was named. */
      readonly revision: number | null;
      readonly refusal: IntentRefusal;
    };

/* ---------------------------------------------------------------- effects */

/**
 * What is to be done, in this order; nothing of it may be left out. `keep` is always the first: nobody hears of a step,
 * and nothing else of it is done, before its transaction is durable.
 */
export type Effect =
  | { readonly do: 'keep'; readonly keep: Keep }
  /** Ask the schema; then `validated`. */
  | { readonly do: 'validate'; readonly id: string; readonly text: string }
  /** Give it to the compiler: it is what is intended now. */
  | { readonly do: 'intend'; readonly held: Held }
  /** What was given is intended no more, and what is intended instead is not known yet: nothing is to be done for it. */
  | { readonly do: 'withhold' }
  /** `tick` is wanted then; undefined: no longer. The last one counts. */
  | { readonly do: 'wake'; readonly at: Nanos | undefined }
  | { readonly do: 'record'; readonly fact: Fact; readonly at: Moment; readonly posture: Posture }
  /** The one answer to a request. */
  | { readonly do: 'answer'; readonly id: string; readonly reply: Reply };

/** The datastores after an event. */
export type Step =
  | { readonly kind: 'moved'; readonly state: DatastoresState; readonly effects: readonly Effect[] }
  /** The event does not belong here: a defect of whoever sent it. Nothing has changed. */
  | { readonly kind: 'refused'; readonly why: string };

/** What of a state has to survive. */
export function headsOf(state: OpenState | FailedState): Omit<Heads, 'step'> {
  const { base, hash, bytes, by, atMs } = state.candidate;
  return {
    schema: 'kedge.intent-heads/1',
    running: state.running.revision.number,
    startup: state.startup.revision.number,
    intended: state.intended?.revision.number ?? null,
    candidate: { base, hash, bytes, by, atMs },
    pending: 'pending' in state ? state.pending : null,
    lock: state.lock,
  };
}

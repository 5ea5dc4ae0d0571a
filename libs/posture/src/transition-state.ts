/**
 * What the posture machine knows, hears and wants done: states, events and effects as data.
 * It must not decide anything; the table in transition-machine.ts does.
 */
import type { AuthorisationAnswer, Channel, PathName, Tier } from '@kedge/contracts';
import { EPOCH_NONE, type Epoch, type Level } from '@kedge/units';

import type { Holds } from './journal-record.js';

/** Where the machine can be. Loosening has a phase per stage that a live coordinator releases (PO-15). */
export const PHASES = [
  'recovering',
  'steady',
  'tightening',
  'deciding',
  'loosening-paths',
  'loosening-sessions',
  'loosening-dataplane',
  'verifying',
] as const;
/**
 * `recovering`: nothing is known yet. `steady`: word and target agree and nothing runs. `tightening`: the word
 * carries the target, others follow. `deciding`: a loosening waits for its journal record, or for the warden,
 * and nothing may loosen. `loosening-*`: that stage is released. `verifying`: every path is applied or late.
 */
export type Phase = (typeof PHASES)[number];

/** Parts of a path that move at different times (PO-7): packets, sessions, and the rest. */
export type Layer = 'dataplane' | 'session' | 'path';

/** Stages of the transition line that the machine writes; the names of `enum kedge_stage`. */
export type ReleasedStage =
  'loosen-decided' | 'loosen-paths' | 'loosen-sessions' | 'loosen-dataplane' | 'verify' | 'complete';

/** Who asked, and why (PO-3). */
export interface Source {
  readonly channel: Channel;
  readonly tier: Tier;
  readonly principal: string;
  readonly reason: string;
  /** Set where the intent asks for whoever committed it, with tier and channel of theirs. */
  readonly onBehalf?: {
    /** How long ago they asked, milliseconds; absent: not known. */
    readonly askedMsAgo?: number;
  };
}

/** What was asked for. */
export interface PostureRequest {
  /** Unique within the process; the answer carries it. */
  readonly id: string;
  readonly source: Source;
  /** For an accord: the level in force. */
  readonly level: Level;
  /** Set where not the level but its accord, zones or allowlist changes (PO-2): the way in which it does. */
  readonly accord?: 'tighter' | 'looser';
  /** Refused as stale unless this epoch was decided last. */
  readonly ifEpoch?: Epoch;
  /** CLOCK_MONOTONIC nanoseconds. */
  readonly receivedAtNs: bigint;
}

/** A looser request that waits for its turn (PO-10). */
export interface WaitingRequest {
  readonly request: PostureRequest;
  /** Decided and journaled before a restart: it is carried on with, not asked for again (PO-17). */
  readonly authorised: boolean;
}

/** One participant or packet worker, as far as the machine cares. */
export interface Standing {
  readonly path: PathName;
  readonly layer: Layer;
  /** False while its service is away: it counts as not applied, and has its path's time to come back (PO-19). */
  readonly present: boolean;
  /** What it acknowledged last. */
  readonly epoch: Epoch;
  readonly level: Level | undefined;
  readonly outcome: 'none' | 'applied' | 'unchanged' | 'failed' | 'cancelled';
}

/** A decision, last or running. */
export interface Decision {
  readonly epoch: Epoch;
  readonly from: Level;
  readonly to: Level;
}

/**
 * Why the appliance begins a transition by itself. `provisioning`: its very first start. `recovery`: a restart
 * brings back what was decided. `doubt`: a restart could not tell what was decided. `repair`: something is not
 * at the level in force. `revoked`: a loosening could not be journaled and must not be taken up later.
 */
export type OwnCause = 'provisioning' | 'recovery' | 'doubt' | 'repair' | 'revoked';

/** A transition that runs. */
export interface Transition extends Decision {
  readonly direction: 'tighten' | 'loosen';
  readonly requested: Level;
  /** Undefined: the appliance itself. */
  readonly source: Source | undefined;
  readonly requestId: string | undefined;
  readonly receivedAtNs: bigint;
  /** Taken up again after a restart. */
  readonly recovered: boolean;
  /** Set where nobody asked: why the appliance itself began it. */
  readonly own?: OwnCause;
  readonly accord: boolean;
  /** Paths whose deadline passed before they had applied it. */
  readonly late: readonly PathName[];
  /** Its journal record is on stable storage. */
  readonly durable: boolean;
}

/** Somebody who is answered when the journal has taken the epoch, or has failed to. */
export interface Unanswered {
  readonly id: string;
  readonly epoch: Epoch;
  readonly decision: Decision;
  readonly direction: 'tighten' | 'loosen';
  /** The request whose record has to be durable first: it keeps the holds that this one stands behind. */
  readonly behind?: string;
  /** It was answered with `waiting` before its turn came: it is settled, not answered again. */
  readonly waited?: PostureRequest;
}

/** A fail-closed line that is set. */
export interface FailClosed {
  readonly level: Level;
  readonly epoch: Epoch;
}

interface Common {
  /** What stands in the posture word; level undefined = nothing valid, which packets obey as lockdown. */
  readonly word: { readonly epoch: Epoch; readonly level: Level | undefined };
  /** The decision in force, or the one that runs. */
  readonly last: Decision;
  /** `pending` until the record of `last` is on stable storage; `failed`: it, or a hold on it, never will be. */
  readonly lastDurable: 'pending' | 'yes' | 'failed';
  readonly nextEpoch: Epoch;
  readonly reservedUpTo: Epoch;
  /** A reservation is on its way. */
  readonly reserving: boolean;
  /** `failed`: not appended to any more by this process. Tightenings go on, loosenings are refused (PO-17). */
  readonly journal: 'ok' | 'failed';
  /** False while its heartbeat is stale: nothing loosens (PO-12). */
  readonly wardenFresh: boolean;
  readonly holds: Holds;
  readonly standings: Readonly<Record<string, Standing>>;
  readonly failClosed: Readonly<Partial<Record<PathName, FailClosed>>>;
  readonly unanswered: readonly Unanswered[];
  /** At most one per channel. */
  readonly waiting: readonly WaitingRequest[];
}

/** Phases in which a transition runs. */
export type RunningPhase = Exclude<Phase, 'recovering' | 'steady'>;

export interface RecoveringState extends Common {
  readonly phase: 'recovering';
}
export interface SteadyState extends Common {
  readonly phase: 'steady';
  /** The waiting request that is being authorised again. */
  readonly asking: string | undefined;
}
export interface RunningState extends Common {
  readonly phase: RunningPhase;
  readonly transition: Transition;
  /** Paths whose time is over: nobody on them is waited for any more, also who was away at the deadline. */
  readonly overdue: readonly PathName[];
}
export type PostureMachine = RecoveringState | SteadyState | RunningState;
/** The state that belongs to a phase. */
export type StateOf<P extends Phase> = P extends 'recovering'
  ? RecoveringState
  : P extends 'steady'
    ? SteadyState
    : RunningState & { readonly phase: P };

/** Before anything is known. */
export const INITIAL: RecoveringState = {
  phase: 'recovering',
  word: { epoch: EPOCH_NONE, level: undefined },
  last: { epoch: EPOCH_NONE, from: 1, to: 1 },
  lastDurable: 'yes',
  nextEpoch: EPOCH_NONE,
  reservedUpTo: EPOCH_NONE,
  reserving: false,
  journal: 'ok',
  wardenFresh: false,
  holds: {},
  standings: {},
  failClosed: {},
  unanswered: [],
  waiting: [],
};

/* ----------------------------------------------------------------- events */

/** What the machine hears. Everything it needs to know is in here; it asks nobody. */
export interface PostureEvents {
  /** Somebody asks, and the Authoriser has answered about {@link askedLevel}. */
  request: { readonly request: PostureRequest; readonly authority: AuthorisationAnswer };
  /** The accord, zones or allowlist of the level in force changed (PO-2). */
  accordChanged: {
    readonly request: PostureRequest & { readonly accord: 'tighter' | 'looser' };
    readonly authority: AuthorisationAnswer;
  };
  /** The Authoriser's answer to effect `authorise`. */
  turn: { readonly id: string; readonly authority: AuthorisationAnswer };
  /** The decision of this epoch is on stable storage; with `keeps`, the holds as that request left them. */
  journaled: { readonly epoch: Epoch; readonly keeps?: string };
  /** The journal failed; nothing will be appended any more. */
  journalFailed: Record<never, never>;
  /** Epochs up to this one are reserved durably. */
  reserved: { readonly upTo: Epoch };
  /** A participant or worker wrote its slot. */
  acknowledged: {
    readonly who: string;
    readonly epoch: Epoch;
    readonly level: Level | undefined;
    readonly outcome: Standing['outcome'];
  };
  /** A participant's path has had its time, or `verify` has. */
  deadlinePassed: { readonly epoch: Epoch; readonly path: PathName | 'verify' };
  /** What comparing the world with the target found; empty = all is right. */
  verified: { readonly epoch: Epoch; readonly differences: readonly string[] };
  failClosedSet: { readonly path: PathName; readonly level: Level; readonly epoch: Epoch };
  failClosedCleared: { readonly path: PathName };
  /**
   * A service went away: its process died or its heartbeat is stale. `warden` is one, too. `gone`: it is not
   * expected back, like a worker of a data plane that runs with fewer of them now. `standing`: what it left, for one that was
   * away before it was ever seen.
   */
  serviceLost: {
    readonly who: string;
    readonly gone?: boolean;
    readonly standing?: Omit<Standing, 'present'>;
  };
  /** A service is there (again). Participants say where they stand; the warden stands nowhere. */
  serviceBack: { readonly who: string; readonly standing: Omit<Standing, 'present'> | undefined };
  /** Somebody has believed in another posture for longer than allowed (PO-20). */
  disagreed: { readonly who: string };
  /** What a restart found (PO-17). */
  recovered: {
    readonly plan: RecoveryPlan;
    readonly nextEpoch: Epoch;
    readonly reservedUpTo: Epoch;
    readonly journal: 'ok' | 'failed';
  };
  tick: Record<never, never>;
}
/** Names of all events. */
export const EVENT_KINDS = [
  'request',
  'accordChanged',
  'turn',
  'journaled',
  'journalFailed',
  'reserved',
  'acknowledged',
  'deadlinePassed',
  'verified',
  'failClosedSet',
  'failClosedCleared',
  'serviceLost',
  'serviceBack',
  'disagreed',
  'recovered',
  'tick',
] as const satisfies readonly (keyof PostureEvents)[];
export type EventKind = keyof PostureEvents;
export type EventOf<K extends EventKind> = { readonly kind: K } & PostureEvents[K];
export type PostureEvent = { [K in EventKind]: EventOf<K> }[EventKind];

/** How a restarted coordinator goes on (see recovery.ts). */
export interface RecoveryPlan {
  /** The decision in force, from journal or surviving word; undefined = none is known. */
  readonly decision: Decision | undefined;
  /** The level to be in force now: the stricter of the decision's two until its transition is completed. */
  readonly level: Level;
  /** The looser level that was decided and is still to be reached. */
  readonly resumeTo: Level | undefined;
  /**
   * `hold`: word and journal agree and nothing is open. `continue`: carry on with the decision under its own
   * epoch. `restore`: store `level` under a new epoch.
   */
  readonly action: 'hold' | 'continue' | 'restore';
  /** What the transition that `restore` begins is for. */
  readonly because: 'provisioning' | 'recovery' | 'doubt';
  /**
   * What is journaled before anything else: a word newer than the journal, or, in doubt, the level that doubt
   * takes, so that a crash before the next record does not forget the doubt.
   */
  readonly journalFirst: Decision | undefined;
  readonly word: { readonly epoch: Epoch; readonly level: Level | undefined };
  /** Every epoch from here on is unused. */
  readonly above: Epoch;
  readonly holds: Holds;
  /** What somebody should know, in plain words. */
  readonly alarms: readonly string[];
}

/* ---------------------------------------------------------------- effects */

/** Why a request was refused: code and sentence, field and expectation where one is at fault. */
export interface RefusalAnswer {
  readonly kind: 'refusal';
  readonly code: string;
  readonly message: string;
  readonly field?: string;
  readonly expected?: string;
  readonly help?: string;
  readonly rule?: string;
}

/** How a request is answered. */
export type Reply =
  | ({ readonly kind: 'decision'; readonly durable: boolean } & Decision)
  | { readonly kind: 'waiting'; readonly behindEpoch: Epoch }
  | RefusalAnswer;

/** What is to be written into the journal. */
export interface JournalEntry extends Decision {
  /** `checkpoint`: a decision that runs is written once more. */
  readonly kind: 'decision' | 'completed' | 'checkpoint';
  /** The request for whose hold a decision is written once more; `journaled` says it again. */
  readonly keeps?: string;
  readonly requested: Level;
  readonly source: Source | undefined;
  readonly requestId: string | undefined;
  readonly recovered: boolean;
  readonly accord: boolean;
  readonly holds: Holds;
  readonly reservedUpTo: Epoch;
}

/** How a transition ended; `running` is never an end. */
export type EndOutcome = 'completed' | 'late' | 'preempted' | 'recovered';

/** What is to be done, in this order. Nothing of it may be reordered or left out. */
export type Effect =
  /** Transition line, word, bell: in one native call, at once (PO-7). */
  | ({ readonly do: 'storeTightening'; readonly receivedAtNs: bigint } & Decision)
  | ({
      readonly do: 'writeTransitionStage';
      readonly stage: ReleasedStage;
      readonly receivedAtNs: bigint;
    } & Decision)
  /** The word alone: the last step of a loosening. */
  | { readonly do: 'storeWord'; readonly epoch: Epoch; readonly level: Level }
  /** Durable at some time; then `journaled` or `journalFailed`. */
  | { readonly do: 'journal'; readonly entry: JournalEntry }
  | { readonly do: 'reserveEpochs'; readonly upTo: Epoch }
  /** The one answer to a request. */
  | { readonly do: 'answer'; readonly id: string; readonly reply: Reply }
  /** What became of a request that was answered with `waiting`. */
  | { readonly do: 'settle'; readonly request: PostureRequest; readonly reply: Reply }
  /** Ask the Authoriser again; then `turn`. */
  | { readonly do: 'authorise'; readonly request: PostureRequest }
  /** After the path's budget, counted from now: `deadlinePassed`. */
  | { readonly do: 'expect'; readonly epoch: Epoch; readonly path: PathName | 'verify' }
  /** Compare the world with the target; then `verified`. */
  | { readonly do: 'verify'; readonly epoch: Epoch; readonly to: Level }
  /** Say once more that this epoch is completed: every path compares the world with its level again (PO-11). */
  | { readonly do: 'repeat'; readonly epoch: Epoch }
  /** The work of this epoch is void. */
  | { readonly do: 'cancel'; readonly epoch: Epoch }
  | {
      readonly do: 'report';
      readonly transition: Transition;
      /** Undefined: it begins. */
      readonly outcome: EndOutcome | undefined;
      /** Names of the paths that had nobody present. */
      readonly absent: readonly PathName[];
    }
  /** A request was refused: keep it (PO-5). */
  | { readonly do: 'record'; readonly request: PostureRequest; readonly refusal: RefusalAnswer };

/** What became of an event. */
export type Step =
  | { readonly kind: 'moved'; readonly state: PostureMachine; readonly effects: readonly Effect[] }
  /** The event does not fit here; nothing changed. */
  | { readonly kind: 'refused'; readonly why: string };

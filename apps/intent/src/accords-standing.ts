/**
 * How the accords of the intent stand to those in force at the coordinator, as a total table: what becomes of every state
 * on every event, and what is to be done (PO-2).
 * It must not do any of it, nor read a clock, a file or the coordinator; all that it knows comes in as events.
 */
import type { Holder } from '@kedge/datastores';

/** A set by what identifies it: SHA-256 of `accordsIdentity`, in hex. */
export type SetHash = string;

/** What is intended of accords. */
export interface IntendedSet {
  /** Number and id of the revision. */
  readonly revision: number;
  readonly id: string;
  /** For whom it is asked; undefined: nobody can be said to have asked for it. */
  readonly by: Holder | undefined;
  /** Undefined: the intent says nothing of accords, and what stood before those that it brought counts again. */
  readonly hash: SetHash | undefined;
  /** Why its documents are no accords, though the modules accept them. */
  readonly fault?: Refused;
}

/** Why something was refused, as whoever refused it says. */
export interface Refused {
  readonly code: string;
  readonly message: string;
}

/** What was asked for last. */
export interface AskedSet {
  readonly revision: number;
  /** The key under which it is one request. */
  readonly key: string;
  readonly hash: SetHash;
  /**
   * `open`: it may be decided, or not, or wait. `answered`: the coordinator said what became of it. `inForce`: it was
   * seen in force.
   */
  readonly outcome: 'open' | 'answered' | 'inForce';
}

/** What has to survive: written down before anything is asked for that follows from it. */
export interface AccordsMemory {
  /** What stood before the intent asked for the first time; its documents are kept beside. Null: nothing of the intent is in force. */
  readonly before: SetHash | null;
  readonly asked: AskedSet | null;
  /** Sets that were asked for, are wanted no more, and may come into force yet; oldest first. */
  readonly late: readonly SetHash[];
  /** Requests so far, for their keys. */
  readonly count: number;
}

/** Nothing was asked for yet. */
export const NOTHING_ASKED: AccordsMemory = { before: null, asked: null, late: [], count: 0 };

/** Sets that are remembered to come late; there are fewer places to wait at the coordinator. */
export const LATE_MAX = 8;
/** From one look to the next while nothing is to be done, milliseconds: it would be seen that others took its place. */
export const LOOK_MS = 60_000;
/** While a transition runs, milliseconds. */
export const RUNNING_LOOK_MS = 1_000;
/** The first try again after something failed, and the longest wait that it grows to, milliseconds. */
export const RETRY_MS = { first: 1_000, most: 60_000 } as const;
/**
 * Refusals that say nothing of the set or of whoever asks: they pass by themselves, or by what somebody mends elsewhere.
 * Asked again after a while, under another key.
 */
export const PASSING: readonly string[] = [
  'ACCORD_NOT_PUBLISHED',
  'POSTURE_ACCORDS_NOT_KEPT',
  'POSTURE_BUSY',
  'POSTURE_CALLER_GONE',
  'POSTURE_NOT_DURABLE',
  'POSTURE_RECOVERING',
  'POSTURE_REPLAYED',
  'POSTURE_SUPERSEDED',
  'POSTURE_WARDEN_STALE',
];

/**
 * `quiet`: nothing is intended yet. `looking`: the coordinator is asked what is in force. `keeping`: what is to be asked
 * for is written down. `asking`: it is asked for. `resting`: nothing is under way.
 */
export const STANDING_PHASES = ['quiet', 'looking', 'keeping', 'asking', 'resting'] as const;
/** See {@link STANDING_PHASES}. */
export type StandingPhase = (typeof STANDING_PHASES)[number];

/** How they stand. */
export interface Standing {
  readonly phase: StandingPhase;
  /** As it is durable. */
  readonly memory: AccordsMemory;
  /** What it becomes once it is written; in `keeping` alone. */
  readonly next: AccordsMemory | undefined;
  readonly intended: IntendedSet | undefined;
  /** Nothing comes into force at this level (UN-14). */
  readonly frozen: boolean;
  /** Something has changed since what is under way began: looked at again when that is over. */
  readonly again: boolean;
  /** Tries that failed in a row. */
  readonly failures: number;
  /** What the coordinator refused for this intent at this level. */
  readonly refused: Refused | undefined;
  /** Why what is intended is not in force; undefined: it is, or is on its way. */
  readonly why: string | undefined;
}

/** Before anything is intended. */
export function beginning(memory: AccordsMemory, frozen: boolean): Standing {
  return {
    phase: 'quiet',
    memory,
    next: undefined,
    intended: undefined,
    frozen,
    again: false,
    failures: 0,
    refused: undefined,
    why: undefined,
  };
}

/** What the coordinator says to a request. */
export type AskedAnswer =
  { readonly kind: 'decision' } | { readonly kind: 'waiting' } | ({ readonly kind: 'refusal' } & Refused);

/** What happens. */
export interface StandingEvents {
  intended: { readonly intended: IntendedSet };
  /** The level is another one. */
  level: { readonly frozen: boolean };
  /** The time of effect `wake` is over. */
  woken: Record<never, never>;
  /** What is in force; undefined where the coordinator keeps no accords. `running`: a transition is under way. */
  looked: { readonly inForce: SetHash | undefined; readonly running: boolean };
  /** Effect `keep` is durable. */
  kept: Record<never, never>;
  answered: { readonly answer: AskedAnswer };
  /** What was under way failed; of `asking` it is not known what became of it. */
  failed: { readonly why: string };
}
/** Names of all events. */
export const STANDING_EVENTS = [
  'intended',
  'level',
  'woken',
  'looked',
  'kept',
  'answered',
  'failed',
] as const satisfies readonly (keyof StandingEvents)[];
export type StandingEventKind = keyof StandingEvents;
export type StandingEventOf<K extends StandingEventKind> = { readonly kind: K } & StandingEvents[K];
export type StandingEvent = { [K in StandingEventKind]: StandingEventOf<K> }[StandingEventKind];

/** What is to be done, in this order. */
export type StandingEffect =
  | { readonly do: 'look' }
  /** Write it down durably; then `kept`. `documentsOf`: with the documents of that set, which is in force now. */
  | { readonly do: 'keep'; readonly memory: AccordsMemory; readonly documentsOf?: SetHash }
  /** Ask for the set of `asked`: the intended one, or, where `back`, what stood before; then `answered`. */
  | { readonly do: 'ask'; readonly asked: AskedSet; readonly by: Holder; readonly back: boolean }
  /** `woken` is wanted after so long; the last one counts. */
  | { readonly do: 'wake'; readonly afterMs: number };

export type StandingStep =
  | { readonly kind: 'moved'; readonly state: Standing; readonly effects: readonly StandingEffect[] }
  | { readonly kind: 'refused'; readonly why: string };

type Table = {
  readonly [P in StandingPhase]: {
    readonly [K in StandingEventKind]: (state: Standing, event: StandingEventOf<K>) => StandingStep;
  };
};

const moved = (state: Standing, effects: readonly StandingEffect[] = []): StandingStep => ({
  kind: 'moved',
  state,
  effects,
});
const refused = (why: string) => (): StandingStep => ({ kind: 'refused', why });

/** What happens to `state` on `event`. Total and pure. */
export function stepStanding(state: Standing, event: StandingEvent): StandingStep {
  // One cast: the table's type proves that the handler fits.
  const handlers = TABLE[state.phase] as unknown as Readonly<
    Record<StandingEventKind, (state: Standing, event: StandingEvent) => StandingStep>
  >;
  return handlers[event.kind](state, event);
}

/* ------------------------------------------------------------------ events */

/** Another intent, or another level, is a new beginning: what was refused may be asked for again. */
const renewed = (state: Standing): Standing => ({ ...state, failures: 0, refused: undefined });

function look(state: Standing): StandingStep {
  return moved({ ...state, phase: 'looking', next: undefined, again: false }, [{ do: 'look' }]);
}

function onIntendedAtRest(state: Standing, { intended }: StandingEventOf<'intended'>): StandingStep {
  return look({ ...renewed(state), intended });
}

function onIntendedAtWork(state: Standing, { intended }: StandingEventOf<'intended'>): StandingStep {
  return moved({ ...renewed(state), intended, again: true });
}

function onLevelAtRest(state: Standing, { frozen }: StandingEventOf<'level'>): StandingStep {
  return look({ ...renewed(state), frozen });
}

function onLevelAtWork(state: Standing, { frozen }: StandingEventOf<'level'>): StandingStep {
  return moved({ ...renewed(state), frozen, again: true });
}

/** Rests until something changes, at most for so long. */
function rest(state: Standing, why: string | undefined, afterMs = LOOK_MS): StandingStep {
  return moved({ ...state, phase: 'resting', next: undefined, again: false, why }, [{ do: 'wake', afterMs }]);
}

function tryAgain(state: Standing, why: string | undefined): StandingStep {
  const failures = state.failures + 1;
  const afterMs = Math.min(RETRY_MS.first * 2 ** Math.min(failures - 1, 16), RETRY_MS.most);
  return rest({ ...state, failures }, why, afterMs);
}

function onFailed(state: Standing, { why }: StandingEventOf<'failed'>): StandingStep {
  return state.again ? look(state) : tryAgain(state, why);
}

/* ------------------------------------------------------------------- looks */

/** What is to be in force: what is intended, or what stood before the intent asked; undefined: nothing of the intent. */
function targetOf({ intended, memory }: Standing): SetHash | undefined {
  return intended?.hash ?? memory.before ?? undefined;
}

function onLooked(before: Standing, event: StandingEventOf<'looked'>): StandingStep {
  const { inForce, running } = event;
  const { intended } = before;
  if (before.again || intended === undefined) return look(before);
  const state = before;
  const { memory, refused: said } = state;
  const { asked } = memory;
  if (intended.fault !== undefined) return rest(state, sentenceOf(intended.fault));
  const target = targetOf(state);
  if (target === undefined) return rest(state, undefined);
  if (inForce === undefined)
    return rest(state, 'the posture coordinator keeps no accords in force: it is not configured to');
  if (inForce === target) return inForceAsIntended(state, event, target);
  const isAsked = asked?.hash === target && asked.revision === intended.revision;
  // What was decided, or waits, comes with its transition.
  if (running && isAsked && asked.outcome !== 'inForce' && said === undefined)
    return rest(state, state.why, RUNNING_LOOK_MS);
  // Somebody else put another set into force after this one was, for none of the intent could come any more by then:
  // that is theirs to take back.
  if (isAsked && asked.outcome === 'inForce')
    return rest(state, 'others were brought into force since, and not by the intent', waitMs(running));
  if (intended.hash === undefined && !isOfTheIntent(state, inForce)) {
    // None of the intent is in force any more, whoever saw to that; one that may come yet is waited for.
    return running ? rest(state, undefined, RUNNING_LOOK_MS) : forget(state);
  }
  if (said !== undefined) return rest(state, sentenceOf(said), waitMs(running));
  if (state.frozen) return rest(state, 'they wait for level 3', waitMs(running));
  if (intended.by === undefined) return rest(state, 'nobody is known to ask for them', waitMs(running));
  return keep(state, { inForce, target, running });
}

const waitMs = (running: boolean): number => (running ? RUNNING_LOOK_MS : LOOK_MS);

/** True where the set in force is there because the intent asked for it. */
function isOfTheIntent({ memory }: Standing, inForce: SetHash): boolean {
  return memory.asked?.hash === inForce || memory.late.includes(inForce);
}

const answered = (asked: AskedSet): AskedSet => ({ ...asked, outcome: 'answered' });

/** What is wanted is in force; what may come late is forgotten once nothing is under way that could bring it. */
function inForceAsIntended(
  state: Standing,
  { running }: StandingEventOf<'looked'>,
  target: SetHash,
): StandingStep {
  const { intended, memory } = state;
  const settled = { ...state, failures: 0, refused: undefined };
  if (running) return rest(settled, undefined, RUNNING_LOOK_MS);
  if (intended?.hash === undefined) return forget(settled);
  const { revision } = intended;
  const { asked } = memory;
  if (
    asked?.hash === target &&
    asked.revision === revision &&
    asked.outcome === 'inForce' &&
    memory.late.length === 0
  )
    return rest(settled, undefined);
  const key = asked?.key ?? `intent-${String(revision)}`;
  return write(settled, {
    ...memory,
    asked: { revision, key, hash: target, outcome: 'inForce' },
    late: [],
  });
}

/** The intent has no accords, and none of its own are in force. */
function forget(state: Standing): StandingStep {
  const { memory } = state;
  if (memory.before === null && memory.asked === null && memory.late.length === 0)
    return rest(state, undefined);
  return write(state, { ...NOTHING_ASKED, count: memory.count });
}

/** Writes down what is known; nothing is asked for after it. */
function write(state: Standing, memory: AccordsMemory): StandingStep {
  return moved({ ...state, phase: 'keeping', next: memory, why: undefined }, [{ do: 'keep', memory }]);
}

/* -------------------------------------------------------------------- asks */

/** Writes down what will be asked for: under the key of before where nobody knows what became of that. */
function keep(
  state: Standing,
  { inForce, target, running }: { inForce: SetHash; target: SetHash; running: boolean },
): StandingStep {
  const { memory, intended } = state;
  if (intended === undefined) return look(state);
  const { asked } = memory;
  const isSame = asked?.outcome === 'open' && asked.hash === target && asked.revision === intended.revision;
  const count = isSame ? memory.count : memory.count + 1;
  const next: AskedSet = isSame
    ? asked
    : {
        revision: intended.revision,
        key: `intent-${intended.id.slice(0, 32)}-${String(count)}`,
        hash: target,
        outcome: 'open',
      };
  const isFirst = intended.hash !== undefined && memory.before === null;
  // What was asked for and is wanted no more may come yet, as long as something is under way.
  const others = [...memory.late, ...(asked === null ? [] : [asked.hash]), ...(running ? [inForce] : [])];
  const late = [...new Set(others)].filter((hash) => hash !== target && isBrought(memory, hash));
  const after: AccordsMemory = {
    before: isFirst ? inForce : memory.before,
    asked: next,
    late: late.slice(-LATE_MAX),
    count,
  };
  return moved({ ...state, phase: 'keeping', next: after }, [
    { do: 'keep', memory: after, ...(isFirst ? { documentsOf: inForce } : {}) },
  ]);
}

const isBrought = ({ late, asked }: AccordsMemory, hash: SetHash): boolean =>
  late.includes(hash) || asked?.hash === hash;

function onKept({ next, ...before }: Standing): StandingStep {
  const state: Standing = { ...before, memory: next ?? before.memory, next: undefined };
  if (state.again) return look(state);
  const { intended, memory } = state;
  const { asked } = memory;
  if (intended === undefined || asked?.outcome !== 'open') return rest(state, undefined);
  const { by, hash } = intended;
  if (by === undefined || asked.hash !== targetOf(state)) return look(state);
  return moved({ ...state, phase: 'asking' }, [{ do: 'ask', asked, by, back: hash === undefined }]);
}

function onAnswered(state: Standing, { answer }: StandingEventOf<'answered'>): StandingStep {
  const { memory } = state;
  const { asked } = memory;
  if (asked === null) return look(state);
  // What waits is answered under its key again, once it had its turn.
  if (answer.kind === 'waiting') return state.again ? look(state) : rest(state, undefined, RUNNING_LOOK_MS);
  const told: Standing = { ...state, memory: { ...memory, asked: answered(asked) } };
  if (state.again) return look(told);
  // Whether it is in force is looked at, ever later where it never comes: something tighter may take its place.
  if (answer.kind === 'decision') return tryAgain(told, state.why);
  if (PASSING.includes(answer.code)) return tryAgain(told, sentenceOf(answer));
  return rest({ ...told, refused: answer, failures: 0 }, sentenceOf(answer));
}

const sentenceOf = ({ code, message }: Refused): string => `${code} ${message}`;

/* ------------------------------------------------------------------- table */

const AT_WORK = { intended: onIntendedAtWork, level: onLevelAtWork } as const;
const AT_REST = { intended: onIntendedAtRest } as const;
const NOT_ASKED = refused('nobody asked for it');

const TABLE: Table = {
  quiet: {
    ...AT_REST,
    level: (state, { frozen }) => moved({ ...state, frozen }),
    woken: (state) => moved(state),
    looked: NOT_ASKED,
    kept: NOT_ASKED,
    answered: NOT_ASKED,
    failed: NOT_ASKED,
  },
  looking: {
    ...AT_WORK,
    woken: (state) => moved(state),
    looked: onLooked,
    kept: NOT_ASKED,
    answered: NOT_ASKED,
    failed: onFailed,
  },
  keeping: {
    ...AT_WORK,
    woken: (state) => moved(state),
    looked: NOT_ASKED,
    kept: onKept,
    answered: NOT_ASKED,
    failed: onFailed,
  },
  asking: {
    ...AT_WORK,
    woken: (state) => moved(state),
    looked: NOT_ASKED,
    kept: NOT_ASKED,
    answered: onAnswered,
    failed: onFailed,
  },
  resting: {
    ...AT_REST,
    level: onLevelAtRest,
    woken: look,
    looked: NOT_ASKED,
    kept: NOT_ASKED,
    answered: NOT_ASKED,
    failed: NOT_ASKED,
  },
};

/** What is wrong with the accords of the intent, for people; undefined: nothing. */
export function standingAlarm({ intended, why }: Standing): string | undefined {
  if (intended === undefined || why === undefined) return undefined;
  return intended.hash === undefined && intended.fault === undefined
    ? `what stood before the accords of the intent is not in force again after revision ${String(intended.revision)}: ${why}`
    : `accords of revision ${String(intended.revision)} are not in force: ${why}`;
}

/**
 * One device as a total table: what becomes of it on every event, in every phase, and what is to be done.
 * It must not do any of it, nor read a clock: moments, readings, judgements and ends of plans come in as events.
 */
import type { Holder, IntentRefusal, Moment } from '@kedge/datastores';
import { refusal } from '@kedge/datastores';
import { type Drift, driftIntervalMs } from '@kedge/drift';
import { canonicalText, type Sha256 } from '@kedge/reconcile';
import { nanosFromMillis, type Nanos, nanosOf } from '@kedge/units';

import { applianceAt } from './authority.js';
import { type Attempt, type DeviceMemory, emptyMemory, historyAfter, spokenOf } from './device-memory.js';
import { isSamePosture, NO_POSTURE } from './device-posture.js';
import { type Intended, mayPlan } from './intended.js';
import { type Judgement, type Question, touches } from './judgement.js';
import {
  type AlarmKind,
  type Asked,
  ASKED_MAX,
  type DriftChange,
  type Effect,
  type EventKind,
  type EventOf,
  type Failure,
  type Happening,
  type Pass,
  type Phase,
  type Result,
  type RolloutEvent,
  type RolloutState,
  type Step,
  type Surroundings,
  type Work,
} from './rollout-state.js';

/** Automatic remedies of one place in an hour, at most (UN-7). */
export const REMEDIES_MOST = 5;
const HOUR_NS = 3_600_000_000_000n;
/** From the first failure to the next try, doubled with each further one; milliseconds. */
const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MOST_MS = 60_000;
/** Tries that fail alike before the next one has to wait for its interval. */
const ALIKE_MOST = 6;
/** Refusals of the gate that pass by themselves, as busy ones do; after the others the posture has to change. */
const GATE_PASSING = ['GATE_BUSY', 'GATE_RUNNING', 'GATE_SHUT', 'GATE_UNREADABLE'];

/** What a plan was made for holds no more. */
const SUPERSEDED = 'ROLLOUT_SUPERSEDED';

/**
 * A device at the start of the process.
 *
 * @param kept what was remembered of it; undefined: nothing.
 * @param damage what is wrong with what was remembered; it is as if nothing were.
 */
export function begun(
  device: string,
  kept: DeviceMemory | undefined,
  at: Moment,
  damage?: string,
): RolloutState {
  const memory = kept ?? emptyMemory(device);
  const { attempt } = memory;
  const known =
    attempt === null ? memory : ended(memory, attempt, 'unknown', Math.max(at.wallMs, memory.wallMs));
  return {
    device,
    memory: known,
    intended: undefined,
    posture: NO_POSTURE,
    work: { phase: 'idle' },
    number: 0,
    isWanted: true,
    asked: [],
    drifts: memory.drifts,
    telling: undefined,
    trouble: undefined,
    refused: undefined,
    isReached: true,
    refusals: [],
    dormant: [],
    known: undefined,
    // For how long the process was away nobody can tell: they count for another hour.
    remedies: memory.remedies.map((path) => ({ path, atNs: at.ns })),
    readAtMs: undefined,
    passedNs: undefined,
    clock: { ns: at.ns, wallMs: Math.max(at.wallMs, memory.wallMs) },
    alarms: damage === undefined ? {} : { memory: damage },
    wakeNs: undefined,
  };
}

/** What happens to `state` on `event`. Total and pure. Memory that has to be kept first is the first effect. */
export function step(state: RolloutState, event: RolloutEvent, around: Surroundings): Step {
  const turn = new Turn(state, event.at, around);
  // One cast: the table's type proves that the handler fits both.
  (TABLE[state.work.phase] as Readonly<Record<EventKind, AnyHandler>>)[event.kind](turn, event);
  return turn.done();
}

/**
 * Why the plan that is under way must not be sent any more; undefined: it may. A plan waits for its turn and for memory,
 * and a revision that was taken back meanwhile must not come to the device: to be asked in the moment before it is sent.
 *
 * @param coming what has happened and was not taken yet.
 */
export function supersededBy(
  { device, work, ...now }: RolloutState,
  coming: readonly Happening[],
): Failure | undefined {
  let { intended, posture } = now;
  for (const event of coming) {
    if (event.kind === 'intended') intended = event.intended;
    if (event.kind === 'posture') posture = event.posture;
  }
  if (
    work.phase === 'carrying' &&
    intended?.key === work.intended.key &&
    intended.isRecalled === work.intended.isRecalled &&
    isSamePosture(posture, work.posture)
  )
    return undefined;
  const message = `a plan for ${device} was not sent: its intent or the posture became another one`;
  return { code: SUPERSEDED, message };
}

type Handler<P extends Phase, K extends EventKind> = (
  turn: Turn,
  event: EventOf<K>,
  work: Extract<Work, { phase: P }>,
) => void;
type AnyHandler = (turn: Turn, event: RolloutEvent) => void;
type Table = {
  readonly [P in Phase]: { readonly [K in EventKind]: (turn: Turn, event: EventOf<K>) => void };
};

/** Gives a handler the work of its phase. */
const during =
  <P extends Phase, K extends EventKind>(phase: P, handler: Handler<P, K>) =>
  (turn: Turn, event: EventOf<K>): void => {
    const { work } = turn.state;
    if (work.phase === phase) handler(turn, event, work as Extract<Work, { phase: P }>);
  };
/** An answer that nobody waits for any more. */
const late = (): void => undefined;

/** The same in every phase. */
const ANY = {
  intended: (turn: Turn, { intended }: EventOf<'intended'>): void => {
    turn.intend(intended);
  },
  posture: (turn: Turn, { posture }: EventOf<'posture'>): void => {
    if (isSamePosture(turn.state.posture, posture)) return;
    turn.set({ posture });
    // What was not let through may be now; what differs may be remedied otherwise.
    turn.set({ trouble: undefined });
    if (turn.isPending || turn.state.drifts.length > 0) turn.set({ isWanted: true });
  },
  tick: (): void => undefined,
  asked: (turn: Turn, { asked }: EventOf<'asked'>): void => {
    turn.ask(asked);
  },
  told: (turn: Turn, { isDurable }: EventOf<'told'>): void => {
    const { telling, memory } = turn.state;
    turn.set({ telling: undefined });
    if (!isDurable || telling === undefined) return;
    turn.set({ memory: { ...memory, drifts: [...telling], perhaps: [] } });
    turn.tell();
  },
};

const TABLE: Table = {
  idle: { ...ANY, read: late, unread: late, judged: late, carried: late },
  reading: {
    ...ANY,
    read: during('reading', (turn, { number, reading }, { pass }) => {
      if (number !== turn.state.number) return;
      turn.set({ readAtMs: turn.state.clock.wallMs, isReached: true });
      turn.judge(pass, reading);
    }),
    unread: during('reading', (turn, { number, failure }, { pass }) => {
      if (number !== turn.state.number) return;
      turn.set({ isReached: false });
      turn.fail(failure, true);
      turn.endPass({ ...pass, failure });
    }),
    judged: late,
    carried: late,
  },
  judging: {
    ...ANY,
    read: late,
    unread: late,
    judged: during('judging', (turn, { number, judgement }, work) => {
      const { intended, posture } = turn.state;
      if (number !== turn.state.number) return;
      if (work.intended !== intended || work.posture !== posture) turn.judge(work.pass, work.reading);
      else turn.take(work.pass, judgement, intended);
    }),
    carried: late,
  },
  carrying: {
    ...ANY,
    read: late,
    unread: late,
    judged: late,
    carried: during('carrying', (turn, { number, result }, { pass, posture }) => {
      if (number !== turn.state.number) return;
      turn.finish(pass, result, isSamePosture(posture, turn.state.posture));
    }),
  },
};

/** What an attempt that ended leaves in memory. */
function ended(
  memory: DeviceMemory,
  { intent, paths }: Attempt,
  how: 'applied' | 'untouched' | 'undone' | 'left' | 'unknown',
  atMs: number,
): DeviceMemory {
  const next = { ...memory, attempt: null };
  if (how === 'untouched') return next;
  if (how === 'applied')
    return intent === null
      ? next
      : {
          ...next,
          carried: intent,
          uncertain: null,
          history: historyAfter(memory.history, { kind: 'accorded', atMs }),
        };
  return {
    ...next,
    // What it made may be there: it goes when nobody intends it.
    uncertain:
      how === 'undone' || intent === null
        ? memory.uncertain
        : (spokenOf(memory.uncertain, intent.tree) ?? null),
    history: historyAfter(memory.history, { kind: 'failed', atMs, paths }),
  };
}

/** One step in the making. */
class Turn {
  readonly #before: RolloutState;
  readonly #sha256: Sha256;
  readonly #effects: Effect[] = [];
  state: RolloutState;

  constructor(state: RolloutState, at: Moment, { sha256 }: Surroundings) {
    this.#before = state;
    this.#sha256 = sha256;
    const { clock } = state;
    const passed = at.ns > clock.ns ? Number(at.ns - clock.ns) / 1e6 : 0;
    const ns = at.ns > clock.ns ? at.ns : clock.ns;
    // A clock that was set back makes no exception longer.
    this.state = { ...state, clock: { ns, wallMs: Math.max(at.wallMs, clock.wallMs + Math.floor(passed)) } };
  }

  set(some: Partial<RolloutState>): void {
    this.state = { ...this.state, ...some };
  }

  /** Whether what is intended is still to be brought. */
  get isPending(): boolean {
    return isPending(this.state);
  }

  intend(intended: Intended | undefined): void {
    const was = this.state.intended;
    this.set({ intended });
    if (intended === undefined || !isTended(this.state)) {
      for (const { id } of this.state.asked) this.#answer(id, untended(this.state.device));
      // Nobody says any more what it should be: nothing differs from that.
      this.set({ asked: [], trouble: undefined, drifts: [] });
      this.tell();
      return;
    }
    if (was?.key !== intended.key) this.set({ trouble: undefined, isWanted: true });
    // What was only watched may be remedied from now on.
    if (was?.isRecalled === true && this.state.drifts.length > 0) this.set({ isWanted: true });
    const { carried } = this.state.memory;
    if (!this.isPending && carried !== null && carried.revision !== intended.revision)
      this.set({ memory: { ...this.state.memory, carried: { ...carried, revision: intended.revision } } });
    if (this.isPending) this.set({ isWanted: true });
  }

  ask(asked: Asked): void {
    const { state } = this;
    if (!isTended(state)) this.#answer(asked.id, untended(state.device));
    else if (asked.what === 'remedy' && !mayRemedy(state)) this.#answer(asked.id, frozen(state));
    else if (state.asked.length >= ASKED_MAX) this.#answer(asked.id, busy(state.device));
    else this.set({ asked: [...state.asked, asked] });
  }

  /** A pass with a reading in hand. */
  judge(pass: Pass, reading: Question['reading']): void {
    const { state } = this;
    const { intended, memory, posture, clock } = state;
    if (intended === undefined || !isTended(state)) {
      this.endPass(pass);
      return;
    }
    this.#endExceptions(intended);
    const remedies = this.#recentRemedies();
    this.set({ remedies });
    const former = spokenOf(memory.carried?.tree, memory.uncertain);
    const question: Question = {
      intended,
      former,
      carried: memory.carried?.tree,
      isPending: this.isPending,
      reading,
      posture,
      mayBring: pass.mayBring,
      remedy:
        pass.remedy !== undefined && pass.remedied === undefined && pass.failure === undefined
          ? { path: pass.remedy.path }
          : pass.mayRemedy
            ? 'automatic'
            : 'none',
      spent: spentOf(remedies),
      last: state.drifts,
      history: memory.history,
      known: state.known,
      atMs: clock.wallMs,
    };
    const number = state.number + 1;
    this.set({ number, work: { phase: 'judging', pass, reading, intended, posture } });
    this.#effects.push({ do: 'judge', number, question });
  }

  /** What follows from a judgement. */
  take(pass: Pass, judgement: Judgement, intended: Intended): void {
    const { isAccorded, known, refusals, dormant, drifts, work, spent } = judgement;
    this.set({ known, refusals, dormant });
    if (isAccorded) this.#accord(intended);
    if (drifts !== undefined) {
      this.set({ drifts });
      this.tell();
      if (spent.length > 0)
        this.#alarm(
          'remedies',
          `${spent.join(', ')} had to be remedied ${REMEDIES_MOST} times within an hour`,
        );
      else this.#calm('remedies');
    }
    const isAsked = pass.remedy !== undefined && pass.remedied === undefined && pass.failure === undefined;
    if (work === undefined) {
      this.endPass(isAsked && drifts !== undefined ? { ...pass, remedied: 0 } : pass);
      return;
    }
    const { state } = this;
    const { posture, memory, clock } = state;
    const own = applianceAt(posture.underlay);
    let by: Holder = own;
    if (work.aim === 'intent') by = intended.by ?? own;
    else if (isAsked && pass.remedy !== undefined) by = pass.remedy.by;
    const isAutomatic = work.aim === 'remedy' && !isAsked;
    // What was refused is the same mutation when it is asked for again: one proposal, not one at each try.
    const same = [work.aim, intended.key, work.plan.id, ...(work.aim === 'remedy' ? work.paths : [])].join(
      '\n',
    );
    const id = state.refused?.what === same ? state.refused.id : this.#idOf(work.plan.id);
    const attempt: Attempt = {
      id,
      planId: work.plan.id,
      intent:
        work.aim === 'intent'
          ? { revision: intended.revision, key: intended.key, tree: intended.tree }
          : null,
      paths: work.plan.steps.map(({ path }) => path),
      remedies: work.aim === 'remedy' ? [...work.paths] : [],
    };
    const remedies = isAutomatic
      ? [...state.remedies, ...attempt.remedies.map((path) => ({ path, atNs: clock.ns }))]
      : state.remedies;
    this.set({
      remedies,
      memory: { ...memory, attempt, remedies: remedies.map(({ path }) => path) },
      number: state.number + 1,
      known: undefined,
      refused: { what: same, id },
      work: {
        phase: 'carrying',
        pass: { ...pass, mayRemedy: pass.mayRemedy && !isAutomatic },
        intended,
        posture,
      },
    });
    this.#effects.push({
      do: 'carryOut',
      number: this.state.number,
      id,
      device: intended.device,
      plan: work.plan,
      by,
    });
  }

  /** A plan has ended. @param isSame whether the posture is the one under which it began. */
  finish(pass: Pass, result: Result, isSame: boolean): void {
    const { memory, clock, remedies } = this.state;
    const { attempt } = memory;
    if (attempt === null) {
      this.endPass(pass);
      return;
    }
    const isRemedy = attempt.intent === null;
    const failure = failureOf(result);
    const how = endOf(result);
    this.set({ memory: ended(memory, attempt, how, clock.wallMs) });
    if (result.end !== 'refused') this.set({ refused: undefined });
    if (how === 'untouched' && isRemedy && pass.remedy === undefined) {
      // Nothing was remedied: it does not count.
      const left = [...remedies];
      for (const path of attempt.remedies)
        left.splice(
          left.findLastIndex((each) => each.path === path),
          1,
        );
      this.set({ remedies: left });
      this.#keepRemedies();
    }
    if (failure?.code === SUPERSEDED) {
      // That is no trouble of the device: whatever holds instead was heard, and a pass is wanted for it.
      this.endPass({ ...pass, failure });
      return;
    }
    if (how === 'left') this.#alarm('rollback', rollbackText(this.state.device, result));
    if (failure === undefined) this.set({ trouble: undefined });
    else this.fail(failure, isSame ? isPassing(failure) : true);
    const isAsked = isRemedy && pass.remedy !== undefined && pass.remedied === undefined;
    const next: Pass = {
      ...pass,
      // One plan of each kind in a pass, and what it left is measured.
      mayBring: pass.mayBring && isRemedy && failure === undefined,
      mayRemedy: pass.mayRemedy && !isRemedy && failure === undefined,
      remedied: isAsked && failure === undefined ? attempt.remedies.length : pass.remedied,
      failure: failure ?? pass.failure,
    };
    if (failure !== undefined && !isRemedy && this.state.trouble?.againNs !== undefined) this.endPass(next);
    else if (result.end === 'known' && result.reading !== undefined) {
      this.set({ readAtMs: clock.wallMs, isReached: true });
      this.judge(next, result.reading);
    } else this.#read(next);
  }

  /** Notes a failure, and when it is tried again. @param isQuick before the next pass by interval. */
  fail({ code, message }: Failure, isQuick: boolean): void {
    const { trouble, clock } = this.state;
    const inARow = (trouble?.inARow ?? 0) + 1;
    const alike = trouble?.code === code ? trouble.alike + 1 : 1;
    const isAgain = isQuick && alike < ALIKE_MOST;
    const wait = Math.min(BACKOFF_FIRST_MS * 2 ** (inARow - 1), BACKOFF_MOST_MS);
    const againNs = isAgain ? nanosOf(clock.ns + nanosFromMillis(wait)) : undefined;
    this.set({ trouble: { code, message, inARow, alike, againNs } });
  }

  endPass(pass: Pass): void {
    const { clock, intended, device } = this.state;
    this.set({ work: { phase: 'idle' }, passedNs: clock.ns });
    if (pass.failure === undefined) this.set({ trouble: undefined });
    const isGone = intended === undefined || !isTended(this.state);
    for (const { id } of pass.checks)
      this.#answer(id, isGone ? untended(device) : { kind: 'done', remedied: 0 });
    if (pass.remedy === undefined) return;
    let reply: IntentRefusal | { kind: 'done'; remedied: number };
    if (isGone) reply = untended(device);
    else if (pass.remedied !== undefined) reply = { kind: 'done', remedied: pass.remedied };
    else if (pass.failure !== undefined) reply = refusal({ ...pass.failure });
    else if (!mayRemedy(this.state)) reply = frozen(this.state);
    else reply = { kind: 'done', remedied: 0 };
    this.#answer(pass.remedy.id, reply);
  }

  /** Says what differs otherwise than was said last. */
  tell(): void {
    const { telling, drifts, memory, posture } = this.state;
    if (telling !== undefined) return;
    const { perhaps } = memory;
    const changes = changesBetween(memory.drifts, perhaps, drifts);
    if (changes.length === 0) return;
    // Written down ahead: what the ledger may have is cleared one day, also when nobody learnt that it has it.
    const more = changes.flatMap(({ kind, drift }) =>
      kind === 'appeared' && !perhaps.some(({ path }) => path === drift.path) ? [drift] : [],
    );
    this.set({ telling: drifts });
    if (more.length > 0) this.set({ memory: { ...memory, perhaps: [...perhaps, ...more] } });
    this.#effects.push({ do: 'tell', changes, posture });
  }

  /** The step as it is: what is due begins, memory comes first. */
  done(): Step {
    this.#begin();
    const { state } = this;
    const effects = this.#effects;
    const at = wakeOf(state);
    if (at !== state.wakeNs) {
      this.set({ wakeNs: at });
      effects.push({ do: 'wake', at });
    }
    if (state.memory === this.#before.memory) return { state: this.state, effects };
    const memory = { ...state.memory, wallMs: Math.max(state.memory.wallMs, state.clock.wallMs) };
    this.set({ memory });
    return { state: this.state, effects: [{ do: 'keep', memory }, ...effects] };
  }

  #begin(): void {
    const { state } = this;
    const { work, asked, isWanted, clock } = state;
    if (work.phase !== 'idle' || !isTended(state)) return;
    const due = dueOf(state);
    if (!isWanted && asked.length === 0 && (due === undefined || due > clock.ns)) return;
    const remedy = asked.find((each) => each.what === 'remedy');
    const { trouble } = state;
    this.set({
      isWanted: false,
      asked: asked.filter((each) => each.what === 'remedy' && each !== remedy),
      trouble: trouble === undefined ? undefined : { ...trouble, againNs: undefined },
    });
    this.#read({
      checks: asked.filter((each) => each.what === 'check'),
      remedy,
      mayBring: true,
      mayRemedy: true,
      remedied: undefined,
      failure: undefined,
    });
  }

  #read(pass: Pass): void {
    const { intended, number } = this.state;
    if (intended === undefined || !isTended(this.state)) {
      this.endPass(pass);
      return;
    }
    this.set({ number: number + 1, work: { phase: 'reading', pass } });
    this.#effects.push({ do: 'read', number: number + 1, device: intended.device });
  }

  /** The device is as intended. */
  #accord({ revision, key, tree }: Intended): void {
    const { memory, clock } = this.state;
    this.#calm('rollback');
    this.#calm('memory');
    this.set({ trouble: undefined });
    const { carried, uncertain, history } = memory;
    const isKnown = carried?.key === key && carried.revision === revision && uncertain === null;
    const isTold = history.length > 0 && history.every(({ kind }) => kind === 'accorded');
    if (isKnown && isTold) return;
    const atMs = clock.wallMs;
    this.set({
      memory: {
        ...memory,
        carried: isKnown ? carried : { revision, key, tree },
        uncertain: null,
        history: historyAfter(history, { kind: 'accorded', atMs }),
      },
    });
  }

  /** An exception that has ended is remembered as ended, whatever the clock says later. */
  #endExceptions({ site }: Intended): void {
    const { memory, clock, device } = this.state;
    const hasEnded = (site['kedge-drift:drift']?.exception ?? []).some(({ device: of, until }) => {
      const end = Date.parse(until);
      return of === device && end > memory.wallMs && end <= clock.wallMs;
    });
    if (hasEnded) this.set({ memory: { ...memory, wallMs: clock.wallMs } });
  }

  #recentRemedies(): RolloutState['remedies'] {
    const { remedies, clock } = this.state;
    return remedies.filter(({ atNs }) => clock.ns - atNs < HOUR_NS);
  }

  #keepRemedies(): void {
    const { memory, remedies } = this.state;
    this.set({ memory: { ...memory, remedies: remedies.map(({ path }) => path) } });
  }

  #idOf(planId: string): string {
    const { device, clock, number } = this.state;
    const hash = this.#sha256(
      [device, planId, String(clock.ns), String(clock.wallMs), String(number)].join('\n'),
    );
    return `rollout-${hash.slice(0, 40)}`;
  }

  #alarm(kind: AlarmKind, message: string): void {
    const { alarms } = this.state;
    if (alarms[kind] === message) return;
    this.set({ alarms: { ...alarms, [kind]: message } });
    this.#effects.push({ do: 'alarm', kind, message });
  }

  #calm(kind: AlarmKind): void {
    const { [kind]: was, ...alarms } = this.state.alarms;
    if (was !== undefined) this.set({ alarms });
  }

  #answer(id: string, reply: Extract<Effect, { do: 'answer' }>['reply']): void {
    this.#effects.push({ do: 'answer', id, reply });
  }
}

/** Whether a device is looked after: the inventory has it, and it is in service or is to be. */
export function isTended({ intended }: Pick<RolloutState, 'intended'>): boolean {
  return intended !== undefined && intended.device['life-cycle'] !== 'retired';
}

function mayRemedy({ intended, posture }: RolloutState): boolean {
  return intended !== undefined && mayPlan(intended, posture);
}

/** Whether what is intended for a device is still to be brought to it. */
export function isPending({ intended, memory }: Pick<RolloutState, 'intended' | 'memory'>): boolean {
  return intended !== undefined && (memory.uncertain !== null || memory.carried?.key !== intended.key);
}

/** When a device is looked at next by itself; undefined = at once, or never where it is not looked after. */
export function dueOf(state: RolloutState): Nanos | undefined {
  const { passedNs, trouble, posture } = state;
  if (!isTended(state) || passedNs === undefined) return undefined;
  const interval = nanosOf(passedNs + nanosFromMillis(driftIntervalMs(posture.underlay)));
  const again = trouble?.againNs;
  return again !== undefined && again < interval ? again : interval;
}

function wakeOf(state: RolloutState): Nanos | undefined {
  return state.work.phase === 'idle' ? dueOf(state) : undefined;
}

/** Places that were remedied as often as may be. */
function spentOf(remedies: RolloutState['remedies']): string[] {
  const places = [...new Set(remedies.map(({ path }) => path))];
  return places.filter(
    (place) => remedies.filter(({ path }) => touches(path, place)).length >= REMEDIES_MOST,
  );
}

function failureOf(result: Result): Failure | undefined {
  if (result.end !== 'known') return result.failure;
  switch (result.outcome) {
    case 'applied':
    case 'unchanged':
      return undefined;
    case 'failed':
      return result.failure ?? { code: 'DRIVER_WRITE', message: 'the plan was not carried out' };
    case 'cancelled':
      return {
        code: 'GATE_SHUT',
        message: 'the posture changed while the plan was carried out; it was undone',
      };
  }
}

function endOf(result: Result): 'applied' | 'untouched' | 'undone' | 'left' | 'unknown' {
  if (result.end === 'unknown') return 'unknown';
  if (result.end === 'refused') return 'untouched';
  if (result.outcome === 'applied' || result.outcome === 'unchanged') return 'applied';
  if (result.rolledBack === undefined) return 'untouched';
  return result.rolledBack ? 'undone' : 'left';
}

/** Whether another try soon may end otherwise. */
function isPassing({ code }: Failure): boolean {
  return !code.startsWith('GATE_') || GATE_PASSING.includes(code);
}

function rollbackText(device: string, result: Result): string {
  const remaining = result.end === 'known' ? result.remaining : [];
  const first = remaining[0]?.path ?? 'it could not be read back';
  return `a plan on ${device} failed and was not undone wholly: ${String(remaining.length)} differ, ${first}`;
}

/**
 * What is to be told.
 *
 * @param told as the ledger has it.
 * @param perhaps what the ledger may have besides: told again where it is there, cleared where it is not.
 */
export function changesBetween(
  told: readonly Drift[],
  perhaps: readonly Drift[],
  now: readonly Drift[],
): DriftChange[] {
  const was = new Map(told.map((drift) => [drift.path, drift]));
  const gone = new Map([...perhaps, ...told].map((drift) => [drift.path, drift]));
  const changes = now.flatMap((drift): DriftChange[] => {
    const before = was.get(drift.path);
    gone.delete(drift.path);
    if (before === undefined) return [{ kind: 'appeared', drift }];
    return sameDrift(before, drift) ? [] : [{ kind: 'changed', drift }];
  });
  return [...changes, ...[...gone.values()].map((drift): DriftChange => ({ kind: 'cleared', drift }))];
}

/** Alike but for when it was seen. */
function sameDrift(a: Drift, b: Drift): boolean {
  const textOf = (drift: Drift): string => canonicalText({ ...drift, sinceMs: 0, seenMs: 0 });
  return textOf(a) === textOf(b);
}

function untended(device: string): IntentRefusal {
  return refusal({
    code: 'ROLLOUT_UNTENDED',
    message: `cannot look at ${device}: it is not in service`,
    field: 'device',
    expected: 'a device of the inventory that is not retired',
  });
}

function frozen({ device, intended, posture: { level, underlay } }: RolloutState): IntentRefusal {
  const why =
    intended?.isRecalled === true
      ? 'its intent from before the start has not been accepted anew'
      : `at level ${String(level)} the mutation gate is ${underlay.gate.mode}`;
  return refusal({
    code: 'ROLLOUT_FROZEN',
    message: `cannot remedy ${device}: ${why}`,
    expected: 'a level whose gate is open or for tiers',
    help: 'what differs is recorded meanwhile; ask again at a higher level',
  });
}

function busy(device: string): IntentRefusal {
  return refusal({
    code: 'ROLLOUT_BUSY',
    message: `cannot take the request: as many wait for ${device} as may wait`,
    help: 'ask again when some of them are answered',
  });
}

/**
 * The datastores as a total table: what becomes of every state on every event, and what is to be done.
 * It must not do any of it, nor read a clock: moments, hashes, the schema's answers and the level come in as events.
 */
import { canonicalText } from '@kedge/reconcile';
import { nanosOf } from '@kedge/units';

import { edited } from './data-path.js';
import {
  type Candidate,
  type Check,
  CHECKS_MAX,
  CONFIRM_SECONDS_MAX,
  type ConfirmingState,
  type DatastoresEvent,
  type DatastoresState,
  type Effect,
  type EventKind,
  type EventOf,
  type FailedState,
  type Fact,
  frozenAt,
  type Held,
  headsOf,
  type Moment,
  type OpenState,
  type Phase,
  type Posture,
  type Reply,
  REQUEST_KINDS,
  type RequestKind,
  type SettledState,
  type StateOf,
  type Step,
  type Surroundings,
  type Validity,
} from './datastores-state.js';
import {
  type Container,
  documentFrom,
  documentOf,
  EMPTY_TEXT,
  type IntentDocument,
  treeOf,
  utf8Bytes,
} from './document.js';
import { dropped } from './history.js';
import { type IntentRefusal, isRefusal, refusal, wrongField } from './refusal.js';
import {
  type Cause,
  type Holder,
  isSameHolder,
  type Keep,
  type Kept,
  type Revision,
  revisionOf,
} from './revision.js';

type Table = {
  readonly [P in Phase]: {
    readonly [K in EventKind]: (state: StateOf<P>, event: EventOf<K>, around: Surroundings) => Step;
  };
};
type AnyHandler = (state: DatastoresState, event: DatastoresEvent, around: Surroundings) => Step;
type RequestOf = { [K in RequestKind]: EventOf<K> }[RequestKind];

/**
 * What happens to `state` on `event`. Total and pure. Whatever the event, a time to confirm that is over by then ends
 * first. Its transaction, where there is one, is the first effect.
 */
export function step(state: DatastoresState, event: DatastoresEvent, around: Surroundings): Step {
  const isDue = state.phase === 'confirming' && event.at.ns >= state.deadline && event.kind !== 'storeFailed';
  // Of a level that comes at the same moment the time is over under that level already.
  const overdue =
    isDue && event.kind === 'level' ? { ...state, level: event.level, epoch: event.epoch } : state;
  const first = isDue && overdue.phase === 'confirming' ? timeOver(overdue, event.at, around) : moved(state);
  if (first.kind === 'refused') return first;
  // One cast: the table's type proves that the handler fits both.
  const handlers = TABLE[first.state.phase] as unknown as Readonly<Record<EventKind, AnyHandler>>;
  const second = handlers[event.kind](first.state, event, around);
  if (second.kind === 'refused') return second;
  const keep = keepBetween(stored(state, event), second.state);
  const after =
    keep === undefined || !isOpen(second.state) ? second.state : { ...second.state, step: keep.heads.step };
  return moved(after, [
    ...(keep === undefined ? [] : [{ do: 'keep', keep } as const]),
    ...wakeBetween(state, after),
    ...withheldBetween(state, after),
    ...first.effects,
    ...second.effects,
  ]);
}

const moved = (state: DatastoresState, effects: readonly Effect[] = []): Step => ({
  kind: 'moved',
  state,
  effects,
});
const refused = (why: string): Step => ({ kind: 'refused', why });
const isOpen = (state: DatastoresState): state is OpenState =>
  state.phase === 'settled' || state.phase === 'confirming' || state.phase === 'waiting';

/* ------------------------------------------------ what follows from a step */

/** What storage has before the step; undefined where it has nothing. */
function stored(state: DatastoresState, event: DatastoresEvent): OpenState | undefined {
  if (isOpen(state)) return state;
  return event.kind === 'opened' && event.kept !== undefined ? asKept(state, event.kept, event) : undefined;
}

/** The transaction by which storage follows; none where nothing that survives has changed. */
function keepBetween(before: OpenState | undefined, after: DatastoresState): Keep | undefined {
  if (!isOpen(after)) return undefined;
  const heads = headsOf(after);
  if (
    before !== undefined &&
    before.history === after.history &&
    canonicalText(headsOf(before)) === canonicalText(heads)
  ) {
    return undefined;
  }
  const numbersOf = (state: OpenState | undefined): ReadonlySet<number> =>
    new Set(state?.history.map(({ number }) => number));
  const hashesOf = (state: OpenState | undefined): ReadonlySet<string> =>
    new Set(state === undefined ? [] : [...state.history.map(({ hash }) => hash), state.candidate.hash]);
  const [numbers, left] = [numbersOf(before), numbersOf(after)];
  const [hashes, named] = [hashesOf(before), hashesOf(after)];
  const texts = new Map([
    [after.candidate.hash, after.candidate.text],
    [after.running.revision.hash, after.running.text],
  ]);
  return {
    heads: { ...heads, step: (before?.step ?? 0) + 1 },
    revisions: after.history.filter(({ number }) => !numbers.has(number)),
    // A document that is new stands in the candidate or is running.
    documents: [...texts].filter(([hash]) => !hashes.has(hash)).map(([hash, text]) => ({ hash, text })),
    drop: [...numbers].filter((number) => !left.has(number)),
    forget: [...hashes].filter((hash) => !named.has(hash)),
  };
}

function wakeBetween(before: DatastoresState, after: DatastoresState): readonly Effect[] {
  const [was, is] = [before, after].map((state) =>
    state.phase === 'confirming' ? state.deadline : undefined,
  );
  return was === is ? [] : [{ do: 'wake', at: is }];
}

/**
 * Told of what is intended, the compiler is told as well when it is no more: a commit whose time is over waits for the
 * posture, what was put back waits for the modules, nothing can be kept any more.
 */
function withheldBetween(before: DatastoresState, after: DatastoresState): readonly Effect[] {
  return isGiven(before) && !isGiven(after) ? [{ do: 'withhold' }] : [];
}

/** Whether what the compiler was given is what is running, and is to stay until somebody says otherwise. */
function isGiven(state: DatastoresState): boolean {
  return isOpen(state) && state.phase !== 'waiting' && state.given === state.running.revision.number;
}

/* ----------------------------------------------------------------- opening */

/** The state that a store stands for, before anything is made of it. Held together by `checkKept`. */
function asKept(
  { level, epoch }: DatastoresState,
  { heads, revisions, documents }: Kept,
  { modules, at }: { readonly modules: string; readonly at: Moment },
): OpenState {
  const heldOf = (number: number): Held => {
    const revision = revisions.find((each) => each.number === number);
    const text = revision && documents.get(revision.hash);
    if (revision === undefined || text === undefined) {
      throw new TypeError(`the store was not checked: it has no revision ${number}`);
    }
    return { revision, text };
  };
  const running = heldOf(heads.running);
  const { lock, pending, candidate, step: steps } = heads;
  const known = {
    level,
    epoch,
    step: steps,
    modules,
    running,
    startup: heldOf(heads.startup),
    intended: heads.intended === null ? undefined : heldOf(heads.intended),
    given: undefined,
    candidate: { ...candidate, text: documents.get(candidate.hash) ?? EMPTY_TEXT },
    operational: undefined,
    lock,
    history: revisions,
    validity: validityOf(running, modules),
    checks: [],
  };
  return pending === null
    ? { ...known, phase: 'settled' }
    : { ...known, phase: 'waiting', pending, because: 'restarted', since: at };
}

function opened(before: StateOf<'opening'>, event: EventOf<'opened'>, around: Surroundings): Step {
  const { kept, modules, at } = event;
  if (kept === undefined) return moved(begun(before, modules, at, around));
  const state = asKept(before, kept, event);
  const { revision } = state.running;
  // The process may have ended between the transaction and what was written down of it.
  const again: readonly Effect[] =
    revision.cause === 'initial'
      ? []
      : [record({ fact: 'running', revision, was: revision.number - 1 }, at, state)];
  return continued(again, begunAgain(state, at, around));
}

function begunAgain(state: OpenState, at: Moment, around: Surroundings): Step {
  if (state.phase === 'settled') return settledOn(state);
  // A commit that nobody has confirmed does not outlive the process that counted its time (RFC 6241 section 8.4.1).
  if (state.phase === 'confirming') return refused('a time to confirm does not outlive its process');
  if (frozenAt(state.level).compilation) return moved(state, [waits(state, 'restarted', at)]);
  return putBack(state, 'restarted', null, at, around);
}

/** The first start: nothing is running, and nobody intended that. */
function begun(
  { level, epoch }: StateOf<'opening'>,
  modules: string,
  at: Moment,
  { sha256 }: Surroundings,
): OpenState {
  const document = { text: EMPTY_TEXT, hash: sha256(EMPTY_TEXT), bytes: utf8Bytes(EMPTY_TEXT) };
  const revision = revisionOf(
    {
      number: 1,
      parent: null,
      ...whenAt(at, { level, epoch }),
      by: null,
      cause: 'initial',
      of: null,
      confirmSeconds: null,
      comment: '',
      hash: document.hash,
      bytes: document.bytes,
      modules: null,
    },
    sha256,
  );
  const held = { revision, text: EMPTY_TEXT };
  return {
    phase: 'settled',
    level,
    epoch,
    step: 0,
    modules,
    running: held,
    startup: held,
    intended: undefined,
    given: undefined,
    candidate: candidateOf(held, at),
    operational: undefined,
    lock: null,
    history: [revision],
    validity: { state: 'valid' },
    checks: [],
  };
}

/** When and under what a revision comes about. */
function whenAt(at: Moment, { level, epoch }: Posture): Pick<Revision, 'atMs' | 'atNs' | 'level' | 'epoch'> {
  return { atMs: at.wallMs, atNs: String(at.ns), level, epoch: String(epoch) };
}

function candidateOf({ revision: { number, hash, bytes }, text }: Held, at: Moment): Candidate {
  return { base: number, text, hash, bytes, by: null, atMs: at.wallMs };
}

/** Nothing at all is what it is by any modules: what takes everything back never waits for them. */
function validityOf({ revision, text }: Held, modules: string): Validity {
  return { state: text === EMPTY_TEXT || revision.modules === modules ? 'valid' : 'unchecked' };
}

/**
 * What follows where running has just become what it is, or the posture lets more: the compiler is given what the
 * modules accept, and what they were not asked about they are.
 */
function settledOn(state: OpenState): Step {
  const { running, validity, given } = state;
  const { number, cause } = running.revision;
  // The empty beginning is not intended by anybody: it is not given to the compiler.
  if (cause === 'initial') return moved(state);
  if (validity.state === 'unchecked') {
    const id = `running/${number}`;
    if (state.checks.some((check) => check.id === id)) return moved(state);
    return moved({ ...state, checks: [...state.checks, { for: 'running', id, number }] }, [
      { do: 'validate', id, text: running.text },
    ]);
  }
  if (validity.state === 'invalid' || frozenAt(state.level).compilation) return moved(state);
  // Also after a restart: what the compiler made is not kept.
  if (given === number) return moved(state);
  return moved({ ...state, intended: running, given: number }, [{ do: 'intend', held: running }]);
}

/* ------------------------------------------------------------ new revisions */

interface Making {
  readonly document: IntentDocument;
  readonly by: Holder | null;
  readonly cause: Cause;
  readonly of: number | null;
  readonly confirmSeconds: number | undefined;
  readonly comment: string;
  readonly modules: string | null;
}

/** The state with a new revision running, all else as it was; the history is inside its bounds again. */
function withRevision<S extends OpenState>(state: S, making: Making, at: Moment, around: Surroundings): S {
  const { document, by, cause, of, confirmSeconds, comment, modules } = making;
  const before = state.running.revision;
  const revision = revisionOf(
    {
      number: before.number + 1,
      parent: before.id,
      ...whenAt(at, state),
      by,
      cause,
      of,
      confirmSeconds: confirmSeconds ?? null,
      comment,
      hash: document.hash,
      bytes: document.bytes,
      modules,
    },
    around.sha256,
  );
  const running = { revision, text: document.text };
  const { candidate } = state;
  // What is running now was the candidate, or nobody had changed it: it follows. What was changed stays what it is.
  const follows = candidate.by === null || candidate.hash === document.hash;
  const isCommit = cause === 'commit';
  return {
    ...state,
    running,
    history: [...state.history, revision],
    candidate: follows
      ? candidateOf(running, at)
      : isCommit
        ? { ...candidate, base: revision.number }
        : candidate,
    validity: validityOf(running, state.modules),
  };
}

function bounded<S extends OpenState>(state: S, { history: bounds }: Surroundings): S {
  const { running, startup, intended, history } = state;
  const inForce = new Set(
    [running, startup, intended].flatMap((held) => (held === undefined ? [] : [held.revision.number])),
  );
  const gone = new Set(dropped(history, inForce, bounds));
  return gone.size === 0 ? state : { ...state, history: history.filter((revision) => !gone.has(revision)) };
}

/** What stands before the commit that was to be confirmed is running again, as a revision of its own. */
function putBack(
  state: ConfirmingState | StateOf<'waiting'>,
  cause: 'cancelled' | 'expired' | 'restarted',
  by: Holder | null,
  at: Moment,
  around: Surroundings,
): Step {
  const { startup, pending } = state;
  const { hash, bytes, modules, number } = startup.revision;
  const document = { text: startup.text, hash, bytes };
  const made = withRevision(
    state,
    { document, by, cause, of: number, confirmSeconds: undefined, comment: '', modules },
    at,
    around,
  );
  const given = settledOn(settledOf(made, made.running));
  if (given.kind === 'refused' || !isOpen(given.state)) return given;
  const { revision } = made.running;
  return moved(bounded(given.state, around), [
    record({ fact: 'running', revision, was: pending.revision }, at, state),
    ...given.effects,
  ]);
}

/** The same, with nothing to be confirmed any more. */
function settledOf(state: OpenState, startup: Held): SettledState {
  const {
    level,
    epoch,
    step: steps,
    modules,
    running,
    intended,
    given,
    candidate,
    operational,
    lock,
    history,
  } = state;
  const { validity, checks } = state;
  return {
    phase: 'settled',
    level,
    epoch,
    step: steps,
    modules,
    running,
    startup,
    intended,
    given,
    candidate,
    operational,
    lock,
    history,
    validity,
    checks,
  };
}

/** The time to confirm is over: what stood before is put back, now or when the posture lets it (UN-14). */
function timeOver(state: ConfirmingState, at: Moment, around: Surroundings): Step {
  if (!frozenAt(state.level).compilation) return putBack(state, 'expired', null, at, around);
  const { deadline: _, ...rest } = state;
  const waiting = { ...rest, phase: 'waiting', because: 'expired', since: at } as const;
  return moved(waiting, [waits(waiting, 'expired', at)]);
}

function waits(state: OpenState, because: 'expired' | 'restarted', at: Moment): Effect {
  return record({ fact: 'waiting', revision: state.running.revision, because }, at, state);
}

const record = (fact: Fact, at: Moment, { level, epoch }: Posture): Effect => ({
  do: 'record',
  fact,
  at,
  posture: { level, epoch },
});

function continued(before: readonly Effect[], result: Step): Step {
  return result.kind === 'moved' ? moved(result.state, [...before, ...result.effects]) : result;
}

/* ---------------------------------------------------------------- refusals */

/** Requests whose refusal is written down: what would have changed running, or somebody else's lock. */
const RECORDED: ReadonlySet<RequestKind> = new Set(['commit', 'rollback', 'confirm', 'cancel', 'unlock']);

interface Asking {
  readonly id: string;
  readonly by: Holder;
  readonly comment: string;
  readonly revision: number | null;
}

/** Says no, and writes it down where it matters. */
function no(
  state: DatastoresState,
  request: RequestKind,
  { id, by, comment, revision }: Asking,
  why: IntentRefusal,
  at: Moment,
): Step {
  const fact: Fact = { fact: 'refused', request, by, comment, revision, refusal: why };
  return moved(state, [
    ...(RECORDED.has(request) ? [record(fact, at, state)] : []),
    { do: 'answer', id, reply: why },
  ]);
}

function askingOf(event: RequestOf): Asking {
  const { id, by } = event;
  const comment = 'comment' in event ? event.comment : '';
  const revision =
    event.kind === 'rollback' ? event.to : (('revision' in event ? event.revision : undefined) ?? null);
  return { id, by, comment, revision };
}

const answered = (state: DatastoresState, id: string, reply: Reply): Step =>
  moved(state, [{ do: 'answer', id, reply }]);

const nameOf = ({ principal, tier, channel }: Holder): string => `${principal} (${tier}, ${channel})`;
const timeOf = (ms: number): string => new Date(ms).toISOString();

function lockedByOther({ lock }: OpenState, by: Holder): IntentRefusal | undefined {
  if (lock === null || isSameHolder(lock.by, by)) return undefined;
  return refusal({
    code: 'INTENT_LOCKED',
    message: `cannot change the intent: ${nameOf(lock.by)} has locked it since ${timeOf(lock.atMs)}`,
    expected: 'no lock, or your own',
    help: 'ask its holder, or break the lock if you may: unlock with force',
  });
}

function frozen({ level }: OpenState): IntentRefusal | undefined {
  if (!frozenAt(level).compilation) return undefined;
  return refusal({
    code: 'INTENT_FROZEN',
    message: `cannot put another intent in force: nothing is compiled at level ${level}`,
    field: 'level',
    expected: 'level 3 or looser',
    help: 'the candidate can be edited and validated meanwhile; changes that were approved beforehand go by the underlay',
  });
}

function notConfirmedYet(state: OpenState): IntentRefusal | undefined {
  if (state.phase === 'settled') return undefined;
  const { revision, by, untilMs } = state.pending;
  return refusal({
    code: 'INTENT_PENDING',
    message: `cannot put another intent in force: revision ${revision} of ${nameOf(by)} waits to be confirmed until ${timeOf(untilMs)}`,
    expected: 'nothing that waits to be confirmed',
    help: 'confirm it, cancel it, or wait for its end',
  });
}

function raced({ history, running }: OpenState, base: number): IntentRefusal | undefined {
  if (base === running.revision.number) return undefined;
  const between = history.find(({ number }) => number > base) ?? running.revision;
  const by = between.by === null ? 'the appliance itself' : nameOf(between.by);
  return refusal({
    code: 'INTENT_RACED',
    message: `cannot put it in force on top of revision ${base}: revision ${between.number} (${between.cause}) of ${by} came between at ${timeOf(between.atMs)}`,
    field: 'base',
    expected: `revision ${running.revision.number} as base`,
    help: 'compare with running; load what it is to become, or discard and edit again',
    between,
  });
}

function wrongComment(comment: string): IntentRefusal | undefined {
  const isLine = comment.length <= 512 && !/[\p{Cc}\p{Cs}]/u.test(comment);
  return isLine ? undefined : wrongField('comment', 'one line of at most 512 characters');
}

function wrongSeconds(seconds: number | undefined): IntentRefusal | undefined {
  const isWell =
    seconds === undefined ||
    (Number.isSafeInteger(seconds) && seconds >= 1 && seconds <= CONFIRM_SECONDS_MAX);
  return isWell ? undefined : wrongField('confirm_seconds', `1 to ${CONFIRM_SECONDS_MAX} whole seconds`);
}

/** Why running cannot become something else now by this hand, if so. Looked at when asked, and again when checked. */
function against(
  state: OpenState,
  {
    by,
    base,
    confirmSeconds,
    for: what,
  }: Pick<Extract<Check, { for: 'commit' | 'rollback' }>, 'by' | 'base' | 'confirmSeconds' | 'for'>,
): IntentRefusal | undefined {
  return lockedByOther(state, by) ?? frozen(state) ?? pendingFor(state) ?? raced(state, base);

  /** Who waits for confirmation may go on and have the time counted anew (RFC 6241 section 8.4.1). */
  function pendingFor(open: OpenState): IntentRefusal | undefined {
    const isOwn = open.phase === 'confirming' && isSameHolder(open.pending.by, by);
    return what === 'commit' && isOwn && confirmSeconds !== undefined ? undefined : notConfirmedYet(open);
  }
}

/* ---------------------------------------------------------------- requests */

function commit(state: OpenState, event: EventOf<'commit'>): Step {
  const { id, by, comment, confirmSeconds, ifRevision, at } = event;
  const { candidate, running } = state;
  const isOwn = candidate.by !== null;
  const base = isOwn ? candidate.base : running.revision.number;
  const check = {
    for: 'commit',
    id,
    by,
    comment,
    confirmSeconds,
    base,
    of: null,
    document: documentIn(candidate),
  } as const;
  const why =
    wrongComment(comment) ??
    wrongSeconds(confirmSeconds) ??
    against(state, check) ??
    (ifRevision === undefined ? undefined : raced(state, ifRevision));
  if (why !== undefined) return no(state, 'commit', askingOf(event), why, at);
  if (candidate.hash !== running.revision.hash) return asked(state, check, at);
  if (state.phase !== 'confirming' || confirmSeconds === undefined) {
    return answered(state, id, { kind: 'unchanged', revision: running.revision });
  }
  const { pending, deadline } = pendingOf(running.revision.number, by, confirmSeconds, at);
  const { revision } = running;
  return moved({ ...state, pending, deadline }, [
    record({ fact: 'extended', revision, by, seconds: confirmSeconds }, at, state),
    { do: 'answer', id, reply: { kind: 'committed', revision, confirmByMs: pending.untilMs } },
  ]);
}

function rollback(state: OpenState, event: EventOf<'rollback'>): Step {
  const { id, by, to, text, comment, confirmSeconds, ifRevision, at } = event;
  const { running, history } = state;
  const base = running.revision.number;
  const revision = history.find(({ number }) => number === to);
  const why =
    wrongComment(comment) ??
    wrongSeconds(confirmSeconds) ??
    against(state, { for: 'rollback', by, base, confirmSeconds }) ??
    (ifRevision === undefined ? undefined : raced(state, ifRevision));
  if (why !== undefined) return no(state, 'rollback', askingOf(event), why, at);
  if (revision === undefined || text === undefined) {
    return no(state, 'rollback', askingOf(event), unknownRevision(history, to), at);
  }
  if (revision.hash === running.revision.hash) {
    return answered(state, id, { kind: 'unchanged', revision: running.revision });
  }
  const document = { text, hash: revision.hash, bytes: revision.bytes };
  return asked(state, { for: 'rollback', id, by, comment, confirmSeconds, base, of: to, document }, at);
}

/** That there is no such revision, with those that there are. */
export function unknownRevision(history: readonly Revision[], number: number): IntentRefusal {
  return refusal({
    code: 'INTENT_REVISION_UNKNOWN',
    message: `there is no revision ${number} in the history`,
    field: 'revision',
    expected: `one of the history, from ${history[0]?.number ?? 1} to ${history.at(-1)?.number ?? 1}`,
  });
}

/** Asks the schema; everything is looked at again when it has answered. */
function asked(state: OpenState, check: Extract<Check, { for: 'commit' | 'rollback' }>, at: Moment): Step {
  if (state.checks.length >= CHECKS_MAX) {
    const busy = refusal({
      code: 'INTENT_BUSY',
      message: `cannot check another document: ${state.checks.length} are being checked`,
      help: 'ask again in a moment',
    });
    return no(state, check.for, { ...check, revision: check.of }, busy, at);
  }
  return moved({ ...state, checks: [...state.checks, check] }, [
    { do: 'validate', id: check.id, text: check.document.text },
  ]);
}

function validated(before: OpenState, event: EventOf<'validated'>, around: Surroundings): Step {
  const { id, findings, failure, at } = event;
  const check = before.checks.find((each) => each.id === id);
  if (check === undefined) return refused(`nobody asked the schema for ${id}`);
  const state: OpenState = { ...before, checks: before.checks.filter((each) => each !== check) };
  if (check.for === 'running') {
    // Of an older running, or nobody could say: it stays as it is.
    if (check.number !== state.running.revision.number || failure !== undefined) return moved(state);
    const validity: Validity = findings.length === 0 ? { state: 'valid' } : { state: 'invalid', findings };
    return settledOn({ ...state, validity });
  }
  const why = against(state, check) ?? wrongDocument(event, check);
  if (why !== undefined) return no(state, check.for, { ...check, revision: check.of }, why, at);
  return committed(state, check, at, around);
}

function wrongDocument(
  { findings, complete, failure }: EventOf<'validated'>,
  check: Extract<Check, { for: 'commit' | 'rollback' }>,
): IntentRefusal | undefined {
  const what = check.of === null ? 'the candidate' : `the document of revision ${check.of}`;
  if (failure !== undefined) {
    return refusal({
      code: failure.code,
      message: `cannot put ${what} in force: ${failure.message}`,
      ...(failure.help === undefined ? {} : { help: failure.help }),
    });
  }
  const [first] = findings;
  if (first === undefined) return undefined;
  const more = findings.length === 1 ? '' : `, and ${findings.length - 1} more`;
  return refusal({
    code: 'INTENT_INVALID',
    message: `cannot put ${what} in force: ${first.path === '' ? '' : `${first.path}: `}${first.message}${more}`,
    field: first.path === '' ? 'document' : first.path,
    expected: 'a document that the modules in use accept',
    findings,
    complete,
  });
}

function committed(
  state: OpenState,
  check: Extract<Check, { for: 'commit' | 'rollback' }>,
  at: Moment,
  around: Surroundings,
): Step {
  const { id, by, document, of, confirmSeconds, comment } = check;
  const { modules } = state;
  const was = state.running.revision.number;
  const made = withRevision(
    state,
    { document, by, cause: check.for, of, confirmSeconds, comment, modules },
    at,
    around,
  );
  const { revision } = made.running;
  const next: OpenState =
    confirmSeconds === undefined
      ? settledOf(made, made.running)
      : {
          ...settledOf(made, made.startup),
          phase: 'confirming',
          ...pendingOf(revision.number, by, confirmSeconds, at),
        };
  const confirmByMs = next.phase === 'confirming' ? next.pending.untilMs : undefined;
  const given = settledOn(next);
  if (given.kind === 'refused' || !isOpen(given.state)) return given;
  return moved(bounded(given.state, around), [
    record({ fact: 'running', revision, was }, at, state),
    ...given.effects,
    { do: 'answer', id, reply: { kind: 'committed', revision, confirmByMs } },
  ]);
}

function pendingOf(
  revision: number,
  by: Holder,
  seconds: number,
  at: Moment,
): Pick<ConfirmingState, 'pending' | 'deadline'> {
  return {
    pending: { revision, by, seconds, untilMs: at.wallMs + seconds * 1000 },
    deadline: nanosOf(at.ns + BigInt(seconds) * 1_000_000_000n),
  };
}

const documentIn = ({ text, hash, bytes }: IntentDocument): IntentDocument => ({ text, hash, bytes });

/** What is to be confirmed or cancelled, or why there is nothing. */
function toConfirm(state: OpenState, revision: number | undefined): ConfirmingState | IntentRefusal {
  if (state.phase === 'confirming') {
    if (revision === undefined || revision === state.pending.revision) return state;
    return refusal({
      code: 'INTENT_CONFIRM_OTHER',
      message: `revision ${revision} does not wait to be confirmed: revision ${state.pending.revision} does`,
      field: 'revision',
      expected: String(state.pending.revision),
    });
  }
  if (state.phase === 'waiting') return tooLate(state.pending.revision, state.because, undefined);
  // The time may just be over: who comes late is told so, by what was put back.
  const back = state.history.findLast(
    ({ cause, number }) =>
      (cause === 'expired' || cause === 'restarted') &&
      (revision === undefined ? number === state.running.revision.number : number === revision + 1),
  );
  if (back !== undefined)
    return tooLate(back.number - 1, back.cause === 'expired' ? 'expired' : 'restarted', back);
  return refusal({
    code: 'INTENT_NOTHING_PENDING',
    message: 'nothing waits to be confirmed',
    expected: 'a commit that has to be confirmed',
  });
}

function tooLate(
  number: number,
  because: 'expired' | 'restarted',
  back: Revision | undefined,
): IntentRefusal {
  const why = because === 'expired' ? 'its time is over' : 'it did not outlive a restart';
  const now =
    back === undefined
      ? 'what stood before is put back when the posture lets it'
      : `revision ${back.number} has put back what stood before, at ${timeOf(back.atMs)}`;
  return refusal({
    code: 'INTENT_CONFIRM_LATE',
    message: `cannot confirm or cancel revision ${number}: ${why}, and ${now}`,
    field: 'revision',
    expected: 'a commit whose time is not over',
    help: 'roll back to it, or commit it again',
    ...(back === undefined ? {} : { between: back }),
  });
}

function confirm(state: OpenState, event: EventOf<'confirm'>): Step {
  const { id, by, revision: wanted, at } = event;
  const found = lockedByOther(state, by) ?? toConfirm(state, wanted);
  if (isRefusal<ConfirmingState>(found)) return no(state, 'confirm', askingOf(event), found, at);
  const { revision } = found.running;
  return moved(settledOf(found, found.running), [
    record({ fact: 'confirmed', revision, by }, at, state),
    { do: 'answer', id, reply: { kind: 'confirmed', revision } },
  ]);
}

function cancel(state: OpenState, event: EventOf<'cancel'>, around: Surroundings): Step {
  const { id, by, revision: wanted, at } = event;
  const found = lockedByOther(state, by) ?? frozen(state) ?? toConfirm(state, wanted);
  if (isRefusal<ConfirmingState>(found)) return no(state, 'cancel', askingOf(event), found, at);
  const back = putBack(found, 'cancelled', by, at, around);
  if (back.kind === 'refused' || !isOpen(back.state)) return back;
  const { revision } = back.state.running;
  return moved(back.state, [
    ...back.effects,
    { do: 'answer', id, reply: { kind: 'cancelled', revision, was: found.pending.revision } },
  ]);
}

function load(state: OpenState, event: EventOf<'load'>, around: Surroundings): Step {
  const found = lockedByOther(state, event.by) ?? documentFrom(event.text, around);
  if (isRefusal<IntentDocument>(found)) return no(state, 'load', askingOf(event), found, event.at);
  // It was made knowing what is running, or does not care: it goes on top of that.
  return changed(state, event, found, state.running.revision.number);
}

function edit(state: OpenState, event: EventOf<'edit'>, around: Surroundings): Step {
  const { candidate } = state;
  const tree = lockedByOther(state, event.by) ?? edited(treeOf(candidate), event.edits, around.keysOf);
  const found = isRefusal<Container>(tree) ? tree : documentOf(tree, around);
  if (isRefusal<IntentDocument>(found)) return no(state, 'edit', askingOf(event), found, event.at);
  return changed(state, event, found, candidate.base);
}

function changed(
  state: OpenState,
  event: EventOf<'load' | 'edit'>,
  document: IntentDocument,
  base: number,
): Step {
  const { running } = state;
  const isSame = document.hash === running.revision.hash;
  const candidate = isSame
    ? candidateOf(running, event.at)
    : { ...document, base, by: event.by, atMs: event.at.wallMs };
  return answered({ ...state, candidate }, event.id, candidateReply(candidate));
}

function candidateReply({ base, hash, by }: Candidate): Reply {
  return { kind: 'candidate', base, hash, changed: by !== null };
}

function discard(state: OpenState, event: EventOf<'discard'>): Step {
  const why = lockedByOther(state, event.by);
  if (why !== undefined) return no(state, 'discard', askingOf(event), why, event.at);
  const candidate = candidateOf(state.running, event.at);
  return answered({ ...state, candidate }, event.id, candidateReply(candidate));
}

function lock(state: OpenState, event: EventOf<'lock'>): Step {
  const { id, by, comment, at } = event;
  const why = lockedByOther(state, by) ?? wrongComment(comment) ?? inTheWay(state, by);
  if (why !== undefined) return no(state, 'lock', askingOf(event), why, at);
  const taken = state.lock ?? { by, atMs: at.wallMs, comment };
  return answered({ ...state, lock: taken }, id, { kind: 'locked', lock: taken });
}

/** What somebody else has begun would end under the lock of another (RFC 6241 section 8.3.5.2). */
function inTheWay(state: OpenState, by: Holder): IntentRefusal | undefined {
  const { candidate } = state;
  if (candidate.by !== null && !isSameHolder(candidate.by, by)) {
    return refusal({
      code: 'INTENT_CANDIDATE_CHANGED',
      message: `cannot lock the intent: ${nameOf(candidate.by)} has changed the candidate at ${timeOf(candidate.atMs)}`,
      expected: 'a candidate that is what is running, or your own',
      help: 'commit it or discard it first',
    });
  }
  if (state.phase !== 'settled' && !isSameHolder(state.pending.by, by)) return notConfirmedYet(state);
  return undefined;
}

function unlock(state: OpenState, event: EventOf<'unlock'>): Step {
  const { id, by, force, at } = event;
  const { lock: was, candidate } = state;
  if (was === null) {
    const none = refusal({
      code: 'INTENT_NOT_LOCKED',
      message: 'the intent is not locked',
      expected: 'a lock',
    });
    return no(state, 'unlock', askingOf(event), none, at);
  }
  const why = force ? undefined : lockedByOther(state, by);
  if (why !== undefined) return no(state, 'unlock', askingOf(event), why, at);
  const isBroken = !isSameHolder(was.by, by);
  // What its holder began is void with it, as at the end of a session.
  const isVoid = isBroken && candidate.by !== null && isSameHolder(candidate.by, was.by);
  return moved({ ...state, lock: null, candidate: isVoid ? candidateOf(state.running, at) : candidate }, [
    ...(isBroken ? [record({ fact: 'lock-broken', was, by }, at, state)] : []),
    { do: 'answer', id, reply: { kind: 'unlocked', was } },
  ]);
}

/* ------------------------------------------------------------------ others */

function level(before: OpenState, event: EventOf<'level'>, around: Surroundings): Step {
  const state = { ...before, level: event.level, epoch: event.epoch };
  if (frozenAt(event.level).compilation) return moved(state);
  if (state.phase === 'waiting') return putBack(state, state.because, null, event.at, around);
  return settledOn(state);
}

function observed(state: OpenState, event: EventOf<'observed'>, around: Surroundings): Step {
  const document = documentFrom(event.text, around);
  if (isRefusal<IntentDocument>(document)) return refused(document.message);
  return moved({ ...state, operational: { ...document, atMs: event.at.wallMs } });
}

function storeFailed(state: OpenState, { why }: EventOf<'storeFailed'>): Step {
  const failed: FailedState = { ...settledOf(state, state.startup), phase: 'failed', why, checks: [] };
  const answers = state.checks.flatMap((check): Effect[] =>
    check.for === 'running' ? [] : [{ do: 'answer', id: check.id, reply: notStored(why) }],
  );
  return moved(failed, answers);
}

function notStored(why: string): IntentRefusal {
  return refusal({
    code: 'INTENT_STORE_FAILED',
    message: `cannot change the intent: its storage has failed: ${why}`,
    expected: 'storage that works',
    help: 'see what is wrong with the disk and start the service again: it tells what is in force',
  });
}

const NOT_OPEN = refusal({
  code: 'INTENT_OPENING',
  message: 'cannot answer about the intent yet: what is kept of it is being read',
  help: 'ask again in a moment',
});

/** One handler for every request. */
function everyRequest(handler: (state: DatastoresState, event: RequestOf) => Step): {
  readonly [K in RequestKind]: (state: DatastoresState, event: EventOf<K>) => Step;
} {
  return Object.fromEntries(REQUEST_KINDS.map((kind) => [kind, handler])) as unknown as {
    readonly [K in RequestKind]: (state: DatastoresState, event: EventOf<K>) => Step;
  };
}

const OPEN = {
  opened: () => refused('it is open'),
  level,
  tick: (state: OpenState) => settledOn(state),
  load,
  edit,
  discard,
  lock,
  unlock,
  commit,
  rollback,
  confirm,
  cancel,
  validated,
  observed,
  storeFailed,
};

const TABLE: Table = {
  opening: {
    ...everyRequest((state, { id }) => answered(state, id, NOT_OPEN)),
    opened: (state, event, around) => opened(state, event, around),
    level: (state, event) => moved({ ...state, level: event.level, epoch: event.epoch }),
    tick: (state) => moved(state),
    validated: () => refused('nothing was asked of the schema yet'),
    observed: () => refused('nothing can be taken yet'),
    storeFailed: () => refused('nothing was written yet'),
  },
  settled: OPEN,
  confirming: OPEN,
  waiting: OPEN,
  failed: {
    ...everyRequest((state, { id }) =>
      answered(state, id, notStored(state.phase === 'failed' ? state.why : '')),
    ),
    opened: () => refused('it was open'),
    level: (state, event) => moved({ ...state, level: event.level, epoch: event.epoch }),
    tick: (state) => moved(state),
    // Asked before it failed, answered by that.
    validated: (state) => moved(state),
    observed: (state) => moved(state),
    storeFailed: (state) => moved(state),
  },
};

/**
 * The posture machine: a total table of what happens in every phase on every event. Pure: time, authority and
 * the world come in with events, and what is to be done goes out as data.
 * It must not wait, read or write; whoever runs the effects does.
 */
import { PATHS, type Channel, type PathName } from '@kedge/contracts';
import { EPOCH_MAX, isLooser, isTighter, looserOf, tighterOf, type Epoch, type Level } from '@kedge/units';

import type { Holds } from './journal-record.js';
import type {
  Decision,
  Effect,
  EndOutcome,
  EventKind,
  EventOf,
  JournalEntry,
  Layer,
  OwnCause,
  Phase,
  PostureEvent,
  PostureMachine,
  PostureRequest,
  RefusalAnswer,
  ReleasedStage,
  Reply,
  RunningPhase,
  RunningState,
  SteadyState,
  StateOf,
  Standing,
  Step,
  Transition,
  Unanswered,
  WaitingRequest,
} from './transition-state.js';

/** Epochs that are reserved at a time. A restart skips what is left of its block. */
export const EPOCH_BLOCK = 65_536n;
/**
 * Epochs of a block that only tightenings may use. From any level at most four tightenings are possible before
 * something must be loosened, so with this many left a tightening never waits for a reservation (PO-22), also
 * when the journal takes none any more.
 */
export const EPOCH_HEADROOM = 16n;
/** Requests that may wait for one journal record: as many as all ways in may have open together. */
const MAX_UNANSWERED = 1_024;

/** Order of authority among the ways in (PO-4); more is more. */
export const CHANNEL_AUTHORITY: Readonly<Record<Channel, number>> = {
  console: 6,
  oob: 5,
  fleet: 4,
  local: 3,
  plugin: 2,
  bpf: 1,
};

/** Lays down what happens: every phase and every event has its place. */
type Table = {
  readonly [P in Phase]: { readonly [K in EventKind]: (state: StateOf<P>, event: EventOf<K>) => Step };
};

const moved = (state: PostureMachine, effects: readonly Effect[] = []): Step => ({
  kind: 'moved',
  state,
  effects,
});
const refused = (why: string): Step => ({ kind: 'refused', why });

/** What happens to `state` on `event`. Total and pure. */
export function step(state: PostureMachine, event: PostureEvent): Step {
  // One cast: the table's type proves that the handler fits both.
  const handlers = TABLE[state.phase] as unknown as Readonly<
    Record<EventKind, (state: PostureMachine, event: PostureEvent) => Step>
  >;
  return handlers[event.kind](state, event);
}

/** The level that what packets obey and what is being gone to both allow: what gates obey, and what authority is asked about. */
export function levelInForce(state: PostureMachine): Level {
  return tighterOf(state.word.level ?? 1, state.last.to);
}

/**
 * The level to ask the Authoriser about: where a request would take the posture at once. A request that is
 * tighter than the running target and looser than the word stops a loosening, and stopping is tightening; the
 * way up to its own level is authorised when its turn comes.
 */
export function askedLevel(state: PostureMachine, level: Level): Level {
  return isTighter(level, state.last.to) ? tighterOf(level, state.word.level ?? 1) : level;
}

/* ---------------------------------------------------------------- answers */

const decided = (decision: Decision, durable: boolean): Reply => ({
  kind: 'decision',
  epoch: decision.epoch,
  from: decision.from,
  to: decision.to,
  durable,
});

const NOT_DURABLE: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_NOT_DURABLE',
  message: 'cannot loosen the posture: the decision cannot be written down durably',
  expected: 'a journal that takes records',
  help: 'look at the disk under the journal and restart the coordinator; tightening still works',
  rule: 'loosening-needs-journal',
};
const WARDEN_STALE: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_WARDEN_STALE',
  message: 'cannot loosen the posture: the warden that holds the deadlines does not beat',
  expected: 'a fresh heartbeat of kedge-warden',
  help: 'look at the warden; tightening still works',
  rule: 'loosening-needs-warden',
};
const RECOVERING: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_RECOVERING',
  message: 'cannot change the posture yet: the coordinator has not recovered the last decision',
  help: 'ask again in a moment',
};
const SUPERSEDED: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_SUPERSEDED',
  message: 'a request for a looser posture was dropped while it waited: another one took its place',
  expected: 'no tighter decision and no newer request of the same channel in the meantime',
  help: 'look at the posture and ask again',
  rule: 'tighter-or-newer-request-wins',
};

/** The refusal of whoever may not, with the authoriser's own words. */
export function notAuthorised(rule: string, reason: string): RefusalAnswer {
  return { kind: 'refusal', code: 'POSTURE_NOT_AUTHORISED', message: reason, field: 'level', rule };
}

function held(channel: Channel, level: Level): RefusalAnswer {
  return {
    kind: 'refusal',
    code: 'POSTURE_HELD',
    message: `cannot loosen the posture: the channel ${channel} holds level ${level} and has more authority`,
    field: 'level',
    expected: `at most level ${level}, or a request by ${channel} or a channel above it`,
    help: 'loosen by the channel that holds',
    rule: 'higher-authority-holds',
  };
}

function stale(request: PostureRequest, epoch: Epoch): RefusalAnswer {
  return {
    kind: 'refusal',
    code: 'POSTURE_STALE',
    message: `cannot change the posture: it was asked for on top of epoch ${String(request.ifEpoch)}, and epoch ${String(epoch)} is in force`,
    field: 'if_epoch',
    expected: String(epoch),
    help: 'look at the posture again before changing it',
    rule: 'if-epoch',
  };
}

const refuse = (state: PostureMachine, request: PostureRequest, refusal: RefusalAnswer): Step =>
  moved(state, [
    { do: 'record', request, refusal },
    { do: 'answer', id: request.id, reply: refusal },
  ]);

/** The hold of a higher authority that a loosening to `level` by `channel` would override, if there is one. */
function holdAgainst(holds: Holds, channel: Channel, level: Level): RefusalAnswer | undefined {
  for (const [holder, at] of Object.entries(holds) as [Channel, Level][]) {
    if (isTighter(at, level) && CHANNEL_AUTHORITY[holder] > CHANNEL_AUTHORITY[channel])
      return held(holder, at);
  }
  return undefined;
}

/** Holds after `channel` loosened to `level`: what it overrode is void. */
function holdsAfterLoosening(holds: Holds, level: Level): Holds {
  return Object.fromEntries(
    (Object.entries(holds) as [Channel, Level][]).filter(([, at]) => !isTighter(at, level)),
  );
}

/** Why nothing can loosen at all now, if so. */
function loosenObstacle(state: PostureMachine): RefusalAnswer | undefined {
  if (state.journal === 'failed') return NOT_DURABLE;
  if (state.nextEpoch + EPOCH_HEADROOM > state.reservedUpTo) return NOT_DURABLE;
  return state.wardenFresh ? undefined : WARDEN_STALE;
}

/* ------------------------------------------------------------ transitions */

function entryOf(state: PostureMachine, transition: Transition, kind: JournalEntry['kind']): JournalEntry {
  const { epoch, from, to, requested, source, requestId, recovered, accord } = transition;
  return {
    kind,
    epoch,
    from,
    to,
    requested,
    source,
    requestId,
    recovered,
    accord,
    holds: state.holds,
    reservedUpTo: state.reservedUpTo,
  };
}

const absentPaths = (state: PostureMachine): PathName[] =>
  PATHS.filter((path) => !Object.values(state.standings).some((s) => s.path === path && s.present));

function report(
  state: PostureMachine,
  transition: Transition,
  outcome: EndOutcome | undefined,
): Extract<Effect, { do: 'report' }> {
  return { do: 'report', transition, outcome, absent: absentPaths(state) };
}

/** Takes the next epoch, and asks for another block early. */
function takeEpoch<S extends PostureMachine>(
  state: S,
): { readonly epoch: Epoch; readonly state: S; readonly effects: readonly Effect[] } {
  const epoch = state.nextEpoch;
  const low = !state.reserving && state.journal === 'ok' && state.reservedUpTo - epoch < EPOCH_BLOCK / 2n;
  const upTo = state.reservedUpTo + EPOCH_BLOCK;
  return {
    epoch,
    state: { ...state, nextEpoch: (epoch + 1n) as Epoch, reserving: state.reserving || low },
    effects: low ? [{ do: 'reserveEpochs', upTo: (upTo > EPOCH_MAX ? EPOCH_MAX : upTo) as Epoch }] : [],
  };
}

interface Cause {
  readonly requested: Level;
  readonly request: PostureRequest | undefined;
  /** Where there is no request. */
  readonly own?: OwnCause;
  readonly recovered?: boolean;
}

/** The transition of `epoch`, at its beginning. */
function begun(decision: Decision, direction: Transition['direction'], cause: Cause): Transition {
  const { requested, request, own, recovered = false } = cause;
  return {
    ...decision,
    direction,
    requested,
    source: request?.source,
    requestId: request?.id,
    receivedAtNs: request?.receivedAtNs ?? 0n,
    recovered,
    ...(own === undefined ? {} : { own }),
    accord: request?.accord !== undefined,
    late: [],
    durable: false,
  };
}

/** What ends when something else takes its place. */
function preemptionOf(state: PostureMachine): readonly Effect[] {
  return state.phase === 'recovering' || state.phase === 'steady'
    ? []
    : [{ do: 'cancel', epoch: state.transition.epoch }, report(state, state.transition, 'preempted')];
}

/** Stores at once, journals meanwhile (PO-7, PO-22). */
function tighten(before: PostureMachine, from: Level, to: Level, cause: Cause): Step {
  const { epoch, state, effects } = takeEpoch(before);
  const { request } = cause;
  const transition = begun({ epoch, from, to }, 'tighten', cause);
  const failed = state.journal === 'failed';
  const next: RunningState = {
    ...common(state),
    phase: 'tightening',
    transition,
    overdue: [],
    word: { epoch, level: to },
    last: { epoch, from, to },
    lastDurable: failed ? 'failed' : 'pending',
    unanswered:
      request === undefined || failed
        ? state.unanswered
        : [
            ...state.unanswered,
            { id: request.id, epoch, decision: { epoch, from, to }, direction: 'tighten' },
          ],
  };
  const all: Effect[] = [
    { do: 'storeTightening', epoch, from, to, receivedAtNs: transition.receivedAtNs },
    ...(failed ? [] : [{ do: 'journal', entry: entryOf(next, transition, 'decision') } as const]),
    ...(failed && request !== undefined
      ? [{ do: 'answer', id: request.id, reply: decided({ epoch, from, to }, false) } as const]
      : []),
    ...preemptionOf(before),
    report(next, transition, undefined),
    ...PATHS.map((path) => ({ do: 'expect', epoch, path }) as const),
    ...effects,
  ];
  return continued(advance(next), all);
}

/** Journals first; nothing moves until that is durable (PO-7). */
function loosen(before: SteadyState, to: Level, cause: Cause): Step {
  const { epoch, state, effects } = takeEpoch(before);
  const from = state.last.to;
  const transition = begun({ epoch, from, to }, 'loosen', cause);
  const next: RunningState = {
    ...common(state),
    phase: 'deciding',
    transition,
    overdue: [],
    last: { epoch, from, to },
    lastDurable: 'pending',
    holds: holdsAfterLoosening(state.holds, to),
  };
  return moved(next, [
    { do: 'journal', entry: entryOf(next, transition, 'decision') },
    report(next, transition, undefined),
    ...effects,
  ]);
}

function common(state: PostureMachine): Omit<SteadyState, 'phase' | 'asking'> {
  const {
    word,
    last,
    lastDurable,
    nextEpoch,
    reservedUpTo,
    reserving,
    journal,
    wardenFresh,
    holds,
    standings,
    failClosed,
    unanswered,
    waiting,
  } = state;
  return {
    word,
    last,
    lastDurable,
    nextEpoch,
    reservedUpTo,
    reserving,
    journal,
    wardenFresh,
    holds,
    standings,
    failClosed,
    unanswered,
    waiting,
  };
}

function continued(result: Step, before: readonly Effect[]): Step {
  return result.kind === 'moved' ? moved(result.state, [...before, ...result.effects]) : result;
}

/**
 * True when nobody of `layer` is still on the way to `epoch` inside its time. Who is away has not applied it, and
 * has the time of its path to come back and do so (PO-19).
 */
function settled(state: RunningState, layer: Layer | undefined): boolean {
  const { transition, overdue } = state;
  return Object.values(state.standings).every(
    (s) =>
      (layer !== undefined && s.layer !== layer) ||
      hasApplied(s, transition.epoch) ||
      overdue.includes(s.path),
  );
}

const hasApplied = (standing: Standing, epoch: Epoch): boolean => standing.present && standing.epoch >= epoch;

const stageEffect = (transition: Transition, stage: ReleasedStage): Effect => ({
  do: 'writeTransitionStage',
  epoch: transition.epoch,
  from: transition.from,
  to: transition.to,
  stage,
  receivedAtNs: transition.receivedAtNs,
});

/** Every step that nothing stands against any more, one after the other. Releases need a live warden (PO-12). */
function advance(state: RunningState): Step {
  const { transition } = state;
  const { epoch, to } = transition;
  const expect = (...paths: PathName[]): Effect[] => paths.map((path) => ({ do: 'expect', epoch, path }));
  const into = (phase: RunningPhase, effects: readonly Effect[], change: Partial<RunningState> = {}): Step =>
    continued(advance({ ...state, ...change, phase }), effects);
  switch (state.phase) {
    case 'tightening':
      return settled(state, undefined) ? verifying(state) : moved(state);
    case 'deciding':
      if (!transition.durable || !state.wardenFresh) return moved(state);
      return into(
        'loosening-paths',
        [
          stageEffect(transition, 'loosen-decided'),
          stageEffect(transition, 'loosen-paths'),
          ...expect('overlay', 'underlay'),
        ],
        { overdue: [] },
      );
    case 'loosening-paths':
      if (!state.wardenFresh || !settled(state, 'path')) return moved(state);
      // The budget of the sessions runs from their own turn, whatever the rest of their path made of its time.
      return into('loosening-sessions', [stageEffect(transition, 'loosen-sessions'), ...expect('overlay')], {
        overdue: state.overdue.filter((path) => path !== 'overlay'),
      });
    case 'loosening-sessions':
      if (!state.wardenFresh || !settled(state, 'session')) return moved(state);
      return into(
        'loosening-dataplane',
        [
          stageEffect(transition, 'loosen-dataplane'),
          { do: 'storeWord', epoch, level: to },
          ...expect('dataplane'),
        ],
        { word: { epoch, level: to } },
      );
    case 'loosening-dataplane':
      return settled(state, 'dataplane') ? verifying(state) : moved(state);
    case 'verifying':
      return moved(state);
  }
}

function verifying(state: RunningState): Step {
  const { transition } = state;
  return moved({ ...state, phase: 'verifying' }, [
    stageEffect(transition, 'verify'),
    { do: 'expect', epoch: transition.epoch, path: 'verify' },
    { do: 'verify', epoch: transition.epoch, to: transition.to },
  ]);
}

function complete(state: RunningState, outcome: EndOutcome): Step {
  const { transition } = state;
  const next: SteadyState = { ...common(state), phase: 'steady', asking: undefined };
  const ended: readonly Effect[] = [
    stageEffect(transition, 'complete'),
    ...(state.journal === 'ok'
      ? [{ do: 'journal', entry: entryOf(next, transition, 'completed') } as const]
      : []),
    report(next, transition, outcome),
  ];
  const after = nextTurn(next);
  // What a pre-empted or late loosening left too strict is loosened by a transition of its own (PO-10).
  return transition.direction === 'tighten' && after.kind === 'moved' && after.state === next
    ? continued(loosenWhatIsTooStrict(next), ended)
    : continued(after, ended);
}

/** From the level in force to itself, in the order of a loosening; nothing where nothing is too strict. */
function loosenWhatIsTooStrict(state: SteadyState): Step {
  if (state.waiting.length > 0 || loosenObstacle(state) !== undefined || tooStrict(state).length === 0)
    return moved(state);
  const level = state.last.to;
  return loosen(state, level, { requested: level, request: undefined, own: 'repair' });
}

/** Lets the tightest of those who wait have their turn. */
function nextTurn(state: SteadyState): Step {
  if (state.asking !== undefined) return moved(state);
  const [first] = [...state.waiting].sort((a, b) => a.request.level - b.request.level);
  if (first === undefined) return moved(state);
  if (!first.authorised) {
    return moved({ ...state, asking: first.request.id }, [{ do: 'authorise', request: first.request }]);
  }
  // A loosening that was decided before a restart waits for the warden; what else stands in its way ends it.
  const obstacle = loosenObstacle(state);
  if (obstacle === WARDEN_STALE) return moved(state);
  const rest = { ...state, waiting: state.waiting.filter((w) => w !== first) };
  if (obstacle !== undefined || !isLooser(first.request.level, state.last.to)) {
    return continued(nextTurn(rest), [
      { do: 'settle', request: first.request, reply: obstacle ?? SUPERSEDED },
    ]);
  }
  return loosen(rest, first.request.level, {
    requested: first.request.level,
    request: first.request,
    recovered: true,
  });
}

/* ----------------------------------------------------------------- events */

type Request = EventOf<'request'> | EventOf<'accordChanged'>;

/** The way that a request points, from where the posture goes now. */
function wayOf(state: PostureMachine, request: PostureRequest): 'tighter' | 'same' | 'looser' {
  if (request.accord !== undefined) return request.accord;
  if (isTighter(request.level, state.last.to)) return 'tighter';
  return isLooser(request.level, state.last.to) ? 'looser' : 'same';
}

function onRequest(state: SteadyState | RunningState, { request, authority }: Request): Step {
  if (!authority.allow) return refuse(state, request, notAuthorised(authority.rule, authority.reason));
  if (request.ifEpoch !== undefined && request.ifEpoch !== state.last.epoch) {
    return refuse(state, request, stale(request, state.last.epoch));
  }
  if (isStrayAccord(state, request)) {
    return moved(state, [
      { do: 'answer', id: request.id, reply: decided(state.last, state.lastDurable === 'yes') },
    ]);
  }
  switch (wayOf(state, request)) {
    case 'tighter':
      return onTighter(state, request);
    case 'same':
      return onSame(state, request);
    case 'looser':
      return onLooser(state, request);
  }
}

/** The accord of another level than the one in force: nothing moves by it. */
const isStrayAccord = (state: PostureMachine, { accord, level }: PostureRequest): boolean =>
  accord !== undefined && level !== state.last.to;

function onTighter(state: SteadyState | RunningState, request: PostureRequest): Step {
  if (request.accord !== undefined) return onTighterAccord(state, request);
  const stored = state.word.level ?? 1;
  const to = tighterOf(stored, request.level);
  // The loosest that anything may stand at: a loosening that ran may have brought paths there already.
  const from = looserOf(stored, state.last.to);
  const { channel } = request.source;
  const dropped: Effect[] = state.waiting.flatMap(({ request: waiting }): Effect[] => [
    { do: 'settle', request: waiting, reply: SUPERSEDED },
    { do: 'record', request: waiting, refusal: SUPERSEDED },
  ]);
  const next = {
    ...state,
    holds: { ...state.holds, [channel]: request.level },
    // What is now too strict is loosened by a transition of its own, authorised in its turn (PO-10).
    waiting: isLooser(request.level, to) ? [{ request: followUpOf(request), authorised: false }] : [],
  };
  return appended(tighten(next, from, to, { requested: request.level, request }), dropped);
}

/**
 * A tighter accord goes like a tightening, from the level in force to itself (PO-2). It asks for no level: what
 * waits goes on waiting, and a loosening that it stops waits with them.
 */
function onTighterAccord(state: SteadyState | RunningState, request: PostureRequest): Step {
  if (state.nextEpoch + EPOCH_HEADROOM > state.reservedUpTo) return refuse(state, request, NOT_DURABLE);
  const stored = state.word.level ?? 1;
  const to = tighterOf(stored, state.last.to);
  const stopped = isLooser(state.last.to, to) && state.phase !== 'steady' ? stoppedBy(state) : [];
  return tighten({ ...state, waiting: [...stopped, ...state.waiting] }, looserOf(stored, state.last.to), to, {
    requested: to,
    request,
  });
}

/** The running loosening as one that waits; a newer request of its channel that waits already has its place. */
function stoppedBy({ transition, waiting }: RunningState): WaitingRequest[] {
  const { source, requestId, to, receivedAtNs } = transition;
  if (source === undefined || requestId === undefined || transition.recovered)
    return [{ request: resumption(to), authorised: true }];
  if (waiting.some((w) => !w.authorised && w.request.source.channel === source.channel)) return [];
  return [{ request: { id: `${requestId}+`, source, level: to, receivedAtNs }, authorised: false }];
}

/** The way up that is left when a request stopped a loosening below its own level. */
function followUpOf({ ifEpoch: _superseded, ...request }: PostureRequest): PostureRequest {
  return { ...request, id: `${request.id}+` };
}

/** The store comes first, whatever else there is to do. */
function appended(result: Step, effects: readonly Effect[]): Step {
  return result.kind === 'moved' ? moved(result.state, [...result.effects, ...effects]) : result;
}

/** PO-11: what is right is left alone; what is not is brought right under a new epoch. */
function onSame(state: SteadyState | RunningState, request: PostureRequest): Step {
  const { channel } = request.source;
  // Who asks for the level that somebody tightened to stands behind that tightening. A level that was loosened to
  // is held by nobody, however often it is asked for.
  const changed =
    Object.values(state.holds).includes(request.level) && state.holds[channel] !== request.level;
  const next = changed
    ? {
        ...state,
        holds: { ...state.holds, [channel]: request.level },
        // A hold that no journal takes is not durable, however durable its level is.
        lastDurable: state.journal === 'failed' ? ('failed' as const) : state.lastDurable,
      }
    : state;
  // Who stands behind a hold is told so when its record is durable, and who asks after them with them.
  const keeps = changed && state.journal === 'ok';
  const behind = keeps ? request.id : state.unanswered.findLast((u) => u.behind !== undefined)?.behind;
  const pending = state.lastDurable === 'pending';
  if (!pending && next.phase === 'steady' && next.asking === undefined && wrongs(next).length > 0) {
    const cause: Cause = { requested: request.level, request };
    if (tooLoose(next)) {
      if (canTighten(next)) return tighten(next, next.last.to, next.last.to, cause);
    } else if (loosenObstacle(next) === undefined) {
      return withUnanswered(loosen(next, next.last.to, cause), request);
    }
  }
  // Everybody acknowledged it; only each of them can tell whether the world still is so.
  const repeat: Effect[] =
    !pending && next.phase === 'steady' ? [{ do: 'repeat', epoch: state.last.epoch }] : [];
  if (!pending && behind === undefined) {
    return moved(next, [
      ...repeat,
      { do: 'answer', id: request.id, reply: decided(next.last, next.lastDurable === 'yes') },
    ]);
  }
  if (state.unanswered.length >= MAX_UNANSWERED) return refuse(state, request, BUSY);
  const unanswered: Unanswered = {
    id: request.id,
    epoch: state.last.epoch,
    decision: state.last,
    direction: pending && state.phase === 'deciding' ? 'loosen' : 'tighten',
    ...(behind === undefined ? {} : { behind }),
  };
  return moved({ ...next, unanswered: [...state.unanswered, unanswered] }, [
    ...(keeps ? [{ do: 'journal', entry: keptHolds(next, request) } as const] : []),
    ...repeat,
  ]);
}

/** Says once more what was decided last, and whether it is completed, for the holds that the record carries. */
function keptHolds(state: SteadyState | RunningState, { id, level, source }: PostureRequest): JournalEntry {
  if (state.phase !== 'steady') {
    const entry = entryOf(state, state.transition, 'checkpoint');
    return { ...entry, requestId: undefined, keeps: id };
  }
  return {
    kind: 'completed',
    keeps: id,
    ...state.last,
    requested: level,
    source,
    requestId: undefined,
    recovered: false,
    accord: false,
    holds: state.holds,
    reservedUpTo: state.reservedUpTo,
  };
}

const BUSY: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_BUSY',
  message: 'cannot take the request: too many wait for the same journal record',
  expected: `at most ${MAX_UNANSWERED} of them`,
  help: 'ask again in a moment',
};

function onLooser(state: SteadyState | RunningState, request: PostureRequest): Step {
  const { channel } = request.source;
  const hold = request.accord === undefined ? holdAgainst(state.holds, channel, request.level) : undefined;
  if (hold !== undefined) return refuse(state, request, hold);
  if (state.phase !== 'steady' || state.asking !== undefined) {
    if (state.journal === 'failed') return refuse(state, request, NOT_DURABLE);
    // One waiting place per source; the newest has it.
    const out = state.waiting.filter((w) => w.request.source.channel === channel && !w.authorised);
    return moved(
      {
        ...state,
        waiting: [...state.waiting.filter((w) => !out.includes(w)), { request, authorised: false }],
      },
      [
        { do: 'answer', id: request.id, reply: { kind: 'waiting', behindEpoch: state.last.epoch } },
        ...out.flatMap((w): Effect[] => [
          { do: 'settle', request: w.request, reply: SUPERSEDED },
          { do: 'record', request: w.request, refusal: SUPERSEDED },
        ]),
      ],
    );
  }
  const obstacle = loosenObstacle(state);
  if (obstacle !== undefined) return refuse(state, request, obstacle);
  const result = loosen(state, request.level, { requested: request.level, request });
  return withUnanswered(result, request);
}

/** @param waited it was answered with `waiting`, and is settled when the journal has taken it or failed to. */
function withUnanswered(result: Step, request: PostureRequest, waited = false): Step {
  if (result.kind === 'refused') return result;
  const { state } = result;
  return moved(
    {
      ...state,
      unanswered: [
        ...state.unanswered,
        {
          id: request.id,
          epoch: state.last.epoch,
          decision: state.last,
          direction: 'loosen',
          ...(waited ? { waited: request } : {}),
        },
      ],
    },
    result.effects,
  );
}

function onTurn(state: SteadyState, { id, authority }: EventOf<'turn'>): Step {
  const place = state.waiting.find((w) => w.request.id === id);
  if (state.asking !== id) return refused(`request ${id} was not asked about`);
  // A newer request of the same channel took its place while it was asked about.
  if (place === undefined) return nextTurn({ ...state, asking: undefined });
  const { request } = place;
  const rest: SteadyState = {
    ...state,
    asking: undefined,
    waiting: state.waiting.filter((w) => w !== place),
  };
  const end = (refusal: RefusalAnswer): Step =>
    continued(nextTurn(rest), [
      { do: 'settle', request, reply: refusal },
      { do: 'record', request, refusal },
    ]);
  if (!authority.allow) return end(notAuthorised(authority.rule, authority.reason));
  if (wayOf(state, request) !== 'looser' || isStrayAccord(state, request)) {
    return continued(nextTurn(rest), [
      { do: 'settle', request, reply: decided(state.last, state.lastDurable === 'yes') },
    ]);
  }
  const obstacle =
    (request.accord === undefined
      ? holdAgainst(state.holds, request.source.channel, request.level)
      : undefined) ?? loosenObstacle(state);
  if (obstacle !== undefined) return end(obstacle);
  return withUnanswered(loosen(rest, request.level, { requested: request.level, request }), request, true);
}

/** What the journal's word means to somebody who waits for it. */
function tell({ id, waited }: Unanswered, reply: Reply): Effect {
  return waited === undefined ? { do: 'answer', id, reply } : { do: 'settle', request: waited, reply };
}

function onJournaled(state: SteadyState | RunningState, { epoch, keeps }: EventOf<'journaled'>): Step {
  const told = (u: Unanswered): boolean =>
    keeps === undefined ? u.behind === undefined && u.epoch === epoch : u.behind === keeps;
  const answers = state.unanswered.filter(told).map((u) => tell(u, decided(u.decision, true)));
  const unanswered = state.unanswered.filter((u) => !told(u));
  if (keeps !== undefined) return moved({ ...state, unanswered }, answers);
  const next = {
    ...state,
    unanswered,
    lastDurable: state.last.epoch === epoch ? ('yes' as const) : state.lastDurable,
  };
  if (next.phase === 'steady' || next.transition.epoch !== epoch) return moved(next, answers);
  return continued(advance({ ...next, transition: { ...next.transition, durable: true } }), answers);
}

function onJournalFailed(state: SteadyState | RunningState): Step {
  const answers = state.unanswered.map((u) =>
    tell(u, u.direction === 'tighten' ? decided(u.decision, false) : NOT_DURABLE),
  );
  const next = {
    ...state,
    journal: 'failed' as const,
    reserving: false,
    unanswered: [],
    lastDurable:
      state.lastDurable === 'pending' || state.unanswered.some((u) => u.behind !== undefined)
        ? ('failed' as const)
        : state.lastDurable,
  };
  if (next.phase !== 'deciding' || next.transition.durable) return moved(next, answers);
  // The refused loosening may have reached the disk all the same. A newer epoch at the level in force makes
  // sure that no restart takes it for the decision.
  const level = next.transition.from;
  return continued(
    tighten({ ...next, last: { ...next.last, to: level } }, level, level, {
      requested: level,
      request: undefined,
      own: 'revoked',
    }),
    answers,
  );
}

function onReserved<S extends PostureMachine>(state: S, { upTo }: EventOf<'reserved'>): Step {
  return moved({
    ...state,
    reserving: false,
    reservedUpTo: upTo > state.reservedUpTo ? upTo : state.reservedUpTo,
  });
}

function goOn(state: PostureMachine): Step {
  if (state.phase === 'recovering') return moved(state);
  return state.phase === 'steady' ? nextTurn(state) : advance(state);
}

function onAcknowledged(state: PostureMachine, event: EventOf<'acknowledged'>): Step {
  const before = state.standings[event.who];
  if (before === undefined) return refused(`${event.who} is not known`);
  const { epoch, level, outcome } = event;
  const next = {
    ...state,
    standings: { ...state.standings, [event.who]: { ...before, epoch, level, outcome } },
  };
  return goOn(next);
}

function onAcknowledgedVerifying(state: RunningState, event: EventOf<'acknowledged'>): Step {
  const { epoch, to } = state.transition;
  return appended(onAcknowledged(state, event), [{ do: 'verify', epoch, to }]);
}

function onServiceLost(state: PostureMachine, { who, gone, standing }: EventOf<'serviceLost'>): Step {
  if (who === 'warden') {
    if (!state.wardenFresh) return refused('the warden was away already');
    const next = { ...state, wardenFresh: false };
    if (next.phase === 'loosening-paths' || next.phase === 'loosening-sessions') {
      // What was released is taken back until the warden beats again.
      return moved({ ...next, phase: 'deciding' }, [stageEffect(next.transition, 'loosen-decided')]);
    }
    return moved(next);
  }
  const before = state.standings[who] ?? standing;
  if (before === undefined) return refused(`${who} is not known`);
  const { [who]: _lost, ...others } = state.standings;
  return goOn({
    ...state,
    standings: gone === true ? others : { ...state.standings, [who]: { ...before, present: false } },
  });
}

function onServiceBack(state: PostureMachine, { who, standing }: EventOf<'serviceBack'>): Step {
  if (who === 'warden') return goOn({ ...state, wardenFresh: true });
  if (standing === undefined) return refused(`${who} stands nowhere`);
  return goOn({ ...state, standings: { ...state.standings, [who]: { ...standing, present: true } } });
}

function onFailClosedSet(state: PostureMachine, { path, level, epoch }: EventOf<'failClosedSet'>): Step {
  return moved({ ...state, failClosed: { ...state.failClosed, [path]: { level, epoch } } });
}

function onFailClosedCleared(state: PostureMachine, { path }: EventOf<'failClosedCleared'>): Step {
  const { [path]: _gone, ...failClosed } = state.failClosed;
  return moved({ ...state, failClosed });
}

function onDeadline(state: RunningState, { epoch, path }: EventOf<'deadlinePassed'>): Step {
  const { transition, overdue } = state;
  if (epoch !== transition.epoch) return refused(`epoch ${String(epoch)} does not run`);
  if (path === 'verify') return refused('nothing is being verified');
  const behind = Object.values(state.standings).some((s) => s.path === path && !hasApplied(s, epoch));
  const late = behind && !transition.late.includes(path) ? [...transition.late, path] : transition.late;
  return advance({
    ...state,
    overdue: overdue.includes(path) ? overdue : [...overdue, path],
    transition: { ...transition, late },
  });
}

/** In `deciding` nothing was released, so nothing can be late. */
const onDeadlineDeciding = (): Step => refused('nothing is released');

function onDeadlineVerifying(state: RunningState, event: EventOf<'deadlinePassed'>): Step {
  if (event.epoch !== state.transition.epoch) return refused(`epoch ${String(event.epoch)} does not run`);
  return event.path === 'verify' ? complete(state, 'late') : onDeadline(state, event);
}

function onVerified(state: RunningState, { epoch, differences }: EventOf<'verified'>): Step {
  const { transition } = state;
  if (epoch !== transition.epoch) return refused(`epoch ${String(epoch)} does not run`);
  if (differences.length > 0) return moved(state);
  const end = transition.late.length > 0 ? 'late' : transition.recovered ? 'recovered' : 'completed';
  return complete(state, end);
}

function onTickVerifying(state: RunningState): Step {
  const { epoch, to } = state.transition;
  return moved(state, [{ do: 'verify', epoch, to }]);
}

/** Everything that is not as the level in force wants it, one sentence each (PO-11). */
export function wrongs(state: PostureMachine): readonly string[] {
  return wrongsOf(state, false);
}

function wrongsOf(state: PostureMachine, strictIsRight: boolean): readonly string[] {
  const { epoch, to } = state.last;
  const strict = strictIsRight ? tooStrict(state) : [];
  return [
    ...Object.entries(state.standings)
      .filter(
        ([who, s]) =>
          s.present &&
          !strict.includes(who) &&
          (s.epoch < epoch || s.level !== to || (s.outcome !== 'applied' && s.outcome !== 'unchanged')),
      )
      .map(
        ([who, s]) =>
          `${who} stands at level ${s.level ?? 'none'} of epoch ${String(s.epoch)} (${s.outcome})`,
      ),
    ...Object.entries(state.failClosed).map(
      ([path, line]) => `${path} is fail-closed at level ${line.level}`,
    ),
  ];
}

/**
 * What still stands between the running transition and its end. Of a tightening nobody can be too strict: that is
 * loosened afterwards, by a transition of its own (PO-10). Who went away after applying it is not there to be
 * verified, as long as its path has time (PO-19).
 */
export function differences(state: PostureMachine): readonly string[] {
  if (!('transition' in state)) return wrongs(state);
  const { transition, overdue, standings } = state;
  return [
    ...wrongsOf(state, transition.direction === 'tighten'),
    ...Object.entries(standings)
      .filter(([, { present, path }]) => !present && !overdue.includes(path))
      .map(([who, { path }]) => `${who} of the path ${path} is away`),
  ];
}

/** Who is there and is known to stand tighter than the level in force, and nothing else is wrong with them. */
export function tooStrict(state: PostureMachine): readonly string[] {
  const { epoch, to } = state.last;
  return Object.entries(state.standings)
    .filter(
      ([, s]) =>
        s.present &&
        s.epoch >= epoch &&
        s.level !== undefined &&
        isTighter(s.level, to) &&
        (s.outcome === 'applied' || s.outcome === 'unchanged'),
    )
    .map(([who]) => who);
}

/** Something is wrong that may be looser than the level in force: what is not known may be, too. */
function tooLoose(state: PostureMachine): boolean {
  return wrongs(state).length > tooStrict(state).length;
}

/** Without a reservation to come, what is left of epochs is for requests alone. */
const canTighten = (state: PostureMachine): boolean => state.nextEpoch + EPOCH_HEADROOM <= state.reservedUpTo;

/**
 * PO-20: towards the tighter. What may be too loose is tightened at once, by a decision that needs neither journal
 * nor warden; what is only too strict is loosened in the order, and under the conditions, of a loosening.
 */
function onDisagreed(state: SteadyState, { who }: EventOf<'disagreed'>): Step {
  if (state.asking !== undefined || wrongs(state).length === 0)
    return refused(`nothing is to be repaired for ${who} now`);
  if (!tooLoose(state)) return loosenWhatIsTooStrict(state);
  if (!canTighten(state)) return refused(`nothing can be repaired for ${who} now`);
  const level = state.last.to;
  return tighten(state, level, level, { requested: level, request: undefined, own: 'repair' });
}

function onRecovered(before: PostureMachine, event: EventOf<'recovered'>): Step {
  const { plan } = event;
  const state: SteadyState = {
    ...common(before),
    phase: 'steady',
    asking: undefined,
    word: plan.word,
    last: plan.decision ?? { epoch: plan.word.epoch, from: plan.level, to: plan.level },
    lastDurable: event.journal === 'ok' || plan.journalFirst === undefined ? 'yes' : 'failed',
    nextEpoch: event.nextEpoch,
    reservedUpTo: event.reservedUpTo,
    journal: event.journal,
    holds: plan.holds,
  };
  if (plan.action === 'hold') return moved(state);
  if (plan.action === 'continue' && plan.decision !== undefined) {
    const { epoch, from, to } = plan.decision;
    const direction = isLooser(to, plan.level) ? 'loosen' : 'tighten';
    const transition: Transition = {
      ...plan.decision,
      direction,
      requested: to,
      source: undefined,
      requestId: undefined,
      receivedAtNs: 0n,
      recovered: true,
      own: 'recovery',
      accord: from === to,
      late: [],
      durable: state.lastDurable === 'yes',
    };
    const running: RunningState = {
      ...common(state),
      phase: direction === 'loosen' ? 'deciding' : 'tightening',
      transition,
      overdue: [],
    };
    return continued(advance(running), [
      report(running, transition, undefined),
      // What the process that died had released counts no more: it is released anew, by a live coordinator.
      ...(direction === 'loosen'
        ? [stageEffect(transition, 'loosen-decided')]
        : PATHS.map((path) => ({ do: 'expect', epoch, path }) as const)),
    ]);
  }
  // Bringing up more than packets obey now is loosening: without a live warden it has to wait.
  const obeyed = plan.word.level ?? 1;
  const level = state.wardenFresh ? plan.level : tighterOf(plan.level, obeyed);
  const goal = plan.resumeTo ?? plan.level;
  const from = looserOf(looserOf(plan.decision?.from ?? level, plan.decision?.to ?? level), level);
  const waiting = isLooser(goal, level) ? [{ request: resumption(goal), authorised: true }] : [];
  return tighten({ ...state, waiting }, from, level, {
    requested: level,
    request: undefined,
    own: plan.because,
    recovered: plan.because !== 'provisioning',
  });
}

/** Stands for what was decided before a restart. */
function resumption(level: Level): PostureRequest {
  return {
    id: 'resumption',
    source: {
      channel: 'local',
      tier: 'site_owner',
      principal: 'service:posture-coordinator',
      reason: 'carries on with a decision that a restart interrupted',
    },
    level,
    receivedAtNs: 0n,
  };
}

/* ------------------------------------------------------------------ table */

const always = {
  serviceLost: onServiceLost,
  serviceBack: onServiceBack,
  failClosedSet: onFailClosedSet,
  failClosedCleared: onFailClosedCleared,
  reserved: onReserved,
};
const recoveredOnce = (): Step => refused('what was there was recovered already');
const notAsked = (): Step => refused('nobody was asked about');
const nothingVerified = (): Step => refused('nothing is being verified');
const busy = ({ transition }: RunningState): Step =>
  refused(`the transition of epoch ${String(transition.epoch)} runs and repairs what it meets`);
const idle = (state: PostureMachine): Step => moved(state);

const running = {
  ...always,
  request: onRequest,
  accordChanged: onRequest,
  turn: notAsked,
  journaled: onJournaled,
  journalFailed: onJournalFailed,
  acknowledged: onAcknowledged,
  deadlinePassed: onDeadline,
  verified: nothingVerified,
  disagreed: busy,
  recovered: recoveredOnce,
  tick: idle,
};

const TABLE: Table = {
  recovering: {
    ...always,
    request: (state, { request }) => refuse(state, request, RECOVERING),
    accordChanged: (state, { request }) => refuse(state, request, RECOVERING),
    turn: notAsked,
    journaled: () => refused('nothing was decided'),
    journalFailed: (state) => moved({ ...state, journal: 'failed' }),
    acknowledged: onAcknowledged,
    deadlinePassed: () => refused('nothing runs'),
    verified: nothingVerified,
    disagreed: () => refused('nothing is known yet'),
    recovered: onRecovered,
    tick: idle,
  },
  steady: {
    ...always,
    request: onRequest,
    accordChanged: onRequest,
    turn: onTurn,
    journaled: onJournaled,
    journalFailed: onJournalFailed,
    acknowledged: onAcknowledged,
    deadlinePassed: () => refused('nothing runs'),
    verified: nothingVerified,
    disagreed: onDisagreed,
    recovered: recoveredOnce,
    tick: idle,
  },
  tightening: running,
  deciding: { ...running, deadlinePassed: onDeadlineDeciding },
  'loosening-paths': running,
  'loosening-sessions': running,
  'loosening-dataplane': running,
  verifying: {
    ...running,
    acknowledged: onAcknowledgedVerifying,
    deadlinePassed: onDeadlineVerifying,
    verified: onVerified,
    tick: onTickVerifying,
  },
};

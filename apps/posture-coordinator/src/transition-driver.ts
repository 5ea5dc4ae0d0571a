/**
 * Runs the posture machine: brings it events, carries its effects out in their order, and answers whoever asked.
 * It must not decide about the posture; the machine in libs/posture does.
 */
import type {
  Acknowledgement,
  BoardSnapshot,
  PostureBoard,
  TransitionReport,
  WardenViolation,
} from '@kedge/bus';
import { STAGES } from '@kedge/bus';
import {
  type Action,
  type Authoriser,
  type AuthorisationAnswer,
  type LedgerRecord,
  PATHS,
  type PathName,
  postureResource,
} from '@kedge/contracts';
import { forensicRecords } from '@kedge/ledger';
import type { Outbox } from '@kedge/ledger-link';
import {
  accordsChange,
  askedLevel,
  differences,
  type Effect,
  INITIAL,
  levelInForce,
  notAuthorised,
  NOTHING_DECIDED,
  type PostureEvent,
  type PostureMachine,
  type PostureRequest,
  type RecoveryPlan,
  type RefusalAnswer,
  type Reply,
  step,
  type Transition,
  wrongs,
} from '@kedge/posture';
import type { Logger } from '@kedge/runtime';
import type { PostureWriter } from '@kedge/shared-memory-ipc';
import {
  type Clock,
  type Epoch,
  isLooser,
  type Level,
  LOCKDOWN,
  looserOf,
  KedgeError,
  type Millis,
  millisFromNanos,
  millisOf,
  nanosFromMillis,
  nanosOf,
} from '@kedge/units';
import { EventEmitter } from 'node:events';

import type { NamedSet, Pointer } from './accord-store.js';
import type { Accords } from './accords.js';
import { eventsOf, type Party, partiesOf } from './board-standings.js';
import type { CoordinatorConfig } from './config.js';
import type { IdempotencyStore, RequestIdentity } from './idempotency.js';
import type { JournalFile } from './journal-file.js';
import { processList } from './process-list.js';
import type { Reports } from './reports.js';
import type { ToldViolations } from './told-violations.js';
import { recordOf, type Stamps, transitionReportOf } from './transition-report.js';

/** What the driver works with; all of it stays its caller's. */
export interface DriverParts {
  readonly config: CoordinatorConfig;
  readonly posture: PostureWriter;
  readonly board: PostureBoard;
  readonly journal: JournalFile;
  readonly reports: Reports;
  readonly records: Outbox;
  readonly idempotency: IdempotencyStore;
  readonly authoriser: Authoriser;
  /** Undefined where the coordinator keeps none: accords do not change then. */
  readonly accords: Accords | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Which boot this is, for record ids. */
  readonly boot: string;
  /** Violations that were heard of before the driver listened; from then on nobody else does. */
  readonly takeEarly: () => readonly WardenViolation[];
  /** Which violations have their records already. */
  readonly told: ToldViolations;
  /** Called once the first decision is durable: from then on this box is a provisioned one. */
  readonly onProvisioned: () => void;
}

/** How often the board is looked at without being told, milliseconds. */
const TICK_MS = 100;
/** How long something may be wrong while nothing runs before it is repaired; grows with every attempt. */
const REPAIR_AFTER_MS = 1_500;
const REPAIR_AFTER_MAX_MS = 60_000;
/** Violations that are shown. */
const VIOLATIONS_MAX = 32;
/** Transitions whose moments are remembered. */
const TRACKED_MAX = 64;

interface Tracked {
  transition: Transition;
  readonly stamps: Stamps;
  readonly earlier: TransitionReport | undefined;
  outcome: TransitionReport['outcome'];
  /** A path whose turn comes again has one deadline, the newest. */
  readonly timers: Map<PathName | 'verify', NodeJS.Timeout>;
  /** Who acknowledged this very epoch: a newer one that pre-empts it takes the place in the slot. */
  readonly acks: Map<string, Acknowledgement>;
}

/** Something that happens, or how to tell what happens once everything before it has. */
type Queued = PostureEvent | (() => PostureEvent);

const OVERTAKEN: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_SUPERSEDED',
  message: 'cannot reload the accords: others came into force while these were prepared',
  expected: 'no other change of accords in the meantime',
  help: 'look at the accords in force and ask again',
  rule: 'one-change-of-accords-at-a-time',
};

/** A set of accords that is to come into force (PO-2). */
export interface AccordsOffer {
  readonly to: NamedSet;
  readonly direction: 'tighter' | 'looser';
}

/** Events of the driver. */
interface DriverEvents {
  /** Something about the posture changed. */
  changed: [];
  /** A transition has ended, with its whole report. */
  ended: [TransitionReport];
  /** A request was refused, by this code. */
  refused: [code: string];
  violated: [WardenViolation];
}

/** One per process. */
export class TransitionDriver extends EventEmitter<DriverEvents> {
  readonly #parts: DriverParts;
  #machine: PostureMachine = INITIAL;
  readonly #queue: Queued[] = [];
  #running = false;
  #snapshot: BoardSnapshot;
  #parties: ReadonlyMap<string, Party> = new Map();
  /** The epoch whose word was stored together with its last stage. */
  #loosened: Epoch | undefined;
  readonly #tracked = new Map<Epoch, Tracked>();
  readonly #answers = new Map<string, (reply: Reply) => void>();
  readonly #identities = new Map<string, RequestIdentity>();
  /** Accords that wait or are on their way, by request. */
  readonly #offers = new Map<string, AccordsOffer>();
  #alarms: string[] = [];
  /** Newest first. */
  #violations: WardenViolation[] = [];
  /** Alarms that a restart raised. */
  #doubts: readonly string[] = [];
  #requests = 0;
  #recorded = 0;
  #journalDown = false;
  #lookSoon = false;
  #wrongSince: bigint | undefined;
  #repairAfterMs = REPAIR_AFTER_MS;
  #tick: NodeJS.Timeout | undefined;
  readonly #unsubscribe: (() => void)[] = [];

  constructor(parts: DriverParts) {
    super();
    this.setMaxListeners(0);
    this.#parts = parts;
    this.#snapshot = parts.board.snapshot();
  }

  /** The machine as it stands. */
  get machine(): PostureMachine {
    return this.#machine;
  }

  /** The board as it was looked at last. */
  get snapshot(): BoardSnapshot {
    return this.#snapshot;
  }

  /** The board as it is now; the machine is told at its next look. */
  boardNow(): BoardSnapshot {
    return this.#parts.board.snapshot();
  }

  /** True once the last decision was recovered. */
  get serving(): boolean {
    return this.#machine.phase !== 'recovering';
  }

  /** What was found wrong and stays worth knowing: until a restart, or until {@link recover} says. */
  get alarms(): readonly string[] {
    return this.#alarms;
  }

  /** False once the journal takes no records any more. */
  get durable(): boolean {
    return !this.#journalDown;
  }

  /** What the warden recorded last, newest first. */
  get violations(): readonly WardenViolation[] {
    return this.#violations;
  }

  /** Says something that stays worth knowing. */
  alarm(sentence: string): void {
    if (this.#alarms.includes(sentence)) return;
    this.#alarms.push(sentence);
    if (this.#alarms.length > 32) this.#alarms.shift();
    this.#parts.logger.error({ alarm: sentence }, 'alarm');
  }

  /**
   * Takes up what a restart found, and begins to listen to the board. Its alarms stand until somebody who may
   * loosens: who does has looked.
   */
  recover(plan: RecoveryPlan, nextEpoch: Epoch, reservedUpTo: Epoch): void {
    const { board, journal, reports, clock, takeEarly } = this.#parts;
    for (const sentence of plan.alarms) this.alarm(sentence);
    this.#doubts = plan.alarms;
    const left = reports.unfinished();
    this.#look();
    this.#journalDown = journal.failure !== undefined;
    this.#dispatch({
      kind: 'recovered',
      plan,
      nextEpoch,
      reservedUpTo,
      journal: this.#journalDown ? 'failed' : 'ok',
    });
    const now = clock.monotonicNs();
    for (const report of left) {
      if (this.#tracked.has(report.epoch as Epoch)) continue;
      const ended = plan.action === 'hold' && report.epoch === plan.decision?.epoch;
      reports.put({ ...report, outcome: ended ? 'recovered' : 'preempted', completedAtNs: now }, true);
    }
    const look = (): void => {
      this.#lookLater();
    };
    const violation = (event: WardenViolation): void => {
      this.#onViolation(event);
    };
    for (const name of [
      'dataplane.acknowledged',
      'participant.acknowledged',
      'failclosed.set',
      'failclosed.cleared',
      'board.lost',
      'board.found',
    ] as const) {
      board.on(name, look);
      this.#unsubscribe.push(() => board.off(name, look));
    }
    board.on('warden.violation', violation);
    this.#unsubscribe.push(() => board.off('warden.violation', violation));
    takeEarly().forEach(violation);
    this.#tick = setInterval(() => {
      this.#onTick();
    }, TICK_MS);
  }

  /** Stops listening; nothing is decided any more. */
  close(): void {
    clearInterval(this.#tick);
    for (const off of this.#unsubscribe) off();
    for (const epoch of this.#tracked.keys()) this.#clearTimers(epoch);
  }

  /**
   * Asks for a level. Tightening is stored before this returns; the promise is the durable answer.
   *
   * @param identity of its idempotency key.
   */
  request(asked: Omit<PostureRequest, 'id'>, identity: RequestIdentity): Promise<Reply> {
    this.#requests += 1;
    const request: PostureRequest = { ...asked, id: `request-${this.#requests}` };
    // A loosening must not be judged by an old sight of the warden; a tightening waits for nothing.
    if (request.level > this.#machine.last.to) this.#look();
    const authority = this.#decide(request);
    this.#identities.set(request.id, identity);
    const reply = new Promise<Reply>((resolve) => {
      this.#answers.set(request.id, resolve);
    });
    this.#dispatch({ kind: 'request', request, authority });
    if (authority.allow) this.#recordAuthorisation(request, true, authority.rule, '');
    return reply;
  }

  /** Why tighter accords would not be decided now, so that nobody prepares them in vain; the decision asks again. */
  tighteningObstacle({ source }: Pick<PostureRequest, 'source'>): RefusalAnswer | undefined {
    const answer = this.#ask(source, this.#machine.last.to);
    return answer.allow ? undefined : notAuthorised(answer.rule, answer.reason);
  }

  /**
   * Asks for other accords at the level in force (PO-2). Their copy is kept already, tighter ones are prepared; the
   * promise is the durable answer. Which way they go is judged here, by what is in force at the decision (PO-4).
   * What is prepared is withdrawn where it is not decided.
   *
   * @param identity of its idempotency key.
   */
  changeAccords(
    asked: Omit<PostureRequest, 'id' | 'level' | 'accord'>,
    accords: Accords,
    to: NamedSet,
    identity: RequestIdentity,
  ): Promise<Reply> {
    this.#look();
    const { direction } = accordsChange(accords.inForce.set, to.set);
    if (direction === 'none' || (direction === 'tighter') !== (accords.prepared?.hash === to.hash)) {
      accords.withdraw();
      const { last, lastDurable } = this.#machine;
      if (direction === 'none')
        return Promise.resolve({ kind: 'decision', ...last, durable: lastDurable === 'yes' });
      this.recordRefusal({ ...asked, level: last.to }, OVERTAKEN, 'governance.reload');
      return Promise.resolve(OVERTAKEN);
    }
    this.#requests += 1;
    const offer: AccordsOffer = { to, direction };
    const request = {
      ...asked,
      id: `request-${this.#requests}`,
      level: this.#machine.last.to,
      accord: direction,
    };
    this.#offers.set(request.id, offer);
    this.#identities.set(request.id, identity);
    const authority = this.#decide(request);
    const reply = new Promise<Reply>((resolve) => {
      this.#answers.set(request.id, resolve);
    });
    this.#dispatch({ kind: 'accordChanged', request, authority });
    // Whoever was refused leaves nothing behind.
    if (accords.prepared !== undefined) accords.withdraw();
    if (authority.allow) this.#recordAuthorisation(request, true, authority.rule, '', 'governance.reload');
    return reply;
  }

  /** Sets of accords that wait for their turn, or are on their way. */
  get offered(): readonly NamedSet[] {
    return [...this.#offers.values()].map(({ to }) => to);
  }

  /** Keeps a refusal that the machine never saw (PO-5). */
  recordRefusal(
    request: Omit<PostureRequest, 'id' | 'level'> & { readonly level: number },
    refusal: RefusalAnswer,
    action: Action = 'posture.set',
  ): void {
    this.#recordAuthorisation(request, false, refusal.rule ?? refusal.code, refusal.message, action);
    this.emit('refused', refusal.code);
  }

  /** Keeps what was granted beside the posture (SE-2). */
  recordGrant(request: Omit<PostureRequest, 'id'>, rule: string, action: Action): void {
    this.#recordAuthorisation(request, true, rule, '', action);
  }

  /** The report of the running or last transition, as it stands now. */
  currentReport(): TransitionReport | undefined {
    const { machine, reports } = { machine: this.#machine, reports: this.#parts.reports };
    if ('transition' in machine) {
      const tracked = this.#tracked.get(machine.transition.epoch);
      if (tracked !== undefined) return this.#reportOf(tracked, undefined);
    }
    return reports.newest();
  }

  /** A report by epoch, fresh where the transition runs. */
  report(epoch: bigint): TransitionReport | undefined {
    const current = this.currentReport();
    return current !== undefined && (epoch === 0n || epoch === current.epoch)
      ? current
      : this.#parts.reports.get(epoch);
  }

  /* ------------------------------------------------------------ machine */

  #dispatch(queued: Queued): void {
    this.#queue.push(queued);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const event = typeof next === 'function' ? next() : next;
        const result = step(this.#machine, event);
        if (result.kind === 'refused') {
          this.#parts.logger.debug(
            { event: event.kind, phase: this.#machine.phase, why: result.why },
            'event refused',
          );
          continue;
        }
        this.#machine = result.state;
        for (const effect of result.effects) this.#carryOut(effect);
      }
    } finally {
      this.#running = false;
    }
    this.emit('changed');
  }

  #carryOut(effect: Effect): void {
    switch (effect.do) {
      case 'storeTightening':
        this.#storeTightening(effect);
        return;
      case 'writeTransitionStage':
        this.#writeStage(effect);
        return;
      case 'storeWord': {
        // Line and word of a loosening's last stage are one store; it was made with the stage.
        if (effect.epoch === this.#loosened) return;
        const { storedAtNs } = this.#parts.posture.storeWord(effect.epoch, effect.level);
        const tracked = this.#tracked.get(effect.epoch);
        if (tracked !== undefined) tracked.stamps.storedAtNs = storedAtNs;
        return;
      }
      case 'journal':
        this.#journal(effect);
        return;
      case 'reserveEpochs':
        this.#append(
          this.#parts.journal.append({
            ...NOTHING_DECIDED,
            ...this.#now(),
            kind: 'reserve',
            reservedUpTo: effect.upTo,
          }),
          () => {
            this.#dispatch({ kind: 'reserved', upTo: effect.upTo });
          },
        );
        return;
      case 'answer':
        this.#answer(effect.id, effect.reply);
        return;
      case 'settle':
        this.#settle(effect.request.id, effect.reply);
        return;
      case 'authorise':
        this.#look();
        this.#dispatch({ kind: 'turn', id: effect.request.id, authority: this.#decide(effect.request) });
        return;
      case 'expect':
        this.#expect(effect.epoch, effect.path);
        return;
      case 'verify':
        this.#look();
        // What the look found stands in the queue before it.
        this.#dispatch(() => ({
          kind: 'verified',
          epoch: effect.epoch,
          differences: [...differences(this.#machine), ...this.#accordsBehind()],
        }));
        return;
      case 'repeat':
        this.#repeat(effect.epoch);
        return;
      case 'cancel':
        this.#clearTimers(effect.epoch);
        return;
      case 'report':
        this.#report(effect);
        return;
      case 'record':
        this.#recordAuthorisation(
          effect.request,
          false,
          effect.refusal.rule ?? effect.refusal.code,
          effect.refusal.message,
          effect.request.accord === undefined ? 'posture.set' : 'governance.reload',
        );
        this.emit('refused', effect.refusal.code);
        return;
    }
  }

  /** Nothing comes before the store; what else is to be known about the transition is written down after it. */
  #storeTightening(effect: Extract<Effect, { do: 'storeTightening' }>): void {
    const { epoch, from, to, receivedAtNs } = effect;
    const { decidedAtNs, storedAtNs } = this.#parts.posture.tighten({ epoch, from, to, receivedAtNs });
    // Whoever saw the epoch of tighter accords has them: they were prepared.
    if (this.#offerOf(epoch) !== undefined) this.#parts.accords?.adopt();
    if (!('transition' in this.#machine)) return;
    const tracked = this.#track(this.#machine.transition, decidedAtNs);
    tracked.stamps.storedAtNs = storedAtNs;
    for (const path of PATHS) tracked.stamps.startNs[path] = decidedAtNs;
    if (to === LOCKDOWN) this.#takeProcesses(epoch);
  }

  /** The processes of the controller, on the way to a lockdown (LE-8). Nothing waits for them. */
  #takeProcesses(epoch: Epoch): void {
    const { records, config, clock } = this.#parts;
    const { appliance } = config;
    const at = new Date(clock.wallMs()).toISOString();
    const takenAtNs = clock.monotonicNs().toString();
    void processList().then(({ items, reason }) => {
      records.spread(
        forensicRecords(
          `forensic-part/${appliance}/${epoch}/processes/posture-coordinator`,
          {
            appliance,
            at,
            epoch: epoch.toString(),
            snapshot: `forensic-snapshot/${appliance}/${epoch}`,
            section: 'processes',
            source: 'posture-coordinator',
            takenAtNs,
            reason,
          },
          items,
        ),
      );
    });
  }

  #writeStage(effect: Extract<Effect, { do: 'writeTransitionStage' }>): void {
    const { epoch, from, to, stage, receivedAtNs } = effect;
    const tracked = this.#tracked.get(epoch);
    // Nobody goes by a looser set before its release, nor after that was taken back (PO-12).
    if (stage === 'loosen-decided') this.#parts.accords?.takeBack();
    if (stage === 'loosen-paths') this.#point(epoch, 'paths');
    if (stage === 'loosen-dataplane') {
      this.#point(epoch, 'tables');
      // The budget runs from the stage: nobody may be woken, and nothing collected, between it and the word.
      const decidedAtNs = tracked?.stamps.decidedAtNs ?? this.#parts.clock.monotonicNs();
      const { stageAtNs, storedAtNs } = this.#parts.posture.loosen({
        epoch,
        from,
        to,
        receivedAtNs,
        decidedAtNs,
      });
      this.#loosened = epoch;
      if (tracked === undefined) return;
      tracked.stamps.startNs.dataplane = stageAtNs;
      tracked.stamps.storedAtNs = storedAtNs;
      return;
    }
    const now = this.#parts.clock.monotonicNs();
    this.#parts.posture.writeTransition({
      epoch,
      from,
      to,
      stage: STAGES.indexOf(stage),
      flags: 0,
      receivedAtNs,
      decidedAtNs: tracked?.stamps.decidedAtNs ?? now,
      stageAtNs: now,
      budgetNs: [0n, 0n, 0n],
    });
    if (tracked === undefined) return;
    const { startNs } = tracked.stamps;
    if (stage === 'loosen-paths') {
      startNs.overlay = now;
      startNs.underlay = now;
    }
    if (stage === 'loosen-sessions') tracked.stamps.sessionsNs = now;
  }

  /** The completed line again, with a new time of its stage. A line that says anything else is left alone. */
  #repeat(epoch: Epoch): void {
    this.#look();
    const line = this.#snapshot.transition;
    if (line?.epoch !== epoch || line.stage !== 'complete') return;
    this.#parts.posture.writeTransition({
      ...line,
      stage: STAGES.indexOf(line.stage),
      flags: 0,
      stageAtNs: this.#parts.clock.monotonicNs(),
      budgetNs: [line.budgetNs.dataplane, line.budgetNs.overlay, line.budgetNs.underlay],
    });
  }

  #journal({ entry }: Extract<Effect, { do: 'journal' }>): void {
    const { epoch, from, to, requested, source, requestId, recovered, accord, holds, keeps } = entry;
    const tracked =
      this.#tracked.get(epoch) ??
      (entry.kind === 'decision' && 'transition' in this.#machine
        ? this.#track(this.#machine.transition, this.#parts.clock.monotonicNs())
        : undefined);
    const identity = requestId === undefined ? undefined : this.#identities.get(requestId);
    const now = this.#now();
    const append = (): Promise<void> =>
      this.#parts.journal.append({
        kind: entry.kind,
        epoch,
        from,
        to,
        requested,
        channel: source?.channel,
        tier: source?.tier,
        recovered,
        accord,
        // A completed record may have waited: it does not bring back who held before.
        holds: entry.kind === 'completed' ? this.#machine.holds : holds,
        completed: false,
        carried: false,
        keyHash: identity?.keyHash,
        contentHash: identity?.contentHash,
        decidedAtNs:
          entry.kind === 'completed' ? now.decidedAtNs : (tracked?.stamps.decidedAtNs ?? now.decidedAtNs),
        decidedAtWallMs: now.decidedAtWallMs,
      });
    // Accords are not written down as in force while a power cut could take their pointers back.
    const { accords } = this.#parts;
    const written =
      entry.kind === 'completed' && accord && accords !== undefined
        ? accords.lasting().then((lasts) => (lasts ? append() : undefined))
        : append();
    this.#append(written, () => {
      if (keeps !== undefined) this.#dispatch({ kind: 'journaled', epoch, keeps });
      if (entry.kind !== 'decision') return;
      if (tracked !== undefined) tracked.stamps.journaledAtNs = this.#parts.clock.monotonicNs();
      this.#parts.onProvisioned();
      // A flush may take long: what it lets loosen must not be judged by an old sight of the warden.
      if (this.#machine.phase === 'deciding') this.#look();
      this.#dispatch({ kind: 'journaled', epoch });
      this.#refreshReport(epoch);
      if (source === undefined || recovered || !isLooser(to, from)) return;
      this.#alarms = this.#alarms.filter((sentence) => !this.#doubts.includes(sentence));
    });
  }

  #append(written: Promise<void>, then: () => void): void {
    written.then(then, (error: unknown) => {
      if (this.#journalDown) return;
      this.#journalDown = true;
      const why = error instanceof KedgeError ? error.cause : undefined;
      this.alarm(
        `${why instanceof KedgeError ? `${why.code}: ` : ''}the decision journal takes no records any more: tightenings are not durable, nothing loosens`,
      );
      this.#parts.logger.error({ err: error }, 'the decision journal failed');
      this.#dispatch({ kind: 'journalFailed' });
    });
  }

  #now(): { readonly decidedAtNs: bigint; readonly decidedAtWallMs: number } {
    const { clock } = this.#parts;
    return { decidedAtNs: clock.monotonicNs(), decidedAtWallMs: clock.wallMs() };
  }

  /* ------------------------------------------------------------ accords */

  /** The offer that the running transition brings into force, if it does. */
  #offerOf(epoch: Epoch): AccordsOffer | undefined {
    const machine = this.#machine;
    if (this.#offers.size === 0 || !('transition' in machine)) return undefined;
    const { transition } = machine;
    return transition.epoch === epoch ? this.#offers.get(transition.requestId ?? '') : undefined;
  }

  /** The next step of looser accords that are on their way: the data plane comes last. */
  #point(epoch: Epoch, ...pointers: readonly Pointer[]): void {
    const offer = this.#offerOf(epoch);
    const { accords } = this.#parts;
    if (offer === undefined || accords === undefined) return;
    try {
      for (const pointer of pointers) accords.point(pointer, offer.to);
    } catch (error) {
      // Everybody stays at the accords that were in force; the transition ends late, and says so.
      this.alarm('other accords could not be put in force: the pointer to them cannot be written');
      this.#parts.logger.error({ err: error }, 'a pointer to accords cannot be written');
    }
  }

  /** What the data plane still lacks of the accords that the running transition brings. */
  #accordsBehind(): readonly string[] {
    const machine = this.#machine;
    const { accords } = this.#parts;
    if (accords === undefined || !('transition' in machine)) return [];
    const offer = this.#offerOf(machine.transition.epoch);
    return offer === undefined ? [] : accords.behind(this.#snapshot, offer.to);
  }

  /** A transition has ended: what it brought is in force, or is taken back where it never reached the data plane. */
  #accordsEnded({ requestId }: Transition): void {
    const { accords } = this.#parts;
    if (requestId === undefined || !this.#offers.delete(requestId) || accords === undefined) return;
    if (accords.takeBack()) this.#sayAgain();
    accords.settle(() => this.offered);
  }

  /**
   * The line of the running transition with a new time of its stage. No tightening waits for a pointer (PO-22): who
   * was woken by it before the looser accords were taken back went by those, and looks again.
   */
  #sayAgain(): void {
    const { posture, clock } = this.#parts;
    const line = posture.transition();
    if (line === undefined || !('transition' in this.#machine)) return;
    if (line.epoch === this.#machine.transition.epoch)
      posture.writeTransition({ ...line, flags: 0, stageAtNs: clock.monotonicNs() });
  }

  /* ------------------------------------------------------------ answers */

  #decide(request: PostureRequest): AuthorisationAnswer {
    const { id, source, level } = request;
    const offer = this.#offers.get(id);
    const { accords } = this.#parts;
    if (offer?.direction !== 'looser' || accords === undefined)
      return this.#ask(source, askedLevel(this.#machine, level));
    // Like loosening to the level in force, and to each at which more is permitted now (PO-4).
    const { looserAt } = accordsChange(accords.inForce.set, offer.to.set);
    const answers = [...new Set<Level>([level, ...looserAt])].map((each) => {
      const to = looserOf(each, 2);
      return this.#ask(source, to, (to - 1) as Level);
    });
    return answers.find(({ allow }) => !allow) ?? answers[0] ?? this.#ask(source, level);
  }

  #ask(source: PostureRequest['source'], to: Level, from = levelInForce(this.#machine)): AuthorisationAnswer {
    const machine = this.#machine;
    return this.#parts.authoriser.decide({
      principal: source.principal,
      tier: source.tier,
      channel: source.channel,
      action: 'posture.set',
      resource: postureResource(to),
      level: from,
      epoch: machine.last.epoch,
      mfaAge: secondFactorAge(source),
      address: undefined,
      at: nanosOf(this.#parts.clock.monotonicNs()),
      wallMs: this.#parts.clock.wallMs(),
      breakGlass: false,
    });
  }

  #answer(id: string, reply: Reply): void {
    this.#answers.get(id)?.(reply);
    this.#answers.delete(id);
    // The key of a request that waits learns later what became of it.
    if (reply.kind !== 'waiting') this.#identities.delete(id);
    this.#dropOffer(id, reply);
  }

  /** Accords that no transition brings are let go. */
  #dropOffer(id: string, reply: Reply): void {
    const machine = this.#machine;
    if (reply.kind === 'waiting' || ('transition' in machine && machine.transition.requestId === id)) return;
    this.#offers.delete(id);
  }

  #settle(id: string, reply: Reply): void {
    const identity = this.#identities.get(id);
    if (identity !== undefined) this.#parts.idempotency.settle(identity, reply);
    this.#identities.delete(id);
    this.#dropOffer(id, reply);
    this.#parts.logger.info({ request: id, reply }, 'a waiting request is settled');
  }

  #recordAuthorisation(
    request: Omit<PostureRequest, 'id' | 'level'> & { readonly level: number },
    allow: boolean,
    rule: string,
    reason: string,
    action: Action = 'posture.set',
  ): void {
    const { records, config, clock, boot } = this.#parts;
    this.#recorded += 1;
    const at = clock.monotonicNs();
    records.put({
      schema: 'kedge.authorisation-decision/1',
      id: `authorisation-decision/${config.appliance}/${boot}/${at}-${this.#recorded}`,
      appliance: config.appliance,
      at: new Date(clock.wallMs()).toISOString(),
      epoch: this.#machine.last.epoch.toString(),
      allow,
      rule,
      reason: recordedReason(reason, request.source).slice(0, 512),
      principal: request.source.principal.slice(0, 128),
      tier: request.source.tier,
      channel: request.source.channel,
      action,
      resource: action === 'posture.set' ? `posture/${String(request.level).slice(0, 40)}` : 'posture',
      level: levelInForce(this.#machine),
      askedAtNs: (request.receivedAtNs > 0n ? request.receivedAtNs : at).toString(),
    });
    if (!allow) {
      this.#parts.logger.warn(
        {
          rule,
          channel: request.source.channel,
          tier: request.source.tier,
          principal: request.source.principal,
          level: request.level,
        },
        'a request was refused',
      );
    }
  }
  /* ------------------------------------------------------------ reports */

  #track(transition: Transition, decidedAtNs: bigint): Tracked {
    const { clock, reports } = this.#parts;
    const earlier = transition.recovered ? reports.get(transition.epoch) : undefined;
    const tracked: Tracked = {
      transition,
      earlier,
      outcome: 'running',
      timers: new Map(),
      acks: new Map(),
      stamps: {
        receivedAtNs: transition.receivedAtNs,
        decidedAtNs: earlier?.decidedAtNs ?? decidedAtNs,
        decidedAtWallMs: earlier === undefined ? clock.wallMs() : Number(earlier.decidedAtWallMs),
        storedAtNs: earlier?.storedAtNs ?? 0n,
        journaledAtNs: earlier?.journaledAtNs ?? 0n,
        completedAtNs: 0n,
        startNs: {},
        sessionsNs: 0n,
      },
    };
    this.#tracked.set(transition.epoch, tracked);
    const [oldest] = this.#tracked.keys();
    if (this.#tracked.size > TRACKED_MAX && oldest !== undefined) {
      this.#clearTimers(oldest);
      this.#tracked.delete(oldest);
    }
    return tracked;
  }

  #report({ transition, outcome }: Extract<Effect, { do: 'report' }>): void {
    const { clock, logger, config, reports, records, posture } = this.#parts;
    const fields = { epoch: transition.epoch, from: transition.from, to: transition.to };
    const line = posture.transition();
    const tracked =
      this.#tracked.get(transition.epoch) ??
      this.#track(transition, line?.epoch === transition.epoch ? line.decidedAtNs : clock.monotonicNs());
    tracked.transition = transition;
    if (outcome === undefined) {
      if (transition.recovered && transition.direction === 'tighten') {
        for (const path of PATHS) tracked.stamps.startNs[path] ??= tracked.stamps.decidedAtNs;
      }
      logger.info({ ...fields, source: transition.source }, 'a transition began');
      reports.put(this.#reportOf(tracked, undefined), true);
      return;
    }
    this.#clearTimers(transition.epoch);
    this.#takeSnapshot();
    tracked.stamps.completedAtNs = clock.monotonicNs();
    const ended = this.#reportOf(tracked, outcome);
    // By the stamps of the acting ends a path may have been late although it was done when it was looked at.
    const late = outcome === 'completed' && ended.paths.some((path) => path.outcome === 'late');
    const report = late ? { ...ended, outcome: 'late' } : ended;
    tracked.outcome = report.outcome;
    reports.put(report, true);
    records.put(recordOf(config.appliance, report));
    logger.info({ ...fields, outcome: report.outcome, late: transition.late }, 'a transition ended');
    this.#accordsEnded(transition);
    this.emit('ended', report);
  }

  /** A journal record that came to be durable after its transition had ended belongs into the report, too. */
  #refreshReport(epoch: Epoch): void {
    const tracked = this.#tracked.get(epoch);
    if (tracked === undefined || tracked.outcome === 'running') return;
    const report = this.#parts.reports.get(epoch);
    if (report === undefined) return;
    this.#parts.reports.put({ ...report, journaledAtNs: tracked.stamps.journaledAtNs, durable: true }, true);
  }

  #reportOf(
    tracked: Tracked,
    outcome: Parameters<typeof transitionReportOf>[0]['outcome'],
  ): TransitionReport {
    const { transition, stamps, earlier } = tracked;
    return transitionReportOf({
      transition,
      stamps,
      earlier,
      outcome,
      parties: this.#parties,
      acks: tracked.acks,
      budgetNs: this.#budgets(),
    });
  }

  #budgets(): Readonly<Record<PathName, bigint>> {
    const { budgetsMs } = this.#parts.config;
    const of = (path: PathName): bigint => this.#snapshot.budgetNs[path] ?? nanosFromMillis(budgetsMs[path]);
    return { dataplane: of('dataplane'), overlay: of('overlay'), underlay: of('underlay') };
  }

  /* -------------------------------------------------------------- time */

  #expect(epoch: Epoch, path: PathName | 'verify'): void {
    const tracked = this.#tracked.get(epoch);
    const { config, clock } = this.#parts;
    let delayMs: number = config.verifyMs;
    if (path !== 'verify') {
      const sessions = path === 'overlay' ? tracked?.stamps.sessionsNs : 0n;
      const start = sessions === 0n ? tracked?.stamps.startNs[path] : sessions;
      delayMs = Math.max(
        1,
        millisFromNanos((start ?? clock.monotonicNs()) + this.#budgets()[path] - clock.monotonicNs()) + 1,
      );
    }
    clearTimeout(tracked?.timers.get(path));
    const timer = setTimeout(() => {
      tracked?.timers.delete(path);
      // Who made it in time and was only not looked at yet is not late.
      this.#look();
      this.#dispatch({ kind: 'deadlinePassed', epoch, path });
    }, delayMs);
    tracked?.timers.set(path, timer);
  }

  #clearTimers(epoch: Epoch): void {
    const tracked = this.#tracked.get(epoch);
    if (tracked === undefined) return;
    for (const timer of tracked.timers.values()) clearTimeout(timer);
    tracked.timers.clear();
  }

  #onTick(): void {
    this.#look();
    this.#dispatch({ kind: 'tick' });
    this.#repair();
  }

  /** PO-20: what stays wrong while nothing runs is brought right under a new epoch, less and less often. */
  #repair(): void {
    const machine = this.#machine;
    const [wrong] = machine.phase === 'steady' ? wrongs(machine) : [];
    if (wrong === undefined) {
      this.#wrongSince = undefined;
      if (machine.phase === 'steady') this.#repairAfterMs = REPAIR_AFTER_MS;
      return;
    }
    const now = this.#parts.clock.monotonicNs();
    this.#wrongSince ??= now;
    if (now - this.#wrongSince < nanosFromMillis(this.#repairAfterMs)) return;
    this.#wrongSince = undefined;
    this.#repairAfterMs = Math.min(REPAIR_AFTER_MAX_MS, this.#repairAfterMs * 2);
    this.#parts.logger.warn({ wrong }, 'something is not at the level in force');
    this.#dispatch({ kind: 'disagreed', who: wrong });
  }

  /* ------------------------------------------------------------- board */

  #lookLater(): void {
    if (this.#lookSoon) return;
    this.#lookSoon = true;
    setImmediate(() => {
      this.#lookSoon = false;
      this.#look();
    });
  }

  #takeSnapshot(): void {
    this.#snapshot = this.#parts.board.snapshot();
    this.#parties = partiesOf(this.#snapshot, this.#parts.config.sessionParticipants);
    for (const [who, { ack }] of this.#parties) {
      if (ack !== undefined && ack.outcome !== 'none') this.#tracked.get(ack.epoch)?.acks.set(who, ack);
    }
  }

  #look(): void {
    this.#takeSnapshot();
    for (const event of eventsOf(this.#machine, this.#snapshot, this.#parties)) this.#dispatch(event);
  }

  #onViolation(violation: WardenViolation): void {
    const { logger, told } = this.#parts;
    logger.error({ violation }, 'the warden recorded a violation');
    this.#violations = [violation, ...this.#violations].slice(0, VIOLATIONS_MAX);
    if (!told.isTold(violation)) void this.#recordViolation(violation);
    this.#lookLater();
    this.emit('violated', violation);
    this.emit('changed');
  }

  /** Never rejects. Records become durable in their order: what is told says that those before it are as well. */
  async #recordViolation(violation: WardenViolation): Promise<void> {
    const { records, config, clock, boot, told } = this.#parts;
    const record: LedgerRecord = {
      schema: 'kedge.budget-violation/1',
      id: `budget-violation/${config.appliance}/${boot}/${violation.number}-${violation.atNs}`,
      appliance: config.appliance,
      at: new Date(clock.wallMs()).toISOString(),
      epoch: violation.epoch.toString(),
      kind: violation.kind,
      path: violation.path ?? null,
      subject: violation.subject === '' ? 'unknown' : violation.subject,
      seenAtNs: violation.atNs.toString(),
      deadlineNs: violation.deadlineNs.toString(),
      actedAtNs: violation.actedAtNs.toString(),
      level: violation.level ?? null,
      outcome: violation.outcome,
    };
    if (await records.keep([record])) told.told(violation);
  }
}

/**
 * How old the second factor of whoever asked is; undefined = none. The console directory counts as one until there is
 * another: a fresh one for a request of its own, and for what the intent asks later one as old as the commit.
 */
function secondFactorAge({ channel, onBehalf }: PostureRequest['source']): Millis | undefined {
  if (channel !== 'console') return undefined;
  const ago = onBehalf === undefined ? 0 : onBehalf.askedMsAgo;
  return ago === undefined ? undefined : millisOf(ago);
}

/** Why it was answered so; of what the intent asked for others also what it said that it is for. */
function recordedReason(reason: string, source: PostureRequest['source']): string {
  if (source.onBehalf === undefined) return reason;
  return reason === '' ? source.reason : `${reason}; asked for: ${source.reason}`;
}

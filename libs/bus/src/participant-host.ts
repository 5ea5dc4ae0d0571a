/**
 * Keeps a participant at the posture in force: starts a tightening by itself, loosens when it is released, fails
 * closed at the deadline, acknowledges, repairs on an interval, and beats.
 * It must not know what the participant changes, nor close the board or the slot that it was given.
 */
import type { Participant, PathName } from '@kedge/contracts';
import {
  checkPlan,
  failureOf,
  type LastRun,
  type LoopReason,
  type LoopStatus,
  Reconciliation,
  type RunOutcome,
} from '@kedge/reconcile';
import {
  type Clock,
  type Epoch,
  EPOCH_NONE,
  isLooser,
  isTighter,
  KedgeError,
  type Level,
  LOCKDOWN,
  looserOf,
  millisFromNanos,
  nanosFromMillis,
} from '@kedge/units';

import { type Binding, bindingOf, mayFollow, type PathLayer } from './participant-binding.js';
import type { ParticipantAck, ParticipantSlot } from './participant-slot.js';
import type { BoardEvents, PostureBoard, PostureStaged, WardenViolation } from './posture-board.js';

/** Where a host writes what it does; pino fits. */
export interface HostLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A reason of the service's own to stay tighter than the posture asks, a damaged desired set for example. */
export interface OwnLimit {
  readonly level: Level;
  readonly code: string;
  readonly message: string;
}

/** What a participant is hosted with. */
export interface HostOptions<Actual> {
  readonly board: PostureBoard;
  /** The participant's own file; its path is the participant's. */
  readonly slot: ParticipantSlot;
  readonly participant: Participant<Actual>;
  /** From the end of a good reconciliation to the next one, milliseconds; 0 = only when something happens. */
  readonly reconcileEveryMs: number;
  readonly clock: Clock;
  readonly log: HostLog;
  /** The path's budget where no warden says one, milliseconds; also the longest that any run may take. */
  readonly budgetMs: number;
  /** Told after every change of status; what it throws is logged and dropped. */
  readonly onStatus?: (status: ParticipantStatus) => void;
  /** Sessions of a path loosen after the rest of it. Default 'path'. */
  readonly layer?: PathLayer;
  /** Asked at every look at the board. What it names is obeyed where it is tighter. */
  readonly limit?: () => OwnLimit | undefined;
  /**
   * Called at the beginning of every try, before the world is read: takes up what the levels mean now. Not called
   * while a loosening is held back (PO-12). What it throws fails the try.
   */
  readonly follow?: () => void;
  /**
   * Called after the world was read and before anything is taken from it, in a tightening: the moment of the
   * pre-escalation snapshot (PO-18). Memory only: no escalation waits for a disk (PO-22). What it throws is logged.
   */
  readonly beforeEscalation?: (
    actual: Actual,
    move: { readonly from: Level; readonly to: Level; readonly epoch: Epoch },
  ) => void;
  /** Waited for before an epoch is acknowledged: the mutation gate's older permits, for example. */
  readonly acknowledgeable?: (epoch: Epoch, signal: AbortSignal) => Promise<void>;
  /** Between beats and looks at the board, milliseconds; default 100 (PO-12). */
  readonly heartbeatMs?: number;
  /** Between tries after failures; default from 100 ms to 10 s. */
  readonly backoff?: { readonly firstMs: number; readonly mostMs: number };
  /** How long a cancelled step may take to return before it counts as stuck, milliseconds; default 500. */
  readonly graceMs?: number;
}

/** How a hosted participant stands. Desired and actual never share a field. */
export interface ParticipantStatus {
  readonly name: string;
  readonly path: PathName;
  readonly loop: LoopStatus;
  readonly last: LastRun | undefined;
  /** Runs that failed one after the other. */
  readonly failures: number;
  /** Where it is to stand. */
  readonly wanted: {
    readonly epoch: Epoch;
    readonly level: Level;
    /** What the decision itself says. */
    readonly decided: Level;
    /** Why `level` is tighter than `decided`. */
    readonly limits: readonly Limit[];
  };
  /** The newest epoch that was brought about, and the loosest level at which the world may stand; undefined = unknown. */
  readonly standing: { readonly epoch: Epoch; readonly level: Level } | undefined;
  /** Brought to the current posture, and the board can be read (PO-19). */
  readonly serving: boolean;
  /** The service's own limit while there is one. */
  readonly ownLimit: OwnLimit | undefined;
}

/** Why a participant stands tighter than was decided. */
export type Limit = Binding['limits'][number] | 'own-limit' | 'not-released';

/** A hosted participant. */
export interface HostedParticipant {
  status(): ParticipantStatus;
  /** Asks for a reconciliation and resolves when a run that began afterwards has ended (PO-11). */
  reconcileNow(): Promise<LastRun>;
  /**
   * Beats at once, and says whether the service around the participant serves as well; what it said last holds for
   * the beats that come by themselves. A `Heart` for whoever runs services.
   */
  beat(serving: boolean): void;
  /** Whether it was brought to the current posture (PO-19). */
  readonly serving: boolean;
  /** Stops: cancels what runs, waits for it, and beats no more. Board and slot stay open. */
  close(): Promise<void>;
}

/** Hosts a participant: it is at work when this returns. */
export function hostParticipant<Actual>(options: HostOptions<Actual>): HostedParticipant {
  return new Host(options);
}

interface Goal {
  readonly binding: Binding;
  readonly epoch: Epoch;
  readonly level: Level;
  readonly limits: readonly Limit[];
  readonly ownLimit: OwnLimit | undefined;
}

interface Attempt {
  readonly outcome: 'applied' | 'unchanged' | 'failed' | 'cancelled';
  readonly changes: number;
  readonly failure?: { readonly code: string; readonly message: string };
}

/** Tries of a tightening before it fails closed, where the budget lasts that long. */
const TRIES = 3;

const BOARD_REASONS: readonly (readonly [keyof BoardEvents, LoopReason])[] = [
  ['posture.decided', 'posture'],
  ['posture.staged', 'posture'],
  ['posture.changed', 'posture'],
  ['dataplane.acknowledged', 'posture'],
  ['failclosed.set', 'fail-closed'],
  ['failclosed.cleared', 'fail-closed'],
  ['board.lost', 'board'],
  ['board.found', 'board'],
];

class Host<Actual> implements HostedParticipant {
  readonly #options: HostOptions<Actual>;
  readonly #loop: Reconciliation;
  readonly #startedAtNs: bigint;
  readonly #unsubscribe: (() => void)[] = [];
  readonly #beating: NodeJS.Timeout;
  #gateTimer: NodeJS.Timeout | undefined;
  #goal: Goal;
  /** What the loop was asked for last, or began last. */
  #asked = '';
  #running: Goal | undefined;
  #standing: { readonly epoch: Epoch; readonly level: Level } | undefined;
  /** The level that was verified or enforced last, which a loosening that is held back stays at. */
  #enforced: Level | undefined;
  /** When this process first saw the epoch that binds: a moment in the board that lies in the future counts as this. */
  #seen: { readonly epoch: Epoch; readonly atNs: bigint };
  /** The world was shown to the snapshot, and has not come to a posture since. */
  #escalating = false;
  /** The last acknowledgement of this process. */
  #acknowledged: ParticipantAck | undefined;
  /** What a cancelled run left behind that has not returned. */
  #stuck = 0;
  #broughtUp = false;
  #serviceServes = true;
  #closed = false;
  #waiting: {
    readonly after: number;
    readonly resolve: (last: LastRun) => void;
    readonly reject: (error: KedgeError) => void;
  }[] = [];
  #runs = 0;

  constructor(options: HostOptions<Actual>) {
    this.#options = options;
    this.#startedAtNs = options.clock.monotonicNs();
    this.#loop = new Reconciliation({
      run: (because, signal) => this.#run(because, signal),
      nowNs: () => options.clock.monotonicNs(),
      timers: {
        after: (ms, call) => {
          const timer = setTimeout(call, ms);
          return () => {
            clearTimeout(timer);
          };
        },
      },
      everyMs: options.reconcileEveryMs,
      backoff: options.backoff ?? { firstMs: 100, mostMs: 10_000 },
      onStatus: () => {
        this.#tell();
      },
    });
    this.#seen = { epoch: EPOCH_NONE, atNs: this.#startedAtNs };
    this.#goal = this.#goalNow();
    for (const [event, because] of BOARD_REASONS) {
      const look = (): void => {
        this.#look(because);
      };
      options.board.on(event, look);
      this.#unsubscribe.push(() => options.board.off(event, look));
    }
    // Somebody asked for the level in force: what was verified may have been changed underneath since (PO-11).
    const repeated = ({ before, stage }: PostureStaged): void => {
      if (before === stage) this.#loop.want('request');
    };
    options.board.on('posture.staged', repeated);
    this.#unsubscribe.push(() => options.board.off('posture.staged', repeated));
    // The warden cuts a late path by a command of its own, which may end after this participant was done: whatever
    // was verified before that says nothing about the world any more.
    const cut = ({ path, kind }: WardenViolation): void => {
      if (path === options.participant.path && kind === 'budget') this.#loop.want('fail-closed');
    };
    options.board.on('warden.violation', cut);
    this.#unsubscribe.push(() => options.board.off('warden.violation', cut));
    this.#beating = setInterval(() => {
      this.#beat();
      this.#look('posture');
    }, options.heartbeatMs ?? 100);
    this.#beat();
    this.#look('start');
  }

  get serving(): boolean {
    return this.#broughtUp && !this.#closed && !this.#goal.limits.includes('board-unreadable');
  }

  status(): ParticipantStatus {
    const { participant } = this.#options;
    const { epoch, level, limits, binding, ownLimit } = this.#goal;
    return {
      name: participant.name,
      path: participant.path,
      loop: this.#loop.status,
      last: this.#loop.last,
      failures: this.#loop.failures,
      wanted: { epoch, level, decided: binding.decided, limits },
      standing: this.#standing,
      serving: this.serving,
      ownLimit,
    };
  }

  reconcileNow(): Promise<LastRun> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(this.#stopped());
        return;
      }
      this.#waiting.push({ after: this.#runs, resolve, reject });
      this.#loop.want('request');
    });
  }

  #stopped(): KedgeError {
    return new KedgeError({
      code: 'RECONCILE_STOPPED',
      message: `cannot reconcile ${this.#options.participant.name}: its host is closed`,
    });
  }

  beat(serving: boolean): void {
    this.#serviceServes = serving;
    this.#beat();
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      for (const off of this.#unsubscribe) off();
      clearTimeout(this.#gateTimer);
      for (const { reject } of this.#waiting) reject(this.#stopped());
      this.#waiting = [];
    }
    await this.#loop.close();
    clearInterval(this.#beating);
  }

  /* ------------------------------------------------------------ the board */

  #goalNow(): Goal {
    const { limit } = this.#options;
    const binding = this.#binding();
    if (binding.epoch !== this.#seen.epoch) this.#seen = { epoch: binding.epoch, atNs: this.#now() };
    const limits: Limit[] = [...binding.limits];
    let { level } = binding;
    let ownLimit: OwnLimit | undefined;
    try {
      ownLimit = limit?.();
    } catch (error) {
      ownLimit = { level: LOCKDOWN, ...failureOf(error) };
    }
    if (ownLimit !== undefined && isTighter(ownLimit.level, level)) {
      limits.push('own-limit');
      level = ownLimit.level;
    }
    // While nothing may loosen, what is known to be tighter stays; of what is not known nothing is given back.
    const enforced = this.#enforced ?? this.#options.slot.level ?? LOCKDOWN;
    if (!binding.mayLoosen && isLooser(level, enforced)) {
      limits.push('not-released');
      level = enforced;
    } else if (!mayFollow(binding) && this.#options.slot.epoch < binding.epoch) {
      // To the level that it stands at, by a looser accord: no level says that it is held back.
      limits.push('not-released');
    }
    return { binding, epoch: binding.epoch, level, limits, ownLimit };
  }

  #binding(): Binding {
    const { board, participant, layer, log } = this.#options;
    try {
      return bindingOf(board.snapshot(), participant.path, layer);
    } catch (error) {
      log.error({ err: error }, 'the board cannot be read');
      return {
        epoch: this.#seen.epoch,
        level: LOCKDOWN,
        decided: LOCKDOWN,
        stage: 'tighten',
        tightening: true,
        alarmOnly: false,
        limits: ['board-unreadable'],
        budgetFromNs: undefined,
        budgetNs: undefined,
        dataplaneFirstNs: undefined,
        mayLoosen: false,
      };
    }
  }

  /** Compares what is asked with what was begun, and has the loop do what is missing. */
  #look(because: LoopReason): void {
    if (this.#closed) return;
    const goal = this.#goalNow();
    const news = keyOf(goal) !== keyOf(this.#goal) || goal.limits.join() !== this.#goal.limits.join();
    this.#goal = goal;
    this.#follow(goal, because);
    if (news) this.#tell();
  }

  #follow(goal: Goal, because: LoopReason): void {
    const running = this.#running;
    if (running !== undefined && isVoidedBy(running, goal)) {
      // What runs would bring about more than is allowed now: void (PO-10).
      this.#block(goal);
      if (keyOf(goal) !== this.#asked) {
        this.#asked = keyOf(goal);
        this.#loop.preempt(
          because,
          new KedgeError({
            code: 'RECONCILE_PREEMPTED',
            message: `the way to level ${running.level} of epoch ${running.epoch} gave way to level ${goal.level} of epoch ${goal.epoch}`,
          }),
        );
      }
      return;
    }
    this.#block(goal);
    if (keyOf(goal) === this.#asked) return;
    this.#asked = keyOf(goal);
    this.#loop.want(because);
  }

  /** How long the data plane still has before anything else tightens (PO-7). */
  #waitNs({ level, binding }: Goal): bigint {
    // Nobody waits for the data plane in order to be as tight as the warden or a missing board asks.
    if (binding.dataplaneFirstNs === undefined || level !== binding.decided) return 0n;
    return this.#decidedAtNs(binding) + binding.dataplaneFirstNs - this.#now();
  }

  /** When the budget began. */
  #decidedAtNs({ budgetFromNs }: Binding): bigint {
    const { atNs } = this.#seen;
    return budgetFromNs !== undefined && budgetFromNs < atNs ? budgetFromNs : atNs;
  }

  /** Holds the loop back until the data plane has tightened. */
  #block(goal: Goal): void {
    clearTimeout(this.#gateTimer);
    const waitNs = this.#waitNs(goal);
    if (waitNs > 0n) {
      this.#loop.block('the data plane tightens first');
      this.#gateTimer = setTimeout(
        () => {
          this.#look('posture');
        },
        Math.ceil(millisFromNanos(waitNs)),
      );
      return;
    }
    this.#loop.unblock();
  }

  #beat(): void {
    const { slot, log } = this.#options;
    try {
      slot.beat(this.#serviceServes && this.serving);
    } catch (error) {
      log.error({ err: error }, 'the heartbeat could not be written');
    }
  }

  #tell(): void {
    const { onStatus, log } = this.#options;
    if (onStatus === undefined) return;
    try {
      onStatus(this.status());
    } catch (error) {
      log.error({ err: error }, 'a listener of the status failed');
    }
  }

  /* -------------------------------------------------------------- one run */

  async #run(because: LoopReason, signal: AbortSignal): Promise<RunOutcome> {
    const run = ++this.#runs;
    const goal = this.#goalNow();
    this.#goal = goal;
    this.#asked = keyOf(goal);
    if (this.#waitNs(goal) > 0n) {
      // Decided since the loop let this run begin.
      this.#block(goal);
      this.#loop.want(because);
      return { outcome: 'cancelled', changes: 0 };
    }
    this.#running = goal;
    try {
      return await this.#towards(goal, because, signal);
    } finally {
      this.#running = undefined;
      // After the loop has written down how it ended.
      setImmediate(() => {
        this.#answer(run);
      });
    }
  }

  #answer(run: number): void {
    const { last } = this.#loop;
    if (last === undefined) return;
    const answered = this.#waiting.filter(({ after }) => after < run);
    this.#waiting = this.#waiting.filter(({ after }) => after >= run);
    for (const { resolve } of answered) resolve(last);
  }

  async #towards(goal: Goal, because: LoopReason, signal: AbortSignal): Promise<RunOutcome> {
    const { log, participant } = this.#options;
    const startedAtNs = this.#now();
    const closes = this.#owesClosing(goal);
    const deadline = this.#deadlineOf(goal, startedAtNs, closes);
    const attempt = await this.#limited(deadline, signal, (inner) =>
      this.#attempts(goal, because, inner, closes),
    );
    const fields = { participant: participant.name, epoch: String(goal.epoch), level: goal.level, because };
    if (signal.aborted) {
      this.#acknowledgeCancelled(startedAtNs);
      log.info({ ...fields, changes: attempt.changes }, 'gave way to a tighter posture');
      return { outcome: 'cancelled', changes: attempt.changes };
    }
    if (attempt.outcome === 'applied' || attempt.outcome === 'unchanged') {
      this.#stand(goal);
      this.#acknowledge(goal, attempt.outcome, attempt.changes, startedAtNs);
      this.#bringUp(goal);
      if (attempt.outcome === 'applied')
        log.info({ ...fields, changes: attempt.changes }, 'brought to the posture');
      return { outcome: attempt.outcome, changes: attempt.changes };
    }
    const failure = attempt.failure ?? {
      code: 'RECONCILE_DEADLINE',
      message: `${participant.name} was not at level ${goal.level} in time`,
    };
    log.warn({ ...fields, failure }, 'could not be brought to the posture');
    if (closes) await this.#failClosed(goal, attempt.changes, startedAtNs, signal);
    return { outcome: 'failed', changes: attempt.changes, failure };
  }

  /**
   * Whether a failure leaves the world looser than it may be: it is not known to stand at the level of a tightening
   * already. What fails on the way to a looser level, or in a repair, leaves it where it may be.
   */
  #owesClosing({ binding, level, epoch }: Goal): boolean {
    const { alarmOnly, tightening } = binding;
    if (alarmOnly && level === binding.decided) return false;
    const standing = this.#standing;
    return (
      standing === undefined || isLooser(standing.level, level) || (tightening && standing.epoch < epoch)
    );
  }

  /** When a run has to be at its end. A deadline that passed before this process began or tried gives a whole budget. */
  #deadlineOf({ binding }: Goal, startedAtNs: bigint, closes: boolean): bigint {
    const budget = binding.budgetNs ?? nanosFromMillis(this.#options.budgetMs);
    if (!closes || binding.budgetFromNs === undefined) return startedAtNs + budget;
    const from = this.#decidedAtNs(binding);
    const deadline = (from > this.#startedAtNs ? from : this.#startedAtNs) + budget;
    return deadline > startedAtNs ? deadline : startedAtNs + budget;
  }

  /**
   * Runs `work` until it is done, `signal` aborts or the deadline passes; then it gets a moment to come to its next
   * safe point. What does not come back is stuck, and nobody waits for it.
   */
  async #limited(
    deadlineNs: bigint,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<Attempt>,
  ): Promise<Attempt> {
    const { graceMs = 500, participant } = this.#options;
    const abort = new AbortController();
    const pass = (): void => {
      abort.abort(signal.reason);
    };
    signal.addEventListener('abort', pass, { once: true });
    if (signal.aborted) pass();
    const deadline = setTimeout(
      () => {
        abort.abort(
          new KedgeError({
            code: 'RECONCILE_DEADLINE',
            message: `${participant.name} was not done at its deadline`,
          }),
        );
      },
      Math.max(0, Math.ceil(millisFromNanos(deadlineNs - this.#now()))),
    );
    let grace: NodeJS.Timeout | undefined;
    let settled = false;
    const working = work(abort.signal)
      .catch((error: unknown): Attempt => ({ outcome: 'failed', changes: 0, failure: failureOf(error) }))
      .then((attempt) => {
        settled = true;
        return attempt;
      });
    const stuck = new Promise<Attempt>((resolve) => {
      abort.signal.addEventListener('abort', () => {
        grace = setTimeout(() => {
          // Timers come first in a turn: where this thread was busy for as long, what has come back meanwhile is
          // heard before it is called stuck.
          setImmediate(() => {
            resolve({
              outcome: 'failed',
              changes: 0,
              failure: {
                code: 'RECONCILE_STUCK',
                message: `a step of ${participant.name} did not stop when it was told to`,
              },
            });
          });
        }, graceMs);
      });
    });
    try {
      const attempt = await Promise.race([working, stuck]);
      if (!settled) this.#leaveBehind(working);
      // Whatever was reached after the deadline was not reached in time; the next run finds it.
      return abort.signal.aborted && attempt.outcome !== 'failed'
        ? { outcome: 'cancelled', changes: attempt.changes }
        : attempt;
    } finally {
      clearTimeout(deadline);
      clearTimeout(grace);
      signal.removeEventListener('abort', pass);
    }
  }

  #leaveBehind(working: Promise<unknown>): void {
    const { log, participant } = this.#options;
    this.#stuck += 1;
    log.error({ participant: participant.name }, 'a cancelled step does not return');
    void working.finally(() => {
      this.#stuck -= 1;
      if (this.#stuck === 0) this.#loop.want('request');
    });
  }

  async #attempts(goal: Goal, because: LoopReason, signal: AbortSignal, closes: boolean): Promise<Attempt> {
    const done = { changes: 0 };
    for (let tries = 1; ; tries++) {
      let attempt: Omit<Attempt, 'changes'>;
      try {
        attempt = await this.#attempt(goal, because, signal, done);
      } catch (error) {
        attempt = { outcome: 'failed', failure: failureOf(error) };
      }
      if (attempt.outcome !== 'failed' || !closes || tries === TRIES || signal.aborted) {
        return { ...attempt, ...done };
      }
    }
  }

  /** Read, plan, apply, verify, and leave to acknowledge. */
  async #attempt(
    goal: Goal,
    because: LoopReason,
    signal: AbortSignal,
    done: { changes: number },
  ): Promise<Omit<Attempt, 'changes'>> {
    const { participant, acknowledgeable, follow } = this.#options;
    const { level, epoch, binding } = goal;
    if (this.#stuck > 0) {
      // Two that write at once would leave what neither wanted; failing closed is all that is safe.
      return failed('RECONCILE_STUCK', `an earlier step of ${participant.name} has not returned`);
    }
    if (mayFollow(binding)) follow?.();
    const actual = await participant.read(signal);
    if (signal.aborted) return { outcome: 'cancelled' };
    this.#beforeEscalation(actual, goal);
    const plan = participant.plan(actual, level, epoch);
    checkPlan(plan);
    if (plan.steps.length > 0) {
      this.#mayStandAt(level);
      const applied = await participant.apply(plan, signal);
      done.changes += applied.done.length;
      if (signal.aborted) return { outcome: 'cancelled' };
      if (applied.outcome === 'failed' || applied.outcome === 'cancelled') {
        const { code = 'RECONCILE_NOT_APPLIED', message = 'it stopped by itself' } = applied.failure ?? {};
        return failed(code, message);
      }
    }
    // The look from time to time reads once where nothing is to be done; whatever is acknowledged was verified.
    const last = this.#acknowledged;
    const told = last?.epoch === epoch && last.level === level && isGood(last);
    if (plan.steps.length > 0 || because !== 'interval' || !told) {
      const { ok, differences } = await participant.verify(level, signal);
      if (signal.aborted) return { outcome: 'cancelled' };
      if (!ok) {
        const [first = 'nothing was said about it'] = differences;
        const rest = differences.length > 1 ? ` (and ${differences.length - 1} more)` : '';
        return failed(
          'RECONCILE_NOT_VERIFIED',
          `${participant.name} is not at level ${level}: ${first}${rest}`,
        );
      }
    }
    await acknowledgeable?.(epoch, signal);
    return { outcome: done.changes > 0 ? 'applied' : 'unchanged' };
  }

  #beforeEscalation(actual: Actual, { level, epoch, binding }: Goal): void {
    const { beforeEscalation, log } = this.#options;
    const from = this.#standing?.level;
    if (beforeEscalation === undefined || from === undefined || !binding.tightening) return;
    // Tried again, the world is no more the one from before.
    if (this.#escalating || !isTighter(level, from)) return;
    this.#escalating = true;
    try {
      beforeEscalation(actual, { from, to: level, epoch });
    } catch (error) {
      log.error({ err: error }, 'the pre-escalation snapshot failed; the escalation goes on');
    }
  }

  /** The world is at the goal, or was forced there. */
  #stand(goal: Goal): void {
    const { epoch, level } = goal;
    this.#standing = { epoch: isHeldBack(goal) ? (this.#standing?.epoch ?? EPOCH_NONE) : epoch, level };
    this.#enforced = level;
    this.#escalating = false;
  }

  /** From here on the world may be as loose as this. */
  #mayStandAt(level: Level): void {
    if (this.#standing !== undefined) {
      this.#standing = { ...this.#standing, level: looserOf(this.#standing.level, level) };
    }
  }

  async #failClosed(goal: Goal, changes: number, startedAtNs: bigint, signal: AbortSignal): Promise<void> {
    const { participant, log, budgetMs } = this.#options;
    const fields = { participant: participant.name, epoch: String(goal.epoch), level: goal.level };
    const closing = await this.#limited(this.#now() + nanosFromMillis(budgetMs), signal, async () => {
      await participant.failClosed(goal.level);
      return { outcome: 'applied', changes: 0 };
    });
    if (closing.outcome !== 'applied') {
      if (signal.aborted) log.info(fields, 'failing closed gave way to a tighter posture');
      else
        log.error(
          { ...fields, failure: closing.failure },
          'failing closed failed; the warden has its own way',
        );
      return;
    }
    this.#stand(goal);
    log.error(fields, 'failed closed');
    this.#acknowledge(goal, 'failed', changes, startedAtNs);
    this.#bringUp(goal);
  }

  #bringUp({ epoch, limits }: Goal): void {
    if (this.#broughtUp || epoch === EPOCH_NONE || limits.includes('board-unreadable')) return;
    this.#broughtUp = true;
    this.#beat();
  }

  /* ------------------------------------------------------ acknowledgement */

  #acknowledge(
    goal: Goal,
    outcome: 'applied' | 'unchanged' | 'failed',
    changes: number,
    startedAtNs: bigint,
  ): void {
    const { slot, log } = this.#options;
    const { level, binding } = goal;
    // A loosening that is held back is not applied: the slot keeps its epoch and says where the world stands.
    const epoch = isHeldBack(goal) ? slot.epoch : goal.epoch;
    if (epoch === EPOCH_NONE || epoch < slot.epoch) return;
    const last = this.#acknowledged;
    const good = outcome !== 'failed';
    // Nothing new: the times of the transition stay as they were.
    if (last?.epoch === epoch && last.level === level && good === isGood(last)) return;
    this.#write(
      { epoch, stage: binding.stage, outcome, level, changes, startedAtNs, finishedAtNs: this.#now() },
      log,
    );
  }

  /** What stood before may not stand any more: the slot says the loosest that may, and that somebody was stopped. */
  #acknowledgeCancelled(startedAtNs: bigint): void {
    const { slot, log } = this.#options;
    const last = this.#acknowledged;
    const standing = this.#standing;
    if (last === undefined || standing === undefined || last.epoch !== slot.epoch) return;
    this.#write(
      {
        ...last,
        outcome: 'cancelled',
        level: standing.level,
        changes: 0,
        startedAtNs,
        finishedAtNs: this.#now(),
      },
      log,
    );
  }

  #write(ack: ParticipantAck, log: HostLog): void {
    try {
      this.#options.slot.acknowledge(ack);
      this.#acknowledged = ack;
    } catch (error) {
      log.error({ err: error, epoch: String(ack.epoch) }, 'the acknowledgement could not be written');
    }
  }

  #now(): bigint {
    return this.#options.clock.monotonicNs();
  }
}

const isHeldBack = ({ binding, limits }: Goal): boolean =>
  !binding.tightening && (limits.includes('not-released') || limits.includes('own-limit'));

/** Whether what runs would bring about more than `goal` allows. */
const isVoidedBy = (running: Goal, goal: Goal): boolean =>
  isTighter(goal.level, running.level) ||
  // From a level to itself it is the release that is taken back.
  (!running.binding.tightening &&
    !isHeldBack(running) &&
    (goal.epoch < running.epoch || (goal.epoch === running.epoch && isHeldBack(goal))));

/** What a run was for; who was held back has it still to do when they are released. */
const keyOf = (goal: Goal): string => `${goal.epoch}/${goal.level}${isHeldBack(goal) ? '/held' : ''}`;

const isGood = ({ outcome }: ParticipantAck): boolean => outcome === 'applied' || outcome === 'unchanged';

function failed(code: string, message: string): Omit<Attempt, 'changes'> {
  return { outcome: 'failed', failure: { code, message } };
}

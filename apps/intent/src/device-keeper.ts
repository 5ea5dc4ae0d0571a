/**
 * One device at work: one event after the other through its machine, memory durable before anything that it speaks of is
 * done, and what the machine wants done.
 * It must not decide anything, and must not know another device.
 */
import type { LedgerRecord } from '@kedge/contracts';
import { type IntentRefusal, refusal } from '@kedge/datastores';
import type { AnyDriver, Reading } from '@kedge/driver-kit';
import { sha256 } from '@kedge/intent-store';
import {
  type Answer,
  type Asked,
  begun,
  type Effect,
  type Failure,
  type Happening,
  type Judgement,
  judgementOf,
  type Question,
  type Result,
  type RolloutState,
  step,
  supersededBy,
} from '@kedge/rollout';
import { type Clock, KedgeError, nanosOf } from '@kedge/units';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';

import type { DeviceFiles, Remembered } from './device-files.js';
import type { DeviceReach } from './device-reach.js';
import type { DriftRecords } from './drift-records.js';
import type { IntentLog } from './intent.js';
import type { Turns } from './turns.js';

/** What all keepers share; all of it stays its owner's. */
export interface KeeperParts {
  readonly reach: DeviceReach;
  readonly drivers: readonly AnyDriver[];
  readonly files: Pick<DeviceFiles, 'keep'>;
  readonly records: DriftRecords;
  /** Resolves when the record is durable. */
  readonly append: (record: LedgerRecord) => Promise<unknown>;
  /** Turns at the way to devices, and at work that holds the process up. */
  readonly ways: Turns;
  readonly desk: Turns;
  /** Turns at `ways` for who did not answer last: many that are dead leave room for the others. */
  readonly doubtful: Turns;
  readonly clock: Clock;
  readonly log: IntentLog;
  /** Told of every reading. */
  readonly observed: (device: string, reading: Reading) => void;
}

/** Longest time of one reading, and of one plan; milliseconds. */
const READ_MS = 30_000;
const CARRY_MS = 180_000;
/** From a memory that could not be kept to the next try, doubled; milliseconds. */
const KEEP_FIRST_MS = 1_000;
const KEEP_MOST_MS = 60_000;
/** Events that wait for memory to be kept, at most, before questions are not taken. */
const EVENTS_MOST = 64;
/** The longest time of a timer, milliseconds. */
const TIMER_MOST_MS = 2_147_483_647;

type Unnamed = Asked extends infer One ? (One extends { id: string } ? Omit<One, 'id'> : never) : never;

/** Keeps one device. `close` once. */
export class DeviceKeeper {
  readonly #parts: KeeperParts;
  readonly #events: Happening[] = [];
  readonly #waiting = new Map<string, (answer: Answer) => void>();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #state: RolloutState;
  #turn: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #questions = 0;
  #trouble: string | undefined;

  constructor(device: string, { memory, damage }: Remembered, parts: KeeperParts) {
    this.#parts = parts;
    if (damage !== undefined) parts.log.error({ err: damage, device }, 'the memory of a device is damaged');
    this.#state = begun(device, memory, this.#now(), damage?.message);
  }

  get state(): RolloutState {
    return this.#state;
  }

  /** What somebody should look at, one sentence each. */
  get alarms(): readonly string[] {
    const { device, alarms } = this.#state;
    const said = Object.values(alarms).map((each) => `${device}: ${each}`);
    return this.#trouble === undefined ? said : [...said, `${device}: ${this.#trouble}`];
  }

  /** Something has happened. */
  feed(event: Happening): void {
    if (this.#closing.signal.aborted) return;
    this.#events.push(event);
    this.#turn ??= this.#work();
  }

  /** Asks; answered when it is done, or when the signal aborts. Never rejects. */
  async ask(what: Unnamed, signal: AbortSignal): Promise<Answer> {
    const { device } = this.#state;
    if (this.#closing.signal.aborted) return closing(device);
    if (this.#events.length >= EVENTS_MOST) return unanswered(device);
    this.#questions += 1;
    const id = `question/${String(this.#questions)}`;
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    const late = (): void => {
      this.#answer(id, unanswered(device));
    };
    signal.addEventListener('abort', late, { once: true });
    if (signal.aborted) late();
    else this.feed({ kind: 'asked', asked: { ...what, id } });
    try {
      return await answer;
    } finally {
      signal.removeEventListener('abort', late);
    }
  }

  /** Ends it: what is under way is told to stop and waited for. */
  async close(): Promise<void> {
    this.#closing.abort(closing(this.#state.device));
    clearTimeout(this.#timer);
    for (const id of this.#waiting.keys()) this.#answer(id, closing(this.#state.device));
    await this.#turn;
    await Promise.all(this.#running);
  }

  #now() {
    const { clock } = this.#parts;
    return { ns: nanosOf(clock.monotonicNs()), wallMs: clock.wallMs() };
  }

  async #work(): Promise<void> {
    // Whoever feeds goes on first.
    await Promise.resolve();
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
      const { state, effects } = step(this.#state, { ...event, at: this.#now() }, { sha256 });
      this.#state = state;
      for (const effect of effects) {
        if (this.#closing.signal.aborted) break;
        if (effect.do === 'keep') await this.#keep(effect);
        else this.#do(effect);
      }
    }
    this.#turn = undefined;
  }

  /** Nothing else of this device goes on before. */
  async #keep({ memory }: Extract<Effect, { do: 'keep' }>): Promise<void> {
    const { files, log } = this.#parts;
    for (let wait = KEEP_FIRST_MS; ; wait = Math.min(2 * wait, KEEP_MOST_MS)) {
      try {
        await files.keep(memory);
        this.#trouble = undefined;
        return;
      } catch (error) {
        this.#trouble = 'what has to be remembered cannot be written: nothing is done on it';
        log.error({ err: error, device: memory.device }, 'the memory of a device cannot be written');
        await sleep(wait, undefined, { signal: this.#closing.signal }).catch(() => undefined);
        if (this.#closing.signal.aborted) return;
      }
    }
  }

  #do(effect: Exclude<Effect, { do: 'keep' }>): void {
    const { log } = this.#parts;
    const { device } = this.#state;
    switch (effect.do) {
      case 'read':
        this.#run(this.#read(effect));
        break;
      case 'judge':
        this.#run(this.#judge(effect));
        break;
      case 'carryOut':
        this.#run(this.#carryOut(effect));
        break;
      case 'tell':
        this.#run(this.#tell(effect));
        break;
      case 'wake':
        this.#wake(effect.at);
        break;
      case 'alarm':
        log.error({ device, alarm: effect.kind }, effect.message);
        break;
      case 'answer':
        this.#answer(effect.id, effect.reply);
        break;
    }
  }

  #run(work: Promise<void>): void {
    const done = work.finally(() => this.#running.delete(done));
    this.#running.add(done);
  }

  #wake(at: bigint | undefined): void {
    clearTimeout(this.#timer);
    if (at === undefined) return;
    const { clock } = this.#parts;
    const ms = Number((at - clock.monotonicNs()) / 1_000_000n) + 1;
    const due = (): void => {
      // A timer counts from when the loop last looked at the clock, and comes early by as much.
      if (clock.monotonicNs() < at) this.#wake(at);
      else this.feed({ kind: 'tick' });
    };
    this.#timer = setTimeout(due, Math.min(Math.max(ms, 0), TIMER_MOST_MS));
    this.#timer.unref();
  }

  #answer(id: string, answer: Answer): void {
    this.#waiting.get(id)?.(answer);
    this.#waiting.delete(id);
  }

  #signal(ms: number): AbortSignal {
    return AbortSignal.any([this.#closing.signal, AbortSignal.timeout(ms)]);
  }

  async #read({ number, device }: Extract<Effect, { do: 'read' }>): Promise<void> {
    const { reach, ways, doubtful, observed } = this.#parts;
    const read = (): Promise<Reading> => ways.within(() => reach.read(device, this.#signal(READ_MS)));
    try {
      const reading = await (this.#state.isReached ? read() : doubtful.within(read));
      observed(device.id, reading);
      this.feed({ kind: 'read', number, reading });
    } catch (error) {
      this.feed({ kind: 'unread', number, failure: failureOf(error, 'DRIVER_READ') });
    }
  }

  async #judge({ number, question }: Extract<Effect, { do: 'judge' }>): Promise<void> {
    const judgement = await this.#parts.desk.within(async () => {
      // Everybody else has a turn between two devices.
      await setImmediate();
      return this.#judged(question);
    });
    this.feed({ kind: 'judged', number, judgement });
  }

  #judged(question: Question): Judgement {
    const { drivers, log } = this.#parts;
    try {
      return judgementOf(question, { drivers, sha256 });
    } catch (error) {
      const device = question.intended.device.id;
      log.error({ err: error, device }, 'a device could not be compiled for');
      const path = `/kedge-inventory:devices/device[id='${device}']`;
      const message = `cannot compile for ${device}: it met a state that it should not have met`;
      const refusals = [{ code: 'ROLLOUT_DEFECT', path, message, expected: 'no defect: the log says more' }];
      const nothing = { known: undefined, dormant: [], drifts: undefined, work: undefined, spent: [] };
      return { ...nothing, isAccorded: false, refusals };
    }
  }

  async #carryOut({ number, id, device, plan, by }: Extract<Effect, { do: 'carryOut' }>): Promise<void> {
    const { reach, ways, log } = this.#parts;
    let result: Result;
    try {
      const carried = await ways.within(() => {
        // It may have waited for long, for its turn and for memory.
        const superseded = supersededBy(this.#state, this.#events);
        if (superseded !== undefined) throw new KedgeError(superseded);
        return reach.carryOut({ id, device, plan, by }, this.#signal(CARRY_MS));
      });
      const { applied, rolledBack, remaining, reading } = carried;
      result = {
        ...{ end: 'known', outcome: applied.outcome, remaining },
        ...(applied.failure === undefined ? {} : { failure: applied.failure }),
        ...(rolledBack === undefined ? {} : { rolledBack }),
        ...(reading === undefined ? {} : { reading }),
      };
    } catch (error) {
      const failure = failureOf(error, 'BUS_FAILED');
      result = { end: isUnwritten(failure) ? 'refused' : 'unknown', failure };
    }
    const { outcome, failure } = { outcome: undefined, failure: undefined, ...result };
    const fields = { device: device.id, plan: plan.id, mutation: id, end: result.end, outcome, failure };
    if (failure === undefined) log.info(fields, 'a plan was carried out on a device');
    else log.warn(fields, 'a plan was not carried out on a device');
    this.feed({ kind: 'carried', number, result });
  }

  async #tell({ changes, posture }: Extract<Effect, { do: 'tell' }>): Promise<void> {
    const { records, append, log } = this.#parts;
    let isDurable = true;
    try {
      for (const change of changes) await append(records.of(change, posture));
    } catch (error) {
      isDurable = false;
      log.error({ err: error, device: this.#state.device }, 'a difference could not be recorded');
    }
    this.feed({ kind: 'told', isDurable });
  }
}

function failureOf(error: unknown, code: string): Failure {
  if (error instanceof KedgeError) return { code: error.code, message: error.message };
  return { code, message: error instanceof Error ? error.message : String(error) };
}

/** Whether a plan that ended like this has written nothing. */
function isUnwritten({ code }: Failure): boolean {
  return (
    code === 'ROLLOUT_SUPERSEDED' ||
    code.startsWith('GATE_') ||
    (code.startsWith('UNDERLAY_') && code !== 'UNDERLAY_NOT_TAKEN_BACK')
  );
}

function unanswered(device: string): IntentRefusal {
  return refusal({
    code: 'ROLLOUT_UNANSWERED',
    message: `${device} did not come to an end in time`,
    expected: 'an answer before the deadline',
    help: 'it goes on by itself; look at it again in a moment',
  });
}

function closing(device: string): IntentRefusal {
  return refusal({
    code: 'INTENT_CLOSING',
    message: `cannot answer about ${device}: the service is ending`,
    help: 'ask again when it runs',
  });
}

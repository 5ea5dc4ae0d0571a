/**
 * The devices of an appliance: read at every level, and written to by plans under a permit of the one gate, for its
 * intent.
 * It must not write anything without a permit, nor answer of a plan before what became of it is recorded (UN-13).
 */
import type { CarryOutReply, CarryOutRequest, DeviceReadingPart, DeviceReadRequest } from '@kedge/bus';
import { type Difference, differencesBetween, differencesText } from '@kedge/compiler';
import type { Permit } from '@kedge/contracts';
import type { CarriedOut } from '@kedge/driver-host';
import { baseOf, type InventoryDevice, objectsOf, type Reading } from '@kedge/driver-kit';
import type { ForensicItem } from '@kedge/ledger';
import type { Outbox } from '@kedge/ledger-link';
import { failureOf, sameValue, type Sha256 } from '@kedge/reconcile';
import { type Clock, KedgeError } from '@kedge/units';

import { Answers } from './answers.js';
import { type AskedWork, deviceIn, workIn } from './device-request.js';
import { Fence } from './fence.js';
import { type GateKeeper, refusalOf, type Said } from './gate-keeper.js';
import { carriedAnswer, lighter, type PlanAnswer, readingParts, repliesOf, weightOf } from './plan-answer.js';
import { type PlanFacts, PlanRecords } from './plan-records.js';
import { PlaceTurns } from './place-turns.js';
import type { Way, WayTo } from './ways.js';

/** What the devices are given; all of it stays its caller's. */
export interface DevicesParts {
  readonly config: { readonly appliance: string };
  readonly keeper: GateKeeper;
  readonly wayTo: WayTo;
  readonly records: Outbox;
  /** Which boot this is, for ids of records. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly sha256: Sha256;
  readonly log: {
    info(fields: object, text: string): void;
    warn(fields: object, text: string): void;
    error(fields: object, text: string): void;
  };
}

/** Answers that are remembered, and their bytes. */
const ANSWERS = { count: 1_024, weight: 32 * 1024 * 1024 };
/** Devices of which is remembered how they were last. */
const MOST_DEVICES = 4_096;
/** Differences of one device that its alarm tells; the ledger has all of them. */
const MOST_TOLD = 32;
/** How long a plan that ends with the service may go on taking back, milliseconds; the service has 5 s to stop. */
const CLOSING_MS = 1_000;
/** Refusals that are remembered, so that what was to be done is not recorded anew with each try. */
const REFUSALS = 1_024;

/** Work, and the hash of the whole request for it. */
interface Asked extends AskedWork {
  readonly content: string;
}

/** What a rollback left on a device. */
interface Remains {
  readonly mutation: string;
  /** SHA-256 of the device as it was before the mutation. */
  readonly base: string;
  /** All that differed then, and what of it does now. */
  readonly differences: readonly Difference[];
  readonly left: readonly Difference[];
  /** The device as it was read then. */
  readonly reading: Reading | undefined;
}

/** How a device was last. */
interface Seen {
  readonly state: 'read' | 'unreadable' | 'writing';
  /** SHA-256 of what was read last; empty before. */
  readonly base: string;
  readonly readAtNs: bigint;
  readonly remains: Remains | undefined;
}

/** See the head of the file. `close` once, after the gate was closed. */
export class Devices {
  readonly #parts: DevicesParts;
  readonly #records: PlanRecords;
  readonly #turns = new PlaceTurns();
  readonly #answers = new Answers<PlanAnswer>({
    bounds: ANSWERS,
    // Who was refused may ask again under another posture.
    isFinal: ({ is }) => is === 'carried',
    weightOf,
    lighter,
  });
  /** What was refused with all its steps in the record, by id: content and code. */
  readonly #refused = new Map<string, string>();
  readonly #seen = new Map<string, Seen>();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: DevicesParts) {
    this.#parts = parts;
    this.#records = new PlanRecords({ ...parts, appliance: parts.config.appliance });
  }

  /**
   * Reads a device when its turn has come.
   *
   * @throws KedgeError `UNDERLAY_REQUEST`, `UNDERLAY_BUSY`, `DRIVER_…`, `ROUTES_…`
   */
  async *read(
    request: DeviceReadRequest,
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<DeviceReadingPart> {
    const device = deviceIn(request);
    const way = this.#parts.wayTo(device);
    if ('code' in way) throw new KedgeError(way);
    const leaving = AbortSignal.any([signal, this.#closing.signal]);
    const reading = await this.#turns.take(way.place, leaving, () => this.#read(device, way, leaving));
    yield* readingParts(reading);
  }

  /**
   * Carries a plan out. The same id again is the same mutation, and gets the same answer.
   *
   * @throws KedgeError `UNDERLAY_REQUEST`, `ROUTE_SET_REQUEST`, `INTENT_PATH`, `INTENT_VALUE`
   */
  async *carryOut(
    request: CarryOutRequest,
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<CarryOutReply> {
    const content = this.#parts.sha256(JSON.stringify(request));
    const work: Asked = { ...workIn(request), content };
    let answer: PlanAnswer;
    try {
      answer = await this.#answers.of(work.mutation.id, content, signal, (abandoned) =>
        this.#kept(this.#carry(work, AbortSignal.any([abandoned, this.#closing.signal]))),
      );
    } catch (error) {
      if (!(error instanceof KedgeError) || error.code !== 'UNDERLAY_ID_REUSED') throw error;
      const { code, message } = error;
      this.#parts.keeper.recordRefused('mutation.execute', work.mutation, { code, message, rule: '' });
      answer = { is: 'refusal', refusal: refusalOf(error) };
    }
    yield* repliesOf(answer);
  }

  /** What is kept of the devices before a lockdown. */
  items(): readonly ForensicItem[] {
    return [...this.#seen].map(([id, { state, base, readAtNs, remains }]) => ({
      name: `device/${id}`,
      state: remains === undefined ? state : 'not-rolled-back',
      facts: {
        base,
        readAtNs: String(readAtNs),
        ...(remains === undefined ? {} : { mutation: remains.mutation, differs: remains.left.length }),
      },
    }));
  }

  /** What somebody has to look after. */
  get alarms(): readonly string[] {
    return [...this.#seen].flatMap(([id, { remains }]) =>
      remains === undefined ? [] : [alarmOf(id, remains)],
    );
  }

  /** Devices that were seen, and calls about devices that are under way or wait. */
  get figures(): { readonly devices: number; readonly deviceCalls: number } {
    return { devices: this.#seen.size, deviceCalls: this.#turns.count };
  }

  /** Stops what runs at its next safe point, has it undone and recorded. */
  async close(): Promise<void> {
    this.#closing.abort(new KedgeError({ code: 'BUS_CLOSING', message: 'the underlay is closing' }));
    await Promise.allSettled(this.#running);
  }

  /** Work that outlives its callers. */
  async #kept<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  async #carry(work: Asked, leaving: AbortSignal): Promise<PlanAnswer> {
    const way = this.#parts.wayTo(work.device);
    if ('code' in way) return this.#refuse(work, way);
    try {
      return await this.#turns.take(way.place, leaving, () => this.#carryInTurn(work, way, leaving));
    } catch (error) {
      if (error instanceof KedgeError && error.code === 'UNDERLAY_BUSY') return this.#refuse(work, error);
      throw error;
    }
  }

  async #carryInTurn(work: Asked, way: Way, leaving: AbortSignal): Promise<PlanAnswer> {
    const { keeper, clock, log } = this.#parts;
    const { mutation, plan, device } = work;
    const startedAtNs = clock.monotonicNs();
    const denied = keeper.denied('mutation.execute', mutation);
    if (denied !== undefined) return this.#refuse(work, denied);
    const permit = keeper.gate.enter(mutation);
    if (!permit.granted) {
      // The intent is what is proposed here; nothing else waits for somebody who may.
      keeper.gate.withdraw(mutation.id);
      return this.#refuse(
        work,
        permit.code === 'GATE_PROPOSED' ? { ...permit, ...tierTooLow(work) } : permit,
      );
    }
    if (plan.epoch < permit.epoch) {
      permit.release();
      return this.#refuse(work, oldPlan(work, permit.epoch));
    }
    let carried: CarriedOut;
    const fence = this.#fenceFor(permit);
    try {
      const unrecorded = await keeper.recordPermit(mutation, permit);
      if (unrecorded !== undefined) return this.#refuse(work, unrecorded);
      this.#see(device.id, { state: 'writing' });
      carried = await way.carryOut(plan, fence.fence, {
        signal: AbortSignal.any([permit.signal, leaving]),
        mayWrite: () => permit.check(),
      });
    } finally {
      fence.forget();
      // Before the disk is waited for: an open permit holds up its path (PO-22).
      permit.release();
    }
    this.#seeCarried(work, carried);
    const { level } = keeper.standing();
    const facts: PlanFacts = { mutation, plan, epoch: permit.epoch, level, startedAtNs, became: carried };
    const unrecorded = await keeper.recordOutcome(mutation, this.#records.recordsOf(facts));
    const { outcome, failure } = carried.applied;
    const { id, principal, tier } = mutation;
    const fields = { mutation: id, principal, tier, device: device.id, epoch: permit.epoch, outcome };
    if (carried.rolledBack === false)
      log.error({ ...fields, remaining: carried.remaining.length }, 'a device could not be rolled back');
    else if (outcome === 'failed') log.warn({ ...fields, code: failure?.code }, 'a plan failed');
    else log.info({ ...fields, steps: plan.steps.length }, 'a plan was carried out');
    if (unrecorded === undefined || failure !== undefined) return carriedAnswer(carried);
    const { code, message } = unrecorded;
    return carriedAnswer({ ...carried, applied: { ...carried.applied, failure: { code, message } } });
  }

  /**
   * What ends the writing for good: some time after the permit has ended, so that taking back ends inside the budget of
   * the path, and some time after the service began to end. The permit does not outlive it.
   */
  #fenceFor(permit: Permit): { readonly fence: Fence; readonly forget: () => void } {
    const fence = new Fence();
    const timers: NodeJS.Timeout[] = [];
    const after = (ms: number): void => {
      timers.push(
        setTimeout(() => {
          fence.close();
        }, ms),
      );
    };
    const onShut = (): void => {
      after(this.#parts.keeper.msLeftToUndo());
    };
    const onClosing = (): void => {
      after(CLOSING_MS);
    };
    // Not the signal that the work goes by: it aborts once, and whoever waits leaves before the service closes.
    const forgetShut = whenAborted(permit.signal, onShut);
    const forgetClosing = whenAborted(this.#closing.signal, onClosing);
    void fence.still.then(() => {
      permit.release();
    });
    return {
      fence,
      forget: () => {
        forgetShut();
        forgetClosing();
        for (const timer of timers) clearTimeout(timer);
      },
    };
  }

  /** Somebody who was not let in: answered, and recorded as what it was to be, the first time with all its steps. */
  #refuse({ mutation, plan, content }: Asked, said: Said): PlanAnswer {
    const { keeper, records, clock } = this.#parts;
    const refusal = refusalOf(said);
    keeper.recordRefused('mutation.execute', mutation, refusal);
    const { epoch, level } = keeper.standing();
    const startedAtNs = clock.monotonicNs();
    const known = `${content} ${refusal.code}`;
    const isAgain = this.#refused.get(mutation.id) === known;
    this.#refused.delete(mutation.id);
    this.#refused.set(mutation.id, known);
    const [oldest] = this.#refused.keys();
    if (this.#refused.size > REFUSALS && oldest !== undefined) this.#refused.delete(oldest);
    const told = isAgain ? { ...plan, steps: [] } : plan;
    records.spread(
      this.#records.recordsOf({ mutation, plan: told, epoch, level, startedAtNs, became: refusal }),
    );
    return { is: 'refusal', refusal };
  }

  async #read(device: InventoryDevice, way: Way, signal: AbortSignal): Promise<Reading> {
    try {
      const reading = await way.read(signal);
      this.#seeReading(device, reading);
      return reading;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      this.#see(device.id, { state: 'unreadable' });
      this.#parts.log.warn({ device: device.id, code: failureOf(error).code }, 'a device cannot be read');
      throw error;
    }
  }

  #see(id: string, more: Partial<Seen>): void {
    const known = this.#seen.get(id) ?? { state: 'read', base: '', readAtNs: 0n, remains: undefined };
    this.#seen.delete(id);
    this.#seen.set(id, { ...known, ...more });
    if (this.#seen.size <= MOST_DEVICES) return;
    const oldest = [...this.#seen].find(([, { remains }]) => remains === undefined)?.[0];
    if (oldest !== undefined) this.#seen.delete(oldest);
  }

  #seeReading({ id }: InventoryDevice, reading: Reading): void {
    const { sha256, clock } = this.#parts;
    const base = baseOf(reading, sha256);
    const remains = this.#seen.get(id)?.remains;
    const left = remains === undefined || remains.base === base ? [] : stillDiffering(remains, reading);
    this.#see(id, {
      state: 'read',
      base,
      readAtNs: clock.monotonicNs(),
      remains: remains === undefined || left.length === 0 ? undefined : { ...remains, left },
    });
  }

  #seeCarried(
    { mutation, plan, device }: AskedWork,
    { reading, remaining, applied, rolledBack }: CarriedOut,
  ): void {
    const { id } = device;
    if (reading !== undefined) this.#seeReading(device, reading);
    else this.#see(id, { state: applied.outcome === 'failed' ? 'unreadable' : 'read' });
    if (rolledBack === false) {
      const remains = {
        mutation: mutation.id,
        base: plan.base,
        differences: remaining,
        left: remaining,
        reading,
      };
      this.#see(id, { remains });
    } else if (applied.outcome === 'applied') {
      // That plan was made over what was there, and has been read back.
      this.#see(id, { remains: undefined });
    }
  }
}

/** Calls when the signal aborts, or at once where it has; what is returned ends that. */
function whenAborted(signal: AbortSignal, call: () => void): () => void {
  if (signal.aborted) call();
  else signal.addEventListener('abort', call, { once: true });
  return () => {
    signal.removeEventListener('abort', call);
  };
}

/** What still differs of what a rollback left: it is over where the device is again as it was before. */
function stillDiffering({ reading: then, differences }: Remains, now: Reading): readonly Difference[] {
  if (then === undefined) return differences;
  const since = new Map(
    differencesBetween(objectsOf(now.tree), objectsOf(then.tree)).map((each) => [each.path, each.intended]),
  );
  return differences.filter(({ path, intended }) => {
    const value = since.get(path);
    return value === undefined || !sameValue(value, intended);
  });
}

function alarmOf(device: string, { mutation, left }: Remains): string {
  const told = differencesText(left.slice(0, MOST_TOLD)).trimEnd().replaceAll('\n', '; ');
  const more = left.length > MOST_TOLD ? `; ${String(left.length - MOST_TOLD)} more stand in the ledger` : '';
  return left.length === 0
    ? `device/${device} may not be as it was before ${mutation}: it could not be read after it was rolled back`
    : `device/${device} is not as it was before ${mutation}, which could not be rolled back: ${told}${more}`;
}

function tierTooLow({ mutation }: AskedWork): Pick<Said, 'code' | 'rule' | 'message'> {
  return {
    code: 'GATE_TIER',
    rule: 'execute-tier',
    message: `cannot run ${mutation.id}: the tier ${mutation.tier} does not execute at this level`,
  };
}

function oldPlan({ mutation, plan }: AskedWork, epoch: bigint): Said {
  return {
    code: 'UNDERLAY_PLAN_OLD',
    message: `cannot run ${mutation.id}: its plan is of epoch ${String(plan.epoch)}, and ${String(epoch)} is in force`,
    field: 'plan',
    expected: 'a plan that was made under the epoch in force',
    help: 'compile again',
    rule: 'one-epoch-per-plan',
  };
}

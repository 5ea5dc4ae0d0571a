/**
 * The devices of an appliance: read at every level, and written to by plans under a permit of the one gate, for the
 * appliance's own services.
 * It must not write anything without a permit, nor answer of a plan before what became of it is recorded (UN-13).
 */
import type {
  CarriedOutMessage,
  CarryOutReply,
  CarryOutRequest,
  DeviceReadingPart,
  DeviceReadRequest,
  GateRefusal,
} from '@kedge/bus';
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
import { type PlanFacts, PlanRecords } from './plan-records.js';
import { Turns } from './turns.js';
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

/** Bytes of a tree in one reply. */
const PIECE_BYTES = 256 * 1024;
/** Ids and differences in one reply. */
const ITEMS_AT_ONCE = 512;
/** Answers that are remembered, and the bytes of readings with them. */
const ANSWERS = { count: 1_024, weight: 32 * 1024 * 1024 };
/** Devices of which is remembered how they were last. */
const MOST_DEVICES = 4_096;
/** Differences of one device that its alarm tells; the ledger has all of them. */
const MOST_TOLD = 32;
/** How long a plan that ends with the service may take to be taken back, milliseconds. */
const CLOSING_MS = 1_500;

/** A reading on its way. */
interface ReadText {
  readonly tree: Buffer;
  readonly own: readonly string[];
}

type Answer =
  | { readonly is: 'refusal'; readonly refusal: GateRefusal }
  | { readonly is: 'carried'; readonly carried: CarriedOut; readonly read: ReadText | undefined };

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
  readonly #turns = new Turns();
  readonly #answers = new Answers<Answer>({
    bounds: ANSWERS,
    // Who was refused may ask again under another posture.
    isFinal: ({ is }) => is === 'carried',
    weightOf: (answer) => (answer.is === 'carried' ? (answer.read?.tree.length ?? 0) : 0),
    lighter: (answer) => ({ ...answer, read: undefined }),
  });
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
    yield* partsOf(textOf(reading));
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
    const work = workIn(request);
    const content = this.#parts.sha256(JSON.stringify(request));
    let answer: Answer;
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

  async #carry(work: AskedWork, leaving: AbortSignal): Promise<Answer> {
    const way = this.#parts.wayTo(work.device);
    if ('code' in way) return this.#refuse(work, way);
    try {
      return await this.#turns.take(way.place, leaving, () => this.#carryInTurn(work, way, leaving));
    } catch (error) {
      if (error instanceof KedgeError && error.code === 'UNDERLAY_BUSY') return this.#refuse(work, error);
      throw error;
    }
  }

  async #carryInTurn(work: AskedWork, way: Way, leaving: AbortSignal): Promise<Answer> {
    const { keeper, clock, records, log } = this.#parts;
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
    const fence = this.#fenceFor(permit, leaving);
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
    await records.keep(this.#records.recordsOf(facts));
    const { outcome, failure } = carried.applied;
    const { id, principal, tier } = mutation;
    const fields = { mutation: id, principal, tier, device: device.id, epoch: permit.epoch, outcome };
    if (carried.rolledBack === false)
      log.error({ ...fields, remaining: carried.remaining.length }, 'a device could not be rolled back');
    else if (outcome === 'failed') log.warn({ ...fields, code: failure?.code }, 'a plan failed');
    else log.info({ ...fields, steps: plan.steps.length }, 'a plan was carried out');
    return {
      is: 'carried',
      carried,
      read: carried.reading === undefined ? undefined : textOf(carried.reading),
    };
  }

  /**
   * What ends the writing for good: some time after the permit has ended, so that taking back ends inside the budget of
   * the path, and some time after the service began to end. The permit does not outlive it.
   */
  #fenceFor(permit: Permit, leaving: AbortSignal): { readonly fence: Fence; readonly forget: () => void } {
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
    const onLeaving = (): void => {
      if (this.#closing.signal.aborted) after(CLOSING_MS);
    };
    permit.signal.addEventListener('abort', onShut, { once: true });
    leaving.addEventListener('abort', onLeaving, { once: true });
    void fence.still.then(() => {
      permit.release();
    });
    return {
      fence,
      forget: () => {
        permit.signal.removeEventListener('abort', onShut);
        leaving.removeEventListener('abort', onLeaving);
        for (const timer of timers) clearTimeout(timer);
      },
    };
  }

  /** Somebody who was not let in: answered, and recorded as what it was to be. */
  #refuse({ mutation, plan }: AskedWork, said: Said): Answer {
    const { keeper, records, clock } = this.#parts;
    const refusal = refusalOf(said);
    keeper.recordRefused('mutation.execute', mutation, refusal);
    const { epoch, level } = keeper.standing();
    const startedAtNs = clock.monotonicNs();
    records.spread(this.#records.recordsOf({ mutation, plan, epoch, level, startedAtNs, became: refusal }));
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

function textOf({ tree, own }: Reading): ReadText {
  return { tree: Buffer.from(JSON.stringify(tree), 'utf8'), own };
}

/** At least one part. */
function* partsOf({ tree, own }: ReadText): Generator<DeviceReadingPart> {
  for (let at = 0; at === 0 || at < tree.length; at += PIECE_BYTES)
    yield { tree: tree.subarray(at, at + PIECE_BYTES), own: [] };
  for (let at = 0; at < own.length; at += ITEMS_AT_ONCE)
    yield { tree: Buffer.alloc(0), own: own.slice(at, at + ITEMS_AT_ONCE) };
}

function* repliesOf(answer: Answer): Generator<CarryOutReply> {
  if (answer.is === 'refusal') {
    yield { outcome: 'refusal', refusal: answer.refusal };
    return;
  }
  const { applied, rolledBack, remaining } = answer.carried;
  const { outcome, done, failure } = applied;
  const part = (at: number): CarriedOutMessage => ({
    result: outcome,
    done: done.slice(at, at + ITEMS_AT_ONCE),
    ...(failure === undefined ? {} : { failure: { ...failure, step: failure.step ?? '' } }),
    ...(rolledBack === undefined ? {} : { rolledBack }),
    remaining: remaining.slice(at, at + ITEMS_AT_ONCE).map(({ path, intended, actual }) => ({
      path,
      intended: JSON.stringify(intended),
      actual: JSON.stringify(actual),
    })),
    wasRead: answer.read !== undefined,
  });
  for (let at = 0; at === 0 || at < Math.max(done.length, remaining.length); at += ITEMS_AT_ONCE)
    yield { outcome: 'carried', carried: part(at) };
  if (answer.read === undefined) return;
  for (const reading of partsOf(answer.read)) yield { outcome: 'reading', reading };
}

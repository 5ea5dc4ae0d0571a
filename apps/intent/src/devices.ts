/**
 * All devices of the appliance: what each revision means for them, at which posture they are held to it, and what is said
 * and asked of them.
 * It must not decide what becomes of a device; its machine does.
 */
import { compile } from '@kedge/compiler';
import type { LedgerRecord } from '@kedge/contracts';
import {
  type Held,
  type Holder,
  type IntentDatastores,
  type IntentRefusal,
  isRefusal,
  refusal,
} from '@kedge/datastores';
import type { Drift } from '@kedge/drift';
import type { AnyDriver, Reading } from '@kedge/driver-kit';
import { treesOf, type WholeIntent } from '@kedge/intent-model';
import { sha256 } from '@kedge/intent-store';
import {
  type DevicePosture,
  dueOf,
  type Intended,
  intendedOf,
  inventoryOf,
  isSamePosture,
  type RolloutState,
  standingOf,
} from '@kedge/rollout';
import { type Clock, KedgeError } from '@kedge/units';
import { setImmediate } from 'node:timers/promises';

import { postureOf } from './authority.js';
import type { RecordPlace } from './change-records.js';
import { DeviceFiles } from './device-files.js';
import { DeviceKeeper, type KeeperParts } from './device-keeper.js';
import type { DeviceReach } from './device-reach.js';
import type { DeviceView, DeviceViews } from './device-views.js';
import { DriftRecords } from './drift-records.js';
import { type IntentLog, type IntentParts, LEVEL_CHANGES } from './intent.js';
import { Turns } from './turns.js';
import type { UnderlayAccords } from './underlay-accords.js';

/** What the devices are given; all of it stays its caller's. */
export interface DevicesParts {
  readonly place: RecordPlace;
  /** Where memory is kept; made when missing. */
  readonly directory: string;
  readonly reach: DeviceReach;
  readonly drivers: readonly AnyDriver[];
  /** Devices that are read or written at once. */
  readonly atOnce: number;
  /** Largest document of `operational`, bytes. */
  readonly documentBytes: number;
  readonly board: IntentParts['board'];
  readonly accords: UnderlayAccords;
  readonly append: (record: LedgerRecord) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: IntentLog;
}

/** What the devices need of the datastores. */
export type IntentDocuments = Pick<IntentDatastores, 'documentOf' | 'validate' | 'observed' | 'state'>;

/** A revision that devices are held to. */
interface Followed {
  readonly held: Held;
  readonly by: Holder | null;
  readonly isRecalled: boolean;
}

/** A device of the inventory that could not be given what is intended for it. */
interface Untended {
  readonly why: string;
  readonly intended: () => Intended;
}

/** What was read of a device last. */
interface ReadText {
  readonly text: string;
  readonly bytes: number;
}

/** From something new that was read to the datastore `operational`, milliseconds. */
const OBSERVE_MS = 5_000;
/** Where that is large, bytes, it comes to the datastore once in so long, milliseconds: the process stands still for it. */
const LARGE_BYTES = 1_048_576;
const LARGE_MS = 60_000;
/** How often it is looked whether other accords are in force, and what could not be done is tried again, milliseconds. */
const LOOK_MS = 10_000;
/** Of the turns at the way to devices this part, at least one, is for who did not answer last. */
const DOUBTFUL_PART = 1 / 4;

/** The devices; at work once `begin` was called. `close` once. */
export class Devices implements DeviceViews {
  readonly #parts: DevicesParts;
  readonly #files: DeviceFiles;
  readonly #shared: KeeperParts;
  readonly #keepers = new Map<string, DeviceKeeper>();
  readonly #look: () => void;
  readonly #looking: NodeJS.Timeout;
  /** Ids of the devices of the inventory that are not retired. */
  #inventory: ReadonlySet<string> = new Set();
  readonly #untended = new Map<string, Untended>();
  /** By device. */
  readonly #read = new Map<string, ReadText>();
  #documents: IntentDocuments | undefined;
  #followed: Followed | undefined;
  #next: Followed | undefined;
  #taking: Promise<void> | undefined;
  /** As the keepers were told it. */
  #told: DevicePosture | undefined;
  #observing: NodeJS.Timeout | undefined;
  #givenNs: bigint | undefined;
  /** What is wrong with the last revision, and with what was read. */
  #untaken: string | undefined;
  #tooLarge: string | undefined;
  #isClosed = false;

  private constructor(parts: DevicesParts, files: DeviceFiles) {
    this.#parts = parts;
    this.#files = files;
    const { reach, drivers, append, clock, log, place, board, atOnce } = parts;
    this.#shared = {
      ...{ reach, drivers, files, append, clock, log },
      records: new DriftRecords(place, clock),
      ways: new Turns(atOnce),
      doubtful: new Turns(Math.max(1, Math.floor(atOnce * DOUBTFUL_PART))),
      desk: new Turns(1),
      observed: (device, reading) => {
        this.#observed(device, reading);
      },
    };
    this.#look = () => {
      this.#posture();
    };
    for (const change of LEVEL_CHANGES) board.on(change, this.#look);
    this.#looking = setInterval(() => {
      this.#look();
      if (this.#untended.size > 0) this.#start();
    }, LOOK_MS);
    this.#looking.unref();
  }

  /** @throws system errors where the directory of memory cannot be made. */
  static async open(parts: DevicesParts): Promise<Devices> {
    return new Devices(parts, await DeviceFiles.open(parts.directory));
  }

  /**
   * The datastores are there: devices are held against what was intended last from now on, and nothing is written
   * because of it before it is said anew.
   */
  begin(documents: IntentDocuments): void {
    this.#documents = documents;
    const { state } = documents;
    if (state.phase === 'opening' || state.intended === undefined) return;
    this.#follow({ held: state.intended, by: null, isRecalled: true });
  }

  /**
   * Another revision is intended. Returns at once; of several that come quickly the last one counts.
   *
   * @param by for whom plans run; undefined: the appliance itself.
   */
  intend(held: Held, by: Holder | undefined): void {
    this.#follow({ held, by: by ?? null, isRecalled: false });
  }

  /** What was intended last is no more, and nothing stands in its place yet: devices are held against it, no more. */
  withhold(): void {
    if (this.#followed !== undefined) this.#follow({ ...this.#followed, isRecalled: true });
  }

  #follow(followed: Followed): void {
    this.#followed = followed;
    this.#next = followed;
    this.#start();
  }

  #start(): void {
    if (this.#isClosed) return;
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined;
      // It may have come when the last one was just taken.
      if (this.#next !== undefined) this.#start();
    });
  }

  /** What somebody should look at, one sentence each. */
  get alarms(): readonly string[] {
    return [
      ...[this.#untaken, this.#tooLarge].filter((each) => each !== undefined),
      ...[...this.#untended].map(([id, { why }]) => `${id}: ${why}`),
      ...this.#tended().flatMap((keeper) => keeper.alarms),
    ];
  }

  devices(): readonly DeviceView[] {
    return this.#tended().map(({ state }) => viewOf(state, this.#parts.clock));
  }

  drifts(device?: string): readonly Drift[] {
    return this.#tended()
      .filter(({ state }) => device === undefined || state.device === device)
      .flatMap(({ state }) => state.drifts);
  }

  async plan(
    device: string,
    source: 'running' | 'candidate',
    signal: AbortSignal,
  ): ReturnType<DeviceViews['plan']> {
    const keeper = this.#keeperOf(device);
    const intended = await this.#intendedIn(source, device);
    if (isRefusal(intended)) return intended;
    if (intended === undefined) return unknown(device);
    const { reach, ways, desk } = this.#shared;
    const { level, epoch } = postureOf(this.#parts.board);
    try {
      const actual = await ways.within(() => reach.read(intended.device, signal));
      const memory = keeper?.state.memory;
      const [one] = await desk.within(async () => {
        await setImmediate();
        const former = memory?.carried?.tree;
        const input = {
          device,
          intended: intended.tree,
          actual,
          ...(former === undefined ? {} : { former }),
        };
        const gate = this.#parts.accords.at(level).gate.mode;
        return compile(intended.site, [input], { epoch, gate, drivers: this.#parts.drivers, sha256 });
      });
      switch (one?.outcome) {
        case 'planned':
          return { plan: one.plan, dormant: one.dormant };
        case 'unchanged':
          return { plan: undefined, dormant: one.dormant };
        case 'refused': {
          const findings = one.refusals.map(({ path, code, message }) => ({ path, message, appTag: code }));
          const [first] = one.refusals;
          const { code = 'ROLLOUT_DEFECT', message = 'it was refused', expected = '' } = first ?? {};
          return refusal({ code, message, expected, findings });
        }
        default:
          return { plan: undefined, dormant: [] };
      }
    } catch (error) {
      if (error instanceof KedgeError) return refusal({ ...error.toJSON() });
      throw error;
    }
  }

  async remedy(
    device: string,
    path: string | undefined,
    by: Holder,
    signal: AbortSignal,
  ): ReturnType<DeviceViews['remedy']> {
    const keeper = this.#keeperOf(device);
    if (keeper === undefined) return unknown(device);
    const answer = await keeper.ask({ what: 'remedy', by, path }, signal);
    if (isRefusal(answer)) return answer;
    return { remedied: answer.remedied, view: viewOf(keeper.state, this.#parts.clock) };
  }

  async check(device: string | undefined, signal: AbortSignal): ReturnType<DeviceViews['check']> {
    const keepers = device === undefined ? this.#tended() : [this.#keeperOf(device)];
    const views: DeviceView[] = [];
    const answers = await Promise.all(
      keepers.map(async (keeper) => (await keeper?.ask({ what: 'check' }, signal)) ?? unknown(device ?? '')),
    );
    for (const [place, answer] of answers.entries()) {
      const keeper = keepers[place];
      // One that does not answer keeps nobody from the others.
      if (isRefusal(answer) && (device !== undefined || keeper === undefined)) return answer;
      if (keeper !== undefined) views.push(viewOf(keeper.state, this.#parts.clock));
    }
    return views;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#next = undefined;
    clearTimeout(this.#observing);
    clearInterval(this.#looking);
    for (const change of LEVEL_CHANGES) this.#parts.board.off(change, this.#look);
    await this.#taking;
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.close()));
  }

  #keeperOf(device: string): DeviceKeeper | undefined {
    const keeper = this.#keepers.get(device);
    return keeper?.state.intended === undefined ? undefined : keeper;
  }

  /** Keepers of the devices of the inventory, by id. */
  #tended(): DeviceKeeper[] {
    return [...this.#keepers.values()]
      .filter(({ state }) => state.intended !== undefined)
      .sort((a, b) => (a.state.device < b.state.device ? -1 : 1));
  }

  async #take(): Promise<void> {
    if (this.#next === undefined)
      for (const [id, { intended }] of [...this.#untended]) await this.#give(id, intended);
    for (let next = this.#next; next !== undefined && !this.#isClosed; next = this.#next) {
      this.#next = undefined;
      try {
        await this.#takeOne(next);
        this.#untaken = undefined;
      } catch (error) {
        const revision = next.held.revision.number;
        this.#untaken = `revision ${String(revision)} could not be given to devices: ${textOf(error)}`;
        this.#parts.log.error({ err: error, revision }, 'a revision could not be given to devices');
      }
    }
  }

  async #takeOne({ held: { text, revision }, by, isRecalled }: Followed): Promise<void> {
    const { log, accords } = this.#parts;
    const trees = treesOf(JSON.parse(text) as WholeIntent);
    accords.intend(trees.accords);
    // The accords may be others now, and devices are told the posture first.
    this.#posture();
    const { site } = trees;
    const inventory = inventoryOf(site);
    const said = { number: revision.number, by, isRecalled };
    for (const id of trees.devices.keys())
      if (!inventory.has(id))
        log.warn({ device: id }, 'there is intent for a device that is not in the inventory');
    for (const [id, keeper] of this.#keepers)
      if (!inventory.has(id)) keeper.feed({ kind: 'intended', intended: undefined });
    for (const id of this.#untended.keys()) if (!inventory.has(id)) this.#untended.delete(id);
    const inService = [...inventory.values()].filter((each) => each['life-cycle'] !== 'retired');
    this.#inventory = new Set(inService.map(({ id }) => id));
    for (const id of this.#read.keys())
      if (!this.#inventory.has(id)) {
        this.#read.delete(id);
        this.#observe();
      }
    if (site === undefined) return;
    for (const [id, device] of inventory) {
      // Everybody else has a turn between two devices.
      await setImmediate();
      // Where another revision came meanwhile nobody is given this one any more.
      if (this.#isClosed || this.#next !== undefined) return;
      await this.#give(id, () => intendedOf(trees, site, device, said, sha256));
    }
  }

  /** Gives a device what is intended for it. Where that is not possible the others go on, and it is tried again. */
  async #give(id: string, intended: () => Intended): Promise<void> {
    try {
      const keeper = this.#keepers.get(id) ?? (await this.#keeper(id));
      // Of what came meanwhile it hears next.
      if (this.#next === undefined) keeper.feed({ kind: 'intended', intended: intended() });
      this.#untended.delete(id);
    } catch (error) {
      if (!this.#untended.has(id))
        this.#parts.log.error({ err: error, device: id }, 'a device is not tended');
      this.#untended.set(id, { why: `nothing is done on it: ${textOf(error)}`, intended });
    }
  }

  async #keeper(device: string): Promise<DeviceKeeper> {
    const keeper = new DeviceKeeper(device, await this.#files.read(device), this.#shared);
    this.#keepers.set(device, keeper);
    keeper.feed({ kind: 'posture', posture: this.#postureNow() });
    return keeper;
  }

  #postureNow(): DevicePosture {
    const { board, accords } = this.#parts;
    const { level, epoch } = postureOf(board);
    return { level, epoch, underlay: accords.at(level) };
  }

  /** Tells it to the devices where it is another one, or other accords are in force. */
  #posture(): void {
    const posture = this.#postureNow();
    if (this.#told !== undefined && isSamePosture(this.#told, posture)) return;
    this.#told = posture;
    for (const keeper of this.#keepers.values()) keeper.feed({ kind: 'posture', posture });
  }

  /** What a datastore means for a device; undefined where its inventory does not have it. */
  async #intendedIn(
    source: 'running' | 'candidate',
    id: string,
  ): Promise<Intended | IntentRefusal | undefined> {
    if (this.#documents === undefined) return unknown(id);
    const text = await this.#documents.documentOf(source);
    if (isRefusal(text)) return text;
    if (source === 'candidate') {
      const said = await this.#documents.validate('candidate');
      if (isRefusal(said)) return said;
      if (said.findings.length > 0)
        return refusal({
          code: 'INTENT_INVALID',
          message: 'cannot plan: the modules do not accept the candidate',
          help: 'kedge intent validate says what is wrong',
          findings: said.findings,
          complete: said.complete,
        });
    }
    const trees = treesOf(JSON.parse(text) as WholeIntent);
    const device = inventoryOf(trees.site).get(id);
    if (device === undefined || trees.site === undefined) return undefined;
    return intendedOf(trees, trees.site, device, { number: 1, by: null, isRecalled: false }, sha256);
  }

  #observed(device: string, { tree }: Reading): void {
    // It may have been read when it was in service.
    if (!this.#inventory.has(device)) return;
    const text = JSON.stringify(tree);
    if (this.#read.get(device)?.text === text) return;
    this.#read.set(device, { text, bytes: Buffer.byteLength(text) });
    this.#observe();
  }

  #readBytes(): number {
    return [...this.#read.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Gives the datastore `operational` what was read, in a while. */
  #observe(): void {
    if (this.#observing !== undefined || this.#isClosed) return;
    const { clock } = this.#parts;
    const sinceMs =
      this.#givenNs === undefined ? LARGE_MS : Number(clock.monotonicNs() - this.#givenNs) / 1e6;
    const waitMs = this.#readBytes() > LARGE_BYTES ? Math.max(OBSERVE_MS, LARGE_MS - sinceMs) : OBSERVE_MS;
    this.#observing = setTimeout(() => {
      this.#observing = undefined;
      this.#giveOperational();
    }, waitMs);
    this.#observing.unref();
  }

  #giveOperational(): void {
    const { documentBytes, clock } = this.#parts;
    const bytes = this.#readBytes();
    if (bytes > documentBytes) {
      this.#tooLarge = `operational is not as devices are: they are ${String(bytes)} bytes, the most is ${String(documentBytes)}`;
      return;
    }
    this.#tooLarge = undefined;
    this.#givenNs = clock.monotonicNs();
    const devices = [...this.#read]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, { text }]) => `{"id":${JSON.stringify(id)}${text === '{}' ? '}' : `,${text.slice(1)}`}`);
    void this.#documents?.observed(`{"kedge-intent:device":[${devices.join(',')}]}`);
  }
}

function viewOf(state: RolloutState, clock: Clock): DeviceView {
  const { device, intended, memory, drifts, refusals, dormant, readAtMs } = state;
  const due = dueOf(state);
  const inMs = due === undefined ? undefined : Number(due - clock.monotonicNs()) / 1e6;
  return {
    device,
    driver: intended?.device.driver ?? '',
    ...standingOf(state),
    revision: memory.carried?.revision ?? 0,
    readAtMs,
    nextAtMs: inMs === undefined ? undefined : Math.round(clock.wallMs() + Math.max(0, inMs)),
    drifts: drifts.length,
    refusals,
    dormant,
  };
}

function unknown(device: string): IntentRefusal {
  return refusal({
    code: 'ROLLOUT_UNKNOWN',
    message: `there is no device ${device}`,
    field: 'device',
    expected: 'a device of the inventory',
  });
}

function textOf(error: unknown): string {
  if (error instanceof KedgeError) return `${error.message} [${error.code}]`;
  return error instanceof Error ? error.message : String(error);
}

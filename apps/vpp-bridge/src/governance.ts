/**
 * The bridge itself: which accords are in force, which wait, what the data planes do with them.
 * It must not decide the posture, and a data plane must never depend on it being alive (DP-7).
 */
import {
  type DataPlaneReport,
  filesBehind,
  type FlowBatch,
  type PlanReply,
  type PlanRequest,
  type PostureBoard,
  type ShowReply,
} from '@kedge/bus';
import type { Action, RecordSink } from '@kedge/contracts';
import { IpfixExport } from '@kedge/ipfix-export';
import { layout } from '@kedge/shared-memory-ipc';
import { type Clock, KedgeError, levelOf, LEVELS } from '@kedge/units';
import { setImmediate } from 'node:timers/promises';

import { type Attempt, BankSwap, type Published } from './bank-swap.js';
import type { BridgeConfig } from './config.js';
import { DataPlanes, type OpenDataPlane } from './data-planes.js';
import { FlowDrain } from './flow-drain.js';
import { flowReportOf } from './flow-report.js';
import { FlowWatch } from './flow-watch.js';
import { type GenerationLabels, HitHistory, MAX_WINDOW_S, readCounters } from './hit-history.js';
import { planOf } from './plan.js';
import { buildSteps, type BuiltTables, buildTables, hashOf, readAccords } from './tables.js';
import { TelemetryDrain } from './telemetry-drain.js';
import { safeLevelOf, workerOffset, workerReport, workersOf } from './worker-report.js';

const DEFAULT_WINDOW_S = 300;
/** Generations whose ids are remembered: what is in force, what a slow worker may still use, and one more. */
const REMEMBERED_GENERATIONS = 3;

/** Refusals that may wait for the sink at once. */
const MAX_RECORDING = 256;

/** What the bridge logs with. */
export interface BridgeLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** What the bridge is given. */
export interface GovernanceOptions {
  readonly config: BridgeConfig;
  /** For the posture in force. Stays the caller's. */
  readonly board: Pick<PostureBoard, 'snapshot'>;
  /** Takes the records of the data planes, and says what is not as it should be there. Stays the caller's. */
  readonly records: RecordSink & { readonly alarms?: readonly string[] };
  readonly clock: Clock;
  /** Whole numbers below its argument. */
  readonly random: (below: number) => number;
  readonly log: BridgeLog;
}

interface Pending {
  readonly tables: BuiltTables;
  why: string;
  /** Why they cannot be published at all. */
  failure?: KedgeError;
  readonly settled: Promise<bigint | undefined>;
  /** Resolves `settled`: the generation, or undefined when newer accords took its place. */
  readonly settle: (generation: bigint | undefined) => void;
}

/** What became of accords that were followed. */
export interface Followed {
  /** In force now. */
  readonly generation: bigint;
  /** Empty when they are in force; otherwise what was in force stays. `GOVERNANCE_WAITING`: until a bank is free. */
  readonly code: string;
  readonly message: string;
  /** Of the fault inside the accords, an RFC 7951 instance identifier. */
  readonly path: string;
}

/** The bridge. `start` once, `close` once. */
export class Governance {
  readonly #options: GovernanceOptions;
  readonly #dataplanes: DataPlanes;
  readonly #swap: BankSwap;
  readonly #history = new HitHistory();
  readonly #drain: TelemetryDrain;
  readonly #flows: FlowDrain;
  readonly #flowWatch = new FlowWatch();
  /** Undefined where no collector is configured. */
  readonly #export: IpfixExport | undefined;
  readonly #labels = new Map<bigint, GenerationLabels>();
  readonly #timers: NodeJS.Timeout[] = [];
  /** What the generation in force was compiled from; undefined when only its tables are known. */
  #inForce: BuiltTables | undefined;
  #pending: Pending | undefined;
  readonly #publishedListeners: (() => void)[] = [];
  /** The build under way. */
  #building: Promise<unknown> = Promise.resolve();
  /** Refusals on their way to the sink, and those that did not get there. */
  #recording = 0;
  #unrecorded = 0;
  /** The files that were read last. */
  #read = '';
  /** Why the accords on disk are not in force. */
  #refusal: KedgeError | undefined;

  /** @throws SegmentError `SEGMENT_BUSY` and others of the tables segment. */
  constructor(options: GovernanceOptions) {
    this.#options = options;
    const { config, clock, log } = options;
    const owners = Object.entries(config.owners).filter(([file]) => file.startsWith('dataplane-'));
    this.#dataplanes = new DataPlanes(
      config.board,
      new Map(owners.map(([file, uid]) => [file.slice('dataplane-'.length), uid])),
    );
    this.#swap = new BankSwap({
      directory: config.board,
      bankUsers: () => this.#dataplanes.bankUsers(),
      now: () => clock.monotonicNs(),
    });
    this.#drain = new TelemetryDrain({
      appliance: config.appliance,
      sink: options.records,
      clock,
      onUnkept: (error, record) => {
        log.warn({ err: error, record: record.id }, 'a record of the data plane could not be kept');
      },
    });
    this.#flows = new FlowDrain(() => clock.monotonicNs());
    const { ipfix } = config;
    this.#export =
      ipfix === undefined
        ? undefined
        : new IpfixExport({ ...ipfix, clock, zoneIndex: (name) => this.#zoneIndex(name) });
  }

  /**
   * Brings the accords on disk into force, unless the surviving tables are made of them already. Accords that are
   * refused are an alarm: the surviving tables stay, or there are none and the data plane lets its minimum pass.
   */
  start(): void {
    const { config, log } = this.#options;
    const { replaced, published } = this.#swap;
    if (replaced !== undefined) log.warn({ replaced }, 'the tables segment had to be replaced');
    this.#read = this.#behind();
    try {
      const set = readAccords(config);
      // What stands there was asked about random flows before it was published; a restart must not take as long.
      const survives =
        published?.hash.equals(hashOf(set)) === true && published.levels.every(({ valid }) => valid);
      const tables = buildTables(set, {
        flows: survives ? 0 : config.probeFlows,
        random: this.#options.random,
      });
      if (survives) {
        this.#putInForce(tables, published.generation);
        log.info({ generation: published.generation }, 'the surviving tables stay in force');
      } else {
        this.#offer(tables);
      }
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      this.#refusal = error;
      log.error(
        { err: error, field: error.field, generation: published?.generation ?? 0n },
        published === undefined
          ? 'accords refused, no tables are in force'
          : 'accords refused, the surviving tables stay',
      );
    }
    this.#every(config.bankRetryMs, () => {
      this.#follow();
      this.#attempt();
    });
    this.#every(config.drainMs, () => {
      this.#dataplanes.refresh();
      void this.#drain.drain(this.#dataplanes.open());
      this.#drainFlows();
    });
    this.#every(config.sampleMs, () => {
      this.sample();
    });
    this.sample();
  }

  /** True once there are tables in force that hold at every level. */
  get serving(): boolean {
    return this.#swap.published?.levels.every(({ valid }) => valid) === true;
  }

  /** Calls `listener` after each generation that was put in force. */
  onPublished(listener: () => void): void {
    this.#publishedListeners.push(listener);
  }

  /** Renews the heartbeat in the tables segment. */
  beat(serving: boolean): void {
    this.#swap.beat(serving && this.serving);
  }

  /**
   * Records that a request was refused (PO-5). Nothing waits for it; what cannot be recorded is counted and shown.
   */
  recordRefusal(action: Action, { code, message }: Pick<KedgeError, 'code' | 'message'>): void {
    const { config, board, clock } = this.#options;
    const { level, word } = board.snapshot();
    const [wallMs, askedAtNs] = [clock.wallMs(), clock.monotonicNs()];
    if (this.#recording >= MAX_RECORDING) {
      this.#unrecorded += 1;
      return;
    }
    this.#recording += 1;
    void this.#options.records
      .append({
        schema: 'kedge.authorisation-decision/1',
        id: `authorisation-decision/${config.appliance}/governance/${String(wallMs)}-${String(askedAtNs)}`,
        appliance: config.appliance,
        at: new Date(wallMs).toISOString(),
        epoch: String(word.epoch),
        allow: false,
        rule: code,
        reason: [...message.replaceAll(/[\p{Cc}\p{Cs}]/gu, ' ')].slice(0, 250).join(''),
        principal: '',
        tier: 'site_owner',
        channel: 'local',
        action,
        resource: 'governance',
        level,
        askedAtNs: String(askedAtNs),
      })
      .catch((error: unknown) => {
        this.#unrecorded += 1;
        this.#options.log.warn({ err: error }, 'a refusal could not be recorded');
      })
      .finally(() => {
        this.#recording -= 1;
      });
  }

  /** Stops the timers, keeps what was read, gives the segment back. */
  async close(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#pending?.settle(undefined);
    // A drain that is under way ends first, then what came meanwhile is taken.
    await this.#drain.drain([]);
    this.#dataplanes.refresh();
    await this.#drain.drain(this.#dataplanes.open());
    this.#drainFlows();
    await this.#export?.close();
    this.#dataplanes.close();
    this.#swap.close();
  }

  /** Takes one sample of the hit counters. */
  sample(): void {
    this.#dataplanes.refresh();
    const workers = this.#dataplanes
      .open()
      .filter(({ alive }) => alive)
      .flatMap(({ name, reader }) =>
        workersOf(reader).map((worker) => {
          const generation = reader.load64(workerOffset(worker) + layout.worker.generation);
          return readCounters(reader, name, worker, this.#labels.get(generation)?.labels.length ?? 0);
        }),
      );
    this.#history.sample(this.#options.clock.monotonicNs(), workers, (generation) =>
      this.#labels.get(generation),
    );
  }

  /**
   * Flow records as they end, from now on, until `signal` aborts. A watcher that reads too slowly misses some.
   *
   * @throws KedgeError `GOVERNANCE_WATCHERS`, when it is first asked for a batch
   */
  watchFlows(signal: AbortSignal): AsyncIterable<FlowBatch> {
    return this.#flowWatch.watch(signal);
  }

  /** Takes the flows that ended to everybody who asked for them. Rings are drained also while nobody did. */
  #drainFlows(): void {
    const drained = this.#flows.drain(this.#dataplanes.open());
    if (!this.#flowWatch.watched && this.#export === undefined) return;
    const zones = new Map((this.#inForce?.set.zones.zones ?? []).map(({ id, name }) => [id, name]));
    const reports = drained.map((each) =>
      flowReportOf(
        each,
        (generation) => this.#labels.get(generation),
        (id) => zones.get(id) ?? '',
      ),
    );
    this.#flowWatch.tell(reports);
    this.#export?.tell(reports);
  }

  #zoneIndex(wanted: string): number {
    return this.#inForce?.set.zones.zones.find(({ name }) => name === wanted)?.id ?? 0;
  }

  /** Tables, workers and counters as they stand. */
  show(): ShowReply {
    this.#dataplanes.refresh();
    const published = this.#swap.published;
    const open = new Map(this.#dataplanes.open().map((each) => [each.name, each]));
    return {
      generation: published?.generation ?? 0n,
      builtAtNs: published?.builtAtNs ?? 0n,
      accordsHash: published?.hash ?? Buffer.alloc(0),
      levels: levelsShown(published),
      dataplanes: this.#dataplanes.names().map((name) => this.#dataplaneReport(name, open.get(name))),
      zones: (this.#inForce?.set.zones.zones ?? []).map(({ id, name }) => ({ id, name })),
      waiting: this.#pending?.why ?? '',
      alarms: this.#alarms(),
    };
  }

  /**
   * What a change to a level would do to the traffic of the last `windowS` seconds.
   *
   * @throws KedgeError `UNITS_LEVEL`, `GOVERNANCE_WINDOW`, `GOVERNANCE_NO_ACCORDS`.
   */
  plan(request: PlanRequest): PlanReply {
    const to = levelOf(request.level);
    const windowS = request.windowS === 0 ? DEFAULT_WINDOW_S : request.windowS;
    if (!Number.isInteger(windowS) || windowS < 1 || windowS > MAX_WINDOW_S)
      throw new KedgeError({
        code: 'GOVERNANCE_WINDOW',
        message: `cannot plan from ${String(windowS)} seconds of traffic`,
        field: 'window_s',
        expected: `1 to ${String(MAX_WINDOW_S)} seconds, or 0 for ${String(DEFAULT_WINDOW_S)}`,
      });
    if (this.#inForce === undefined)
      throw new KedgeError({
        code: 'GOVERNANCE_NO_ACCORDS',
        message: 'cannot plan: the accords of the tables in force are not known',
        help: 'put valid accords in place and reload; kedge governance show says what was wrong',
      });
    const from = this.#options.board.snapshot().level;
    const { coveredS, counted } = this.#history.window(this.#options.clock.monotonicNs(), windowS);
    const { compiled, set } = this.#inForce;
    return { from, to, windowS: coveredS, rows: planOf({ counted, compiled, zones: set.zones, from, to }) };
  }

  /**
   * Compiles the accords on disk and publishes them as the next generation.
   *
   * When that may be is the coordinator's order (PO-2): it has the pointer that leads to these files point elsewhere at
   * the moment at which the data plane is to change, and waits for the generation before its transition is complete.
   */
  async reload(signal: AbortSignal): Promise<Followed> {
    const { config, log } = this.#options;
    const inForce = (): bigint => this.#swap.published?.generation ?? 0n;
    let tables: BuiltTables;
    // One after the other, so that the newest accords win.
    const built = this.#building.then(() => this.#buildInSteps());
    this.#building = built.catch(() => undefined);
    try {
      tables = await built;
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      this.#refusal = error;
      log.error({ err: error, field: error.field }, 'accords refused, what was in force stays');
      this.recordRefusal('governance.reload', error);
      return { generation: inForce(), code: error.code, message: error.message, path: error.field ?? '' };
    }
    this.#refusal = undefined;
    if (this.#inForce?.hash.equals(tables.hash) === true) {
      this.#withdraw();
      return { generation: inForce(), code: '', message: '', path: '' };
    }
    const pending = this.#offer(tables);
    const generation = await within(pending.settled, config.reloadWaitMs, signal);
    if (generation !== undefined) return { generation, code: '', message: '', path: '' };
    const { failure } = pending;
    if (failure !== undefined)
      return { generation: inForce(), code: failure.code, message: failure.message, path: '' };
    const superseded = this.#pending !== pending;
    return {
      generation: inForce(),
      ...(superseded
        ? {
            code: 'GOVERNANCE_SUPERSEDED',
            message: 'newer accords were given before these could be published',
          }
        : { code: 'GOVERNANCE_WAITING', message: pending.why }),
      path: '',
    };
  }

  /** Which files the paths lead to. */
  #behind(): string {
    const { accords, zones } = filesBehind(this.#options.config);
    return `${accords}\n${zones}`;
  }

  /** Takes up accords that a pointer leads to since it was looked at last. */
  #follow(): void {
    const behind = this.#behind();
    if (behind === this.#read) return;
    this.#read = behind;
    void this.reload(new AbortController().signal).then(({ code }) => {
      // What was taken away while it was read is looked for again.
      if (code === 'ACCORD_UNREADABLE') this.#read = '';
    });
  }

  /** Builds what the accords on disk ask for, while heartbeats and calls go on. */
  async #buildInSteps(): Promise<BuiltTables> {
    const { config, random } = this.#options;
    const steps = buildSteps(readAccords(config), { flows: config.probeFlows, random });
    for (;;) {
      await setImmediate();
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }

  /** Makes tables the next to be published, in place of any that waited, and tries at once. */
  #offer(tables: BuiltTables): Pending {
    this.#withdraw();
    let settle: Pending['settle'] = () => undefined;
    const settled = new Promise<bigint | undefined>((resolve) => {
      settle = resolve;
    });
    const pending: Pending = { tables, why: '', settled, settle };
    this.#pending = pending;
    this.#attempt();
    return pending;
  }

  #withdraw(): void {
    this.#pending?.settle(undefined);
    this.#pending = undefined;
  }

  #attempt(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    let attempt: Attempt;
    try {
      attempt = this.#swap.attempt(pending.tables);
    } catch (error) {
      // A bridge that ends here would be started again to end here: it says so and serves what is in force.
      if (!(error instanceof KedgeError)) throw error;
      this.#refusal = pending.failure = error;
      this.#withdraw();
      this.#options.log.error({ err: error }, 'tables cannot be published');
      return;
    }
    if (attempt.outcome === 'waiting') {
      if (pending.why !== attempt.why) this.#options.log.warn({ why: attempt.why }, 'a bank is still in use');
      pending.why = attempt.why;
      return;
    }
    this.#pending = undefined;
    this.#putInForce(pending.tables, attempt.generation);
    this.#options.log.info({ generation: attempt.generation }, 'tables published');
    pending.settle(attempt.generation);
    for (const listener of this.#publishedListeners) listener();
  }

  #putInForce(tables: BuiltTables, generation: bigint): void {
    this.#inForce = tables;
    this.#labels.set(generation, {
      labels: tables.compiled.labels,
      zoneIds: new Map(tables.set.zones.zones.map(({ name, id }) => [name, id])),
    });
    for (const old of this.#labels.keys()) {
      if (this.#labels.size <= REMEMBERED_GENERATIONS) break;
      this.#labels.delete(old);
    }
  }

  #alarms(): string[] {
    const refusal = this.#refusal;
    const { unkept } = this.#drain;
    const without =
      this.#swap.published?.levels.filter(({ valid }) => !valid).map(({ level }) => level) ?? [];
    return [
      ...(refusal === undefined ? [] : [`${refusal.code}: ${refusal.message}`]),
      ...(this.#swap.published === undefined
        ? ['no tables are in force: the data plane lets only its built-in management minimum pass']
        : []),
      ...(without.length === 0
        ? []
        : [`the table of level ${without.join(', ')} is damaged: there only the management minimum passes`]),
      ...(this.#unrecorded === 0 ? [] : [`${String(this.#unrecorded)} refusals could not be recorded`]),
      ...(unkept === 0 ? [] : [`${String(unkept)} records of the data plane could not be kept`]),
      ...(this.#options.records.alarms ?? []),
      ...(this.#export?.alarms() ?? []),
    ];
  }

  #dataplaneReport(name: string, dataplane: OpenDataPlane | undefined): DataPlaneReport {
    if (dataplane === undefined)
      return {
        name,
        alive: false,
        safeLevel: 0,
        workers: [],
        telemetryGaps: this.#drain.gaps(name),
        flowGaps: this.#flows.gaps(name),
      };
    const { reader, alive } = dataplane;
    return {
      name,
      alive,
      safeLevel: safeLevelOf(reader.load32(layout.dataplane.safeLevel)),
      workers: workersOf(reader).map((worker) => workerReport(reader, worker)),
      telemetryGaps: this.#drain.gaps(name),
      flowGaps: this.#flows.gaps(name),
    };
  }

  #every(ms: number, work: () => void): void {
    this.#timers.push(setInterval(work, ms));
  }
}

function levelsShown(published: Published | undefined): ShowReply['levels'] {
  if (published === undefined)
    return LEVELS.map((level) => ({
      level,
      valid: false,
      entries: 0,
      shapesIp4: 0,
      shapesIp6: 0,
      classify: false,
    }));
  return published.levels.map(({ level, valid, entries, shapes, classify }) => ({
    level,
    valid,
    entries,
    shapesIp4: shapes.ip4,
    shapesIp6: shapes.ip6,
    classify,
  }));
}

/** What a promise comes to, or undefined when the time is over or the caller has gone. */
async function within<T>(promise: Promise<T>, ms: number, signal: AbortSignal): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  let gone: (() => void) | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<undefined>((resolve) => {
        timer = setTimeout(() => {
          resolve(undefined);
        }, ms);
        gone = () => {
          resolve(undefined);
        };
        signal.addEventListener('abort', gone);
      }),
    ]);
  } finally {
    clearTimeout(timer);
    if (gone !== undefined) signal.removeEventListener('abort', gone);
  }
}

/**
 * What `kedge top` tells: two readings of an appliance made into levels, budgets and rates.
 * It must not ask anybody, look at a clock, or know how wide a terminal is.
 */
import type {
  DataPlaneReport,
  PlanReply,
  PostureState,
  QueueReport,
  ShowReply,
  TransitionReport,
  WorkerReport,
} from '@kedge/bus';

import type { Sight } from './examination.js';
import { type NameList, type NameSeen, printable } from './top-names.js';

/** Events of the warden that are older are the doctor's business, nanoseconds. */
const RECENT_NS = 3_600_000_000_000n;

/** One look at an appliance. */
export interface Reading {
  /** Monotonic milliseconds of this machine when the bridge had answered. */
  readonly atMs: number;
  /** Milliseconds since 1970. */
  readonly atWallMs: number;
  /** For people. */
  readonly target: string;
  readonly coordinator: Sight<PostureState>;
  readonly bridge: Sight<ShowReply>;
  /** Traffic by entry over the last seconds, as `kedge posture plan` has it. */
  readonly hits: Sight<PlanReply>;
  readonly names: Sight<NameList>;
}

/** Packets by what became of them: per second, undefined while there is nothing to compare with. */
export interface Verdicts {
  readonly pass: number | undefined;
  readonly deprioritise: number | undefined;
  readonly drop: number | undefined;
}

export interface TopPath {
  /** dataplane, overlay, underlay */
  readonly path: string;
  readonly outcome: string;
  /** Undefined while it runs. */
  readonly tookNs: bigint | undefined;
  readonly budgetNs: bigint;
  readonly late: boolean;
}

export interface TopTransition {
  readonly epoch: bigint;
  readonly from: number;
  readonly to: number;
  readonly outcome: string;
  readonly durable: boolean;
  readonly principal: string;
  readonly reason: string;
  /** Milliseconds since 1970; 0 = not known. */
  readonly decidedAtWallMs: bigint;
  readonly paths: readonly TopPath[];
}

export interface TopService {
  readonly name: string;
  readonly state: 'serving' | 'not serving' | 'stale';
  readonly beatAgeNs: bigint;
}

export interface TopPosture {
  /** What packets obey now; 0 = fail-closed. */
  readonly level: number;
  /** What was decided. */
  readonly target: number;
  readonly epoch: bigint;
  readonly transition: TopTransition | undefined;
  readonly services: readonly TopService[];
}

export interface TopPair extends Verdicts {
  readonly from: string;
  readonly to: string;
}

export interface TopDrop {
  /** pair, entry, malformed, ... as in `Worker.reasons`. */
  readonly reason: string;
  readonly perSecond: number | undefined;
  /** Since the workers that live now began. */
  readonly packets: bigint;
}

export interface TopQueue {
  /** ordinary, deprioritised */
  readonly name: string;
  /** Packets, now. */
  readonly waiting: bigint;
  /** Each per second. */
  readonly sent: number | undefined;
  readonly waited: number | undefined;
  readonly lost: number | undefined;
  readonly withdrawn: number | undefined;
}

export interface TopApplication {
  readonly name: string;
  readonly packetsPerSecond: number | undefined;
  readonly bytesPerSecond: number | undefined;
  readonly packets: bigint;
}

export interface TopPlane {
  readonly name: string;
  readonly alive: boolean;
  /** The level of its own that it obeys; 0 = none. */
  readonly safeLevel: number;
  readonly workers: number;
  /** Workers that work with another epoch than the one in force; undefined = that one is not known. */
  readonly behind: number | undefined;
  /** Workers that still use older tables than those in force. */
  readonly olderTables: number;
  /** Workers whose counters began anew since the reading before. */
  readonly restarted: number;
  readonly telemetryGaps: bigint;
  readonly flowGaps: bigint;
}

export interface TopDataPlane {
  readonly planes: readonly TopPlane[];
  /** Each per second. */
  readonly received: number | undefined;
  readonly sent: number | undefined;
  readonly dropped: number | undefined;
  readonly deprioritised: number | undefined;
  readonly flowsLive: bigint;
  readonly flowsBegun: number | undefined;
  readonly flowsEvicted: number | undefined;
  /** Zone pairs with traffic since the workers began, by the pair's own verdict. */
  readonly pairs: readonly TopPair[];
  readonly drops: readonly TopDrop[];
  readonly queues: readonly TopQueue[];
  /** Whether the level in force looks into packets; undefined = the level is not known. */
  readonly classify: boolean | undefined;
  readonly applications: readonly TopApplication[];
}

export interface TopEntry {
  readonly from: string;
  readonly to: string;
  /** Empty for what the zone pair itself judged. */
  readonly entry: string;
  /** At the level in force: pass, deprioritise, drop. */
  readonly verdict: string;
  readonly perSecond: number | undefined;
  readonly packets: bigint;
}

export interface TopEntries {
  /** How many seconds the packets were counted over. */
  readonly windowS: number;
  readonly rows: readonly TopEntry[];
}

/** Something that somebody has to know now. */
export interface Concern {
  /** bad = the posture may not be enforced as decided; warn = it is, and something is degraded. */
  readonly severity: 'bad' | 'warn';
  readonly text: string;
}

/** Everything that is shown, and the object of `--json`. */
export interface Top {
  /** ISO 8601. */
  readonly at: string;
  readonly target: string;
  /** What the rates cover, milliseconds; undefined in a first reading. */
  readonly intervalMs: number | undefined;
  readonly posture: Sight<TopPosture>;
  readonly concerns: readonly Concern[];
  readonly dataplane: Sight<TopDataPlane>;
  readonly entries: Sight<TopEntries>;
  readonly names: Sight<{ readonly latest: readonly NameSeen[]; readonly lost: bigint }>;
}

/** What the next reading is compared with: the last answer of the bridge, however long ago. */
export interface Baseline {
  readonly atMs: number;
  readonly show: ShowReply;
}

/** One reading beside what it is compared with; and what the next one is to be compared with. */
export function topOf(
  reading: Reading,
  before: Baseline | undefined,
): { readonly top: Top; readonly baseline: Baseline | undefined } {
  const { atMs, atWallMs, coordinator, bridge } = reading;
  const elapsedMs = before === undefined ? undefined : Math.max(1, atMs - before.atMs);
  const posture = map(coordinator, postureOf);
  return {
    top: {
      at: new Date(atWallMs).toISOString(),
      target: printable(reading.target),
      intervalMs: bridge.seen && elapsedMs !== undefined ? Math.round(elapsedMs) : undefined,
      posture,
      concerns: concernsOf(reading),
      dataplane: map(bridge, (show) =>
        dataPlaneOf(
          show,
          before === undefined || elapsedMs === undefined ? undefined : { show: before.show, elapsedMs },
          coordinator.seen ? coordinator.value : undefined,
        ),
      ),
      entries: map(reading.hits, entriesOf),
      names: map(reading.names, ({ latest, lost }) => ({ latest, lost })),
    },
    baseline: bridge.seen ? { atMs, show: bridge.value } : before,
  };
}

function map<T, U>(given: Sight<T>, make: (value: T) => U): Sight<U> {
  return given.seen
    ? { seen: true, value: make(given.value) }
    : { seen: false, code: given.code, message: printable(given.message) };
}

function postureOf({ level, target, epoch, transition, services }: PostureState): TopPosture {
  return {
    level,
    target,
    epoch,
    transition: transition === undefined || transition.epoch === 0n ? undefined : transitionOf(transition),
    services: services.map(({ name, beatAgeNs, stale, serving }) => ({
      name: printable(name),
      state: stale ? 'stale' : serving ? 'serving' : 'not serving',
      beatAgeNs,
    })),
  };
}

function transitionOf(report: TransitionReport): TopTransition {
  const { epoch, from, to, outcome, durable, source, decidedAtWallMs, paths } = report;
  return {
    epoch,
    from,
    to,
    outcome: printable(outcome),
    durable,
    principal: printable(source?.principal ?? ''),
    reason: printable(source?.reason ?? ''),
    decidedAtWallMs,
    paths: paths.map((path) => {
      const tookNs = path.endNs === 0n || path.startNs === 0n ? undefined : path.endNs - path.startNs;
      return {
        path: printable(path.path),
        outcome: printable(path.outcome),
        tookNs,
        budgetNs: path.budgetNs,
        late:
          path.outcome === 'late' || (tookNs !== undefined && path.budgetNs > 0n && tookNs > path.budgetNs),
      };
    }),
  };
}

function concernsOf({ coordinator, bridge }: Reading): Concern[] {
  const concerns: Concern[] = [];
  const add = (severity: Concern['severity'], text: string): void => {
    concerns.push({ severity, text: printable(text) });
  };
  if (coordinator.seen) {
    const { failClosed, alarms, services, disagreements, violations, transition, atNs } = coordinator.value;
    for (const { path, level, epoch } of failClosed)
      add('bad', `FAIL-CLOSED ${path} at level ${level} since epoch ${epoch}`);
    if (transition !== undefined && transition.epoch > 0n && !transition.durable)
      add('bad', `NOT DURABLE: the decision of epoch ${transition.epoch} is not in the journal`);
    for (const { name, stale, serving, beatAgeNs } of services) {
      if (stale) add('bad', `STALE ${name}: no beat for ${String(beatAgeNs / 1_000_000n)} ms`);
      else if (!serving) add('warn', `${name} is not serving`);
    }
    for (const { who, believesEpoch, believesLevel, overdue } of disagreements)
      if (overdue) add('bad', `DISAGREES ${who}: believes epoch ${believesEpoch}, level ${believesLevel}`);
    for (const alarm of alarms) add('warn', `ALARM ${alarm}`);
    const recent = violations.filter((violation) => atNs - violation.atNs < RECENT_NS);
    const [newest] = recent;
    if (newest !== undefined) {
      const more = recent.length === 1 ? '' : ` (${recent.length} within the hour)`;
      const about = [newest.kind, newest.path, newest.subject].filter((part) => part !== '').join(' ');
      add('warn', `WARDEN ${about}, epoch ${newest.epoch}, ${agoText(atNs - newest.atNs)} ago${more}`);
    }
  }
  if (bridge.seen) {
    const { dataplanes, alarms, waiting } = bridge.value;
    if (dataplanes.length === 0) add('bad', 'no data plane is known to the bridge');
    for (const { name, alive, safeLevel } of dataplanes) {
      if (!alive) add('bad', `DEAD data plane ${name}: nothing passes`);
      else if (safeLevel !== 0) add('bad', `SAFE LEVEL ${safeLevel}: data plane ${name} obeys its own`);
    }
    for (const alarm of alarms) add('warn', `ALARM bridge: ${alarm}`);
    if (waiting !== '') add('warn', `newer tables wait: ${waiting}`);
  }
  // What is bad is seen first, also where there is room for one line only.
  return [...concerns].sort((a, b) => Number(a.severity === 'warn') - Number(b.severity === 'warn'));
}

function agoText(ns: bigint): string {
  const seconds = ns / 1_000_000_000n;
  return seconds < 120n ? `${String(seconds)} s` : `${String(seconds / 60n)} min`;
}

/** A worker beside itself before; `since` undefined = it counts from nothing. */
interface Progress {
  readonly plane: string;
  readonly now: WorkerReport;
  readonly since: WorkerReport | undefined;
  readonly restarted: boolean;
}

/** Counters that only rise while a worker lives; one that fell tells that it began anew. */
function risingOf(worker: WorkerReport): bigint[] {
  const { received, sent, dropped, deprioritised, flows } = worker;
  return [received, sent, dropped, deprioritised, flows?.begun ?? 0n, flows?.written ?? 0n];
}

function progressOf(show: ShowReply, before: ShowReply): Progress[] {
  return show.dataplanes.flatMap(({ name, workers }) =>
    workers.map((now) => {
      const since = before.dataplanes
        .find((plane) => plane.name === name)
        ?.workers.find(({ index }) => index === now.index);
      const fell =
        since !== undefined && risingOf(now).some((count, at) => count < (risingOf(since)[at] ?? 0n));
      return { plane: name, now, since: fell ? undefined : since, restarted: fell };
    }),
  );
}

function dataPlaneOf(
  show: ShowReply,
  before: { readonly show: ShowReply; readonly elapsedMs: number } | undefined,
  posture: PostureState | undefined,
): TopDataPlane {
  const workers = show.dataplanes.flatMap(({ workers: each }) => each);
  const progress = before === undefined ? undefined : progressOf(show, before.show);
  /** Per second, all workers together. What a worker that was not there before has counted is not of this interval. */
  const rate = (pick: (worker: WorkerReport) => bigint): number | undefined => {
    if (progress === undefined || before === undefined) return undefined;
    let packets = 0n;
    for (const { now, since, restarted } of progress) {
      const from = since === undefined ? (restarted ? 0n : pick(now)) : pick(since);
      const step = pick(now) - from;
      if (step > 0n) packets += step;
    }
    return tenths((Number(packets) * 1_000) / before.elapsedMs);
  };
  const total = (pick: (worker: WorkerReport) => bigint): bigint =>
    workers.reduce((sum, worker) => sum + pick(worker), 0n);
  const keysOf = (pick: (worker: WorkerReport) => Readonly<Record<string, unknown>>): string[] => [
    ...new Set(workers.flatMap((worker) => Object.keys(pick(worker)))),
  ];
  return {
    planes: show.dataplanes.map((plane) => planeOf(plane, show, progress, posture)),
    received: rate(({ received }) => received),
    sent: rate(({ sent }) => sent),
    dropped: rate(({ dropped }) => dropped),
    deprioritised: rate(({ deprioritised }) => deprioritised),
    flowsLive: total(({ flows }) => flows?.live ?? 0n),
    flowsBegun: rate(({ flows }) => flows?.begun ?? 0n),
    flowsEvicted: rate(({ flows }) => flows?.evicted ?? 0n),
    pairs: pairsOf(show, rate),
    drops: keysOf(({ reasons }) => reasons)
      .filter((key) => key.endsWith('-drop'))
      .map((key) => ({
        reason: printable(key.slice(0, -'-drop'.length)),
        perSecond: rate(({ reasons }) => reasons[key] ?? 0n),
        packets: total(({ reasons }) => reasons[key] ?? 0n),
      }))
      .sort(
        (a, b) =>
          (b.perSecond ?? 0) - (a.perSecond ?? 0) ||
          Number(b.packets - a.packets) ||
          order(a.reason, b.reason),
      ),
    queues: keysOf(({ queues }) => queues).map((key) => {
      const count = (field: keyof QueueReport) => (worker: WorkerReport) => worker.queues[key]?.[field] ?? 0n;
      return {
        name: printable(key),
        waiting: total(count('waiting')),
        sent: rate(count('sent')),
        waited: rate(count('waited')),
        lost: rate(count('lost')),
        withdrawn: rate(count('withdrawn')),
      };
    }),
    classify:
      posture === undefined
        ? undefined
        : (show.levels.find(({ level }) => level === posture.level)?.classify ?? false),
    applications: keysOf(({ applications }) => applications)
      .map((key) => ({
        name: printable(key),
        packetsPerSecond: rate(({ applications }) => applications[key]?.packets ?? 0n),
        bytesPerSecond: rate(({ applications }) => applications[key]?.bytes ?? 0n),
        packets: total(({ applications }) => applications[key]?.packets ?? 0n),
      }))
      .sort(
        (a, b) =>
          (b.packetsPerSecond ?? 0) - (a.packetsPerSecond ?? 0) ||
          Number(b.packets - a.packets) ||
          order(a.name, b.name),
      ),
  };
}

function planeOf(
  { name, alive, safeLevel, workers, telemetryGaps, flowGaps }: DataPlaneReport,
  { generation }: ShowReply,
  progress: readonly Progress[] | undefined,
  posture: PostureState | undefined,
): TopPlane {
  return {
    name: printable(name),
    alive,
    safeLevel,
    workers: workers.length,
    behind: posture === undefined ? undefined : workers.filter(({ epoch }) => epoch < posture.epoch).length,
    olderTables: workers.filter((worker) => worker.generation < generation).length,
    restarted: progress?.filter(({ plane, restarted }) => plane === name && restarted).length ?? 0,
    telemetryGaps,
    flowGaps,
  };
}

function pairsOf(
  { dataplanes, zones }: ShowReply,
  rate: (pick: (worker: WorkerReport) => bigint) => number | undefined,
): TopPair[] {
  const names = new Map(zones.map(({ id, name }) => [id, printable(name)]));
  const nameOf = (id: number): string => names.get(id) ?? (id === 0 ? 'none' : `zone-${id}`);
  const seen = new Map<string, readonly [from: number, to: number]>();
  for (const { workers } of dataplanes)
    for (const { pairs } of workers)
      for (const { fromZone, toZone } of pairs) seen.set(`${fromZone} ${toZone}`, [fromZone, toZone]);
  return [...seen.values()].map(([from, to]) => {
    const by = (verdict: string): number | undefined =>
      rate(({ pairs }) =>
        pairs
          .filter((pair) => pair.fromZone === from && pair.toZone === to && pair.verdict === verdict)
          .reduce((sum, { packets }) => sum + packets, 0n),
      );
    return {
      from: nameOf(from),
      to: nameOf(to),
      pass: by('pass'),
      deprioritise: by('deprioritise'),
      drop: by('drop'),
    };
  });
}

function entriesOf({ windowS, rows }: PlanReply): TopEntries {
  return {
    windowS,
    rows: rows.map(({ fromZone, toZone, entry, verdictNow, packets }) => ({
      from: printable(fromZone),
      to: printable(toZone),
      entry: printable(entry),
      verdict: printable(verdictNow),
      perSecond: windowS === 0 ? undefined : tenths(Number(packets) / windowS),
      packets,
    })),
  };
}

const tenths = (value: number): number => Math.round(value * 10) / 10;
const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const sumOf = ({ pass = 0, deprioritise = 0, drop = 0 }: Verdicts): number => pass + deprioritise + drop;

/** What rows are sorted by. */
export const SORTS = ['packets', 'drops', 'name'] as const;
export type Sort = (typeof SORTS)[number];

/** Zone pairs in the order asked for. */
export function sortedPairs(pairs: readonly TopPair[], sort: Sort): TopPair[] {
  const named = (a: TopPair, b: TopPair): number => order(a.from, b.from) || order(a.to, b.to);
  const by: Readonly<Record<Sort, (a: TopPair, b: TopPair) => number>> = {
    packets: (a, b) => sumOf(b) - sumOf(a) || named(a, b),
    drops: (a, b) => (b.drop ?? 0) - (a.drop ?? 0) || sumOf(b) - sumOf(a) || named(a, b),
    name: named,
  };
  return [...pairs].sort(by[sort]);
}

/** Entries in the order asked for; what a zone pair judged itself stands with the pairs and is left out. */
export function sortedEntries(rows: readonly TopEntry[], sort: Sort): TopEntry[] {
  const named = (a: TopEntry, b: TopEntry): number =>
    order(a.entry, b.entry) || order(a.from, b.from) || order(a.to, b.to);
  const packets = (a: TopEntry, b: TopEntry): number =>
    a.packets === b.packets ? named(a, b) : a.packets < b.packets ? 1 : -1;
  const by: Readonly<Record<Sort, (a: TopEntry, b: TopEntry) => number>> = {
    packets,
    drops: (a, b) => Number(b.verdict === 'drop') - Number(a.verdict === 'drop') || packets(a, b),
    name: named,
  };
  return rows.filter(({ entry }) => entry !== '').sort(by[sort]);
}

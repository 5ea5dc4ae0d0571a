/**
 * What a packet worker says of itself in its segment, as the bridge's calls tell it.
 * It must believe no number that it reads without its range.
 */
import type { FlowsReport, PairCountReport, QueueReport, TrafficReport, WorkerReport } from '@kedge/bus';
import { APPLICATIONS, QUEUES, REASONS, VERDICTS } from '@kedge/dataplane';
import { layout, type SegmentReader } from '@kedge/shared-memory-ipc';
import { isLevel, LOCKDOWN } from '@kedge/units';

const COUNTERS = layout.worker.counters;
const BYTES = 8;
/** Counters by verdict have a first place for "none", which never happens. */
const VERDICT_PLACES = 4;

/** Where worker `worker` stands in a data plane's segment. */
export function workerOffset(worker: number): number {
  return layout.dataplane.worker + worker * layout.worker.size;
}

/** 0 = it obeys none. What is no level is obeyed as lockdown, like everywhere. */
export function safeLevelOf(stored: number): number {
  return stored === 0 || isLevel(stored) ? stored : LOCKDOWN;
}

/** Indices of the workers in use; a number that no data plane can have counts as none. */
export function workersOf(reader: SegmentReader): number[] {
  const count = reader.load32(layout.dataplane.workers);
  return Array.from({ length: count > layout.limits.maxWorkers ? 0 : count }, (_, worker) => worker);
}

/** Everything that one worker counts, and what it acknowledged last. */
export function workerReport(reader: SegmentReader, index: number): WorkerReport {
  const at = workerOffset(index);
  const sums = { drop: 0n, deprioritise: 0n };
  const reasons: Record<string, bigint> = {};
  for (const { row, verdict, packets } of byVerdict(
    reader.bytes(
      at + COUNTERS + layout.workerCounters.reason,
      layout.limits.reasons * VERDICT_PLACES * BYTES,
    ),
  )) {
    reasons[`${REASONS[row] ?? ''}-${verdict}`] = packets;
    if (verdict !== 'pass') sums[verdict] += packets;
  }
  const ack = reader.ack(at + layout.worker.ack);
  return {
    index,
    epoch: ack?.epoch ?? 0n,
    level: ack?.level ?? 0,
    generation: reader.load64(at + layout.worker.generation),
    received: reader.load64(at + layout.worker.received),
    sent: reader.load64(at + layout.worker.sent),
    dropped: sums.drop,
    deprioritised: sums.deprioritise,
    reasons,
    applications: applicationsOf(reader, at),
    queues: queuesOf(reader, at),
    pairs: pairsOf(reader, at),
    flows: flowsOf(reader, at),
  };
}

/** Counters that stand by [row][verdict], those that are not 0. */
function* byVerdict(
  counters: Buffer,
): Generator<{ row: number; verdict: (typeof VERDICTS)[number]; packets: bigint }> {
  const rows = counters.length / (VERDICT_PLACES * BYTES);
  for (let row = 0; row < rows; row += 1)
    for (const [place, verdict] of VERDICTS.entries()) {
      const packets = counters.readBigUInt64LE((row * VERDICT_PLACES + place + 1) * BYTES);
      if (packets !== 0n) yield { row, verdict, packets };
    }
}

function applicationsOf(reader: SegmentReader, at: number): Record<string, TrafficReport> {
  const counters = reader.bytes(
    at + COUNTERS + layout.workerCounters.application,
    layout.limits.applications * 2 * BYTES,
  );
  return Object.fromEntries(
    APPLICATIONS.map((name, place) => ({
      name,
      packets: counters.readBigUInt64LE(place * 2 * BYTES),
      bytes: counters.readBigUInt64LE((place * 2 + 1) * BYTES),
    }))
      .filter(({ packets }) => packets !== 0n)
      .map(({ name, packets, bytes }) => [name, { packets, bytes }]),
  );
}

function queuesOf(reader: SegmentReader, at: number): Record<string, QueueReport> {
  const { sent, waited, lost, withdrawn, waiting } = layout.queueCounters;
  return Object.fromEntries(
    QUEUES.map((name, place) => {
      const from = at + COUNTERS + layout.workerCounters.queue + place * layout.queueCounters.size;
      return [
        name,
        {
          sent: reader.load64(from + sent),
          waited: reader.load64(from + waited),
          lost: reader.load64(from + lost),
          withdrawn: reader.load64(from + withdrawn),
          waiting: reader.load64(from + waiting),
        },
      ];
    }),
  );
}

function pairsOf(reader: SegmentReader, at: number): PairCountReport[] {
  const zones = layout.limits.maxZones;
  return [
    ...byVerdict(
      reader.bytes(at + COUNTERS + layout.workerCounters.pair, zones * zones * VERDICT_PLACES * BYTES),
    ),
  ].map(({ row, verdict, packets }) => ({
    fromZone: Math.floor(row / zones),
    toZone: row % zones,
    verdict,
    packets,
  }));
}

function flowsOf(reader: SegmentReader, at: number): FlowsReport {
  return {
    live: reader.load64(at + layout.worker.flowsLive),
    begun: reader.load64(at + layout.worker.flowsBegun),
    evicted: reader.load64(at + layout.worker.flowsEvicted),
    written: reader.load64(at + layout.worker.flowsWritten),
  };
}

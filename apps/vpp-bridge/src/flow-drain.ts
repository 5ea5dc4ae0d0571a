/**
 * Takes flow records from the rings of the data planes (DP-12).
 * It must never hold up a writer, and must hand on no record with a field out of its range.
 */
import { APPLICATIONS, REASONS, VERDICTS } from '@kedge/dataplane';
import { layout, type SegmentReader } from '@kedge/shared-memory-ipc';
import { isEpoch, isLevel, type Level } from '@kedge/units';

import type { OpenDataPlane } from './data-planes.js';
import { type Numbered, type Reading, readSlots, RingProgress } from './ring.js';
import { workerOffset } from './worker-report.js';

/** Why a record was written, in the order of the layout's `enum kedge_flow_end`, which begins with 1. */
export const FLOW_ENDS = ['idle', 'active', 'detected', 'forced', 'resources'] as const;

const WORD = 8;
const IP4_BYTES = 4;
const NO_ENTRY = 0xffff_ffff;
const DSCP_MAX = 63;
/** `reserved` of the key inside a record: its enum kedge_family. */
const KEY_FAMILY = layout.flowKey.destinationZone + 1;

/** A flow record as it stood in a ring; see struct kedge_flow_record. */
export interface FlowRecord {
  readonly firstAtNs: bigint;
  readonly lastAtNs: bigint;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly epoch: bigint;
  /** 4 or 16 bytes, both of the same length. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  /** Zone ids. */
  readonly fromZone: number;
  readonly toZone: number;
  /** Id of the entry that decided. */
  readonly entry: number | undefined;
  readonly level: Level;
  readonly verdict: (typeof VERDICTS)[number];
  readonly reason: (typeof REASONS)[number];
  readonly application: (typeof APPLICATIONS)[number];
  readonly end: (typeof FLOW_ENDS)[number];
  readonly tcpFlags: number;
  readonly dscp: number;
  readonly name: string;
  /** True where the front of a longer name is missing. */
  readonly nameCut: boolean;
}

/** Reads a worker's ring from record `from` on. What ended later than `nowNs` cannot be, and counts as a gap. */
export function readFlows(
  reader: SegmentReader,
  worker: number,
  from: bigint,
  nowNs: () => bigint,
): Reading<FlowRecord> {
  const at = workerOffset(worker);
  return readSlots(
    reader,
    {
      written: at + layout.worker.flowsWritten,
      slots: at + layout.worker.flow,
      slotSize: layout.flowSlot.size,
      slotCount: layout.limits.flowSlots,
      sequence: layout.flowSlot.sequence,
    },
    from,
    (slot) => recordOf(recordBytes(reader, slot + layout.flowSlot.record), nowNs()),
  );
}

/** The bytes of a record. Word by word: the look at the sequence number afterwards must not overtake them. */
function recordBytes(reader: SegmentReader, at: number): Buffer {
  const bytes = Buffer.alloc(layout.flowRecord.size);
  for (let word = 0; word < layout.flowRecord.size; word += WORD)
    bytes.writeBigUInt64LE(reader.load64(at + word), word);
  return bytes;
}

/** A record out of its bytes, or undefined where a field is out of its range. */
function recordOf(bytes: Buffer, nowNs: bigint): FlowRecord | undefined {
  const place = layout.flowRecord;
  const byte = (offset: number): number => bytes.readUInt8(offset);
  const key = bytes.subarray(place.key, place.key + layout.flowKey.size);
  const addresses = addressesOf(key);
  const entry = bytes.readUInt32LE(place.entry);
  const level = byte(place.level);
  const verdict = VERDICTS[byte(place.verdict) - 1];
  const reason = REASONS[byte(place.reason)];
  const application = APPLICATIONS[byte(place.application)];
  const end = FLOW_ENDS[byte(place.end) - 1];
  const name = nameOf(bytes);
  const numbers = {
    firstAtNs: bytes.readBigUInt64LE(place.firstAtNs),
    lastAtNs: bytes.readBigUInt64LE(place.lastAtNs),
    packets: bytes.readBigUInt64LE(place.packets),
    bytes: bytes.readBigUInt64LE(place.bytes),
    epoch: bytes.readBigUInt64LE(place.epoch),
    sourcePort: key.readUInt16LE(layout.flowKey.sourcePort),
    destinationPort: key.readUInt16LE(layout.flowKey.destinationPort),
    protocol: key.readUInt8(layout.flowKey.protocol),
    fromZone: key.readUInt8(layout.flowKey.sourceZone),
    toZone: key.readUInt8(layout.flowKey.destinationZone),
    tcpFlags: byte(place.tcpFlags),
    dscp: byte(place.dscp),
  };
  if (
    addresses === undefined ||
    name === undefined ||
    !isLevel(level) ||
    verdict === undefined ||
    reason === undefined ||
    application === undefined ||
    end === undefined ||
    (entry >= layout.limits.maxEntries && entry !== NO_ENTRY) ||
    !isEpoch(numbers.epoch) ||
    numbers.firstAtNs > numbers.lastAtNs ||
    numbers.lastAtNs > nowNs ||
    numbers.packets === 0n ||
    numbers.bytes < numbers.packets ||
    numbers.fromZone >= layout.limits.maxZones ||
    numbers.toZone >= layout.limits.maxZones ||
    numbers.dscp > DSCP_MAX
  )
    return undefined;
  return {
    ...numbers,
    ...addresses,
    ...name,
    entry: entry === NO_ENTRY ? undefined : entry,
    level,
    verdict,
    reason,
    application,
    end,
  };
}

function addressesOf(key: Buffer): Pick<FlowRecord, 'source' | 'destination'> | undefined {
  const whole = (from: number): Buffer => key.subarray(from, from + 16);
  const [source, destination] = [whole(layout.flowKey.source), whole(layout.flowKey.destination)];
  switch (key.readUInt8(KEY_FAMILY)) {
    case 0:
      if (![source, destination].every((bytes) => bytes.subarray(IP4_BYTES).every((byte) => byte === 0)))
        return undefined;
      return { source: source.subarray(0, IP4_BYTES), destination: destination.subarray(0, IP4_BYTES) };
    case 1:
      return { source, destination };
    default:
      return undefined;
  }
}

function nameOf(bytes: Buffer): Pick<FlowRecord, 'name' | 'nameCut'> | undefined {
  const place = layout.flowRecord;
  const [length, cut] = [bytes.readUInt8(place.nameBytes), bytes.readUInt8(place.nameCut)];
  if (length > layout.limits.flowNameBytes || cut > 1 || (cut === 1 && length === 0)) return undefined;
  const name = bytes.toString('latin1', place.name, place.name + length);
  return /^[!-~]*$/.test(name) ? { name, nameCut: cut === 1 } : undefined;
}

/** A record, where it came from, and the tables by which it may have been judged. */
export interface DrainedFlow {
  readonly dataplane: string;
  readonly worker: number;
  readonly flow: Numbered<FlowRecord>;
  /** Generations in use when its last packet was judged: one, or two around a change. */
  readonly generations: readonly bigint[];
}

/** Generations that a worker was seen with, the newest last. */
interface Seen {
  readonly generation: bigint;
  /** When it was seen first. */
  readonly sinceNs: bigint;
}
const MAX_SEEN = 4;

/** The reader's side of all flow rings. */
export class FlowDrain {
  readonly #nowNs: () => bigint;
  readonly #progress = new RingProgress();
  readonly #seen = new WeakMap<SegmentReader, Map<number, Seen[]>>();

  /** @param nowNs CLOCK_MONOTONIC nanoseconds. */
  constructor(nowNs: () => bigint) {
    this.#nowNs = nowNs;
  }

  /** Records of a data plane that nobody read before they were overwritten, or that could not be. */
  gaps(name: string): bigint {
    return this.#progress.gaps(name);
  }

  /** Takes what is new: at most a ring full of each worker. */
  drain(dataplanes: readonly OpenDataPlane[]): DrainedFlow[] {
    return dataplanes.flatMap((dataplane) =>
      Array.from({ length: layout.limits.maxWorkers }, (_, worker) => worker).flatMap((worker) => {
        const { name, reader } = dataplane;
        const seen = this.#look(reader, worker);
        const flows = this.#progress.take(dataplane, worker, (from) =>
          readFlows(reader, worker, from, this.#nowNs),
        );
        return flows.map((flow) => ({
          dataplane: name,
          worker,
          flow,
          generations: generationsAt(seen, flow.lastAtNs),
        }));
      }),
    );
  }

  #look(reader: SegmentReader, worker: number): readonly Seen[] {
    const workers = this.#seen.get(reader) ?? new Map<number, Seen[]>();
    this.#seen.set(reader, workers);
    const seen = workers.get(worker) ?? [];
    workers.set(worker, seen);
    const generation = reader.load64(workerOffset(worker) + layout.worker.generation);
    if (seen.at(-1)?.generation !== generation) seen.push({ generation, sinceNs: this.#nowNs() });
    if (seen.length > MAX_SEEN) seen.shift();
    return seen;
  }
}

/** What was in use at a moment. Between two looks the earlier or the later may have been. */
function generationsAt(seen: readonly Seen[], atNs: bigint): bigint[] {
  const later = seen.findIndex(({ sinceNs }) => sinceNs > atNs);
  const around = later < 0 ? seen.slice(-1) : seen.slice(Math.max(0, later - 1), later + 1);
  return around.map(({ generation }) => generation);
}

/**
 * The flow records and counters of worker 0 in a copy of a data plane's segment, by the shared layout.
 * It must follow no live segment: a copy may hold a slot that was half written, and such a slot is an error here.
 */
import { enums, layout } from '@kedge/shared-memory-ipc';

export interface FlowRecord {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly zones: readonly [from: number, to: number];
  readonly packets: number;
  readonly bytes: number;
  readonly epoch: number;
  readonly entry: number;
  readonly level: number;
  readonly verdict: number;
  readonly application: string;
  readonly end: number;
  readonly name: string;
}

const WORKER = layout.dataplane.worker;

function nameOf(value: number): string {
  const found = Object.entries(enums.application).find(([, number]) => number === value);
  if (found === undefined) throw new Error(`application ${value} is none`);
  return found[0];
}

/** Records ever written. */
export function flowsWritten(segment: Buffer): number {
  return Number(segment.readBigUInt64LE(WORKER + layout.worker.flowsWritten));
}

/** The IPv4 records from number `next` on. */
export function flowRecords(segment: Buffer, next: number): FlowRecord[] {
  const { flowKey, flowRecord: record, flowSlot } = layout;
  const found: FlowRecord[] = [];
  for (let n = next; n < flowsWritten(segment); n++) {
    const slot = WORKER + layout.worker.flow + (n % layout.limits.flowSlots) * flowSlot.size;
    if (segment.readBigUInt64LE(slot + flowSlot.sequence) !== BigInt(2 * n + 2))
      throw new Error(`record ${n} is not in its slot`);
    const at = slot + flowSlot.record;
    const key = at + record.key;
    const address = (field: number): string => [...segment.subarray(key + field, key + field + 4)].join('.');
    found.push({
      source: address(flowKey.source),
      destination: address(flowKey.destination),
      sourcePort: segment.readUInt16LE(key + flowKey.sourcePort),
      destinationPort: segment.readUInt16LE(key + flowKey.destinationPort),
      protocol: segment.readUInt8(key + flowKey.protocol),
      zones: [segment.readUInt8(key + flowKey.sourceZone), segment.readUInt8(key + flowKey.destinationZone)],
      packets: Number(segment.readBigUInt64LE(at + record.packets)),
      bytes: Number(segment.readBigUInt64LE(at + record.bytes)),
      epoch: Number(segment.readBigUInt64LE(at + record.epoch)),
      entry: segment.readUInt32LE(at + record.entry),
      level: segment.readUInt8(at + record.level),
      verdict: segment.readUInt8(at + record.verdict),
      application: nameOf(segment.readUInt8(at + record.application)),
      end: segment.readUInt8(at + record.end),
      name: segment.toString(
        'latin1',
        at + record.name,
        at + record.name + segment.readUInt8(at + record.nameBytes),
      ),
    });
  }
  return found;
}

/** Packets and bytes looked into, by application. */
export function applicationCounts(segment: Buffer): Record<string, { packets: number; bytes: number }> {
  const base = WORKER + layout.worker.counters + layout.workerCounters.application;
  return Object.fromEntries(
    Object.entries(enums.application).map(([name, number]) => [
      name,
      {
        packets: Number(segment.readBigUInt64LE(base + number * 16)),
        bytes: Number(segment.readBigUInt64LE(base + number * 16 + 8)),
      },
    ]),
  );
}

/**
 * Flow records as the bytes that a data plane writes, for tests.
 * Must not be used by shipped code.
 */
import { layout } from '@kedge/shared-memory-ipc';

/** A record in numbers; what is not named is that of a plain TCP flow. */
export interface FlowSpec {
  readonly firstAtNs: bigint;
  readonly lastAtNs: bigint;
  readonly packets?: bigint;
  readonly bytes?: bigint;
  readonly epoch?: bigint;
  readonly family?: number;
  readonly source?: readonly number[];
  readonly destination?: readonly number[];
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly protocol?: number;
  readonly fromZone?: number;
  readonly toZone?: number;
  readonly entry?: number;
  readonly level?: number;
  readonly verdict?: number;
  readonly reason?: number;
  readonly application?: number;
  readonly end?: number;
  readonly tcpFlags?: number;
  readonly dscp?: number;
  readonly name?: string;
  readonly nameBytes?: number;
  readonly nameCut?: number;
}

export const NO_ENTRY = 0xffff_ffff;

/** The bytes of a struct kedge_flow_record, as hexadecimal text. */
export function flowBytes(spec: FlowSpec): string {
  const bytes = Buffer.alloc(layout.flowRecord.size);
  const { flowRecord: place, flowKey } = layout;
  const name = Buffer.from(spec.name ?? '', 'latin1');
  bytes.writeBigUInt64LE(spec.firstAtNs, place.firstAtNs);
  bytes.writeBigUInt64LE(spec.lastAtNs, place.lastAtNs);
  bytes.writeBigUInt64LE(spec.packets ?? 12n, place.packets);
  bytes.writeBigUInt64LE(spec.bytes ?? 3_456n, place.bytes);
  bytes.writeBigUInt64LE(spec.epoch ?? 7n, place.epoch);
  Buffer.from(spec.source ?? [10, 77, 0, 10]).copy(bytes, place.key + flowKey.source);
  Buffer.from(spec.destination ?? [10, 77, 1, 20]).copy(bytes, place.key + flowKey.destination);
  bytes.writeUInt16LE(spec.sourcePort ?? 40_001, place.key + flowKey.sourcePort);
  bytes.writeUInt16LE(spec.destinationPort ?? 443, place.key + flowKey.destinationPort);
  bytes.writeUInt8(spec.protocol ?? 6, place.key + flowKey.protocol);
  bytes.writeUInt8(spec.fromZone ?? 2, place.key + flowKey.sourceZone);
  bytes.writeUInt8(spec.toZone ?? 3, place.key + flowKey.destinationZone);
  bytes.writeUInt8(spec.family ?? 0, place.key + flowKey.destinationZone + 1);
  bytes.writeUInt32LE(spec.entry ?? NO_ENTRY, place.entry);
  bytes.writeUInt8(spec.level ?? 4, place.level);
  bytes.writeUInt8(spec.verdict ?? 3, place.verdict);
  bytes.writeUInt8(spec.reason ?? 0, place.reason);
  bytes.writeUInt8(spec.application ?? 0, place.application);
  bytes.writeUInt8(spec.end ?? 1, place.end);
  bytes.writeUInt8(spec.tcpFlags ?? 0x1b, place.tcpFlags);
  bytes.writeUInt8(spec.dscp ?? 46, place.dscp);
  bytes.writeUInt8(spec.nameBytes ?? name.length, place.nameBytes);
  bytes.writeUInt8(spec.nameCut ?? 0, place.nameCut);
  name.copy(bytes, place.name);
  return bytes.toString('hex');
}

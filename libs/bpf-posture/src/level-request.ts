/**
 * What a value of the map `posture_level` says; the layout is include/kedge/bpf_posture.h.
 * It must not judge it.
 */
import { type BpfArrayShape } from '@kedge/shared-memory-ipc';
import { isLevel, KedgeError, type Level } from '@kedge/units';

/** One entry of 8 bytes that programs may write. */
export const LEVEL_SHAPE: BpfArrayShape = { valueSize: 8, entries: 1 };

/** A level that the host's programs ask for. */
export interface LevelRequest {
  readonly level: Level;
  /** Raised with every request by a writer that counts; 0 = it does not. */
  readonly sequence: number;
}

/**
 * Reads a value.
 *
 * @throws KedgeError `POSTURE_LEVEL` for anything but 1 to 5.
 */
export function levelRequestOf(value: bigint): LevelRequest {
  const level = Number(value & 0xffff_ffffn);
  if (!isLevel(level)) {
    throw new KedgeError({
      code: 'POSTURE_LEVEL',
      message: `cannot change the posture: the map posture_level holds ${level}, which is no posture level`,
      field: 'level',
      expected: '1 (lockdown) to 5 (normal)',
    });
  }
  return { level, sequence: Number((value >> 32n) & 0xffff_ffffn) };
}

/** The 8 bytes of a value, in the machine's own order (little endian on every machine that Kedge runs on). */
export function levelValueOf(level: number, sequence = 0): Buffer {
  const value = Buffer.alloc(LEVEL_SHAPE.valueSize);
  value.writeUInt32LE(level, 0);
  value.writeUInt32LE(sequence, 4);
  return value;
}

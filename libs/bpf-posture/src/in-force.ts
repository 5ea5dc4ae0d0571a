/**
 * The map `posture_in_force`: the level that the appliance obeys, published for the host's programs.
 * It must not be read by anything of Kedge to decide by; the posture board is for that.
 */
import { type BpfArray, type BpfArrayShape, openBpfArray } from '@kedge/shared-memory-ipc';
import { isLevel, type Level } from '@kedge/units';

/** One entry of 64 bytes that programs only read. */
export const IN_FORCE_SHAPE: BpfArrayShape = { valueSize: 64, entries: 1, programsOnlyRead: true };
const VERSION = 1;

/** An epoch with its level. */
export interface EpochLevel {
  readonly epoch: bigint;
  readonly level: Level;
}

/** What is published. */
export interface InForce {
  /** What packets obey. */
  readonly obeyed: EpochLevel;
  /** What was decided last: where the running transition leads. */
  readonly decided: EpochLevel;
  /** CLOCK_MONOTONIC. */
  readonly publishedAtNs: bigint;
}

const wordOf = ({ epoch, level }: EpochLevel): bigint => (epoch << 16n) | BigInt(level);

/** The 64 bytes of a value. */
export function inForceValueOf({ obeyed, decided, publishedAtNs }: InForce): Buffer {
  const value = Buffer.alloc(IN_FORCE_SHAPE.valueSize);
  value.writeBigUInt64LE(wordOf(obeyed), 0);
  value.writeBigUInt64LE(publishedAtNs, 8);
  value.writeBigUInt64LE(wordOf(decided), 16);
  value.writeUInt32LE(VERSION, 24);
  return value;
}

/** What stands in a map; undefined where nothing was published yet or it is of another version. */
export function inForceOf(map: Pick<BpfArray, 'load64'>): InForce | undefined {
  const read = (offset: number): EpochLevel | undefined => {
    const word = map.load64(offset);
    const level = Number(word & 7n);
    return isLevel(level) ? { epoch: word >> 16n, level } : undefined;
  };
  const [obeyed, decided] = [read(0), read(16)];
  if (Number(map.load64(24) & 0xffff_ffffn) !== VERSION || obeyed === undefined || decided === undefined)
    return undefined;
  return { obeyed, decided, publishedAtNs: map.load64(8) };
}

/** Opens the map to publish in; its pin has to belong to `owner`. @throws SegmentError BPFMAP_… */
export function openInForceToPublish(path: string, owner: number): BpfArray {
  return openBpfArray({ path, shape: IN_FORCE_SHAPE, owner, access: 'write' });
}

/** Opens the map to look. @throws SegmentError BPFMAP_… */
export function openInForceToRead(path: string, owner: number | 'any'): BpfArray {
  return openBpfArray({ path, shape: IN_FORCE_SHAPE, owner, access: 'look-up' });
}

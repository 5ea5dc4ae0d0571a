/**
 * The log of storage calls that the fault layer keeps, as data.
 * It must not judge what the calls mean; power-cut.ts does.
 */
import { type Op, OPS } from './layer.js';

/** One call that changed storage, made it durable, or was refused by a rule. */
export interface StorageCall {
  readonly op: Op;
  /** CLOCK_MONOTONIC nanoseconds around the call. */
  readonly beginNs: bigint;
  readonly endNs: bigint;
  readonly inode: bigint;
  /** `write`: where; `truncate`: the new length; `open`: 1 = the file was made, 0 = it was there. */
  readonly offset: number;
  /** `open`: the flags of open(2). */
  readonly flags: number;
  readonly pid: number;
  /** The errno of a call that a rule refused; 0 = it took effect. */
  readonly error: number;
  /** Absolute. */
  readonly path: string;
  /** `rename`, `link`: the new name. */
  readonly path2: string;
  readonly data: Buffer;
  /** Content of the snapshot file just before the call; empty when there was none. */
  readonly snapshot: Buffer;
}

const MAGIC = 0x3146644b;
const FRAME = 80;

/** Reads a log; a torn last frame (its process was killed) is left out. @throws RangeError on anything else. */
export function parseLog(bytes: Buffer): readonly StorageCall[] {
  const calls: StorageCall[] = [];
  const names = new Map<number, Op>(Object.entries(OPS).map(([name, number]) => [number, name as Op]));
  for (let at = 0; at + FRAME <= bytes.length;) {
    const op = names.get(bytes.readUInt32LE(at + 4));
    if (bytes.readUInt32LE(at) !== MAGIC || op === undefined) throw new RangeError(`no frame at byte ${at}`);
    let part = at + FRAME;
    const next = (lengthAt: number): Buffer => {
      const length = bytes.readUInt32LE(at + lengthAt);
      part += length;
      return bytes.subarray(part - length, part);
    };
    const [path, path2, data, snapshot] = [next(56), next(60), next(64), next(68)] as const;
    if (part > bytes.length) break;
    calls.push({
      op,
      beginNs: bytes.readBigUInt64LE(at + 8),
      endNs: bytes.readBigUInt64LE(at + 16),
      inode: bytes.readBigUInt64LE(at + 24),
      offset: Number(bytes.readBigUInt64LE(at + 32)),
      flags: bytes.readUInt32LE(at + 52),
      pid: bytes.readUInt32LE(at + 72),
      error: bytes.readUInt32LE(at + 48),
      path: path.toString(),
      path2: path2.toString(),
      data,
      snapshot,
    });
    at = part;
  }
  return calls;
}

/**
 * How records lie in a file of the spool: framed by length and checksum, so that a torn end is found.
 * It must not touch files.
 *
 * Frame, little-endian: magic u32, payload bytes u32, sequence u64, CRC-32 u32 over the sixteen bytes before it
 * and the payload, then the payload. A file starts with {@link FILE_HEAD} and then holds frames of consecutive
 * sequences and nothing else.
 */
import { crc32 } from 'node:zlib';

import { MAX_RECORD_BYTES } from './canonical.js';

const MAGIC = 0x6365724b; // "Krec"
/** Bytes of a frame before its payload. */
export const FRAME_HEAD_BYTES = 20;
/** The first bytes of every file. */
export const FILE_HEAD = Buffer.from('Kedge spool 1\n\0\0', 'latin1');

/** A whole frame. */
export interface Frame {
  readonly sequence: bigint;
  readonly payload: Buffer;
  /** Where the next one starts. */
  readonly end: number;
}

/** Frames a payload. */
export function frameOf(sequence: bigint, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + payload.length);
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(payload.length, 4);
  frame.writeBigUInt64LE(sequence, 8);
  frame.writeUInt32LE(crc32(payload, crc32(frame.subarray(0, 16))), 16);
  payload.copy(frame, FRAME_HEAD_BYTES);
  return frame;
}

/** The frame that starts at an offset; undefined where there is no whole and right one. */
export function frameAt(bytes: Buffer, offset: number): Frame | undefined {
  if (offset + FRAME_HEAD_BYTES > bytes.length || bytes.readUInt32LE(offset) !== MAGIC) return undefined;
  const length = bytes.readUInt32LE(offset + 4);
  const end = offset + FRAME_HEAD_BYTES + length;
  if (length > MAX_RECORD_BYTES || end > bytes.length) return undefined;
  const payload = bytes.subarray(offset + FRAME_HEAD_BYTES, end);
  if (crc32(payload, crc32(bytes.subarray(offset, offset + 16))) !== bytes.readUInt32LE(offset + 16))
    return undefined;
  return { sequence: bytes.readBigUInt64LE(offset + 8), payload, end };
}

/** True when a whole frame starts anywhere at or after an offset. */
export function anyFrameAfter(bytes: Buffer, offset: number): boolean {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(MAGIC);
  for (let at = bytes.indexOf(magic, offset); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    if (frameAt(bytes, at) !== undefined) return true;
  }
  return false;
}

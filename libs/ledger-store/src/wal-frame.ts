/**
 * How a group of entries lies in a write-ahead file: one frame, with the checkpoint over the tree that has them.
 * It must not touch files.
 *
 * A frame, little-endian: magic u32, bytes of the body u32, index of the first entry u64, CRC-32 u32 over the sixteen
 * bytes before it and the body. The body: number of entries u32, bytes of the note u32, the note as canonical JSON, the
 * entries as in a bundle. A file starts with {@link WAL_HEAD}, and holds whole frames and, behind them, zeros: room that
 * was made ready.
 */
import {
  canonicalJson,
  entriesOf,
  isTreeSize,
  MAX_ENTRY_BYTES,
  parseCanonicalJson,
  SIGNATURE_LENGTH,
  type UnsignedCheckpoint,
} from '@kedge/ledger';
import { crc32 } from 'node:zlib';

const MAGIC = 0x6c61774b; // "Kwal"
const HEAD_BYTES = 20;
const BODY_HEAD_BYTES = 8;
/** Largest body. A group ends long before. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** The first bytes of every file. */
export const WAL_HEAD = Buffer.from('Kedge wal 1\n\0\0\0\0', 'latin1');

/** What a frame says besides its entries. */
export interface WalNote {
  /** Signed, over all entries up to the last one of the frame. */
  readonly checkpoint: string;
  /** The cursors of all spools, by source and name. */
  readonly cursors: ReadonlyMap<string, bigint>;
  /** How far the file of the subjects' keys was durable before the frame was written. */
  readonly keys: { readonly file: number; readonly rows: number };
}

/** A whole frame. */
export interface WalFrame extends WalNote {
  /** Index of its first entry. */
  readonly first: number;
  readonly entries: readonly Buffer[];
  /** Where the next one starts. */
  readonly end: number;
}

/** A frame whose checkpoint is to be signed, and which has no CRC before that. */
export interface UnsignedFrame {
  /** Its bytes, also after it was signed: the signature is written into them. */
  readonly bytes: Buffer;
  /** What is to be signed. */
  readonly text: string;
  /** The note without its signature. */
  readonly note: string;
  /** Where the characters of the signature go. */
  readonly signatureAt: number;
}

/** Frames a group. */
export function walFrameOf(first: number, entries: readonly Uint8Array[], note: WalNote): Buffer {
  const frame = laidOut(first, entries, note);
  frame.writeUInt32LE(crc32(frame.subarray(HEAD_BYTES), crc32(frame.subarray(0, 16))), 16);
  return frame;
}

/** Frames a group under a checkpoint that the addon signs, with whatever else it then lacks. */
export function unsignedFrameOf(
  first: number,
  entries: readonly Uint8Array[],
  { checkpoint: { text, note }, ...rest }: Omit<WalNote, 'checkpoint'> & { checkpoint: UnsignedCheckpoint },
): UnsignedFrame {
  const bytes = laidOut(first, entries, { ...rest, checkpoint: note });
  const end = HEAD_BYTES + BODY_HEAD_BYTES + Buffer.byteLength(`{"checkpoint":${JSON.stringify(note)}`);
  return { bytes, text, note, signatureAt: end - String.raw`\n"`.length - SIGNATURE_LENGTH };
}

/** The checkpoint of a frame that was signed. */
export function signedIn({ bytes, note, signatureAt }: UnsignedFrame): string {
  const signature = bytes.toString('latin1', signatureAt, signatureAt + SIGNATURE_LENGTH);
  return `${note.slice(0, -1 - SIGNATURE_LENGTH)}${signature}\n`;
}

/** All of a frame but its CRC. */
function laidOut(first: number, entries: readonly Uint8Array[], note: WalNote): Buffer {
  const text = Buffer.from(
    canonicalJson({
      checkpoint: note.checkpoint,
      cursors: Object.fromEntries([...note.cursors].map(([name, value]) => [name, String(value)])),
      keys: { file: note.keys.file, rows: note.keys.rows },
    }),
  );
  let length = BODY_HEAD_BYTES + text.length;
  for (const entry of entries) length += 2 + entry.length;
  if (length > MAX_BODY_BYTES) throw new RangeError(`a group of ${length} bytes`);
  const frame = Buffer.allocUnsafe(HEAD_BYTES + length);
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(length, 4);
  frame.writeBigUInt64LE(BigInt(first), 8);
  frame.writeUInt32LE(entries.length, HEAD_BYTES);
  frame.writeUInt32LE(text.length, HEAD_BYTES + 4);
  text.copy(frame, HEAD_BYTES + BODY_HEAD_BYTES);
  let at = HEAD_BYTES + BODY_HEAD_BYTES + text.length;
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_BYTES) throw new RangeError(`an entry of ${entry.length} bytes`);
    frame.writeUInt16BE(entry.length, at);
    frame.set(entry, at + 2);
    at += 2 + entry.length;
  }
  return frame;
}

/** The frame that starts at an offset; undefined where there is no whole and right one. Its entries share the bytes. */
export function walFrameAt(bytes: Buffer, offset: number): WalFrame | undefined {
  if (offset + HEAD_BYTES > bytes.length || bytes.readUInt32LE(offset) !== MAGIC) return undefined;
  const length = bytes.readUInt32LE(offset + 4);
  const end = offset + HEAD_BYTES + length;
  if (length < BODY_HEAD_BYTES || length > MAX_BODY_BYTES || end > bytes.length) return undefined;
  const body = bytes.subarray(offset + HEAD_BYTES, end);
  if (crc32(body, crc32(bytes.subarray(offset, offset + 16))) !== bytes.readUInt32LE(offset + 16))
    return undefined;
  const first = Number(bytes.readBigUInt64LE(offset + 8));
  const textEnd = BODY_HEAD_BYTES + body.readUInt32LE(4);
  if (!isTreeSize(first) || textEnd > body.length) return undefined;
  const note = noteOf(body.subarray(BODY_HEAD_BYTES, textEnd));
  const entries = entriesOf(body.subarray(textEnd), body.readUInt32LE(0));
  return note === undefined || entries === undefined ? undefined : { first, entries, ...note, end };
}

/** True when a whole frame starts anywhere at or after an offset. */
export function anyWalFrameAfter(bytes: Buffer, offset: number): boolean {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(MAGIC);
  for (let at = bytes.indexOf(magic, offset); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    if (walFrameAt(bytes, at) !== undefined) return true;
  }
  return false;
}

function noteOf(bytes: Buffer): WalNote | undefined {
  let note: unknown;
  try {
    note = parseCanonicalJson(bytes);
  } catch {
    return undefined;
  }
  if (!isObject(note) || typeof note['checkpoint'] !== 'string') return undefined;
  const { checkpoint, cursors, keys } = note;
  if (!isObject(cursors) || !isObject(keys)) return undefined;
  const { file, rows } = keys;
  if (typeof file !== 'number' || typeof rows !== 'number') return undefined;
  const read = new Map<string, bigint>();
  for (const [name, value] of Object.entries(cursors)) {
    if (typeof value !== 'string' || !/^[0-9]{1,20}$/.test(value)) return undefined;
    read.set(name, BigInt(value));
  }
  return { checkpoint, cursors: read, keys: { file, rows } };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

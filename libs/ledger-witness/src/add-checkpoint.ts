/**
 * The request of a log to its witness as text, and the answers to it (C2SP tlog-witness).
 * It must not trust a request, nor send anything.
 */
import { HASH_BYTES, isTreeSize, MAX_NOTE_BYTES } from '@kedge/ledger';
import { createHash } from 'node:crypto';

/** Hashes of a consistency proof, at most. */
const PROOF_HASHES_MAX = 63;
const HASH_LINE_BYTES = 45;
const OLD_LINE_BYTES = 'old 9007199254740991\n\n'.length;
/** Largest request in bytes. */
export const MAX_REQUEST_BYTES = OLD_LINE_BYTES + PROOF_HASHES_MAX * HASH_LINE_BYTES + MAX_NOTE_BYTES;

/** A checkpoint that is offered, and why the witness may take it. */
export interface AddCheckpoint {
  /** Size of the checkpoint that the witness is thought to hold; 0 = none. */
  readonly oldSize: number;
  /** The consistency proof from that size. */
  readonly proof: readonly Buffer[];
  /** The checkpoint as a note. */
  readonly checkpoint: string;
}

/** An answer of HTTP. */
export interface Answer {
  readonly status: number;
  readonly type: 'text/plain; charset=utf-8' | 'text/x.tlog.size';
  readonly body: string;
}

/** An answer that says why, in a line. */
export function refusal(status: number, why: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${why}\n` };
}

/** The answer that names the size that the witness holds. */
export function sizeAnswer(size: number): Answer {
  return { status: 409, type: 'text/x.tlog.size', body: `${size}\n` };
}

/** A request as the body of a POST. */
export function addCheckpointText({ oldSize, proof, checkpoint }: AddCheckpoint): string {
  return [`old ${oldSize}`, ...proof.map((hash) => hash.toString('base64')), '', checkpoint].join('\n');
}

/** The request that a body stands for; undefined where it is none. */
export function addCheckpointOf(body: Uint8Array): AddCheckpoint | undefined {
  if (body.length > MAX_REQUEST_BYTES) return undefined;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
  const text = bytes.toString('utf8');
  const blank = text.indexOf('\n\n');
  if (blank < 0 || !Buffer.from(text).equals(bytes)) return undefined;
  const [old, ...lines] = text.slice(0, blank).split('\n');
  const digits = /^old (0|[1-9][0-9]{0,15})$/.exec(old ?? '')?.[1];
  const oldSize = Number(digits);
  const proof = lines.map((line) => Buffer.from(line, 'base64'));
  const isOne =
    digits !== undefined &&
    isTreeSize(oldSize) &&
    proof.length <= PROOF_HASHES_MAX &&
    proof.every((hash, at) => hash.length === HASH_BYTES && hash.toString('base64') === lines[at]);
  return isOne ? { oldSize, proof, checkpoint: text.slice(blank + 2) } : undefined;
}

/** The size that the body of a 409 names; undefined for any other text. */
export function sizeOf(body: string): number | undefined {
  const digits = /^(0|[1-9][0-9]{0,15})\n$/.exec(body)?.[1];
  const size = Number(digits);
  return digits !== undefined && isTreeSize(size) ? size : undefined;
}

/** The name under which a witness shows what it holds of a log: SHA-256 of the log's name, hexadecimal. */
export function originHash(origin: string): string {
  return createHash('sha256').update(origin).digest('hex');
}

/**
 * Checkpoints (C2SP tlog-checkpoint): the name, size and root of a log as a signed note, and proofs that stand on one.
 * It must not trust a checkpoint for anything but what its log has signed.
 */
import { KedgeError } from '@kedge/units';

import { EMPTY_ROOT, HASH_BYTES, isIncluded, isTreeSize } from './merkle-tree.js';
import {
  MAX_NOTE_BYTES,
  type NoteSignature,
  type NoteSigner,
  type NoteVerifier,
  openNote,
  signNote,
  unsignedNote,
} from './signed-note.js';

/** What a log says of itself at one time. */
export interface Checkpoint {
  /** Name of the log, the same as that of its key: "kedge.example/box-7". */
  readonly origin: string;
  /** Entries, at most 2^53 - 1. */
  readonly size: number;
  readonly root: Buffer;
}

/** A checkpoint whose signatures hold. */
export interface OpenedCheckpoint extends Checkpoint {
  /** The witnesses that have cosigned it, as far as they are known. */
  readonly witnesses: readonly NoteSignature[];
}

const PROOF_HEAD = 'c2sp.org/tlog-proof@v1';
const PROOF_HASHES_MAX = 64;
const PROOF_LENGTH_MAX = 2 * MAX_NOTE_BYTES;

/**
 * A checkpoint as a note, signed by its log.
 *
 * @throws KedgeError `LEDGER_CHECKPOINT` (the signer has another name than the log), `LEDGER_NOTE_TEXT`.
 */
export function signCheckpoint(checkpoint: Checkpoint, signer: NoteSigner): string {
  return signNote(textOf(checkpoint, signer), signer);
}

/** A checkpoint that is signed elsewhere. */
export interface UnsignedCheckpoint {
  /** What is to be signed. */
  readonly text: string;
  /** The note as {@link unsignedNote} leaves it. */
  readonly note: string;
}

/** A checkpoint for whoever signs it elsewhere. @throws as {@link signCheckpoint} does. */
export function unsignedCheckpoint(checkpoint: Checkpoint, signer: NoteSigner): UnsignedCheckpoint {
  const text = textOf(checkpoint, signer);
  return { text, note: unsignedNote(text, signer) };
}

function textOf({ origin, size, root }: Checkpoint, signer: NoteSigner): string {
  const text = `${origin}\n${size}\n${root.toString('base64')}\n`;
  if (signer.name !== origin || checkpointOf(text) === undefined) {
    throw wrongCheckpoint('a size, a root of 32 bytes, and the name of the log as that of its key');
  }
  return text;
}

/**
 * Reads a checkpoint that its log has signed.
 *
 * @param log the key of the log that is asked for.
 * @param witnesses keys whose cosignatures are looked at.
 * @throws KedgeError `LEDGER_NOTE_MALFORMED`, `LEDGER_NOTE_FORGED`, `LEDGER_NOTE_UNKNOWN` (the log did not sign it),
 *   `LEDGER_CHECKPOINT` (it signed something else than a checkpoint of itself; extension lines are refused, since
 *   nothing that watches a log can check them).
 */
export function openCheckpoint(
  note: string | Uint8Array,
  log: NoteVerifier,
  witnesses: readonly NoteVerifier[] = [],
): OpenedCheckpoint {
  if (log.kind !== 'log') throw wrongCheckpoint('the key of a log, and not of a witness');
  // First the log alone: a witness cannot speak for it.
  openNote(note, [log]);
  const { text, signatures } = openNote(note, [log, ...witnesses]);
  const checkpoint = checkpointOf(text);
  if (checkpoint?.origin !== log.name) {
    throw wrongCheckpoint(`a checkpoint of ${log.name}: its name, a size, a root, and nothing else`);
  }
  return { ...checkpoint, witnesses: signatures.filter(({ by }) => by.kind === 'witness') };
}

/** The checkpoint that a text is; undefined where it is none. */
function checkpointOf(text: string): Checkpoint | undefined {
  const [, origin, digits, encoded] =
    /^([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n$/.exec(text) ?? [];
  if (origin === undefined || digits === undefined || encoded === undefined) return undefined;
  const size = Number(digits);
  const root = Buffer.from(encoded, 'base64');
  if (!isTreeSize(size) || root.toString('base64') !== encoded) return undefined;
  return size > 0 || root.equals(EMPTY_ROOT) ? { origin, size, root } : undefined;
}

/** That an entry stands in a log, to be shown to somebody who has the log's key and nothing else (tlog-proof). */
export interface EntryProof {
  readonly index: number;
  /** The audit path in the tree of the checkpoint. */
  readonly proof: readonly Buffer[];
  /** The checkpoint as its log signed it, and witnesses with it. */
  readonly checkpoint: string;
}

/** A proof as text, to be kept in a file of its own. */
export function proofText({ index, proof, checkpoint }: EntryProof): string {
  const lines = [
    PROOF_HEAD,
    `index ${index}`,
    ...proof.map((each) => each.toString('base64')),
    '',
    checkpoint,
  ];
  return lines.join('\n');
}

/**
 * The proof that text stands for. Nothing in it is trusted before {@link isProven}.
 *
 * @throws KedgeError `LEDGER_PROOF_TEXT`
 */
export function proofOf(text: string): EntryProof {
  const blank = text.length > PROOF_LENGTH_MAX ? 0 : text.indexOf('\n\n');
  const [head, numbered, ...hashes] = text.slice(0, Math.max(blank, 0)).split('\n');
  const digits = /^index (0|[1-9][0-9]{0,15})$/.exec(numbered ?? '')?.[1];
  const proof = hashes.map((line) => Buffer.from(line, 'base64'));
  const index = Number(digits);
  const isOne =
    head === PROOF_HEAD &&
    digits !== undefined &&
    isTreeSize(index) &&
    proof.length <= PROOF_HASHES_MAX &&
    proof.every((each, at) => each.length === HASH_BYTES && each.toString('base64') === hashes[at]);
  if (!isOne) {
    throw new KedgeError({
      code: 'LEDGER_PROOF_TEXT',
      message: 'cannot read the text as a proof of an entry',
      expected: `${PROOF_HEAD}, an index, hashes, an empty line, and a checkpoint`,
    });
  }
  return { index, proof, checkpoint: text.slice(blank + 2) };
}

/**
 * True when a proof shows that a leaf stands in the log at the index that the proof says.
 *
 * @param leaf the hash of the entry as a leaf.
 * @throws KedgeError as {@link openCheckpoint} does.
 */
export function isProven(
  leaf: Uint8Array,
  { index, proof, checkpoint }: EntryProof,
  log: NoteVerifier,
): boolean {
  const { size, root } = openCheckpoint(checkpoint, log);
  return isIncluded({ leaf, index, size, root, proof });
}

function wrongCheckpoint(expected: string): KedgeError {
  return new KedgeError({ code: 'LEDGER_CHECKPOINT', message: 'cannot use the checkpoint', expected });
}

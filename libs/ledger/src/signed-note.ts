/**
 * Signed notes (C2SP): a text with Ed25519 signatures under it, and the keys that sign and verify them as text.
 * It must not read a text before a signature of a known key holds, nor make or keep private keys.
 */
import { KedgeError } from '@kedge/units';
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto';

/** Largest note in bytes; room for a checkpoint with many cosignatures. */
export const MAX_NOTE_BYTES = 65_536;
/** Signatures of a note, at most. */
export const MAX_SIGNATURES = 64;
const MAX_NAME_LENGTH = 255;

/**
 * What a signature says. `log`: the owner of the key says the text (signature type 1). `witness`: at a time, the owner
 * had seen nothing that contradicts the checkpoint (type 4, tlog-cosignature).
 */
export type SignatureKind = 'log' | 'witness';
const TYPES: Readonly<Record<SignatureKind, number>> = { log: 1, witness: 4 };
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const TIME_BYTES = 8;

/** A key that verifies. Name and id together name it. */
export interface NoteVerifier {
  readonly name: string;
  /** Unsigned, 32 bits. */
  readonly id: number;
  readonly kind: SignatureKind;
  readonly key: KeyObject;
  /** All of it as text, to be configured elsewhere: `NAME+ID+KEY`. */
  readonly text: string;
}

/** A key that signs. */
export interface NoteSigner extends NoteVerifier {
  readonly privateKey: KeyObject;
}

/** A signature that holds. */
export interface NoteSignature {
  readonly by: NoteVerifier;
  /** When a witness signed, seconds since 1970; undefined for a log. */
  readonly atS: number | undefined;
}

/** A note of which at least one signature of a known key holds, and none does not. */
export interface OpenedNote {
  /** With its last newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
  /** Signatures of keys that are not known; nothing follows from them. */
  readonly unknown: number;
}

/**
 * The key that text stands for.
 *
 * @throws KedgeError `LEDGER_KEY_TEXT`, also for a key of an algorithm that is not known, or with an id of another.
 */
export function verifierOf(text: string): NoteVerifier {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  if (name === undefined || id === undefined || encoded === undefined || !isKeyName(name)) throw wrongKey();
  const bytes = bytesOf(encoded);
  const kind = (['log', 'witness'] as const).find((each) => TYPES[each] === bytes?.[0]);
  if (bytes === undefined || kind === undefined || bytes.length !== 1 + KEY_BYTES) throw wrongKey();
  const verifier = verifierFrom(name, kind, bytes.subarray(1));
  if (verifier.text !== text) throw wrongKey();
  return verifier;
}

/**
 * A signer over a private key.
 *
 * @param privateKey Ed25519; stays the caller's. One key signs as a log or as a witness, never as both.
 * @throws KedgeError `LEDGER_KEY_NAME`, `LEDGER_KEY_KIND`.
 */
export function signerOf(name: string, privateKey: KeyObject, kind: SignatureKind = 'log'): NoteSigner {
  if (!isKeyName(name)) {
    throw new KedgeError({
      code: 'LEDGER_KEY_NAME',
      message: 'cannot sign for the ledger under this name',
      field: 'name',
      expected: `1 to ${MAX_NAME_LENGTH} characters without spaces and without +`,
    });
  }
  if (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519') {
    throw new KedgeError({
      code: 'LEDGER_KEY_KIND',
      message: `cannot sign for the ledger as ${name} with this key`,
      expected: 'a private Ed25519 key',
    });
  }
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
  return { ...verifierFrom(name, kind, Buffer.from(x ?? '', 'base64url')), privateKey };
}

/**
 * A text as a note with the signature of a log.
 *
 * @param text ends with a newline.
 * @throws KedgeError `LEDGER_NOTE_TEXT`, `LEDGER_KEY_KIND` (a witness signs what a log has signed).
 */
export function signNote(text: string, signer: NoteSigner): string {
  return noteWith(text, signer, (bytes) => sign(null, bytes, signer.privateKey));
}

/** Characters of a signature of a log as it stands at the end of a note, before its newline: key id and signature. */
export const SIGNATURE_LENGTH = 92;

/**
 * A text as a note with room for the signature of a log: its id is there, and zeros in place of the signature, in the
 * last {@link SIGNATURE_LENGTH} characters before the last newline. For whoever signs it elsewhere.
 *
 * @throws as {@link signNote} does.
 */
export function unsignedNote(text: string, signer: NoteSigner): string {
  return noteWith(text, signer, () => NO_SIGNATURE);
}

const NO_SIGNATURE = Buffer.alloc(SIGNATURE_BYTES);

function noteWith(text: string, signer: NoteSigner, signed: (bytes: Buffer) => Buffer): string {
  if (!isNoteText(text) || Buffer.byteLength(text) > MAX_NOTE_BYTES / 2) {
    throw new KedgeError({
      code: 'LEDGER_NOTE_TEXT',
      message: `cannot sign the text as ${signer.name}`,
      expected: 'lines of UTF-8 without control characters, each with a newline at its end',
    });
  }
  if (signer.kind !== 'log') throw wrongSigner(signer, 'the key of a log');
  return `${text}\n${signatureLine(signer, signed(Buffer.from(text)))}`;
}

/**
 * A note with one more signature, that of a witness. Who signs has verified the note and its consistency with all
 * that was seen of the log before.
 *
 * @param atS when it was verified, seconds since 1970.
 * @throws KedgeError `LEDGER_NOTE_MALFORMED`, `LEDGER_KEY_KIND`.
 */
export function cosigned(note: string, signer: NoteSigner, atS: number): string {
  const { text, lines } = partsOf(note);
  if (signer.kind !== 'witness') throw wrongSigner(signer, 'the key of a witness');
  if (!Number.isSafeInteger(atS) || atS < 0)
    throw new RangeError('the time is no number of seconds since 1970');
  if (lines.length === MAX_SIGNATURES) throw malformed(`at most ${MAX_SIGNATURES} signatures`);
  const stamp = Buffer.alloc(TIME_BYTES);
  stamp.writeBigUInt64BE(BigInt(atS));
  const signature = sign(null, cosignedMessage(text, atS), signer.privateKey);
  const more = note + signatureLine(signer, Buffer.concat([stamp, signature]));
  if (Buffer.byteLength(more) > MAX_NOTE_BYTES) throw malformed(`at most ${MAX_NOTE_BYTES} bytes`);
  return more;
}

/**
 * Reads a note whose signatures hold.
 *
 * @param note text, or its bytes as they were received.
 * @throws KedgeError `LEDGER_NOTE_MALFORMED`, `LEDGER_NOTE_FORGED` (a signature of a known key does not hold),
 *   `LEDGER_NOTE_UNKNOWN` (no known key signed it).
 */
export function openNote(note: string | Uint8Array, known: readonly NoteVerifier[]): OpenedNote {
  const { text, lines } = partsOf(note);
  const signatures: NoteSignature[] = [];
  let unknown = 0;
  for (const { name, id, bytes } of lines) {
    const by = known.find((verifier) => verifier.name === name && verifier.id === id);
    if (by === undefined) {
      unknown += 1;
      continue;
    }
    const held = signatureOf(by, text, bytes);
    if (held === undefined) {
      throw new KedgeError({
        code: 'LEDGER_NOTE_FORGED',
        message: `cannot trust the note: the signature of ${name} does not hold`,
        expected: 'the text that was signed',
      });
    }
    signatures.push(held);
  }
  if (signatures.length === 0) {
    throw new KedgeError({
      code: 'LEDGER_NOTE_UNKNOWN',
      message: 'cannot trust the note: no known key has signed it',
      expected: `a signature of ${known.map(({ name }) => name).join(' or ')}`,
    });
  }
  return { text, signatures, unknown };
}

interface SignatureLine {
  readonly name: string;
  readonly id: number;
  readonly bytes: Buffer;
}

/** Takes a note apart without trusting it. */
function partsOf(given: string | Uint8Array): { text: string; lines: readonly SignatureLine[] } {
  const bytes = Buffer.from(given);
  if (bytes.length > MAX_NOTE_BYTES) throw malformed(`at most ${MAX_NOTE_BYTES} bytes`);
  const note = typeof given === 'string' ? given : bytes.toString('utf8');
  if (!Buffer.from(note).equals(bytes)) throw malformed('UTF-8');
  const blank = note.lastIndexOf('\n\n');
  if (blank < 0 || !isNoteText(note)) throw malformed('lines of text, an empty line, and signatures');
  const text = note.slice(0, blank + 1);
  const rows = note.slice(blank + 2, -1).split('\n');
  if (rows.length > MAX_SIGNATURES) throw malformed(`at most ${MAX_SIGNATURES} signatures`);
  return { text, lines: rows.map(signatureLineOf) };
}

function signatureLineOf(row: string): SignatureLine {
  const [, name, encoded] = /^\u2014 ([^ ]+) ([A-Za-z0-9+/]+={0,2})$/u.exec(row) ?? [];
  const bytes = encoded === undefined ? undefined : bytesOf(encoded);
  if (name === undefined || !isKeyName(name) || bytes === undefined || bytes.length <= 4) {
    throw malformed('signatures of the form "— NAME BASE64"');
  }
  return { name, id: bytes.readUInt32BE(0), bytes: bytes.subarray(4) };
}

function signatureLine({ name, id }: NoteSigner, signature: Buffer): string {
  const key = Buffer.alloc(4);
  key.writeUInt32BE(id);
  return `\u2014 ${name} ${Buffer.concat([key, signature]).toString('base64')}\n`;
}

function signatureOf(by: NoteVerifier, text: string, bytes: Buffer): NoteSignature | undefined {
  if (by.kind === 'log') {
    const holds = bytes.length === SIGNATURE_BYTES && verify(null, Buffer.from(text), by.key, bytes);
    return holds ? { by, atS: undefined } : undefined;
  }
  if (bytes.length !== TIME_BYTES + SIGNATURE_BYTES) return undefined;
  const time = bytes.readBigUInt64BE(0);
  if (time > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  const atS = Number(time);
  const holds = verify(null, cosignedMessage(text, atS), by.key, bytes.subarray(TIME_BYTES));
  return holds ? { by, atS } : undefined;
}

function cosignedMessage(text: string, atS: number): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${atS}\n${text}`);
}

function verifierFrom(name: string, kind: SignatureKind, raw: Buffer): NoteVerifier {
  const typed = Buffer.concat([Buffer.from([TYPES[kind]]), raw]);
  const id = hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), typed]), 'buffer').readUInt32BE(0);
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') },
    format: 'jwk',
  });
  const text = `${name}+${id.toString(16).padStart(8, '0')}+${typed.toString('base64')}`;
  return { name, id, kind, key, text };
}

function isKeyName(name: string): boolean {
  return name.length > 0 && name.length <= MAX_NAME_LENGTH && !/[\p{White_Space}\p{Cc}\p{Cs}+]/u.test(name);
}

/** UTF-8 without control characters but newlines, one of them at the end. */
function isNoteText(text: string): boolean {
  // The C1 controls are no ASCII and may stand in a note.
  return text.endsWith('\n') && !/[^\P{Cc}\n\u007f-\u009f]|\p{Cs}/u.test(text);
}

/** The bytes of base64, undefined where they would be written in another way. */
function bytesOf(encoded: string): Buffer | undefined {
  const bytes = Buffer.from(encoded, 'base64');
  return bytes.toString('base64') === encoded ? bytes : undefined;
}

function malformed(expected: string): KedgeError {
  return new KedgeError({ code: 'LEDGER_NOTE_MALFORMED', message: 'cannot read the note', expected });
}

function wrongKey(): KedgeError {
  return new KedgeError({
    code: 'LEDGER_KEY_TEXT',
    message: 'cannot read the text as a key that verifies the ledger',
    expected: 'NAME+ID+KEY with an Ed25519 key and the id that follows from it',
  });
}

function wrongSigner({ name }: NoteSigner, expected: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_KEY_KIND',
    message: `cannot sign for the ledger as ${name} with this key`,
    expected,
  });
}

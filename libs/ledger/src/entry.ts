/**
 * Entries of the ledger: records whose personal fields are sealed under a key of their subject, so that destroying the
 * key erases them and no hash changes (LE-9).
 * It must not make, keep or destroy keys.
 *
 * A sealed field is an object in place of its string: {"sealed":{"data":BASE64,"key":ID}}. `data` is the ciphertext
 * and tag of AES-256-GCM over the string's length (16 bits), its UTF-8 and zeros up to a multiple of 32 bytes, after
 * its nonce. Schema, id and place of the record are authenticated with it. The nonce is a keyed hash of all that is
 * encrypted, so that the same record is the same entry however often it is sealed.
 */
import { type LedgerRecord, PERSONAL_FIELDS, type PersonalField, RECORD_SCHEMAS } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject } from 'node:crypto';

import { checkedRecord, invalidRecord, recordBytes } from './canonical.js';
import { canonicalJson, parseCanonicalJson } from './canonical-json.js';
import { MAX_ENTRY_BYTES } from './tiles.js';

/** Bytes of a subject's key. */
export const SUBJECT_KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PADDING = 32;

/**
 * The key of a subject, made ready for its uses. Who destroys the 32 bytes that it came from lets go of this as well.
 */
export interface SubjectKey {
  /** Made from the key alone, so that it tells nothing of the subject once the key is gone. */
  readonly id: string;
  readonly sealing: KeyObject;
  readonly nonces: KeyObject;
  /** Both as 64 bytes, for whoever seals without node:crypto. */
  readonly bytes: Buffer;
}

/**
 * Seals a value for a place: what {@link sealRecord} does for each personal field, where it is not given another that
 * makes the same bytes. Base64.
 */
export type Seal = (value: string, key: SubjectKey, place: string) => string;

/** Gives the key of a subject, the same one as long as it is not destroyed. */
export type KeyOfSubject = (subject: string) => SubjectKey;
/** Gives the key with an id; undefined where it was destroyed, or never was here. */
export type KeyById = (id: string) => SubjectKey | undefined;

/** A record that came out of the ledger. */
export interface OpenedEntry {
  /** As it was given; an erased field is the empty string. */
  readonly record: LedgerRecord;
  /** Fields whose key is gone. */
  readonly erased: readonly (readonly string[])[];
  /** Ids of the keys of the subjects that it speaks of; the only thing that is left of an erased one. */
  readonly keys: readonly string[];
}

/**
 * Makes a key ready.
 *
 * @param bytes 32 random ones; stay the caller's.
 * @throws RangeError for another number of bytes.
 */
export function subjectKeyOf(bytes: Uint8Array): SubjectKey {
  if (bytes.length !== SUBJECT_KEY_BYTES)
    throw new RangeError(`a subject's key has ${SUBJECT_KEY_BYTES} bytes`);
  // One key for each use, so that none says anything of another.
  const derived = (use: string): Buffer =>
    createHmac('sha256', bytes).update(`kedge subject ${use} 1`).digest();
  const [sealing, nonces] = [derived('seal'), derived('nonce')];
  return {
    id: derived('key id').toString('hex').slice(0, 16),
    sealing: createSecretKey(sealing),
    nonces: createSecretKey(nonces),
    bytes: Buffer.concat([sealing, nonces]),
  };
}

/**
 * A record as the bytes of its entry: the same ones for the same record and the same keys.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`, naming the field.
 */
export function sealEntry(given: unknown, keyOf: KeyOfSubject): Buffer {
  return sealRecord(checkedRecord(given), keyOf);
}

/**
 * The entry of a record that was checked against its schema, by {@link checkedRecord} or {@link decodeRecord}.
 *
 * @param seal another way to the same bytes.
 * @throws KedgeError `LEDGER_RECORD_INVALID`, for one that is too large.
 */
export function sealRecord(record: LedgerRecord, keyOf: KeyOfSubject, seal: Seal = sealValue): Buffer {
  let entry: unknown = record;
  for (const field of PERSONAL_FIELDS[record.schema]) {
    const [value, subject] = [textAt(record, field.path), textAt(record, field.subject)];
    if (value === '' || subject === '') continue;
    const key = keyOf(subject);
    const data = seal(value, key, placeOf(record, field));
    entry = withAt(entry, field.path, { sealed: { data, key: key.id } });
  }
  const bytes = recordBytes(entry);
  if (bytes.length > MAX_ENTRY_BYTES) throw invalidRecord('', `an entry of at most ${MAX_ENTRY_BYTES} bytes`);
  return bytes;
}

/**
 * The record of an entry, with the personal fields whose keys are still there.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`, `LEDGER_SEAL_BROKEN` (a field does not open with the key that it names).
 */
export function openEntry(bytes: Uint8Array, keyBy: KeyById): OpenedEntry {
  const { entry, head, fields } = partsOf(bytes);
  const erased: (readonly string[])[] = [];
  let opened: unknown = entry;
  for (const [field, { data, key: id }] of fields) {
    const key = keyBy(id);
    if (key === undefined) erased.push(field.path);
    const value = key === undefined ? '' : unsealed(data, key, placeOf(head, field));
    if (value === undefined) throw broken(field);
    opened = withAt(opened, field.path, value);
  }
  const keys = [...new Set([...fields.values()].map(({ key }) => key))];
  return { record: checkedRecord(opened), erased, keys };
}

/**
 * The record of an entry for somebody who shall not know its people: each personal field is a pseudonym, the same one
 * for the same subject as long as its key is the same. No key is needed.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`
 */
export function pseudonymised(bytes: Uint8Array): LedgerRecord {
  const { entry, fields } = partsOf(bytes);
  return checkedRecord(
    [...fields].reduce<unknown>((at, [{ path }, { key }]) => withAt(at, path, `subject:${key}`), entry),
  );
}

interface Sealed {
  readonly data: string;
  readonly key: string;
}

type Head = Pick<LedgerRecord, 'schema' | 'id'>;

/** An entry taken apart; what is not sealed is not checked yet. */
function partsOf(bytes: Uint8Array): {
  readonly entry: Readonly<Record<string, unknown>>;
  readonly head: Head;
  readonly fields: ReadonlyMap<PersonalField, Sealed>;
} {
  if (bytes.length > MAX_ENTRY_BYTES) throw invalidRecord('', `an entry of at most ${MAX_ENTRY_BYTES} bytes`);
  let entry: unknown;
  try {
    entry = parseCanonicalJson(bytes);
  } catch (error) {
    throw invalidRecord('', 'canonical JSON', error);
  }
  if (!isObject(entry)) throw invalidRecord('', 'a record');
  const schema = RECORD_SCHEMAS.find((name) => entry['schema'] === name);
  if (schema === undefined) throw invalidRecord('schema', 'a schema of records');
  const fields = new Map<PersonalField, Sealed>();
  for (const field of PERSONAL_FIELDS[schema]) {
    const value = valueAt(entry, field.path);
    if (isObject(value)) fields.set(field, sealedOf(value, field));
  }
  return { entry, head: { schema, id: textAt(entry, ['id']) }, fields };
}

function sealedOf(value: Readonly<Record<string, unknown>>, { path }: PersonalField): Sealed {
  const inner = value['sealed'];
  if (Object.keys(value).length === 1 && isObject(inner) && Object.keys(inner).length === 2) {
    const { data, key } = inner;
    const isData = typeof data === 'string' && Buffer.from(data, 'base64').toString('base64') === data;
    if (isData && typeof key === 'string' && /^[0-9a-f]{16}$/.test(key)) return { data, key };
  }
  throw invalidRecord(path.join('.'), 'a sealed field');
}

/** See {@link Seal}. */
export function sealValue(value: string, { sealing, nonces }: SubjectKey, place: string): string {
  const text = Buffer.from(value, 'utf8');
  const plain = Buffer.alloc(Math.ceil((2 + text.length) / PADDING) * PADDING);
  plain.writeUInt16BE(text.length, 0);
  plain.set(text, 2);
  const nonce = createHmac('sha256', nonces).update(place).update(plain).digest().subarray(0, NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', sealing, nonce).setAAD(Buffer.from(place));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('base64');
}

/** Undefined where it was not sealed with this key for this place. */
function unsealed(data: string, { sealing }: SubjectKey, place: string): string | undefined {
  const bytes = Buffer.from(data, 'base64');
  if (bytes.length < NONCE_BYTES + PADDING + TAG_BYTES) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', sealing, bytes.subarray(0, NONCE_BYTES));
  decipher.setAAD(Buffer.from(place)).setAuthTag(bytes.subarray(-TAG_BYTES));
  let plain: Buffer;
  try {
    plain = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  }
  const end = 2 + plain.readUInt16BE(0);
  return end <= plain.length ? plain.toString('utf8', 2, end) : undefined;
}

/** What a sealed field is bound to: it opens nowhere else. */
function placeOf({ schema, id }: Head, { path }: PersonalField): string {
  return canonicalJson([schema, id, path]);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, name) => (isObject(at) ? at[name] : undefined), value);
}

function textAt(value: unknown, path: readonly string[]): string {
  const text = valueAt(value, path);
  return typeof text === 'string' ? text : '';
}

/** A copy with another value at a path; what does not lie on it is shared. */
function withAt(target: unknown, [name, ...rest]: readonly string[], value: unknown): unknown {
  if (name === undefined) return value;
  return isObject(target) ? { ...target, [name]: withAt(target[name], rest, value) } : target;
}

function broken({ path }: PersonalField): KedgeError {
  return new KedgeError({
    code: 'LEDGER_SEAL_BROKEN',
    message:
      'cannot open a personal field: it was not sealed with the key that it names, or not for this record',
    field: path.join('.'),
    expected: 'the key of its subject',
  });
}

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
import { createCipheriv, createDecipheriv, createHmac, hash } from 'node:crypto';

import { checkedRecord, encodeRecord, invalidRecord } from './canonical.js';
import { canonicalJson, parseCanonicalJson } from './canonical-json.js';
import { MAX_ENTRY_BYTES } from './tiles.js';

/** Bytes of a subject's key. */
export const SUBJECT_KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PADDING = 32;

/** Gives the key of a subject: 32 random bytes, the same ones as long as it is not destroyed. */
export type KeyOfSubject = (subject: string) => Uint8Array;
/** Gives the key with an id; undefined where it was destroyed, or never was here. */
export type KeyById = (id: string) => Uint8Array | undefined;

/** A record that came out of the ledger. */
export interface OpenedEntry {
  /** As it was given; an erased field is the empty string. */
  readonly record: LedgerRecord;
  /** Fields whose key is gone. */
  readonly erased: readonly (readonly string[])[];
  /** Ids of the keys of the subjects that it speaks of; the only thing that is left of an erased one. */
  readonly keys: readonly string[];
}

interface Sealed {
  readonly data: string;
  readonly key: string;
}

/** The id of a subject's key: of the key alone, so that it tells nothing of the subject once the key is gone. */
export function subjectKeyId(key: Uint8Array): string {
  return createHmac('sha256', key).update('kedge subject key id 1').digest('hex').slice(0, 16);
}

/**
 * A record as the bytes of its entry: the same ones for the same record and the same keys.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`, naming the field.
 */
export function sealEntry(given: unknown, keyOf: KeyOfSubject): Buffer {
  const { record } = encodeRecord(given);
  const entry = structuredClone(record) as unknown as Record<string, unknown>;
  for (const field of PERSONAL_FIELDS[record.schema]) {
    const value = textAt(record, field.path);
    const subject = textAt(record, field.subject);
    if (value === '' || subject === '') continue;
    const sealed = seal(value, keyOf(subject), placeOf(record, field));
    put(entry, field.path, { sealed: { data: sealed.data, key: sealed.key } });
  }
  const bytes = Buffer.from(canonicalJson(entry), 'utf8');
  if (bytes.length > MAX_ENTRY_BYTES) throw invalidRecord('', `an entry of at most ${MAX_ENTRY_BYTES} bytes`);
  return bytes;
}

/**
 * The record of an entry, with the personal fields whose keys are still there.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`, `LEDGER_SEAL_BROKEN` (a field does not open with the key that it names).
 */
export function openEntry(bytes: Uint8Array, keyBy: KeyById): OpenedEntry {
  const { entry, head, sealed } = entryOf(bytes);
  const erased: (readonly string[])[] = [];
  for (const [field, { data, key: id }] of sealed) {
    const key = keyBy(id);
    const value = key === undefined ? undefined : unseal(data, key, placeOf(head, field));
    if (key !== undefined && (value === undefined || subjectKeyId(key) !== id)) throw broken(field);
    if (value === undefined) erased.push(field.path);
    put(entry, field.path, value ?? '');
  }
  return { record: checkedRecord(entry), erased, keys: keysOf(sealed) };
}

/**
 * The record of an entry for somebody who shall not know its people: each personal field is a pseudonym, the same one
 * for the same subject as long as its key is the same. No key is needed.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`
 */
export function pseudonymised(bytes: Uint8Array): LedgerRecord {
  const { entry, sealed } = entryOf(bytes);
  for (const [{ path }, { key }] of sealed) put(entry, path, `subject:${key}`);
  return checkedRecord(entry);
}

/** An entry taken apart and checked, its sealed fields being empty. */
function entryOf(bytes: Uint8Array): {
  readonly entry: Record<string, unknown>;
  readonly head: Pick<LedgerRecord, 'schema' | 'id'>;
  readonly sealed: ReadonlyMap<PersonalField, Sealed>;
} {
  if (bytes.length > MAX_ENTRY_BYTES) throw invalidRecord('', `an entry of at most ${MAX_ENTRY_BYTES} bytes`);
  let entry: unknown;
  try {
    entry = parseCanonicalJson(bytes);
  } catch (error) {
    throw invalidRecord('', 'canonical JSON', error);
  }
  const schema = RECORD_SCHEMAS.find((name) => isObject(entry) && entry['schema'] === name);
  if (schema === undefined || !isObject(entry)) throw invalidRecord('schema', 'a schema of records');
  const sealed = new Map<PersonalField, Sealed>();
  for (const field of PERSONAL_FIELDS[schema]) {
    const value = valueAt(entry, field.path);
    if (!isObject(value)) continue;
    sealed.set(field, sealedOf(value, field));
    put(entry, field.path, '');
  }
  const { id } = checkedRecord(entry);
  return { entry, head: { schema, id }, sealed };
}

function sealedOf(value: Record<string, unknown>, { path }: PersonalField): Sealed {
  const inner = value['sealed'];
  if (Object.keys(value).length === 1 && isObject(inner) && Object.keys(inner).length === 2) {
    const { data, key } = inner;
    const isData = typeof data === 'string' && Buffer.from(data, 'base64').toString('base64') === data;
    if (isData && typeof key === 'string' && /^[0-9a-f]{16}$/.test(key)) return { data, key };
  }
  throw invalidRecord(path.join('.'), 'a sealed field');
}

function seal(value: string, key: Uint8Array, place: Buffer): Sealed {
  const text = Buffer.from(value, 'utf8');
  const plain = Buffer.alloc(Math.ceil((2 + text.length) / PADDING) * PADDING);
  plain.writeUInt16BE(text.length, 0);
  plain.set(text, 2);
  const nonce = createHmac('sha256', derived(key, 'nonce'))
    .update(place)
    .update(plain)
    .digest()
    .subarray(0, NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', derived(key, 'seal'), nonce).setAAD(place);
  const data = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return { data: data.toString('base64'), key: subjectKeyId(key) };
}

/** Undefined where it was not sealed with this key for this place. */
function unseal(data: string, key: Uint8Array, place: Buffer): string | undefined {
  const bytes = Buffer.from(data, 'base64');
  if (bytes.length < NONCE_BYTES + PADDING + TAG_BYTES) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', derived(key, 'seal'), bytes.subarray(0, NONCE_BYTES));
  decipher.setAAD(place).setAuthTag(bytes.subarray(-TAG_BYTES));
  let plain: Buffer;
  try {
    plain = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  }
  const end = 2 + plain.readUInt16BE(0);
  return end <= plain.length ? plain.toString('utf8', 2, end) : undefined;
}

/** One key for each use. */
function derived(key: Uint8Array, use: 'nonce' | 'seal'): Buffer {
  if (key.length !== SUBJECT_KEY_BYTES)
    throw new RangeError(`a subject's key has ${SUBJECT_KEY_BYTES} bytes`);
  return createHmac('sha256', key).update(`kedge subject ${use} 1`).digest();
}

/** What a sealed field is bound to: it opens nowhere else. */
function placeOf({ schema, id }: Pick<LedgerRecord, 'schema' | 'id'>, { path }: PersonalField): Buffer {
  return hash('sha256', canonicalJson([schema, id, path]), 'buffer');
}

function keysOf(sealed: ReadonlyMap<PersonalField, Sealed>): readonly string[] {
  return [...new Set([...sealed.values()].map(({ key }) => key))];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, name) => (isObject(at) ? at[name] : undefined), value);
}

function textAt(value: unknown, path: readonly string[]): string {
  const text = valueAt(value, path);
  return typeof text === 'string' ? text : '';
}

function put(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const name = path.at(-1);
  const parent = valueAt(target, path.slice(0, -1));
  if (name !== undefined && isObject(parent)) parent[name] = value;
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

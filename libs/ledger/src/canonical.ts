/**
 * Records as bytes: canonical JSON (RFC 8785), so that the same record is the same bytes everywhere.
 * It must not know where the bytes go.
 */
import { type LedgerRecord, ledgerRecordSchema } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';

import { canonicalJson, parseCanonicalJson } from './canonical-json.js';

/**
 * Largest record in bytes. An entry of the ledger is at most 65,535 bytes long (tlog-tiles); the rest is what sealing
 * its personal fields may add.
 */
export const MAX_RECORD_BYTES = 60 * 1024;

/**
 * The canonical bytes of a record, after checking it against its schema.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`, naming the field.
 */
export function encodeRecord(record: unknown): { readonly record: LedgerRecord; readonly bytes: Buffer } {
  const checked = checkedRecord(record);
  const bytes = recordBytes(checked);
  if (bytes.length > MAX_RECORD_BYTES) throw invalidRecord('', `at most ${MAX_RECORD_BYTES} bytes`);
  return { record: checked, bytes };
}

/** The canonical bytes of a record that was checked. @throws KedgeError `LEDGER_RECORD_INVALID`. */
export function recordBytes(record: unknown): Buffer {
  try {
    return Buffer.from(canonicalJson(record), 'utf8');
  } catch (error) {
    throw invalidRecord('', 'values with a canonical form', error);
  }
}

/**
 * The record that canonical bytes stand for.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`, also for bytes that say the same in another form.
 */
export function decodeRecord(bytes: Uint8Array): LedgerRecord {
  if (bytes.length > MAX_RECORD_BYTES) throw invalidRecord('', `at most ${MAX_RECORD_BYTES} bytes`);
  let data: unknown;
  try {
    data = parseCanonicalJson(bytes);
  } catch (error) {
    throw invalidRecord('', 'canonical JSON', error);
  }
  return checkedRecord(data);
}

/** What was given, when it is a record. @throws KedgeError `LEDGER_RECORD_INVALID`, naming the field. */
export function checkedRecord(data: unknown): LedgerRecord {
  const result = ledgerRecordSchema.safeParse(data);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalidRecord(issue?.path.join('.') ?? '', issue?.message ?? 'a record');
}

/** The error of a record that is not as its schema says. */
export function invalidRecord(field: string, expected: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'LEDGER_RECORD_INVALID',
    message: `cannot keep the record: ${field === '' ? 'it' : field} is not as its schema says, expected ${expected}`,
    ...(field === '' ? {} : { field }),
    expected,
    ...(cause === undefined ? {} : { cause }),
  });
}

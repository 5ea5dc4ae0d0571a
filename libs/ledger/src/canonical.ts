/**
 * Records as bytes: canonical JSON (RFC 8785), so that the same record is the same bytes everywhere.
 * It must not know where the bytes go.
 */
import { type LedgerRecord, ledgerRecordSchema } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';
// CommonJS whose types speak of a default export that is the module itself.
import * as library from 'canonicalize';

const canonicalize = library.default as unknown as (value: unknown) => string | undefined;

/** Largest record in bytes. */
export const MAX_RECORD_BYTES = 256 * 1024;

/**
 * The canonical bytes of a record, after checking it against its schema.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`, naming the field.
 */
export function encodeRecord(record: unknown): { readonly record: LedgerRecord; readonly bytes: Buffer } {
  const result = ledgerRecordSchema.safeParse(record);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw invalid(issue?.path.join('.') ?? '', issue?.message ?? 'a record');
  }
  const text = canonicalize(result.data);
  if (text === undefined) throw invalid('', 'a record');
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length > MAX_RECORD_BYTES) throw invalid('', `at most ${MAX_RECORD_BYTES} bytes`);
  return { record: result.data, bytes };
}

/**
 * The record that canonical bytes stand for.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`
 */
export function decodeRecord(bytes: Buffer): LedgerRecord {
  let data: unknown;
  try {
    data = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw invalid('', 'JSON');
  }
  return encodeRecord(data).record;
}

function invalid(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_RECORD_INVALID',
    message: `cannot keep the record: ${field === '' ? 'it' : field} is not as its schema says, expected ${expected}`,
    ...(field === '' ? {} : { field }),
    expected,
  });
}

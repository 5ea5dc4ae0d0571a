/**
 * An entry of the ledger on its way out: its record, with the names that are left, or with pseudonyms (LE-9).
 * It must not know any format.
 */
import { type LedgerRecord, PERSONAL_FIELDS, recordFacts, type RecordFacts } from '@kedge/contracts';
import { type KeyById, openEntry, pseudonymised } from '@kedge/ledger';

/** What is exported of an entry. */
export interface Exported {
  /** Number of the entry in the log, from 0. */
  readonly index: number;
  readonly record: LedgerRecord;
  /** Fields whose key was destroyed, as "source.principal"; they are empty in the record. */
  readonly erased: readonly string[];
}

/** What becomes of people: opened with the keys that are left, or pseudonyms for all of them. */
export type People = { readonly keyBy: KeyById } | 'pseudonyms';

/**
 * Reads an entry.
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID`, `LEDGER_SEAL_BROKEN`
 */
export function exportedOf(index: number, bytes: Uint8Array, people: People): Exported {
  if (people === 'pseudonyms') return { index, record: pseudonymised(bytes), erased: [] };
  const { record, erased } = openEntry(bytes, people.keyBy);
  return { index, record, erased: erased.map((path) => path.join('.')) };
}

/** What all kinds have in common. */
export interface Facts extends RecordFacts {
  /** "session-transit". */
  readonly kind: string;
  /** Name or pseudonym of whoever it speaks of; null where that is nobody, or was erased. */
  readonly principal: string | null;
}

/** The facts of a record. */
export function factsOf({ record }: Exported): Facts {
  const name = PERSONAL_FIELDS[record.schema].find(
    ({ path, subject }) => path.join('.') === subject.join('.'),
  );
  const value = name?.path.reduce<unknown>(
    (at, member) =>
      typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[member] : undefined,
    record,
  );
  return {
    ...recordFacts(record.schema, record),
    kind: /^kedge\.(.*)\/\d+$/.exec(record.schema)?.[1] ?? record.schema,
    principal: typeof value === 'string' && value !== '' ? value : null,
  };
}

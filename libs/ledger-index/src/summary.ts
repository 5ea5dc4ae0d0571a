/**
 * What the index keeps of an entry.
 * It must not open what is sealed, and not keep a name that is not.
 */
import { PERSONAL_FIELDS, RECORD_SCHEMAS, recordFacts } from '@kedge/contracts';

import type { Kind, Row } from './question.js';

/** A row without its number. */
type Summary = Omit<Row, 'index'>;

/** Of what is no record of a known kind: that it is there. */
const UNKNOWN: Summary = {
  atMs: null,
  kind: null,
  level: null,
  epoch: null,
  principal: null,
  device: null,
  session: null,
  outcome: null,
};

/** The row of an entry. Entries were checked when they were made; what cannot be read is unknown. */
export function summaryOf(bytes: Uint8Array): Summary {
  let entry: unknown;
  try {
    entry = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'));
  } catch {
    return UNKNOWN;
  }
  if (!isObject(entry)) return UNKNOWN;
  const kind = RECORD_SCHEMAS.find((name) => name === entry['schema']);
  if (kind === undefined) return UNKNOWN;
  const atMs = Date.parse(textIn(entry, 'at') ?? '');
  return {
    atMs: Number.isNaN(atMs) ? null : atMs,
    kind,
    epoch: textIn(entry, 'epoch'),
    principal: principalOf(entry, kind),
    ...recordFacts(kind, entry),
  };
}

/** The id of the key under which the name of whoever it speaks of is sealed. */
function principalOf(entry: Readonly<Record<string, unknown>>, kind: Kind): string | null {
  const name = PERSONAL_FIELDS[kind].find(({ path, subject }) => path.join('.') === subject.join('.'));
  const value = name?.path.reduce<unknown>((at, member) => (isObject(at) ? at[member] : undefined), entry);
  const sealed = isObject(value) ? value['sealed'] : undefined;
  return isObject(sealed) ? textIn(sealed, 'key') : null;
}

function textIn(entry: Readonly<Record<string, unknown>>, name: string): string | null {
  const value = entry[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

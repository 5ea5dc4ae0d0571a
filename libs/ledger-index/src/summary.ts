/**
 * What the index keeps of an entry.
 * It must not open what is sealed, and not keep a name that is not.
 */
import { type LedgerRecord, PERSONAL_FIELDS, RECORD_SCHEMAS } from '@kedge/contracts';
import type { Level } from '@kedge/units';

import type { Kind, Row } from './question.js';

type Summary = Omit<Row, 'index'>;

/** Where the fields of a row stand in the records of a kind. */
interface Places {
  readonly level?: string;
  readonly device?: string;
  readonly session?: string;
  readonly outcome?: string | ((entry: Readonly<Record<string, unknown>>) => string);
}

const PLACES: { readonly [Schema in LedgerRecord['schema']]: Places } = {
  'kedge.posture-transition/1': { level: 'to', outcome: 'outcome' },
  'kedge.budget-violation/1': { level: 'level', device: 'subject', outcome: 'kind' },
  'kedge.authorisation-decision/1': {
    level: 'level',
    outcome: ({ allow }) => (allow === true ? 'allow' : 'deny'),
  },
  'kedge.dataplane-event/1': { level: 'newLevel', device: 'dataplane', outcome: 'kind' },
  'kedge.session-transit/1': { level: 'posture_level_at_transit', session: 'session', outcome: 'kind' },
  'kedge.network-mutation/1': { level: 'level', device: 'target', outcome: 'result' },
  'kedge.drift-event/1': { level: 'level', device: 'device', outcome: 'kind' },
  'kedge.posture-forensic-snapshot/1': {
    outcome: ({ complete }) => (complete === true ? 'complete' : 'incomplete'),
  },
  'kedge.posture-forensic-part/1': { outcome: 'section' },
};

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

/** The row of an entry, but for its number. Entries were checked when they were made; what cannot be read is unknown. */
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
  const { level, device, session, outcome } = PLACES[kind];
  const atMs = Date.parse(textIn(entry, 'at') ?? '');
  return {
    atMs: Number.isNaN(atMs) ? null : atMs,
    kind,
    level: levelIn(entry, level),
    epoch: textIn(entry, 'epoch'),
    principal: principalOf(entry, kind),
    device: textIn(entry, device)?.replace(/^device\//, '') ?? null,
    session: textIn(entry, session),
    outcome: typeof outcome === 'function' ? outcome(entry) : textIn(entry, outcome),
  };
}

/** The id of the key under which the name of whoever it speaks of is sealed. */
function principalOf(entry: Readonly<Record<string, unknown>>, kind: Kind): string | null {
  const name = PERSONAL_FIELDS[kind].find(({ path, subject }) => path.join('.') === subject.join('.'));
  const value = name?.path.reduce<unknown>((at, member) => (isObject(at) ? at[member] : undefined), entry);
  const sealed = isObject(value) ? value['sealed'] : undefined;
  return isObject(sealed) ? textIn(sealed, 'key') : null;
}

function textIn(entry: Readonly<Record<string, unknown>>, name: string | undefined): string | null {
  const value = name === undefined ? undefined : entry[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

function levelIn(entry: Readonly<Record<string, unknown>>, name: string | undefined): Level | null {
  const value = name === undefined ? undefined : entry[name];
  return value === 1 || value === 2 || value === 3 || value === 4 || value === 5 ? value : null;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Entries as CSV (RFC 4180): what all kinds have in common in columns, the whole record in the last.
 * It must not hand a spreadsheet anything that it would calculate.
 */
import { canonicalJson } from '@kedge/ledger';

import { type Exported, factsOf } from './exported.js';
import type { Format } from './format.js';

const COLUMNS = [
  'index',
  'at',
  'kind',
  'id',
  'appliance',
  'epoch',
  'level',
  'principal',
  'device',
  'session',
];
const LAST = ['outcome', 'erased', 'record'];

/** Spreadsheets take what begins so as a formula; behind an apostrophe it is text. */
const FORMULA = /^[=+\-@\t\r]/;

function field(value: string | number | null): string {
  if (typeof value !== 'string') return value === null ? '' : String(value);
  if (FORMULA.test(value)) return quoted(`'${value}`);
  return /[",\r\n]/.test(value) ? quoted(value) : value;
}

function quoted(value: string): string {
  return `"${value.replaceAll('"', '""')}"`;
}

function line(exported: Exported): string {
  const { index, record, erased } = exported;
  const { kind, level, principal, device, session, outcome } = factsOf(exported);
  const { at, id, appliance, epoch } = record;
  const values = [index, at, kind, id, appliance, epoch, level, principal, device, session];
  return `${[...values, outcome, erased.join(' '), canonicalJson(record)].map(field).join(',')}\r\n`;
}

/** CSV with a line of names. */
export const CSV: Format = {
  mediaType: 'text/csv; charset=utf-8; header=present',
  head: `${[...COLUMNS, ...LAST].join(',')}\r\n`,
  between: '',
  tail: '',
  entry: line,
};

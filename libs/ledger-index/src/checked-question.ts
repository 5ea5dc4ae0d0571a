/**
 * A question from outside, checked field by field.
 * It must not answer it.
 */
import { RECORD_SCHEMAS } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';

import { type Filter, LIMIT_MAX, type Page, WORDS_MAX } from './question.js';

/** Fields of a filter that hold words, and what each word has to be. */
const WORDS: Readonly<
  Record<string, { readonly fits: (word: unknown) => boolean; readonly expected: string }>
> = {
  kinds: { fits: (word) => RECORD_SCHEMAS.some((name) => name === word), expected: 'schemas of records' },
  levels: { fits: (word) => Number.isInteger(word) && inRange(word, 1, 5), expected: 'levels from 1 to 5' },
  principals: {
    fits: (word) => /^[0-9a-f]{16}$/.test(textOf(word)),
    expected: 'ids of keys, 16 digits each',
  },
  devices: { fits: isName, expected: 'names of 1 to 128 characters' },
  sessions: { fits: isName, expected: 'names of 1 to 128 characters' },
  outcomes: { fits: isName, expected: 'words of 1 to 128 characters' },
};
const MOMENTS = ['fromMs', 'toMs'];
const PAGE = ['limit', 'order', 'after'];

/** A page with nothing left open. */
export interface CheckedPage {
  readonly limit: number;
  readonly descending: boolean;
  readonly after: number | undefined;
}

/**
 * The filter, as it is, when it is one.
 *
 * @throws KedgeError `LEDGER_INDEX_QUESTION`, naming the field.
 */
export function checkedFilter(given: unknown): Filter {
  for (const [field, value] of membersOf(given, 'filter', [...MOMENTS, ...Object.keys(WORDS)])) {
    const words = WORDS[field];
    if (words === undefined) {
      if (!Number.isSafeInteger(value)) throw wrong(field, 'whole milliseconds since 1970');
      continue;
    }
    const fits = Array.isArray(value) && inRange(value.length, 1, WORDS_MAX) && value.every(words.fits);
    if (!fits) throw wrong(field, `a list of 1 to ${WORDS_MAX} ${words.expected}`);
  }
  const filter = given as Filter;
  if (filter.fromMs !== undefined && filter.toMs !== undefined && filter.toMs < filter.fromMs)
    throw wrong('toMs', 'a time that is not before fromMs');
  return filter;
}

/** The page with what is not said filled in. @throws KedgeError `LEDGER_INDEX_QUESTION`, naming the field. */
export function checkedPage(given: unknown): CheckedPage {
  const {
    limit = 1_000,
    order = 'ascending',
    after,
  } = Object.fromEntries(membersOf(given, 'page', PAGE)) as Page;
  if (!Number.isInteger(limit) || !inRange(limit, 1, LIMIT_MAX))
    throw wrong('limit', `a whole number from 1 to ${LIMIT_MAX}`);
  if (!['ascending', 'descending'].includes(order)) throw wrong('order', 'ascending or descending');
  if (after !== undefined && (!Number.isSafeInteger(after) || after < 0))
    throw wrong('after', 'the index of a row');
  return { limit, descending: order === 'descending', after };
}

/** What is said; a field that is undefined says nothing. */
function membersOf(given: unknown, what: string, known: readonly string[]): [string, unknown][] {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw wrong(what, 'an object');
  const members = Object.entries(given).filter(([, value]) => value !== undefined);
  const unknown = members.find(([field]) => !known.includes(field));
  if (unknown !== undefined) throw wrong(unknown[0], `one of ${known.join(', ')}`);
  return members;
}

function isName(word: unknown): boolean {
  return inRange(textOf(word).length, 1, 128);
}

function textOf(word: unknown): string {
  return typeof word === 'string' ? word : '';
}

function inRange(value: unknown, from: number, to: number): boolean {
  return typeof value === 'number' && value >= from && value <= to;
}

function wrong(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_INDEX_QUESTION',
    message: `cannot ask the ledger's index: ${field} is not as it has to be, expected ${expected}`,
    field,
    expected,
  });
}

/**
 * JSON in its canonical form (RFC 8785): the same value is the same bytes everywhere.
 * It must not know records, nor mend what is not canonical: that is refused.
 */
import { KedgeError } from '@kedge/units';

/** Arrays and objects inside each other, at most. */
export const JSON_LEVELS_MAX = 64;

const LONE_SURROGATE = /\p{Cs}/u;
/** What nearly all strings are: ASCII of which nothing is escaped. */
const PLAIN = /^[ !#-[\]-~]*$/;

/**
 * The canonical text of a value: null, booleans, finite numbers, well-formed strings, dense arrays and plain objects
 * of them, at most {@link JSON_LEVELS_MAX} deep. Members are sorted by UTF-16 code units.
 *
 * @throws KedgeError `LEDGER_JSON_VALUE` for anything else, also for a bigint: 64-bit numbers are strings in JSON.
 */
export function canonicalJson(value: unknown): string {
  return withValue('', value, 0);
}

/**
 * The value that canonical bytes stand for.
 *
 * @throws KedgeError `LEDGER_JSON_BYTES` when they are not UTF-8, not JSON, or JSON in another form than the canonical
 *   one: with spaces, with members out of order or twice, with a number or a string written in another way.
 */
export function parseCanonicalJson(bytes: Uint8Array): unknown {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = buffer.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrongBytes('JSON');
  }
  let again: string;
  try {
    again = canonicalJson(value);
  } catch {
    throw wrongBytes(`values with a canonical form, at most ${JSON_LEVELS_MAX} levels deep`);
  }
  // What is no UTF-8 was read as U+FFFD and would be written as that.
  const isExact = !text.includes('\ufffd') || Buffer.from(text, 'utf8').equals(buffer);
  if (again !== text || !isExact) throw wrongBytes('the canonical form');
  return value;
}

/** The text with a value behind it: always at its end, for a text that grows there alone is made into one string fast. */
function withValue(text: string, value: unknown, level: number): string {
  switch (typeof value) {
    case 'string':
      return PLAIN.test(value) ? `${text}"${value}"` : text + escaped(value);
    case 'number':
      if (!Number.isFinite(value)) throw wrongValue(`the number ${value}`);
      // ECMAScript's shortest form is what RFC 8785 asks for; it has no sign for -0, as it has to be.
      return text + String(value);
    case 'boolean':
      return text + (value ? 'true' : 'false');
    case 'object':
      if (value === null) return `${text}null`;
      if (level === JSON_LEVELS_MAX) throw wrongValue(`more than ${JSON_LEVELS_MAX} levels`);
      return Array.isArray(value) ? withArray(text, value, level + 1) : withObject(text, value, level + 1);
    case 'bigint':
      throw wrongValue('a bigint');
    default:
      throw wrongValue(typeof value);
  }
}

function escaped(text: string): string {
  if (LONE_SURROGATE.test(text)) throw wrongValue('a string with half a character');
  return JSON.stringify(text);
}

function withArray(before: string, items: readonly unknown[], level: number): string {
  let text = `${before}[`;
  // By index: a hole is refused like every other undefined.
  for (let at = 0; at < items.length; at++) {
    if (at > 0) text += ',';
    text = withValue(text, items[at], level);
  }
  return `${text}]`;
}

function withObject(before: string, value: object, level: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw wrongValue('an object of a class');
  const members = value as Readonly<Record<string, unknown>>;
  const { order, heads } = shapeOf(Object.keys(members));
  let text = `${before}{`;
  for (let at = 0; at < order.length; at++) {
    text += heads[at] ?? '';
    text = withValue(text, members[order[at] ?? ''], level);
  }
  return `${text}}`;
}

/** How objects with these names in this order are written. */
interface Shape {
  readonly names: readonly string[];
  readonly order: readonly string[];
  /** What stands before each value: comma, name, colon. */
  readonly heads: readonly string[];
}

/** The last shape with so many names: records of a kind follow each other, and sorting costs more than writing. */
const shapes: Shape[] = [];
const SHAPES = 64;

function shapeOf(names: readonly string[]): Shape {
  const known = shapes[names.length];
  if (known !== undefined && isSame(known.names, names)) return known;
  // Array.prototype.sort without a function compares UTF-16 code units.
  const order = [...names].sort();
  const heads = order.map((name, at) => `${at === 0 ? '' : ','}${withValue('', name, 0)}:`);
  const shape = { names, order, heads };
  if (names.length < SHAPES) shapes[names.length] = shape;
  return shape;
}

function isSame(left: readonly string[], right: readonly string[]): boolean {
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  return true;
}

function wrongValue(what: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_JSON_VALUE',
    message: `cannot write ${what} as canonical JSON`,
    expected: 'null, booleans, finite numbers, well-formed strings, arrays and plain objects',
  });
}

function wrongBytes(expected: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_JSON_BYTES',
    message: 'cannot read the bytes as canonical JSON',
    expected,
  });
}

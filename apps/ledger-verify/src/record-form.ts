/**
 * What the bytes of a record may be: each kind's canonical form as one row of forms, looked at once from the first byte
 * to the last, without making anything of them.
 * It must not take what `pseudonymised` refuses, and says nothing of what it does not take: the schema itself decides
 * about that, which is slow, and names what is wrong.
 *
 * Canonical JSON of a strict schema is a row: the members in their order, each with its name, and nothing between them.
 * What is rare is left to the schema: escapes and letters beyond ASCII, numbers of 16 digits, snapshots and their parts.
 */
import {
  CHANNELS,
  DATAPLANE_EVENT_KINDS,
  DRIFT_SEVERITIES,
  INTENT_CHANGE_KINDS,
  INTENT_REQUESTS,
  type LedgerRecord,
  MUTATION_RESULTS,
  PATH_OUTCOMES,
  PATHS,
  TIERS,
  TRANSIT_KINDS,
  VIOLATION_KINDS,
} from '@kedge/contracts';

/** Where what stands at a place ends; {@link NO} where it is something else, or more than can be said here. */
type Form = (bytes: Uint8Array, at: number) => number;

const NO = -1;

/** A kind of record, as it was recognised. */
export interface RecordForm {
  readonly schema: LedgerRecord['schema'];
  /** Which of the places of a {@link FormReader} are those of a member. */
  readonly place: (member: string) => number;
}

/* -------------------------------------------------------------- characters */

type Characters = Uint8Array;

/** A table of the characters that a set has: ranges of two, "azAZ" is a to z and A to Z. */
function characters(ranges: string): Characters {
  const table = new Uint8Array(256);
  for (let at = 0; at < ranges.length; at += 2)
    table.fill(1, ranges.charCodeAt(at), ranges.charCodeAt(at + 1) + 1);
  return table;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const ZERO = 0x30;
const MINUS = 0x2d;
const EQUALS = 0x3d;
const [N, T, F] = [0x6e, 0x74, 0x66];
const [OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [0x5b, 0x5d, 0x7b, 0x7d];
const DIGIT = characters('09');
const HEX = characters('09af');
const BASE64 = characters('AZaz09++//');
/** What may stand last where two characters say one byte, and where three say two: the bits beyond are 0. */
const BASE64_ENDS = [characters('AAQQggww'), characters('AAEEIIMMQQUUYYccggkkoossww004488')] as const;
/** Without what is escaped in JSON, quotes and backslashes: those are left to the schema. */
const LINE = characters(' !#[]~');
const NAME = characters('!!#[]~');
const APPLIANCE = [characters('AZaz09'), characters('AZaz09..--')] as const;
const ID = [characters('AZaz09'), characters('AZaz09..__:://--')] as const;

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/* ------------------------------------------------------------------- forms */

function literal(text: string): Form {
  const own = bytesOf(text);
  return (bytes, at) => (isAt(bytes, at, own) ? at + own.length : NO);
}

function isAt(bytes: Uint8Array, at: number, own: Uint8Array): boolean {
  for (let n = 0; n < own.length; n++) if (bytes[at + n] !== own[n]) return false;
  return true;
}

/** One of several texts of which none begins another. */
function oneOf(texts: readonly string[]): Form {
  const all = texts.map(bytesOf);
  return (bytes, at) => {
    for (const own of all) if (isAt(bytes, at, own)) return at + own.length;
    return NO;
  };
}

const words = (list: readonly string[]): Form => oneOf(list.map((word) => `"${word}"`));

/** A string of characters of a set, the first one of another where that is given. */
function string(min: number, max: number, rest: Characters, first = rest): Form {
  return (bytes, at) => {
    if (bytes[at] !== QUOTE) return NO;
    const from = at + 1;
    let to = from;
    if (first[bytes[to] ?? 0] === 1) to += 1;
    // Beyond the end there is 0, which no set has.
    if (to > from) while (rest[bytes[to] ?? 0] === 1) to += 1;
    const length = to - from;
    return bytes[to] === QUOTE && length >= min && length <= max ? to + 1 : NO;
  };
}

const line = (min: number, max: number): Form => string(min, max, LINE);
const name = string(1, 64, NAME);
const sha256 = string(64, 64, HEX);
const appliance = string(1, 64, APPLIANCE[1], APPLIANCE[0]);
const id = string(8, 200, ID[1], ID[0]);

/** A whole number as a string without leading zeros, of fewer digits than could be too large. */
function decimal(digits: number): Form {
  const plain = string(1, digits, DIGIT);
  return (bytes, at) => {
    const to = plain(bytes, at);
    return to !== NO && bytes[at + 1] === ZERO && to > at + 3 ? NO : to;
  };
}

// 2^64 and 2^48 have 20 and 15 digits.
const u64 = decimal(19);
const epoch = decimal(14);

/** A number that is whole, safe and written as ECMAScript does: at most fifteen digits. */
const integer: Form = (bytes, at) => {
  const from = bytes[at] === MINUS ? at + 1 : at;
  let to = from;
  while (DIGIT[bytes[to] ?? 0] === 1) to += 1;
  const length = to - from;
  if (length === 0 || length > 15) return NO;
  return bytes[from] === ZERO && (length > 1 || from > at) ? NO : to;
};

/** A whole number from `min`, which is 0 or above, to `max`. */
function count(min: number, max: number): Form {
  return (bytes, at) => {
    const to = integer(bytes, at);
    if (to === NO || bytes[at] === MINUS) return NO;
    const value = numberAt(bytes, at, to);
    return value >= min && value <= max ? to : NO;
  };
}

/** The number that digits stand for. */
export function numberAt(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) value = value * 10 + (bytes[at] ?? 0) - ZERO;
  return value;
}

/** A signed number of 32 bits. */
const signed32: Form = (bytes, at) => {
  const to = integer(bytes, at);
  if (to === NO) return NO;
  const value = bytes[at] === MINUS ? -numberAt(bytes, at + 1, to) : numberAt(bytes, at, to);
  return value >= -2_147_483_648 && value <= 2_147_483_647 ? to : NO;
};

const flag = oneOf(['true', 'false']);
const level = oneOf(['1', '2', '3', '4', '5']);
const none = literal('null');

function nullable(form: Form): Form {
  return (bytes, at) => (bytes[at] === N ? none(bytes, at) : form(bytes, at));
}

const DAYS = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/** Digits stand where this has 0. */
const TIME = bytesOf('0000-00-00T00:00:00.000Z');

/** RFC 3339 in UTC with milliseconds. The 29th of February is left to the schema. */
const time: Form = (bytes, at) => {
  if (bytes[at] !== QUOTE) return NO;
  const from = at + 1;
  for (let n = 0; n < TIME.length; n++) {
    const byte = bytes[from + n] ?? 0;
    if (TIME[n] === ZERO ? DIGIT[byte] !== 1 : byte !== TIME[n]) return NO;
  }
  const to = from + TIME.length;
  const two = (n: number): number => numberAt(bytes, from + n, from + n + 2);
  const day = two(8);
  const isTime = day > 0 && day <= (DAYS[two(5)] ?? 0) && two(11) < 24 && two(14) < 60 && two(17) < 60;
  return isTime && bytes[to] === QUOTE ? to + 1 : NO;
};

function list(form: Form, max: number): Form {
  return (bytes, from) => {
    if (bytes[from] !== OPEN_LIST) return NO;
    if (bytes[from + 1] === CLOSE_LIST) return from + 2;
    let at = from;
    for (let items = 1; items <= max; items++) {
      at = form(bytes, at + 1);
      if (at === NO) return NO;
      if (bytes[at] === CLOSE_LIST) return at + 1;
      if (bytes[at] !== COMMA) return NO;
    }
    return NO;
  };
}

/** Tells where each member stands, by its place among them. */
type Places = Int32Array;

/** An object of exactly these members; its places, two for each, are filled where they are given. */
function object(members: Readonly<Record<string, Form>>, places?: Places): Form {
  const row = Object.keys(members)
    .sort()
    .map((member, at) => ({
      head: bytesOf(`${at === 0 ? '{' : ','}"${member}":`),
      form: members[member] ?? none,
    }));
  return (bytes, from) => {
    let at = from;
    let place = 0;
    for (const { head, form } of row) {
      if (!isAt(bytes, at, head)) return NO;
      const start = at + head.length;
      at = form(bytes, start);
      if (at === NO) return NO;
      if (places !== undefined) {
        places[place++] = start;
        places[place++] = at;
      }
    }
    return bytes[at] === CLOSE ? at + 1 : NO;
  };
}

/* --------------------------------------------------------- fields of records */

/** Base64 that is written as it would be again: whole groups of four, and no bits beyond the last byte. */
const base64: Form = (bytes, at) => {
  if (bytes[at] !== QUOTE) return NO;
  const from = at + 1;
  let to = from;
  while (BASE64[bytes[to] ?? 0] === 1) to += 1;
  const over = (to - from) % 4;
  if (over === 1) return NO;
  if (over > 1) {
    if (BASE64_ENDS[over - 2]?.[bytes[to - 1] ?? 0] !== 1) return NO;
    for (let n = over; n < 4; n++) if (bytes[to++] !== EQUALS) return NO;
  }
  return bytes[to] === QUOTE ? to + 1 : NO;
};

const seal = object({ sealed: object({ data: base64, key: string(16, 16, HEX) }) });

/** A field about a person: sealed, or about nobody. */
function personal(max: number): Form {
  const open = line(0, max);
  return (bytes, at) => (bytes[at] === OPEN ? seal(bytes, at) : open(bytes, at));
}

const text = string(0, Infinity, LINE);

/** Any JSON that a YANG tree could hold, so many levels deep. */
function tree(bytes: Uint8Array, at: number, levels: number): number {
  switch (bytes[at]) {
    case N:
      return none(bytes, at);
    case T:
    case F:
      return flag(bytes, at);
    case QUOTE:
      return text(bytes, at);
    case OPEN_LIST:
      return levels === 0 ? NO : branches(bytes, at, levels - 1);
    case OPEN:
      return levels === 0 ? NO : named(bytes, at, levels - 1);
    default:
      return integer(bytes, at);
  }
}

function branches(bytes: Uint8Array, from: number, levels: number): number {
  if (bytes[from + 1] === CLOSE_LIST) return from + 2;
  let at = from;
  do {
    at = tree(bytes, at + 1, levels);
    if (at === NO) return NO;
  } while (bytes[at] === COMMA);
  return bytes[at] === CLOSE_LIST ? at + 1 : NO;
}

/** Members in the order of their names, none twice: in ASCII the order of UTF-16 is that of the bytes. */
function named(bytes: Uint8Array, from: number, levels: number): number {
  if (bytes[from + 1] === CLOSE) return from + 2;
  let at = from;
  let before = NO;
  do {
    const start = at + 1;
    const end = text(bytes, start);
    if (end === NO || bytes[end] !== COLON) return NO;
    if (before !== NO && !isBehind(bytes, start + 1, before + 1)) return NO;
    before = start;
    at = tree(bytes, end + 1, levels);
    if (at === NO) return NO;
  } while (bytes[at] === COMMA);
  return bytes[at] === CLOSE ? at + 1 : NO;
}

/** True where the name at one place comes behind the one at another; both end with a quote. */
function isBehind(bytes: Uint8Array, one: number, other: number): boolean {
  for (let n = 0; ; n++) {
    const [a, b] = [bytes[one + n] ?? 0, bytes[other + n] ?? 0];
    if (b === QUOTE) return a !== QUOTE;
    if (a === QUOTE || a < b) return false;
    if (a > b) return true;
  }
}

const json: Form = (bytes, at) => tree(bytes, at, 8);

/* ----------------------------------------------------------------- records */

type Members<Schema extends LedgerRecord['schema']> = Readonly<
  Record<Exclude<keyof Extract<LedgerRecord, { schema: Schema }>, 'schema' | keyof typeof HEAD>, Form>
>;

const HEAD = { id, appliance, at: time, epoch };
const tier = words(TIERS);
const channel = words(CHANNELS);
const path = words(PATHS);
const outcome = words(PATH_OUTCOMES);

const participant = object({
  name,
  startedAtNs: u64,
  finishedAtNs: u64,
  outcome,
  level,
  changes: count(0, 4_294_967_295),
});
const hexadecimal = string(2, 128, HEX);
/** Whole bytes, and two quotes. */
const header: Form = (bytes, at) => {
  const to = hexadecimal(bytes, at);
  return to !== NO && (to - at) % 2 === 0 ? to : NO;
};
const step = object({
  ...{ step: line(1, 128), kind: name, path: line(0, 512) },
  ...{ before: json, after: json, done: flag },
});

/** The number of a revision. */
const number32 = nullable(count(1, 4_294_967_295));

/** The kinds of which there are many, each with all of its members. */
const KINDS: { readonly [Schema in LedgerRecord['schema']]: Members<Schema> | undefined } = {
  'kedge.posture-transition/1': {
    ...{ from: level, to: level, outcome: words(['completed', 'late', 'preempted', 'recovered']) },
    source: object({ channel, tier, principal: personal(128), reason: personal(512) }),
    ...{ receivedAtNs: u64, decidedAtNs: u64, storedAtNs: u64, journaledAtNs: u64, completedAtNs: u64 },
    durable: flag,
    paths: list(
      object({
        path,
        budgetNs: u64,
        startNs: u64,
        endNs: u64,
        outcome,
        participants: list(participant, 256),
      }),
      3,
    ),
  },
  'kedge.budget-violation/1': {
    ...{ kind: words(VIOLATION_KINDS), path: nullable(path), subject: name },
    ...{ seenAtNs: u64, deadlineNs: u64, actedAtNs: u64, level: nullable(level), outcome: signed32 },
  },
  'kedge.authorisation-decision/1': {
    ...{ allow: flag, rule: name, reason: line(0, 512), principal: personal(128), tier, channel },
    ...{ action: name, resource: line(0, 128), level, askedAtNs: u64 },
  },
  'kedge.dataplane-event/1': {
    ...{ dataplane: name, worker: count(0, 15), kind: words(DATAPLANE_EVENT_KINDS) },
    ...{ oldLevel: nullable(level), newLevel: nullable(level), value: u64, seenAtNs: u64, toldAtNs: u64 },
    ...{ droppedByPair: u64, droppedByEntry: u64, gap: u64 },
  },
  'kedge.session-transit/1': {
    ...{ session: name, kind: words(TRANSIT_KINDS), peer: personal(128), tier: nullable(tier) },
    ...{ sessionType: name, critical: flag, posture_level_at_transit: level, sampledPercent: count(0, 100) },
    ...{ reason: line(0, 512), seenAtNs: u64 },
    frames: nullable(object({ headers: list(header, 256), omitted: u64, payloadSha256: sha256 })),
  },
  'kedge.network-mutation/1': {
    ...{ mutation: name, part: count(1, 65_535), parts: count(1, 65_535), principal: personal(128) },
    ...{ tier, channel, kind: words(['ordinary', 'emergency']), level, target: line(1, 128), planId: name },
    ...{ base: sha256, stepsSha256: sha256, steps: list(step, 256), result: words(MUTATION_RESULTS) },
    failure: nullable(object({ code: name, message: line(0, 512) })),
    ...{ startedAtNs: u64, finishedAtNs: u64 },
  },
  'kedge.drift-event/1': {
    ...{ device: name, kind: words(['appeared', 'changed', 'cleared']), path: line(1, 512) },
    ...{ intended: json, actual: json, severity: words(DRIFT_SEVERITIES) },
    cause: words(['unmanaged-change', 'failed-commit', 'device-replaced', 'unknown']),
    ...{ remediation: words(['automatic', 'proposed', 'none']), level, sinceNs: u64, seenAtNs: u64 },
  },
  'kedge.intent-change/1': {
    ...{
      kind: words(INTENT_CHANGE_KINDS),
      request: nullable(words(INTENT_REQUESTS)),
      principal: personal(128),
    },
    ...{
      tier: nullable(tier),
      channel: nullable(channel),
      level,
      revision: number32,
      was: number32,
      of: number32,
    },
    ...{ revisionId: nullable(sha256), documentSha256: nullable(sha256), comment: personal(512) },
    confirmSeconds: nullable(count(1, 86_400)),
    failure: nullable(object({ code: name, message: line(0, 512) })),
    happenedAtNs: u64,
  },
  // Few, and their parts are compared with each other.
  'kedge.posture-forensic-snapshot/1': undefined,
  'kedge.posture-forensic-part/1': undefined,
};

const SCHEMA = Buffer.from('"schema":"');

/** Recognises records, one after the other. */
export class FormReader {
  /** Where the members of the record that was recognised last begin and end, two numbers for each. */
  readonly places: Int32Array = new Int32Array(64);
  readonly #kinds = Object.entries(KINDS).flatMap(([schema, members]) => {
    if (members === undefined) return [];
    const all = { ...HEAD, ...members, schema: literal(`"${schema}"`) };
    const names = Object.keys(all).sort();
    const form: RecordForm = {
      schema: schema as LedgerRecord['schema'],
      place: (member) => 2 * names.indexOf(member),
    };
    return [{ name: bytesOf(`${schema}"`), read: object(all, this.places), form }];
  });

  /** The forms that it knows. */
  get forms(): readonly RecordForm[] {
    return this.#kinds.map(({ form }) => form);
  }

  /**
   * The kind of a record that is right by itself; undefined where only the schema can tell.
   *
   * @param to where it ends in `bytes`, in which others may stand beside it.
   */
  recognised(bytes: Buffer, from: number, to: number): RecordForm | undefined {
    // Wherever these bytes stand they only say which kind to try.
    const at = bytes.indexOf(SCHEMA, from) + SCHEMA.length;
    for (const { name: own, read, form } of this.#kinds)
      if (isAt(bytes, at, own)) return read(bytes, from) === to ? form : undefined;
    return undefined;
  }
}

/**
 * The one durable desired set of a participant (PO-18): what it is made of, how it stands in a file, and how a
 * level filters it.
 * It must not read or write a file, nor compute a hash: both are given.
 */
import type { PlanValue } from '@kedge/contracts';
import { type Epoch, epochOf, KedgeError, type Level } from '@kedge/units';

/** What a participant wants the world to be at the loosest level. */
export interface DesiredSet<Item> {
  /** The epoch in force when the set was last reconciled with the world before an escalation; 0 = never. */
  readonly epochTaken: Epoch;
  /** Sorted by key, each key once. */
  readonly items: readonly Item[];
}

/** What has to be known of the items of a set in order to keep it. */
export interface DesiredKind<Item> {
  /** Name and version of the items' form, "kedge.overlay-routes/1"; a file of another one is refused. */
  readonly schema: string;
  /** What makes an item the same item after it was changed; unique in the set, the order of the file. */
  keyOf(item: Item): string;
  /** An item from JSON. Throws where it is none; what it throws becomes the cause. */
  parse(value: unknown): Item;
}

/** SHA-256 of the UTF-8 bytes of a text, 64 lower-case hexadecimal digits. */
export type Sha256 = (text: string) => string;

/** Writes and reads desired sets of one kind. */
export interface DesiredCodec<Item> {
  readonly kind: DesiredKind<Item>;
  /**
   * The one text of a set: canonical JSON (keys sorted, no spaces), one line feed at the end, the checksum last.
   *
   * @throws KedgeError `RECONCILE_DESIRED_INVALID` for two items with one key, or an item that JSON cannot hold.
   */
  readonly encode: (set: DesiredSet<Item>) => string;
  /**
   * The set of a text. Takes nothing but what {@link encode} writes, byte for byte.
   *
   * @throws KedgeError `RECONCILE_DESIRED_DAMAGED`; `field` names what is wrong: `end`, `json`, `schema`, `sha256`,
   *   `epochTaken`, `items`, `items[N]`, `form`.
   */
  readonly decode: (text: string) => DesiredSet<Item>;
}

/** A codec for sets of `kind`. */
export function desiredCodec<Item>(kind: DesiredKind<Item>, sha256: Sha256): DesiredCodec<Item> {
  const encode = (set: DesiredSet<Item>): string => {
    const { epochTaken, items } = desiredSet(kind, set.epochTaken, set.items);
    const body = canonicalText({
      epochTaken: String(epochOf(epochTaken, 'epochTaken')),
      items: items as readonly unknown[],
      schema: kind.schema,
    });
    return `${body.slice(0, -1)},"sha256":"${sha256(body)}"}\n`;
  };
  return { kind, encode, decode: (text) => decoded(kind, sha256, encode, text) };
}

/** A set without items, of no epoch. */
export function emptyDesiredSet<Item>(): DesiredSet<Item> {
  return { epochTaken: epochOf(0n), items: [] };
}

/**
 * A set of items in any order.
 *
 * @throws KedgeError `RECONCILE_DESIRED_INVALID` for two items with one key.
 */
export function desiredSet<Item>(
  kind: DesiredKind<Item>,
  epochTaken: Epoch,
  items: readonly Item[],
): DesiredSet<Item> {
  const keyed = items.map((item) => ({ key: kind.keyOf(item), item }));
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  for (const [index, { key }] of keyed.entries()) {
    if (keyed[index + 1]?.key === key) {
      throw new KedgeError({
        code: 'RECONCILE_DESIRED_INVALID',
        message: `cannot keep the desired set ${kind.schema}: two items have the key ${JSON.stringify(key)}`,
        field: 'items',
        expected: 'each key once',
      });
    }
  }
  return { epochTaken, items: keyed.map(({ item }) => item) };
}

/** Whether a level allows an item: the pure filter that a level is (PO-18). */
export type Allows<Item> = (item: Item, level: Level) => boolean;

/** What `level` allows of a set, in its order. */
export function allowedAt<Item>(set: DesiredSet<Item>, level: Level, allows: Allows<Item>): readonly Item[] {
  return set.items.filter((item) => allows(item, level));
}

function decoded<Item>(
  kind: DesiredKind<Item>,
  sha256: Sha256,
  encode: (set: DesiredSet<Item>) => string,
  text: string,
): DesiredSet<Item> {
  if (!text.endsWith('}\n')) throw damaged(kind, 'end', 'a closing brace and a line feed at the end');
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw damaged(kind, 'json', 'one JSON document', cause);
  }
  if (!isRecord(data)) throw damaged(kind, 'json', 'one JSON object');
  if (data['schema'] !== kind.schema) throw damaged(kind, 'schema', JSON.stringify(kind.schema));
  // The checksum stands last: what it covers is everything before it.
  const body = `${text.slice(0, text.lastIndexOf(',"sha256":'))}}`;
  if (data['sha256'] !== sha256(body)) throw damaged(kind, 'sha256', 'the checksum of what stands before it');
  let epochTaken: Epoch;
  try {
    epochTaken = epochOf(data['epochTaken'], 'epochTaken');
  } catch (cause) {
    throw damaged(kind, 'epochTaken', 'an epoch as decimal text', cause);
  }
  const given = data['items'];
  if (!Array.isArray(given)) throw damaged(kind, 'items', 'a list of items');
  const items = given.map((value: unknown, index) => {
    try {
      return kind.parse(value);
    } catch (cause) {
      throw damaged(kind, `items[${index}]`, 'an item of this schema', cause);
    }
  });
  const set = { epochTaken, items };
  let again: string;
  try {
    again = encode(set);
  } catch (cause) {
    throw damaged(kind, 'items', 'each key once', cause);
  }
  if (again !== text) throw damaged(kind, 'form', 'canonical JSON: sorted, without spaces, nothing added');
  return set;
}

function damaged(
  kind: { readonly schema: string },
  field: string,
  expected: string,
  cause?: unknown,
): KedgeError {
  return new KedgeError({
    code: 'RECONCILE_DESIRED_DAMAGED',
    message: `cannot read the desired set ${kind.schema}: ${field} is wrong`,
    field,
    expected,
    help: 'the participant stays at the strictest level until a whole set is put in its place',
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * JSON with sorted keys and without spaces (the form of RFC 8785 for what a desired set may hold). Properties that
 * are undefined are left out.
 *
 * @throws KedgeError `RECONCILE_DESIRED_INVALID` for what JSON cannot hold.
 */
export function canonicalText(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((each: unknown) => canonicalText(each)).join(',')}]`;
  if (isRecord(value)) {
    let text = '{';
    // The order of UTF-16 units, which is that of RFC 8785.
    for (const name of Object.keys(value).sort()) {
      const each = value[name];
      if (each !== undefined)
        text += `${text === '{' ? '' : ','}${JSON.stringify(name)}:${canonicalText(each)}`;
    }
    return `${text}}`;
  }
  throw new KedgeError({
    code: 'RECONCILE_DESIRED_INVALID',
    message: `cannot write a ${typeof value} into a desired set`,
    expected: 'null, booleans, finite numbers, texts, lists and objects',
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)
  );
}

/** Two values are the same where their canonical texts are. */
export function sameValue(a: PlanValue, b: PlanValue): boolean {
  return canonicalText(a) === canonicalText(b);
}

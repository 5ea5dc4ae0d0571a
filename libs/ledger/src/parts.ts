/**
 * Long facts as several records: as many as their steps or items take, none larger than a record may be.
 * It must not take long at once: whoever runs through the records is given undefined now and then, and may let others
 * have their turn.
 */
import type { ForensicPart, NetworkMutation } from '@kedge/contracts';
import { createHash } from 'node:crypto';

import { canonicalJson } from './canonical-json.js';
import { MAX_RECORD_BYTES } from './canonical.js';

/** A step of a mutation. */
export type RecordedStep = NetworkMutation['steps'][number];
/** An item of a forensic snapshot. */
export type ForensicItem = ForensicPart['items'][number];

/** A mutation but for what follows from its steps. */
export type MutationFacts = Omit<
  NetworkMutation,
  'schema' | 'id' | 'part' | 'parts' | 'stepsSha256' | 'steps'
>;
/** What a service has of a section of a forensic snapshot, but for what follows from its items. */
export type ForensicFacts = Omit<ForensicPart, 'schema' | 'id' | 'part' | 'parts' | 'items'>;

const STEPS_MAX = 256;
const ITEMS_MAX = 4_096;
/** Bytes of one step or item; of a larger one the values are told by their hash. */
const ONE_MAX_BYTES = 16 * 1024;
/** Steps or items between two pauses. */
const AT_ONCE = 256;
const NO_HASH = '0'.repeat(64);
const MOST_PARTS = 65_535;

/**
 * The records of a mutation.
 *
 * @param id of all of them; each has its number behind it.
 */
export function* mutationRecords(
  id: string,
  facts: MutationFacts,
  steps: Iterable<RecordedStep>,
): Generator<NetworkMutation | undefined, void, undefined> {
  const whole = (part: number, parts: number, own: RecordedStep[], stepsSha256: string): NetworkMutation => ({
    schema: 'kedge.network-mutation/1',
    id: `${id}/${String(part)}`,
    ...facts,
    part,
    parts,
    stepsSha256,
    steps: own,
  });
  const room = roomIn(whole(MOST_PARTS, MOST_PARTS, [], NO_HASH));
  const { lists, sha256 } = yield* packed(steps, STEPS_MAX, room, (step) => ({
    ...step,
    before: told(step.before),
    after: told(step.after),
  }));
  for (const [index, own] of lists.entries()) yield whole(index + 1, lists.length, own, sha256);
}

/**
 * The records of what a service has of a section. Without items it is one record that says so.
 *
 * @param id of all of them; each has its number behind it.
 */
export function* forensicRecords(
  id: string,
  facts: ForensicFacts,
  items: Iterable<ForensicItem>,
): Generator<ForensicPart | undefined, void, undefined> {
  const whole = (part: number, parts: number, own: ForensicItem[]): ForensicPart => ({
    schema: 'kedge.posture-forensic-part/1',
    id: `${id}/${String(part)}`,
    ...facts,
    part,
    parts,
    items: own,
  });
  const room = roomIn(whole(MOST_PARTS, MOST_PARTS, []));
  const { lists } = yield* packed(items, ITEMS_MAX, room, (item) => ({ ...item, facts: told(item.facts) }));
  for (const [index, own] of lists.entries()) yield whole(index + 1, lists.length, own);
}

function roomIn(empty: object): number {
  return MAX_RECORD_BYTES - Buffer.byteLength(canonicalJson(empty));
}

/** Lists that fit, one at least, and the hash of all that is in them, as one list. */
function* packed<Item>(
  items: Iterable<Item>,
  most: number,
  room: number,
  shorter: (item: Item) => Item,
): Generator<undefined, { readonly lists: Item[][]; readonly sha256: string }, undefined> {
  const hash = createHash('sha256').update('[');
  let list: Item[] = [];
  const lists = [list];
  let bytes = 0;
  let count = 0;
  for (const given of items) {
    let item = given;
    let text = canonicalJson(item);
    if (text.length > ONE_MAX_BYTES) {
      item = shorter(item);
      text = canonicalJson(item);
    }
    const size = Buffer.byteLength(text) + 1;
    if (list.length === most || (list.length > 0 && bytes + size > room)) {
      list = [];
      lists.push(list);
      bytes = 0;
    }
    list.push(item);
    bytes += size;
    hash.update(count === 0 ? text : `,${text}`);
    count += 1;
    if (count % AT_ONCE === 0) yield undefined;
  }
  return { lists, sha256: hash.update(']').digest('hex') };
}

/** A value that no record can hold, by its hash. */
function told(value: ForensicItem['facts']): ForensicItem['facts'] {
  const text = canonicalJson(value);
  return text.length <= ONE_MAX_BYTES / 4
    ? value
    : { sha256: createHash('sha256').update(text).digest('hex') };
}

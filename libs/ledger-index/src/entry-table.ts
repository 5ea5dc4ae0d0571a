/**
 * Entries of the ledger in the file of the index: taken in order, put into blocks with sets of places for every word,
 * and found again by any combination of words and times. Block by block a question is an intersection of sets.
 * It must not read the ledger, and must not keep more in memory than the block that is filling.
 */
import { RECORD_SCHEMAS } from '@kedge/contracts';
import { leafHash } from '@kedge/ledger';
import { KedgeError, type Level } from '@kedge/units';
import type { Database, Statement } from '@kedge/sqlite';

import { type Block, type Counts, FIELDS, FillingBlock } from './blocks.js';
import type { CheckedPage } from './checked-question.js';
import type { Answer, Filter, Row } from './question.js';
import {
  addBytes,
  BLOCK,
  bytesOf,
  countOf,
  fill,
  intersect,
  listOf,
  noPlaces,
  type Places,
} from './places.js';
import { summaryOf } from './summary.js';

/** Where a filter has the words of each of the {@link FIELDS}. */
const WORDS = {
  session: 'sessions',
  principal: 'principals',
  device: 'devices',
  outcome: 'outcomes',
  level: 'levels',
  kind: 'kinds',
} as const satisfies Readonly<Record<(typeof FIELDS)[number], keyof Filter>>;

/** What the numbers of kinds in the file stand for. */
export const KINDS = RECORD_SCHEMAS.join(' ');

interface Posting {
  readonly count: number;
  readonly places: Buffer | null;
}

/** The words of a field, any of which is meant. */
interface Wanted {
  readonly field: number;
  readonly words: readonly string[];
}

/** A wanted field that some rows of a block have and some have not. */
interface Narrowing extends Wanted {
  /** How many rows have it; undefined where only the file knows. */
  readonly count: number | undefined;
}

/** A question as it goes from block to block. */
interface Asked {
  readonly wanted: readonly Wanted[];
  /** -Infinity and Infinity where no time is asked for. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly isTimed: boolean;
}

/** A part of the file that does not say what it has to. */
export class WrongPart extends Error {}

/** Where an index stands. */
export interface Standing {
  readonly from: number;
  readonly upTo: number;
  /** Leaf hash of the last entry that it took; undefined where it took none. */
  readonly leaf: Uint8Array | undefined;
}

/** `take` entries in order, `find` them. A throw of SQLite leaves it as it was before the call. */
export class EntryTable {
  readonly #database: Database;
  readonly #insert: Statement<unknown[]>;
  readonly #insertPosting: Statement<unknown[]>;
  readonly #select: Statement<[number], StoredRow>;
  readonly #posting: Statement<[number, number, string], Posting>;
  readonly #times: Statement<[number], unknown>;
  #standing: Standing = { from: 0, upTo: 0, leaf: undefined };
  #blocks: Block[] = [];
  /** Behind those that are in the file as blocks: one or none that is full and being written, one that fills. */
  #filling: FillingBlock[] = [];
  /** Words in memory, each once. */
  #strings = new Map<string, string>();
  /** Sets that are made anew for each block. */
  readonly #found: Places = noPlaces();
  readonly #other: Places = noPlaces();

  constructor(database: Database) {
    this.#database = database;
    this.#insert = database.prepare('INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
    // A block whose parts were not all written before is written again.
    this.#insertPosting = database.prepare('INSERT OR REPLACE INTO posting VALUES (?, ?, ?, ?, ?)');
    this.#select = database.prepare<[number], StoredRow>('SELECT * FROM entry WHERE number = ?').raw();
    this.#times = database.prepare<[number], unknown>('SELECT times FROM block WHERE block = ?').pluck();
    this.#posting = database.prepare(
      'SELECT count, places FROM posting WHERE block = ? AND field = ? AND word = ?',
    );
    this.#load();
  }

  get standing(): Standing {
    return this.#standing;
  }

  /**
   * Takes entries, all or none; those that it has are passed over, and one that has nothing begins with the first.
   *
   * @throws KedgeError `LEDGER_INDEX_GAP`
   */
  take(first: number, given: readonly Uint8Array[]): void {
    const { from, upTo } = this.#standing;
    const isEmpty = from === upTo;
    if (first > upTo && !isEmpty) throw gap(first, upTo);
    const begin = Math.max(first, upTo);
    const entries = given.slice(begin - first);
    const last = entries.at(-1);
    if (last === undefined) return;
    this.#inOne(() => {
      entries.forEach((bytes, at) => {
        const row = { index: begin + at, ...summaryOf(bytes) };
        this.#insert.run(...storedOf(row));
        this.#fillingFor(row.index).push(row);
      });
      this.#seal(entries.length);
      const standing = { from: isEmpty ? begin : from, upTo: begin + entries.length, leaf: leafHash(last) };
      for (const [name, value] of Object.entries(standing)) this.#say(name, value);
      this.#standing = standing;
    });
  }

  /** Lets go of what is before an entry; an index that has nothing behind it begins there. */
  prune(before: number): void {
    const { from, upTo } = this.#standing;
    if (before <= from && from !== upTo) return;
    this.#inOne(() => {
      const whole = Math.floor(before / BLOCK);
      this.#database.prepare('DELETE FROM entry WHERE number < ?').run(before);
      this.#database.prepare('DELETE FROM block WHERE block < ?').run(whole);
      this.#database.prepare('DELETE FROM posting WHERE block < ?').run(whole);
      if (before > upTo) this.#database.exec("DELETE FROM about WHERE name = 'leaf'");
      this.#say('from', before);
      this.#say('upTo', Math.max(before, upTo));
    });
    this.#load();
  }

  find(filter: Filter, { limit, descending, after }: CheckedPage): Answer {
    const asked = askedOf(filter);
    const rows: Row[] = [];
    let [count, more] = [0, false];
    const isBehind = (index: number): boolean =>
      after === undefined || (descending ? index < after : index > after);
    /** Puts those into the page that belong there; one that does not fit says that there are more. */
    const show = (ascending: readonly number[]): void => {
      for (const index of (descending ? ascending.toReversed() : ascending).filter(isBehind)) {
        more = rows.length === limit;
        if (more) return;
        rows.push(this.#read(index));
      }
    };
    const lookAt = (block: Block, filling?: FillingBlock): void => {
      const base = block.block * BLOCK;
      // The farthest row of a block says whether any of it can be in the page.
      const isShown = !more && isBehind(descending ? base : base + BLOCK - 1);
      const found = this.#countIn(block, filling, asked, isShown);
      count += found;
      if (isShown && found > 0) show(listOf(this.#found).map((place) => base + place));
    };
    const lookAtFilling = (): void => {
      for (const filling of descending ? this.#filling.toReversed() : this.#filling)
        lookAt(filling.facts, filling);
    };
    if (descending) lookAtFilling();
    for (const block of descending ? this.#blocks.toReversed() : this.#blocks) lookAt(block);
    if (!descending) lookAtFilling();
    return { count, rows, next: more ? (rows.at(-1)?.index ?? null) : null, upTo: this.#standing.upTo };
  }

  /** How many rows of a block agree. Their places stand in `#found` where they are wanted. */
  #countIn(block: Block, filling: FillingBlock | undefined, asked: Asked, wantsPlaces: boolean): number {
    const { fromMs, toMs, isTimed } = asked;
    if (block.rows === 0) return 0;
    if (isTimed && (block.dated === 0 || block.latest < fromMs || block.earliest >= toMs)) return 0;
    const narrowings = narrowingsOf(block, asked);
    if (narrowings === undefined) return 0;
    const isCut = isTimed && !(block.dated === block.rows && block.earliest >= fromMs && block.latest < toMs);
    const begin = Math.max(block.first, this.#standing.from - block.block * BLOCK);
    // One word alone, or none, is counted already.
    if (!wantsPlaces && !isCut && begin === block.first && narrowings.length <= 1) {
      const count = narrowings.length === 0 ? block.rows : narrowings[0]?.count;
      if (count !== undefined) return count;
    }
    fill(this.#found, begin, block.first + block.rows);
    for (const narrowing of narrowings) if (!this.#narrow(block, filling, narrowing)) return 0;
    if (isCut) this.#within(block, filling, asked);
    return countOf(this.#found);
  }

  /** Leaves the places that have one of the words. False where none has. */
  #narrow({ block }: Block, filling: FillingBlock | undefined, { field, words }: Narrowing): boolean {
    this.#other.fill(0);
    let some = false;
    for (const word of words) {
      if (filling !== undefined) {
        some = filling.addWord(this.#other, field, word) || some;
        continue;
      }
      const posting = this.#posting.get(block, field, word);
      if (posting === undefined) continue;
      // No places are all places.
      if (posting.places === null) return true;
      some = true;
      if (!addBytes(this.#other, posting.places, posting.count))
        throw new WrongPart(`the places of field ${field} in block ${block}`);
    }
    if (some) intersect(this.#found, this.#other);
    return some;
  }

  /** Leaves the places with a time in a range. */
  #within({ block, rows }: Block, filling: FillingBlock | undefined, { fromMs, toMs }: Asked): void {
    const bytes = filling === undefined ? this.#times.get(block) : filling.times;
    if (!(bytes instanceof Uint8Array) || bytes.length !== 8 * rows)
      throw new WrongPart(`the times of block ${block}`);
    const times = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const first = filling?.first ?? BLOCK - rows;
    this.#other.fill(0);
    for (let at = 0; at < rows; at++) {
      // What has no time is NaN, and in no range.
      const ms = times.getFloat64(8 * at, true);
      const place = first + at;
      if (ms >= fromMs && ms < toMs)
        this.#other[place >>> 5] = (this.#other[place >>> 5] ?? 0) | (1 << (place & 31));
    }
    intersect(this.#found, this.#other);
  }

  /** The block that an entry belongs into. */
  #fillingFor(index: number): FillingBlock {
    const block = Math.floor(index / BLOCK);
    const last = this.#filling.at(-1);
    if (last?.block === block) return last;
    const fresh = new FillingBlock(block);
    this.#filling.push(fresh);
    return fresh;
  }

  /**
   * Writes some of what a full block consists of, for so many rows that came in: questions wait for a piece of it,
   * never for all. What says that the block is there comes last.
   */
  #seal(rows: number): void {
    const [full] = this.#filling;
    if (full?.isFull !== true) return;
    const parts = full.nextParts(rows);
    for (const { field, word, places } of parts) {
      const isEverywhere = places.length === full.rows.length;
      this.#insertPosting.run(full.block, field, word, places.length, isEverywhere ? null : bytesOf(places));
    }
    if (full.isWritten) this.#finish(full);
  }

  #finish(full: FillingBlock): void {
    const { facts } = full;
    const { block, first, rows, dated, earliest, latest, words } = facts;
    const bounds = dated === 0 ? [0, 0] : [earliest, latest];
    this.#database
      .prepare('INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
      .run(block, first, rows, dated, ...bounds, wordsText(words), full.times);
    this.#blocks.push({ ...facts, words: words.map((counts) => this.#interned(counts)) });
    this.#filling.shift();
  }

  /** The same words in every block are the same strings. */
  #interned(counts: Counts): Counts {
    return counts && new Map([...counts].map(([word, count]) => [this.#string(word), count]));
  }

  #string(word: string): string {
    const known = this.#strings.get(word);
    if (known !== undefined) return known;
    this.#strings.set(word, word);
    return word;
  }

  #read(index: number): Row {
    const stored = this.#select.get(index);
    if (stored === undefined) throw new WrongPart(`entry ${index}`);
    return rowOf(stored);
  }

  #say(name: string, value: number | Buffer): void {
    this.#database.prepare('INSERT OR REPLACE INTO about VALUES (?, ?)').run(name, value);
  }

  /** Runs it as one transaction. What is in memory follows the file, also when it fails. */
  #inOne(change: () => void): void {
    try {
      this.#database.transaction(change)();
    } catch (error) {
      this.#load();
      throw error;
    }
  }

  #load(): void {
    const told = (name: string): unknown =>
      this.#database.prepare('SELECT value FROM about WHERE name = ?').pluck().get(name);
    const [from, upTo, leaf] = [told('from') ?? 0, told('upTo') ?? 0, told('leaf')];
    if (typeof from !== 'number' || typeof upTo !== 'number') throw new WrongPart('where the index stands');
    this.#standing = { from, upTo, leaf: leaf instanceof Uint8Array ? leaf : undefined };
    this.#strings = new Map();
    this.#blocks = this.#database
      .prepare<[], StoredBlock>(
        'SELECT block, first, rows, dated, earliest, latest, words FROM block ORDER BY block',
      )
      .all()
      .map(({ words, ...block }) => ({
        ...block,
        words: wordsOf(words, block.block).map((counts) => this.#interned(counts)),
      }));
    const begin = Math.max(from, ((this.#blocks.at(-1)?.block ?? -1) + 1) * BLOCK);
    this.#filling = [];
    const rest = this.#database
      .prepare<[number], StoredRow>('SELECT * FROM entry WHERE number >= ? ORDER BY number')
      .raw();
    let next = begin;
    for (const stored of rest.iterate(begin)) {
      const row = rowOf(stored);
      if (row.index !== next) break;
      this.#fillingFor(row.index).push(row);
      next += 1;
    }
    if (next !== Math.max(begin, upTo)) throw new WrongPart('the entries behind the last block');
  }
}

function gap(first: number, upTo: number): KedgeError {
  return new KedgeError({
    code: 'LEDGER_INDEX_GAP',
    message: `cannot index the ledger's entries from ${first} on: those from ${upTo} on are missing`,
    expected: `entries from ${upTo} on`,
  });
}

interface StoredBlock extends Omit<Block, 'words'> {
  readonly words: string;
}

/** Its columns in the order of the table. */
type StoredRow = readonly [
  number: number,
  at: number | null,
  kind: number | null,
  level: Level | null,
  epoch: number | null,
  principal: string | null,
  device: string | null,
  session: string | null,
  outcome: string | null,
];

function storedOf(row: Row): (string | number | null)[] {
  const kind = row.kind === null ? null : RECORD_SCHEMAS.indexOf(row.kind);
  const epoch = row.epoch === null ? null : Number(row.epoch);
  return [row.index, row.atMs, kind, row.level, epoch, row.principal, row.device, row.session, row.outcome];
}

function rowOf([number, at, kind, level, epoch, principal, device, session, outcome]: StoredRow): Row {
  return {
    index: number,
    atMs: at,
    kind: kind === null ? null : (RECORD_SCHEMAS[kind] ?? null),
    level,
    epoch: epoch === null ? null : String(epoch),
    principal,
    device,
    session,
    outcome,
  };
}

function askedOf(filter: Filter): Asked {
  const wanted = FIELDS.flatMap((name, field): Wanted[] => {
    const words: readonly (string | number)[] | undefined = filter[WORDS[name]];
    return words === undefined ? [] : [{ field, words: [...new Set(words.map(String))] }];
  });
  const { fromMs = -Infinity, toMs = Infinity } = filter;
  return { wanted, fromMs, toMs, isTimed: filter.fromMs !== undefined || filter.toMs !== undefined };
}

/** What narrows the rows of a block, the rarest first; undefined where none of them can agree. */
function narrowingsOf({ words, rows }: Block, { wanted }: Asked): readonly Narrowing[] | undefined {
  const narrowings: Narrowing[] = [];
  for (const each of wanted) {
    const counts = words[each.field];
    if (counts === undefined) {
      narrowings.push({ ...each, count: undefined });
      continue;
    }
    const there = each.words.filter((word) => counts.has(word));
    const count = there.reduce((sum, word) => sum + (counts.get(word) ?? 0), 0);
    if (count === 0) return undefined;
    if (count < rows) narrowings.push({ field: each.field, words: there, count });
  }
  // A field with more words than are listed has few rows for each.
  return narrowings.sort((a, b) => (a.count ?? 0) - (b.count ?? 0));
}

function wordsText(words: readonly Counts[]): string {
  return JSON.stringify(words.map((counts) => (counts === undefined ? null : Object.fromEntries(counts))));
}

/** @throws WrongPart */
function wordsOf(text: string, block: number): readonly Counts[] {
  const wrong = (): WrongPart => new WrongPart(`the words of block ${block}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong();
  }
  if (!Array.isArray(value) || value.length !== FIELDS.length) throw wrong();
  return value.map((counts: unknown): Counts => {
    if (counts === null) return undefined;
    if (typeof counts !== 'object') throw wrong();
    const entries: [string, unknown][] = Object.entries(counts);
    return new Map(
      entries.map(([word, count]) => {
        if (typeof count !== 'number') throw wrong();
        return [word, count];
      }),
    );
  });
}

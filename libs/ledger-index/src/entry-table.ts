/**
 * Entries of the ledger in the file of the index: taken in order, put into blocks with sets of places for every word,
 * and found again by any combination of words and times. Block by block a question is an intersection of sets.
 * It must not read the ledger, and must not keep more in memory than the block that is filling.
 */
import { RECORD_SCHEMAS } from '@kedge/contracts';
import { leafHash } from '@kedge/ledger';
import { KedgeError, type Level } from '@kedge/units';
import type { Database, Statement } from 'better-sqlite3';

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

/** The fields that have sets of places, in the order in which a question looks at them: the rarest words first. */
const FIELDS: readonly {
  readonly field: keyof Row;
  readonly words: Exclude<keyof Filter, 'fromMs' | 'toMs'>;
}[] = [
  { field: 'session', words: 'sessions' },
  { field: 'principal', words: 'principals' },
  { field: 'device', words: 'devices' },
  { field: 'outcome', words: 'outcomes' },
  { field: 'level', words: 'levels' },
  { field: 'kind', words: 'kinds' },
];

/** What the numbers of kinds in the file stand for. */
export const KINDS = RECORD_SCHEMAS.join(' ');

/** A full block, but for what is in it. */
interface Block {
  readonly block: number;
  /** Its first place that is taken; others before it were pruned before it began. */
  readonly first: number;
  readonly rows: number;
  /** How many of them have a time, and the bounds of those. */
  readonly dated: number;
  readonly earliest: number;
  readonly latest: number;
}

interface Posting {
  readonly count: number;
  readonly places: Buffer | null;
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
  readonly #select: Statement<[number], StoredRow>;
  readonly #posting: Statement<[number, number, string], Posting>;
  #standing: Standing = { from: 0, upTo: 0, leaf: undefined };
  #blocks: Block[] = [];
  /** The rows behind the last full block. */
  #filling: Row[] = [];
  /** Sets that are made anew for each block. */
  readonly #found: Places = noPlaces();
  readonly #other: Places = noPlaces();

  constructor(database: Database) {
    this.#database = database;
    this.#insert = database.prepare('INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
    this.#select = database.prepare('SELECT * FROM entry WHERE number = ?');
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
        this.#filling.push(row);
        if ((row.index + 1) % BLOCK === 0) this.#seal();
      });
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
    const rows: Row[] = [];
    let [count, more] = [0, false];
    const isBehind = (index: number): boolean =>
      after === undefined || (descending ? index < after : index > after);
    /** Puts those into the page that belong there; one that does not fit says that there are more. */
    const show = (ascending: readonly number[], read: (index: number) => Row): void => {
      for (const index of (descending ? ascending.toReversed() : ascending).filter(isBehind)) {
        more = rows.length === limit;
        if (more) return;
        rows.push(read(index));
      }
    };
    const showBlock = (block: Block): void => {
      const base = block.block * BLOCK;
      const found = this.#foundIn(block, filter);
      count += found;
      // The farthest row of a block says whether any of it can be in the page.
      if (found === 0 || more || !isBehind(descending ? base : base + BLOCK - 1)) return;
      show(
        listOf(this.#found).map((place) => base + place),
        (index) => this.#read(index),
      );
    };
    const showFilling = (): void => {
      const matching = new Map(
        this.#filling.filter((row) => agrees(row, filter)).map((row) => [row.index, row]),
      );
      count += matching.size;
      if (!more) show([...matching.keys()], (index) => matching.get(index) ?? this.#read(index));
    };
    if (descending) showFilling();
    for (const block of descending ? this.#blocks.toReversed() : this.#blocks) showBlock(block);
    if (!descending) showFilling();
    return { count, rows, next: more ? (rows.at(-1)?.index ?? null) : null, upTo: this.#standing.upTo };
  }

  /** Puts the places of a block that agree into `#found`; how many they are. */
  #foundIn(block: Block, filter: Filter): number {
    const { fromMs = -Infinity, toMs = Infinity } = filter;
    const isTimed = filter.fromMs !== undefined || filter.toMs !== undefined;
    if (isTimed && (block.dated === 0 || block.latest < fromMs || block.earliest >= toMs)) return 0;
    const begin = Math.max(block.first, this.#standing.from - block.block * BLOCK);
    fill(this.#found, begin, BLOCK);
    for (const [number, { words }] of FIELDS.entries()) {
      const wanted = filter[words];
      if (wanted !== undefined && !this.#narrow(block, number, wanted)) return 0;
    }
    const isWhole = block.dated === block.rows && block.earliest >= fromMs && block.latest < toMs;
    if (isTimed && !isWhole) this.#within(block, fromMs, toMs);
    return countOf(this.#found);
  }

  /** Leaves the places that have one of the words. False where none has. */
  #narrow(block: Block, number: number, words: readonly (string | number)[]): boolean {
    this.#other.fill(0);
    let some = false;
    for (const word of words) {
      const posting = this.#posting.get(block.block, number, String(word));
      if (posting === undefined) continue;
      // No places are all places.
      if (posting.places === null) return true;
      some = true;
      if (!addBytes(this.#other, posting.places, posting.count))
        throw new WrongPart(`the places of field ${number} in block ${block.block}`);
    }
    if (some) intersect(this.#found, this.#other);
    return some;
  }

  /** Leaves the places with a time in a range. */
  #within({ block, rows }: Block, fromMs: number, toMs: number): void {
    const bytes = this.#database.prepare('SELECT times FROM block WHERE block = ?').pluck().get(block);
    if (!(bytes instanceof Uint8Array) || bytes.length !== 8 * rows)
      throw new WrongPart(`the times of block ${block}`);
    const times = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#other.fill(0);
    for (let at = 0; at < rows; at++) {
      // What has no time is NaN, and in no range.
      const ms = times.getFloat64(8 * at, true);
      const place = BLOCK - rows + at;
      if (ms >= fromMs && ms < toMs)
        this.#other[place >>> 5] = (this.#other[place >>> 5] ?? 0) | (1 << (place & 31));
    }
    intersect(this.#found, this.#other);
  }

  /** Makes a full block of the rows that were filling one. */
  #seal(): void {
    const rows = this.#filling;
    const block = Math.floor((rows[0]?.index ?? 0) / BLOCK);
    const [base, first] = [block * BLOCK, BLOCK - rows.length];
    const insert = this.#database.prepare('INSERT INTO posting VALUES (?, ?, ?, ?, ?)');
    for (const [number, { field }] of FIELDS.entries()) {
      const lists = new Map<string, number[]>();
      for (const row of rows) {
        if (row[field] === null) continue;
        const word = String(row[field]);
        const list = lists.get(word);
        if (list === undefined) lists.set(word, [row.index - base]);
        else list.push(row.index - base);
      }
      for (const [word, list] of [...lists].sort(([a], [b]) => (a < b ? -1 : 1)))
        insert.run(block, number, word, list.length, list.length === rows.length ? null : bytesOf(list));
    }
    const times = Buffer.alloc(8 * rows.length);
    let [dated, earliest, latest] = [0, Infinity, -Infinity];
    for (const [at, { atMs }] of rows.entries()) {
      times.writeDoubleLE(atMs ?? NaN, 8 * at);
      if (atMs === null) continue;
      dated += 1;
      earliest = Math.min(earliest, atMs);
      latest = Math.max(latest, atMs);
    }
    const bounds = dated === 0 ? [0, 0] : [earliest, latest];
    this.#database
      .prepare('INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?)')
      .run(block, first, rows.length, dated, ...bounds, times);
    this.#blocks.push({ block, first, rows: rows.length, dated, earliest, latest });
    this.#filling = [];
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
    this.#blocks = this.#database
      .prepare<[], Block>('SELECT block, first, rows, dated, earliest, latest FROM block ORDER BY block')
      .all();
    const begin = Math.max(from, ((this.#blocks.at(-1)?.block ?? -1) + 1) * BLOCK);
    this.#filling = this.#database
      .prepare<[number], StoredRow>('SELECT * FROM entry WHERE number >= ? ORDER BY number')
      .all(begin)
      .map(rowOf);
    if (this.#filling.length !== Math.max(0, upTo - begin))
      throw new WrongPart('the entries behind the last block');
  }
}

function gap(first: number, upTo: number): KedgeError {
  return new KedgeError({
    code: 'LEDGER_INDEX_GAP',
    message: `cannot index the ledger's entries from ${first} on: those from ${upTo} on are missing`,
    expected: `entries from ${upTo} on`,
  });
}

interface StoredRow {
  readonly number: number;
  readonly at: number | null;
  readonly kind: number | null;
  readonly level: Level | null;
  readonly epoch: number | null;
  readonly principal: string | null;
  readonly device: string | null;
  readonly session: string | null;
  readonly outcome: string | null;
}

function storedOf(row: Row): (string | number | null)[] {
  const kind = row.kind === null ? null : RECORD_SCHEMAS.indexOf(row.kind);
  const epoch = row.epoch === null ? null : Number(row.epoch);
  return [row.index, row.atMs, kind, row.level, epoch, row.principal, row.device, row.session, row.outcome];
}

function rowOf({ number, at, kind, epoch, ...rest }: StoredRow): Row {
  return {
    index: number,
    atMs: at,
    kind: kind === null ? null : (RECORD_SCHEMAS[kind] ?? null),
    epoch: epoch === null ? null : String(epoch),
    ...rest,
  };
}

/** True for a row that a filter means. */
function agrees(row: Row, filter: Filter): boolean {
  const { fromMs = -Infinity, toMs = Infinity } = filter;
  const isTimed = filter.fromMs !== undefined || filter.toMs !== undefined;
  if (isTimed && (row.atMs === null || row.atMs < fromMs || row.atMs >= toMs)) return false;
  return FIELDS.every(({ field, words }) => {
    const wanted: readonly unknown[] | undefined = filter[words];
    return wanted === undefined || wanted.includes(row[field]);
  });
}

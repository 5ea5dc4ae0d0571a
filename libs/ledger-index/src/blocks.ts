/**
 * Blocks of entries: full ones, of which only what most questions need is in memory, and those that fill.
 * It must not read or write the file, nor know what a question is.
 */
import type { Row } from './question.js';
import { addList, BLOCK, type Places } from './places.js';

/** The fields that have sets of places, by their numbers in the file. */
export const FIELDS = [
  'session',
  'principal',
  'device',
  'outcome',
  'level',
  'kind',
] as const satisfies readonly (keyof Row)[];

/**
 * A field that has no more words than this in a block has them in memory with their counts: what is not there, or
 * everywhere, then needs no look into the file. At 10 million entries these are 6 MiB for a site with 200 devices,
 * and 100 MiB where every block had as many as may be of every field, all of them new.
 */
export const LISTED = 256;

/** How often each word of a field is in a block; undefined where there are more than {@link LISTED}. */
export type Counts = ReadonlyMap<string, number> | undefined;

/** What is known of a block without the file. */
export interface Block {
  readonly block: number;
  /** Its first place that is taken; others before it were pruned before it began. */
  readonly first: number;
  readonly rows: number;
  /** How many of them have a time, and the bounds of those: whole milliseconds, beyond each other where none has. */
  readonly dated: number;
  readonly earliest: number;
  readonly latest: number;
  /** By the number of the field. */
  readonly words: readonly Counts[];
}

/** Where a word stands. */
export interface WordPlaces {
  readonly field: number;
  readonly word: string;
  readonly places: readonly number[];
}

/** A block that entries are put into; when it is full, its parts are written piece by piece. */
export class FillingBlock {
  readonly block: number;
  readonly #rows: Row[] = [];
  readonly #lists: readonly Map<string, number[]>[] = FIELDS.map(() => new Map<string, number[]>());
  #dated = 0;
  #earliest = Infinity;
  #latest = -Infinity;
  /** What is still to be written once it is full, the last first. */
  #unwritten: WordPlaces[] | undefined;
  #share = 0;

  constructor(block: number) {
    this.block = block;
  }

  /** The number of the entry in its first place. */
  get base(): number {
    return this.block * BLOCK;
  }

  get rows(): readonly Row[] {
    return this.#rows;
  }

  get first(): number {
    return this.#rows.length === 0 ? BLOCK : (this.#rows[0]?.index ?? 0) - this.base;
  }

  get isFull(): boolean {
    return (this.#rows.at(-1)?.index ?? 0) + 1 === this.base + BLOCK;
  }

  /** True once {@link nextParts} has given everything. */
  get isWritten(): boolean {
    return this.#unwritten?.length === 0;
  }

  /** Takes the row behind its last one. */
  push(row: Row): void {
    this.#rows.push(row);
    const place = row.index - this.base;
    for (const [number, field] of FIELDS.entries()) {
      const value = row[field];
      if (value === null) continue;
      const lists = this.#lists[number];
      const list = lists?.get(String(value));
      if (list === undefined) lists?.set(String(value), [place]);
      else list.push(place);
    }
    if (row.atMs === null) return;
    this.#dated += 1;
    this.#earliest = Math.min(this.#earliest, row.atMs);
    this.#latest = Math.max(this.#latest, row.atMs);
  }

  /** Adds the places of a word to a set. False where it is nowhere. */
  addWord(places: Places, field: number, word: string): boolean {
    const list = this.#lists[field]?.get(word);
    if (list !== undefined) addList(places, list);
    return list !== undefined;
  }

  /** What is known of it now. */
  get facts(): Block {
    const [dated, earliest, latest] = [this.#dated, this.#earliest, this.#latest];
    const words = this.#lists.map((lists): Counts =>
      lists.size > LISTED ? undefined : new Map([...lists].map(([word, list]) => [word, list.length])),
    );
    return { block: this.block, first: this.first, rows: this.#rows.length, dated, earliest, latest, words };
  }

  /** The times of its rows, eight bytes each; NaN is none. */
  get times(): Buffer {
    const times = Buffer.alloc(8 * this.#rows.length);
    for (const [at, { atMs }] of this.#rows.entries()) times.writeDoubleLE(atMs ?? NaN, 8 * at);
    return times;
  }

  /**
   * What to write when so many rows came in behind it: twice their share, in the order of the file, so that all of it
   * is written long before the next block is full.
   */
  nextParts(rows: number): readonly WordPlaces[] {
    if (this.#unwritten === undefined) {
      this.#unwritten = this.#lists
        .flatMap((lists, field) =>
          [...lists]
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([word, places]): WordPlaces => ({ field, word, places })),
        )
        .reverse();
      this.#share = (2 * this.#unwritten.length) / BLOCK;
    }
    const count = Math.ceil(this.#share * rows);
    return this.#unwritten.splice(Math.max(0, this.#unwritten.length - count)).reverse();
  }
}

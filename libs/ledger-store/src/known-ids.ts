/**
 * The ids of the newest records, so that one that is given again is known.
 * It must not grow beyond its bound: older ones the index of the ledger knows.
 */

import { HASH_BYTES } from '@kedge/ledger';

/** A record under its id. */
export interface KnownRecord {
  /** The hash of its entry as a leaf stands there among others: an object for each would keep the collector busy. */
  readonly leaves: Buffer;
  readonly at: number;
  /** Where it stands; undefined while it is not durable. */
  index: number | undefined;
  /** Called when it is durable, or cannot be. */
  waiting: ((error?: Error) => void)[] | undefined;
}

/**
 * At least so many ids, the newest ones, and at most twice as many: two generations, of which the older goes as a whole.
 * Taking ids out one by one costs more than all else that is done with them.
 */
export class KnownIds {
  readonly #least: number;
  #newer = new Map<string, KnownRecord>();
  #leaves: Buffer;
  #added = 0;
  #older = new Map<string, KnownRecord>();

  constructor(least: number) {
    this.#least = least;
    this.#leaves = Buffer.allocUnsafeSlow(least * HASH_BYTES);
  }

  get(id: string): KnownRecord | undefined {
    return this.#newer.get(id) ?? this.#older.get(id);
  }

  add(id: string, leaf: Buffer, index?: number): KnownRecord {
    if (this.#added >= this.#least) {
      this.#older = this.#newer;
      this.#newer = new Map();
      this.#leaves = Buffer.allocUnsafeSlow(this.#least * HASH_BYTES);
      this.#added = 0;
    }
    const at = this.#added * HASH_BYTES;
    this.#added += 1;
    this.#leaves.set(leaf, at);
    const record: KnownRecord = { leaves: this.#leaves, at, index, waiting: undefined };
    this.#newer.set(id, record);
    return record;
  }

  forget(id: string, record: KnownRecord): void {
    for (const records of [this.#newer, this.#older]) if (records.get(id) === record) records.delete(id);
  }
}

/** True where the record that is known is the one with this leaf. */
export function isSameRecord({ leaves, at }: KnownRecord, leaf: Buffer): boolean {
  return leaves.compare(leaf, 0, HASH_BYTES, at, at + HASH_BYTES) === 0;
}

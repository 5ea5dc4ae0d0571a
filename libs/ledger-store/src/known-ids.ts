/**
 * The ids of the newest records, so that one that is given again is known.
 * It must not grow beyond its bound: older ones the index of the ledger knows.
 */

/** A record under its id. */
export interface KnownRecord {
  /** The hash of its entry as a leaf. */
  readonly leaf: Buffer;
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
  #older = new Map<string, KnownRecord>();

  constructor(least: number) {
    this.#least = least;
  }

  get(id: string): KnownRecord | undefined {
    return this.#newer.get(id) ?? this.#older.get(id);
  }

  add(id: string, leaf: Buffer, index?: number): KnownRecord {
    const record: KnownRecord = { leaf, index, waiting: undefined };
    if (this.#newer.size >= this.#least) {
      this.#older = this.#newer;
      this.#newer = new Map();
    }
    this.#newer.set(id, record);
    return record;
  }

  forget(id: string, record: KnownRecord): void {
    for (const records of [this.#newer, this.#older]) if (records.get(id) === record) records.delete(id);
  }
}

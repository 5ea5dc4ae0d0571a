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
  waiting: ((error?: Error) => void)[];
}

/** A bounded number of ids, the newest ones. */
export class KnownIds {
  readonly #max: number;
  readonly #records = new Map<string, KnownRecord>();
  /** The ids in their order, round and round: a map that is emptied from its front gets slow. */
  readonly #order: string[] = [];
  #next = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get(id: string): KnownRecord | undefined {
    return this.#records.get(id);
  }

  add(id: string, leaf: Buffer, index?: number): KnownRecord {
    const record: KnownRecord = { leaf, index, waiting: [] };
    this.#records.set(id, record);
    const oldest = this.#order[this.#next];
    if (oldest !== undefined && oldest !== id) this.#records.delete(oldest);
    this.#order[this.#next] = id;
    this.#next = (this.#next + 1) % this.#max;
    return record;
  }

  forget(id: string, record: KnownRecord): void {
    if (this.#records.get(id) === record) this.#records.delete(id);
  }
}

/**
 * Long facts on their way into a spool: record by record, as they are made, so that everything else has its turn.
 * It must not decide what is recorded, and holds no more of a fact than its records that wait for the disk.
 */
import type { LedgerRecord } from '@kedge/contracts';

/** Long facts that may wait to be written down. */
const FACTS_MAX = 256;
/** Records of a long fact that may wait for the disk at once. */
const RECORDS_AT_ONCE = 8;
/** Longest time for which one hold counts. */
const HOLD_MAX_MS = 5_000;

/** What a spreading works with. */
export interface SpreadingOptions {
  /** Keeps one record; never rejects. */
  readonly keep: (record: LedgerRecord) => Promise<unknown>;
  /** Told of a fact that could not be kept, and why where that is known. */
  readonly lose: (error: unknown) => void;
}

/** One after the other. `close` once. */
export class Spreading {
  readonly #options: SpreadingOptions;
  readonly #facts: Iterable<LedgerRecord | undefined>[] = [];
  readonly #holds = new Set<symbol>();
  #freed: (() => void)[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: SpreadingOptions) {
    this.#options = options;
  }

  /** Takes a fact. Nobody waits for it. */
  add(records: Iterable<LedgerRecord | undefined>): void {
    if (this.#closed || this.#facts.length >= FACTS_MAX) {
      this.#options.lose(undefined);
      return;
    }
    this.#facts.push(records);
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Makes no more records until what is returned is called, for 5 s at most. */
  hold(): () => void {
    const hold = Symbol('hold');
    this.#holds.add(hold);
    const release = (): void => {
      clearTimeout(limit);
      if (!this.#holds.delete(hold) || this.#holds.size > 0) return;
      for (const free of this.#freed.splice(0)) free();
    };
    const limit = setTimeout(release, HOLD_MAX_MS).unref();
    return release;
  }

  /** Writes down what was taken. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#holds.clear();
    for (const free of this.#freed.splice(0)) free();
    await this.#running;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    for (let fact = this.#facts.shift(); fact !== undefined; fact = this.#facts.shift()) {
      const waiting = new Set<Promise<unknown>>();
      try {
        // By hand: a record is made only once its turn has come.
        const records = fact[Symbol.iterator]();
        for (;;) {
          await this.#turn();
          const next = records.next();
          if (next.done === true) break;
          const record = next.value;
          if (record === undefined) continue;
          const kept = this.#options.keep(record).finally(() => waiting.delete(kept));
          waiting.add(kept);
          if (waiting.size >= RECORDS_AT_ONCE) await Promise.race(waiting);
        }
      } catch (error) {
        this.#options.lose(error);
      }
      await Promise.all(waiting);
    }
  }

  async #turn(): Promise<void> {
    while (this.#holds.size > 0 && !this.#closed)
      await new Promise<void>((resolve) => {
        this.#freed.push(resolve);
      });
    await new Promise(setImmediate);
  }
}

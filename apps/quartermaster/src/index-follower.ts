/**
 * Keeps the index behind the log: what became durable goes into it, in order, and whatever it lacks is read again.
 * It must not hold up the log: the index may be late, and is made anew when it is damaged.
 */
import type { LedgerIndex } from '@kedge/ledger-index';
import type { DurableRecord, LedgerStore } from '@kedge/ledger-store';
import { setTimeout as pause } from 'node:timers/promises';

import type { QuartermasterLog } from './log.js';

/** Bytes of entries that wait for the index; beyond it they are read from the log again. */
const WAITING_MAX = 16 * 1024 * 1024;
const AT_ONCE = 4_096;
const RETRY_MS = 1_000;

/** The log as the follower sees it. */
export type FollowedStore = Pick<LedgerStore, 'size' | 'entriesFrom' | 'onDurable' | 'status'>;

/** Feeds an index until it is closed. */
export class IndexFollower {
  readonly #store: FollowedStore;
  readonly #open: () => Promise<LedgerIndex>;
  readonly #log: QuartermasterLog;
  readonly #forget: () => void;
  readonly #listeners = new Set<() => void>();
  #index: LedgerIndex | undefined;
  #waiting: { readonly index: number; readonly entry: Buffer }[] = [];
  #bytes = 0;
  #following: Promise<void> | undefined;
  #closed = false;
  #trouble: string | undefined;

  /** @param open opens the index, anew after each failure of it. */
  constructor(store: FollowedStore, open: () => Promise<LedgerIndex>, log: QuartermasterLog) {
    this.#store = store;
    this.#open = open;
    this.#log = log;
    this.#forget = store.onDurable((records) => {
      this.#take(records);
    });
    this.#follow();
  }

  /** Entries below are in the index. */
  get upTo(): number {
    return this.#index?.upTo ?? 0;
  }

  /** The index; undefined while there is none to ask. */
  get index(): LedgerIndex | undefined {
    return this.#trouble === undefined ? this.#index : undefined;
  }

  /** Why the index does not follow; undefined while it does. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Resolves when the index has entries below `size`, when the time is over, or when the signal aborts. */
  async reached(size: number, withinMs: number, signal: AbortSignal): Promise<void> {
    if (this.upTo >= size || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#listeners.delete(look);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const look = (): void => {
        if (this.upTo >= size || this.#closed) done();
      };
      const timer = setTimeout(done, withinMs);
      this.#listeners.add(look);
      signal.addEventListener('abort', done);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#forget();
    for (const listener of [...this.#listeners]) listener();
    await this.#following;
    await this.#index?.close();
  }

  #take(records: readonly DurableRecord[]): void {
    for (const { index, entry } of records) {
      this.#waiting.push({ index, entry });
      this.#bytes += entry.length;
    }
    if (this.#bytes > WAITING_MAX) this.#letGo();
    this.#follow();
  }

  #letGo(): void {
    this.#waiting = [];
    this.#bytes = 0;
  }

  #follow(): void {
    this.#following ??= this.#run().finally(() => {
      this.#following = undefined;
      // What came between its last look and now.
      if (!this.#closed && this.#trouble === undefined && this.upTo < this.#store.size) this.#follow();
    });
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        const index = (this.#index ??= await this.#open());
        if (this.#trouble !== undefined) this.#log.info({ upTo: index.upTo }, 'the index follows again');
        this.#trouble = undefined;
        // Also an index that lacks nothing when it is opened has been waited for.
        for (const listener of [...this.#listeners]) listener();
        if (index.upTo >= this.#store.size) return;
        await this.#step(index);
      } catch (error) {
        if (this.#trouble === undefined) this.#log.error({ err: error }, 'the index does not follow');
        this.#trouble = error instanceof Error ? error.message : String(error);
        const broken = this.#index;
        this.#index = undefined;
        this.#letGo();
        await broken?.close().catch(() => undefined);
        await pause(RETRY_MS);
      }
    }
  }

  /** One piece of what waits where that is what comes next; otherwise from the log. */
  async #step(index: LedgerIndex): Promise<void> {
    while ((this.#waiting[0]?.index ?? Infinity) < index.upTo)
      this.#bytes -= this.#waiting.shift()?.entry.length ?? 0;
    if (this.#waiting[0]?.index === index.upTo) {
      const piece = this.#waiting.splice(0, AT_ONCE);
      for (const { entry } of piece) this.#bytes -= entry.length;
      await index.add(
        piece[0]?.index ?? 0,
        piece.map(({ entry }) => entry),
      );
      return;
    }
    this.#letGo();
    const store = this.#store;
    await index.catchUp(function* (from) {
      for (const { entry } of store.entriesFrom(from)) yield entry;
    }, store.status().keptFrom);
  }
}

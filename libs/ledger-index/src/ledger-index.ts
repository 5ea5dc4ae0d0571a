/**
 * The index of the ledger: kept beside the log, answered from its own thread, and made anew from the log at any time.
 * It must not be what anybody proves anything by: the log is the truth, this finds it.
 */
import { checkedFilter, checkedPage } from './checked-question.js';
import { IndexThread } from './index-thread.js';
import type { Answer, Filter, Page } from './question.js';
import type { Beginning, Call } from './thread.js';

/** Where it is, and which log it belongs to. */
export interface LedgerIndexOptions {
  /** Its file; two more stand beside it while it is open. Its directory exists. */
  readonly path: string;
  /** Name of the log; an index of another one is made anew. */
  readonly origin: string;
  /**
   * Leaf hash of an entry of the log, undefined for one that it does not have. Where it is another one than the index
   * has seen, the index is made anew: the log was put back, or replaced.
   */
  readonly leafAt?: (index: number) => Uint8Array | undefined;
}

/** Gives the entries of a log from an index on, in their order. */
export type EntriesFrom = (index: number) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** An open index. Every call is answered in its order. */
export interface LedgerIndex {
  readonly beginning: Beginning;
  /** The first entry that it has; others were pruned. */
  readonly from: number;
  /** Entries before this one are in it. */
  readonly upTo: number;
  /**
   * Takes entries, the first of which has this index; those that it has already are passed over. Resolves with the
   * new `upTo` when questions see them and they survive the end of the process.
   *
   * @throws KedgeError `LEDGER_INDEX_GAP` (entries before it are missing; an index with nothing takes any),
   *   `LEDGER_INDEX_FAILED`, `LEDGER_INDEX_DAMAGED`, `LEDGER_INDEX_CLOSED`.
   */
  add(first: number, entries: readonly Uint8Array[]): Promise<number>;
  /**
   * Takes what the log has beyond it, all of it where it has nothing. Questions are answered meanwhile.
   *
   * @param first Where the log begins now (0 unless it was pruned).
   */
  catchUp(entriesFrom: EntriesFrom, first?: number): Promise<number>;
  /**
   * @throws KedgeError `LEDGER_INDEX_QUESTION`, naming the field; `LEDGER_INDEX_FAILED`, `LEDGER_INDEX_DAMAGED` (open
   *   it again: it is made anew), `LEDGER_INDEX_CLOSED`.
   */
  query(filter: Filter, page?: Page): Promise<Answer>;
  /** Lets go of entries before this one. */
  prune(before: number): Promise<void>;
  /** Ends its thread when what was asked before is done. Twice is once. */
  close(): Promise<void>;
}

/** Entries and bytes that are handed to the thread at once, at most; a question waits no longer than they take. */
const BATCH = { entries: 500, bytes: 2 * 1024 * 1024 };

/**
 * Opens the index; one that cannot be relied on begins with nothing. `close` it.
 *
 * @throws KedgeError `LEDGER_INDEX_FAILED` (no such directory, no access, in use by another process).
 */
export async function openLedgerIndex({ path, origin, leafAt }: LedgerIndexOptions): Promise<LedgerIndex> {
  const thread = new IndexThread({ path, origin });
  try {
    await thread.ask({ call: 'open' });
    const { leaf, upTo } = thread.told;
    const isOther = leaf !== undefined && leafAt !== undefined && !isSame(leaf, leafAt(upTo - 1));
    if (isOther) await thread.ask({ call: 'renew' });
  } catch (error) {
    await thread.end();
    throw error;
  }
  return new OpenIndex(thread);
}

function isSame(leaf: Uint8Array, other: Uint8Array | undefined): boolean {
  return other !== undefined && Buffer.from(leaf).equals(other);
}

class OpenIndex implements LedgerIndex {
  readonly #thread: IndexThread;
  /** When what was given so far is in it, or was refused. */
  #added = Promise.resolve();

  constructor(thread: IndexThread) {
    this.#thread = thread;
  }

  get beginning(): Beginning {
    return this.#thread.told.beginning;
  }

  get from(): number {
    return this.#thread.told.from;
  }

  get upTo(): number {
    return this.#thread.told.upTo;
  }

  async add(first: number, entries: readonly Uint8Array[]): Promise<number> {
    // In order, also when nobody waits for the one before: its batches leave one by one.
    const added = this.#added.then(() => this.#add(first, entries));
    this.#added = added.then(
      () => undefined,
      () => undefined,
    );
    return added;
  }

  async #add(first: number, entries: readonly Uint8Array[]): Promise<number> {
    for (let at = 0; at < entries.length;) {
      const batch: Uint8Array[] = [];
      let size = 0;
      for (let next = entries[at]; next !== undefined; next = entries[at + batch.length]) {
        if (batch.length === BATCH.entries || (batch.length > 0 && size + next.length > BATCH.bytes)) break;
        batch.push(next);
        size += next.length;
      }
      // A copy of its own, which is handed over and not shared.
      const bytes = new Uint8Array(size);
      let end = 0;
      for (const entry of batch) {
        bytes.set(entry, end);
        end += entry.length;
      }
      const lengths = batch.map(({ length }) => length);
      await this.#thread.ask({ call: 'add', first: first + at, bytes, lengths }, [bytes.buffer]);
      at += batch.length;
    }
    return this.upTo;
  }

  async catchUp(entriesFrom: EntriesFrom, first = 0): Promise<number> {
    if (this.upTo < first) await this.prune(first);
    let [batch, size]: [Uint8Array[], number] = [[], 0];
    let at = this.upTo;
    const hand = async (): Promise<void> => {
      await this.add(at, batch);
      at += batch.length;
      [batch, size] = [[], 0];
    };
    for await (const entry of entriesFrom(at)) {
      batch.push(entry);
      size += entry.length;
      if (batch.length === BATCH.entries || size >= BATCH.bytes) await hand();
    }
    await hand();
    return this.upTo;
  }

  async query(filter: Filter, page: Page = {}): Promise<Answer> {
    const asked: Call = { call: 'query', filter: checkedFilter(filter), page: checkedPage(page) };
    const answer = await this.#thread.ask(asked);
    if (answer === undefined) throw new TypeError('the index gave no answer to a question');
    return answer;
  }

  async prune(before: number): Promise<void> {
    await this.#thread.ask({ call: 'prune', before });
  }

  async close(): Promise<void> {
    await this.#thread.end();
  }
}

/**
 * The index of the ledger: kept beside the log, answered from its own thread, and made anew from the log at any time.
 * It must not be what anybody proves anything by: the log is the truth, this finds it.
 */
import type { Answer, Filter, Page } from './question.js';

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

/** Why an index begins with nothing; `kept` where it goes on from what was there. */
export type Beginning = 'kept' | 'new' | 'damaged' | 'other-version' | 'other-log';

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

/** Opens the index. `close` it. */
export type OpenLedgerIndex = (options: LedgerIndexOptions) => Promise<LedgerIndex>;

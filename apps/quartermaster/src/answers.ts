/**
 * Answers about what the ledger holds: pages that match a question, entries as they come, proofs.
 * It must not decide who may ask, nor change anything.
 */
import type {
  GetCheckpointReply,
  LedgerEntry,
  LedgerFilter,
  ProveReply,
  QueryReply,
  QueryRequest,
  TailReply,
  TailRequest,
} from '@kedge/bus';
import { type LedgerRecord, ledgerRecordSchema } from '@kedge/contracts';
import {
  canonicalJson,
  consistencyProof,
  inclusionProof,
  leafHash,
  nodesInTiles,
  openEntry,
  proofText,
} from '@kedge/ledger';
import type { Answer, LedgerIndex, Page } from '@kedge/ledger-index';
import type { LedgerStore } from '@kedge/ledger-store';
import { KedgeError } from '@kedge/units';
import { setImmediate } from 'node:timers/promises';

import { EntryReader } from './entry-reader.js';
import type { IndexFollower } from './index-follower.js';
import { filterOf } from './question.js';

const LIMIT_MAX = 1_000;
const LIMIT_DEFAULT = 100;
/** A reply carries 4 MiB at most. */
const REPLY_BYTES = 3 * 1024 * 1024;
/** Bundles that are read for one reply; a page of entries that lie far apart ends there. */
const BUNDLES_MAX = 256;
/** Entries that are opened before the event loop has its turn. */
const IN_A_ROW = 64;
/** How long a question waits for an index that is a little behind. */
const INDEX_WITHIN_MS = 1_000;
/** Between two looks for whoever follows. */
const TAIL_MS = 100;
const TAIL_PAGE = 256;
const FOLLOWERS_MAX = 16;
const FORENSIC_KINDS = ['posture-forensic-part', 'posture-forensic-snapshot'];
/** Parts of one snapshot that are looked at, and the snapshot. */
const FORENSIC_MAX = 2_049;
const FORENSIC_INDEX_WITHIN_MS = 60_000;

/** What a page of entries came to. */
export interface EntryPage {
  readonly entries: readonly LedgerEntry[];
  /** Entries of it that did not fit. */
  readonly left: number;
}

/** What the ledger is asked. */
export class Answers {
  readonly #store: LedgerStore;
  readonly #follower: IndexFollower;
  #followers = 0;

  constructor(store: LedgerStore, follower: IndexFollower) {
    this.#store = store;
    this.#follower = follower;
  }

  /** @throws KedgeError `LEDGER_QUESTION`, `LEDGER_INDEX_AWAY`, and as the log and its index do. */
  async query(request: QueryRequest, signal: AbortSignal): Promise<QueryReply> {
    const { limit, after, newestFirst } = request;
    if (!Number.isInteger(limit) || limit < 0 || limit > LIMIT_MAX) {
      throw new KedgeError({
        code: 'LEDGER_QUESTION',
        message: 'cannot ask the ledger that: limit is wrong',
        field: 'limit',
        expected: `1 to ${LIMIT_MAX}, or 0 for ${LIMIT_DEFAULT}`,
      });
    }
    const answer = await this.find(
      request.filter,
      {
        limit: limit === 0 ? LIMIT_DEFAULT : limit,
        order: newestFirst ? 'descending' : 'ascending',
        ...(after === undefined ? {} : { after: Number(after) }),
      },
      signal,
    );
    const { entries, left } = await this.opened(answer.rows.map(({ index }) => index));
    return {
      count: BigInt(answer.count),
      entries,
      more: left > 0 || answer.next !== null,
      indexed: BigInt(answer.upTo),
    };
  }

  /** What the index says, once it has what is durable now. */
  async find(asked: LedgerFilter | undefined, page: Page, signal: AbortSignal): Promise<Answer> {
    const filter = filterOf(asked, (subject) => this.#store.keys.of(subject)?.id);
    await this.#follower.reached(this.#store.size, INDEX_WITHIN_MS, signal);
    if (filter === undefined) return { count: 0, rows: [], next: null, upTo: this.#follower.upTo };
    return await this.#index().query(filter, page);
  }

  /**
   * The parts and the snapshot of the newest lockdown, if it is that of this epoch. Waits long for the index: who asks
   * has just started, and nobody waits for them.
   *
   * @throws KedgeError `LEDGER_INDEX_AWAY`, and as the log and its index do.
   */
  async forensic(epoch: bigint, signal: AbortSignal): Promise<readonly LedgerRecord[]> {
    await this.#follower.reached(this.#store.size, FORENSIC_INDEX_WITHIN_MS, signal);
    const filter = filterOf({ kinds: FORENSIC_KINDS }, () => undefined);
    if (filter === undefined) return [];
    const newest = { limit: FORENSIC_MAX, order: 'descending' } as const;
    const { rows } = await this.#index().query(filter, newest);
    let indices = rows.filter((row) => row.epoch === String(epoch)).map(({ index }) => index);
    const records: LedgerRecord[] = [];
    while (indices.length > 0) {
      const { entries } = await this.opened(indices);
      records.push(...entries.map(({ record }) => ledgerRecordSchema.parse(JSON.parse(record))));
      indices = indices.slice(entries.length);
    }
    return records;
  }

  /** Entries with their personal fields open, as many of them as fit into one reply. */
  async opened(indices: readonly number[]): Promise<EntryPage> {
    const reader = new EntryReader(this.#store);
    const entries: LedgerEntry[] = [];
    let bytes = 0;
    for (const index of indices) {
      if (reader.bundles >= BUNDLES_MAX) break;
      if (entries.length % IN_A_ROW === IN_A_ROW - 1) await setImmediate();
      const entry = this.entryOf(index, reader.entry(index));
      bytes += Buffer.byteLength(entry.record) + 64;
      if (bytes > REPLY_BYTES && entries.length > 0) break;
      entries.push(entry);
    }
    return { entries, left: indices.length - entries.length };
  }

  /** An entry as it is told. */
  entryOf(index: number, entry: Buffer | undefined): LedgerEntry {
    if (entry === undefined) return { index: BigInt(index), record: '', erased: [] };
    const { record, erased } = openEntry(entry, (id) => this.#store.keys.by(id));
    return {
      index: BigInt(index),
      record: canonicalJson(record),
      erased: erased.map((path) => path.join('.')),
    };
  }

  /**
   * Entries as they become durable, until the signal aborts.
   *
   * @throws KedgeError `LEDGER_QUESTION`, `LEDGER_FOLLOWERS`
   */
  async *tail(request: TailRequest, signal: AbortSignal): AsyncGenerator<TailReply, void, undefined> {
    if (this.#followers >= FOLLOWERS_MAX) {
      throw new KedgeError({
        code: 'LEDGER_FOLLOWERS',
        message: 'cannot follow the ledger: too many follow it already',
        expected: `at most ${FOLLOWERS_MAX}`,
      });
    }
    this.#followers += 1;
    try {
      let next = request.from === undefined ? this.#store.size : Number(request.from);
      filterOf(request.filter, () => '0'.repeat(16));
      yield { entries: [], next: BigInt(next) };
      while (!signal.aborted) {
        if (this.#follower.upTo <= next) {
          await this.#follower.reached(next + 1, 60_000, signal);
          continue;
        }
        const page = { limit: TAIL_PAGE, ...(next === 0 ? {} : { after: next - 1 }) };
        const answer = await this.find(request.filter, page, signal);
        const indices = answer.rows.map(({ index }) => index);
        while (indices.length > 0) {
          const { entries } = await this.opened(indices);
          indices.splice(0, entries.length);
          next = Number(entries.at(-1)?.index ?? 0n) + 1;
          yield { entries, next: BigInt(next) };
        }
        if (answer.next !== null) continue;
        next = Math.max(next, answer.upTo);
        // What comes meanwhile is told together: a question costs the same for one entry and for hundreds.
        await this.#follower.reached(Infinity, TAIL_MS, signal);
      }
    } finally {
      this.#followers -= 1;
    }
  }

  /** @throws KedgeError `LEDGER_NO_ENTRY`, `LEDGER_TILE_MISSING`, `LEDGER_TILE_DAMAGED` */
  prove(index: number, checkpoint: { readonly text: string; readonly size: number }): ProveReply {
    const entry = new EntryReader(this.#store).entry(index);
    const { text, size } = checkpoint;
    const nodes = nodesInTiles(size, this.#store.read);
    return {
      proof: proofText({ index, proof: inclusionProof(index, size, nodes), checkpoint: text }),
      entry: entry ?? Buffer.alloc(0),
      leafHash: entry === undefined ? nodes(0, index) : leafHash(entry),
    };
  }

  /** @throws KedgeError `LEDGER_QUESTION` (the ledger was never as small, or is not as large). */
  consistency(oldSize: bigint | undefined, size: number): GetCheckpointReply['consistency'] {
    if (oldSize === undefined) return [];
    if (oldSize < 1n || oldSize > BigInt(size)) {
      throw new KedgeError({
        code: 'LEDGER_QUESTION',
        message: `cannot prove that the ledger grew from ${oldSize} entries: it has ${size}`,
        field: 'old_size',
        expected: `1 to ${size}`,
      });
    }
    return consistencyProof(Number(oldSize), size, nodesInTiles(size, this.#store.read));
  }

  #index(): LedgerIndex {
    const { index, trouble } = this.#follower;
    if (index !== undefined) return index;
    throw new KedgeError({
      code: 'LEDGER_INDEX_AWAY',
      message: `the index of the ledger cannot be asked now${trouble === undefined ? '' : `: ${trouble}`}`,
      help: 'it is made anew from the log by itself; kedge ledger status shows how far it is',
    });
  }
}

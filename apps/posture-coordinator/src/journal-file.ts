/**
 * The decision journal as a file: appended durably in groups, written anew when full, never touched again after
 * a failed flush (PO-17).
 * It must not decide what a journal means; libs/posture does.
 */
import { isMissing, syncDirectory, writeAll } from '@kedge/durable-files';
import {
  encodeJournalRecord,
  type Holds,
  JOURNAL_RECORD_BYTES,
  type JournaledDecision,
  type JournalRecord,
  type JournalSummary,
} from '@kedge/posture';
import { type Clock, type Epoch, EPOCH_NONE, isLooser, KedgeError } from '@kedge/units';
import { constants } from 'node:fs';
import { type FileHandle, link, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

import { ageMs, KEY_LIFETIME_MS } from './idempotency.js';
import { inTime, STORAGE_ANSWER_MS } from './storage.js';

/** What is appended; numbers that follow from the journal itself are filled in. */
export type JournalDraft = Omit<JournalRecord, 'sequence' | 'reservedUpTo' | 'bootId' | 'fileRecords'> & {
  /** Given by `reserve` alone. */
  readonly reservedUpTo?: Epoch;
};

/** How a journal is kept. */
export interface JournalOptions {
  /** Absolute path. Its directory exists. */
  readonly path: string;
  /** Records that fit before it is written anew. */
  readonly capacity: number;
  /** 16 bytes. */
  readonly bootId: Uint8Array;
  readonly clock: Clock;
  /** How long storage may take for one flush before it counts as failed, milliseconds. */
  readonly answerMs?: number;
}

/** Decisions whose idempotency keys are carried into a new file. */
const CARRIED_MAX = 1_024;

interface Queued {
  readonly draft: JournalDraft;
  readonly resolve: () => void;
  readonly reject: (error: KedgeError) => void;
}

/** The bytes of a journal; undefined when there is none. @throws KedgeError `JOURNAL_UNREADABLE` */
export async function readJournal(path: string): Promise<Uint8Array | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new KedgeError({
      code: 'JOURNAL_UNREADABLE',
      message: `cannot read the decision journal ${path}`,
      expected: 'a regular file that this service may read',
      cause,
    });
  }
}

/**
 * A journal that takes records. After one failure it takes none any more: whether the last bytes are on the disk
 * is unknown then, and a later flush that succeeds would hide it.
 */
export class JournalFile {
  readonly #options: JournalOptions;
  #file: FileHandle | undefined;
  #tail = 0;
  #sequence: bigint;
  #reservedUpTo: Epoch;
  #last: JournaledDecision | undefined;
  #holds: Holds;
  #keyed: JournalRecord[];
  #queue: Queued[] = [];
  #flushing: Promise<void> | undefined;
  #failure: KedgeError | undefined;

  private constructor(options: JournalOptions, found: JournalSummary | undefined) {
    this.#options = options;
    this.#sequence = found?.sequence ?? 0n;
    this.#reservedUpTo = found?.reservedUpTo ?? EPOCH_NONE;
    this.#last = found?.last;
    this.#holds = found?.holds ?? {};
    this.#keyed = [...(found?.keyed ?? [])];
  }

  /**
   * Goes on with a journal that was read whole, or starts one. A damaged one is kept beside it under a name of
   * its own.
   *
   * Never fails: a journal that cannot be opened is one that has failed, and says so at the first append.
   */
  static async open(options: JournalOptions, found: JournalSummary | undefined): Promise<JournalFile> {
    const journal = new JournalFile(options, found);
    try {
      await journal.#inTime('take up the decision journal', journal.#takeUp(found));
    } catch (cause) {
      journal.#fail(cause);
    }
    return journal;
  }

  /** A journal that could not even be read in time: it is left as it is, and takes nothing. */
  static failed(options: JournalOptions, cause: unknown): JournalFile {
    const journal = new JournalFile(options, undefined);
    journal.#fail(cause);
    return journal;
  }

  async #takeUp(found: JournalSummary | undefined): Promise<void> {
    const options = this.#options;
    if (found === undefined || found.damage !== undefined) {
      if (found?.damage !== undefined) await this.#setAside();
      return;
    }
    const file = await open(options.path, constants.O_RDWR | constants.O_NOFOLLOW);
    const { size } = await file.stat();
    if (size !== options.capacity * JOURNAL_RECORD_BYTES) {
      // Another capacity than this one was preallocated with: the first append writes it anew.
      await file.close();
      return;
    }
    // Where an earlier process failed to flush, what was read may stand in memory alone, and the next flush
    // would not notice: it is written once more before anything stands on it.
    const bytes = await file.readFile();
    await writeAll(file, bytes.subarray(0, found.tail), 0);
    await file.datasync();
    this.#file = file;
    this.#tail = found.tail;
  }

  #inTime<T>(what: string, work: Promise<T>): Promise<T> {
    return inTime(what, this.#options.answerMs ?? STORAGE_ANSWER_MS, work);
  }

  /** Why nothing is appended any more; undefined = it works. */
  get failure(): KedgeError | undefined {
    return this.#failure;
  }

  get reservedUpTo(): Epoch {
    return this.#reservedUpTo;
  }

  /**
   * Resolves when the record would survive a power cut. Records that arrive while a flush runs share the next.
   *
   * @throws KedgeError `JOURNAL_FAILED`, at this and every later call.
   */
  append(draft: JournalDraft): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#queue.push({ draft, resolve, reject });
      this.#flushing ??= this.#flushAll();
    });
  }

  /** Waits for what was appended, then closes. */
  async close(): Promise<void> {
    await this.#flushing;
    const closing = this.#file?.close() ?? Promise.resolve();
    await this.#inTime('close the decision journal', closing).catch(() => undefined);
    this.#file = undefined;
  }

  async #flushAll(): Promise<void> {
    while (this.#queue.length > 0) {
      const group = this.#queue.splice(0);
      let records: readonly JournalRecord[] = [];
      try {
        records = group.map(({ draft }) => this.#complete(draft));
        const room = this.#options.capacity - this.#tail / JOURNAL_RECORD_BYTES;
        await this.#inTime(
          'append to the decision journal',
          this.#file === undefined || records.length > room
            ? this.#writeAnew(records)
            : this.#appendTo(this.#file, records),
        );
        for (const record of records) this.#remember(record);
        for (const { resolve } of group) resolve();
      } catch (cause) {
        const failure = this.#fail(cause);
        await this.#leaveOutLoosenings(records);
        for (const { reject } of [...group, ...this.#queue.splice(0)]) reject(failure);
      }
    }
    this.#flushing = undefined;
  }

  /**
   * A loosening whose flush failed is refused, and its record may be on the disk all the same: a power cut would
   * take it for a decision. One attempt at another file without it, before anybody is told. Where even that cannot
   * be flushed it takes the name all the same: what a power cut leaves of it is whole, or damaged, which means level
   * 2, and either is better than the record.
   */
  async #leaveOutLoosenings(records: readonly JournalRecord[]): Promise<void> {
    const rest = records.filter(
      ({ kind, from, to }) =>
        (kind !== 'decision' && kind !== 'checkpoint') ||
        from === undefined ||
        to === undefined ||
        !isLooser(to, from),
    );
    if (rest.length === records.length) return;
    await this.#inTime('write the journal anew', this.#writeAnew(rest, false)).catch(() => undefined);
  }

  #complete(draft: JournalDraft): JournalRecord {
    this.#sequence += 1n;
    if (draft.reservedUpTo !== undefined && draft.reservedUpTo > this.#reservedUpTo) {
      this.#reservedUpTo = draft.reservedUpTo;
    }
    if (draft.epoch > this.#reservedUpTo) {
      throw new KedgeError({
        code: 'JOURNAL_EPOCH_UNRESERVED',
        message: `cannot journal epoch ${draft.epoch}: it was not reserved`,
        expected: `at most ${this.#reservedUpTo}`,
      });
    }
    return {
      ...draft,
      sequence: this.#sequence,
      reservedUpTo: this.#reservedUpTo,
      bootId: this.#options.bootId,
      fileRecords: this.#options.capacity,
    };
  }

  #remember(record: JournalRecord): void {
    if (record.kind !== 'reserve') this.#holds = record.holds;
    const { epoch, from, to } = record;
    if (record.kind === 'decision' && from !== undefined && to !== undefined) {
      this.#last = { epoch, from, to, completed: false, record };
      if (record.keyHash !== undefined) {
        this.#keyed.push(record);
        if (this.#keyed.length > 2 * CARRIED_MAX) this.#keyed = fairlyKept(this.#keyed, CARRIED_MAX);
      }
    } else if (record.kind === 'completed' && this.#last?.epoch === epoch) {
      this.#last = { ...this.#last, completed: true };
    }
  }

  async #appendTo(file: FileHandle, records: readonly JournalRecord[]): Promise<void> {
    const bytes = Buffer.concat(records.map(encodeJournalRecord));
    await writeAll(file, bytes, this.#tail);
    await file.datasync();
    this.#tail += bytes.length;
  }

  /**
   * A new file with all that counts of the old one, whole and durable before it takes the name.
   *
   * @param mustBeDurable false: it takes the name also where it cannot be flushed.
   */
  async #writeAnew(records: readonly JournalRecord[], mustBeDurable = true): Promise<void> {
    const { path, capacity, clock, bootId } = this.#options;
    const carried = fairlyKept(
      this.#keyed.filter((record) => ageMs(record, clock, bootId) <= KEY_LIFETIME_MS),
      Math.min(CARRIED_MAX, Math.floor(capacity / 2)),
    ).map((record): JournalRecord => ({ ...record, carried: true }));
    const first = records[0]?.sequence ?? this.#sequence + 1n;
    // The file becomes durable as a whole: what its first new record reserves holds for all before it.
    const reservedBefore = records[0]?.reservedUpTo ?? this.#reservedUpTo;
    const checkpoint: JournalRecord = {
      kind: 'checkpoint',
      sequence: 0n,
      epoch: this.#last?.epoch ?? EPOCH_NONE,
      reservedUpTo: reservedBefore,
      decidedAtNs: this.#last?.record.decidedAtNs ?? clock.monotonicNs(),
      decidedAtWallMs: this.#last?.record.decidedAtWallMs ?? clock.wallMs(),
      bootId: this.#last?.record.bootId ?? bootId,
      keyHash: undefined,
      contentHash: undefined,
      from: this.#last?.from,
      to: this.#last?.to,
      requested: this.#last?.record.requested ?? this.#last?.to,
      channel: this.#last?.record.channel,
      tier: this.#last?.record.tier,
      completed: this.#last?.completed ?? false,
      carried: false,
      recovered: this.#last?.record.recovered ?? false,
      accord: this.#last?.record.accord ?? false,
      holds: this.#holds,
    };
    // A file starts anywhere, but within it sequence numbers follow each other: shift what is new.
    const shift = BigInt(carried.length + 1);
    const all = [...carried, checkpoint, ...records].map((record, index): JournalRecord => ({
      ...record,
      sequence: first + BigInt(index),
      reservedUpTo: index <= carried.length ? reservedBefore : record.reservedUpTo,
      fileRecords: capacity,
    }));
    this.#sequence += shift;
    const bytes = Buffer.alloc(capacity * JOURNAL_RECORD_BYTES);
    Buffer.concat(all.map(encodeJournalRecord)).copy(bytes);
    const fresh = `${path}.new`;
    await unlink(fresh).catch(() => undefined);
    const file = await open(
      fresh,
      constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      await writeAll(file, bytes, 0);
      const flushed = async (work: Promise<void>): Promise<void> => {
        await (mustBeDurable ? work : work.catch(() => undefined));
      };
      await flushed(file.sync());
      await rename(fresh, path);
      await flushed(syncDirectory(dirname(path)));
    } catch (error) {
      await file.close().catch(() => undefined);
      throw error;
    }
    await this.#file?.close().catch(() => undefined);
    this.#file = file;
    this.#tail = all.length * JOURNAL_RECORD_BYTES;
  }

  /** Keeps a damaged journal for whoever wants to know; it stays in its place until a whole one takes it. */
  async #setAside(): Promise<void> {
    const { path } = this.#options;
    await unlink(`${path}.damaged`).catch(() => undefined);
    await link(path, `${path}.damaged`).catch(() => undefined);
  }

  #fail(cause: unknown): KedgeError {
    this.#failure ??= new KedgeError({
      code: 'JOURNAL_FAILED',
      message: `the decision journal ${this.#options.path} takes no records any more`,
      expected: 'storage that takes and flushes records',
      help: 'repair the storage and restart the coordinator',
      cause,
    });
    return this.#failure;
  }
}

/**
 * At most `most` of the records, in their order: the newest of every way in, one after the other, so that a flood of
 * one way costs no other its keys.
 */
export function fairlyKept(records: readonly JournalRecord[], most: number): JournalRecord[] {
  const ways = new Map<string, JournalRecord[]>();
  for (const record of records) {
    const way = `${record.channel ?? ''}/${record.tier ?? ''}`;
    const own = ways.get(way) ?? [];
    own.push(record);
    ways.set(way, own);
  }
  const kept = new Set<JournalRecord>();
  for (let age = 1; kept.size < Math.min(most, records.length); age += 1) {
    for (const each of ways.values()) {
      const record = each.at(-age);
      if (record !== undefined && kept.size < most) kept.add(record);
    }
  }
  return records.filter((record) => kept.has(record));
}

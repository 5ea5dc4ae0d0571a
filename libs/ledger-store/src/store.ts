/**
 * What the store of the ledger promises to whoever opens it.
 * It must not do anything.
 */
import type { LedgerRecord, Receipt, RecordSink } from '@kedge/contracts';
import type { NoteSigner, SubjectKey, TileReader } from '@kedge/ledger';
import type { KedgeError } from '@kedge/units';

/**
 * When a record is flushed. `batched`: whoever arrives while a flush runs makes the next group, with one checkpoint.
 * `every`: each record has a flush and a checkpoint of its own.
 */
export type FlushMode = 'batched' | 'every';

/** How far a store may grow. Each has a default. */
export interface StoreLimits {
  /** Bytes of records that wait for their flush; more are refused with `LEDGER_BUSY`. Default 16 MiB. */
  readonly waitingBytes?: number;
  /** Bytes of acknowledged entries that are not in tiles yet; beyond it flushes wait for the tiles. Default 64 MiB. */
  readonly walBytes?: number;
  /** Bytes of entries after which tiles are written. Default 8 MiB. */
  readonly tileBytes?: number;
  /** Milliseconds after which tiles are written, when there are few entries. Default 1,000. */
  readonly tileMs?: number;
  /** Newest records whose ids are remembered at least; at most twice as many are. Default 32,768. */
  readonly ids?: number;
  /** Bytes of entry bundles on the disk; beyond it the oldest segments go into the archive. Default 16 GiB. */
  readonly bundleBytes?: number;
}

/** How long entries are kept, by the times of the records themselves. */
export interface RetentionOptions {
  /** Days, at least 1. Default 365. */
  readonly days?: number;
  /** Days for a record that {@link isBreakGlass} picks, at least `days`. Default 2,555. */
  readonly breakGlassDays?: number;
  /** Records of access in an emergency. Default: none. */
  readonly isBreakGlass?: (record: SealedRecord) => boolean;
  /** True: what has become too old goes into the archive first, by whole segments. Default false. */
  readonly archiveExpired?: boolean;
}

/** A record as its entry says it: personal fields may be sealed objects in place of strings. */
export type SealedRecord = Readonly<Record<string, unknown>> & {
  readonly schema: string;
  readonly id: string;
  readonly at: string;
};

/** How a store is opened. */
export interface LedgerStoreOptions {
  /** Absolute path; made (0700) where it is missing. One process at a time: the store holds its lock. */
  readonly directory: string;
  /** Signs the checkpoints; its name is the origin of the log. */
  readonly signer: NoteSigner;
  /** Random bytes for the keys of subjects. */
  readonly randomBytes: (count: number) => Uint8Array;
  readonly limits?: StoreLimits;
  readonly retention?: RetentionOptions;
  /** Default `batched`. */
  readonly flush?: FlushMode;
  /** Told, once until it changes, when records are refused, or a delivered one is kept out. */
  readonly onTrouble?: (error: KedgeError) => void;
}

/** What was found when the store was opened. */
export interface StoreRecovery {
  /** Entries in the log. */
  readonly size: number;
  /** Of them, entries that were not in tiles yet. */
  readonly replayed: number;
  /** Bytes of a torn end that were cut off; none of them was ever acknowledged. */
  readonly cutBytes: number;
  /** Where the cut bytes were kept. */
  readonly keptAside?: string;
}

/** A record that has become durable. */
export interface DurableRecord {
  readonly index: number;
  readonly record: LedgerRecord;
  /** Its entry, personal fields sealed. */
  readonly entry: Buffer;
}

/** An entry as it was read. */
export interface StoredEntry {
  readonly index: number;
  readonly entry: Buffer;
}

/** What retention did. */
export interface RetentionOutcome {
  /** Entry bundles that were removed; up to 256 entries each. */
  readonly prunedBundles: number;
  /** Segments that went into the archive; 65,536 entries each. */
  readonly archivedSegments: number;
  /** Entries below it may be gone. */
  readonly keptFrom: number;
}

/** How a store fares. */
export interface StoreStatus {
  readonly state: 'open' | 'full' | 'failed' | 'closed';
  readonly flush: FlushMode;
  /** Entries that are durable. */
  readonly size: number;
  /** Entries that are in tiles, under the checkpoint on the disk. */
  readonly inTiles: number;
  readonly waitingBytes: number;
  readonly walBytes: number;
  /** Entries below it may be gone by retention. */
  readonly keptFrom: number;
  /** Delivered records that were kept out, since the store was opened. */
  readonly keptOut: number;
  /** Records that were there already, since the store was opened. */
  readonly duplicates: number;
  /** Groups that were flushed, since the store was opened. */
  readonly flushes: number;
  /** Subjects that have a key. */
  readonly subjects: number;
}

/** The keys of the people that records speak of. */
export interface SubjectKeys {
  /** Subjects that have a key. */
  readonly count: number;
  /** The key of a subject; undefined where it has none. Makes none. */
  of(subject: string): SubjectKey | undefined;
  /** The key with an id; undefined where it was destroyed, or never was here. */
  by(id: string): SubjectKey | undefined;
  /**
   * Destroys the key of a subject for good: resolves when no file holds it. What it sealed cannot be opened again. The
   * id of the destroyed key; undefined where there was none.
   *
   * @throws KedgeError `LEDGER_STORE_FAILED`
   */
  erase(subject: string): Promise<string | undefined>;
}

/** An open store. Nothing else writes its files. */
export interface LedgerStore extends RecordSink {
  readonly recovery: StoreRecovery;
  readonly keys: SubjectKeys;
  /** Entries that are durable. */
  readonly size: number;
  /**
   * Reads tiles and bundles of any size up to {@link size}, also those that are not on the disk yet, and `checkpoint`.
   */
  readonly read: TileReader;
  /**
   * Resolves when the record and a signed checkpoint over it are durable. The sequence is the index of the entry plus
   * one. Given again while its id is remembered, it is a duplicate.
   *
   * @throws KedgeError `LEDGER_RECORD_INVALID`, `LEDGER_ID_REUSED`, `LEDGER_BUSY`, `LEDGER_FULL` (no room on the disk;
   *   try again later), `LEDGER_STORE_FAILED` (storage failed; it takes nothing any more), `LEDGER_STORE_CLOSED`.
   */
  append(record: LedgerRecord): Promise<Receipt>;
  /**
   * Takes records of a spool: canonical bytes with consecutive sequences from `first`. Those at or below the cursor of
   * the spool are skipped; one that is no record, or is another under a known id, is kept out, and told. Resolves with
   * the cursor once it is durable: what lies at or below it can be released.
   *
   * @param source who sends, `posture-coordinator`.
   * @param spool which of its spools: one that was made anew has another name.
   * @throws KedgeError `LEDGER_GAP` (`first` lies beyond the next sequence; the error names it), and as append does.
   */
  deliver(source: string, spool: string, first: bigint, records: readonly Uint8Array[]): Promise<bigint>;
  /** The newest durable sequence of a spool; 0 = none yet. */
  cursor(source: string, spool: string): bigint;
  /** From the next flush on. */
  setFlush(mode: FlushMode): void;
  /** The newest durable checkpoint, signed. */
  checkpoint(): string;
  /**
   * The durable entries from an index on, in order; those that retention took are passed over. Ends at what is durable
   * when it gets there.
   *
   * @throws KedgeError `LEDGER_TILE_MISSING`, `LEDGER_TILE_DAMAGED`.
   */
  entriesFrom(index: number): Generator<StoredEntry, void, undefined>;
  /** Calls a listener with each group that has become durable, in order; the result ends that. It must not throw. */
  onDurable(listener: (records: readonly DurableRecord[]) => void): () => void;
  /**
   * Removes what is older than it has to be kept, and archives what is beyond the size limit. Entries go, hashes stay.
   *
   * @param now milliseconds since 1970. A clock that jumped ahead of the newest record counts for no more than that.
   * @throws KedgeError `LEDGER_STORE_FAILED`
   */
  retain(now: number): Promise<RetentionOutcome>;
  status(): StoreStatus;
  /** Waits for what is under way, writes the tiles, closes. A second call does nothing. */
  close(): Promise<void>;
}

/**
 * The store: records become entries, entries become groups, and a group is acknowledged when one write-ahead frame with
 * its checkpoint is durable. Tiles follow behind.
 * It must not acknowledge before that, nor write again to a file whose flush has failed.
 */
import { type SocketLock, takeLock } from '@kedge/bus';
import type { LedgerRecord, Receipt } from '@kedge/contracts';
import {
  checkedRecord,
  decodeRecord,
  type NoteSigner,
  partsOrThrow,
  readEntries,
  sealRecord,
  TILE_WIDTH,
  tileIn,
  type TileReader,
  unsignedCheckpoint,
} from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';

import { fullDisk, isDiskFull, makeDirectory, SyncFailure } from '@kedge/durable-files';
import {
  damaged,
  diskFull,
  gapBefore,
  idReused,
  retentionFailed,
  storeClosed,
  storeFailed,
  tooBusy,
  wrongOption,
} from './errors.js';
import { isSameRecord, KnownIds, type KnownRecord } from './known-ids.js';
import { recoverLog } from './recovery.js';
import { Retention, type RetentionRules } from './retention.js';
import { leafHashNatively, sealNatively } from './seals.js';
import type {
  DurableRecord,
  FlushMode,
  LedgerStore,
  LedgerStoreOptions,
  RetentionOutcome,
  SealedRecord,
  StoredEntry,
  StoreRecovery,
  StoreStatus,
} from './store.js';
import { KeyFile } from './subject-keys.js';
import { TileFiles } from './tile-files.js';
import type { TileShelf } from './tile-shelf.js';
import type { Wal } from './wal.js';
import { signedIn, type UnsignedFrame, unsignedFrameOf } from './wal-frame.js';

const MIB = 1024 * 1024;
/** Where a group ends, though more waits. */
const GROUP_RECORDS = 8_192;
const GROUP_BYTES = 4 * MIB;
/** Records of one turn that are enough for the disk to begin with. */
const AHEAD_RECORDS = 512;
/** Groups that are on their way to the disk at once where each record has a flush of its own: as many as keep it busy
 * while this thread takes records in. */
const IN_LINE = 32;
/** Made ready at once where each record has a flush of its own. */
const ROOM_BYTES = 256 * 1024;
/** A write-ahead file below this part of what makes tiles due is gone on with after they are written. */
const WAL_FILE_PART = 8;
/** What an entry takes in memory besides its bytes, about. */
const ENTRY_OVERHEAD = 512;

interface Limits {
  readonly waitingBytes: number;
  readonly walBytes: number;
  readonly tileBytes: number;
  readonly tileMs: number;
  readonly ids: number;
}

/** One record, or one step of a cursor, on its way. */
interface Unit {
  readonly sealed:
    | {
        readonly record: LedgerRecord;
        readonly entry: Buffer;
        readonly leaf: Buffer;
        readonly known: KnownRecord;
      }
    | undefined;
  readonly cursor: { readonly name: string; readonly sequence: bigint } | undefined;
  readonly bytes: number;
  readonly done: ((error?: Error) => void) | undefined;
}

/** A group that is ready to be written. */
interface Group {
  readonly units: readonly Unit[];
  readonly first: number;
  readonly end: number;
  readonly bytes: number;
  readonly frame: UnsignedFrame;
  readonly cursors: ReadonlyMap<string, bigint>;
}

/** A group that the disk has been given. */
interface Writing {
  readonly group: Group;
  readonly written: Promise<void>;
}

/**
 * Opens the ledger's store, cutting a torn end.
 *
 * @throws KedgeError `LEDGER_STORE_OPTIONS`, `LEDGER_STORE_DAMAGED`, `LEDGER_STORE_FAILED` (the directory cannot be
 *   used), `BUS_BUSY` (another process has it open).
 */
export async function openLedgerStore(options: LedgerStoreOptions): Promise<LedgerStore> {
  const { directory, signer } = options;
  const limits = limitsOf(options);
  const rules = rulesOf(options);
  if (!directory.startsWith('/')) throw wrongOption('directory', 'an absolute path');
  let lock: SocketLock | undefined;
  let closing: (() => Promise<void>) | undefined;
  try {
    await makeDirectory(directory);
    await refuseForeign(directory);
    lock = await takeLock(join(directory, 'lock'));
    const place = (name: string): string => join(directory, name);
    for (const name of ['log', 'wal', 'keys', 'archive']) await makeDirectory(place(name));
    const tiles = new TileFiles(place('log'));
    const log = await recoverLog(place('log'), place('wal'), limits.tileBytes, tiles, signer);
    closing = () => log.wal.close();
    const keys = await KeyFile.open(place('keys'), log.keys, options.randomBytes);
    closing = async () => {
      await log.wal.close();
      await keys.close();
    };
    const places = {
      origin: signer.name,
      log: place('log'),
      archive: place('archive'),
      state: place('retention'),
    };
    const retention = await Retention.open(rules, places, tiles);
    await tiles.tidy(log.inTiles);
    const recovery: StoreRecovery = {
      size: log.shelf.size,
      replayed: log.shelf.size - log.inTiles,
      cutBytes: log.cut.bytes,
      ...(log.cut.keptAside === undefined ? {} : { keptAside: log.cut.keptAside }),
    };
    const store = new OpenStore({ ...log, options, limits, lock, tiles, keys, retention, recovery });
    store.remember();
    return store;
  } catch (error) {
    await closing?.().catch(() => undefined);
    await lock?.release();
    throw error instanceof KedgeError ? error : storeFailed(`open ${directory}`, error);
  }
}

class OpenStore implements LedgerStore {
  readonly recovery: StoreRecovery;
  readonly keys: KeyFile;
  readonly #directory: string;
  readonly #signer: NoteSigner;
  readonly #limits: Limits;
  readonly #onTrouble: (error: KedgeError) => void;
  readonly #lock: SocketLock;
  readonly #tiles: TileFiles;
  readonly #retention: Retention;
  readonly #shelf: TileShelf;
  readonly #wal: Wal;
  readonly #ids: KnownIds;
  readonly #listeners = new Set<(records: readonly DurableRecord[]) => void>();
  /** Durable, and with what waits. */
  readonly #cursors: Map<string, bigint>;
  #taken: Map<string, bigint>;
  /** Those that the newest group says, durable or not. */
  #said: Map<string, bigint>;
  #mode: FlushMode;
  #state: StoreStatus['state'] = 'open';
  #failure: KedgeError | undefined;
  #waiting: Unit[] = [];
  #waitingFrom = 0;
  #waitingBytes = 0;
  #running: Promise<void> | undefined;
  /** True from the first record of a turn to the end of that turn, where nothing is being written. */
  #isStarting = false;
  /** What the disk was given, in its order. */
  #writings: Writing[] = [];
  /** Of a group among them: it waits for something before it may be written, or failed. None is begun behind it. */
  #isHeldUp = false;
  #inTiles: number;
  #untiledBytes = 0;
  #tiling: Promise<void> | undefined;
  #tilingFull: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retaining: Promise<unknown> = Promise.resolve();
  #counts = { keptOut: 0, duplicates: 0, flushes: 0 };

  constructor(given: {
    readonly options: LedgerStoreOptions;
    readonly limits: Limits;
    readonly lock: SocketLock;
    readonly tiles: TileFiles;
    readonly keys: KeyFile;
    readonly retention: Retention;
    readonly recovery: StoreRecovery;
    readonly shelf: TileShelf;
    readonly wal: Wal;
    readonly inTiles: number;
    readonly cursors: Map<string, bigint>;
  }) {
    const { options, limits } = given;
    this.recovery = given.recovery;
    this.keys = given.keys;
    this.#directory = options.directory;
    this.#signer = options.signer;
    this.#limits = limits;
    this.#onTrouble = options.onTrouble ?? (() => undefined);
    this.#lock = given.lock;
    this.#tiles = given.tiles;
    this.#retention = given.retention;
    this.#shelf = given.shelf;
    this.#wal = given.wal;
    this.#ids = new KnownIds(limits.ids);
    this.#cursors = given.cursors;
    this.#taken = new Map(given.cursors);
    this.#said = new Map(given.cursors);
    this.#mode = options.flush ?? 'batched';
    this.#inTiles = given.inTiles;
    if (given.shelf.size > given.inTiles) this.#tileLater();
  }

  /**
   * Takes the ids of the newest records into memory. What of them cannot be read is told, and keeps nothing from being
   * recorded: the check of the log finds it.
   */
  remember(): void {
    try {
      this.#rememberIds();
    } catch (error) {
      this.#onTrouble(damaged(join(this.#directory, 'log'), 0, 'entries that are records', error));
    }
  }

  #rememberIds(): void {
    for (const { index, entry } of this.entriesFrom(Math.max(0, this.size - this.#limits.ids))) {
      this.#ids.add(recordIn(entry).id, leafHashNatively(entry), index);
    }
  }

  get size(): number {
    return this.#shelf.size;
  }

  get read(): TileReader {
    return this.#shelf.read;
  }

  checkpoint(): string {
    return this.#shelf.checkpoint;
  }

  cursor(source: string, spool: string): bigint {
    return this.#cursors.get(cursorName(source, spool)) ?? 0n;
  }

  setFlush(mode: FlushMode): void {
    this.#mode = mode;
  }

  async append(given: LedgerRecord): Promise<Receipt> {
    const record = checkedRecord(given);
    this.#refuseWhereNotOpen();
    const entry = sealRecord(record, this.keys.forSealing, sealNatively);
    const leaf = leafHashNatively(entry);
    const known = this.#ids.get(record.id);
    if (known !== undefined) {
      if (!isSameRecord(known, leaf)) throw idReused(record.id);
      if (known.index === undefined) await settled(known);
      this.#counts.duplicates += 1;
      return receiptOf(record.id, known, true);
    }
    const bytes = entry.length + ENTRY_OVERHEAD;
    this.#refuseWhereBusy(bytes);
    const added = this.#ids.add(record.id, leaf);
    const durable = settled(added);
    this.#push({ sealed: { record, entry, leaf, known: added }, cursor: undefined, bytes, done: undefined });
    await durable;
    return receiptOf(record.id, added, false);
  }

  async deliver(
    source: string,
    spool: string,
    first: bigint,
    records: readonly Uint8Array[],
  ): Promise<bigint> {
    const name = cursorName(source, spool);
    this.#refuseWhereNotOpen();
    if (records.length === 0) return this.cursor(source, spool);
    const taken = this.#taken.get(name);
    // A spool that was never heard of begins where it begins: what it had before went into another ledger.
    if (taken !== undefined && first > taken + 1n) throw gapBefore(first, taken + 1n);
    const last = first + BigInt(records.length) - 1n;
    const skipped = taken === undefined || taken < first ? 0 : Number(taken - first) + 1;
    const fresh = records.slice(skipped);
    this.#refuseWhereBusy(fresh.reduce((sum, { length }) => sum + length + ENTRY_OVERHEAD, 0));
    const units: Unit[] = [];
    for (const [at, bytes] of fresh.entries()) {
      const sequence = first + BigInt(skipped + at);
      const unit = this.#unitOf(bytes, { name, sequence });
      if (unit !== undefined) units.push(unit);
    }
    const to = taken !== undefined && taken > last ? taken : last;
    if (units.length === 0 && this.cursor(source, spool) >= to) return this.cursor(source, spool);
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error): void => {
        if (error === undefined) resolve();
        else reject(error);
      };
      const end = units.at(-1);
      if (end?.cursor?.sequence === to) units[units.length - 1] = { ...end, done };
      else units.push({ sealed: undefined, cursor: { name, sequence: to }, bytes: ENTRY_OVERHEAD, done });
      this.#taken.set(name, to);
      for (const unit of units) this.#push(unit);
    });
    return this.cursor(source, spool);
  }

  *entriesFrom(index: number): Generator<StoredEntry, void, undefined> {
    for (let at = Math.max(0, index); at < this.size;) {
      const bundle = Math.floor(at / TILE_WIDTH);
      const place = tileIn(0, bundle, this.size);
      if (place === undefined) return;
      const first = bundle * TILE_WIDTH;
      const next = first + place.width;
      const entries = readEntries(place, this.read);
      if (entries === 'missing' && next <= this.#retention.keptFrom) {
        at = next;
        continue;
      }
      const whole = partsOrThrow({ ...place, level: 'entries' }, entries);
      for (; at < next; at++) {
        const entry = whole[at - first];
        if (entry !== undefined) yield { index: at, entry };
      }
    }
  }

  onDurable(listener: (records: readonly DurableRecord[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async retain(now: number): Promise<RetentionOutcome> {
    this.#refuseWhereNotOpen();
    const run = async (): Promise<RetentionOutcome> => {
      await this.#tiling;
      // The newest record says how late it is as well: a clock that jumped ahead alone removes nothing.
      const [newest] = this.entriesFrom(this.size - 1);
      const at = newest === undefined ? now : Date.parse(recordIn(newest.entry).at);
      return await this.#retention.run(Math.min(now, at), this.#inTiles);
    };
    const outcome = this.#retaining.then(run);
    this.#retaining = outcome.catch(() => undefined);
    try {
      return await outcome;
    } catch (error) {
      throw error instanceof KedgeError ? error : retentionFailed(error);
    }
  }

  status(): StoreStatus {
    return {
      state: this.#state,
      flush: this.#mode,
      size: this.size,
      inTiles: this.#inTiles,
      waitingBytes: this.#waitingBytes,
      walBytes: this.#wal.bytesBeyond(this.#inTiles),
      keptFrom: this.#retention.keptFrom,
      subjects: this.keys.count,
      ...this.#counts,
    };
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    const hasFailed = this.#state === 'failed';
    this.#state = 'closed';
    clearTimeout(this.#timer);
    while (this.#running !== undefined) await this.#running;
    await this.#retaining;
    await this.#tiling;
    // What cannot go into tiles now goes there after the next start.
    if (!hasFailed && this.size > this.#inTiles) await this.#tile();
    await this.#wal.close().catch(() => undefined);
    await this.keys.close().catch(() => undefined);
    await this.#lock.release();
  }

  /* ------------------------------------------------------------- taking in */

  /** A delivered record on its way; undefined where it is kept out, or was there. */
  #unitOf(bytes: Uint8Array, cursor: { readonly name: string; readonly sequence: bigint }): Unit | undefined {
    try {
      const record = decodeRecord(bytes);
      const entry = sealRecord(record, this.keys.forSealing, sealNatively);
      const leaf = leafHashNatively(entry);
      const known = this.#ids.get(record.id);
      if (known !== undefined) {
        if (!isSameRecord(known, leaf)) throw idReused(record.id);
        this.#counts.duplicates += 1;
        return undefined;
      }
      const sealed = { record, entry, leaf, known: this.#ids.add(record.id, leaf) };
      return { sealed, cursor, bytes: entry.length + ENTRY_OVERHEAD, done: undefined };
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      this.#counts.keptOut += 1;
      const [source, spool] = cursor.name.split('\n');
      this.#onTrouble(
        new KedgeError({
          code: 'LEDGER_KEPT_OUT',
          message: `kept a record out of the ledger: number ${cursor.sequence} of the spool ${spool} of ${source}`,
          ...(error.field === undefined ? {} : { field: error.field }),
          ...(error.expected === undefined ? {} : { expected: error.expected }),
          help: 'its sender is wrong; the records behind it are taken',
          cause: error,
        }),
      );
      return undefined;
    }
  }

  #push(unit: Unit): void {
    this.#waiting.push(unit);
    this.#waitingBytes += unit.bytes;
    if (this.#running === undefined) {
      this.#running = this.#run();
    }
    // Of those who come in one turn the first go to the disk while the others are taken in.
    if (this.#mode === 'every') {
      this.#beginAhead();
    } else if (this.#isStarting && this.#writings.length === 0) {
      if (this.#waiting.length - this.#waitingFrom >= AHEAD_RECORDS) this.#beginAhead();
    }
  }

  #refuseWhereNotOpen(): void {
    if (this.#state === 'closed') throw storeClosed(this.#directory);
    this.#throwWhereFailed();
  }

  #throwWhereFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #refuseWhereBusy(bytes: number): void {
    const { waitingBytes } = this.#limits;
    if (this.#waitingBytes + bytes > waitingBytes) throw tooBusy(waitingBytes);
  }

  /* -------------------------------------------------------------- flushing */

  /** Writes what waits, group by group, until nothing waits. Never rejects. */
  async #run(): Promise<void> {
    this.#isStarting = true;
    // Who comes in the same turn belongs into the same group, where they are not so many that the disk may begin.
    await Promise.resolve();
    this.#isStarting = false;
    try {
      for (;;) {
        if (this.#writings.length === 0) await this.#begin();
        const [writing] = this.#writings;
        if (writing === undefined) break;
        await writing.written;
        this.#writings.shift();
        // The disk gets the next one before those who wait for this one are told.
        this.#beginNow();
        this.#settle(writing.group);
      }
    } catch (error) {
      this.#isHeldUp = true;
      await Promise.allSettled(this.#writings.map(({ written }) => written));
      this.#giveBack(
        this.#writings.flatMap(({ group }) => group.units),
        error,
      );
      this.#writings = [];
      this.#isHeldUp = false;
    }
    this.#running = undefined;
    if (this.#waitingFrom < this.#waiting.length) this.#running = this.#run();
  }

  /** Hands the next group to the disk, when the tiles are near enough. */
  async #begin(): Promise<void> {
    if (this.#waitingFrom === this.#waiting.length) return;
    await this.#waitForTiles();
    this.#beginNow();
  }

  /** The same for whoever happens to come now and is not the one to be told: all of them are, when it is their turn. */
  #beginAhead(): void {
    try {
      this.#beginNow();
    } catch (error) {
      this.#fail('write to the ledger', error);
    }
  }

  /** Hands to the disk what may go there at once. */
  #beginNow(): void {
    while (this.#mayBegin) {
      const group = this.#nextGroup();
      if (group === undefined) return;
      const written = this.#write(group);
      // Whoever awaits it is told; this only keeps it from being nobody's.
      written.catch(() => undefined);
      this.#writings.push({ group, written });
    }
  }

  /** One group at a time, so that the next one takes what came meanwhile; where each record is one, a line of them. */
  get #mayBegin(): boolean {
    if (this.#failure !== undefined || this.#isHeldUp || this.#wal.isHalted) return false;
    const inLine = this.#writings.length;
    const hasRoom = inLine === 0 || (this.#mode === 'every' && inLine < IN_LINE && this.#wal.takesMore);
    return hasRoom && !this.#hasTooMuchBeyondTiles;
  }

  /** The next group, its entries in the tree; undefined where nothing waits. */
  #nextGroup(): Group | undefined {
    const from = this.#waitingFrom;
    const most = this.#mode === 'every' ? 1 : GROUP_RECORDS;
    const first = this.#shelf.added;
    const entries: Buffer[] = [];
    const cursors = new Map<string, bigint>();
    let bytes = 0;
    let at = from;
    for (; at < this.#waiting.length && at - from < most && bytes < GROUP_BYTES; at++) {
      const { sealed, cursor, bytes: size } = this.#waiting[at] ?? never();
      bytes += size;
      if (sealed !== undefined) {
        this.#shelf.add(sealed.entry, sealed.leaf);
        entries.push(sealed.entry);
      }
      if (cursor !== undefined) cursors.set(cursor.name, cursor.sequence);
    }
    if (at === from) return undefined;
    const units = this.#waiting.slice(from, at);
    for (const [name, sequence] of cursors) this.#said.set(name, sequence);
    const end = first + entries.length;
    const root = this.#shelf.root();
    const checkpoint = unsignedCheckpoint({ origin: this.#signer.name, size: end, root }, this.#signer);
    // Each frame says all cursors: the files before it may go.
    const note = { checkpoint, cursors: this.#said, keys: this.keys.position() };
    const frame = unsignedFrameOf(first, entries, note);
    this.#waitingFrom = at;
    return { units, first, end, bytes, frame, cursors };
  }

  async #write({ frame, end }: Group): Promise<void> {
    const room = this.#mode === 'every' ? ROOM_BYTES : 0;
    if (this.keys.hasPending || !this.#wal.takesMore) {
      // It stays held up where this fails, until all are given back.
      this.#isHeldUp = true;
      if (this.keys.hasPending) await this.keys.flush();
      const written = this.#wal.write(frame, end, room);
      if (this.#wal.takesMore) this.#isHeldUp = false;
      await written;
      this.#isHeldUp = false;
      return;
    }
    await this.#wal.write(frame, end, room);
  }

  /** The group is durable. */
  #settle({ units, first, end, bytes, cursors, frame }: Group): void {
    this.#shelf.settle(end, signedIn(frame));
    for (const [name, sequence] of cursors) this.#cursors.set(name, sequence);
    this.#counts.flushes += 1;
    this.#waitingBytes -= bytes;
    if (this.#waitingFrom === this.#waiting.length) {
      this.#waiting = [];
      this.#waitingFrom = 0;
    } else if (this.#waitingFrom >= GROUP_RECORDS) {
      this.#waiting = this.#waiting.slice(this.#waitingFrom);
      this.#waitingFrom = 0;
    }
    this.#untiledBytes += frame.bytes.length;
    if (this.#state === 'full') this.#state = 'open';
    const records: DurableRecord[] = [];
    let index = first;
    for (const { sealed, done } of units) {
      if (sealed !== undefined) {
        const { record, entry, known } = sealed;
        known.index = index;
        if (this.#listeners.size > 0) records.push({ index, record, entry });
        index += 1;
        const { waiting = [] } = known;
        known.waiting = undefined;
        for (const each of waiting) each();
      }
      done?.();
    }
    if (records.length > 0) for (const listener of this.#listeners) told(listener, records);
    if (this.#untiledBytes >= this.#limits.tileBytes) this.#tiling ??= this.#tile();
    else this.#tileLater();
  }

  /**
   * A full disk gives back what was not durable and goes on; anything else, also a full disk that shows only when
   * syncing, ends the store for good: after a failed fsync a file is not written to again.
   */
  #giveBack(units: readonly Unit[], cause: unknown): void {
    let error: KedgeError;
    const isFull = isDiskFull(cause) && !(cause instanceof SyncFailure);
    if (isFull) {
      error = diskFull(this.#directory, cause);
      this.#shelf.takeBack();
      this.#wal.resume();
      if (this.#state === 'open') {
        this.#state = 'full';
        this.#onTrouble(error);
      }
    } else {
      error = this.#fail('write to the ledger', cause);
    }
    // All of it: what was given meanwhile has cursors behind those that are given back.
    const rejected = [...units, ...this.#waiting.slice(this.#waitingFrom)];
    this.#waiting = [];
    this.#waitingFrom = 0;
    this.#waitingBytes = 0;
    this.#taken = new Map(this.#cursors);
    this.#said = new Map(this.#cursors);
    for (const { sealed, done } of rejected) {
      if (sealed !== undefined) {
        this.#ids.forget(sealed.record.id, sealed.known);
        const { waiting = [] } = sealed.known;
        sealed.known.waiting = undefined;
        for (const each of waiting) each(error);
      }
      done?.(error);
    }
  }

  #fail(doing: string, cause: unknown): KedgeError {
    if (this.#failure !== undefined) return this.#failure;
    const error = storeFailed(doing, cause);
    this.#failure = error;
    if (this.#state !== 'closed') this.#state = 'failed';
    this.#onTrouble(error);
    return error;
  }

  /* ----------------------------------------------------------------- tiles */

  /** Keeps the write-ahead files bounded: what comes faster than tiles can be written waits here. */
  async #waitForTiles(): Promise<void> {
    this.#throwWhereFailed();
    while (this.#hasTooMuchBeyondTiles) {
      await (this.#tiling ??= this.#tile());
      this.#throwWhereFailed();
      if (this.#tilingFull !== undefined) throw this.#tilingFull;
    }
  }

  get #hasTooMuchBeyondTiles(): boolean {
    return this.#wal.bytesBeyond(this.#inTiles) > this.#limits.walBytes;
  }

  #tileLater(): void {
    if (this.#state === 'closed') return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tiling ??= this.#tile();
    }, this.#limits.tileMs).unref();
  }

  /** Brings the tiles to what is durable now. Never rejects. */
  async #tile(): Promise<void> {
    const { size, checkpoint } = this.#shelf;
    const before = this.#inTiles;
    try {
      if (size > before) {
        const files = this.#shelf.filesSince(before);
        this.#untiledBytes = 0;
        // What comes from now on goes into a file of its own, so that the one before can go.
        this.#wal.startFileAfter(this.#limits.tileBytes / WAL_FILE_PART);
        await this.#tiles.write(files, checkpoint, before, size);
        this.#shelf.release(files);
        this.#inTiles = size;
      }
      await this.#wal.drop(this.#inTiles);
      this.#tilingFull = undefined;
    } catch (error) {
      this.#tilingFull = fullDisk(error);
      if (this.#tilingFull === undefined) {
        this.#fail('write the tiles of the ledger', error);
      }
    }
    this.#tiling = undefined;
    if (this.size > this.#inTiles) this.#tileLater();
  }
}

function cursorName(source: string, spool: string): string {
  if (![source, spool].every((name) => /^[!-~]{1,128}$/.test(name))) {
    throw new KedgeError({
      code: 'LEDGER_SPOOL_NAME',
      message: 'cannot take records of a spool under this name',
      field: 'spool',
      expected: '1 to 128 printable characters without spaces, of the source and of its spool',
    });
  }
  return `${source}\n${spool}`;
}

function recordIn(entry: Buffer): SealedRecord {
  return JSON.parse(entry.toString()) as SealedRecord;
}

function settled(known: KnownRecord): Promise<void> {
  return new Promise((resolve, reject) => {
    const told = (error?: Error): void => {
      if (error === undefined) resolve();
      else reject(error);
    };
    if (known.waiting === undefined) known.waiting = [told];
    else known.waiting.push(told);
  });
}

function receiptOf(id: string, { index = 0 }: KnownRecord, duplicate: boolean): Receipt {
  return { id, sequence: BigInt(index) + 1n, duplicate };
}

/** A listener that throws is a mistake of its own, and none of the records that are durable. */
function told(
  listener: (records: readonly DurableRecord[]) => void,
  records: readonly DurableRecord[],
): void {
  try {
    listener(records);
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}

function never(): never {
  throw new Error('a unit that waits is there');
}

function limitsOf({ limits = {} }: LedgerStoreOptions): Limits {
  const chosen = {
    waitingBytes: limits.waitingBytes ?? 16 * MIB,
    walBytes: limits.walBytes ?? 64 * MIB,
    tileBytes: limits.tileBytes ?? 8 * MIB,
    tileMs: limits.tileMs ?? 1_000,
    ids: limits.ids ?? 32_768,
  };
  const least: Limits = { waitingBytes: 128 * 1024, walBytes: 2 * MIB, tileBytes: 1, tileMs: 1, ids: 1 };
  for (const [name, value] of Object.entries(chosen)) {
    const from = least[name as keyof Limits];
    if (!Number.isSafeInteger(value) || value < from)
      throw wrongOption(`limits.${name}`, `a whole number of at least ${from}`);
  }
  return chosen;
}

function rulesOf({ retention = {}, limits = {} }: LedgerStoreOptions): RetentionRules {
  const { days = 365, breakGlassDays = Math.max(days, 2_555), archiveExpired = false } = retention;
  const { isBreakGlass = () => false } = retention;
  const { bundleBytes = 16 * 1024 * MIB } = limits;
  if (!Number.isSafeInteger(days) || days < 1) throw wrongOption('retention.days', 'a whole number above 0');
  if (!Number.isSafeInteger(breakGlassDays) || breakGlassDays < days)
    throw wrongOption('retention.breakGlassDays', 'a whole number of at least retention.days');
  if (!Number.isSafeInteger(bundleBytes) || bundleBytes < 1)
    throw wrongOption('limits.bundleBytes', 'a whole number above 0');
  return { days, breakGlassDays, isBreakGlass, archiveExpired, bundleBytes };
}

/** Whoever else may write there could change what is not signed yet, or read the keys. */
async function refuseForeign(directory: string): Promise<void> {
  const { uid, mode } = await stat(directory);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) {
    throw wrongOption('directory', 'one of the own user that nobody else may enter (0700)');
  }
}

/**
 * A durable, bounded spool of records: what is acknowledged survives kill -9 and power loss, and waits for the
 * ledger to drain it.
 * It must not prove anything about records to others; the ledger does.
 */
import type { LedgerRecord, Receipt, RecordSink } from '@kedge/contracts';
import { makeDirectory, syncDirectory } from '@kedge/durable-files';
import { KedgeError } from '@kedge/units';
import { hash } from 'node:crypto';
import { type FileHandle, open, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { decodeRecord, encodeRecord } from './canonical.js';
import { anyFrameAfter, FILE_HEAD, FRAME_HEAD_BYTES, frameAt, frameOf } from './frame.js';
import { damaged, failed } from './spool-error.js';
import { newIdentity, readIdentity, type SpoolIdentity } from './spool-identity.js';
import { type SpooledBytes, type SpoolFile, SpoolReader } from './spool-reader.js';

/** How a spool is opened. */
export interface SpoolOptions {
  /**
   * Absolute path; made (0700) where it is missing. One process at a time: the caller holds the lock of its
   * service.
   */
  readonly directory: string;
  /** Largest size of all files together, bytes, at least 64 KiB; default 64 MiB. */
  readonly maxBytes?: number;
  /** A file that has grown beyond this is followed by a new one; default 4 MiB. Drained files are removed whole. */
  readonly fileBytes?: number;
  /** Told, once until it changes, when records are refused because the spool is full or its storage failed. */
  readonly onTrouble?: (error: KedgeError) => void;
}

/** What was found when the spool was opened. */
export interface SpoolRecovery {
  /** Whole records found. */
  readonly records: number;
  /** Bytes of a torn end that were cut off; none of them was ever acknowledged. */
  readonly cutBytes: number;
  /**
   * Where the cut bytes were kept, because they held whole records behind a broken one: a group that a power cut
   * tore, or damage that somebody should look at.
   */
  readonly keptAside?: string;
}

/** A record on its way out. */
export interface SpooledRecord extends SpooledBytes {
  readonly record: LedgerRecord;
}

/** How full a spool is. */
export interface SpoolStatus {
  readonly records: number;
  readonly bytes: number;
  readonly maxBytes: number;
  /** The oldest sequence that lies in it, or that would be given next where none does. */
  readonly oldest: bigint;
  /** The newest durable sequence; 0 = none yet. */
  readonly durable: bigint;
  readonly state: 'open' | 'full' | 'failed' | 'closed';
}

/** An open spool. */
export interface Spool extends RecordSink {
  readonly recovery: SpoolRecovery;
  /** By what the ledger knows it. */
  readonly identity: SpoolIdentity;
  status(): SpoolStatus;
  /**
   * Gives it another identity, under which everything that lies in it is new: what the ledger says of the old one does
   * not fit it any more.
   *
   * @throws KedgeError `LEDGER_SPOOL_FAILED`
   */
  renew(): Promise<void>;
  /** Calls a listener whenever more has become durable; the result ends that. It must not throw. */
  onDurable(listener: () => void): () => void;
  /** Durable records after a sequence, by and by; its caller closes it. */
  reader(after?: bigint): SpoolReader;
  /**
   * Durable records after a sequence, oldest first; ends at what is durable when it gets there.
   *
   * @throws KedgeError `LEDGER_SPOOL_DAMAGED`, `LEDGER_SPOOL_FAILED`.
   */
  drain(after?: bigint): AsyncGenerator<SpooledRecord, void, undefined>;
  /** The ledger has records up to this sequence: files that hold nothing newer are removed. */
  release(upTo: bigint): Promise<void>;
  /** Waits for what is under way, then closes. A second call does nothing. */
  close(): Promise<void>;
}

interface Waiting {
  readonly id: string;
  readonly frame: Buffer;
  readonly sequence: bigint;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: KedgeError) => void;
}

interface Known {
  readonly sequence: bigint;
  readonly hash: string;
  /** Resolves when it is durable; undefined once it is. */
  pending: Promise<Receipt> | undefined;
}

const MIN_BYTES = 64 * 1024;
/** What is read at once where all of it is wanted. */
const DRAIN_BYTES = 256 * 1024;

/**
 * Opens a spool, cutting a torn end.
 *
 * Ids are remembered as long as their records lie in the spool; the ledger knows the older ones.
 *
 * @throws KedgeError `LEDGER_SPOOL_OPTIONS`, `LEDGER_SPOOL_FAILED` (the directory cannot be used),
 *   `LEDGER_SPOOL_DAMAGED` (a file that was followed by another is not whole, or one is missing).
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { directory, maxBytes = 64 * 1024 * 1024, fileBytes = 4 * 1024 * 1024 } = options;
  if (!directory.startsWith('/')) throw wrongOption('directory', 'an absolute path');
  if (!Number.isSafeInteger(maxBytes) || maxBytes < MIN_BYTES) {
    throw wrongOption('maxBytes', `a whole number of at least ${MIN_BYTES}`);
  }
  if (!Number.isSafeInteger(fileBytes) || fileBytes < 1)
    throw wrongOption('fileBytes', 'a whole number above 0');
  try {
    await makeDirectory(directory);
    const recovered = await recover(directory);
    const { files, next } = recovered;
    // Whatever had the name before was another one: its records were taken away, and the numbers begin anew.
    const old = files.length === 0 ? undefined : await readIdentity(directory);
    const identity = old ?? (await newIdentity(directory, (files[0]?.first ?? next) - 1n));
    return new OpenSpool({ ...options, maxBytes, fileBytes }, recovered, identity);
  } catch (error) {
    throw error instanceof KedgeError ? error : failed(`cannot open the spool ${directory}`, error);
  }
}

class OpenSpool implements Spool {
  readonly recovery: SpoolRecovery;
  readonly #options: SpoolOptions & { readonly maxBytes: number; readonly fileBytes: number };
  readonly #files: SpoolFile[];
  readonly #known: Map<string, Known>;
  #next: bigint;
  #durable: bigint;
  #bytes: number;
  #waiting: Waiting[] = [];
  #handle: FileHandle | undefined;
  #flushing: Promise<void> | undefined;
  #state: SpoolStatus['state'] = 'open';
  #identity: SpoolIdentity;
  readonly #listeners = new Set<() => void>();
  /** One after the other: files go in their order, or what is left is no row any more. */
  #releasing: Promise<void> = Promise.resolve();

  constructor(
    options: SpoolOptions & { readonly maxBytes: number; readonly fileBytes: number },
    { files, known, next, recovery }: Recovered,
    identity: SpoolIdentity,
  ) {
    this.#options = options;
    this.#identity = identity;
    this.#files = files;
    this.#known = known;
    this.#next = next;
    this.#durable = next - 1n;
    this.#bytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
    this.recovery = recovery;
  }

  get identity(): SpoolIdentity {
    return this.#identity;
  }

  async renew(): Promise<void> {
    this.#identity = await newIdentity(this.#options.directory, this.#oldest - 1n);
  }

  onDurable(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  get #oldest(): bigint {
    return this.#files[0]?.first ?? this.#durable + 1n;
  }

  async append(given: LedgerRecord): Promise<Receipt> {
    const { record, bytes } = encodeRecord(given);
    const own = contentHash(bytes);
    const known = this.#known.get(record.id);
    if (known !== undefined) {
      if (known.hash !== own) {
        throw new KedgeError({
          code: 'LEDGER_ID_REUSED',
          message: `cannot keep the record: another one has the id ${record.id}`,
          field: 'id',
          expected: 'the same content for the same id',
        });
      }
      await known.pending;
      return { id: record.id, sequence: known.sequence, duplicate: true };
    }
    this.#refuseWhereNotOpen();
    // What waits counts as well: an acknowledged record never has to be dropped for want of space.
    const size = FRAME_HEAD_BYTES + bytes.length;
    const head = this.#files.length === 0 || this.#wantsNewFile() ? FILE_HEAD.length : 0;
    if (this.#bytes + size + head > this.#options.maxBytes) throw this.#full();
    this.#bytes += size;
    const sequence = this.#next;
    this.#next += 1n;
    const pending = new Promise<Receipt>((resolve, reject) => {
      this.#waiting.push({ id: record.id, frame: frameOf(sequence, bytes), sequence, resolve, reject });
    });
    this.#known.set(record.id, { sequence, hash: own, pending });
    this.#flushing ??= this.#flush();
    return await pending;
  }

  status(): SpoolStatus {
    return {
      records: this.#known.size,
      bytes: this.#bytes,
      maxBytes: this.#options.maxBytes,
      oldest: this.#oldest,
      durable: this.#durable,
      state: this.#state,
    };
  }

  /** Writes what waits, as one group with one fdatasync, until nothing waits. Never rejects. */
  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(group);
      } catch (error) {
        await this.#onWriteFailure(group, error);
        continue;
      }
      if (this.#state === 'full') this.#state = 'open';
      for (const { id, sequence, resolve } of group) {
        this.#durable = sequence;
        const known = this.#known.get(id);
        if (known !== undefined) known.pending = undefined;
        resolve({ id, sequence, duplicate: false });
      }
      for (const listener of this.#listeners) listener();
    }
    this.#flushing = undefined;
  }

  #wantsNewFile(): boolean {
    return (this.#files.at(-1)?.bytes ?? Infinity) >= this.#options.fileBytes;
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    const first = group[0]?.sequence ?? this.#next;
    if (this.#files.length === 0 || this.#wantsNewFile()) {
      await this.#handle?.close();
      this.#handle = undefined;
      await this.#startFile(first);
    }
    const file = this.#files.at(-1);
    if (file === undefined) throw new Error('no file to write to');
    this.#handle ??= await open(file.path, 'r+');
    const bytes = Buffer.concat(group.map(({ frame }) => frame));
    for (let written = 0; written < bytes.length;) {
      written += (await this.#handle.write(bytes, written, bytes.length - written, file.bytes + written))
        .bytesWritten;
    }
    await sync(this.#handle);
    file.bytes += bytes.length;
  }

  /** A new file is whole and its name durable before a record goes into it. */
  async #startFile(first: bigint): Promise<void> {
    const path = join(this.#options.directory, nameOf(first));
    const handle = await open(path, 'wx+', 0o600);
    try {
      await handle.write(FILE_HEAD, 0, FILE_HEAD.length, 0);
      await sync(handle);
      await syncDirectory(this.#options.directory);
    } catch (error) {
      await handle.close();
      // An empty file would be in the way of the next attempt.
      await unlink(path).catch(() => undefined);
      // It is gone, so nothing can be appended to it: a disk that was full may be tried again.
      throw error instanceof SyncFailure ? error.cause : error;
    }
    this.#handle = handle;
    this.#files.push({ path, first, bytes: FILE_HEAD.length });
    this.#bytes += FILE_HEAD.length;
  }

  /**
   * A full disk gives back what was half written and goes on; anything else, also a full disk that shows only when
   * syncing, ends the spool for good: after a failed fsync a file is not appended to again (PO-17).
   */
  async #onWriteFailure(group: readonly Waiting[], cause: unknown): Promise<void> {
    const goesOn = isDiskFull(cause) && (await this.#takeBack());
    // Only now: what was given meanwhile has numbers behind those that are given back, and goes with them.
    const rejected = [...group, ...this.#waiting];
    this.#waiting = [];
    let error: KedgeError;
    if (goesOn) {
      error = this.#full(cause);
    } else {
      this.#state = 'failed';
      error = failed(
        `cannot write to the spool ${this.#options.directory}; it takes nothing any more`,
        cause,
      );
      this.#options.onTrouble?.(error);
    }
    for (const { id, frame, reject } of rejected) {
      this.#known.delete(id);
      this.#bytes -= frame.length;
      reject(error);
    }
    this.#next = this.#durable + 1n;
  }

  /** Cuts the file back to what is durable. */
  async #takeBack(): Promise<boolean> {
    const file = this.#files.at(-1);
    if (file === undefined || this.#handle === undefined) return true;
    try {
      await this.#handle.truncate(file.bytes);
      await sync(this.#handle);
      return true;
    } catch {
      return false;
    }
  }

  #full(cause?: unknown): KedgeError {
    const error = new KedgeError({
      code: 'LEDGER_SPOOL_FULL',
      message: `cannot keep the record: the spool ${this.#options.directory} is full`,
      expected: cause === undefined ? `at most ${this.#options.maxBytes} bytes` : 'space on its disk',
      help: 'the ledger has to drain it; see whether it runs',
      ...(cause === undefined ? {} : { cause }),
    });
    if (this.#state === 'open') {
      this.#state = 'full';
      this.#options.onTrouble?.(error);
    }
    return error;
  }

  #refuseWhereNotOpen(): void {
    if (this.#state === 'failed') {
      throw failed(`the spool ${this.#options.directory} failed before and takes nothing any more`);
    }
    if (this.#state === 'closed') {
      throw new KedgeError({
        code: 'LEDGER_SPOOL_CLOSED',
        message: `cannot keep the record: the spool ${this.#options.directory} is closed`,
      });
    }
  }

  reader(after = 0n): SpoolReader {
    return new SpoolReader(() => this.#files, after);
  }

  async *drain(after = 0n): AsyncGenerator<SpooledRecord, void, undefined> {
    const reader = this.reader(after);
    try {
      for (;;) {
        const found = await reader.take(DRAIN_BYTES);
        if (found.length === 0) return;
        for (const { sequence, bytes } of found) yield { sequence, record: decodeRecord(bytes), bytes };
      }
    } finally {
      await reader.close();
    }
  }

  async release(upTo: bigint): Promise<void> {
    const before = this.#releasing;
    const turn = before.then(() => this.#release(upTo));
    this.#releasing = turn.catch(() => undefined);
    await turn;
  }

  async #release(upTo: bigint): Promise<void> {
    for (;;) {
      const [file, next] = this.#files;
      // The last file stays: it carries the sequence on.
      if (file === undefined || next === undefined || next.first - 1n > upTo) return;
      await unlink(file.path);
      // Before the next one goes: a power cut that brought back the older of two would leave a hole.
      await syncDirectory(this.#options.directory);
      this.#files.shift();
      this.#bytes -= file.bytes;
      // They stand in the order of their sequences.
      for (const [id, { sequence }] of this.#known) {
        if (sequence >= next.first) break;
        this.#known.delete(id);
      }
    }
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    const failedBefore = this.#state === 'failed';
    this.#state = 'closed';
    await this.#flushing;
    await this.#releasing;
    if (!failedBefore) await this.#handle?.close();
    else await this.#handle?.close().catch(() => undefined);
    this.#handle = undefined;
  }
}

/* --------------------------------------------------------------- recovery */

interface Recovered {
  readonly files: SpoolFile[];
  readonly known: Map<string, Known>;
  readonly next: bigint;
  readonly recovery: SpoolRecovery;
}

async function recover(directory: string): Promise<Recovered> {
  const names = (await readdir(directory)).filter((name) => /^spool-\d{20}\.log$/.test(name)).sort();
  const files: SpoolFile[] = [];
  const known = new Map<string, Known>();
  let next: bigint | undefined;
  let recovery: SpoolRecovery = { records: 0, cutBytes: 0 };
  for (const [index, name] of names.entries()) {
    const path = join(directory, name);
    const first = BigInt(name.slice(6, 26));
    const isLast = index === names.length - 1;
    const bytes = await readFile(path);
    if (next !== undefined && first !== next) throw damaged(path, 0);
    next = first;
    if (!bytes.subarray(0, FILE_HEAD.length).equals(FILE_HEAD)) {
      // Its name was durable before its first record: a last file without a head holds nothing.
      if (!isLast || bytes.length > FILE_HEAD.length) throw damaged(path, 0);
      await unlink(path);
      await syncDirectory(directory);
      recovery = { ...recovery, cutBytes: bytes.length };
      break;
    }
    let at = FILE_HEAD.length;
    for (let frame = frameAt(bytes, at); frame?.sequence === next; frame = frameAt(bytes, at)) {
      const id = idIn(frame.payload);
      if (id === undefined) throw damaged(path, at);
      known.set(id, { sequence: next, hash: contentHash(frame.payload), pending: undefined });
      next += 1n;
      at = frame.end;
    }
    if (at < bytes.length) {
      if (!isLast) throw damaged(path, at);
      const keptAside = anyFrameAfter(bytes, at) ? `${path}.cut-${at}` : undefined;
      if (keptAside !== undefined) await writeFile(keptAside, bytes.subarray(at), { mode: 0o600 });
      await cut(path, at);
      recovery = {
        ...recovery,
        cutBytes: bytes.length - at,
        ...(keptAside === undefined ? {} : { keptAside }),
      };
    }
    files.push({ path, first, bytes: at });
  }
  return { files, known, next: next ?? 1n, recovery: { ...recovery, records: known.size } };
}

/**
 * The id of what a frame holds; undefined where it has none. It was a record when it was framed, and the frame says
 * that it is whole: its schema is looked at where it is read.
 */
function idIn(payload: Buffer): string | undefined {
  try {
    const { id } = JSON.parse(payload.toString()) as { readonly id?: unknown };
    return typeof id === 'string' ? id : undefined;
  } catch {
    return undefined;
  }
}

function contentHash(bytes: Buffer): string {
  return hash('sha256', bytes, 'base64');
}

async function cut(path: string, length: number): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.truncate(length);
    await sync(handle);
  } finally {
    await handle.close();
  }
}

function nameOf(first: bigint): string {
  return `spool-${first.toString().padStart(20, '0')}.log`;
}

/** fdatasync: content and length, which is all that recovery needs. */
async function sync(handle: FileHandle): Promise<void> {
  try {
    await handle.datasync();
  } catch (cause) {
    throw new SyncFailure('what was written may or may not be on the disk', { cause });
  }
}

/** What of a file is durable is not known any more. */
class SyncFailure extends Error {}

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

function wrongOption(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_SPOOL_OPTIONS',
    message: `cannot open a spool: ${field} is wrong`,
    field,
    expected,
  });
}

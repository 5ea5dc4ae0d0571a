/**
 * The write-ahead files: frames that are durable when a write resolves, read back after a crash.
 * It must not know what entries say, nor remove a file whose entries are not in tiles.
 */
import type { NoteSigner } from '@kedge/ledger';
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { fullDisk, isDiskFull, SyncFailure, syncData, syncDirectory, writeAll } from '@kedge/durable-files';
import { damaged } from './errors.js';
import { FrameWriter } from './frame-writer.js';
import { anyWalFrameAfter, type UnsignedFrame, WAL_HEAD, type WalFrame, walFrameAt } from './wal-frame.js';

const NAME = /^wal-(\d{12})\.log$/;

interface WalFile {
  readonly path: string;
  readonly number: number;
  /** Bytes of head and frames, also of those under way. */
  bytes: number;
  /** Bytes that the file has on the disk: frames, and zeros behind them. */
  room: number;
  /** Entries in the log after its last frame. */
  end: number;
}

/** The file that frames are written to. */
interface Handles {
  /**
   * Opened before anything is written by the other: on Linux a descriptor is told of a failed write-back by its next
   * flush, also where another one was told before. So a flush through this one says whether what the other could not
   * write had begun to go to the disk.
   */
  readonly plain: FileHandle;
  /** O_DSYNC: a write is durable when it has ended. */
  readonly durable: FileHandle;
}

/** What a torn end left. */
export interface WalCut {
  readonly bytes: number;
  readonly keptAside?: string;
}

/** Told each whole frame, in order, and where it lies. */
export type FrameReader = (frame: WalFrame, path: string, at: number) => void;

/** The files at their end. */
export class Wal {
  readonly #directory: string;
  readonly #fileBytes: number;
  readonly #files: WalFile[];
  readonly #signer: NoteSigner;
  /** Started with the first frame. */
  #writer: FrameWriter | undefined;
  #handles: Handles | undefined;
  /** What of the last file is durable. */
  #durable = { bytes: 0, end: 0 };
  /** The frame that was given last. */
  #given: Promise<void> = Promise.resolve();
  /** A failure that is being dealt with, or ends all of this. */
  #failing: Promise<Error> | undefined;
  #next: number;
  #wantsNewFile = false;

  private constructor(
    directory: string,
    fileBytes: number,
    signer: NoteSigner,
    files: WalFile[],
    next: number,
  ) {
    this.#directory = directory;
    this.#fileBytes = fileBytes;
    this.#signer = signer;
    this.#files = files;
    this.#next = next;
  }

  /**
   * Reads what is there and cuts a torn end: only the last frame of the last file can be one, for a frame is written
   * when the one before it is durable.
   *
   * @param fileBytes a file that has grown beyond this is followed by a new one.
   * @param signer of the checkpoints of frames that are written.
   * @throws KedgeError `LEDGER_STORE_DAMAGED`, and system errors.
   */
  static async open(
    directory: string,
    fileBytes: number,
    signer: NoteSigner,
    onFrame: FrameReader,
  ): Promise<{ wal: Wal; cut: WalCut }> {
    const names = (await readdir(directory)).filter((name) => NAME.test(name)).sort();
    const files: WalFile[] = [];
    let cut: WalCut = { bytes: 0 };
    let next = 1;
    for (const [index, name] of names.entries()) {
      const path = join(directory, name);
      const number = Number(NAME.exec(name)?.[1]);
      if (index > 0 && number !== next) throw damaged(path, 0, `the file wal-${digits(next)}.log before it`);
      next = number + 1;
      const bytes = await readFile(path);
      const isLast = index === names.length - 1;
      let end = 0;
      let at = bytes.subarray(0, WAL_HEAD.length).equals(WAL_HEAD) ? WAL_HEAD.length : 0;
      for (let frame = at > 0 ? walFrameAt(bytes, at) : undefined; frame !== undefined;) {
        onFrame(frame, path, at);
        end = frame.first + frame.entries.length;
        at = frame.end;
        frame = walFrameAt(bytes, at);
      }
      const isWhole = at > WAL_HEAD.length && isZero(bytes, at);
      if (!isWhole) {
        const expected = 'whole frames, one after the other, and nothing but zeros behind them';
        if (!isLast || anyWalFrameAfter(bytes, at)) throw damaged(path, at, expected);
        cut = await cutOff(path, bytes, at > WAL_HEAD.length ? at : 0);
        // A file whose first frame was not durable holds nothing.
        if (at <= WAL_HEAD.length) {
          next = number;
          break;
        }
      }
      files.push({ path, number, bytes: at, room: isWhole ? bytes.length : at, end });
    }
    return { wal: new Wal(directory, fileBytes, signer, files, next), cut };
  }

  /** True where the next frame starts a file. */
  get #startsFile(): boolean {
    const last = this.#files.at(-1);
    return this.#wantsNewFile || last === undefined || last.bytes >= this.#fileBytes;
  }

  /** The next frame starts a file, where the last one has grown beyond a number of bytes. */
  startFileAfter(bytes: number): void {
    this.#wantsNewFile ||= (this.#files.at(-1)?.bytes ?? 0) > bytes;
  }

  /** Bytes of files that hold an entry which is not among the first `inTiles`. */
  bytesBeyond(inTiles: number): number {
    return this.#files.reduce((sum, { bytes, end }) => (end > inTiles ? sum + bytes : sum), 0);
  }

  /** True where the next frame may be given while others are under way. */
  get takesMore(): boolean {
    return this.#handles !== undefined && !this.#startsFile && !this.isHalted;
  }

  /** True from a failure to {@link resume}. */
  get isHalted(): boolean {
    return this.#writer?.isHalted === true || this.#failing !== undefined;
  }

  /**
   * Signs a frame and makes it durable: one write through a descriptor of O_DSYNC, which is a write and its fdatasync in one, and for
   * a new file its name. Frames that are given while others are under way, where {@link takesMore}, are written in their
   * order, each when the one before it is durable.
   *
   * @param end entries in the log with it.
   * @param room bytes to make ready for it and those behind it where the file has no room for it: what lies inside of
   *   a file is flushed faster than what makes it longer.
   * @throws system errors. A full disk left nothing behind where {@link isDiskFull} says so and the error is no
   *   `SyncFailure`: {@link resume} takes frames again. After any other the files are not to be written to again.
   *   Frames behind one that failed were not written, and fail with the same error.
   */
  async write(frame: UnsignedFrame, end: number, room: number): Promise<void> {
    this.#writer ??= new FrameWriter(this.#signer);
    if (this.#startsFile) {
      await this.#startFile(this.#writer, frame, end, room);
      return;
    }
    const file = this.#files.at(-1);
    if (file === undefined) throw new Error('no file to write to');
    this.#handles ??= await this.#openLast(file);
    const { durable } = this.#handles;
    const at = file.bytes;
    const { length } = frame.bytes;
    if (at + length > file.room && room > 0) {
      const zeros = Buffer.alloc(Math.max(room, length));
      // Where it fails, the frames behind it fail because of it.
      this.#writer.writePlain(durable.fd, zeros, file.room).catch((error: unknown) => {
        this.#failing ??= this.#takeBack(file, error);
      });
      file.room += zeros.length;
    }
    file.room = Math.max(file.room, at + length);
    file.bytes += length;
    file.end = end;
    this.#given = this.#writer.write(durable.fd, frame, at);
    try {
      await this.#given;
    } catch (error) {
      throw await (this.#failing ??= this.#takeBack(file, error));
    }
    this.#durable = { bytes: at + length, end };
  }

  /** Takes frames again, after a full disk whose frames were all given back. */
  resume(): void {
    if (this.#writer?.isHalted === true) this.#writer.resume();
    this.#failing = undefined;
  }

  /** Removes the files that hold no entry beyond the first `inTiles`; the newest stays, it has the cursors. */
  async drop(inTiles: number): Promise<void> {
    for (;;) {
      const [file, next] = this.#files;
      if (file === undefined || next === undefined || file.end > inTiles) return;
      await unlink(file.path);
      this.#files.shift();
      // One by one: a power cut shall not take a later file and leave an earlier one.
      await syncDirectory(this.#directory);
    }
  }

  /** All that was given has ended. */
  async close(): Promise<void> {
    await this.#closeLast();
    this.#writer?.stop();
    this.#writer = undefined;
  }

  async #closeLast(): Promise<void> {
    const { plain, durable } = this.#handles ?? {};
    this.#handles = undefined;
    await plain?.close();
    await durable?.close();
  }

  async #openLast(file: WalFile): Promise<Handles> {
    const plain = await open(file.path, 'r+');
    this.#durable = { bytes: file.bytes, end: file.end };
    return { plain, durable: await openDurably(file.path, plain) };
  }

  async #startFile(writer: FrameWriter, frame: UnsignedFrame, end: number, room: number): Promise<void> {
    await this.#closeLast();
    const path = join(this.#directory, `wal-${digits(this.#next)}.log`);
    writer.finish(frame);
    const bytes = Buffer.concat([WAL_HEAD, frame.bytes, Buffer.alloc(room)]);
    const handle = await open(path, 'wx', 0o600);
    let durable: FileHandle;
    try {
      await writeAll(handle, bytes, 0);
      await syncData(handle);
      await syncDirectory(this.#directory);
      durable = await openDurably(path, handle);
    } catch (error) {
      await handle.close();
      if (!isDiskFull(error)) throw error;
      // It is gone, so nothing can be written to it again: a disk that was full may be tried again.
      await unlink(path);
      await syncDirectory(this.#directory);
      throw error instanceof SyncFailure ? error.cause : error;
    }
    this.#handles = { plain: handle, durable };
    this.#wantsNewFile = false;
    this.#durable = { bytes: WAL_HEAD.length + frame.bytes.length, end };
    this.#files.push({ path, number: this.#next, ...this.#durable, room: bytes.length });
    this.#next += 1;
  }

  /**
   * What a write that failed is for those who wait. A full disk that left no doubt is that: the file is cut back to what
   * is durable, and the flush after that, through a descriptor that was told of no failure yet, tells of any write-back
   * that failed. Everything else is a flush that failed.
   */
  async #takeBack(file: WalFile, error: unknown): Promise<Error> {
    // Nothing behind it is written, but some of it may wait to be told.
    await this.#given.catch(() => undefined);
    const full = fullDisk(error);
    if (full === undefined || this.#handles === undefined) {
      return new SyncFailure('what was written may or may not be on the disk', { cause: error });
    }
    const { bytes, end } = this.#durable;
    try {
      await this.#handles.plain.truncate(bytes);
      await syncData(this.#handles.plain);
    } catch (cause) {
      return cause instanceof SyncFailure ? cause : new SyncFailure('a half frame stays', { cause });
    }
    Object.assign(file, { bytes, end, room: bytes });
    return full;
  }
}

/** A descriptor of a file that is open already; that one is closed where there can be none. */
async function openDurably(path: string, plain: FileHandle): Promise<FileHandle> {
  try {
    return await open(path, constants.O_WRONLY | constants.O_DSYNC);
  } catch (error) {
    await plain.close().catch(() => undefined);
    throw error;
  }
}

function digits(number: number): string {
  return String(number).padStart(12, '0');
}

function isZero(bytes: Buffer, from: number): boolean {
  const rest = bytes.subarray(from);
  return rest.equals(Buffer.alloc(rest.length));
}

/** Cuts a file at a length, or takes it away at 0. One copy of what was cut stays for whoever wants to look. */
async function cutOff(path: string, bytes: Buffer, length: number): Promise<WalCut> {
  const directory = dirname(path);
  const aside = join(dirname(directory), 'cut-off');
  const kept = await writeFile(aside, bytes.subarray(length), { mode: 0o600 }).then(
    () => ({ keptAside: aside }),
    () => ({}),
  );
  if (length === 0) {
    await unlink(path);
  } else {
    const handle = await open(path, 'r+');
    try {
      await handle.truncate(length);
      await syncData(handle);
    } finally {
      await handle.close();
    }
  }
  await syncDirectory(directory);
  return { bytes: bytes.length - length, ...kept };
}

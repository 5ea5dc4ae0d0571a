/**
 * The write-ahead files: frames that are durable when a write resolves, read back after a crash.
 * It must not know what entries say, nor remove a file whose entries are not in tiles.
 */
import { type FileHandle, open, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { isDiskFull, SyncFailure, syncData, syncDirectory, writeAll } from './durable-files.js';
import { damaged } from './errors.js';
import { anyWalFrameAfter, WAL_HEAD, type WalFrame, walFrameAt } from './wal-frame.js';

const NAME = /^wal-(\d{12})\.log$/;

interface WalFile {
  readonly path: string;
  readonly number: number;
  /** Bytes of head and frames. */
  bytes: number;
  /** Bytes that the file has on the disk: frames, and zeros behind them. */
  room: number;
  /** Entries in the log after its last frame. */
  end: number;
}

/** What a torn end left. */
export interface WalCut {
  readonly bytes: number;
  readonly keptAside?: string;
}

/** Told each whole frame, in order, and where it lies. */
export type FrameReader = (frame: WalFrame, path: string, at: number) => void;

/** The files at their end. One write at a time. */
export class Wal {
  readonly #directory: string;
  readonly #fileBytes: number;
  readonly #files: WalFile[];
  #handle: FileHandle | undefined;
  #next: number;
  #wantsNewFile = false;

  private constructor(directory: string, fileBytes: number, files: WalFile[], next: number) {
    this.#directory = directory;
    this.#fileBytes = fileBytes;
    this.#files = files;
    this.#next = next;
  }

  /**
   * Reads what is there and cuts a torn end: only the last frame of the last file can be one, for a frame is written
   * when the one before it is durable.
   *
   * @param fileBytes a file that has grown beyond this is followed by a new one.
   * @throws KedgeError `LEDGER_STORE_DAMAGED`, and system errors.
   */
  static async open(
    directory: string,
    fileBytes: number,
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
    return { wal: new Wal(directory, fileBytes, files, next), cut };
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

  /**
   * Makes a frame durable: one write, one fdatasync, and for a new file its name.
   *
   * @param end entries in the log with it.
   * @param room bytes to make ready behind the frame where the file has no room for it: what lies inside of a file is
   *   flushed faster than what makes it longer.
   * @param onFlushing called once the disk has been asked to flush: time that nobody waits for.
   * @throws system errors. A full disk left nothing behind where {@link isDiskFull} says so and the error is no
   *   `SyncFailure`; after any other the files are not to be written to again.
   */
  async write(frame: Buffer, end: number, room: number, onFlushing: () => void): Promise<void> {
    if (this.#startsFile) {
      await this.#startFile(frame, end, room, onFlushing);
      return;
    }
    const file = this.#files.at(-1);
    if (file === undefined) throw new Error('no file to write to');
    this.#handle ??= await open(file.path, 'r+');
    const grows = file.bytes + frame.length > file.room;
    const bytes = grows && room > 0 ? Buffer.concat([frame, Buffer.alloc(room)]) : frame;
    try {
      await writeAll(this.#handle, bytes, file.bytes);
    } catch (error) {
      if (isDiskFull(error)) await this.#takeBack(file);
      throw error;
    }
    await flushed(this.#handle, onFlushing);
    file.room = Math.max(file.room, file.bytes + bytes.length);
    file.bytes += frame.length;
    file.end = end;
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

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #startFile(frame: Buffer, end: number, room: number, onFlushing: () => void): Promise<void> {
    await this.close();
    const path = join(this.#directory, `wal-${digits(this.#next)}.log`);
    const bytes = Buffer.concat([WAL_HEAD, frame, Buffer.alloc(room)]);
    const handle = await open(path, 'wx', 0o600);
    try {
      await writeAll(handle, bytes, 0);
      await flushed(handle, onFlushing);
      await syncDirectory(this.#directory);
    } catch (error) {
      await handle.close();
      if (!isDiskFull(error)) throw error;
      // It is gone, so nothing can be written to it again: a disk that was full may be tried again.
      await unlink(path);
      await syncDirectory(this.#directory);
      throw error instanceof SyncFailure ? error.cause : error;
    }
    this.#handle = handle;
    this.#wantsNewFile = false;
    this.#files.push({
      path,
      number: this.#next,
      bytes: WAL_HEAD.length + frame.length,
      room: bytes.length,
      end,
    });
    this.#next += 1;
  }

  /** Cuts the file back to what is durable. @throws SyncFailure where that cannot be done. */
  async #takeBack(file: WalFile): Promise<void> {
    try {
      await this.#handle?.truncate(file.bytes);
      if (this.#handle !== undefined) await syncData(this.#handle);
      file.room = file.bytes;
    } catch (cause) {
      throw cause instanceof SyncFailure ? cause : new SyncFailure('a half frame stays', { cause });
    }
  }
}

/** Flushes, and does something meanwhile. */
async function flushed(handle: FileHandle, meanwhile: () => void): Promise<void> {
  const synced = syncData(handle);
  try {
    meanwhile();
  } finally {
    await synced;
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

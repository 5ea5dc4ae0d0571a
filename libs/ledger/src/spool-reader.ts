/**
 * Reads the records of a spool by and by: only what is new is read, however long it goes on.
 * It must not read what is not durable, nor keep more than it was asked for.
 */
import { type FileHandle, open } from 'node:fs/promises';

import { MAX_RECORD_BYTES } from './canonical.js';
import { FILE_HEAD, FRAME_HEAD_BYTES, frameAt } from './frame.js';
import { damaged, failed } from './spool-error.js';

/** A file of a spool. */
export interface SpoolFile {
  readonly path: string;
  /** Sequence of its first frame. */
  readonly first: bigint;
  /** Durable bytes. */
  bytes: number;
}

/** A record as it lies in a spool. */
export interface SpooledBytes {
  readonly sequence: bigint;
  /** Its canonical bytes. */
  readonly bytes: Buffer;
}

const MAX_FRAME_BYTES = FRAME_HEAD_BYTES + MAX_RECORD_BYTES;

/** A place in a spool. One call at a time. */
export class SpoolReader {
  readonly #files: () => readonly SpoolFile[];
  #last: bigint;
  #file: SpoolFile | undefined;
  #handle: FileHandle | undefined;
  /** Where the next frame of the file begins. */
  #at = FILE_HEAD.length;

  /** @param files those that there are now, oldest first. */
  constructor(files: () => readonly SpoolFile[], after: bigint) {
    this.#files = files;
    this.#last = after;
  }

  /** The sequence up to which records were given. */
  get last(): bigint {
    return this.#last;
  }

  /**
   * The next durable records, one at least where there is any: no more than fit into so many bytes, frames counted.
   * None: all that is durable was given.
   *
   * @throws KedgeError `LEDGER_SPOOL_DAMAGED`, `LEDGER_SPOOL_FAILED`.
   */
  async take(maxBytes: number): Promise<readonly SpooledBytes[]> {
    for (;;) {
      const file = this.#file;
      if (file === undefined || this.#at >= file.bytes) {
        if (!(await this.#goOn())) return [];
        continue;
      }
      const found = await this.#read(file, Math.max(maxBytes, MAX_FRAME_BYTES));
      if (found === undefined) continue;
      if (found.length > 0) return found;
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  /** To the next file, or the first one; false where there is none. */
  async #goOn(): Promise<boolean> {
    const files = this.#files();
    const current = this.#file;
    const next =
      current === undefined
        ? (files.findLast(({ first }) => first <= this.#last + 1n) ?? files[0])
        : files.find(({ first }) => first > current.first);
    if (next === undefined) return false;
    await this.close();
    this.#file = next;
    this.#at = FILE_HEAD.length;
    return true;
  }

  /** What is new in a piece of a file; undefined where the file was released before it was opened. */
  async #read(file: SpoolFile, most: number): Promise<readonly SpooledBytes[] | undefined> {
    const piece = Buffer.allocUnsafe(Math.min(file.bytes - this.#at, most));
    try {
      this.#handle ??= await open(file.path, 'r');
      for (let have = 0; have < piece.length;) {
        const { bytesRead } = await this.#handle.read(piece, have, piece.length - have, this.#at + have);
        if (bytesRead === 0) throw damaged(file.path, this.#at + have);
        have += bytesRead;
      }
    } catch (error) {
      if (this.#handle === undefined && !this.#files().includes(file)) {
        this.#at = file.bytes;
        return undefined;
      }
      throw failed(`cannot read the spool file ${file.path}`, error);
    }
    const found: SpooledBytes[] = [];
    let at = 0;
    for (let frame = frameAt(piece, at); frame !== undefined; frame = frameAt(piece, at)) {
      at = frame.end;
      if (frame.sequence <= this.#last) continue;
      this.#last = frame.sequence;
      found.push({ sequence: frame.sequence, bytes: frame.payload });
    }
    if (at === 0) throw damaged(file.path, this.#at);
    this.#at += at;
    return found;
  }
}

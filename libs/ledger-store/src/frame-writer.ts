/**
 * Writes that are durable when they resolve, one after the other on a thread of their own: the next begins when the one
 * before it has ended, also while this thread is busy.
 * It must not open or close files, nor go on by itself after a write that failed.
 */
import { getSystemErrorName } from 'node:util';

import { addon, type Writer } from './addon.js';

interface Told {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A thread and what it was given. Whoever starts it ends it by {@link stop}. */
export class FrameWriter {
  readonly #writer: Writer;
  /** Those that wait to be told, in their order. */
  readonly #line: Told[] = [];
  #isHalted = false;

  constructor() {
    this.#writer = addon.startWriter((errno) => {
      const told = this.#line.shift();
      if (errno === 0) {
        told?.resolve();
        return;
      }
      this.#isHalted = true;
      told?.reject(systemError(errno));
    });
  }

  /** True from a write that failed to {@link resume}: what is given meanwhile is refused as canceled. */
  get isHalted(): boolean {
    return this.#isHalted;
  }

  /**
   * Writes all of the bytes at a place of a file.
   *
   * @param fd opened with O_DSYNC (POSIX synchronized I/O data integrity completion): a write that has returned is as
   *   durable as one that fdatasync has followed. Stays open until it resolves.
   * @param bytes stay as they are until it resolves.
   * @throws system errors; `ECANCELED` where a write before it failed, and nothing of it was written.
   */
  write(fd: number, bytes: Uint8Array, at: number): Promise<void> {
    return new Promise((resolve, reject) => {
      addon.write(this.#writer, fd, bytes, at);
      this.#line.push({ resolve, reject });
    });
  }

  /** Goes on after a failure that was dealt with; all that was given before it has been told. */
  resume(): void {
    addon.resume(this.#writer);
    this.#isHalted = false;
  }

  /** Ends the thread; all that was given has been told. */
  stop(): void {
    addon.stopWriter(this.#writer);
  }
}

function systemError(errno: number): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${code}: pwrite`), { code, errno: -errno, syscall: 'pwrite' });
}

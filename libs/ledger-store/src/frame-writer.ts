/**
 * Frames that are signed, and durable when a write resolves, one after the other on threads of their own: one is signed
 * while the one before it is written, which begins when that before it has ended, also while this thread is busy.
 * It must not open or close files, nor go on by itself after a write that failed.
 */
import type { NoteSigner } from '@kedge/ledger';
import { getSystemErrorName } from 'node:util';

import { addon, type Writer } from './addon.js';
import type { UnsignedFrame } from './wal-frame.js';

interface Told {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Its threads and what they were given. Whoever starts them ends them by {@link stop}. */
export class FrameWriter {
  readonly #writer: Writer;
  /** Those that wait to be told, in their order. */
  readonly #line: Told[] = [];
  #isHalted = false;

  constructor({ privateKey, id }: NoteSigner) {
    const told = (errno: number): void => {
      const first = this.#line.shift();
      if (errno === 0) {
        first?.resolve();
        return;
      }
      this.#isHalted = true;
      first?.reject(systemError(errno));
    };
    const keyId = Buffer.alloc(4);
    keyId.writeUInt32BE(id);
    const secret = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');
    this.#writer = addon.startWriter(told, secret, keyId);
    secret.fill(0);
  }

  /** True from a write that failed to {@link resume}: what is given meanwhile is refused as canceled. */
  get isHalted(): boolean {
    return this.#isHalted;
  }

  /** Signs a frame at once, for whoever writes it otherwise. */
  finish({ bytes, text, signatureAt }: UnsignedFrame): void {
    addon.finish(this.#writer, bytes, text, signatureAt);
  }

  /**
   * Signs a frame and writes it at a place of a file.
   *
   * @param fd opened with O_DSYNC (POSIX synchronized I/O data integrity completion): a write that has returned is as
   *   durable as one that fdatasync has followed. Stays open until it resolves.
   * @param frame nobody may touch its bytes until it resolves.
   * @throws system errors; `ECANCELED` where a write before it failed, and nothing of it was written; `EIO` also where
   *   it could not be signed.
   */
  write(fd: number, { bytes, text, signatureAt }: UnsignedFrame, at: number): Promise<void> {
    return new Promise((resolve, reject) => {
      addon.write(this.#writer, fd, bytes, at, text, signatureAt);
      this.#line.push({ resolve, reject });
    });
  }

  /** Writes bytes that are no frame. @throws as {@link write} does. */
  writePlain(fd: number, bytes: Uint8Array, at: number): Promise<void> {
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

  /** Ends the threads; all that was given has been told. */
  stop(): void {
    addon.stopWriter(this.#writer);
  }
}

function systemError(errno: number): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${code}: pwrite`), { code, errno: -errno, syscall: 'pwrite' });
}

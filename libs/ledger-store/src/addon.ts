/**
 * The machine code of the store: sealing, hashing, and the threads that sign and write.
 * It must not be used by anything but the two files that say what its calls mean.
 */
import { KedgeError } from '@kedge/units';
import { createRequire } from 'node:module';

/** What the addon does. */
interface Addon {
  /** Undefined where value or place is longer than the addon has room for. */
  seal(value: string, keys: Uint8Array, place: string): string | undefined;
  hashLeaf(entry: Uint8Array, out: Uint8Array): void;
  hashPair(left: Uint8Array, right: Uint8Array, out: Uint8Array): void;
  /**
   * Threads that sign and write. `told` is called for each write, in their order, with 0 or its errno; it must not throw.
   * The secret is the private key of 32 bytes; it may be overwritten after the call.
   */
  startWriter(told: (errno: number) => void, secret: Uint8Array, keyId: Uint8Array): Writer;
  /** Signs the text into a frame, and writes its CRC. */
  finish(writer: Writer, frame: Uint8Array, text: string, signatureAt: number): void;
  /** Nobody may touch the bytes until it was told. With a text they start with a frame, which is finished first. */
  write(
    ...given:
      | [writer: Writer, fd: number, bytes: Uint8Array, at: number]
      | [writer: Writer, fd: number, frame: Uint8Array, at: number, text: string, signatureAt: number]
  ): void;
  /** Goes on after a write that failed. */
  resume(writer: Writer): void;
  /** Waits for the write that is under way. Nothing is told after that. */
  stopWriter(writer: Writer): void;
}

/** Threads of the addon; nothing else may be made of it than to give it back. */
export interface Writer {
  readonly [brand]: true;
}
declare const brand: unique symbol;

function load(): Addon {
  try {
    return createRequire(import.meta.url)('../build/ledger_store.node') as Addon;
  } catch (cause) {
    throw new KedgeError({
      code: 'LEDGER_ADDON',
      message: 'cannot load the native addon of @kedge/ledger-store: it is not built for this machine',
      field: 'addon',
      expected: 'build/ledger_store.node',
      help: 'run make in the package’s directory (needs make and a C compiler, on 64-bit Linux)',
      cause,
    });
  }
}

/** Loaded once. @throws KedgeError `LEDGER_ADDON` */
export const addon = load();

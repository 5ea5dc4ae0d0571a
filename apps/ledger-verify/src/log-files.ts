/**
 * Reads the files of a ledger from a directory.
 * It must not write, nor take a file that cannot be read for one that is not there.
 */
import { MAX_ENTRY_BYTES, TILE_WIDTH } from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** No file of a log is larger; of one that is, so much more is read that it shows. */
const FILE_BYTES_MAX = TILE_WIDTH * (2 + MAX_ENTRY_BYTES) + 1;

/** A reader of the files in a directory. @throws KedgeError `VERIFY_UNREADABLE`, also the reader. */
export function filesIn(directory: string): (path: string) => Buffer | undefined {
  if (!isDirectory(directory)) throw unreadable(directory, new Error('no directory'));
  return (path) => fileAt(join(directory, path));
}

/** The bytes of a file; undefined where there is none. @throws KedgeError `VERIFY_UNREADABLE` */
export function fileAt(path: string): Buffer | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(cause))) return undefined;
    throw unreadable(path, cause);
  }
  try {
    const bytes = Buffer.allocUnsafe(Math.min(FILE_BYTES_MAX, Math.max(1, sizeOf(path))));
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(file, bytes, length, bytes.length - length, null);
    return bytes.subarray(0, length);
  } catch (cause) {
    if (codeOf(cause) === 'EISDIR') return undefined;
    throw unreadable(path, cause);
  } finally {
    closeSync(file);
  }
}

const sizeOf = (path: string): number => statSync(path).size;

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function unreadable(path: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'VERIFY_UNREADABLE',
    message: `cannot read ${path}${codeOf(cause) === '' ? '' : ` (${codeOf(cause)})`}`,
    expected: 'a copy of a ledger that can be read',
    cause,
  });
}

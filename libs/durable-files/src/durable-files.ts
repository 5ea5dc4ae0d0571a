/**
 * Files and names that are on stable storage when a call resolves.
 * It must not know what the files say, nor try a failed flush again.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** What of a file is durable is not known any more. */
export class SyncFailure extends Error {
  /** Of the system, as in the cause: `EIO`, `ENOSPC`. */
  readonly code: string | undefined;

  /** @param cause what the flush failed with. */
  constructor(message: string, { cause }: { readonly cause: unknown }) {
    super(message, { cause });
    this.code = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
  }
}

/** Writes all of the bytes at a place of a file. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += (await handle.write(bytes, written, bytes.length - written, at + written)).bytesWritten;
  }
}

/** fdatasync: content and length. @throws SyncFailure */
export async function syncData(handle: FileHandle): Promise<void> {
  try {
    await handle.datasync();
  } catch (cause) {
    throw new SyncFailure('what was written may or may not be on the disk', { cause });
  }
}

/** The names in a directory. @throws SyncFailure */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } catch (cause) {
    throw new SyncFailure(`names in ${path} may or may not be on the disk`, { cause });
  } finally {
    await handle.close();
  }
}

/** A directory with all that leads to it, their names durable. Where it is there, whoever made it may have ended before. */
export async function makeDirectory(directory: string): Promise<void> {
  const first = (await mkdir(directory, { recursive: true, mode: 0o700 })) ?? directory;
  for (let at = directory; at.length >= first.length && at !== '/'; at = dirname(at)) {
    await syncDirectory(dirname(at));
  }
}

/** A file with this content, itself durable, its name not yet. Taken away again where it could not be written. */
export async function writeFileDurably(path: string, bytes: Uint8Array): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const handle = await open(path, flags, 0o600);
  try {
    await writeAll(handle, bytes, 0);
    await syncData(handle);
    await handle.close();
  } catch (error) {
    await handle.close().catch(() => undefined);
    // The next attempt makes a new file: one whose flush failed is not written to again.
    await unlink(path).catch(() => undefined);
    throw error;
  }
}

/** What a file is called, behind its name, while it is written. What a crash leaves under such a name was never the file. */
export const UNFINISHED = '.new';

/**
 * The new content under the old name (0600): the old or the new one after a power cut, never a mix. It is on stable
 * storage when this resolves. One writer of a name at a time.
 *
 * @param content text is written as UTF-8.
 * @param onNamed called once the name stands for the new content, durably or not.
 * @throws SyncFailure where the name may or may not be on the disk, and system errors.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  onNamed?: () => void,
): Promise<void> {
  const unfinished = `${path}${UNFINISHED}`;
  await writeFileDurably(unfinished, typeof content === 'string' ? Buffer.from(content) : content);
  try {
    await rename(unfinished, path);
  } catch (error) {
    await unlink(unfinished).catch(() => undefined);
    throw error;
  }
  onNamed?.();
  await syncDirectory(dirname(path));
}

/** True where the disk is full, also when that showed only at a flush. */
export function isDiskFull(error: unknown): boolean {
  return fullDisk(error) !== undefined;
}

/** The system error that says that the disk is full; undefined where it is something else. */
export function fullDisk(error: unknown): Error | undefined {
  const cause = error instanceof SyncFailure ? error.cause : error;
  const isFull =
    cause instanceof Error && 'code' in cause && (cause.code === 'ENOSPC' || cause.code === 'EDQUOT');
  return isFull ? cause : undefined;
}

/** True where a name is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

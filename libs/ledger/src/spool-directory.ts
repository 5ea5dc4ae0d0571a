/**
 * The directory of a spool on the disk.
 * It must not know what lies in it.
 */
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * The directory, and its name durable: a record in it is worth nothing where a power cut takes the directory. Where it
 * is there already, whoever made it may have ended before that.
 */
export async function makeDirectory(directory: string): Promise<void> {
  const first = (await mkdir(directory, { recursive: true, mode: 0o700 })) ?? directory;
  for (let at = directory; at.length >= first.length && at !== '/'; at = dirname(at)) {
    await syncDirectory(dirname(at));
  }
}

/** Makes the names in a directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

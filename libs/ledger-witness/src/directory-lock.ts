/**
 * The lock on a directory, by which one witness alone writes there.
 * It must not know what stands in it.
 */
import { KedgeError } from '@kedge/units';
import { spawn } from 'node:child_process';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';

/** flock(1) of util-linux, which is essential on Debian. */
const FLOCK = '/usr/bin/flock';
const FLOCK_CONFLICT = 1;
/**
 * Takes a directory for this process alone; the kernel gives it back when the process ends, however it ends. The
 * caller closes it.
 *
 * @throws KedgeError `WITNESS_BUSY`, `WITNESS_STORAGE`
 */
export async function lockDirectory(directory: string): Promise<FileHandle> {
  const file = await open(join(directory, 'lock'), 'a', 0o600);
  try {
    const status = await new Promise<number>((resolve, reject) => {
      // The lock belongs to the open file, which this process keeps.
      const stdio = ['ignore', 'ignore', 'ignore', file.fd] as const;
      const child = spawn(FLOCK, ['--exclusive', '--nonblock', '3'], { stdio: [...stdio], env: {} });
      child.once('error', reject);
      child.once('exit', (code) => {
        resolve(code ?? -1);
      });
    });
    if (status === FLOCK_CONFLICT) {
      throw new KedgeError({
        code: 'WITNESS_BUSY',
        message: `cannot use the directory ${directory}: another witness does`,
        help: 'stop the other one first',
      });
    }
    if (status !== 0) {
      throw new KedgeError({ code: 'WITNESS_STORAGE', message: `cannot lock the directory ${directory}` });
    }
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * The lock that a service holds while it serves a socket, and the proof that a socket file is a leftover.
 * It must not remove or create sockets; it only says who may.
 */
import { KedgeError } from '@kedge/units';
import { spawn } from 'node:child_process';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { connect } from 'node:net';

/** A lock that is held. The kernel releases it when the process ends, however it ends. */
export interface SocketLock {
  readonly path: string;
  /** Releases it; the lock file stays. */
  release(): Promise<void>;
}

/** flock(1) of util-linux, which is essential on Debian. */
const FLOCK = '/usr/bin/flock';
/** Exit status of flock(1) when somebody else holds the lock. */
const FLOCK_CONFLICT = 1;

/**
 * Takes the exclusive lock on a file, creating it (0600) where needed. A flock belongs to the open file, not to
 * the process that asks for it: flock(1) locks a descriptor that this process keeps, so the lock outlives it.
 *
 * @throws KedgeError `BUS_BUSY` (held by another process), `BUS_LOCK_FAILED`.
 */
export async function takeLock(path: string): Promise<SocketLock> {
  let file: FileHandle;
  try {
    file = await open(path, 'a', 0o600);
  } catch (cause) {
    throw new KedgeError({ code: 'BUS_LOCK_FAILED', message: `cannot open the lock file ${path}`, cause });
  }
  try {
    const status = await lockDescriptor(file.fd);
    if (status === FLOCK_CONFLICT) {
      throw new KedgeError({
        code: 'BUS_BUSY',
        message: `cannot take the lock ${path}: another process holds it`,
        help: 'stop the other instance of this service first',
      });
    }
    if (status !== 0) {
      throw new KedgeError({
        code: 'BUS_LOCK_FAILED',
        message: `cannot take the lock ${path}: flock ended with status ${status}`,
      });
    }
  } catch (error) {
    await file.close();
    throw error;
  }
  let held = true;
  return {
    path,
    release: async () => {
      if (!held) return;
      held = false;
      await file.close();
    },
  };
}

function lockDescriptor(fd: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(FLOCK, ['--exclusive', '--nonblock', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', fd],
      env: {},
    });
    child.once('error', (cause) => {
      reject(new KedgeError({ code: 'BUS_LOCK_FAILED', message: `cannot run ${FLOCK}`, cause }));
    });
    child.once('exit', (code) => {
      resolve(code ?? -1);
    });
  });
}

/**
 * What stands at the path of a socket. `leftover`: a socket that nobody listens on, as a killed service
 * leaves it.
 */
export type SocketState = 'absent' | 'leftover' | 'listening' | 'no-socket';

/** Looks at a path by connecting to it. `listening` also where it could not be found out. */
export async function socketState(path: string): Promise<SocketState> {
  try {
    if (!(await stat(path)).isSocket()) return 'no-socket';
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'absent';
    throw new KedgeError({ code: 'BUS_SOCKET_FAILED', message: `cannot look at ${path}`, cause: error });
  }
  return await new Promise((resolve) => {
    const connection = connect(path);
    connection.once('connect', () => {
      connection.destroy();
      resolve('listening');
    });
    connection.once('error', (error) => {
      resolve(
        codeOf(error) === 'ECONNREFUSED' ? 'leftover' : codeOf(error) === 'ENOENT' ? 'absent' : 'listening',
      );
    });
  });
}

/** The `code` of a system error, or undefined. */
export function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

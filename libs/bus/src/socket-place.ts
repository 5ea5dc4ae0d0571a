/**
 * Where a Unix socket may stand, and how it comes there: in a verified directory, whole, with its final mode, in the
 * place of a leftover.
 * It must not serve anything; whoever places a socket holds its lock.
 */
import { KedgeError } from '@kedge/units';
import { chmod, lstat, mkdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { socketState } from './socket-lock.js';

/** Longest path of a Unix socket (sun_path without its NUL). */
const MAX_SOCKET_PATH = 107;

const stagingOf = (path: string): string => join(dirname(path), `.${basename(path)}.new`);

/** @throws KedgeError `BUS_SOCKET_PATH`, `BUS_DIRECTORY` */
export async function verifySocketPlace(path: string): Promise<void> {
  checkPath(path, join(stagingOf(path), 's'));
  await verifySocketDirectory(dirname(path));
}

/** A socket that stands at its path. */
export interface PlacedSocket {
  /** Takes the name away, unless another socket has it by now. Who is connected stays so. */
  remove(): Promise<void>;
}

/**
 * Puts a listening socket at `path`, which {@link verifySocketPlace} passed and whose lock the caller holds.
 *
 * @param mode permission bits.
 * @param listen listens on the path that it is given; what it opened stays the caller's, also when this fails.
 * @throws KedgeError `BUS_BUSY` (somebody listens), `BUS_SOCKET_FAILED` (no socket stands there); whatever the system
 *   or `listen` says.
 */
export async function placeSocket(
  path: string,
  mode: number,
  listen: (staging: string) => Promise<void>,
): Promise<PlacedSocket> {
  const state = await socketState(path);
  if (state === 'listening') {
    throw new KedgeError({
      code: 'BUS_BUSY',
      message: `cannot serve ${path}: somebody listens on it already`,
      help: 'stop the other instance of this service first',
    });
  }
  if (state === 'no-socket') {
    throw new KedgeError({
      code: 'BUS_SOCKET_FAILED',
      message: `cannot serve ${path}: something that is no socket stands there`,
      expected: 'nothing, or the socket of an earlier run',
    });
  }
  // Bound inside a closed directory and moved to its name when its mode is right: nobody can reach it with
  // another mode, and a client never finds the name empty between an old and a new socket.
  const staging = stagingOf(path);
  try {
    await rm(staging, { recursive: true, force: true });
    await mkdir(staging, { mode: 0o700 });
    await listen(join(staging, 's'));
    await chmod(join(staging, 's'), mode);
    await rename(join(staging, 's'), path);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  const inode = (await stat(path)).ino;
  return { remove: () => unlinkOwn(path, inode) };
}

function checkPath(path: string, longest: string): void {
  if (!/^(\/[A-Za-z0-9._-]+)+$/.test(path) || path.split('/').includes('..')) {
    throw new KedgeError({
      code: 'BUS_SOCKET_PATH',
      message: `cannot use ${JSON.stringify(path)} as a socket path`,
      expected: 'an absolute path of letters, digits, dots, dashes and underscores',
    });
  }
  if (Buffer.byteLength(longest) > MAX_SOCKET_PATH) {
    throw new KedgeError({
      code: 'BUS_SOCKET_PATH',
      message: `cannot use ${path} as a socket path: it is too long`,
      expected: `at most ${MAX_SOCKET_PATH - (longest.length - path.length)} bytes`,
    });
  }
}

/**
 * A socket directory is the proof of channel and tier, so nobody but root and the service may put a name into it:
 * a real directory, owned by root or the caller, not writable for others, sticky where its group may write.
 *
 * @throws KedgeError `BUS_DIRECTORY`
 */
export async function verifySocketDirectory(directory: string): Promise<void> {
  const refuse = (why: string, expected: string, cause?: unknown): KedgeError =>
    new KedgeError({
      code: 'BUS_DIRECTORY',
      message: `cannot serve sockets in ${directory}: ${why}`,
      expected,
      ...(cause === undefined ? {} : { cause }),
    });
  let status;
  try {
    status = await lstat(directory);
  } catch (cause) {
    throw refuse('it cannot be looked at', 'an existing directory', cause);
  }
  if (!status.isDirectory()) throw refuse('it is no directory', 'a real directory, no symbolic link');
  if (status.uid !== 0 && status.uid !== process.getuid?.()) {
    throw refuse(`user ${status.uid} owns it`, 'root or the service as its owner');
  }
  if ((status.mode & 0o002) !== 0) throw refuse('others may write to it', 'mode 0755 or stricter');
  if ((status.mode & 0o020) !== 0 && (status.mode & 0o1000) === 0) {
    throw refuse('its group may write to it and it is not sticky', 'the sticky bit, or no group write');
  }
}

async function unlinkOwn(path: string, inode: number): Promise<void> {
  try {
    if ((await stat(path)).ino === inode) await unlink(path);
  } catch {
    // Gone already, or the directory with it: that is what was wanted.
  }
}

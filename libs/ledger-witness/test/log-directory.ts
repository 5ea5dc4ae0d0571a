/**
 * A log in a real directory that grows under a checkpoint, and that can be copied and put back as files can.
 * Must not know witnesses.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  consistencyProof,
  nodesInTiles,
  type NoteSigner,
  openCheckpoint,
  signCheckpoint,
  TiledLog,
} from '@kedge/ledger';

import type { AnchorRequest } from '../src/index.js';

/** The bytes at a path of a directory; undefined where there are none. */
export function readerOf(directory: string): (path: string) => Buffer | undefined {
  return (path) => {
    try {
      return readFileSync(join(directory, path));
    } catch {
      return undefined;
    }
  };
}

/** Lets the log in a directory grow to a size, by entries that begin with a word. */
export function grow(directory: string, signer: NoteSigner, size: number, word = 'entry'): void {
  const read = readerOf(directory);
  const note = read('checkpoint');
  const log = TiledLog.open(note === undefined ? 0 : openCheckpoint(note, signer).size, read);
  while (log.size < size) log.append(Buffer.from(`${word} ${log.size}`));
  const checkpoint = signCheckpoint({ origin: signer.name, size, root: log.root() }, signer);
  for (const { path, bytes } of [
    ...log.takeFiles(),
    { path: 'checkpoint', bytes: Buffer.from(checkpoint) },
  ]) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), bytes);
  }
}

/** What the log in a directory says of itself now. */
export function requestOf(directory: string, signer: NoteSigner): AnchorRequest {
  const read = readerOf(directory);
  const checkpoint = (read('checkpoint') ?? Buffer.alloc(0)).toString();
  const { size } = openCheckpoint(checkpoint, signer);
  return { checkpoint, proofFrom: (from) => consistencyProof(from, size, nodesInTiles(size, read)) };
}

/** Puts a copy of a directory in the place of another. */
export function putBack(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true });
}

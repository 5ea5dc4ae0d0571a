/**
 * The log as its files give it back: tiles under their checkpoint, and the write-ahead frames behind it.
 * It must not skip what does not fit, nor write but for cutting a torn end.
 */
import {
  CHECKPOINT_PATH,
  EMPTY_ROOT,
  type NoteSigner,
  openCheckpoint,
  signCheckpoint,
  TiledLog,
} from '@kedge/ledger';
import { join } from 'node:path';

import { damaged } from './errors.js';
import { leafHashNatively, nodeHashNatively } from './seals.js';
import type { TileFiles } from './tile-files.js';
import { TileShelf } from './tile-shelf.js';
import type { KeyPosition } from './subject-keys.js';
import { Wal, type WalCut } from './wal.js';
import type { WalFrame } from './wal-frame.js';

/** What was there. */
export interface RecoveredLog {
  readonly shelf: TileShelf;
  /** Entries under the checkpoint on the disk. */
  readonly inTiles: number;
  readonly wal: Wal;
  readonly cut: WalCut;
  readonly cursors: Map<string, bigint>;
  /** How far keys have to be there; undefined where nothing was acknowledged. */
  readonly keys: KeyPosition | undefined;
}

/**
 * Reads a log back and recomputes its tree: each frame's checkpoint has to be over the entries that are there.
 *
 * @param log the directory of the tiles, for messages.
 * @throws KedgeError `LEDGER_STORE_DAMAGED`, naming file and byte; system errors.
 */
export async function recoverLog(
  log: string,
  walDirectory: string,
  walFileBytes: number,
  tiles: TileFiles,
  signer: NoteSigner,
): Promise<RecoveredLog> {
  const disk = diskLog(log, tiles, signer);
  const { shelf } = disk;
  const inTiles = shelf.size;
  const cursors = new Map<string, bigint>();
  const origin = `${signer.name}\n`;
  let last: { readonly frame: WalFrame; readonly path: string; readonly at: number } | undefined;
  let end: number | undefined;
  const { wal, cut } = await Wal.open(walDirectory, walFileBytes, signer, (frame, path, at) => {
    const { first, entries, checkpoint } = frame;
    const next = first + entries.length;
    if (end === undefined ? first > inTiles : first !== end) {
      throw damaged(path, at, `a frame from entry ${end ?? inTiles} on`);
    }
    if (first < inTiles && next > inTiles) throw damaged(path, at, `a frame that ends at entry ${inTiles}`);
    if (next >= inTiles) {
      if (first >= inTiles) for (const entry of entries) shelf.add(entry, leafHashNatively(entry));
      const root = shelf.root();
      if (!checkpoint.startsWith(`${origin}${next}\n${root.toString('base64')}\n`)) {
        throw damaged(path, at, `a checkpoint of ${signer.name} over ${next} entries as they are`);
      }
      shelf.settle(next, checkpoint);
    }
    for (const [name, value] of frame.cursors) cursors.set(name, value);
    end = next;
    last = { frame, path, at };
  });
  if (inTiles > 0 && (end ?? 0) < inTiles) {
    throw damaged(walDirectory, 0, `frames up to entry ${inTiles}, which the tiles have`);
  }
  if (last !== undefined) {
    // Each root was compared; one signature says that it was this log that wrote them.
    const { frame, path, at } = last;
    verified(frame.checkpoint, signer, path, at);
  }
  return { shelf, inTiles, wal, cut, cursors, keys: last?.frame.keys };
}

function diskLog(log: string, tiles: TileFiles, signer: NoteSigner): { readonly shelf: TileShelf } {
  const bytes = tiles.read(CHECKPOINT_PATH);
  if (bytes === undefined) {
    const empty = signCheckpoint({ origin: signer.name, size: 0, root: EMPTY_ROOT }, signer);
    return { shelf: new TileShelf(TiledLog.open(0, undefined, nodeHashNatively), empty, tiles.read) };
  }
  const path = join(log, CHECKPOINT_PATH);
  const { size, root } = verified(bytes, signer, path, 0);
  let tiled: TiledLog;
  try {
    tiled = TiledLog.open(size, tiles.read, nodeHashNatively);
  } catch (error) {
    throw damaged(path, 0, `${size} entries in tiles`, error);
  }
  if (!tiled.root().equals(root)) throw damaged(path, 0, 'the root of the tiles');
  return { shelf: new TileShelf(tiled, bytes.toString(), tiles.read) };
}

function verified(
  checkpoint: string | Buffer,
  signer: NoteSigner,
  path: string,
  at: number,
): { readonly size: number; readonly root: Buffer } {
  try {
    return openCheckpoint(checkpoint, signer);
  } catch (error) {
    throw damaged(path, at, `a checkpoint that ${signer.name} has signed`, error);
  }
}

/**
 * Compares all that a log holds with the root of a checkpoint: what was changed, removed or moved is found.
 * It must not verify the checkpoint's signature, nor mend anything.
 */
import type { Checkpoint } from './checkpoint.js';
import { EMPTY_ROOT, GrowingTree, leafHash, rootOf } from './merkle-tree.js';
import {
  CHECKPOINT_PATH,
  hashesAt,
  nodesInTiles,
  readEntries,
  readHashes,
  TILE_HEIGHT,
  TILE_WIDTH,
  type TileFault,
  tileIn,
  tilePath,
  type TileReader,
} from './tiles.js';

/** Something that is not as the checkpoint says. */
export interface LogFault {
  readonly path: string;
  readonly what: TileFault | 'other-hash' | 'other-root' | 'older-than-kept' | 'other-than-kept';
  /** The first entry that it touches; undefined where every one may be another. */
  readonly entry: number | undefined;
}

/** What the files of a log were found to be. */
export interface LogVerdict {
  /** Empty exactly when every entry and every hash is what the root stands for. */
  readonly faults: readonly LogFault[];
  /** Entries that were read. */
  readonly entries: number;
  /** Entries whose bundles are gone by retention while their hashes stand. */
  readonly pruned: number;
}

/** How a log is checked. */
export interface LogCheck {
  /** Size and root of a checkpoint whose signature was verified. */
  readonly size: number;
  readonly root: Uint8Array;
  readonly read: TileReader;
  /**
   * Checkpoints of the same log that were kept elsewhere, their signatures verified: a log that is whole and yet older
   * than one of them, or has another history, was put in the place of the true one.
   */
  readonly kept?: readonly Checkpoint[];
  /** Bundles that end at or below this index may be gone (retention); default 0. */
  readonly keptFrom?: number;
  /** Told each entry that is there, in order, right or not. */
  readonly onEntry?: (index: number, entry: Buffer) => void;
  /** Faults after which it stops; default 100. */
  readonly faultsMax?: number;
}

/**
 * Compares every entry and every hash of a log with a root (LE-2). Reads each file once, and keeps one hash for every
 * 256 entries.
 */
export function checkLog(check: LogCheck): LogVerdict {
  const { size, root, faultsMax = 100 } = check;
  const faults: LogFault[] = [];
  const counts = { entries: 0, pruned: 0 };
  /** What the level that was looked at last says of the one above. */
  let above: Buffer[] = [];
  const keep = (height: number, _: number, hash: Buffer): void => {
    if (height === TILE_HEIGHT) above.push(hash);
  };
  const tree = new GrowingTree(0, [], keep);
  for (let index = 0; faults.length < faultsMax && tileIn(0, index, size) !== undefined; index++) {
    for (const leaf of checkedLeaves(index, check, faults, counts)) tree.append(leaf);
  }
  for (let level = 1; faults.length < faultsMax && hashesAt(level, size) > 0; level++) {
    const expected = above;
    above = [];
    const upper = new GrowingTree(0, [], keep);
    for (const hash of expected) upper.append(hash);
    checkTiles(level, expected, check, faults);
  }
  if (faults.length === 0 && !tree.root().equals(root)) {
    faults.push({ path: CHECKPOINT_PATH, what: 'other-root', entry: undefined });
  }
  for (const each of faults.length === 0 ? (check.kept ?? []) : []) {
    const what = againstKept(each, check);
    if (what !== undefined) faults.push({ path: CHECKPOINT_PATH, what, entry: undefined });
  }
  return { faults: faults.slice(0, faultsMax), ...counts };
}

function againstKept(
  kept: Checkpoint,
  { size, read }: LogCheck,
): 'older-than-kept' | 'other-than-kept' | undefined {
  if (kept.size > size) return 'older-than-kept';
  return rootOf(kept.size, nodesInTiles(size, read)).equals(kept.root) ? undefined : 'other-than-kept';
}

/** The leaves under a tile of level 0: of the entries where they are there, otherwise as the tile says. */
function checkedLeaves(
  index: number,
  { size, read, keptFrom = 0, onEntry }: LogCheck,
  faults: LogFault[],
  counts: { entries: number; pruned: number },
): Buffer[] {
  const tile = tileIn(0, index, size);
  if (tile === undefined) return [];
  const first = index * TILE_WIDTH;
  const hashes = readHashes(tile, read);
  const entries = readEntries(tile, read);
  if (typeof hashes === 'string') faults.push({ path: tilePath(tile), what: hashes, entry: first });
  if (typeof entries !== 'string') {
    counts.entries += entries.length;
    entries.forEach((entry, at) => onEntry?.(first + at, entry));
    const leaves = entries.map(leafHash);
    const other =
      typeof hashes === 'string' ? -1 : hashes.findIndex((hash, at) => leaves[at]?.equals(hash) !== true);
    if (other >= 0) faults.push({ path: tilePath(tile), what: 'other-hash', entry: first + other });
    return leaves;
  }
  if (entries === 'missing' && first + tile.width <= keptFrom) counts.pruned += tile.width;
  else faults.push({ path: tilePath({ ...tile, level: 'entries' }), what: entries, entry: first });
  // With a fault the root is not looked at: any hash will do for the count.
  return typeof hashes === 'string' ? Array.from({ length: tile.width }, () => EMPTY_ROOT) : hashes;
}

function checkTiles(
  level: number,
  expected: readonly Buffer[],
  { size, read }: LogCheck,
  faults: LogFault[],
): void {
  for (let index = 0; ; index++) {
    const tile = tileIn(level, index, size);
    if (tile === undefined) return;
    const hashes = readHashes(tile, read);
    const first = index * TILE_WIDTH;
    const other =
      typeof hashes === 'string'
        ? 0
        : hashes.findIndex((hash, at) => expected[first + at]?.equals(hash) !== true);
    if (other < 0) continue;
    const what = typeof hashes === 'string' ? hashes : 'other-hash';
    faults.push({ path: tilePath(tile), what, entry: (first + other) * TILE_WIDTH ** level });
  }
}

/**
 * Where a log keeps its tree and its entries as files: tiles and entry bundles in the tlog-tiles layout (C2SP).
 * It must not read or write files: bytes come and go by their paths.
 *
 * A tile of level L holds up to 256 hashes of nodes of height 8 L, a bundle the entries under a tile of level 0.
 */
import { KedgeError } from '@kedge/units';

import { HASH_BYTES, type NodeHashes, nodesOver } from './merkle-tree.js';

/** Hashes of a full tile, entries of a full bundle. */
export const TILE_WIDTH = 256;
/** Levels of a tree that a tile stands for. */
export const TILE_HEIGHT = 8;
const LEVEL_MAX = 63;
/** Largest entry in bytes: its length is a 16-bit number. */
export const MAX_ENTRY_BYTES = 65_535;
/** Where the newest signed checkpoint stands. */
export const CHECKPOINT_PATH = 'checkpoint';

/** A tile or a bundle by its place; `width` is below 256 for one that is partial. */
export interface TilePlace {
  /** 0 to 63, or `entries`. */
  readonly level: number | 'entries';
  readonly index: number;
  readonly width: number;
}

/** The bytes at a path; undefined where there are none. */
export type TileReader = (path: string) => Uint8Array | undefined;

/** The path of a tile or a bundle: `tile/0/x001/234`, `tile/entries/000.p/17`. */
export function tilePath({ level, index, width }: TilePlace): string {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/\d{3}/g) ?? [];
  const name = groups.map((group, at) => (at === groups.length - 1 ? group : `x${group}`)).join('/');
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** The place that a path names; undefined for any other text, also for a place written in another way. */
export function placeAt(path: string): TilePlace | undefined {
  const [, level, groups, width] =
    /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path) ?? [];
  if (level === undefined || groups === undefined) return undefined;
  const place: TilePlace = {
    level: level === 'entries' ? level : Number(level),
    index: Number(groups.replaceAll(/[x/]/g, '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  const isOne =
    (place.level === 'entries' || place.level <= LEVEL_MAX) &&
    Number.isSafeInteger(place.index) &&
    place.width > 0 &&
    place.width <= TILE_WIDTH;
  return isOne && tilePath(place) === path ? place : undefined;
}

/** Hashes in all tiles of a level of a tree. */
export function hashesAt(level: number, size: number): number {
  // Exact: a division by a power of two loses nothing.
  return Math.floor(size / TILE_WIDTH ** level);
}

/** The tile of a level with this index in a tree of a size; undefined where the tree has none. */
export function tileIn(level: number, index: number, size: number): TilePlace | undefined {
  const width = Math.min(TILE_WIDTH, hashesAt(level, size) - index * TILE_WIDTH);
  return width > 0 ? { level, index, width } : undefined;
}

/** All tiles of a tree, level by level from the leaves. */
export function* tilesOf(size: number): Generator<TilePlace, void, undefined> {
  for (let level = 0; hashesAt(level, size) > 0; level++) {
    for (let index = 0; ; index++) {
      const place = tileIn(level, index, size);
      if (place === undefined) break;
      yield place;
    }
  }
}

/**
 * Entries as a bundle, each after its length.
 *
 * @param entries 1 to 256.
 * @throws KedgeError `LEDGER_ENTRY_SIZE`
 */
export function bundleOf(entries: readonly Uint8Array[]): Buffer {
  const bundle = Buffer.allocUnsafe(entries.reduce((sum, { length }) => sum + 2 + length, 0));
  let at = 0;
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_BYTES) throw tooLong(entry.length);
    bundle.writeUInt16BE(entry.length, at);
    bundle.set(entry, at + 2);
    at += 2 + entry.length;
  }
  return bundle;
}

/** The entries of a bundle that is to have so many; undefined where it has more, fewer, or other bytes besides. */
export function entriesOf(bundle: Uint8Array, count: number): Buffer[] | undefined {
  const bytes = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.length);
  const entries: Buffer[] = [];
  let at = 0;
  while (at + 2 <= bytes.length && entries.length < count) {
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) return undefined;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries.length === count && at === bytes.length ? entries : undefined;
}

/** What can be wrong with a file: it is not there, or does not hold what its path says. */
export type TileFault = 'missing' | 'damaged';

/** The hashes of a tile, as they are stored. */
export function readHashes(place: TilePlace, read: TileReader): Buffer[] | TileFault {
  return readPart(place, read, (tile, width) => {
    if (tile.length !== width * HASH_BYTES) return undefined;
    const bytes = Buffer.from(tile.buffer, tile.byteOffset, tile.length);
    return Array.from({ length: width }, (_, at) => bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES));
  });
}

/** The entries under a tile of level 0, as they are stored. */
export function readEntries(place: TilePlace, read: TileReader): Buffer[] | TileFault {
  return readPart({ ...place, level: 'entries' }, read, entriesOf);
}

/** A full one stands in for a partial one, which may have been removed since. */
function readPart(
  place: TilePlace,
  read: TileReader,
  partsOf: (bytes: Uint8Array, width: number) => Buffer[] | undefined,
): Buffer[] | TileFault {
  for (const width of new Set([place.width, TILE_WIDTH])) {
    const bytes = read(tilePath({ ...place, width }));
    if (bytes !== undefined) return partsOf(bytes, width)?.slice(0, place.width) ?? 'damaged';
  }
  return 'missing';
}

/**
 * The hashes of nodes as the tiles of a tree have them, for proofs and roots: whoever has only a checkpoint compares
 * the root with it. Remembers the last tile of each level.
 *
 * @throws KedgeError `LEDGER_TILE_MISSING`, `LEDGER_TILE_DAMAGED`.
 */
export function nodesInTiles(size: number, read: TileReader): NodeHashes {
  const last: ({ readonly index: number; readonly hashes: readonly Buffer[] } | undefined)[] = [];
  const hashesIn = (level: number, index: number): readonly Buffer[] => {
    const known = last[level];
    if (known?.index === index) return known.hashes;
    const place = tileIn(level, index, size);
    if (place === undefined) throw new RangeError(`no tile ${index} of level ${level} in a tree of ${size}`);
    const hashes = partsOrThrow(place, readHashes(place, read));
    last[level] = { index, hashes };
    return hashes;
  };
  return (height, index) => {
    const level = Math.floor(height / TILE_HEIGHT);
    const span = 2 ** (height % TILE_HEIGHT);
    const first = index * span;
    const tile = Math.floor(first / TILE_WIDTH);
    const at = first - tile * TILE_WIDTH;
    const hashes = hashesIn(level, tile).slice(at, at + span);
    if (hashes.length !== span) throw new RangeError(`no node ${index} at height ${height}`);
    return nodesOver(hashes)(height % TILE_HEIGHT, 0);
  };
}

/** The parts that were read. @throws KedgeError `LEDGER_TILE_MISSING`, `LEDGER_TILE_DAMAGED`. */
export function partsOrThrow(place: TilePlace, parts: Buffer[] | TileFault): Buffer[] {
  if (typeof parts !== 'string') return parts;
  const path = tilePath(place);
  const expected = `${place.width} ${place.level === 'entries' ? 'entries' : 'hashes'}`;
  if (parts === 'missing') {
    const message = `cannot read the ledger: ${path} is missing`;
    throw new KedgeError({ code: 'LEDGER_TILE_MISSING', message, expected });
  }
  const message = `cannot read the ledger: ${path} does not hold what its path says`;
  throw new KedgeError({ code: 'LEDGER_TILE_DAMAGED', message, expected });
}

/** The error of an entry that fits no bundle. */
export function tooLong(bytes: number): KedgeError {
  return new KedgeError({
    code: 'LEDGER_ENTRY_SIZE',
    message: `cannot put an entry of ${bytes} bytes into the ledger`,
    expected: `at most ${MAX_ENTRY_BYTES} bytes`,
  });
}

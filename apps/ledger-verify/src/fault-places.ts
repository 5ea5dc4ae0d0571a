/**
 * Which files of a log that is not whole are the wrong ones: found from the root downwards.
 * It must not decide whether a log is whole; it is asked when it is not.
 *
 * The root vouches for the hashes at the right edge, each of those for the tile below it, and the hashes of a tile of
 * level 0 for the entries of a bundle. Where a file does not agree with what stands above it, and what lies below does,
 * the file is wrong and the search goes on with what is right.
 */
import {
  CHECKPOINT_PATH,
  hashesAt,
  leafHash,
  type NodeHashes,
  nodesOver,
  readEntries,
  readHashes,
  rootOf,
  TILE_HEIGHT,
  TILE_WIDTH,
  type TileFault,
  tileIn,
  tilePath,
  type TilePlace,
  type TileReader,
} from '@kedge/ledger';

import type { Finding, What } from './finding.js';

/** A log as its checkpoint says. */
export interface PlacedLog {
  readonly size: number;
  readonly root: Buffer;
  readonly read: TileReader;
  /** Bundles that end at or below this index may be gone. */
  readonly keptFrom: number;
  readonly findingsMax: number;
}

type Hashes = readonly (Buffer | undefined)[];

/** The files that are wrong. Empty where nothing can be told apart. */
export function faultPlaces(log: PlacedLog): Finding[] {
  return new Search(log).findings();
}

class Search {
  readonly #log: PlacedLog;
  readonly #found: Finding[] = [];

  constructor(log: PlacedLog) {
    this.#log = log;
  }

  findings(): Finding[] {
    const { size } = this.#log;
    let levels = 0;
    while (hashesAt(levels, size) > 0) levels += 1;
    const edge = this.#edge(levels);
    // True hashes of the level above, as far as they are known.
    let above: Hashes = [];
    for (let level = levels - 1; level >= 0; level--) {
      const own: (Buffer | undefined)[] = [];
      const known = new Map(
        above.flatMap((hash, at) => (hash === undefined ? [] : [[text(hash), at] as const])),
      );
      for (let index = 0; this.#found.length < this.#log.findingsMax; index++) {
        const place = tileIn(level, index, size);
        if (place === undefined) break;
        const hashes =
          place.width < TILE_WIDTH
            ? this.#atEdge(place, edge[level])
            : this.#below(place, above[index], known);
        if (level === 0) this.#bundle(place, hashes, above[index], known);
        else for (let at = 0; at < place.width; at++) own.push(hashes?.[at]);
      }
      above = own;
    }
    return this.#found;
  }

  #tell(place: TilePlace, what: What, first: number, last: number, detail = ''): void {
    const { level } = place;
    const span = level === 'entries' ? 1 : TILE_WIDTH ** level;
    const start = place.index * TILE_WIDTH;
    const entries = [
      (start + first) * span,
      Math.min(this.#log.size, (start + last + 1) * span) - 1,
    ] as const;
    this.#found.push({ path: this.#pathOf(place), what, entries, detail });
  }

  /** The full one where it stands in for the partial one. */
  #pathOf(place: TilePlace): string {
    const path = tilePath(place);
    const whole = tilePath({ ...place, width: TILE_WIDTH });
    return this.#log.read(path) === undefined && this.#log.read(whole) !== undefined ? whole : path;
  }

  #fault(place: TilePlace, fault: TileFault): What {
    if (fault === 'missing') return fault;
    const bytes = this.#log.read(this.#pathOf(place));
    if (place.level !== 'entries') return (bytes?.length ?? 0) < place.width * 32 ? 'torn' : 'damaged';
    return bytes !== undefined && isTorn(Buffer.from(bytes), place.width) ? 'torn' : 'damaged';
  }

  /**
   * The true hashes of the partial tiles: as they are stored, or as what lies below says, whichever leads to the root.
   * Undefined where neither does; the root is told then.
   */
  #edge(levels: number): (Hashes | undefined)[] {
    const { size, root } = this.#log;
    const choices = Array.from({ length: levels }, (_, level) => {
      const count = hashesAt(level, size);
      const place = tileIn(level, Math.floor(count / TILE_WIDTH), size);
      if (place === undefined) return [[]];
      const stored = readHashes(place, this.#log.read);
      const lower = this.#fromBelow(place);
      return [...(typeof stored === 'string' ? [] : [stored]), ...(lower === undefined ? [] : [lower])];
    });
    for (const choice of combinations(choices)) {
      if (rootOf(size, nodesAtEdge(choice)).equals(root)) return choice;
    }
    this.#found.push({ path: CHECKPOINT_PATH, what: 'other-root', entries: undefined, detail: '' });
    return choices.map(([first]) => (first?.length === 0 ? undefined : first));
  }

  /** What a tile has to hold by what lies under it; undefined where some of that cannot be read. */
  #fromBelow(place: TilePlace): Buffer[] | undefined {
    const { level, index, width } = place;
    if (level === 'entries') return undefined;
    if (level === 0) {
      const entries = readEntries(place, this.#log.read);
      return typeof entries === 'string' ? undefined : entries.map(leafHash);
    }
    const hashes: Buffer[] = [];
    for (let at = 0; at < width; at++) {
      const lower = { level: level - 1, index: index * TILE_WIDTH + at, width: TILE_WIDTH };
      const stored = readHashes(lower, this.#log.read);
      if (typeof stored === 'string') return undefined;
      hashes.push(topOf(stored));
    }
    return hashes;
  }

  #atEdge(place: TilePlace, hashes: Hashes | undefined): Hashes | undefined {
    const stored = readHashes(place, this.#log.read);
    if (typeof stored === 'string') this.#tell(place, this.#fault(place, stored), 0, place.width - 1);
    else if (hashes !== undefined) this.#differing(place, stored, hashes);
    return hashes;
  }

  #differing(place: TilePlace, stored: readonly Buffer[], hashes: Hashes): void {
    const other = stored.flatMap((hash, at) => (hashes[at]?.equals(hash) === false ? [at] : []));
    const [first] = other;
    const last = other.at(-1);
    if (first === undefined || last === undefined) return;
    const right = new Set(hashes.map((hash) => (hash === undefined ? '' : text(hash))));
    const isMoved = other.every((at) => right.has(text(stored[at] ?? Buffer.alloc(0))));
    this.#tell(place, isMoved && other.length > 1 ? 'moved' : 'other-hash', first, last);
  }

  /** The true hashes of a full tile; undefined where neither it nor what lies below has them. */
  #below(
    place: TilePlace,
    expected: Buffer | undefined,
    known: ReadonlyMap<string, number>,
  ): Hashes | undefined {
    const stored = readHashes(place, this.#log.read);
    const isReadable = typeof stored !== 'string';
    if (isReadable && (expected === undefined || topOf(stored).equals(expected))) return stored;
    const lower = this.#fromBelow(place);
    const isRight = lower !== undefined && (expected === undefined || topOf(lower).equals(expected));
    if (!isReadable) this.#tell(place, this.#fault(place, stored), 0, TILE_WIDTH - 1);
    else {
      const from = known.get(text(topOf(stored)));
      if (from !== undefined) {
        this.#tell(place, 'moved', 0, TILE_WIDTH - 1, `holds ${tilePath({ ...place, index: from })}`);
      } else if (isRight) this.#differing(place, stored, lower);
      else this.#tell(place, 'other-hash', 0, TILE_WIDTH - 1);
    }
    return isRight ? lower : undefined;
  }

  #bundle(
    tile: TilePlace,
    hashes: Hashes | undefined,
    expected: Buffer | undefined,
    known: ReadonlyMap<string, number>,
  ): void {
    const place: TilePlace = { ...tile, level: 'entries' };
    const entries = readEntries(tile, this.#log.read);
    if (typeof entries === 'string') {
      const isPruned = entries === 'missing' && tile.index * TILE_WIDTH + tile.width <= this.#log.keptFrom;
      if (!isPruned) this.#tell(place, this.#fault(place, entries), 0, tile.width - 1);
      return;
    }
    const leaves = entries.map(leafHash);
    const from = tile.width === TILE_WIDTH ? known.get(text(topOf(leaves))) : undefined;
    if (from !== undefined && from !== tile.index) {
      const detail = `holds ${tilePath({ ...place, index: from })}`;
      this.#tell(place, 'moved', 0, tile.width - 1, detail);
    } else if (hashes !== undefined) this.#differing(place, leaves, hashes);
    else if (expected?.equals(topOf(leaves)) === false) this.#tell(place, 'other-hash', 0, tile.width - 1);
  }
}

/** True for a bundle that has too few entries, or ends within one. */
function isTorn(bytes: Buffer, count: number): boolean {
  let [at, entries] = [0, 0];
  while (at + 2 <= bytes.length && entries < count) {
    at += 2 + bytes.readUInt16BE(at);
    entries += 1;
  }
  return at > bytes.length || entries < count;
}

function nodesAtEdge(levels: readonly Hashes[]): NodeHashes {
  return (height, index) => {
    const level = Math.floor(height / TILE_HEIGHT);
    const span = 2 ** (height % TILE_HEIGHT);
    const first = (index * span) % TILE_WIDTH;
    const hashes = (levels[level] ?? []).slice(first, first + span);
    return topOf(hashes.flatMap((hash) => (hash === undefined ? [] : [hash])));
  };
}

/** The hash over a power of two of hashes; the empty bytes over none, which is no hash. */
function topOf(hashes: readonly Buffer[]): Buffer {
  return hashes.length === 0 ? Buffer.alloc(32) : nodesOver(hashes)(Math.round(Math.log2(hashes.length)), 0);
}

function* combinations(choices: readonly (readonly Hashes[])[]): Generator<Hashes[], void, undefined> {
  const [first, ...rest] = choices;
  if (first === undefined) {
    yield [];
    return;
  }
  for (const each of first) for (const others of combinations(rest)) yield [each, ...others];
}

const text = (hash: Buffer): string => hash.toString('latin1');

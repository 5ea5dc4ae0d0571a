/**
 * A log that grows in memory and gives away what is to be written: tiles, bundles, and a root to sign.
 * It must not write; what it gave is durable before a checkpoint over it is signed.
 */
import { edgeOf, GrowingTree, leafHash, nodeHash, type PairHash } from './merkle-tree.js';
import {
  bundleOf,
  hashesAt,
  MAX_ENTRY_BYTES,
  nodesInTiles,
  partsOrThrow,
  readEntries,
  TILE_HEIGHT,
  TILE_WIDTH,
  tilePath,
  type TilePlace,
  type TileReader,
  tooLong,
} from './tiles.js';

/** A file of the log. */
export interface LogFile {
  readonly path: string;
  readonly bytes: Buffer;
}

/** The tile or bundle at the right edge that is being filled. */
interface Filling<Item> {
  index: number;
  readonly items: Item[];
  /** Items of it that were given away. */
  taken: number;
}

/** A log at its right edge: at most one tile of each level and one bundle, and what was not taken yet. */
export class TiledLog {
  readonly #tree: GrowingTree;
  readonly #tiles: Filling<Buffer>[] = [];
  #bundle: Filling<Buffer> = { index: 0, items: [], taken: 0 };
  /** Full ones that were not taken yet. */
  #full: LogFile[] = [];

  private constructor(size: number, edge: readonly Buffer[], pairHash: PairHash) {
    const onNode = (height: number, index: number, hash: Buffer): void => {
      if (height % TILE_HEIGHT === 0) this.#keep(height / TILE_HEIGHT, index, hash);
    };
    this.#tree = new GrowingTree(size, edge, onNode, pairHash);
  }

  /**
   * The log of this size as its files have it.
   *
   * @param size of the newest checkpoint; files may hold more.
   * @param pairHash another way to the hashes of nodes.
   * @throws KedgeError `LEDGER_TILE_MISSING`, `LEDGER_TILE_DAMAGED`. The caller compares the root with the checkpoint's.
   */
  static open(size = 0, read: TileReader = () => undefined, pairHash: PairHash = nodeHash): TiledLog {
    const nodes = nodesInTiles(size, read);
    const log = new TiledLog(size, edgeOf(size, nodes), pairHash);
    for (let level = 0; hashesAt(level, size) > 0; level++) {
      const count = hashesAt(level, size);
      const width = count % TILE_WIDTH;
      const index = (count - width) / TILE_WIDTH;
      const items = Array.from({ length: width }, (_, at) =>
        nodes(level * TILE_HEIGHT, index * TILE_WIDTH + at),
      );
      log.#tiles[level] = { index, items, taken: width };
    }
    const width = size % TILE_WIDTH;
    const place = { level: 'entries', index: (size - width) / TILE_WIDTH, width } as const;
    const items = width === 0 ? [] : partsOrThrow(place, readEntries(place, read));
    log.#bundle = { index: place.index, items, taken: width };
    return log;
  }

  /** Entries in it. */
  get size(): number {
    return this.#tree.size;
  }

  /** The root of all its entries. */
  root(): Buffer {
    return this.#tree.root();
  }

  /**
   * Adds an entry; the bytes belong to the log from then on. Its index.
   *
   * @param leaf the hash of the entry as a leaf, where it is known already.
   * @throws KedgeError `LEDGER_ENTRY_SIZE`
   */
  append(entry: Buffer, leaf?: Buffer): number {
    if (entry.length > MAX_ENTRY_BYTES) throw tooLong(entry.length);
    const index = this.#tree.size;
    const filling = this.#bundle;
    filling.items.push(entry);
    if (filling.items.length === TILE_WIDTH) {
      const path = tilePath({ level: 'entries', index: filling.index, width: TILE_WIDTH });
      this.#full.push({ path, bytes: bundleOf(filling.items) });
      this.#bundle = { index: filling.index + 1, items: [], taken: 0 };
    }
    this.#tree.append(leaf ?? leafHash(entry));
    return index;
  }

  /**
   * What has to be written so that the files hold the log as it is now: each tile and bundle that became full since the
   * last call, and those that are partial and have grown. Empty when nothing has.
   */
  takeFiles(): LogFile[] {
    const files = this.takeFull();
    this.#tiles.forEach(({ index, items, taken }, level) => {
      if (items.length > taken) {
        const path = tilePath({ level, index, width: items.length });
        files.push({ path, bytes: Buffer.concat(items) });
      }
    });
    const { index, items, taken } = this.#bundle;
    if (items.length > taken) {
      const path = tilePath({ level: 'entries', index, width: items.length });
      files.push({ path, bytes: bundleOf(items) });
    }
    for (const filling of [...this.#tiles, this.#bundle]) filling.taken = filling.items.length;
    return files;
  }

  /** The tiles and bundles that became full since the last call, and nothing of the partial ones. */
  takeFull(): LogFile[] {
    const files = this.#full;
    this.#full = [];
    return files;
  }

  /** The bytes of a partial tile or bundle at the right edge; undefined where it is not being filled, or not so far. */
  partial({ level, index, width }: TilePlace): Buffer | undefined {
    const filling = level === 'entries' ? this.#bundle : this.#tiles[level];
    if (filling?.index !== index || filling.items.length < width) return undefined;
    const items = filling.items.slice(0, width);
    return level === 'entries' ? bundleOf(items) : Buffer.concat(items);
  }

  #keep(level: number, index: number, hash: Buffer): void {
    const tile = (this.#tiles[level] ??= { index: Math.floor(index / TILE_WIDTH), items: [], taken: 0 });
    tile.items.push(hash);
    if (tile.items.length < TILE_WIDTH) return;
    const path = tilePath({ level, index: tile.index, width: TILE_WIDTH });
    this.#full.push({ path, bytes: Buffer.concat(tile.items) });
    this.#tiles[level] = { index: tile.index + 1, items: [], taken: 0 };
  }
}

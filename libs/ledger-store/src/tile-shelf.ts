/**
 * The log at its right edge and its tiles, those on the disk and those that are only in memory, as one to read.
 * It must not write, nor give away what is not durable.
 */
import {
  bundleOf,
  CHECKPOINT_PATH,
  entriesOf,
  HASH_BYTES,
  hashesAt,
  type LogFile,
  placeAt,
  TILE_WIDTH,
  TiledLog,
  tileIn,
  tilePath,
  type TilePlace,
  type TileReader,
} from '@kedge/ledger';

import { nodeHashNatively } from './seals.js';

/** A log of which a part is durable: the entries below {@link size}. */
export class TileShelf {
  readonly #disk: TileReader;
  /** Full tiles and bundles that are not on the disk, or not yet known to be. */
  readonly #full = new Map<string, Buffer>();
  #log: TiledLog;
  #size: number;
  #checkpoint: string;

  /** @param log as its tiles on the disk have it. */
  constructor(log: TiledLog, checkpoint: string, disk: TileReader) {
    this.#log = log;
    this.#size = log.size;
    this.#checkpoint = checkpoint;
    this.#disk = disk;
  }

  /** Entries that are durable. */
  get size(): number {
    return this.#size;
  }

  /** Entries that were added, durable or not. */
  get added(): number {
    return this.#log.size;
  }

  /** The checkpoint over what is durable. */
  get checkpoint(): string {
    return this.#checkpoint;
  }

  /** Adds an entry that is not durable yet. @throws KedgeError `LEDGER_ENTRY_SIZE` */
  add(entry: Buffer, leaf: Buffer): void {
    this.#log.append(entry, leaf);
  }

  /** The root over all that was added. */
  root(): Buffer {
    for (const { path, bytes } of this.#log.takeFull()) this.#full.set(path, bytes);
    return this.#log.root();
  }

  /** What was added up to this size has become durable. */
  settle(size: number, checkpoint: string): void {
    this.#size = size;
    this.#checkpoint = checkpoint;
  }

  /** Forgets what was added and did not become durable. */
  takeBack(): void {
    this.root();
    const log = TiledLog.open(this.#size, this.read, nodeHashNatively);
    for (const path of this.#full.keys()) {
      const place = placeAt(path);
      if (place !== undefined && !isFullIn(place, this.#size)) this.#full.delete(path);
    }
    this.#log = log;
  }

  /**
   * What has to be on the disk for a checkpoint over the durable size, besides what one over an older size stands on:
   * that is not touched.
   */
  filesSince(size: number): LogFile[] {
    const files: LogFile[] = [];
    for (const [path, bytes] of this.#full) {
      const place = placeAt(path);
      if (place !== undefined && isFullIn(place, this.#size)) files.push({ path, bytes });
    }
    const there = new Set(edgesOf(size).map(tilePath));
    for (const place of edgesOf(this.#size)) {
      const path = tilePath(place);
      if (there.has(path)) continue;
      const bytes = this.read(path);
      if (bytes === undefined) throw new Error(`${path} is nowhere`);
      files.push({ path, bytes: Buffer.from(bytes) });
    }
    return files;
  }

  /** These are on the disk now. */
  release(files: readonly LogFile[]): void {
    for (const { path } of files) this.#full.delete(path);
  }

  readonly read: TileReader = (path) => {
    if (path === CHECKPOINT_PATH) return Buffer.from(this.#checkpoint);
    const place = placeAt(path);
    if (place === undefined) return undefined;
    const most = tileIn(treeLevel(place), place.index, this.#size);
    if (most === undefined || place.width > most.width) return undefined;
    return this.#full.get(path) ?? this.#part(place) ?? this.#disk(path);
  };

  /** A partial one, out of what holds more. */
  #part(place: TilePlace): Buffer | undefined {
    if (place.width === TILE_WIDTH) return undefined;
    const growing = this.#log.partial(place);
    if (growing !== undefined) return growing;
    const full = this.#full.get(tilePath({ ...place, width: TILE_WIDTH }));
    if (full === undefined) return undefined;
    if (place.level !== 'entries') return full.subarray(0, place.width * HASH_BYTES);
    return bundleOf((entriesOf(full, TILE_WIDTH) ?? []).slice(0, place.width));
  }
}

/** The partial tiles and the partial bundle at the edge of a tree. */
export function edgesOf(size: number): TilePlace[] {
  const places: TilePlace[] = [];
  for (let level = 0; hashesAt(level, size) > 0; level++) {
    const edge = tileIn(level, Math.floor(hashesAt(level, size) / TILE_WIDTH), size);
    if (edge !== undefined) places.push(edge);
  }
  const [first] = places;
  return first?.level === 0 ? [{ ...first, level: 'entries' }, ...places] : places;
}

function treeLevel({ level }: TilePlace): number {
  return level === 'entries' ? 0 : level;
}

function isFullIn(place: TilePlace, size: number): boolean {
  return tileIn(treeLevel(place), place.index, size)?.width === TILE_WIDTH;
}

/**
 * The tree of tiles on the disk: files first, then the checkpoint over them, then what it made superfluous goes.
 * It must not hold anything back: whoever reads the directory at any time finds a log under its checkpoint.
 */
import { CHECKPOINT_PATH, hashesAt, type LogFile, TILE_WIDTH, tilePath, type TilePlace } from '@kedge/ledger';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { isMissing, replaceFile, syncDirectory, writeFileDurably } from '@kedge/durable-files';
import { edgesOf } from './tile-shelf.js';

/** Files that are flushed at once. More would keep the write-ahead file waiting for a thread. */
const AT_ONCE = 2;

/** The directory of a log. */
export class TileFiles {
  readonly #root: string;
  readonly #known = new Set<string>();

  /** @param root an existing directory. */
  constructor(root: string) {
    this.#root = root;
    this.#known.add(root);
  }

  readonly read = (path: string): Buffer | undefined => {
    try {
      return readFileSync(join(this.#root, path));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  };

  /**
   * Writes what a checkpoint stands on, and it after that.
   *
   * @param before size of the checkpoint that is there; what only that one needs is removed in the end.
   * @throws system errors. The checkpoint that is there stands then, and what was written can be written again.
   */
  async write(files: readonly LogFile[], checkpoint: string, before: number, size: number): Promise<void> {
    const touched = new Set<string>();
    for (const { path } of files) await this.#makeDirectory(dirname(join(this.#root, path)), touched);
    const waiting = [...files];
    const work = async (): Promise<void> => {
      for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
        await writeFileDurably(join(this.#root, file.path), file.bytes);
      }
    };
    await allSettled(Array.from({ length: AT_ONCE }, work));
    for (const directory of touched) await syncDirectory(directory);
    await replaceFile(join(this.#root, CHECKPOINT_PATH), Buffer.from(checkpoint));
    await this.#sweep(before, size);
  }

  /** Removes whole bundles; those that are not there are passed over. */
  async removeBundles(indices: readonly number[]): Promise<void> {
    const directories = new Set<string>();
    for (const index of indices) {
      const path = join(this.#root, tilePath({ level: 'entries', index, width: TILE_WIDTH }));
      await unlink(path).catch(passMissing);
      directories.add(dirname(path));
    }
    for (const directory of directories) await syncDirectory(directory).catch(passMissing);
  }

  /** Removes partial tiles that a crash left beside those of the checkpoint. */
  async tidy(size: number): Promise<void> {
    await this.#sweep(size, size);
  }

  async #makeDirectory(directory: string, touched: Set<string>): Promise<void> {
    touched.add(directory);
    if (this.#known.has(directory)) return;
    const parent = dirname(directory);
    await this.#makeDirectory(parent, touched);
    await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
      // A crash may have left it.
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    });
    if (!directory.endsWith('.p')) this.#known.add(directory);
  }

  /** Partial ones between two sizes, but for those of the newer: full ones or wider ones hold the same. */
  async #sweep(before: number, size: number): Promise<void> {
    const kept = new Set(edgesOf(size).map(tilePath));
    for (let level = 0; hashesAt(level, size) > 0; level++) {
      const from = Math.floor(hashesAt(level, before) / TILE_WIDTH);
      const to = Math.floor(hashesAt(level, size) / TILE_WIDTH);
      for (let index = from; index <= to; index++) {
        for (const each of level === 0 ? [level, 'entries' as const] : [level]) {
          await this.#sweepPlace({ level: each, index, width: 1 }, kept);
        }
      }
    }
  }

  async #sweepPlace(place: TilePlace, kept: ReadonlySet<string>): Promise<void> {
    const directory = dirname(tilePath(place));
    const widths = await readdir(join(this.#root, directory)).catch(passMissing);
    const paths = (widths ?? []).map((width) => `${directory}/${width}`);
    for (const path of paths) if (!kept.has(path)) await unlink(join(this.#root, path));
    if (paths.length > 0 && !paths.some((path) => kept.has(path))) await rmdir(join(this.#root, directory));
  }
}

/** Waits for all, and fails with the first failure. */
async function allSettled(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === 'rejected') throw result.reason;
  }
}

function passMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

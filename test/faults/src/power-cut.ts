/**
 * What storage may hold after a power cut: a log of calls played onto a model that knows what was made durable
 * and what was only in memory (POSIX: data by fsync of its file, names by fsync of their directory).
 * It must not know what the files mean.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { StorageCall } from './log.js';

/**
 * How much of what was not made durable is there. `kept`: all of it, as after kill -9. `lost`: nothing. `names`:
 * names and sizes, not the data. `data`: data, not the names. `torn`: some sectors of some writes, by the seed.
 */
export const CUTS = ['kept', 'lost', 'names', 'data', 'torn'] as const;
export type Cut = (typeof CUTS)[number];

/** Files by their path below the root. */
export type DiskState = ReadonlyMap<string, Buffer>;

/** What a device writes wholly or not at all, bytes. */
const SECTOR = 512;

type Change = { readonly at: number; readonly data: Buffer } | { readonly length: number };

interface File {
  kind: 'file' | 'directory';
  visible: Buffer;
  durable: Buffer;
  /** Since the last sync. */
  pending: Change[];
}

/** A directory tree that was empty at the beginning of the log. */
export class Disk {
  readonly #root: string;
  readonly #inodes = new Map<bigint, File>();
  readonly #visible = new Map<string, File>();
  readonly #durable = new Map<string, File>();

  /** @param root absolute path of what the log is about. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Plays the next call of the log. */
  apply(call: StorageCall): void {
    const { op, path, path2, inode, data, offset, error } = call;
    if (error !== 0) return;
    switch (op) {
      case 'open':
        if (offset === 1) this.#enter(path, this.#fresh(inode, 'file'));
        else this.#change(this.#file(inode, path), { length: 0 });
        return;
      case 'mkdir':
        this.#enter(path, this.#fresh(inode, 'directory'));
        return;
      case 'write':
        this.#change(this.#file(inode, path), { at: offset, data });
        return;
      case 'truncate':
        this.#change(this.#file(inode, path), { length: offset });
        return;
      case 'rename':
      case 'link': {
        const file = this.#file(inode, path);
        if (op === 'rename') this.#visible.delete(path);
        this.#enter(path2, file);
        return;
      }
      case 'unlink':
        this.#visible.delete(path);
        return;
      case 'sync':
        if (path === this.#root || this.#visible.get(path)?.kind === 'directory') this.#syncNames(path);
        else this.#syncData(this.#file(inode, path));
        return;
    }
  }

  /** What is there after a cut now. @param random from 0 to 1, for `torn` alone. */
  state(cut: Cut, random: () => number = () => 0): DiskState {
    const names =
      cut === 'kept' || cut === 'names' || (cut === 'torn' && random() < 0.5) ? this.#visible : this.#durable;
    const state = new Map<string, Buffer>();
    for (const [path, file] of names) {
      if (file.kind === 'directory' || !this.#reaches(names, path)) continue;
      const bytes =
        cut === 'kept' || cut === 'data' ? file.visible : cut === 'torn' ? torn(file, random) : file.durable;
      state.set(path.slice(this.#root.length + 1), bytes);
    }
    return state;
  }

  #fresh(inode: bigint, kind: File['kind']): File {
    const file: File = { kind, visible: Buffer.alloc(0), durable: Buffer.alloc(0), pending: [] };
    // A number that was in use before is another file's now.
    if (inode !== 0n) this.#inodes.set(inode, file);
    return file;
  }

  #enter(path: string, file: File): void {
    this.#visible.set(path, file);
  }

  #file(inode: bigint, path: string): File {
    const file = this.#inodes.get(inode) ?? this.#visible.get(path);
    if (file === undefined) throw new RangeError(`the log tells of a file that it did not see made: ${path}`);
    return file;
  }

  #change(file: File, change: Change): void {
    file.visible = changed(file.visible, change);
    file.pending.push(change);
  }

  #syncData(file: File): void {
    file.durable = file.visible;
    file.pending = [];
  }

  #syncNames(directory: string): void {
    for (const names of [this.#durable, this.#visible]) {
      for (const path of [...names.keys()]) {
        if (dirname(path) !== directory) continue;
        const file = this.#visible.get(path);
        if (file === undefined) this.#durable.delete(path);
        else this.#durable.set(path, file);
      }
    }
  }

  /** True when every directory on the way is there. */
  #reaches(names: ReadonlyMap<string, File>, path: string): boolean {
    for (let at = dirname(path); at !== this.#root; at = dirname(at)) {
      if (at.length < this.#root.length || !names.has(at)) return false;
    }
    return true;
  }
}

/** Content after a change; the buffer given is left alone. */
function changed(before: Buffer, change: Change): Buffer {
  const length = 'length' in change ? change.length : Math.max(before.length, change.at + change.data.length);
  const after = Buffer.alloc(length);
  before.copy(after);
  if ('data' in change) change.data.copy(after, change.at);
  return after;
}

function torn({ durable, pending }: File, random: () => number): Buffer {
  let bytes = durable;
  for (const change of pending) {
    if ('length' in change) {
      if (random() < 0.5) bytes = changed(bytes, change);
      continue;
    }
    for (let from = 0; from < change.data.length;) {
      const end = Math.min(change.data.length, from + SECTOR - ((change.at + from) % SECTOR));
      if (random() < 0.5)
        bytes = changed(bytes, { at: change.at + from, data: change.data.subarray(from, end) });
      from = end;
    }
  }
  return bytes;
}

/** Writes a state into a directory that exists. */
export function writeDisk(state: DiskState, directory: string): void {
  for (const [path, bytes] of state) {
    mkdirSync(dirname(join(directory, path)), { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, path), bytes, { mode: 0o600 });
  }
}

/** A generator of numbers from 0 to 1 that gives the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * The keys of the people that records speak of, in a file that is durable before an entry under them is.
 * It must not know what they seal, nor tell a subject by its file.
 *
 * A file `subjects-N.keys`: magic (16 bytes), the key of the tags (32), rows at its beginning u32, CRC-32 u32; then rows
 * of tag (32), key (32) and CRC-32 over both and the number of the row. A tag is a keyed hash of the subject's name.
 * Numbers are little-endian. Erasing writes the next file without the row, then zeros over the old one.
 */
import { type SubjectKey, subjectKeyOf } from '@kedge/ledger';
import { createHmac } from 'node:crypto';
import { type FileHandle, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

import {
  isDiskFull,
  SyncFailure,
  syncData,
  syncDirectory,
  writeAll,
  writeFileDurably,
} from '@kedge/durable-files';
import { damaged, diskFull, storeFailed } from './errors.js';
import type { SubjectKeys } from './store.js';

const NAME = /^subjects-(\d{12})\.keys(\.new)?$/;
const MAGIC = Buffer.from('Kedge keys 1\n\0\0\0', 'latin1');
const HASH = 32;
const HEAD_BYTES = MAGIC.length + HASH + 8;
const ROW_BYTES = 2 * HASH + 4;
/** Subjects whose tags are remembered, so that they need not be hashed again. */
const NAMES_MAX = 16_384;

/** How far the keys are durable. */
export interface KeyPosition {
  readonly file: number;
  readonly rows: number;
}

interface Row {
  readonly tag: string;
  readonly bytes: Buffer;
  readonly key: SubjectKey;
}

/** The keys in memory and in their file. */
export class KeyFile implements SubjectKeys {
  readonly #directory: string;
  readonly #random: (count: number) => Uint8Array;
  readonly #tagKey: Buffer;
  readonly #rows = new Map<string, Row>();
  readonly #ids = new Map<string, SubjectKey>();
  readonly #names = new Map<string, Row>();
  #handle: FileHandle | undefined;
  #position: KeyPosition;
  #pending: Row[] = [];
  /** What is under way; never rejects. */
  #turn: Promise<unknown> = Promise.resolve();
  #failed = false;

  private constructor(
    directory: string,
    random: (count: number) => Uint8Array,
    tagKey: Buffer,
    file: number,
  ) {
    this.#directory = directory;
    this.#random = random;
    this.#tagKey = tagKey;
    this.#position = { file, rows: 0 };
  }

  /**
   * Opens the newest file, and destroys what an erasure that was cut short has left of an older one.
   *
   * @param promised how far the keys were durable by what was acknowledged; undefined = nothing was.
   * @throws KedgeError `LEDGER_STORE_DAMAGED`, and system errors.
   */
  static async open(
    directory: string,
    promised: KeyPosition | undefined,
    random: (count: number) => Uint8Array,
  ): Promise<KeyFile> {
    const names = (await readdir(directory)).filter((name) => NAME.test(name)).sort();
    const newest = names.filter((name) => NAME.exec(name)?.[2] === undefined).at(-1);
    const number = newest === undefined ? 0 : Number(NAME.exec(newest)?.[1]);
    if (promised !== undefined && number < promised.file) {
      const path = join(directory, nameOf(promised.file));
      throw damaged(path, 0, 'the keys that entries are sealed under');
    }
    if (newest === undefined) {
      for (const name of names) await destroy(join(directory, name));
      const keys = new KeyFile(directory, random, Buffer.from(random(HASH)), 1);
      await keys.#writeFile(1, []);
      return keys;
    }
    const path = join(directory, newest);
    const bytes = await readFile(path);
    const initial = initialRows(bytes, path);
    const certain = promised?.file === number ? Math.max(promised.rows, initial) : initial;
    const keys = new KeyFile(directory, random, bytes.subarray(MAGIC.length, MAGIC.length + HASH), number);
    const rows = keys.#read(bytes, path, certain);
    for (const name of names) if (name !== newest) await destroy(join(directory, name));
    await keys.#openAt(number, rows);
    return keys;
  }

  get count(): number {
    return this.#rows.size;
  }

  of(subject: string): SubjectKey | undefined {
    return this.#rows.get(this.#tagOf(subject))?.key;
  }

  by(id: string): SubjectKey | undefined {
    return this.#ids.get(id);
  }

  /** The key of a subject, made where there is none: durable with the next {@link flush}. */
  readonly forSealing = (subject: string): SubjectKey => {
    const named = this.#names.get(subject);
    if (named !== undefined) return named.key;
    const tag = this.#tagOf(subject);
    let row = this.#rows.get(tag);
    if (row === undefined) {
      const bytes = Buffer.from(this.#random(HASH));
      row = { tag, bytes, key: subjectKeyOf(bytes) };
      this.#take(row);
      this.#pending.push(row);
    }
    if (this.#names.size >= NAMES_MAX) this.#names.clear();
    this.#names.set(subject, row);
    return row.key;
  };

  /** How far the keys are durable after the next {@link flush}. */
  position(): KeyPosition {
    return { file: this.#position.file, rows: this.#position.rows + this.#pending.length };
  }

  /** True where {@link flush} has something to do. */
  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  /** Makes new keys durable. After a full disk they wait for the next flush. @throws system errors. */
  async flush(): Promise<void> {
    await this.#inTurn(() => this.#append());
  }

  async erase(subject: string): Promise<string | undefined> {
    try {
      return await this.#inTurn(() => this.#erase(subject));
    } catch (error) {
      if (isDiskFull(error)) throw diskFull(this.#directory, error);
      throw storeFailed('destroy the key of a subject', error);
    }
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #append(): Promise<void> {
    if (this.#failed) throw new Error('the file of keys failed before');
    const rows = [...this.#pending];
    if (rows.length === 0 || this.#handle === undefined) return;
    const { file, rows: before } = this.#position;
    const bytes = Buffer.concat(rows.map((row, at) => rowBytes(row, before + at)));
    const at = HEAD_BYTES + before * ROW_BYTES;
    try {
      await writeAll(this.#handle, bytes, at);
    } catch (error) {
      if (!isDiskFull(error)) this.#failed = true;
      // A later attempt writes the same place again.
      throw error;
    }
    try {
      await syncData(this.#handle);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
    this.#pending = this.#pending.slice(rows.length);
    this.#position = { file, rows: before + rows.length };
  }

  async #erase(subject: string): Promise<string | undefined> {
    if (this.#failed) throw new Error('the file of keys failed before');
    const tag = this.#tagOf(subject);
    const row = this.#rows.get(tag);
    if (row === undefined) return undefined;
    const left = [...this.#rows.values()].filter((each) => each !== row);
    const older = this.#position.file;
    await this.#writeFile(older + 1, left);
    // What was given a key meanwhile waits for the next flush.
    const written = new Set(left);
    this.#pending = this.#pending.filter((each) => each !== row && !written.has(each));
    this.#rows.delete(tag);
    this.#ids.delete(row.key.id);
    this.#names.delete(subject);
    row.bytes.fill(0);
    row.key.bytes.fill(0);
    await destroy(join(this.#directory, nameOf(older)));
    return row.key.id;
  }

  /** A file with these rows, under its name, durably; it takes what is new from then on. */
  async #writeFile(number: number, rows: readonly Row[]): Promise<void> {
    const path = join(this.#directory, nameOf(number));
    const head = Buffer.alloc(HEAD_BYTES);
    MAGIC.copy(head);
    this.#tagKey.copy(head, MAGIC.length);
    head.writeUInt32LE(rows.length, MAGIC.length + HASH);
    head.writeUInt32LE(crc32(head.subarray(0, HEAD_BYTES - 4)), HEAD_BYTES - 4);
    const bytes = Buffer.concat([head, ...rows.map(rowBytes)]);
    await writeFileDurably(`${path}.new`, bytes);
    try {
      await rename(`${path}.new`, path);
      await syncDirectory(this.#directory);
      await this.#openAt(number, rows.length);
    } catch (error) {
      // Which of both files counts is not known any more.
      this.#failed = true;
      throw error;
    }
  }

  async #openAt(file: number, rows: number): Promise<void> {
    await this.#handle?.close();
    this.#handle = await open(join(this.#directory, nameOf(file)), 'r+');
    this.#position = { file, rows };
  }

  /** Takes all whole rows; how many they are. What lies behind them was promised to nobody, and is written over. */
  #read(bytes: Buffer, path: string, certain: number): number {
    let rows = 0;
    for (let at = HEAD_BYTES; ; at += ROW_BYTES) {
      const isWhole =
        at + ROW_BYTES <= bytes.length &&
        rowCrc(bytes.subarray(at, at + 2 * HASH), rows) === bytes.readUInt32LE(at + 2 * HASH);
      if (!isWhole) {
        if (rows < certain) throw damaged(path, at, `${certain} whole keys`);
        return rows;
      }
      const key = Buffer.from(bytes.subarray(at + HASH, at + 2 * HASH));
      this.#take({ tag: bytes.toString('hex', at, at + HASH), bytes: key, key: subjectKeyOf(key) });
      rows += 1;
    }
  }

  #take(row: Row): void {
    this.#rows.set(row.tag, row);
    this.#ids.set(row.key.id, row.key);
  }

  #tagOf(subject: string): string {
    return createHmac('sha256', this.#tagKey).update(subject).digest('hex');
  }

  async #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return await result;
  }
}

function initialRows(bytes: Buffer, path: string): number {
  const isHead =
    bytes.length >= HEAD_BYTES &&
    bytes.subarray(0, MAGIC.length).equals(MAGIC) &&
    crc32(bytes.subarray(0, HEAD_BYTES - 4)) === bytes.readUInt32LE(HEAD_BYTES - 4);
  if (!isHead) throw damaged(path, 0, 'the head of a file of keys');
  return bytes.readUInt32LE(MAGIC.length + HASH);
}

function rowBytes({ tag, bytes }: Row, number: number): Buffer {
  const row = Buffer.alloc(ROW_BYTES);
  row.write(tag, 0, 'hex');
  bytes.copy(row, HASH);
  row.writeUInt32LE(rowCrc(row.subarray(0, 2 * HASH), number), 2 * HASH);
  return row;
}

function rowCrc(row: Buffer, number: number): number {
  const place = Buffer.alloc(4);
  place.writeUInt32LE(number);
  return crc32(row, crc32(place));
}

/** Zeros over all of a file before its name goes, so that no free block holds its keys. */
async function destroy(path: string): Promise<void> {
  const { size } = await stat(path);
  const handle = await open(path, 'r+');
  try {
    await writeAll(handle, Buffer.alloc(size), 0);
    await syncData(handle);
  } catch (error) {
    throw error instanceof SyncFailure ? error.cause : error;
  } finally {
    await handle.close();
  }
  await unlink(path);
  await syncDirectory(join(path, '..'));
}

function nameOf(number: number): string {
  return `subjects-${String(number).padStart(12, '0')}.keys`;
}

/**
 * Files of SQLite, opened by real processes, damaged and full.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

import {
  type Database,
  faultOf,
  openDatabase,
  type OpenOptions,
  removeDatabase,
  wrongWith,
} from '../src/index.js';

const HOLD = join(import.meta.dirname, 'hold.mjs');
const OPTIONS: OpenOptions = { flush: 'every-commit', pageBytes: 4096, cacheKiB: 1024, checkpointPages: 100 };
let work: string;
let path: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'kedge-sqlite-'));
  path = join(work, 'file.db');
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

/** What a call throws. */
function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

function filled(rows = 200): Database {
  const database = openDatabase(path, OPTIONS);
  database.exec('CREATE TABLE row (number INTEGER PRIMARY KEY, text TEXT) STRICT');
  const insert = database.prepare<[number, string]>('INSERT INTO row VALUES (?, ?)');
  database.transaction(() => {
    for (let number = 0; number < rows; number++) insert.run(number, 'x'.repeat(200));
  })();
  return database;
}

it('a file is used as it was asked to be, alone and with its journal beside it', () => {
  const database = filled();
  const pragma = (name: string): unknown => database.pragma(name, { simple: true });
  expect(['journal_mode', 'synchronous', 'page_size', 'locking_mode'].map(pragma)).toEqual([
    'wal',
    2,
    4096,
    'exclusive',
  ]);
  expect(readdirSync(work).sort()).toEqual(['file.db', 'file.db-wal']);
  expect(wrongWith(database, 'whole')).toBeUndefined();
  database.close();
  const other = openDatabase(path, { ...OPTIONS, flush: 'checkpoints' });
  expect(other.pragma('synchronous', { simple: true })).toBe(1);
  other.close();
  removeDatabase(path);
  expect(existsSync(path)).toBe(false);
  expect(faultOf(thrown(() => openDatabase(path, { ...OPTIONS, mustExist: true })))).toBe('failed');
});

it('a file that another process has is busy', async () => {
  filled().close();
  const child = spawn(process.execPath, [HOLD, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  expect(faultOf(thrown(() => openDatabase(path, OPTIONS)))).toBe('busy');
  child.stdin.end();
  await once(child, 'close');
  openDatabase(path, OPTIONS).close();
});

it('a file whose pages are overwritten, or that is none, is damaged', () => {
  filled().close();
  const file = openSync(path, 'r+');
  const size = statSync(path).size;
  for (let page = 2; page < size / 4096; page += 3)
    writeSync(file, Buffer.alloc(4096, 0xff), 0, 4096, 4096 * page);
  const database = openDatabase(path, OPTIONS);
  expect(wrongWith(database, 'whole')).toMatch(/page|malformed/i);
  expect(faultOf(thrown(() => database.prepare('SELECT sum(length(text)) FROM row').get()))).toBe('damaged');
  database.close();
  writeSync(file, Buffer.from('no database at all'), 0, 18, 0);
  closeSync(file);
  expect(faultOf(thrown(() => openDatabase(path, OPTIONS)))).toBe('damaged');
});

it('a transaction that finds no room is as if it had never begun', () => {
  const disk = join(work, 'disk');
  mkdirSync(disk);
  const program = [
    'mount -t tmpfs -o size=600k none "$1"',
    'head -c 100k /dev/zero > "$1/ballast"',
    '"$2" "$3" "$1/file.db" fill "$1/ballast"',
  ].join(' && ');
  const out = execFileSync(
    '/usr/bin/unshare',
    ['--mount', 'sh', '-c', program, 'sh', disk, process.execPath, HOLD],
    {
      encoding: 'utf8',
    },
  );
  const [, before, after] = /^full after \d+, then (\d+), then (\d+),/.exec(out) ?? [];
  expect(Number(after)).toBe(Number(before) + 10);
  expect(out).toMatch(/^full after (\d+), then \1, then \d+, ok\n$/);
});

it('an error that is not of SQLite or the system is none of its faults', () => {
  expect(faultOf(new Error('else'))).toBeUndefined();
  const database = filled();
  expect(faultOf(thrown(() => database.prepare('SELECT nothing FROM row')))).toBe('failed');
  database.close();
});

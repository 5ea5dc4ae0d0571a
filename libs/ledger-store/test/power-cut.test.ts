/**
 * Power cuts at every write of a store's life: a real one is driven through all that it does while every call to its
 * storage is logged, then a store is opened on each state that could have been left.
 */
import {
  type Cut,
  CUTS,
  Disk,
  FaultLayer,
  parseLog,
  seeded,
  type StorageCall,
  writeDisk,
} from '@kedge/faults';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Acknowledged, acknowledgedIn, expectKept, openAt, SCRIPT } from './store-files.js';

const FAULTS = fileURLToPath(new URL('../../../test/faults', import.meta.url));
let work: string;
let disk: string;
let calls: readonly StorageCall[];
let acknowledged: Acknowledged[];

beforeAll(() => {
  execFileSync('make', ['-C', FAULTS, 'all'], { stdio: 'ignore' });
  // Thousands of small directories: in memory, where there is such a place.
  work = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kedge-store-'));
  disk = join(work, 'disk');
  mkdirSync(disk, { mode: 0o700 });
  const layer = new FaultLayer({ control: join(work, 'control'), prefix: disk, log: join(work, 'log') });
  const out = execFileSync(process.execPath, [SCRIPT, 'all', join(disk, 'ledger')], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...layer.environment() },
  });
  layer.close();
  expect(out).toContain('pruned 1\n');
  acknowledged = acknowledgedIn(out);
  calls = parseLog(readFileSync(join(work, 'log')));
}, 120_000);
afterAll(() => {
  rmSync(work, { recursive: true, force: true });
});

describe('a store whose power is cut', () => {
  it('LE-5 at every write, sync and rename of its life all that was acknowledged is there and the tree verifies', async () => {
    expect(acknowledged).toHaveLength(120 + 2 + 1 + 6 + 150 + 10 + 1);
    expect(calls.length).toBeGreaterThan(150);
    const gone = calls.filter(({ op }) => op === 'unlink').map(({ path }) => path.slice(disk.length));
    for (const path of [
      'wal/wal-000000000001.log',
      'log/tile/entries/000',
      'keys/subjects-000000000001.keys',
    ]) {
      expect(gone).toContain(`/ledger/${path}`);
    }
    const model = new Disk(disk);
    const known = new Set<string>();
    let visited = 0;
    let opened = 0;
    for (const [index, call] of calls.entries()) {
      for (const [seed, cut] of [...CUTS, 'torn', 'torn', 'torn'].entries() as Iterable<[number, Cut]>) {
        visited += 1;
        const state = model.state(cut, seeded(index * 16 + seed));
        const before = acknowledged.filter(({ atNs }) => atNs < call.beginNs).length;
        const hash = createHash('sha256').update(`${before}`);
        for (const [path, bytes] of state) hash.update(`\0${path}\0${bytes.length}\0`).update(bytes);
        const key = hash.digest('hex');
        if (known.has(key)) continue;
        known.add(key);
        const directory = join(work, 'state');
        mkdirSync(join(directory, 'ledger'), { recursive: true, mode: 0o700 });
        writeDisk(state, directory);
        chmodSync(join(directory, 'ledger'), 0o700);
        const where = `before call ${index} (${call.op} ${call.path.slice(disk.length)}), ${cut}`;
        const store = await openAt(join(directory, 'ledger')).catch((error: unknown) => {
          throw new Error(where, { cause: error });
        });
        expectKept(store, acknowledged, where, call.beginNs);
        await store.close();
        rmSync(directory, { recursive: true });
        opened += 1;
      }
      model.apply(call);
    }
    expect(visited).toBe(calls.length * (CUTS.length + 3));
    expect(opened).toBeGreaterThan(140);
    expect([...model.state('kept').keys()].sort()).toEqual(filesUnder(disk).sort());
  }, 600_000);
});

function filesUnder(directory: string, prefix = ''): string[] {
  return readdirSync(join(directory, prefix), { withFileTypes: true }).flatMap((each) =>
    each.isDirectory() ? filesUnder(directory, join(prefix, each.name)) : [join(prefix, each.name)],
  );
}

/**
 * Power cuts and kills at every write of a store's life: a real one is driven through all that it does while every call
 * to its storage is logged, then a file is opened on each state that could have been left.
 */
import {
  CUTS,
  type Cut,
  Disk,
  FaultLayer,
  parseLog,
  seeded,
  type StorageCall,
  writeDisk,
} from '@kedge/faults';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Acknowledged, acknowledgedIn, SCRIPT, stepIn } from './store-files.js';

const FAULTS = fileURLToPath(new URL('../../../test/faults', import.meta.url));
let work: string;
let disk: string;
let calls: readonly StorageCall[];
let acknowledged: readonly Acknowledged[];
let digests: ReadonlyMap<number, string>;

beforeAll(() => {
  execFileSync('make', ['-C', FAULTS, 'all'], { stdio: 'ignore' });
  // Thousands of small directories: in memory, where there is such a place.
  work = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kedge-intent-'));
  disk = join(work, 'disk');
  mkdirSync(disk, { mode: 0o700 });
  const layer = new FaultLayer({ control: join(work, 'control'), prefix: disk, log: join(work, 'log') });
  const out = execFileSync(process.execPath, [SCRIPT, 'whole', join(disk, 'intent.db')], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...layer.environment() },
  });
  layer.close();
  acknowledged = acknowledgedIn(out);
  digests = new Map(acknowledged.map(({ step, digest }) => [step, digest]));
  calls = parseLog(readFileSync(join(work, 'log')));
}, 120_000);
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('a store whose power is cut', () => {
  it('UN-4 at every write, sync and rename of its life has one of its states whole, and none older than it said', () => {
    expect(acknowledged.map(({ step }) => step)).toEqual(acknowledged.map((_, index) => index + 1));
    expect(acknowledged.length).toBeGreaterThanOrEqual(25);
    expect(calls.length).toBeGreaterThan(100);
    const model = new Disk(disk);
    const known = new Set<string>();
    let visited = 0;
    let opened = 0;
    for (const [index, call] of calls.entries()) {
      const before = acknowledged.filter(({ atNs }) => atNs < call.beginNs).length;
      for (const [seed, cut] of [...CUTS, 'torn', 'torn', 'torn'].entries() as Iterable<[number, Cut]>) {
        visited += 1;
        const state = model.state(cut, seeded(index * 16 + seed));
        const hash = createHash('sha256').update(`${before}`);
        for (const [path, bytes] of state) hash.update(`\0${path}\0${bytes.length}\0`).update(bytes);
        const key = hash.digest('hex');
        if (known.has(key)) continue;
        known.add(key);
        const directory = join(work, 'state');
        mkdirSync(directory, { mode: 0o700 });
        writeDisk(state, directory);
        const where = `before call ${index} (${call.op} ${call.path.slice(disk.length)}), ${cut}`;
        let step: number;
        try {
          step = stepIn(join(directory, 'intent.db'), digests, where);
        } catch (error) {
          throw new Error(where, { cause: error });
        }
        // Of the transaction that was under way all or nothing.
        expect([before, before + 1], where).toContain(step);
        rmSync(directory, { recursive: true });
        opened += 1;
      }
      model.apply(call);
    }
    expect(visited).toBe(calls.length * (CUTS.length + 3));
    expect(opened).toBeGreaterThan(calls.length);
    expect([...model.state('kept').keys()].sort()).toEqual(readdirSync(disk).sort());
  }, 300_000);

  it('UN-4 killed at any call of a commit has the old state or the new one', () => {
    const run = (path: string, environment: object = {}) =>
      spawnSync(process.execPath, [SCRIPT, 'once', path], {
        encoding: 'utf8',
        env: { PATH: process.env['PATH'], ...environment },
      });
    const directory = join(work, 'killed');
    const path = join(directory, 'intent.db');
    const last = acknowledged.length;
    cpSync(disk, directory, { recursive: true });
    // Undisturbed it takes two steps, which are the same each time.
    const undisturbed = acknowledgedIn(run(path).stdout);
    expect(undisturbed.map(({ step }) => step)).toEqual([last + 1, last + 2]);
    const all = new Map([...digests, ...undisturbed.map(({ step, digest }) => [step, digest] as const)]);
    rmSync(directory, { recursive: true });
    let visited = 0;
    let news = 0;
    for (let skip = 0; ; skip++) {
      cpSync(disk, directory, { recursive: true });
      const layer = new FaultLayer({ control: join(work, 'control-kill'), prefix: directory });
      // Before a call is after the one before it; after the last one there is nothing left to lose.
      layer.add({
        ops: ['write', 'sync', 'truncate', 'unlink', 'rename'],
        action: 'killBefore',
        skip,
        limit: 1,
      });
      const { stdout, signal, status } = run(path, layer.environment());
      layer.close();
      const said = acknowledgedIn(stdout);
      if (signal === 'SIGKILL') {
        const where = `before call ${skip}`;
        const found = stepIn(path, all, where);
        const least = said.at(-1)?.step ?? last;
        expect([least, least + 1], where).toContain(found);
        if (found > least) news += 1;
      }
      rmSync(directory, { recursive: true });
      if (signal !== 'SIGKILL') {
        expect([status, said.length]).toEqual([0, 2]);
        break;
      }
      visited += 1;
    }
    expect(visited).toBeGreaterThan(10);
    expect(news).toBeGreaterThan(0);
  }, 120_000);
});

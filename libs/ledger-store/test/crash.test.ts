import { FaultLayer } from '@kedge/faults';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { acknowledgedIn, expectKept, openAt, SCRIPT } from './store-files.js';

const FAULTS = fileURLToPath(new URL('../../../test/faults', import.meta.url));
let work: string;
let directory: string;
beforeAll(() => {
  execFileSync('make', ['-C', FAULTS, 'all'], { stdio: 'ignore' });
});
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'kedge-store-'));
  directory = join(work, 'ledger');
});
afterEach(() => {
  rmSync(work, { recursive: true, force: true });
});

describe('a store whose process ends', () => {
  it.each(['batched', 'every'])(
    'LE-5 everything that was acknowledged before kill -9 is there and verifies: %s',
    async (mode) => {
      let before = 0;
      for (let round = 0; round < 4; round++) {
        const child = spawn(process.execPath, [SCRIPT, 'endless', directory, mode], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        let out = '';
        child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
        await once(child.stdout, 'data');
        await new Promise((resolve) => setTimeout(resolve, 30 + 61 * round));
        child.kill('SIGKILL');
        await once(child, 'close');
        const acknowledged = acknowledgedIn(out);
        expect(acknowledged.length).toBeGreaterThan(0);
        const store = await openAt(directory);
        expect(store.size).toBeGreaterThanOrEqual(before + acknowledged.length);
        expectKept(store, acknowledged, `round ${round}`);
        before = store.size;
        await store.close();
      }
    },
    120_000,
  );

  it.each(['batched', 'every'])(
    'LE-5 a full disk refuses loudly, loses nothing that was acknowledged, and goes on when there is room: %s',
    async (mode) => {
      const kept = join(work, 'kept');
      const disk = join(work, 'disk');
      mkdirSync(disk);
      const steps = [
        'mount -t tmpfs -o size=1400k none "$1"',
        'head -c 700k /dev/zero > "$1/ballast"',
        '"$3" "$4" full "$1/ledger" "$1/ballast" "$5"',
        'cp -rp "$1/ledger" "$2"',
      ];
      const out = execFileSync(
        '/usr/bin/unshare',
        ['--mount', 'sh', '-c', steps.join(' && '), 'sh', disk, kept, process.execPath, SCRIPT, mode],
        { encoding: 'utf8' },
      );
      expect(out.match(/^refused .*$/gm)).toEqual(['refused LEDGER_FULL full', 'refused LEDGER_FULL full']);
      // Told each time that it becomes full: a group that is smaller may find room once more after the first refusal.
      expect(out).toMatch(/^troubles LEDGER_FULL( LEDGER_FULL)?$/m);
      expect(out).toContain('\nstate open\n');
      const acknowledged = acknowledgedIn(out);
      // Room that is made ready ahead takes its part of the disk.
      expect(acknowledged.length).toBeGreaterThan(mode === 'every' ? 50 : 200);
      const store = await openAt(kept);
      expectKept(store, acknowledged, 'after the full disk');
      expect(store.size).toBe(acknowledged.length);
      await store.close();
    },
    60_000,
  );

  it('LE-5 a disk that is full for tiles alone refuses when the write-ahead files are as large as they may be', async () => {
    const kept = join(work, 'kept');
    mkdirSync(join(directory, 'log'), { recursive: true, mode: 0o700 });
    const steps = [
      'mount -t tmpfs -o size=12m,mode=0700 none "$1/log"',
      'head -c 11500k /dev/zero > "$1/log/ballast"',
      '"$3" "$4" tiles "$1" "$1/log/ballast"',
      'cp -rp "$1" "$2"',
    ];
    const out = execFileSync(
      '/usr/bin/unshare',
      ['--mount', 'sh', '-c', steps.join(' && '), 'sh', directory, kept, process.execPath, SCRIPT],
      { encoding: 'utf8' },
    );
    expect(out).toContain('\nrefused LEDGER_FULL full true LEDGER_FULL\n');
    expect(out).toContain('\nstate open 0\n');
    const acknowledged = acknowledgedIn(out);
    expect(acknowledged.length).toBeGreaterThan(4_000);
    const store = await openAt(kept);
    expectKept(store, acknowledged, 'after the full disk');
    expect(store.size).toBe(acknowledged.length);
    await store.close();
  }, 60_000);

  it.each([
    ['the write-ahead file', 'ledger/wal/wal-*', 5],
    ['the keys', 'ledger/keys/subjects-*.keys', 1],
    ['the tiles', 'ledger/log/tile/*', 2],
  ])(
    'LE-5 a flush of %s that fails ends the store for good, and what was acknowledged is there',
    async (_what, path, skip) => {
      mkdirSync(work, { recursive: true });
      const control = mkdtempSync(join(tmpdir(), 'kedge-store-control-'));
      const layer = new FaultLayer({ control: join(control, 'control'), prefix: work });
      try {
        layer.add({ ops: ['sync'], path, action: 'fail', error: 'EIO', skip });
        const out = execFileSync(process.execPath, [SCRIPT, 'failing', directory], {
          encoding: 'utf8',
          env: { PATH: process.env['PATH'], ...layer.environment() },
        });
        expect(out).toContain('\nrefused LEDGER_STORE_FAILED LEDGER_STORE_FAILED failed\n');
        const store = await openAt(directory);
        expectKept(store, acknowledgedIn(out), 'after the failure');
        await store.close();
      } finally {
        layer.close();
        rmSync(control, { recursive: true });
      }
    },
  );

  it('LE-6 one process has it open at a time', async () => {
    const store = await openAt(directory);
    await expect(openAt(directory)).rejects.toMatchObject({ code: 'BUS_BUSY' });
    await store.close();
    await (await openAt(directory)).close();
  });
});

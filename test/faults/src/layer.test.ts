import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { Disk, FaultLayer, parseLog, type StorageCall } from './index.js';

const FOLDER = fileURLToPath(new URL('..', import.meta.url));
let directory: string;
let disk: string;
let layer: FaultLayer;
beforeAll(() => {
  execFileSync('make', ['-C', FOLDER, 'all'], { stdio: 'ignore' });
});
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-faults-'));
  disk = join(directory, 'disk');
  mkdirSync(disk);
  writeFileSync(join(directory, 'memory'), 'before');
  layer = new FaultLayer({
    control: join(directory, 'control'),
    prefix: disk,
    log: join(directory, 'log'),
    snapshot: join(directory, 'memory'),
  });
});
afterEach(() => {
  layer.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs a script in Node under the layer; what it says on its standard output, as JSON. */
function node(script: string): unknown {
  return JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', `${PRELUDE}${script}`], {
      env: { PATH: process.env['PATH'], DISK: disk, ELSEWHERE: directory, ...layer.environment() },
      encoding: 'utf8',
    }),
  );
}
const PRELUDE = `
  import { open, rename, writeFile, appendFile, unlink, link, mkdir } from 'node:fs/promises';
  import * as fs from 'node:fs';
  const at = (name) => process.env.DISK + '/' + name;
  const say = (value) => fs.writeSync(1, JSON.stringify(value));
  const code = async (work) => { try { return await work() ?? 'done' } catch (error) { return error.code } };
`;
const calls = (): readonly StorageCall[] => parseLog(readFileSync(join(directory, 'log')));
const WRITE_AND_SYNC = `
  const file = await open(at('a'), 'w');
  const results = [];
  for (let n = 0; n < 4; n += 1) {
    results.push(await code(async () => (await file.write(Buffer.alloc(100, n + 1), 0, 100, n * 100)).bytesWritten));
    results.push(await code(() => file.datasync()));
  }
  say(results);
`;

describe('a process of Node under the fault layer', () => {
  it('is not changed by it while there is no rule, and its calls are logged whole and in order', () => {
    expect(
      node(`${WRITE_AND_SYNC.replace('say(results);', '')}
        await mkdir(at('d')); await writeFile(at('d/b'), 'hello'); await appendFile(at('d/b'), ' world');
        await rename(at('d/b'), at('d/c')); await link(at('d/c'), at('e')); await unlink(at('d/c'));
        results.push(await code(() => open(at('nowhere'))), await code(() => open(at('d'), 'r+')));
        try { fs.readFileSync(at('nowhere'), 'utf8'); } catch (error) { results.push(error.code); }
        fs.writeFileSync(at('f'), 'sync'); fs.truncateSync(at('f'), 2);
        await writeFile(process.env.ELSEWHERE + '/outside', 'x'); say(results);
      `),
    ).toEqual([...Array.from({ length: 4 }, () => [100, 'done']).flat(), 'ENOENT', 'EISDIR', 'ENOENT']);
    expect(readFileSync(join(disk, 'e'), 'utf8')).toBe('hello world');
    const logged = calls();
    expect(logged.map(({ op, path }) => `${op} ${path.slice(disk.length + 1)}`)).toEqual([
      'open a',
      ...Array.from({ length: 4 }, () => ['write a', 'sync a']).flat(),
      ...['mkdir d', 'open d/b', 'write d/b', 'write d/b', 'rename d/b', 'link d/c', 'unlink d/c'],
      ...['open f', 'write f', 'truncate f'],
    ]);
    expect(logged.every(({ snapshot }) => snapshot.toString() === 'before')).toBe(true);
    expect(
      logged.every(
        ({ beginNs, endNs }, index) => beginNs <= endNs && (logged[index - 1]?.endNs ?? 0n) <= beginNs,
      ),
    ).toBe(true);
    const replayed = new Disk(disk);
    for (const call of logged) replayed.apply(call);
    expect(replayed.state('kept')).toEqual(
      new Map(['a', 'e', 'f'].map((name) => [name, readFileSync(join(disk, name))])),
    );
  });

  it('gets EIO from the n-th flush and only from that one', () => {
    const rule = layer.add({ ops: ['sync'], path: 'a', action: 'fail', error: 'EIO', skip: 1, limit: 1 });
    expect(node(WRITE_AND_SYNC)).toEqual([100, 'done', 100, 'EIO', 100, 'done', 100, 'done']);
    expect(rule.counts()).toEqual({ seen: 4, struck: 1 });
    expect(
      calls()
        .filter(({ op }) => op === 'sync')
        .map(({ error }) => error),
    ).toEqual([0, 5, 0, 0]);
  });

  it('takes a write to a synchronous descriptor for a write and a flush, which may fail each by itself', () => {
    const script = `
      const flags = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_DSYNC;
      const file = await open(at('a'), flags);
      const results = [];
      for (let n = 0; n < 3; n += 1) {
        results.push(await code(async () => (await file.write(Buffer.alloc(100, n + 1), 0, 100, n * 100)).bytesWritten));
      }
      say(results);
    `;
    layer.add({ ops: ['sync'], path: 'a', action: 'fail', error: 'EIO', skip: 1, limit: 1 });
    expect(node(script)).toEqual([100, 'EIO', 100]);
    const logged = calls();
    expect(logged.map(({ op, error }) => `${op} ${error}`)).toEqual([
      ...['open 0', 'write 0', 'sync 0', 'write 0', 'sync 5', 'write 0', 'sync 0'],
    ]);
    const replayed = new Disk(disk);
    for (const call of logged.slice(0, 5)) replayed.apply(call);
    expect(replayed.state('kept').get('a')).toHaveLength(200);
    expect(replayed.state('data')).toEqual(new Map());
    layer.clear();
    layer.add({ ops: ['sync'], path: 'a', action: 'killBefore', skip: 1 });
    expect(() => node(script)).toThrow();
    expect(
      calls()
        .slice(logged.length)
        .map(({ op }) => op),
    ).toEqual(['write', 'sync', 'write']);
  });

  it('finds the disk full after so many bytes, but not where a file has its room already', () => {
    writeFileSync(join(disk, 'room'), Buffer.alloc(50));
    layer.add({ ops: ['write'], action: 'full', bytes: 250 });
    expect(node(WRITE_AND_SYNC)).toEqual([100, 'done', 100, 'done', 50, 'done', 'ENOSPC', 'done']);
    expect(
      node(`const file = await open(at('room'), 'r+');
        say([await code(async () => (await file.write(Buffer.alloc(50), 0, 50, 0)).bytesWritten),
             await code(async () => (await file.write(Buffer.alloc(50), 0, 50, 20)).bytesWritten)]);`),
    ).toEqual([50, 30]);
  });

  it('writes short, fails to rename, to open, to truncate and to make directories by rule', () => {
    const short = layer.add({ ops: ['write'], path: 'a', action: 'short', limit: 1 });
    layer.add({ ops: ['rename', 'mkdir'], action: 'fail', error: 'EROFS' });
    layer.add({ ops: ['open'], path: 'new*', action: 'fail', error: 'EACCES' });
    layer.add({ ops: ['truncate'], action: 'fail', error: 'ENOSPC' });
    node(WRITE_AND_SYNC);
    // Node writes the rest by itself: one call more than there would be.
    expect(short.counts()).toEqual({ seen: 5, struck: 1 });
    expect(
      calls()
        .filter(({ op }) => op === 'write')
        .map(({ offset, data }) => [offset, data.length]),
    ).toEqual([[0, 50], [50, 50], ...[100, 200, 300].map((offset) => [offset, 100])]);
    expect(
      node(`const file = await open(at('a'), 'r+');
        say([await code(() => rename(at('a'), at('b'))), await code(() => mkdir(at('d'))),
             await code(() => open(at('new'), 'w')), await code(() => file.truncate(0))]);`),
    ).toEqual(['EROFS', 'EROFS', 'EACCES', 'ENOSPC']);
    expect(existsSync(join(disk, 'new'))).toBe(false);
  });

  it('waits where a flush hangs until the rule is gone, and its event loop goes on meanwhile', async () => {
    const rule = layer.add({ ops: ['sync'], path: 'a', action: 'hang' });
    const child: ChildProcess = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `${PRELUDE} const file = await open(at('a'), 'w'); setInterval(() => fs.writeSync(1, '.'), 20);
         await file.datasync(); fs.writeSync(1, 'done'); process.exit(0);`,
      ],
      {
        env: { PATH: process.env['PATH'], DISK: disk, ...layer.environment() },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    let said = '';
    const ticked = new Promise<void>((resolve) => {
      child.stdout?.on('data', (text: Buffer) => {
        said += text.toString();
        if (said.length >= 5) resolve();
      });
    });
    const ended = new Promise((resolve) => child.on('close', resolve));
    await ticked;
    expect(said).toMatch(/^\.+$/);
    rule.remove();
    await ended;
    expect(said).toMatch(/^\.+done$/);
  });

  it('is killed before or after the call that a rule names', () => {
    for (const [action, length] of [
      ['killBefore', 0],
      ['killAfter', 100],
    ] as const) {
      layer.clear();
      layer.add({ ops: ['write'], path: 'a', action });
      expect(() => node(WRITE_AND_SYNC)).toThrow(expect.objectContaining({ signal: 'SIGKILL' }));
      expect(readFileSync(join(disk, 'a'))).toHaveLength(length);
    }
  });

  it('reads a wall clock that was stepped a year, by every way to it; the monotonic clock goes on', () => {
    const year = 365 * 86_400_000;
    for (const step of [year, -year]) {
      layer.stepWallClock(step);
      const before = process.hrtime.bigint();
      const seen = node(
        `say([Date.now(), new Date().getTime(), performance.timeOrigin, String(process.hrtime.bigint())])`,
      ) as [number, number, number, string];
      for (const wall of seen.slice(0, 3) as number[]) {
        expect(Math.abs(wall - Date.now() - step)).toBeLessThan(60_000);
      }
      expect(BigInt(seen[3])).toBeGreaterThan(before);
      expect(BigInt(seen[3])).toBeLessThan(process.hrtime.bigint());
    }
    expect(layer.wallReadings()).toBeGreaterThan(4);
  });
});

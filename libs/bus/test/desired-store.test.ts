import { execFileSync, spawnSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Epoch } from '@kedge/units';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { openDesiredStore } from '../src/index.js';

const script = join(import.meta.dirname, 'save.mjs');
interface Numbered {
  readonly key: string;
  readonly value: number;
}
const kind = {
  schema: 'kedge.numbers/1',
  keyOf: ({ key }: Numbered) => key,
  parse: (value: unknown) => value as Numbered,
};
let built: string;
let shim: string;
let directory: string;
let path: string;
beforeAll(async () => {
  built = await mkdtemp(join(tmpdir(), 'kedge-fault-'));
  shim = join(built, 'storage-fault.so');
  execFileSync('gcc', [
    ...['-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', shim],
    ...[join(import.meta.dirname, 'storage-fault.c'), '-ldl'],
  ]);
});
afterAll(async () => {
  await rm(built, { recursive: true, force: true });
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-desired-'));
  path = join(directory, 'set.json');
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Saves sets `first` to `last` in a process of its own, with a fault at call `at`. */
function save(first: number, last: number, fault: { at: number; how: string } = { at: 0, how: '0' }) {
  const log = join(built, 'calls.log');
  const { stdout, signal } = spawnSync(process.execPath, [script, path, String(first), String(last)], {
    encoding: 'utf8',
    env: {
      ...process.env,
      LD_PRELOAD: shim,
      FAULT_PREFIX: path,
      FAULT_AT: String(fault.at),
      FAULT_HOW: fault.how,
      FAULT_LOG: log,
    },
  });
  return { lines: stdout.split('\n').slice(0, -1), killed: signal === 'SIGKILL', log };
}

/** The same in this process, without a fault. */
async function saveHere(number: number): Promise<void> {
  const store = await openDesiredStore({ path, kind });
  const items = Array.from({ length: 40 }, (_, index) => ({ key: `n${index}`, value: number }));
  await store.save({ epochTaken: BigInt(number) as Epoch, items });
}

/** The number of the set that stands in the file; 0 = none. */
async function standing(): Promise<number> {
  const store = await openDesiredStore({ path, kind });
  expect(store.damage).toBeUndefined();
  const { epochTaken, items } = store.current;
  if (!store.absent) expect(items).toHaveLength(40);
  for (const { value } of items) expect(BigInt(value)).toBe(epochTaken);
  return Number(epochTaken);
}

describe('a desired set after a crash', () => {
  it('PO-18 is whole on the disk before it gets its name, and its name is there before it counts', async () => {
    const { lines, log } = save(1, 1);
    expect(lines).toEqual(['durable 1']);
    expect((await readFile(log, 'utf8')).trimEnd().split('\n')).toEqual([
      'create set.json.new',
      'write set.json.new',
      'fdatasync set.json.new',
      'rename set.json.new',
      'fsync directory',
    ]);
    await rm(log);
  });

  it.each(['kill', 'half'])(
    'PO-18 is the old one or the new one wherever the process dies: %s',
    async (how) => {
      await saveHere(1);
      const before = join(built, 'before');
      await copyFile(path, before);
      let visited = 0;
      for (let at = 1; ; at++) {
        await copyFile(before, path);
        const { lines, killed } = save(2, 3, { at, how });
        if (!killed) {
          expect(lines).toEqual(['durable 2', 'durable 3']);
          break;
        }
        const found = await standing();
        const durable = Number(/durable (\d)/.exec(lines.at(-1) ?? '')?.[1] ?? 1);
        // What was called durable is there; of what was under way all or nothing.
        expect([durable, durable + 1]).toContain(found);
        // Nothing that lies about keeps the next one from being saved.
        expect(save(7, 7).lines).toEqual(['durable 7']);
        expect(await standing()).toBe(7);
        visited += 1;
      }
      // Two sets, five calls each.
      expect(visited).toBe(10);
    },
  );

  it.each([
    ['EIO', '5'],
    ['ENOSPC', '28'],
  ])(
    'PO-18 a storage that fails is said, the file keeps a whole set, and the next save is tried anew: %s',
    async (name, how) => {
      await saveHere(1);
      for (let at = 1; at <= 5; at++) {
        await saveHere(1);
        const { lines } = save(2, 2, { at, how });
        expect(lines).toEqual([`refused 2 BUS_DESIRED_FAILED ${name}`]);
        // What was refused is not there after a restart either, though its name may have been changed already.
        expect(await standing()).toBe(1);
        const again = save(4, 6, { at, how });
        expect(again.lines.slice(1)).toEqual(['durable 5', 'durable 6']);
        expect(await standing()).toBe(6);
      }
    },
  );
});

describe('a desired set that is damaged', () => {
  it('PO-18 at any byte is empty, says so by what is wrong, and is kept aside when a whole one takes its place', async () => {
    await saveHere(1);
    const whole = await readFile(path);
    let visited = 0;
    for (let at = 0; at < whole.length; at += 7) {
      const broken = Buffer.from(whole);
      broken[at] = (broken[at] ?? 0) ^ 0x80;
      await writeFile(path, broken);
      const store = await openDesiredStore({ path, kind });
      expect(store.damage).toMatchObject({ code: 'RECONCILE_DESIRED_DAMAGED', field: 'text' });
      expect(store.current).toEqual({ epochTaken: 0n, items: [] });
      await writeFile(path, whole.subarray(0, at));
      const short = await openDesiredStore({ path, kind });
      expect(short.damage).toMatchObject({ code: 'RECONCILE_DESIRED_DAMAGED', field: 'end' });
      expect(short.current.items).toEqual([]);
      visited += 1;
    }
    expect(visited).toBe(Math.ceil(whole.length / 7));
    const left = whole.subarray(0, 7 * (visited - 1));
    for (const number of [2, 3]) {
      await writeFile(path, left);
      const short = await openDesiredStore({ path, kind });
      await short.save({ epochTaken: BigInt(number) as Epoch, items: [] });
      expect(short.damage).toBeUndefined();
      expect(await readFile(`${path}.damaged`)).toEqual(left);
    }
    expect((await openDesiredStore({ path, kind })).current).toEqual({ epochTaken: 3n, items: [] });
  });

  it('PO-18 stays damaged when the process dies while it is replaced: it never becomes a set that was never there', async () => {
    let visited = 0;
    for (let at = 1; ; at++) {
      await writeFile(path, 'damaged');
      if (!save(2, 2, { at, how: 'kill' }).killed) break;
      const store = await openDesiredStore({ path, kind });
      expect(store.absent).toBe(false);
      if (store.damage === undefined) expect(store.current.epochTaken).toBe(2n);
      else expect(store.current.items).toEqual([]);
      visited += 1;
    }
    expect(visited).toBeGreaterThanOrEqual(5);
  });
});

describe('saves', () => {
  it('PO-22 take the set into memory at once, and those that come meanwhile are one write', async () => {
    const store = await openDesiredStore({ path, kind });
    expect(store.absent).toBe(true);
    const saves = [1, 2, 3, 4].map((number) =>
      store.save({ epochTaken: BigInt(number) as Epoch, items: [{ key: 'a', value: number }] }),
    );
    expect(store.current.epochTaken).toBe(4n);
    await Promise.all(saves);
    expect(await readFile(path, 'utf8')).toMatch(/^\{"epochTaken":"4","items":\[\{"key":"a","value":4\}\]/);
  });

  it('PO-18 that fail are in force nowhere: memory has the durable set again, and what was made from them fails too', async () => {
    const store = await openDesiredStore({ path, kind });
    const setOf = (number: number) => ({
      epochTaken: BigInt(number) as Epoch,
      items: [{ key: `n${number}`, value: number }],
    });
    await store.save(setOf(1));
    // The place of the next write is taken: whatever is saved now cannot be written.
    await mkdir(`${path}.new`);
    const first = store.save(setOf(2));
    // Saves of one turn would be one write: the first one is under way when the second comes.
    for (let turn = 0; turn < 3; turn++) await Promise.resolve();
    const ended = Promise.allSettled([first, store.save(setOf(3))]);
    expect([store.current, store.durable]).toEqual([setOf(3), setOf(1)]);
    const refused = { status: 'rejected', reason: expect.objectContaining({ code: 'BUS_DESIRED_FAILED' }) };
    expect(await ended).toEqual([refused, refused]);
    expect([store.current, store.durable]).toEqual([setOf(1), setOf(1)]);
    await rmdir(`${path}.new`);
    await store.save(setOf(4));
    expect([store.current, store.durable]).toEqual([setOf(4), setOf(4)]);
    expect((await openDesiredStore({ path, kind })).current).toEqual(setOf(4));
  });

  it('refuses a set that has no form and keeps the one that stands', async () => {
    const store = await openDesiredStore({ path, kind });
    await store.save({ epochTaken: 1n as Epoch, items: [{ key: 'a', value: 1 }] });
    const twice = [1, 2].map((value) => ({ key: 'a', value }));
    await expect(store.save({ epochTaken: 2n as Epoch, items: twice })).rejects.toMatchObject({
      code: 'RECONCILE_DESIRED_INVALID',
    });
    expect(store.current.epochTaken).toBe(1n);
  });

  it('says what it cannot use', async () => {
    await expect(openDesiredStore({ path: 'set.json', kind })).rejects.toMatchObject({
      code: 'BUS_DESIRED_FAILED',
    });
    await expect(openDesiredStore({ path: directory, kind })).rejects.toMatchObject({
      code: 'BUS_DESIRED_FAILED',
    });
  });
});

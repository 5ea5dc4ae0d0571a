import { describe, expect, it } from 'vitest';

import { CUTS, Disk, seeded, type StorageCall } from './index.js';

const base: StorageCall = {
  op: 'write',
  beginNs: 0n,
  endNs: 0n,
  inode: 1n,
  offset: 0,
  flags: 0,
  pid: 1,
  error: 0,
  path: '/disk/a',
  path2: '',
  data: Buffer.alloc(0),
  snapshot: Buffer.alloc(0),
};
const make = (path = '/disk/a', inode = 1n): StorageCall => ({ ...base, op: 'open', offset: 1, path, inode });
const put = (text: string, offset = 0, inode = 1n): StorageCall => ({
  ...base,
  data: Buffer.from(text),
  offset,
  inode,
});
const sync = (path = '/disk/a', inode = 1n): StorageCall => ({ ...base, op: 'sync', path, inode });
const move = (path: string, path2: string, inode: bigint): StorageCall => ({
  ...base,
  op: 'rename',
  path,
  path2,
  inode,
});

/** The state after the calls, by cut, as text. */
function after(calls: readonly StorageCall[]): Record<string, Record<string, string>> {
  const disk = new Disk('/disk');
  for (const call of calls) disk.apply(call);
  return Object.fromEntries(
    CUTS.filter((cut) => cut !== 'torn').map((cut) => [
      cut,
      Object.fromEntries([...disk.state(cut)].map(([path, bytes]) => [path, bytes.toString()])),
    ]),
  );
}

describe('the model of a disk whose power is cut', () => {
  it('keeps data that its file was flushed for, and names that their directory was flushed for', () => {
    expect(after([make(), put('one'), sync()])).toEqual({
      kept: { a: 'one' },
      lost: {},
      names: { a: 'one' },
      data: {},
    });
    expect(after([make(), put('one'), sync(), sync('/disk', 9n), put('two')])).toEqual({
      kept: { a: 'two' },
      lost: { a: 'one' },
      names: { a: 'one' },
      data: { a: 'two' },
    });
  });

  it('may lose a rename, or make it without the data that was never flushed', () => {
    const old = [make(), put('old'), sync(), sync('/disk', 9n), make('/disk/b', 2n), put('new', 0, 2n)];
    expect(after([...old, move('/disk/b', '/disk/a', 2n)])).toMatchObject({
      kept: { a: 'new' },
      lost: { a: 'old' },
      names: { a: '' },
    });
    expect(after([...old, sync('/disk/b', 2n), move('/disk/b', '/disk/a', 2n), sync('/disk', 9n)])).toEqual(
      Object.fromEntries(['kept', 'lost', 'names', 'data'].map((cut) => [cut, { a: 'new' }])),
    );
  });

  it('loses a file whose directory was never made durable in its own', () => {
    const calls = [
      { ...base, op: 'mkdir', path: '/disk/d', inode: 5n } as const,
      make('/disk/d/a'),
      put('x'),
      sync('/disk/d/a'),
    ];
    expect(after([...calls, sync('/disk/d', 5n)])['lost']).toEqual({});
    expect(after([...calls, sync('/disk/d', 5n), sync('/disk', 9n)])['lost']).toEqual({ 'd/a': 'x' });
  });

  it('tears what was not flushed by sectors, the same way for the same seed, and leaves alone what was', () => {
    const disk = new Disk('/disk');
    const calls = [make(), put('-'.repeat(2_048)), sync(), sync('/disk', 9n), put('+'.repeat(1_000), 300)];
    for (const call of calls) disk.apply(call);
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed += 1) {
      const text = disk.state('torn', seeded(seed)).get('a')?.toString() ?? '';
      expect(disk.state('torn', seeded(seed)).get('a')?.toString()).toBe(text);
      expect(text).toMatch(/^-{300}(-{212}|\+{212})(-{512}|\+{512})(-{276}|\+{276})-{748}$/);
      seen.add(text);
    }
    expect(seen.size).toBe(8);
  });
});

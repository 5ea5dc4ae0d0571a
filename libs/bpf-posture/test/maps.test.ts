import { createBpfArray, openBpfArray } from '@kedge/shared-memory-ipc';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  IN_FORCE_SHAPE,
  inForceOf,
  inForceValueOf,
  LEVEL_SHAPE,
  levelRequestOf,
  levelValueOf,
  openInForceToPublish,
  openInForceToRead,
  preparePostureMaps,
} from '../src/index.js';

let holder: ChildProcess;
let place = '';
let directory = '';

/** A mount namespace with a BPF file system of its own; its files are reached through its holder's root. */
beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), 'kedge-bpf-maps-'));
  const script = 'mount -t bpf -o mode=0755 bpf "$1" && echo ready && exec sleep 600';
  holder = spawn('unshare', ['-m', 'sh', '-c', script, 'holder', place], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    holder.stdout?.once('data', () => resolve());
    holder.once('exit', () => reject(new Error('no BPF file system could be mounted')));
  });
  directory = `/proc/${holder.pid}/root${place}`;
});
afterAll(() => {
  holder.kill('SIGKILL');
  rmSync(place, { recursive: true, force: true });
});

const make = (name: string, shape = LEVEL_SHAPE): string => {
  const path = join(directory, name);
  createBpfArray({ path, name, shape, uid: 0, gid: 0, mode: 0o644 }).close();
  return path;
};

describe('a pinned map', () => {
  it('PO-5 that is not what is documented is refused by field before a byte of it is read', () => {
    const open =
      (path: string, owner = 0) =>
      () =>
        openBpfArray({ path, shape: LEVEL_SHAPE, owner, access: 'map' });
    const own = make('own');
    const writable = make('open');
    chmodSync(writable, 0o622);
    const other = make('other');
    chownSync(other, 64_701, 0);
    const file = join(place, 'file');
    writeFileSync(file, Buffer.alloc(8));
    const wrong: [string, () => unknown][] = [
      ['BPFMAP_MISSING', open(join(directory, 'nobody'))],
      ['BPFMAP_NOT_A_MAP', open(file)],
      ['BPFMAP_NOT_A_MAP', open(directory)],
      ['BPFMAP_OWNER', open(own, 64_701)],
      ['BPFMAP_OWNER', open(other)],
      ['BPFMAP_MODE', open(writable)],
      ['BPFMAP_VALUE_SIZE', open(make('value', { valueSize: 16, entries: 1 }))],
      ['BPFMAP_ENTRIES', open(make('entries', { valueSize: 8, entries: 2 }))],
      ['BPFMAP_FLAGS', open(make('flags', { ...LEVEL_SHAPE, programsOnlyRead: true }))],
      ['SEGMENT_ARGUMENT', open('relative')],
    ];
    for (const [code, act] of wrong) expect(act).toThrow(expect.objectContaining({ code }));
    expect(wrong).toHaveLength(10);
    open(own)().close();
  });

  it('PO-3 is made once, belongs to the coordinator, and is left alone while it is as it should be', () => {
    const prepare = () => preparePostureMaps({ directory, uid: 64_701, gid: 64_700 });
    expect(prepare()).toEqual(['posture_level', 'posture_in_force']);
    expect(prepare()).toEqual([]);
    const path = join(directory, 'posture_level');
    expect(statSync(path)).toMatchObject({ uid: 64_701, gid: 64_700 });
    expect(statSync(path).mode & 0o777).toBe(0o644);
    chownSync(path, 0, 0);
    expect(prepare()).toEqual(['posture_level']);
    const map = openBpfArray({ path, shape: LEVEL_SHAPE, owner: 64_701, access: 'look-up' });
    expect(levelRequestOf(map.load64(0))).toEqual({ level: 5, sequence: 0 });
    expect(() => map.update(0, levelValueOf(1))).toThrow(
      expect.objectContaining({ code: 'SEGMENT_ARGUMENT' }),
    );
    map.close();
    expect(() => map.load64(0)).toThrow(expect.objectContaining({ code: 'SEGMENT_CLOSED' }));
    expect(readdirSync(directory)).toContain('posture_in_force');
  });

  it('PO-3 publishes word, decision and time in one value that everybody may read', () => {
    const path = make('published', IN_FORCE_SHAPE);
    const map = openInForceToPublish(path, 0);
    const reader = openInForceToRead(path, 'any');
    expect(inForceOf(reader)).toBeUndefined();
    const value = {
      obeyed: { epoch: (1n << 48n) - 1n, level: 2 },
      decided: { epoch: 7n, level: 5 },
      publishedAtNs: (1n << 63n) + 1n,
    } as const;
    map.update(0, inForceValueOf(value));
    expect(inForceOf(reader)).toEqual(value);
    expect(() => map.update(1, inForceValueOf(value))).toThrow(
      expect.objectContaining({ code: 'SEGMENT_RANGE' }),
    );
    expect(() => map.update(0, Buffer.alloc(8))).toThrow(expect.objectContaining({ code: 'SEGMENT_RANGE' }));
    expect(() => reader.load64(60)).toThrow(expect.objectContaining({ code: 'SEGMENT_RANGE' }));
    map.close();
    reader.close();
  });

  it('PO-3 tells every change once and in order, also those that come while JavaScript is busy', async () => {
    const path = make('watched');
    const writer = openBpfArray({ path, shape: LEVEL_SHAPE, owner: 0, access: 'write' });
    const map = openBpfArray({ path, shape: LEVEL_SHAPE, owner: 0, access: 'map' });
    const seen: bigint[] = [];
    const watch = map.watch({
      offset: 0,
      last: 0n,
      periodUs: 100,
      onChange: (values, seenAtNs) => {
        expect(seenAtNs).toHaveLength(values.length);
        seen.push(...values);
      },
    });
    map.close();
    for (let value = 1; value <= 20; value += 1) {
      writer.update(0, levelValueOf(value));
      // Nothing is delivered meanwhile: this thread does not come back before the last.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
    const end = Date.now() + 10_000;
    while (seen.at(-1) !== 20n && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(seen.at(-1)).toBe(20n);
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => Number(a - b)));
    expect(watch.counts()).toMatchObject({ changes: seen.length, overrun: 0 });
    watch.close();
    watch.close();
    writer.update(0, levelValueOf(99));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen.at(-1)).toBe(20n);
    writer.close();
  });

  it('has in C the layout that is read and written here', () => {
    const program = join(place, 'layout');
    const header = new URL('../include/', import.meta.url).pathname;
    const source = `
      #include <stddef.h>
      #include <stdio.h>
      #include "kedge/bpf_posture.h"
      int main(void) {
        struct kedge_bpf_posture_level level = {.level = 2, .sequence = 7};
        struct kedge_bpf_in_force force = {.word = (9ull << 16) | 3, .published_at_ns = 11, .decided = (10ull << 16) | 4,
                                           .version = KEDGE_BPF_IN_FORCE_VERSION};
        fwrite(&level, sizeof level, 1, stdout);
        fwrite(&force, sizeof force, 1, stdout);
      }`;
    execFileSync(
      'gcc',
      ['-std=c11', '-Wall', '-Wextra', '-Werror', `-I${header}`, '-x', 'c', '-', '-o', program],
      {
        input: source,
      },
    );
    const force = {
      obeyed: { epoch: 9n, level: 3 },
      decided: { epoch: 10n, level: 4 },
      publishedAtNs: 11n,
    } as const;
    expect(execFileSync(program)).toEqual(Buffer.concat([levelValueOf(2, 7), inForceValueOf(force)]));
  });

  it('PO-5 has values of which only 1 to 5 are levels', () => {
    for (const level of [1, 2, 3, 4, 5]) {
      expect(levelRequestOf(levelValueOf(level, 9).readBigUInt64LE())).toEqual({ level, sequence: 9 });
    }
    for (const level of [0, 6, 7, 256, 4_294_967_295]) {
      expect(() => levelRequestOf(levelValueOf(level).readBigUInt64LE())).toThrow(
        expect.objectContaining({ code: 'POSTURE_LEVEL', field: 'level' }),
      );
    }
  });
});

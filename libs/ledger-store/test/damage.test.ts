import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { recordOf } from './material.mjs';
import { openAt, verdictOf } from './store-files.js';

let work: string;
let image: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'kedge-store-'));
  image = join(work, 'image');
});
afterEach(() => {
  rmSync(work, { recursive: true, force: true });
});

/** The files of a store as a crash would leave them: some entries in tiles, some only in write-ahead files. */
async function makeImage(): Promise<string[]> {
  const directory = join(work, 'ledger');
  const store = await openAt(directory, { limits: { tileMs: 100_000, tileBytes: 130_000 } });
  for (let group = 0; group < 6; group++) {
    await Promise.all(
      Array.from({ length: 60 }, (_, at) =>
        store.append(recordOf(group * 60 + at, group < 5 ? '2024-01-01T00:00:00.000Z' : undefined)),
      ),
    );
  }
  await store.keys.erase('spiffe://example/1');
  await store.retain(Date.parse('2026-12-01T00:00:00.000Z'));
  for (const first of [1_000, 1_010]) {
    await Promise.all(Array.from({ length: 10 }, (_, at) => store.append(recordOf(first + at))));
  }
  expect(store.status().inTiles).toBeGreaterThan(256);
  expect(store.status().inTiles).toBeLessThan(store.size);
  expect(store.status().keptFrom).toBe(256);
  cpSync(directory, image, { recursive: true });
  await store.close();
  return filesUnder(image).filter((path) => path !== 'lock');
}

function filesUnder(directory: string, prefix = ''): string[] {
  return readdirSync(join(directory, prefix), { withFileTypes: true }).flatMap((each) =>
    each.isDirectory() ? filesUnder(directory, join(prefix, each.name)) : [join(prefix, each.name)],
  );
}

/** How damage is found: by the start, by what the start cut off, or by the check of the log. */
async function found(): Promise<string> {
  let store;
  try {
    store = await openAt(image);
  } catch (error) {
    return (error as { code: string }).code;
  }
  try {
    if (store.recovery.cutBytes > 0) return 'cut';
    return verdictOf(store).faults.length > 0 ? 'fault' : 'nothing';
  } finally {
    await store.close();
  }
}

describe('a store whose files were changed', () => {
  it('LE-2, LE-5 a flipped bit in any file is found by the start or by the check of the log', async () => {
    const paths = await makeImage();
    const kinds = new Set(paths.map((path) => path.split('/')[0]));
    expect([...kinds].sort()).toEqual(['keys', 'log', 'retention', 'wal']);
    const seen = new Map<string, number>();
    let flips = 0;
    for (const path of paths) {
      const whole = readFileSync(join(image, path));
      const places = [
        0,
        1,
        17,
        whole.length - 1,
        ...Array.from({ length: 4 }, (_, at) => (at * whole.length) / 4),
      ];
      for (const place of new Set(places.map((each) => Math.floor(each)))) {
        if (place >= whole.length) continue;
        const copy = join(work, 'copy');
        cpSync(image, copy, { recursive: true });
        const flipped = Buffer.from(whole);
        flipped[place] = (flipped[place] ?? 0) ^ (1 << (flips % 7));
        writeFileSync(join(image, path), flipped);
        const how = await found();
        expect(how, `${path} at ${place}`).not.toBe('nothing');
        seen.set(how, (seen.get(how) ?? 0) + 1);
        flips += 1;
        rmSync(image, { recursive: true });
        cpSync(copy, image, { recursive: true });
        rmSync(copy, { recursive: true });
      }
    }
    expect(flips).toBeGreaterThan(40);
    expect([...seen.keys()].sort()).toEqual(['LEDGER_STORE_DAMAGED', 'cut', 'fault']);
    expect(await found()).toBe('nothing');
  }, 120_000);

  it.each([
    ['all frames', 'wal'],
    ['the keys', 'keys'],
    ['tiles', 'log/tile/0/000'],
  ])(
    'LE-5 a log from which %s are gone is no shorter one: that is an error, or a fault',
    async (_what, path) => {
      await makeImage();
      rmSync(join(image, path), { recursive: true });
      expect(['LEDGER_STORE_DAMAGED', 'fault']).toContain(await found());
    },
  );

  it('LE-5 a log without its checkpoint is read again from its frames, where they reach back to the beginning', async () => {
    await makeImage();
    rmSync(join(image, 'log/checkpoint'));
    const store = await openAt(image);
    expect(store.size).toBe(380);
    expect(verdictOf(store).faults).toEqual([]);
    await store.close();
  });

  it('LE-5 a damaged frame with whole ones behind it names file and byte, in the newest file as well', async () => {
    await makeImage();
    const names = readdirSync(join(image, 'wal'));
    expect(names).toHaveLength(2);
    for (const name of names) {
      const path = join(image, 'wal', name);
      const whole = readFileSync(path);
      const bytes = Buffer.from(whole);
      bytes[100] = (bytes[100] ?? 0) ^ 1;
      writeFileSync(path, bytes);
      await expect(openAt(image)).rejects.toMatchObject({
        code: 'LEDGER_STORE_DAMAGED',
        message: `the ledger's file ${path} is damaged at byte 16`,
      });
      writeFileSync(path, whole);
    }
  });
});

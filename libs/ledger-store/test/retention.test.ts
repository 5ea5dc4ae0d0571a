import { encodeRecord, entriesOf, signCheckpoint } from '@kedge/ledger';
import { hash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { bundlesOf, type LedgerStore, type LedgerStoreOptions, type SegmentManifest } from '../src/index.js';
import { recordOf, signer } from './material.mjs';
import { openAt, verdictOf } from './store-files.js';

const NOW = Date.parse('2026-12-01T00:00:00.000Z');
const OLD = '2025-11-30T23:59:59.000Z';
const YOUNG = '2025-12-01T00:00:01.000Z';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-store-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** A store with so many entries of these times, all in tiles, and a young one at the end. */
async function filled(
  counts: readonly (readonly [count: number, at: string])[],
  more: Partial<LedgerStoreOptions> = {},
): Promise<LedgerStore> {
  let store = await openAt(directory, more);
  let number = 0;
  for (const [count, at] of [...counts, [1, '2026-12-01T00:00:00.000Z'] as const]) {
    const records = Array.from({ length: count }, () => encodeRecord(recordOf((number += 1), at)).bytes);
    for (let from = 0; from < count; from += 5_000) {
      const part = records.slice(from, from + 5_000);
      await store.deliver('test', 'one', BigInt(number - count + from + 1), part);
    }
  }
  await store.close();
  store = await openAt(directory, more);
  return store;
}
const bundleAt = (index: number): boolean =>
  existsSync(join(directory, 'log/tile/entries', String(index).padStart(3, '0')));

describe('retention', () => {
  it('LE-6 takes whole bundles that are a year old, and every proof stands', async () => {
    const store = await filled([
      [600, OLD],
      [400, YOUNG],
    ]);
    const kept = [...store.entriesFrom(512)];
    const outcome = await store.retain(NOW);
    expect(outcome).toEqual({ prunedBundles: 2, archivedSegments: 0, keptFrom: 512 });
    expect([0, 1, 2, 3].map(bundleAt)).toEqual([false, false, true, true].slice(0, 3).concat(bundleAt(3)));
    expect(verdictOf(store)).toMatchObject({ faults: [], pruned: 512, entries: 1_001 - 512 });
    expect([...store.entriesFrom(0)]).toEqual(kept);
    expect(await store.retain(NOW)).toMatchObject({ prunedBundles: 0, keptFrom: 512 });
    await store.close();
    const again = await openAt(directory);
    expect(again.status().keptFrom).toBe(512);
    expect(verdictOf(again).faults).toEqual([]);
    await again.close();
  });

  it('LE-6 access in an emergency is kept seven years, with its bundle, and what is behind it goes', async () => {
    const isBreakGlass: NonNullable<LedgerStoreOptions['retention']>['isBreakGlass'] = ({ id }) =>
      id === 'session/box-7/300';
    const store = await filled([[900, OLD]], { retention: { isBreakGlass } });
    expect(await store.retain(NOW)).toMatchObject({ prunedBundles: 2, keptFrom: 768 });
    expect([0, 1, 2].map(bundleAt)).toEqual([false, true, false]);
    expect(verdictOf(store)).toMatchObject({ faults: [], pruned: 512 });
    const day = 86_400_000;
    await store.append(recordOf(9_000, '2032-11-28T00:00:00.000Z'));
    expect(await store.retain(NOW + (2_555 - 365) * day - 2 * day)).toMatchObject({ prunedBundles: 0 });
    await store.append(recordOf(9_001, '2032-12-01T00:00:00.000Z'));
    expect(await store.retain(NOW + (2_555 - 365) * day)).toMatchObject({ prunedBundles: 1 });
    expect(verdictOf(store)).toMatchObject({ faults: [], pruned: 768 });
    await store.close();
  });

  it('LE-6 a clock that jumped removes nothing: the newest record says how late it is', async () => {
    const store = await filled([[600, YOUNG]]);
    expect(await store.retain(NOW + 10 * 365 * 86_400_000)).toMatchObject({ prunedBundles: 0, keptFrom: 0 });
    expect(await store.retain(0)).toMatchObject({ prunedBundles: 0, keptFrom: 0 });
    await store.close();
  });

  it('LE-6 beyond its size the oldest segment goes into the archive, whole, under a manifest', async () => {
    const size = 65_536 + 300;
    const store = await filled([[size, YOUNG]], { limits: { bundleBytes: 20_000_000 } });
    const entries = [...store.entriesFrom(0)].slice(0, 65_536);
    const outcome = await store.retain(NOW);
    expect(outcome).toEqual({ prunedBundles: 256, archivedSegments: 1, keptFrom: 65_536 });
    const archive = join(directory, 'archive');
    expect(readdirSync(archive).sort()).toEqual([
      'segment-000000000000.bundles',
      'segment-000000000000.json',
    ]);
    const bytes = readFileSync(join(archive, 'segment-000000000000.bundles'));
    const manifest = JSON.parse(
      readFileSync(join(archive, 'segment-000000000000.json'), 'utf8'),
    ) as SegmentManifest;
    expect(manifest).toEqual({
      origin: signer.name,
      first: 0,
      entries: 65_536,
      bytes: bytes.length,
      sha256: hash('sha256', bytes),
      missing: [],
    });
    const bundles = bundlesOf(bytes) ?? [];
    const inArchive = Buffer.concat(bundles.map((each) => each ?? Buffer.alloc(0)));
    const inLog = Buffer.concat(
      entries.map(({ entry }) =>
        Buffer.concat([Buffer.from([entry.length >> 8, entry.length & 255]), entry]),
      ),
    );
    expect(inArchive.equals(inLog)).toBe(true);
    expect(verdictOf(store)).toMatchObject({ faults: [], pruned: 65_536 });
    expect(store.checkpoint()).toBe(
      signCheckpoint({ origin: signer.name, size: store.size, root: rootOf(store) }, signer),
    );
    await store.close();
  }, 120_000);
});

describe('retention that archives what has become too old', () => {
  it('LE-6 moves whole segments, keeps what fills none, and holds back nothing but access in an emergency', async () => {
    const isBreakGlass: NonNullable<LedgerStoreOptions['retention']>['isBreakGlass'] = ({ id }) =>
      id === 'session/box-7/300';
    const retention = { archiveExpired: true, isBreakGlass };
    const store = await filled([[65_536 + 600, OLD]], { retention });
    const before = [...store.entriesFrom(0)];
    expect(await store.retain(NOW)).toEqual({ prunedBundles: 255, archivedSegments: 1, keptFrom: 65_536 });
    expect([0, 1, 2, 255].map(bundleAt)).toEqual([false, true, false, false]);
    const archive = join(directory, 'archive');
    const bundles = bundlesOf(readFileSync(join(archive, 'segment-000000000000.bundles'))) ?? [];
    const archived = bundles.flatMap((bundle) => entriesOf(bundle ?? Buffer.alloc(0), 256) ?? []);
    expect(archived).toHaveLength(65_536);
    const wrong = archived.filter((entry, index) => before[index]?.entry.equals(entry) !== true);
    expect(wrong).toEqual([]);
    const kept = [...store.entriesFrom(0)].map(({ index }) => index);
    expect(kept).toEqual(before.map(({ index }) => index).filter((at) => at >> 8 === 1 || at >= 65_536));
    expect(verdictOf(store)).toMatchObject({ faults: [], pruned: 255 * 256 });
    expect(await store.retain(NOW)).toMatchObject({ prunedBundles: 0, archivedSegments: 0 });
    await store.close();
  }, 120_000);

  it('LE-6 removes nothing that could not be archived, says so, and goes on when it can', async () => {
    const retention = { archiveExpired: true };
    const store = await filled([[65_536, OLD]], { retention });
    const archive = join(directory, 'archive');
    rmSync(archive, { recursive: true });
    await expect(store.retain(NOW)).rejects.toMatchObject({
      code: 'LEDGER_RETENTION',
      cause: { code: 'ENOENT' },
    });
    expect([bundleAt(0), bundleAt(255), store.status().keptFrom]).toEqual([true, true, 0]);
    await store.append(recordOf(70_000, '2026-12-01T00:00:00.000Z'));
    mkdirSync(archive, { mode: 0o700 });
    expect(await store.retain(NOW)).toEqual({ prunedBundles: 256, archivedSegments: 1, keptFrom: 65_536 });
    expect(verdictOf(store).faults).toEqual([]);
    await store.close();
  }, 120_000);
});

describe('retention that fails', () => {
  it('LE-6 removes nothing whose removal is not written down, and does it with the next run', async () => {
    const store = await filled([[600, OLD]]);
    mkdirSync(join(directory, 'retention.new'));
    await expect(store.retain(NOW)).rejects.toMatchObject({
      code: 'LEDGER_RETENTION',
      cause: { code: 'EISDIR' },
    });
    expect([bundleAt(0), bundleAt(1), store.status().keptFrom]).toEqual([true, true, 0]);
    rmSync(join(directory, 'retention.new'), { recursive: true });
    expect(await store.retain(NOW)).toMatchObject({ prunedBundles: 2, keptFrom: 512 });
    await store.close();
  });

  it('LE-6 a bundle that cannot be read is named, and stays', async () => {
    const store = await filled([[600, OLD]]);
    const path = 'log/tile/entries/001';
    const whole = readFileSync(join(directory, path));
    writeFileSync(join(directory, path), whole.subarray(0, -1));
    await expect(store.retain(NOW)).rejects.toMatchObject({
      code: 'LEDGER_STORE_DAMAGED',
      expected: '256 entries',
      message: expect.stringContaining('tile/entries/001') as string,
    });
    expect([0, 1].map(bundleAt)).toEqual([true, true]);
    writeFileSync(join(directory, path), whole);
    expect(await store.retain(NOW)).toMatchObject({ prunedBundles: 2 });
    expect(verdictOf(store).faults).toEqual([]);
    await store.close();
  });

  it('LE-6 what was decided before a crash is removed with the next run', async () => {
    const store = await filled([[600, OLD]]);
    await store.close();
    const text = '{"held":[],"next":2,"removing":[0,1]}';
    writeFileSync(join(directory, 'retention'), `${hash('sha256', text)}\n${text}`);
    const again = await openAt(directory);
    expect([0, 1].map(bundleAt)).toEqual([true, true]);
    await again.retain(NOW);
    expect([0, 1].map(bundleAt)).toEqual([false, false]);
    expect(verdictOf(again)).toMatchObject({ faults: [], pruned: 512 });
    await again.close();
  });
});

function rootOf(store: LedgerStore): Buffer {
  return Buffer.from(store.checkpoint().split('\n')[2] ?? '', 'base64');
}

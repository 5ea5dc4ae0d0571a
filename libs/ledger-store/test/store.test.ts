import { encodeRecord, openEntry, openCheckpoint } from '@kedge/ledger';
import type { KedgeError } from '@kedge/units';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { DurableRecord, LedgerStore } from '../src/index.js';
import { recordOf, signer } from './material.mjs';
import { idsIn, openAt, verdictOf } from './store-files.js';

let directory: string;
let store: LedgerStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-store-'));
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});
const bytesOf = (number: number): Buffer => encodeRecord(recordOf(number)).bytes;
const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, at) => from + at);

describe('a store', () => {
  it('LE-2 each acknowledged record is under a signed checkpoint, in order, and opens', async () => {
    store = await openAt(directory);
    const receipts = await Promise.all(range(1, 500).map((number) => store.append(recordOf(number))));
    expect(receipts.map(({ sequence }) => sequence)).toEqual(range(1, 500).map(BigInt));
    expect(openCheckpoint(store.checkpoint(), signer).size).toBe(500);
    expect(verdictOf(store)).toMatchObject({ faults: [], entries: 500 });
    for (const { index, entry } of store.entriesFrom(250)) {
      expect(openEntry(entry, (id) => store.keys.by(id)).record).toEqual(recordOf(index + 1));
    }
    expect(store.status().flushes).toBeLessThan(20);
  });

  it('LE-5 where every record is flushed each has its own checkpoint', async () => {
    store = await openAt(directory, { flush: 'every' });
    const sizes: number[] = [];
    store.onDurable((records) => {
      sizes.push(openCheckpoint(store.checkpoint(), signer).size);
      expect(records).toHaveLength(1);
    });
    await Promise.all(range(1, 40).map((number) => store.append(recordOf(number))));
    await store.deliver('test', 'one', 1n, range(41, 10).map(bytesOf));
    expect(sizes).toEqual(range(1, 50));
    expect(store.status().flushes).toBe(50);
    expect(verdictOf(store).faults).toEqual([]);
  });

  it('the same record is a duplicate, also after a start; another under its id is refused', async () => {
    store = await openAt(directory);
    const [first, again] = await Promise.all([store.append(recordOf(1)), store.append(recordOf(1))]);
    expect(first).toEqual({ id: 'session/box-7/1', sequence: 1n, duplicate: false });
    expect(again).toEqual({ ...first, duplicate: true });
    await expect(store.append({ ...recordOf(1), epoch: '8' })).rejects.toMatchObject({
      code: 'LEDGER_ID_REUSED',
    });
    await store.close();
    store = await openAt(directory);
    expect(await store.append(recordOf(1))).toEqual(again);
    expect(store.size).toBe(1);
  });

  it('LE-5 a spool is taken from where its cursor is; a gap is refused, and repeats are one', async () => {
    store = await openAt(directory);
    expect(await store.deliver('bridge', 'one', 1n, range(1, 10).map(bytesOf))).toBe(10n);
    expect(await store.deliver('bridge', 'one', 6n, range(6, 10).map(bytesOf))).toBe(15n);
    expect(await store.deliver('bridge', 'one', 3n, range(3, 2).map(bytesOf))).toBe(15n);
    await expect(store.deliver('bridge', 'one', 17n, [bytesOf(17)])).rejects.toMatchObject({
      code: 'LEDGER_GAP',
      expected: 'at most 16',
    });
    // Under another name the same records are duplicates, and the cursor goes on all the same.
    expect(await store.deliver('bridge', 'two', 101n, range(1, 15).map(bytesOf))).toBe(115n);
    expect(store.size).toBe(15);
    await store.close();
    store = await openAt(directory);
    expect(store.cursor('bridge', 'one')).toBe(15n);
    expect(store.cursor('bridge', 'two')).toBe(115n);
    expect([...idsIn(store).values()]).toEqual(range(1, 15).map((number) => `session/box-7/${number}`));
  });

  it('LE-5 what is no record is kept out and told; what is behind it is taken', async () => {
    const troubles: KedgeError[] = [];
    store = await openAt(directory, { onTrouble: (error) => troubles.push(error) });
    const wrong = Buffer.from('{"schema":"kedge.nothing/1"}');
    const other = encodeRecord({ ...recordOf(1), epoch: '9' }).bytes;
    const spaced = Buffer.from(JSON.stringify(recordOf(5), null, 1));
    const cursor = await store.deliver('bridge', 'one', 1n, [
      bytesOf(1),
      wrong,
      other,
      spaced,
      bytesOf(2),
      wrong,
    ]);
    expect(cursor).toBe(6n);
    expect([...idsIn(store).values()]).toEqual(['session/box-7/1', 'session/box-7/2']);
    expect(troubles.map(({ code, message }) => `${code} ${/number \d/.exec(message)?.[0] ?? ''}`)).toEqual(
      [2, 3, 4, 6].map((number) => `LEDGER_KEPT_OUT number ${number}`),
    );
    expect(store.status().keptOut).toBe(4);
  });

  it('LE-6 what waits is bounded, and what is more is refused until there is room', async () => {
    store = await openAt(directory, { limits: { waitingBytes: 128 * 1024 } });
    const results = await Promise.allSettled(range(1, 400).map((number) => store.append(recordOf(number))));
    const refused = results.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(100);
    expect((refused[0] as PromiseRejectedResult).reason).toMatchObject({ code: 'LEDGER_BUSY' });
    expect(store.size).toBe(400 - refused.length);
    await store.append(recordOf(400));
  });

  it('LE-6 write-ahead files go when their entries are in tiles', async () => {
    store = await openAt(directory, { limits: { tileBytes: 200_000 } });
    for (const part of range(0, 8)) {
      await store.deliver('test', 'one', BigInt(part * 500 + 1), range(part * 500 + 1, 500).map(bytesOf));
    }
    await store.close();
    const bytes = readdirSync(join(directory, 'wal')).reduce(
      (sum, name) => sum + statSync(join(directory, 'wal', name)).size,
      0,
    );
    expect(bytes).toBeLessThan(800_000);
    store = await openAt(directory);
    expect(store.recovery).toEqual({ size: 4_000, replayed: 0, cutBytes: 0 });
    expect(verdictOf(store)).toMatchObject({ faults: [], entries: 4_000 });
  });

  it('tells who listens each group, in order and when it is durable', async () => {
    store = await openAt(directory);
    const told: DurableRecord[] = [];
    const end = store.onDurable((records) => told.push(...records));
    await Promise.all(range(1, 30).map((number) => store.append(recordOf(number))));
    end();
    await store.append(recordOf(31));
    expect(told.map(({ index }) => index)).toEqual(range(0, 30));
    expect(told.map(({ record }) => record)).toEqual(range(1, 30).map((number) => recordOf(number)));
  });

  it('LE-5 erasing a subject destroys its key in every file, and changes no hash', async () => {
    store = await openAt(directory);
    await Promise.all(range(1, 60).map((number) => store.append(recordOf(number))));
    const subject = 'spiffe://example/4';
    const id = store.keys.of(subject)?.id ?? '';
    expect(keyFiles().toString('latin1')).not.toContain(subject);
    const before = keyFiles().length;
    const checkpoint = store.checkpoint();
    expect(await store.keys.erase(subject)).toBe(id);
    expect(await store.keys.erase(subject)).toBeUndefined();
    expect(before - keyFiles().length).toBe(68);
    expect(store.checkpoint()).toBe(checkpoint);
    expect(verdictOf(store).faults).toEqual([]);
    await store.close();
    store = await openAt(directory);
    expect(store.keys.by(id)).toBeUndefined();
    const erased = [...store.entriesFrom(0)].filter(
      ({ entry }) => openEntry(entry, (key) => store.keys.by(key)).erased.length > 0,
    );
    expect(erased.map(({ index }) => index + 1)).toEqual(
      range(1, 60).filter((number) => number % 7 === 4 && number % 3 !== 0),
    );
  });

  it('refuses a directory that others may enter', async () => {
    store = await openAt(directory);
    await store.close();
    chmodSync(directory, 0o755);
    await expect(openAt(directory)).rejects.toMatchObject({
      code: 'LEDGER_STORE_OPTIONS',
      field: 'directory',
    });
    await expect(store.append(recordOf(1))).rejects.toMatchObject({ code: 'LEDGER_STORE_CLOSED' });
  });
});

/** What all files of keys hold. */
function keyFiles(): Buffer {
  const keys = join(directory, 'keys');
  return Buffer.concat(readdirSync(keys).map((name) => readFileSync(join(keys, name))));
}

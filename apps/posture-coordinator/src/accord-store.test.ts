import { cpSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { AccordStore, type OfferedSet, readOffered } from './accord-store.js';

const DEFAULTS = fileURLToPath(new URL('../../../yang/defaults', import.meta.url));

let directory: string;
let store: AccordStore;
let first: OfferedSet;
let other: OfferedSet;

/** The defaults, without ARP at level 5 where they are to be others. */
async function offered(name: string, others: boolean): Promise<OfferedSet> {
  const at = join(directory, name);
  cpSync(DEFAULTS, at, { recursive: true });
  const accords = join(at, 'accords.json');
  const text = readFileSync(accords, 'utf8');
  const document = JSON.parse(text) as { 'kedge-accords:accords': { level: { arp?: boolean }[] } };
  if (others) for (const level of document['kedge-accords:accords'].level) delete level.arp;
  writeFileSync(accords, JSON.stringify(document));
  return await readOffered({ accords, zones: join(at, 'zones.json') });
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-accord-store-'));
  first = await offered('first', false);
  other = await offered('other', true);
  store = await AccordStore.open(join(directory, 'kept'), {
    accords: join(directory, 'first/accords.json'),
    zones: join(directory, 'first/zones.json'),
  });
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const kept = (): string[] => readdirSync(join(directory, 'kept')).filter((name) => name.length === 64);
const pointers = (): string[] =>
  ['tables', 'paths'].map((name) => readlinkSync(join(directory, 'kept', name)));

describe('accords that are kept', () => {
  it('PO-2 a set that is on its way is not let go, however soon after the flush that would it is kept', async () => {
    await store.keep(other);
    store.point('tables', other);
    store.point('paths', other);
    const flushed = store.flush();
    // A to B to A: the copy of A is still there when it is asked for.
    const release = store.hold(first);
    await Promise.all([flushed, store.keep(first)]);
    await store.flush();
    expect(kept().sort()).toEqual([first.hash, other.hash].sort());
    release();
    let waits = true;
    await store.flush(() => (waits ? [first] : []));
    expect(kept()).toHaveLength(2);
    waits = false;
    await store.flush(() => (waits ? [first] : []));
    expect(kept()).toEqual([other.hash]);
  });

  it('PO-2 what is prepared is pointed to and does not count; adopted it does, withdrawn it is gone', async () => {
    await store.keep(other);
    store.prepare('tables', other);
    expect(pointers()).toEqual([other.hash, first.hash]);
    expect(store.inForce.hash).toBe(first.hash);
    await store.flush();
    expect(kept()).toContain(other.hash);
    store.withdraw();
    expect([...pointers(), store.prepared]).toEqual([first.hash, first.hash, undefined]);
    store.prepare('tables', other);
    store.prepare('paths', other);
    store.adopt();
    expect([store.inForce.hash, store.onPaths.hash, ...pointers()]).toEqual(Array(4).fill(other.hash));
  });

  it('PO-2 what comes into force meanwhile shows when what is prepared is withdrawn', async () => {
    await store.keep(other);
    store.prepare('tables', other);
    store.point('tables', first);
    expect([pointers()[0], store.inForce.hash]).toEqual([other.hash, first.hash]);
    store.withdraw();
    expect(pointers()).toEqual([first.hash, first.hash]);
  });
});

/**
 * The index against a plain filter over the same records, and what is left of it when things go wrong.
 */
import { type LedgerRecord, RECORD_SCHEMAS } from '@kedge/contracts';
import { canonicalJson, leafHash } from '@kedge/ledger';
import { openDatabase } from '@kedge/sqlite';
import fc from 'fast-check';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { closeSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  type Filter,
  type LedgerIndex,
  LIMIT_MAX,
  openLedgerIndex,
  type Page,
  type Row,
} from '../src/index.js';
import { BEGIN_MS, entryAt, keyOf, recordAt } from './entries.mjs';

/** Two full blocks and a part of a third. */
const COUNT = 40_000;
/** One, and a part of another. */
const SOME = 18_000;

let scratch: string;
let entries: Buffer[];
let naive: Row[];
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'kedge-index-'));
  entries = Array.from({ length: COUNT }, (_, number) => entryAt(number));
  naive = entries.map((_, number) => rowOf(number, recordAt(number)));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const code = (name: string, more: object = {}): unknown => expect.objectContaining({ code: name, ...more });
const keyId = (name: string): string | null => (name === '' ? null : keyOf(name).id);

/** What the index should say of a record, written down kind by kind. */
function rowOf(index: number, record: LedgerRecord): Row {
  const row = {
    index,
    atMs: Date.parse(record.at),
    kind: record.schema,
    level: null,
    epoch: record.epoch,
    principal: null,
    device: null,
    session: null,
    outcome: null,
  };
  switch (record.schema) {
    case 'kedge.posture-transition/1':
      return { ...row, level: record.to, principal: keyId(record.source.principal), outcome: record.outcome };
    case 'kedge.budget-violation/1':
      return { ...row, level: record.level, device: record.subject, outcome: record.kind };
    case 'kedge.authorisation-decision/1': {
      const outcome = record.allow ? 'allow' : 'deny';
      return { ...row, level: record.level, principal: keyId(record.principal), outcome };
    }
    case 'kedge.dataplane-event/1':
      return { ...row, level: record.newLevel, device: record.dataplane, outcome: record.kind };
    case 'kedge.session-transit/1': {
      const { posture_level_at_transit: level, session, kind: outcome } = record;
      return { ...row, level, session, principal: keyId(record.peer), outcome };
    }
    case 'kedge.network-mutation/1': {
      const device = record.target.replace('device/', '');
      const principal = keyId(record.principal);
      return { ...row, level: record.level, device, principal, outcome: record.result };
    }
    case 'kedge.drift-event/1':
      return { ...row, level: record.level, device: record.device, outcome: record.kind };
    case 'kedge.intent-change/1':
      return { ...row, level: record.level, principal: keyId(record.principal), outcome: record.kind };
    case 'kedge.posture-forensic-snapshot/1':
      return { ...row, outcome: record.complete ? 'complete' : 'incomplete' };
    case 'kedge.posture-forensic-part/1':
      return { ...row, outcome: record.section };
  }
}

function plainly(rows: readonly Row[], filter: Filter): Row[] {
  const { fromMs, toMs, kinds, levels, principals, devices, sessions, outcomes } = filter;
  const isIn = (list: readonly unknown[] | undefined, value: unknown): boolean =>
    list === undefined || list.includes(value);
  return rows.filter(
    (row) =>
      (fromMs === undefined || (row.atMs !== null && row.atMs >= fromMs)) &&
      (toMs === undefined || (row.atMs !== null && row.atMs < toMs)) &&
      isIn(kinds, row.kind) &&
      isIn(levels, row.level) &&
      isIn(principals, row.principal) &&
      isIn(devices, row.device) &&
      isIn(sessions, row.session) &&
      isIn(outcomes, row.outcome),
  );
}

async function agree(index: LedgerIndex, rows: readonly Row[], filter: Filter, page: Page): Promise<number> {
  const found = plainly(rows, filter);
  const inOrder = page.order === 'descending' ? found.toReversed() : found;
  const { after, limit = 1_000 } = page;
  const behind = inOrder.filter(
    (row) => after === undefined || (page.order === 'descending' ? row.index < after : row.index > after),
  );
  const wanted = behind.slice(0, limit);
  const next = behind.length > limit ? (wanted.at(-1)?.index ?? null) : null;
  const answer = await index.query(filter, page);
  const expected = { count: found.length, rows: wanted, next, upTo: index.upTo };
  // Of ten thousand rows only a difference is worth its presentation.
  if (!isDeepStrictEqual(answer, expected)) expect(answer).toEqual(expected);
  return found.length;
}

const some = <T>(values: readonly T[]): fc.Arbitrary<T[]> =>
  fc.array(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const moment = fc.oneof(
  fc.integer({ min: -90_000, max: COUNT + 3_000 }).map((s) => BEGIN_MS + 1_000 * s),
  fc.integer({ min: 0, max: COUNT - 1 }).map((number) => Date.parse(recordAt(number).at)),
);
const wholeFilters = fc.record({
  fromMs: moment,
  toMs: moment,
  kinds: some(RECORD_SCHEMAS),
  levels: some([1, 2, 3, 4, 5] as const),
  principals: some([...['user:ada', 'user:bob', 'user:eve'].map((name) => keyOf(name).id), 'f'.repeat(16)]),
  devices: some(['sw0', 'sw1', 'sw4', 'routes/west', 'plane-1', 'part-3', 'nobody']),
  sessions: some(['session-7', 'session-2047', 'session-2048', 'session-4999', 'none']),
  outcomes: some(['allow', 'deny', 'cut', 'admitted', 'applied', 'changed', 'late', 'incomplete', 'mesh']),
});
const FILTER_FIELDS = [
  ...(['fromMs', 'toMs', 'kinds', 'levels', 'principals', 'devices', 'sessions', 'outcomes'] as const),
];
/** Mostly of a few fields: of all of them hardly any finds something. */
const filters: fc.Arbitrary<Filter> = fc
  .tuple(
    wholeFilters,
    fc.oneof(
      { weight: 5, arbitrary: fc.subarray(FILTER_FIELDS, { maxLength: 3 }) },
      { weight: 1, arbitrary: fc.subarray(FILTER_FIELDS) },
    ),
  )
  .map(([whole, fields]): Filter => Object.fromEntries(fields.map((field) => [field, whole[field]])))
  .filter(({ fromMs, toMs }) => fromMs === undefined || toMs === undefined || fromMs <= toMs);
const pages: fc.Arbitrary<Page> = fc.record(
  {
    limit: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(LIMIT_MAX)),
    order: fc.constantFrom('ascending' as const, 'descending' as const),
    after: fc.integer({ min: 0, max: COUNT + 5 }),
  },
  { requiredKeys: [] },
);

/** Random questions; how many of them found something. */
async function sweep(index: LedgerIndex, rows: readonly Row[], numRuns: number): Promise<number> {
  let hits = 0;
  await fc.assert(
    fc.asyncProperty(filters, pages, async (filter, page) => {
      if ((await agree(index, rows, filter, page)) > 0) hits += 1;
    }),
    { numRuns, seed: 7 },
  );
  return hits;
}

/** A record with somebody in it. */
const named =
  Array.from({ length: 100 }, (_, number) => number).find(
    (number) => rowOf(number, recordAt(number)).principal !== null,
  ) ?? 0;

describe('the index of the ledger', () => {
  let path: string;
  let index: LedgerIndex;
  beforeAll(async () => {
    path = join(scratch, 'index');
    index = await openLedgerIndex({ path, origin: 'box' });
    expect(index).toMatchObject({ beginning: 'new', from: 0, upTo: 0 });
    // Some that wait for each other, then some that do not.
    for (let at = 0; at < 20_400; at += 1_700)
      expect(await index.add(at, entries.slice(at, at + 1_700))).toBe(at + 1_700);
    const rest = Array.from({ length: 14 }, (_, part) => 20_400 + 1_400 * part);
    const added = await Promise.all(rest.map((at) => index.add(at, entries.slice(at, at + 1_400))));
    expect(added).toEqual(rest.map((at) => at + 1_400));
  });
  afterAll(() => index.close());

  it('LE-7 answers every combination of time, kind, level, principal, device, session and outcome as a plain filter does', async () => {
    expect(await sweep(index, naive, 150)).toBeGreaterThan(40);
  });

  it('LE-7 finds every session transit while the site was at level 3, page by page in either order', async () => {
    const filter: Filter = { kinds: ['kedge.session-transit/1'], levels: [3] };
    for (const order of ['ascending', 'descending'] as const) {
      const rows: Row[] = [];
      let after: number | undefined;
      for (;;) {
        const answer = await index.query(filter, {
          limit: 999,
          order,
          ...(after === undefined ? {} : { after }),
        });
        expect(answer.count).toBe(plainly(naive, filter).length);
        rows.push(...answer.rows);
        if (answer.next === null) break;
        after = answer.next;
      }
      expect(rows.length).toBeGreaterThan(3_000);
      const wanted = plainly(naive, filter);
      expect(rows).toEqual(order === 'ascending' ? wanted : wanted.toReversed());
    }
  });

  it('LE-7 says the same after it was closed and opened again, and when its beginning was pruned', async () => {
    await index.close();
    index = await openLedgerIndex({
      path,
      origin: 'box',
      leafAt: (at) => leafHash(entries[at] ?? Buffer.of()),
    });
    expect(index).toMatchObject({ beginning: 'kept', from: 0, upTo: COUNT });
    expect(await sweep(index, naive, 40)).toBeGreaterThan(8);
    await index.prune(20_123);
    expect(index).toMatchObject({ from: 20_123, upTo: COUNT });
    expect(await sweep(index, naive.slice(20_123), 40)).toBeGreaterThan(8);
  });

  it('LE-9 holds ids of keys and no name of anybody, so that erasure has nothing to do here', async () => {
    const { rows } = await index.query({ principals: [keyOf('user:ada').id] }, { limit: 1 });
    expect(rows).toHaveLength(1);
    const files = readdirSync(scratch).filter((name) => name.startsWith('index'));
    expect(files).toContain('index');
    const bytes = Buffer.concat(files.map((name) => readFileSync(join(scratch, name))));
    expect(bytes.includes(keyOf('user:ada').id)).toBe(true);
    for (const name of ['user:ada', 'user:bob', 'user:eve', 'drill'])
      expect(bytes.includes(name), name).toBe(false);
  });

  it('LE-9 keeps no name that was not sealed', async () => {
    const plain = await openLedgerIndex({ path: join(scratch, 'plain'), origin: 'box' });
    await plain.add(0, [Buffer.from(canonicalJson(recordAt(named)))]);
    expect((await plain.query({})).rows).toEqual([{ ...rowOf(0, recordAt(named)), principal: null }]);
    await plain.close();
  });

  it('passes over entries that it has, and takes none behind a gap', async () => {
    expect(await index.add(COUNT - 5, entries.slice(-5))).toBe(COUNT);
    expect(await index.add(COUNT - 5, [...entries.slice(-5), entryAt(COUNT)])).toBe(COUNT + 1);
    await expect(index.add(COUNT + 3, [entryAt(COUNT + 3)])).rejects.toEqual(code('LEDGER_INDEX_GAP'));
    expect(
      (await index.query({ fromMs: Date.parse(recordAt(COUNT).at) }, { limit: 1, order: 'descending' })).rows,
    ).toEqual([rowOf(COUNT, recordAt(COUNT))]);
  });

  it('is used by one process at a time', async () => {
    await expect(openLedgerIndex({ path, origin: 'box' })).rejects.toEqual(code('LEDGER_INDEX_FAILED'));
    await expect(openLedgerIndex({ path: join(scratch, 'no/index'), origin: 'box' })).rejects.toEqual(
      code('LEDGER_INDEX_FAILED'),
    );
  });

  it.each([
    [{ kinds: [] }, {}, 'kinds'],
    [{ kinds: ['kedge.session-transit/2'] }, {}, 'kinds'],
    [{ levels: [0] }, {}, 'levels'],
    [{ levels: 3 }, {}, 'levels'],
    [{ principals: ['user:ada'] }, {}, 'principals'],
    [{ devices: [''] }, {}, 'devices'],
    [{ sessions: Array.from({ length: 65 }, String) }, {}, 'sessions'],
    [{ outcomes: [null] }, {}, 'outcomes'],
    [{ fromMs: 1.5 }, {}, 'fromMs'],
    [{ fromMs: 2, toMs: 1 }, {}, 'toMs'],
    [{ tenants: ['x'] }, {}, 'tenants'],
    [null, {}, 'filter'],
    [{}, { limit: 0 }, 'limit'],
    [{}, { limit: LIMIT_MAX + 1 }, 'limit'],
    [{}, { order: 'up' }, 'order'],
    [{}, { after: -1 }, 'after'],
    [{}, { skip: 1 }, 'skip'],
  ])('refuses the question %j %j for its field %s', async (filter, page, field) => {
    await expect(index.query(filter as Filter, page as Page)).rejects.toEqual(
      code('LEDGER_INDEX_QUESTION', { field }),
    );
  });

  it('takes no call once it is closed', async () => {
    await index.close();
    await index.close();
    await expect(index.query({})).rejects.toEqual(code('LEDGER_INDEX_CLOSED'));
    await expect(index.add(0, [entryAt(0)])).rejects.toEqual(code('LEDGER_INDEX_CLOSED'));
  });
});

describe('an index that is made anew', () => {
  const fresh = (name: string): string => join(scratch, name);
  const open = (path: string, more: object = {}): Promise<LedgerIndex> =>
    openLedgerIndex({ path, origin: 'box', ...more });
  const from = (at: number): Buffer[] => entries.slice(at);

  /** An index of everything, closed; made once and copied. */
  async function full(name: string): Promise<string> {
    const whole = fresh('whole');
    if (!existsSync(whole)) {
      const index = await open(whole);
      await index.catchUp(from);
      await index.close();
    }
    cpSync(whole, fresh(name));
    return fresh(name);
  }

  it('LE-7 is made from the log, also from one whose beginning was pruned, and says the same', async () => {
    const index = await open(fresh('pruned'));
    await index.add(0, entries.slice(0, 10));
    expect(await index.catchUp(from, 17_000)).toBe(COUNT);
    expect(index.from).toBe(17_000);
    expect(await sweep(index, naive.slice(17_000), 30)).toBeGreaterThan(5);
    await index.close();
  });

  it.each([
    ['is no database', 'damaged', (path: string) => writeFileSync(path, Buffer.alloc(100_000, 'x'))],
    [
      'was cut off',
      'damaged',
      (path: string) => writeFileSync(path, readFileSync(path).subarray(0, 1_000_000)),
    ],
    ['was overwritten in its middle', 'damaged', overwritten],
    ['is of another version', 'other-version', (path: string) => changed(path, 'PRAGMA user_version = 99')],
    ['lacks a table', 'damaged', (path: string) => changed(path, 'DROP TABLE block')],
    [
      'says more than it has',
      'damaged',
      (path: string) => changed(path, 'DELETE FROM entry WHERE number > 39990'),
    ],
    [
      'is of another log',
      'other-log',
      (path: string) => changed(path, "UPDATE about SET value = 'x' WHERE name = 'origin'"),
    ],
    ['is missing', 'new', (path: string) => rmSync(path)],
  ])('LE-7 begins with nothing when its file %s: %s', async (what, beginning, spoil) => {
    const path = await full(what);
    spoil(path);
    const index = await open(path);
    expect(index).toMatchObject({ beginning, from: 0, upTo: 0 });
    // A full block and a part of one.
    expect(await index.catchUp((at) => entries.slice(at, SOME))).toBe(SOME);
    expect(await sweep(index, naive.slice(0, SOME), 20)).toBeGreaterThan(3);
    await index.close();
  });

  it('LE-7 begins with nothing when the log was put back or replaced', async () => {
    const path = await full('replaced');
    const leafAt = (at: number): Buffer | undefined =>
      at < SOME ? leafHash(entries[at] ?? Buffer.of()) : undefined;
    const index = await open(path, { leafAt });
    expect(index).toMatchObject({ beginning: 'other-log', upTo: 0 });
    expect(await index.catchUp((at) => entries.slice(at, SOME))).toBe(SOME);
    await index.close();
    const again = await open(path, { leafAt });
    expect(again).toMatchObject({ beginning: 'kept', upTo: SOME });
    await again.close();
  });

  it('answers nothing wrong when a part of it turns out to be damaged, and is gone when it is opened again', async () => {
    const path = await full('part');
    changed(path, "UPDATE posting SET places = x'00' WHERE block = 0 AND word = 'cut'");
    const index = await open(path);
    expect(index.beginning).toBe('kept');
    await expect(index.query({ outcomes: ['cut'] })).rejects.toEqual(code('LEDGER_INDEX_DAMAGED'));
    await expect(index.query({ outcomes: ['ended'] })).rejects.toEqual(code('LEDGER_INDEX_DAMAGED'));
    await index.close();
    expect(existsSync(path)).toBe(false);
  });

  it('keeps a place for an entry that is no record, and answers about it by its number alone', async () => {
    const index = await open(fresh('odd'));
    const odd = [
      Buffer.from('{'),
      Buffer.from('[]'),
      Buffer.from('{"schema":"kedge.later/1","at":"2026-11-22T18:00:00.000Z"}'),
    ];
    await index.add(0, odd);
    const { count, rows } = await index.query({});
    expect(count).toBe(3);
    expect(rows.map(({ index: at, kind, atMs }) => [at, kind, atMs])).toEqual([
      [0, null, null],
      [1, null, null],
      [2, null, null],
    ]);
    expect((await index.query({ fromMs: 0 })).count).toBe(0);
    await index.close();
  });

  it('LE-7 claims no entry that it does not have after kill -9 at any moment, and goes on where it was', async () => {
    const path = fresh('killed');
    // Begins shortly before its first block is full.
    const begun = await open(path);
    let told = await begun.add(0, entries.slice(0, 15_000));
    await begun.close();
    // What the child gives is made here once: it does nothing but give it.
    const rest = fresh('rest');
    writeFileSync(rest, entries.slice(15_000).join('\n'));
    let round = 0;
    for (; round < 4 || (told < 20_000 && round < 60); round++) {
      const child = spawn(
        process.execPath,
        [join(import.meta.dirname, 'index-entries.mjs'), path, rest, '15000'],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, 40 + ((67 * round) % 500)));
      child.kill('SIGKILL');
      await once(child, 'close');
      told = Math.max(told, ...out.split('\n').slice(0, -1).map(Number));
      // A look at a copy, so that the next round finds what the kill left behind.
      const copy = `${path}-${round}`;
      for (const ending of ['', '-wal']) if (existsSync(path + ending)) cpSync(path + ending, copy + ending);
      const index = await open(copy);
      expect(index.beginning).toBe('kept');
      expect(index.upTo).toBeGreaterThanOrEqual(told);
      const rows = naive.slice(0, index.upTo);
      await agree(index, rows, {}, { limit: 100, order: 'descending' });
      await sweep(index, rows, 5);
      await index.close();
    }
    // At least one block was made full on the way.
    expect(told).toBeGreaterThanOrEqual(20_000);
  }, 180_000);
});

function changed(path: string, statement: string): void {
  const database = openDatabase(path, {
    flush: 'checkpoints',
    pageBytes: 16_384,
    cacheKiB: 1_000,
    checkpointPages: 256,
  });
  database.exec(statement);
  database.close();
}

/** Some of its pages: what stands in them is no tree any more. */
function overwritten(path: string): void {
  const size = statSync(path).size;
  const file = openSync(path, 'r+');
  for (let part = 1; part < 8; part++)
    writeSync(file, Buffer.alloc(16_384, 0xff), 0, 16_384, 16_384 * Math.floor((size * part) / 8 / 16_384));
  closeSync(file);
}

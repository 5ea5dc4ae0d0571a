import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { AuthorisationDecision, LedgerRecord } from '@kedge/contracts';
import { FaultLayer, parseLog } from '@kedge/faults';
import type { KedgeError } from '@kedge/units';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { encodeRecord } from './canonical.js';
import { openSpool, type Spool, type SpoolOptions } from './spool.js';

let directory: string;
let open: Spool[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-spool-'));
  open = [];
});
afterEach(async () => {
  for (const spool of open) await spool.close();
  await rm(directory, { recursive: true, force: true });
});

const record = (number: number, more: Partial<AuthorisationDecision> = {}): LedgerRecord => ({
  schema: 'kedge.authorisation-decision/1',
  id: `authorisation/box/${number}`,
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '7',
  allow: false,
  rule: 'default-deny',
  reason: 'no rule allows it',
  principal: 'user:ada',
  tier: 'apprentice',
  channel: 'local',
  action: 'posture.set',
  resource: 'posture/5',
  level: 3,
  askedAtNs: '18446744073709551615',
  ...more,
});

async function spoolOf(more: Partial<SpoolOptions> = {}): Promise<Spool> {
  const spool = await openSpool({ directory, ...more });
  open.push(spool);
  return spool;
}
async function idsOf(spool: Spool, after?: bigint): Promise<string[]> {
  const ids: string[] = [];
  for await (const each of spool.drain(after)) ids.push(each.record.id);
  return ids;
}
const logs = async () => (await readdir(directory)).filter((name) => name.endsWith('.log'));

describe('records in the spool', () => {
  it('are canonical JSON: sorted, without spaces, 64-bit numbers as strings', () => {
    expect(encodeRecord(record(1)).bytes.toString()).toBe(
      '{"action":"posture.set","allow":false,"appliance":"box","askedAtNs":"18446744073709551615",' +
        '"at":"2026-11-22T18:00:00.000Z","channel":"local","epoch":"7","id":"authorisation/box/1","level":3,' +
        '"principal":"user:ada","reason":"no rule allows it","resource":"posture/5","rule":"default-deny",' +
        '"schema":"kedge.authorisation-decision/1","tier":"apprentice"}',
    );
  });

  it('come back in order, also after closing and opening, and go on where they ended', async () => {
    const first = await spoolOf();
    const receipts = await Promise.all([1, 2, 3].map((number) => first.append(record(number))));
    expect(receipts.map(({ sequence, duplicate }) => [sequence, duplicate])).toEqual([
      [1n, false],
      [2n, false],
      [3n, false],
    ]);
    await first.close();
    const second = await spoolOf();
    expect(second.recovery).toEqual({ records: 3, cutBytes: 0 });
    expect((await second.append(record(4))).sequence).toBe(4n);
    expect(await idsOf(second)).toEqual([1, 2, 3, 4].map((number) => `authorisation/box/${number}`));
    expect(await idsOf(second, 2n)).toEqual([3, 4].map((number) => `authorisation/box/${number}`));
  });

  it('with the same id and content are one record, also while the first is under way and after a restart', async () => {
    const spool = await spoolOf();
    const [a, b] = await Promise.all([spool.append(record(1)), spool.append(record(1))]);
    expect([a, b]).toEqual([
      { id: 'authorisation/box/1', sequence: 1n, duplicate: false },
      { id: 'authorisation/box/1', sequence: 1n, duplicate: true },
    ]);
    await spool.close();
    const again = await spoolOf();
    expect(await again.append(record(1))).toMatchObject({ sequence: 1n, duplicate: true });
    await expect(again.append(record(1, { reason: 'another' }))).rejects.toMatchObject({
      code: 'LEDGER_ID_REUSED',
      field: 'id',
    });
    expect(await idsOf(again)).toEqual(['authorisation/box/1']);
  });

  it('that break their schema are refused by the field', async () => {
    const spool = await spoolOf();
    for (const [more, field] of [
      [{ level: 6 }, 'level'],
      [{ epoch: 7 }, 'epoch'],
      [{ reason: 'two\nlines' }, 'reason'],
      [{ reason: '\ud800' }, 'reason'],
      [{ schema: 'kedge.authorisation-decision/2' }, 'schema'],
    ] as const) {
      await expect(spool.append(record(1, more as never))).rejects.toMatchObject({
        code: 'LEDGER_RECORD_INVALID',
        field,
      });
    }
    expect(spool.status()).toMatchObject({ records: 0, durable: 0n });
  });
});

describe('the directory of a spool', () => {
  it('has a durable name before a record is in it, and so has every directory that was made for it', async () => {
    const disk = join(directory, 'disk');
    await mkdir(join(disk, 'state'), { recursive: true });
    const log = join(directory, 'log');
    const layer = new FaultLayer({ control: join(directory, 'control'), prefix: disk, log });
    const front = fileURLToPath(new URL('../dist/index.js', import.meta.url));
    const script = `const { openSpool } = await import(process.argv[1]);
      const spool = await openSpool({ directory: process.argv[2] });
      await spool.append(JSON.parse(process.argv[3]));
      await spool.close();`;
    const life = (whole = false): string[] => {
      const path = join(disk, 'state/ledger/records');
      const given = ['-e', script, front, path, JSON.stringify(record(1))];
      execFileSync(process.execPath, ['--input-type=module', ...given], {
        env: { PATH: process.env['PATH'], ...layer.environment() },
      });
      const calls = parseLog(readFileSync(log)).map(
        ({ op, path: at }) => `${op} ${at.slice(disk.length + 1)}`,
      );
      const opened = calls.findIndex((call) => call.startsWith('open '));
      return whole || opened < 0 ? calls : calls.slice(0, opened);
    };
    try {
      const first = life();
      expect(first.filter((call) => call.startsWith('mkdir'))).toEqual([
        'mkdir state/ledger',
        'mkdir state/ledger/records',
      ]);
      expect(first.slice(-2)).toEqual(['sync state/ledger', 'sync state']);
      // Where nothing has to be made it may have been made by somebody who ended too early.
      writeFileSync(log, '');
      expect(life()).toContain('sync state/ledger');
      // Its identity as well: what was delivered under one that a power cut took would come twice.
      await rm(join(disk, 'state/ledger'), { recursive: true });
      writeFileSync(log, '');
      const calls = life(true);
      const identity = ['open', 'write', 'sync', 'rename'].map(
        (op) => `${op} state/ledger/records/spool.id.new`,
      );
      const named = [...identity, 'sync state/ledger/records'];
      const from = calls.indexOf(identity[0] ?? '');
      expect(calls.slice(from, from + named.length)).toEqual(named);
      expect(calls[from + named.length]).toMatch(/^open .*spool-0+1\.log$/);
    } finally {
      layer.close();
    }
  });
});

describe('the identity of a spool', () => {
  it('is made with its directory, stays with its records, and is another one in another place', async () => {
    const first = await spoolOf();
    const { id, base } = first.identity;
    expect([id, base]).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), 0n]);
    await first.append(record(1));
    await first.close();
    const again = await spoolOf();
    expect(again.identity).toEqual({ id, base: 0n });
    const other = await openSpool({ directory: join(directory, 'other') });
    expect(other.identity.id).not.toBe(id);
    await other.close();
  });

  it('is given to a directory from before, where its records begin; and anew where they were taken away', async () => {
    const spool = await spoolOf({ fileBytes: 1 });
    for (const number of [1, 2, 3]) await spool.append(record(number));
    await spool.release(2n);
    await spool.close();
    await rm(join(directory, 'spool.id'));
    const old = await spoolOf();
    expect(old.identity).toMatchObject({ base: 2n });
    await old.close();
    for (const name of await logs()) await rm(join(directory, name));
    const emptied = await spoolOf();
    expect(emptied.identity.id).not.toBe(old.identity.id);
    expect(emptied.identity.base).toBe(0n);
  });

  it('is given anew on demand, durably, and begins with what lies there', async () => {
    const spool = await spoolOf({ fileBytes: 1 });
    for (const number of [1, 2, 3]) await spool.append(record(number));
    await spool.release(1n);
    const before = spool.identity;
    await spool.renew();
    expect(spool.identity).toMatchObject({ base: 1n });
    expect(spool.identity.id).not.toBe(before.id);
    await spool.close();
    expect((await spoolOf()).identity).toEqual(spool.identity);
    await writeFile(join(directory, 'spool.id'), 'no id');
    await expect(openSpool({ directory })).rejects.toMatchObject({ code: 'LEDGER_SPOOL_DAMAGED' });
  });
});

describe('a reader of a spool', () => {
  it('gives each record once and in order, in pieces, while records come and files go', async () => {
    const spool = await spoolOf({ fileBytes: 2_000 });
    const reader = spool.reader(2n);
    expect(await reader.take(1)).toEqual([]);
    const found: bigint[] = [];
    let heard = 0;
    const unhear = spool.onDurable(() => (heard += 1));
    for (let round = 0; round < 41; round++) {
      await Promise.all([1, 2, 3].map((each) => spool.append(record(3 * round + each))));
      if (round % 3 === 0) continue;
      for (;;) {
        const taken = await reader.take(round % 2 === 0 ? 1 : 1_000_000);
        if (taken.length === 0) break;
        for (const { sequence, bytes } of taken) {
          expect(bytes).toEqual(encodeRecord(record(Number(sequence))).bytes);
          found.push(sequence);
        }
      }
      if (round % 5 === 0) await spool.release(reader.last);
    }
    expect(found).toEqual(Array.from({ length: 121 }, (_, index) => BigInt(index + 3)));
    expect(reader.last).toBe(123n);
    expect(heard).toBeGreaterThanOrEqual(41);
    const heardBefore = heard;
    expect(spool.status().oldest).toBeGreaterThan(50n);
    unhear();
    await spool.append(record(124));
    expect(heard).toBe(heardBefore);
    await reader.close();
  });

  it('that was overtaken by a release goes on with what is left', async () => {
    const spool = await spoolOf({ fileBytes: 1 });
    for (const number of [1, 2, 3, 4]) await spool.append(record(number));
    const reader = spool.reader();
    expect((await reader.take(1)).map(({ sequence }) => sequence)).toEqual([1n]);
    await spool.release(3n);
    expect((await reader.take(1)).map(({ sequence }) => sequence)).toEqual([4n]);
    await reader.close();
  });

  it('reads nothing again, however much lies there', async () => {
    const spool = await spoolOf();
    for (let from = 0; from < 5_000; from += 1_000) {
      await Promise.all(Array.from({ length: 1_000 }, (_, index) => spool.append(record(from + index))));
    }
    const reader = spool.reader();
    while ((await reader.take(1_000_000)).length > 0);
    const [name = ''] = await logs();
    const path = join(directory, name);
    // What was read is gone from the disk, and is not missed.
    const bytes = await readFile(path);
    await writeFile(path, Buffer.concat([Buffer.alloc(bytes.length - 1_000), bytes.subarray(-1_000)]));
    await spool.append(record(5_000));
    expect((await reader.take(1_000_000)).map(({ sequence }) => sequence)).toEqual([5_001n]);
    await reader.close();
    await expect(idsOf(spool)).rejects.toMatchObject({ code: 'LEDGER_SPOOL_DAMAGED' });
  });
});

describe('a torn end', () => {
  it('is cut at every byte of the last record; what was whole before stays, and the next one follows', async () => {
    const spool = await spoolOf();
    for (const number of [1, 2]) await spool.append(record(number));
    await spool.close();
    const [name = ''] = await logs();
    const whole = join(directory, name);
    const bytes = await readFile(whole);
    const last = bytes.lastIndexOf('Krec');
    expect(last).toBeGreaterThan(16);
    const saved = `${whole}.saved`;
    await copyFile(whole, saved);
    let visited = 0;
    for (let length = last; length < bytes.length; length++) {
      await copyFile(saved, whole);
      await truncate(whole, length);
      const cut = await openSpool({ directory });
      expect(cut.recovery).toEqual({ records: 1, cutBytes: length - last });
      if (length % 16 === 0) {
        expect((await cut.append(record(3))).sequence).toBe(2n);
        expect(await idsOf(cut)).toEqual(['authorisation/box/1', 'authorisation/box/3']);
      }
      await cut.close();
      visited += 1;
    }
    expect(visited).toBe(bytes.length - last);
    // Garbage of every byte's own: a record that was never wholly written does not come back to life.
    for (let at = last; at < bytes.length; at++) {
      const broken = Buffer.from(bytes);
      broken[at] = (broken[at] ?? 0) ^ 0x40;
      await writeFile(whole, broken);
      const cut = await openSpool({ directory });
      expect(cut.recovery).toEqual({ records: 1, cutBytes: bytes.length - last });
      await cut.close();
    }
    await rm(saved);
  });

  it('behind which whole records lie is cut as well, but kept aside to be looked at', async () => {
    const spool = await spoolOf();
    for (const number of [1, 2, 3]) await spool.append(record(number));
    await spool.close();
    const [name = ''] = await logs();
    const bytes = await readFile(join(directory, name));
    const second = bytes.indexOf('Krec', bytes.indexOf('Krec') + 1);
    bytes[second + 30] = (bytes[second + 30] ?? 0) ^ 1;
    await writeFile(join(directory, name), bytes);
    const cut = await spoolOf();
    expect(cut.recovery).toMatchObject({ records: 1, cutBytes: bytes.length - second });
    expect(await readFile(cut.recovery.keptAside ?? '')).toEqual(bytes.subarray(second));
  });

  it('of a file that was just begun holds nothing', async () => {
    const spool = await spoolOf({ fileBytes: 1 });
    await spool.append(record(1));
    await spool.close();
    for (let length = 0; length < 16; length++) {
      await writeFile(
        join(directory, 'spool-00000000000000000002.log'),
        Buffer.from('Kedge spool 1\n\0\0').subarray(0, length),
      );
      const again = await openSpool({ directory });
      expect(again.recovery).toEqual({ records: 1, cutBytes: length });
      await again.close();
    }
    const last = await spoolOf();
    expect((await last.append(record(2))).sequence).toBe(2n);
  });

  it('anywhere but at the end is damage, and is said by file and byte', async () => {
    const spool = await spoolOf({ fileBytes: 1 });
    for (const number of [1, 2, 3]) await spool.append(record(number));
    await spool.close();
    const names = await logs();
    expect(names).toHaveLength(3);
    const first = join(directory, names[0] ?? '');
    const bytes = await readFile(first);
    await truncate(first, bytes.length - 1);
    await expect(openSpool({ directory })).rejects.toMatchObject({ code: 'LEDGER_SPOOL_DAMAGED' });
    await writeFile(first, bytes);
    await rm(join(directory, names[1] ?? ''));
    await expect(openSpool({ directory })).rejects.toMatchObject({ code: 'LEDGER_SPOOL_DAMAGED' });
  });
});

describe('a bounded spool', () => {
  it('refuses what does not fit, says so once, and takes again after it was drained', async () => {
    const trouble: KedgeError[] = [];
    const spool = await spoolOf({
      maxBytes: 65_536,
      fileBytes: 8_192,
      onTrouble: (error) => trouble.push(error),
    });
    let taken = 0;
    const fill = async () => {
      for (;;) {
        try {
          await spool.append(record(taken + 1));
          taken += 1;
        } catch (error) {
          return error;
        }
      }
    };
    expect(await fill()).toMatchObject({ code: 'LEDGER_SPOOL_FULL' });
    await expect(spool.append(record(taken + 1))).rejects.toMatchObject({ code: 'LEDGER_SPOOL_FULL' });
    expect(trouble.map(({ code }) => code)).toEqual(['LEDGER_SPOOL_FULL']);
    expect(spool.status()).toMatchObject({ state: 'full', records: taken });
    expect(spool.status().bytes).toBeLessThanOrEqual(65_536);
    expect(await idsOf(spool)).toHaveLength(taken);
    const before = (await logs()).length;
    await spool.release(BigInt(taken) / 2n);
    expect((await logs()).length).toBeLessThan(before);
    const more = taken;
    expect(await fill()).toMatchObject({ code: 'LEDGER_SPOOL_FULL' });
    expect(taken).toBeGreaterThan(more);
    expect(trouble).toHaveLength(2);
    const left = await idsOf(spool);
    expect(left.at(-1)).toBe(`authorisation/box/${taken}`);
    await spool.close();
    expect(await idsOf(await spoolOf({ maxBytes: 65_536 }))).toEqual(left);
  });

  it('keeps counting after everything was released', async () => {
    const spool = await spoolOf({ fileBytes: 1 });
    for (const number of [1, 2, 3]) await spool.append(record(number));
    await spool.release(3n);
    await spool.close();
    const again = await spoolOf();
    expect((await again.append(record(4))).sequence).toBe(4n);
  });

  it('takes nothing after it was closed, and finishes what was under way', async () => {
    const spool = await spoolOf();
    const pending = spool.append(record(1));
    await spool.close();
    expect(await pending).toMatchObject({ sequence: 1n });
    await expect(spool.append(record(2))).rejects.toMatchObject({ code: 'LEDGER_SPOOL_CLOSED' });
    for (const options of [{ maxBytes: 1 }, { directory: 'here' }, { fileBytes: 0 }]) {
      await expect(openSpool({ directory, ...options })).rejects.toMatchObject({
        code: 'LEDGER_SPOOL_OPTIONS',
      });
    }
    await writeFile(join(directory, 'file'), '');
    await expect(openSpool({ directory: join(directory, 'file') })).rejects.toMatchObject({
      code: 'LEDGER_SPOOL_FAILED',
    });
  });
});

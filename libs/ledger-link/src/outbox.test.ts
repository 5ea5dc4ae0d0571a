import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { AuthorisationDecision } from '@kedge/contracts';
import { openSpool } from '@kedge/ledger';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ledgerReadings } from './ledger-readings.js';
import { openOutbox, type Outbox, type OutboxOptions } from './outbox.js';

let directory: string;
let open: Outbox[];
let said: string[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-outbox-'));
  open = [];
  said = [];
});
afterEach(async () => {
  for (const outbox of open) await outbox.close();
  await rm(directory, { recursive: true, force: true });
});

const say = (_fields: object, text: string): void => {
  said.push(text);
};

function outboxOf(more: Partial<OutboxOptions> = {}): Outbox {
  const outbox = openOutbox({
    directory: join(directory, 'records'),
    clock: { monotonicNs: () => process.hrtime.bigint() },
    log: { info: say, warn: say, error: say },
    ...more,
  });
  open.push(outbox);
  return outbox;
}

const record = (number: number, reason = ''): AuthorisationDecision => ({
  schema: 'kedge.authorisation-decision/1',
  id: `authorisation/box/${number}`,
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '7',
  allow: true,
  rule: 'console',
  reason,
  principal: 'user:ada',
  tier: 'master',
  channel: 'local',
  action: 'posture.set',
  resource: 'posture/3',
  level: 3,
  askedAtNs: String(number),
});

async function kept(): Promise<string[]> {
  const spool = await openSpool({ directory: join(directory, 'records') });
  const ids: string[] = [];
  for await (const each of spool.drain()) ids.push(each.record.id);
  await spool.close();
  return ids;
}

const valueOf = (outbox: Outbox, name: string): unknown =>
  ledgerReadings(outbox.status()).find((each) => each.name === name)?.samples[0]?.value;

describe('an outbox', () => {
  it('keeps what is put before the spool is open, and what is on its way when it is closed', async () => {
    const outbox = outboxOf();
    for (let number = 1; number <= 50; number++) outbox.put(record(number));
    await outbox.close();
    expect(await kept()).toHaveLength(50);
    expect([outbox.lost, outbox.alarms]).toEqual([0, []]);
    outbox.put(record(51));
    await expect.poll(() => outbox.lost).toBe(1);
    expect(said).toEqual(['a record was lost']);
  });

  it('makes long facts one after the other, pausing where they pause, and finishes them before it closes', async () => {
    const outbox = outboxOf();
    await outbox.ready();
    const order: string[] = [];
    function* long(name: string, from: number) {
      for (let number = from; number < from + 20; number++) {
        order.push(name);
        yield number % 2 === 0 ? undefined : record(number);
      }
    }
    outbox.spread(long('a', 100));
    outbox.spread(long('b', 200));
    await new Promise(setImmediate);
    order.push('somebody else');
    await outbox.close();
    expect(order.filter((name) => name !== 'somebody else').join('')).toBe(
      `${'a'.repeat(20)}${'b'.repeat(20)}`,
    );
    expect(order.indexOf('somebody else')).toBeLessThan(5);
    expect(await kept()).toHaveLength(20);
  });

  it('makes nothing of facts that have time while they are held, for five seconds at most, and all of it when it closes', async () => {
    const outbox = outboxOf();
    await outbox.ready();
    const made: number[] = [];
    function* fact(number: number) {
      made.push(number);
      yield record(number);
    }
    const [first, second] = [outbox.hold(), outbox.hold()];
    outbox.spreadInTime(fact(1));
    outbox.spread(fact(2));
    await expect.poll(() => made).toEqual([2]);
    first();
    first();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(made).toEqual([2]);
    second();
    await expect.poll(() => made).toEqual([2, 1]);
    outbox.hold();
    outbox.spreadInTime(fact(3));
    await expect.poll(() => made, { timeout: 10_000 }).toEqual([2, 1, 3]);
    outbox.hold();
    outbox.spreadInTime(fact(4));
    await outbox.close();
    expect(await kept()).toHaveLength(4);
    expect(outbox.lost).toBe(0);
  }, 20_000);

  it('told of a fact that lies there already, in other words, has lost nothing', async () => {
    const outbox = outboxOf();
    await outbox.append(record(1));
    outbox.put(record(1, 'told again after a restart'));
    expect(await outbox.keep([record(1, 'and once more')])).toBe(true);
    await outbox.close();
    expect(outbox.lost).toBe(0);
    expect(await kept()).toEqual(['authorisation/box/1']);
  });

  it('that is full says so to those who may only do what is recorded, in its alarms and in its readings', async () => {
    const outbox = outboxOf({ maxBytes: 65_536 });
    await outbox.ready();
    expect(valueOf(outbox, 'kedge_spool_open')).toBe(1);
    for (let number = 1; outbox.lost === 0 && number < 1_000; number++)
      await outbox.keep([record(number, 'x'.repeat(500))]);
    await expect(outbox.ready()).rejects.toMatchObject({ code: 'LEDGER_SPOOL_FULL' });
    expect(outbox.alarms).toEqual([
      'the spool takes no records: it is full',
      expect.stringMatching(/^records were lost: \d+$/),
    ]);
    expect(valueOf(outbox, 'kedge_spool_open')).toBe(0);
    expect(valueOf(outbox, 'kedge_records_lost_total')).toBe(outbox.lost);
  });

  it('whose storage cannot be used loses every record, counts them, and fails nobody', async () => {
    await writeFile(join(directory, 'records'), 'no directory');
    for (const given of [join(directory, 'records'), undefined]) {
      const outbox = outboxOf({ directory: given });
      outbox.put(record(1));
      expect(await outbox.keep([record(2), undefined, record(3)])).toBe(false);
      outbox.spread([record(4)]);
      await expect(outbox.ready()).rejects.toMatchObject({ code: 'LEDGER_SPOOL_FAILED' });
      await expect(outbox.append(record(5))).rejects.toMatchObject({ code: 'LEDGER_SPOOL_FAILED' });
      await outbox.close();
      expect(outbox.lost).toBe(4);
      expect(outbox.alarms[0]).toBe('no records are kept: LEDGER_SPOOL_FAILED');
    }
    expect(await readdir(directory)).toEqual(['records']);
  });

  it('whose ledger is away takes records all the same, and reads how many wait', async () => {
    const outbox = outboxOf({ ledger: join(directory, 'nobody.sock') });
    for (const number of [1, 2, 3]) await outbox.append(record(number));
    await expect.poll(() => outbox.status().link?.trouble, { timeout: 10_000 }).toBe('BUS_UNREACHABLE');
    expect(valueOf(outbox, 'kedge_ledger_waiting_records')).toBe(3n);
    expect(valueOf(outbox, 'kedge_ledger_linked')).toBe(0);
    expect(outbox.alarms).toEqual([]);
    await outbox.close();
    expect(await kept()).toHaveLength(3);
  });
});

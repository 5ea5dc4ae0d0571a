import type { AuthorisationDecision, LedgerRecord } from '@kedge/contracts';
import { inForceOf, openInForceToRead } from '@kedge/bpf-posture';
import { basculeService, type Client, type BasculeApi, dialUnix, type Notification } from '@kedge/bus';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Appliance, until } from './appliance.js';
import { BpfRoom } from './bpf-room.js';

const decisions = (all: readonly LedgerRecord[]): readonly AuthorisationDecision[] =>
  all.filter((record) => record.schema === 'kedge.authorisation-decision/1');

describe('the BPF maps', () => {
  let room: BpfRoom;
  let box: Appliance;
  beforeEach(async () => {
    room = await BpfRoom.open();
    expect(room.prepare()).toEqual(['posture_level', 'posture_in_force']);
    box = new Appliance({ bpf: { level: room.level, inForce: room.inForce } });
    box.startWarden();
  });
  afterEach(async () => {
    await box.close();
    room.close();
  });
  const level = (wanted: number) => until(`level ${wanted}`, () => box.read().level === wanted || undefined);
  const inForce = () => {
    const map = openInForceToRead(room.inForce, 0);
    try {
      return inForceOf(map);
    } finally {
      map.close();
    }
  };

  it('PO-3 a level that another process writes into the pinned map is in force, by the channel bpf', async () => {
    await box.start();
    room.write(2);
    await level(2);
    expect(await box.ended(box.read().epoch)).toMatchObject({
      from: 5,
      to: 2,
      source: { channel: 'bpf', tier: 'journeyman', principal: 'bpf:posture_level' },
    });
    expect((await box.get()).alarms.join()).not.toContain('BPF');
  });

  it('PO-3 the level in force stands in the second map, with its epoch, and programs cannot write it', async () => {
    await box.start();
    expect(
      await until('published', () => (inForce()?.obeyed.level === 5 ? inForce() : undefined)),
    ).toMatchObject({
      decided: { level: 5 },
    });
    await box.set(3);
    const seen = await until('level 3 published', () =>
      inForce()?.obeyed.level === 3 ? inForce() : undefined,
    );
    expect(seen.obeyed).toEqual({ epoch: box.read().epoch, level: 3 });
    const before = seen.publishedAtNs;
    await until('published again', () => ((inForce()?.publishedAtNs ?? 0n) > before ? true : undefined));
  });

  it('PO-5 a looser level and values that are no level are refused by name, recorded, and change nothing', async () => {
    await box.start();
    await box.set(2);
    await box.ended();
    const before = box.read();
    const wrong = [3, 5, 0, 6, 255, 4_294_967_295];
    for (const value of wrong) room.write(value);
    room.write(1);
    await level(1);
    expect(box.read().epoch).toBe(before.epoch + 1n);
    const records = decisions(await box.records()).filter(({ channel }) => channel === 'bpf');
    expect(records.map(({ resource, allow, rule }) => [resource, allow, rule])).toEqual([
      ...[3, 5].map((value) => [`posture/${value}`, false, 'machines-tighten-only']),
      ...[0, 6, 255, 4_294_967_295].map((value) => [`posture/${value}`, false, 'well-formed']),
      ['posture/1', true, 'built-in-tightening'],
    ]);
  });

  it('PO-3 a map that asked before the coordinator came is heard, once where its writer counts', async () => {
    room.write(3, 7);
    await box.start();
    await level(3);
    await box.ended();
    await box.set(5);
    await level(5);
    await box.ended();
    await box.kill();
    await box.start();
    await box.ended();
    expect(box.read().level).toBe(5);
    room.write(3, 8);
    await level(3);
  });

  it('PO-3 a map that is pinned anew is taken up, and one that is missing or wrong is said and asks for nothing', async () => {
    unlinkSync(room.level);
    await box.start();
    await until('said', async () =>
      (await box.get()).alarms.join().includes('nothing is pinned there') ? true : undefined,
    );
    expect(room.prepare()).toEqual(['posture_level']);
    await until('taken up', async () => ((await box.get()).alarms.join().includes('BPF') ? undefined : true));
    room.write(4);
    await level(4);
    chmodSync(room.level, 0o666);
    await until('refused', async () =>
      (await box.get()).alarms.join().includes('others than its owner may write it') ? true : undefined,
    );
    chmodSync(room.level, 0o644);
    room.write(3);
    await level(3);
  });

  it('PO-3 without BPF the appliance works, and says what does not', async () => {
    const other = new Appliance({
      bpf: { level: '/nowhere/posture_level', inForce: '/nowhere/posture_in_force' },
    });
    try {
      other.startWarden();
      await other.start();
      expect(await other.set(3)).toMatchObject({ decision: { to: 3 } });
      const { alarms } = await other.get();
      expect(alarms.join()).toContain('no requests come through BPF');
      expect(alarms.join()).toContain('the level in force is not published through BPF');
    } finally {
      await other.close();
    }
  });
});

describe('notifications of Bascule', () => {
  let box: Appliance;
  const clients: Client<BasculeApi>[] = [];
  let told = 0;
  const notify = (by: string, fields: Partial<Notification>) => {
    const client = dialUnix(join(box.sockets, by, 'posture.sock'), basculeService);
    clients.push(client);
    told += 1;
    return client.notify(
      {
        level: 3,
        reason: 'a kernel module was loaded that nobody signed',
        principal: 'service:bascule',
        eventId: `evt-${told}`,
        idempotencyKey: `bascule-${told}`,
        ...fields,
      },
      { deadlineMs: 8_000 },
    );
  };
  beforeEach(async () => {
    box = new Appliance();
    box.startWarden();
    await box.start();
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await box.close();
  });

  it('PO-3 a notification tightens at once, and its event stands in the report', async () => {
    expect(await notify('local/journeyman', { level: 2, eventId: 'audit:4711' })).toMatchObject({
      outcome: 'decision',
      decision: { from: 5, to: 2, durable: true },
      level: 2,
    });
    expect(await box.ended(box.read().epoch)).toMatchObject({
      source: {
        channel: 'local',
        tier: 'journeyman',
        principal: 'service:bascule',
        reason: 'a kernel module was loaded that nobody signed (event audit:4711)',
      },
    });
  });

  it('PO-4 a notification loosens only where any local request of its socket would', async () => {
    await notify('local/journeyman', { level: 3 });
    await box.ended(box.read().epoch);
    expect(await notify('local/journeyman', { level: 5 })).toMatchObject({
      outcome: 'refusal',
      refusal: { code: 'POSTURE_NOT_AUTHORISED' },
      level: 3,
    });
    expect(await notify('local/apprentice', { level: 2 })).toMatchObject({
      refusal: { rule: 'apprentice-looks-only' },
    });
    expect(await notify('local/master', { level: 5 })).toMatchObject({ decision: { from: 3, to: 5 } });
  });

  it('PO-5 a notification with any field wrong, or replayed, is refused by name, recorded, and changes nothing', async () => {
    const first = await notify('local/master', { level: 4, idempotencyKey: 'the-same-key', eventId: 'one' });
    await box.ended(box.read().epoch);
    const before = box.read();
    const wrong = [
      ['POSTURE_LEVEL', 'level', { level: 0 }],
      ['POSTURE_LEVEL', 'level', { level: 6 }],
      ['POSTURE_REASON', 'reason', { reason: ' ' }],
      ['POSTURE_REASON', 'reason', { reason: 'x'.repeat(401) }],
      ['POSTURE_REASON', 'reason', { reason: 'two\nlines' }],
      ['POSTURE_PRINCIPAL', 'principal', { principal: '' }],
      ['POSTURE_EVENT_ID', 'event_id', { eventId: '' }],
      ['POSTURE_EVENT_ID', 'event_id', { eventId: 'with a space' }],
      ['POSTURE_EVENT_ID', 'event_id', { eventId: 'x'.repeat(65) }],
      ['POSTURE_IDEMPOTENCY_KEY', 'idempotency_key', { idempotencyKey: 'short' }],
      ['POSTURE_STALE', 'if_epoch', { ifEpoch: before.epoch - 1n }],
      ['POSTURE_REPLAYED', 'idempotency_key', { level: 4, idempotencyKey: 'the-same-key', eventId: 'two' }],
    ] as const;
    for (const [code, field, fields] of wrong) {
      expect(await notify('local/master', { level: 2, ...fields })).toMatchObject({
        outcome: 'refusal',
        refusal: { code, field },
        level: 4,
      });
    }
    expect(
      await notify('local/master', { level: 4, idempotencyKey: 'the-same-key', eventId: 'one' }),
    ).toEqual(first);
    expect(box.read()).toEqual(before);
    const refused = decisions(await box.records()).filter(({ allow }) => !allow);
    expect(refused).toHaveLength(wrong.length);
  });
});

describe('a posture-source plugin', () => {
  let box: Appliance;
  let indicators: string;
  const at = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
  const alarms = async () => (await box.get()).alarms.join('; ');
  const level = (wanted: number) =>
    until(`level ${wanted}`, () => box.read().level === wanted || undefined, 20_000);
  const indicator = (id: string, severity: string): string => `${JSON.stringify({ id, severity })}\n`;

  beforeEach(() => {
    const directory = mkdtempSync(join(tmpdir(), 'kedge-indicators-'));
    indicators = join(directory, 'indicators.jsonl');
    box = new Appliance({
      plugins: {
        confine: at('libs/plugin-host/build/kedge-confine'),
        runner: at('libs/plugin-host/dist/child.js'),
        readable: [at('libs/plugin-host'), at('libs/posture-source-kit'), at('node_modules/@kedge')],
        sources: [
          {
            folder: at('plugins/sources/indicator-file'),
            granted: ['posture.tighten'],
            files: { indicators },
          },
        ],
      },
    });
    box.startWarden();
  });
  afterEach(async () => {
    await box.close();
    rmSync(dirname(indicators), { recursive: true, force: true });
  });

  it('PO-3 an indicator that is appended tightens, by the channel plugin; one that is replaced by rename, too', async () => {
    await box.start();
    appendFileSync(indicators, indicator('one', 'medium'));
    await level(4);
    expect(await box.ended(box.read().epoch)).toMatchObject({
      to: 4,
      source: {
        channel: 'plugin',
        tier: 'journeyman',
        principal: 'plugin:indicator-file',
        reason: 'indicator one is medium',
      },
    });
    writeFileSync(`${indicators}.new`, indicator('two', 'high'));
    renameSync(`${indicators}.new`, indicators);
    await level(3);
    truncateSync(indicators);
    appendFileSync(indicators, indicator('three', 'critical'));
    await level(2);
    // The all-clear is given by people, and what has asked already does not ask again.
    await box.ended(box.read().epoch);
    await box.set(5);
    await level(5);
    appendFileSync(indicators, 'garbage\n');
    await until(
      'said',
      async () => (await alarms()).includes('INDICATOR_LINE line 2, line: expected') || undefined,
    );
    expect(box.read().level).toBe(5);
  });

  it('PO-5 what does not tighten is refused, recorded, and changes nothing', async () => {
    await box.start();
    await box.set(2);
    await box.ended(box.read().epoch);
    const before = box.read();
    appendFileSync(indicators, indicator('late', 'medium'));
    await until('asked', () => (box.output.includes('machines-tighten-only') ? true : undefined));
    expect(box.read()).toEqual(before);
    expect(decisions(await box.records())).toContainEqual(
      expect.objectContaining({
        allow: false,
        channel: 'plugin',
        rule: 'machines-tighten-only',
        resource: 'posture/4',
        principal: 'plugin:indicator-file',
      }),
    );
  });

  it('PO-3 a plugin that is killed comes back and goes on, and one that was changed is not loaded', async () => {
    await box.start();
    const pid = await until('the plugin', () => childOf(box.child?.pid ?? 0));
    process.kill(pid, 'SIGKILL');
    await until('another', () => {
      const now = childOf(box.child?.pid ?? 0);
      return now !== undefined && now !== pid ? true : undefined;
    });
    appendFileSync(indicators, indicator('one', 'high'));
    await level(3);
    await box.kill('SIGTERM');
    expect(childOf(pid)).toBeUndefined();
    const folder = join(dirname(indicators), 'changed');
    cpSync(at('plugins/sources/indicator-file'), folder, { recursive: true });
    appendFileSync(join(folder, 'index.js'), '\n');
    const { sources: _sources, ...programs } = box.config['plugins'] as { sources: unknown };
    box.config['plugins'] = { ...programs, sources: [{ folder }] };
    await box.start();
    expect(
      await until('said', async () => ((await alarms()).includes('is not loaded') ? alarms() : undefined)),
    ).toContain('its content has the hash');
  });
});

/** The one process that a process has started. */
function childOf(pid: number): number | undefined {
  try {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ');
    return child === undefined || child === '' ? undefined : Number(child);
  } catch {
    return undefined;
  }
}

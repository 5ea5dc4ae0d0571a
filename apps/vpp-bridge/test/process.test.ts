/**
 * The bridge as the process that is shipped: its socket, its health, its heartbeat, and its sudden death.
 */
import { dialUnix, governanceClient, governanceService } from '@kedge/bus';
import type { LedgerRecord } from '@kedge/contracts';
import { bundledService } from '@kedge/lab';
import { openSpool } from '@kedge/ledger';
import { layout, monotonicNs, openSegment } from '@kedge/shared-memory-ipc';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Place, until } from './actor.js';

const MAIN = bundledService('vpp-bridge');
const DEADLINE = { deadlineMs: 5_000 };
let place: Place;

beforeEach(() => {
  place = new Place();
});
afterEach(async () => {
  await place.remove();
});

function start(over: object = {}): { child: ChildProcess; output: () => string } {
  const config = join(place.root, 'bridge.json');
  writeFileSync(config, JSON.stringify({ ...place.config, ...over }));
  const child = spawn(process.execPath, [MAIN, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  place.atEnd(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  });
  return { child, output: () => output };
}

function client() {
  const opened = governanceClient(join(place.root, 'sock/internal/governance.sock'));
  place.atEnd(() => {
    opened.close();
  });
  return opened;
}

async function health(): Promise<string> {
  try {
    return await client().health({ deadlineMs: 1_000 });
  } catch {
    return 'nobody';
  }
}

function tables(): { generation: bigint; beatAgeNs: bigint; serving: boolean; bytes: Buffer } {
  const reader = openSegment({ directory: place.board, name: 'tables', kind: 'tables', owner: 'any' });
  const seen = {
    generation: reader.load64(layout.tables.generation),
    beatAgeNs: monotonicNs() - reader.load64(layout.tables.beat + layout.beat.atNs),
    serving: reader.load32(layout.tables.beat + layout.beat.serving) === 1,
    bytes: reader.bytes(layout.tables.bank, layout.tables.size - layout.tables.bank),
  };
  reader.close();
  return seen;
}

describe('bridge process', { timeout: 60_000 }, () => {
  it('DP-7 dies by SIGKILL and leaves its tables as they were; started again it goes on from them', async () => {
    const first = start();
    await until('the first bridge serves', async () => (await health()) === 'SERVING');
    expect((await client().show({}, DEADLINE)).generation).toBe(1n);
    const before = tables();
    expect(before.serving).toBe(true);
    const gone = once(first.child, 'exit');
    first.child.kill('SIGKILL');
    await gone;
    const orphaned = tables();
    expect(orphaned.generation).toBe(1n);
    expect(orphaned.bytes.equals(before.bytes)).toBe(true);

    start();
    await until('the second bridge serves', async () => (await health()) === 'SERVING');
    const after = tables();
    expect(after.generation).toBe(1n);
    expect(after.bytes.equals(before.bytes)).toBe(true);
  });

  it('beats from its event loop, and ends when it is told to', async () => {
    const { child, output } = start();
    await until('the bridge serves', async () => (await health()) === 'SERVING');
    await until('a fresh beat', () => tables().beatAgeNs < 300_000_000n);
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await gone).toEqual([0, null]);
    expect(output()).toContain('"msg":"tables published"');
    expect(await health()).toBe('nobody');
  });

  it('PO-2 starts with invalid accords too: answers why, is not healthy, and follows the pointer to good ones', async () => {
    const pointer = join(place.root, 'pointer');
    for (const name of ['good', 'bad']) {
      mkdirSync(join(place.root, name));
      copyFileSync(place.config.accords, join(place.root, name, 'accords.json'));
      copyFileSync(place.config.zones, join(place.root, name, 'zones.json'));
    }
    writeFileSync(join(place.root, 'bad/accords.json'), '{}');
    symlinkSync('bad', pointer);
    start({ accords: join(pointer, 'accords.json'), zones: join(pointer, 'zones.json') });
    await until('the bridge answers', async () => (await health()) === 'NOT_SERVING');
    const bridge = client();
    expect(await bridge.show({}, DEADLINE)).toMatchObject({
      generation: 0n,
      alarms: [
        expect.stringContaining('ACCORD_INVALID: cannot use these accords: /kedge-accords:accords'),
        expect.any(String),
      ],
    });
    expect(tables()).toMatchObject({ generation: 0n, serving: false });
    await expect(bridge.plan({ level: 3, windowS: 0 }, DEADLINE)).rejects.toMatchObject({
      code: 'GOVERNANCE_NO_ACCORDS',
    });
    symlinkSync('good', `${pointer}.new`);
    renameSync(`${pointer}.new`, pointer);
    await until('the bridge serves', async () => (await health()) === 'SERVING');
    expect(await bridge.show({}, DEADLINE)).toMatchObject({ generation: 1n, alarms: [] });
    await until('its heartbeat says so too', () => tables().serving);
  });

  it('DP-8 what data planes tell waits in the spool for the ledger', async () => {
    const { child } = start();
    await until('the bridge serves', async () => (await health()) === 'SERVING');
    const actor = await place.actor();
    await actor.tell('tell', 0, 5);
    await until(
      'the data plane is seen',
      async () => (await client().show({}, DEADLINE)).dataplanes[0]?.alive === true,
    );
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
    const spool = await openSpool({ directory: place.config.spool });
    expect(spool.recovery.records).toBe(5);
    await spool.close();
  });

  it('PO-5 a request that is refused names its field, changes nothing and is recorded', async () => {
    const { child } = start();
    await until('the bridge serves', async () => (await health()) === 'SERVING');
    const bridge = client();
    const before = tables();
    await expect(bridge.plan({ level: 6, windowS: 0 }, DEADLINE)).rejects.toMatchObject({
      code: 'UNITS_LEVEL',
      field: 'level',
      expected: expect.any(String),
    });
    await expect(bridge.plan({ level: 0, windowS: 0 }, DEADLINE)).rejects.toMatchObject({ field: 'level' });
    await expect(bridge.plan({ level: 3, windowS: 3_601 }, DEADLINE)).rejects.toMatchObject({
      code: 'GOVERNANCE_WINDOW',
      field: 'window_s',
    });
    const raw = dialUnix(place.config.sockets + '/internal/governance.sock', {
      ...governanceService,
      methods: governanceService.methods.map((method) => ({
        ...method,
        encodeRequest: () => Buffer.from([0x0f]),
      })),
    });
    place.atEnd(() => {
      raw.close();
    });
    await expect(raw.plan({ level: 3, windowS: 0 }, DEADLINE)).rejects.toMatchObject({
      code: 'BUS_MESSAGE_INVALID',
    });
    expect(tables().bytes.equals(before.bytes)).toBe(true);
    expect((await bridge.show({}, DEADLINE)).generation).toBe(1n);

    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
    const spool = await openSpool({ directory: place.config.spool });
    const kept: LedgerRecord[] = [];
    for await (const { record } of spool.drain()) kept.push(record);
    await spool.close();
    expect(kept).toMatchObject([
      { allow: false, action: 'governance.plan', rule: 'UNITS_LEVEL' },
      { allow: false, action: 'governance.plan', rule: 'UNITS_LEVEL' },
      { allow: false, action: 'governance.plan', rule: 'GOVERNANCE_WINDOW' },
      { allow: false, action: 'governance.plan', rule: 'BUS_MESSAGE_INVALID' },
    ]);
  });

  it('goes on without a spool and says that records are lost', async () => {
    writeFileSync(join(place.root, 'spool'), 'no directory');
    start();
    await until('the bridge serves', async () => (await health()) === 'SERVING');
    const actor = await place.actor();
    await actor.tell('tell', 0, 2);
    await until('the loss is shown', async () =>
      (await client().show({}, DEADLINE)).alarms.includes('2 records of the data plane could not be kept'),
    );
  });

  it('PO-16 a second bridge is refused and the first one is not disturbed', async () => {
    start();
    await until('the bridge serves', async () => (await health()) === 'SERVING');
    const second = start();
    expect(await once(second.child, 'exit')).toEqual([4, null]);
    expect(second.output()).toContain('vpp-bridge: SEGMENT_BUSY');
    expect(await health()).toBe('SERVING');
  });

  it('a configuration with an unknown key or without an owner is refused with status 2', async () => {
    for (const [over, said] of [
      [{ boards: '/run' }, 'CONFIG_UNKNOWN_KEY'],
      [{ owners: { posture: 0 } }, 'CONFIG_INVALID'],
      [{ bankRetryMs: 0 }, 'CONFIG_INVALID'],
    ] as const) {
      const { child, output } = start(over);
      expect(await once(child, 'exit')).toEqual([2, null]);
      expect(output()).toContain(said);
    }
  });
});

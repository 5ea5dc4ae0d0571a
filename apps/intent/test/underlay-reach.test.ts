/**
 * The way to devices, over the socket of a real underlay in a kernel namespace of its own.
 * Must not leave a namespace, a process or a file.
 */
import { sha256 } from '@kedge/bus';
import { compile } from '@kedge/compiler';
import type { Plan } from '@kedge/contracts';
import type { InventoryDevice, Reading } from '@kedge/driver-kit';
import { linuxDriver } from '@kedge/drivers';
import type { deviceTree } from '@kedge/intent-model';
import { bundledService } from '@kedge/lab';
import type { Epoch } from '@kedge/units';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { UnderlayReach } from '../src/underlay-reach.js';
import { Stage, TIERS, until } from './stage.js';

const NETNS = `kedge-rc-${String(process.pid)}`;
const MAIN = bundledService('underlay');
const DEFAULTS = join(import.meta.dirname, '../../../yang/defaults');
const by = { principal: 'user:mia', tier: 'master', channel: 'console' } as const;
const never = new AbortController().signal;
const device: InventoryDevice = {
  ...{ id: 'appliance', driver: 'linux', management: { local: [null] } },
  capability: ['kedge-inventory:port-state', 'kedge-inventory:addressing'],
  interface: [{ name: 'port1', type: 'iana-if-type:ethernetCsmacd' }],
};

let stage: Stage;
let child: ChildProcess;
let reach: UnderlayReach;

const ip = (words: string): string => execFileSync('ip', words.split(' '), { encoding: 'utf8' });

beforeAll(async () => {
  stage = new Stage();
  for (const way of ['console', ...TIERS.map((tier) => `local/${tier}`)])
    mkdirSync(join(stage.sockets, way, 'underlay'));
  mkdirSync(join(stage.sockets, 'devices'));
  for (const way of ['internal', 'devices']) chmodSync(join(stage.sockets, way), 0o755);
  ip(`netns add ${NETNS}`);
  ip(`-n ${NETNS} link add name port1 type veth peer name far1`);
  const config = join(stage.root, 'underlay.json');
  const { appliance, board, sockets } = stage.config;
  const files = { accords: join(DEFAULTS, 'accords.json'), zones: join(DEFAULTS, 'zones.json') };
  const state = join(stage.root, 'state/underlay');
  const devicesSocket = join(sockets, 'devices/devices.sock');
  writeFileSync(config, JSON.stringify({ appliance, board, sockets, devicesSocket, state, ...files }));
  child = spawn('ip', ['netns', 'exec', NETNS, process.execPath, MAIN, '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout?.resume();
  reach = new UnderlayReach(devicesSocket);
  await until('the underlay answers', () =>
    reach.read(device, never).then(
      () => true,
      () => false,
    ),
  );
}, 60_000);
afterAll(async () => {
  reach.close();
  await stage.end(child, 'SIGKILL');
  await stage.remove();
  ip(`netns delete ${NETNS}`);
});

function planFor(actual: Reading, address: string, epoch = 1n): Plan {
  const intended: deviceTree.DeviceTree = {
    'ietf-interfaces:interfaces': {
      interface: [
        {
          ...{ name: 'port1', type: 'iana-if-type:ethernetCsmacd' },
          'ietf-ip:ipv4': { address: [{ ip: address, 'prefix-length': 24 }] },
        },
      ],
    },
  };
  const [one] = compile(
    {
      'kedge-zones:zones': { zone: [{ name: 'branch', id: 2 }] },
      'kedge-inventory:devices': { device: [device] },
      'kedge-site:site': { name: 'lisbon', appliance: [device.id] },
    },
    [{ device: device.id, intended, actual }],
    { epoch: epoch as Epoch, gate: 'open', drivers: [linuxDriver], sha256 },
  );
  if (one?.outcome !== 'planned') throw new Error(JSON.stringify(one));
  return one.plan;
}

describe('the way to devices', { timeout: 60_000 }, () => {
  it('UN-7 reads a device and carries a plan out; refusals and failures say which they are', async () => {
    const before = await reach.read(device, never);
    const plan = planFor(before, '10.7.1.1');
    const work = { id: 'mutation-a', device, plan, by };
    const carried = await reach.carryOut(work, never);
    expect(carried).toMatchObject({
      applied: { outcome: 'applied', done: plan.steps.map(({ id }) => id) },
      remaining: [],
    });
    expect(carried.reading).toEqual(await reach.read(device, never));
    expect(ip(`-n ${NETNS} -br address show dev port1`)).toContain('10.7.1.1/24');
    expect(await reach.carryOut(work, never)).toEqual(carried);
    // Its base holds no more, and it has changed nothing.
    expect(await reach.carryOut({ ...work, id: 'mutation-b' }, never)).toMatchObject({
      applied: { outcome: 'failed', done: [], failure: { code: 'DRIVER_STALE' } },
    });
    const now = await reach.read(device, never);
    const old = planFor(now, '10.7.2.1', 0n);
    await expect(reach.carryOut({ ...work, id: 'mutation-c', plan: old }, never)).rejects.toMatchObject({
      code: 'UNDERLAY_PLAN_OLD',
      field: 'plan',
      help: 'compile again',
    });
    stage.tighten(2n, 5, 1);
    const frozen = planFor(now, '10.7.2.1', 2n);
    await expect(reach.carryOut({ ...work, id: 'mutation-d', plan: frozen }, never)).rejects.toMatchObject({
      code: 'GATE_FROZEN',
    });
    expect(await reach.read(device, never)).toEqual(now);
    await expect(reach.read({ ...device, driver: 'cisco' }, never)).rejects.toMatchObject({
      code: 'DRIVER_UNKNOWN',
    });
    const gone = AbortSignal.abort(new Error('gone'));
    await expect(reach.read(device, gone)).rejects.toThrow('gone');
    await stage.end(child, 'SIGKILL');
    await expect(reach.read(device, never)).rejects.toMatchObject({ code: 'BUS_UNREACHABLE' });
  });
});

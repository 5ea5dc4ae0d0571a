/**
 * Devices held to their intent, against the kernel of this machine: a commit is there, what somebody takes away comes back
 * or is told, and whoever was killed in the middle goes on.
 * Must not leave a namespace, a process or a file.
 */
import { PolicyKeeper } from '@kedge/authz';
import { PostureBoard } from '@kedge/bus';
import type { DriftEvent, LedgerRecord } from '@kedge/contracts';
import { type Held, isRefusal } from '@kedge/datastores';
import type { accordsTree, deviceTree, WholeIntent } from '@kedge/intent-model';
import { openIntentStore, sha256 } from '@kedge/intent-store';
import { readPathAccords } from '@kedge/route-set';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { KedgeError } from '@kedge/units';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { configSchema } from '../src/config.js';
import { Devices } from '../src/devices.js';
import { Intent } from '../src/intent.js';
import { UnderlayAccords } from '../src/underlay-accords.js';
import { ANYTHING, type Hooks, kernelWays } from './kernel-ways.mjs';
import { CALL, Stage, until } from './stage.js';

const NETNS = `kedge-ro-${String(process.pid)}`;
const ADA = { principal: 'user:ada' };
const BY = { ...ADA, tier: 'master', channel: 'local' } as const;
const MASTER = { tier: 'master', channel: 'local', socket: 'local/master/intent/intent.sock' } as const;
const ip = (words: string): string =>
  execFileSync('ip', ['-n', NETNS, ...words.split(' ')], { encoding: 'utf8' });
const anyTime = () => AbortSignal.timeout(20_000);

type Remediation = 'automatic' | 'proposed' | 'none';

function accordsOf(remediation: Remediation): accordsTree.AccordsTree {
  const levels = ([5, 4, 3, 2, 1] as const).map((number) => {
    const mode = ({ 5: 'open', 4: 'open', 3: 'tiers', 2: 'emergency-only', 1: 'frozen' } as const)[number];
    return {
      ...{ number, 'default-verdict': 'drop', overlay: { routes: { protect: true } } },
      underlay: {
        gate: { mode },
        drift: { interval: 1, ...(number < 3 ? {} : { remedy: [{ severity: 'minor', remediation }] }) },
      },
    };
  });
  return {
    'kedge-zones:zones': { zone: [{ name: 'branch', id: 2 }] },
    'kedge-accords:accords': { 'lockdown-exit': { channel: ['console'] }, level: levels },
  } as unknown as accordsTree.AccordsTree;
}

/** A bridge with an address, and a route; or whatever else. */
function branch(address = '10.20.0.1', ...routes: readonly string[]): deviceTree.DeviceTree {
  const route = (routes.length === 0 ? ['10.30.0.0/16'] : routes).map((each) => ({
    'destination-prefix': each,
    'next-hop': { 'special-next-hop': 'blackhole' as const },
  }));
  return {
    'ietf-interfaces:interfaces': {
      interface: [
        {
          ...{ name: 'br0', type: 'iana-if-type:bridge' },
          'ietf-ip:ipv4': { address: [{ ip: address, 'prefix-length': 24 }] },
        },
      ],
    },
    'ietf-routing:routing': {
      'control-plane-protocols': {
        'control-plane-protocol': [
          {
            ...{ type: 'ietf-routing:static', name: 'site' },
            'static-routes': { 'ietf-ipv4-unicast-routing:ipv4': { route } },
          },
        ],
      },
    },
  };
}

function whole(tree: deviceTree.DeviceTree | undefined, remediation: Remediation = 'automatic'): string {
  const document: WholeIntent = {
    ...accordsOf(remediation),
    'kedge-inventory:devices': {
      device: [
        {
          ...{ id: 'appliance', driver: 'linux', management: { local: [null] } },
          capability: [
            'kedge-inventory:bridging',
            'kedge-inventory:port-state',
            'kedge-inventory:addressing',
            'kedge-inventory:static-routing',
          ],
        },
      ],
    },
    'kedge-site:site': { name: 'lisbon', appliance: ['appliance'] },
    ...(tree === undefined ? {} : { 'kedge-intent:device': [{ id: 'appliance', ...tree }] }),
  };
  return JSON.stringify(document);
}

const there = (): readonly boolean[] => [
  ip('-brief link show').includes('br0'),
  ip('-brief address show').includes('10.20.0.1/24'),
  ip('route show').includes('blackhole 10.30.0.0/16'),
];
const ALL = [true, true, true];

let stage: Stage;
beforeAll(() => {
  execFileSync('ip', ['netns', 'add', NETNS]);
});
afterAll(() => {
  execFileSync('ip', ['netns', 'delete', NETNS]);
});
beforeEach(() => {
  stage = new Stage();
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await stage.remove();
  for (const line of ip('route show proto 109').split('\n'))
    if (line.startsWith('blackhole'))
      ip(`route del ${line.trim().split(' ').slice(0, 2).join(' ')} proto 109`);
  if (ip('-brief link show').includes('br0')) ip('link delete br0');
});
const ends: (() => unknown)[] = [];

const CLOCK = { monotonicNs, wallMs: () => Date.now() };
const LOG = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Devices over the board of the stage; they are ended with the test. */
async function devicesWith(
  hooks: Hooks = {},
  { append, accords }: { append?: (record: LedgerRecord) => void; accords?: UnderlayAccords } = {},
): Promise<Devices> {
  const board = new PostureBoard({ ...stage.config.board, realtime: false });
  const ways = kernelWays(NETNS, hooks);
  const devices = await Devices.open({
    ...{ place: { appliance: 'box-7', bootId: 'boot-1234' }, directory: join(stage.state, 'devices') },
    ...{
      reach: ways.reach,
      drivers: ways.drivers,
      atOnce: 4,
      documentBytes: 1_048_576,
      board,
      clock: CLOCK,
      log: LOG,
    },
    accords: accords ?? new UnderlayAccords(undefined),
    append: (record) => Promise.resolve(append?.(record)),
  });
  ends.push(async () => {
    await devices.close();
    board.close();
  });
  return devices;
}
const held = (number: number, text: string): Held =>
  ({ revision: { number, id: sha256(text), by: BY }, text }) as Held;
const stateOf = (devices: Devices): string | undefined => devices.devices()[0]?.state;

describe('devices', { timeout: 60_000 }, () => {
  it('UN-3 a commit is on the device, and one that is taken back is there no more', async () => {
    const devices = await devicesWith();
    devices.intend(held(2, whole(branch())), BY);
    await until('it is accorded', () => stateOf(devices) === 'accorded');
    expect(there()).toEqual(ALL);
    expect(devices.devices()).toMatchObject([
      { device: 'appliance', driver: 'linux', revision: 2, drifts: 0, refusals: [], why: '' },
    ]);
    devices.intend(held(3, whole(undefined)), BY);
    await until('it is gone', () => devices.devices()[0]?.revision === 3);
    expect(there()).toEqual([false, false, false]);
  });

  it('UN-6 UN-7 what somebody takes away is told and comes back, or is only told where the accord says none', async () => {
    const told: LedgerRecord[] = [];
    const devices = await devicesWith({}, { append: (record) => told.push(record) });
    devices.intend(held(2, whole(branch())), BY);
    await until('it is accorded', () => stateOf(devices) === 'accorded');
    ip('route del blackhole 10.30.0.0/16 proto 109');
    await until('it is cleared', () => told.length === 2);
    expect(there()).toEqual(ALL);
    expect(told as DriftEvent[]).toMatchObject([
      {
        ...{ schema: 'kedge.drift-event/1', device: 'appliance', kind: 'appeared', level: 5 },
        ...{ cause: 'unmanaged-change', severity: 'minor', remediation: 'automatic', actual: null },
        intended: { 'destination-prefix': '10.30.0.0/16' },
      },
      { kind: 'cleared' },
    ]);
    devices.intend(held(3, whole(branch(), 'none')), BY);
    ip('route del blackhole 10.30.0.0/16 proto 109');
    await until('it is told', () => told.length === 3);
    const { passes } = await twoPasses(devices);
    expect([passes, there(), stateOf(devices)]).toEqual([2, [true, true, false], 'drifted']);
    expect(told[2]).toMatchObject({ kind: 'appeared', remediation: 'none' });
    // As proposed it waits for somebody who asks.
    devices.intend(held(4, whole(branch(), 'proposed')), BY);
    await until('it is proposed', () => devices.drifts('appliance')[0]?.remediation === 'proposed');
    const remedied = await devices.remedy('appliance', undefined, BY, anyTime());
    expect(remedied).toMatchObject({ remedied: 1, view: { state: 'accorded' } });
    expect(there()).toEqual(ALL);
  });

  it('UN-14 nothing is written at 2 and 1, differences are told, and what waits comes with the level', async () => {
    const told: LedgerRecord[] = [];
    const works: string[] = [];
    const before = ({ id }: { readonly id: string }): Promise<void> => {
      works.push(id);
      return Promise.resolve();
    };
    const devices = await devicesWith({ before }, { append: (record) => told.push(record) });
    devices.intend(held(2, whole(branch())), BY);
    await until('it is accorded', () => stateOf(devices) === 'accorded');
    stage.tighten(2n, 5, 1);
    devices.intend(held(3, whole(branch('10.21.0.1'))), BY);
    await until('it waits', () => stateOf(devices) === 'waiting');
    ip('route del blackhole 10.30.0.0/16 proto 109');
    await until('it is told', () => told.length === 1);
    expect(await devices.remedy('appliance', undefined, BY, anyTime())).toMatchObject({
      code: 'ROLLOUT_FROZEN',
    });
    expect(await devices.plan('appliance', 'running', anyTime())).toMatchObject({ kind: 'refusal' });
    expect(await devices.check(undefined, anyTime())).toMatchObject([{ state: 'waiting' }]);
    expect([works.length, told]).toMatchObject([1, [{ level: 1, remediation: 'none' }]]);
    stage.reach(3n, 1, 5);
    await until('it came', () => devices.devices()[0]?.revision === 3);
    expect(ip('-brief address show')).toContain('10.21.0.1/24');
  });

  it('UN-3 goes on after it was killed in the middle of a plan, or where the answer was lost', async () => {
    for (const how of ['before', 'after'] as const) {
      const first = await devicesWith();
      first.intend(held(2, whole(branch())), BY);
      await until('it is accorded', () => stateOf(first) === 'accorded');
      await first.close();
      let isHere = false;
      const dying = await devicesWith({
        before: async (_work, signal) => {
          if (how === 'before') await dead(signal);
        },
        write: async (commands, write) => {
          // Whoever was killed writes no more.
          if (isHere) return { done: 0, failure: { code: 'DRIVER_WRITE', message: 'it is dead' } };
          await write(commands.slice(0, how === 'after' ? commands.length : 1));
          isHere = true;
          return new Promise((resolve) => ends.push(() => resolve({ done: undefined })));
        },
      });
      async function dead(signal: AbortSignal): Promise<void> {
        isHere = true;
        await new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reject(new KedgeError({ code: 'BUS_CANCELLED', message: 'it was told to end' }));
          });
        });
      }
      dying.intend(held(3, whole(branch('10.20.0.1', '10.31.0.0/16', '10.32.0.0/16'))), BY);
      await until('it is in the middle', () => isHere);
      const file = readFileSync(join(stage.state, 'devices/appliance.json'), 'utf8');
      expect(JSON.parse(file.slice(65))).toMatchObject({ attempt: { intent: { revision: 3 } } });
      // Another process begins with what is on the disk; revision 3 was taken back meanwhile.
      const second = await devicesWith();
      second.intend(held(4, whole(branch())), BY);
      await until('it is back', () => second.devices()[0]?.revision === 4 && stateOf(second) === 'accorded');
      expect(there()).toEqual(ALL);
      expect(ip('route show')).not.toMatch(/10\.3[12]\./);
      await second.close();
    }
  });

  it('UN-6 a memory that is damaged is put aside and said, and removes nothing', async () => {
    const first = await devicesWith();
    first.intend(held(2, whole(branch())), BY);
    await until('it is accorded', () => stateOf(first) === 'accorded');
    await first.close();
    const directory = join(stage.state, 'devices');
    const [name = ''] = readdirSync(directory);
    writeFileSync(
      join(directory, name),
      readFileSync(join(directory, name), 'utf8').replace('carried', 'Carried'),
    );
    const second = await devicesWith({ before: () => Promise.reject(new KedgeError(FROZEN)) });
    second.intend(held(3, whole(branch('10.22.0.1'))), BY);
    await until('it waits', () => stateOf(second) === 'waiting');
    expect(second.alarms).toEqual([expect.stringMatching(/^appliance: .*remembered of appliance/)]);
    expect(readdirSync(directory).sort()).toContain('appliance.json.damaged');
    expect(there()).toEqual(ALL);
  });

  it('UN-6 goes by the accords in force, where the coordinator has any', async () => {
    const files = { accords: join(stage.root, 'accords.json'), zones: join(stage.root, 'zones.json') };
    const defaults = join(import.meta.dirname, '../../../yang/defaults');
    for (const name of ['accords', 'zones'] as const)
      writeFileSync(files[name], readFileSync(join(defaults, `${name}.json`)));
    const accords = new UnderlayAccords(readPathAccords(files));
    accords.intend(accordsOf('automatic'));
    expect(accords.at(5)).toEqual({
      gate: { mode: 'open' },
      drift: {
        interval: 300,
        remedy: [
          { severity: 'major', remediation: 'proposed' },
          { severity: 'critical', remediation: 'proposed' },
        ],
      },
    });
    expect(accords.at(3).gate).toEqual({
      mode: 'tiers',
      'execute-tier': 'master',
      'propose-tier': 'apprentice',
    });
    const own = new UnderlayAccords(undefined);
    expect(own.at(5)).toEqual({ gate: { mode: 'frozen' } });
    own.intend(accordsOf('automatic'));
    expect(own.at(5)).toMatchObject({ gate: { mode: 'open' }, drift: { interval: 1 } });
  });

  it('UN-3 shows what a candidate would do, and what was read as operational', async () => {
    const board = new PostureBoard({ ...stage.config.board, realtime: false });
    const policies = new PolicyKeeper({
      ...configSchema.parse(stage.config).authorisation,
      kept: join(stage.root, 'policies.kept'),
      ...{ onChanged: () => undefined, onTrouble: () => undefined },
    });
    const devices = await devicesWith();
    const store = await openIntentStore({ path: join(stage.root, 'intent.db') });
    const intent = await Intent.open({
      ...{ config: configSchema.parse(stage.config), store, schema: ANYTHING, board, policies },
      records: {
        append: ({ id }) => Promise.resolve({ id, sequence: 1n, duplicate: false }),
        put: () => undefined,
        ready: () => Promise.resolve(),
        alarms: [],
      },
      ...{ bootId: 'boot-1234', clock: CLOCK, log: LOG },
    });
    devices.begin(intent.datastores);
    intent.onIntended((intended) => {
      if (intended !== undefined) devices.intend(intended.held, intended.by);
    });
    ends.push(async () => {
      await intent.close();
      await store.close();
      await policies.close();
      board.close();
    });
    const terms = { ...ADA, comment: '', confirmSeconds: 0, ifRevision: 0 };
    await intent.load({ ...ADA, document: whole(branch()) }, MASTER);
    await intent.commit(terms, MASTER);
    await until('it is accorded', () => stateOf(devices) === 'accorded');
    expect(there()).toEqual(ALL);
    expect(await devices.plan('appliance', 'running', anyTime())).toMatchObject({ plan: undefined });
    await intent.load(
      { ...ADA, document: whole(branch('10.20.0.1', '10.30.0.0/16', '10.33.0.0/16')) },
      MASTER,
    );
    const planned = await devices.plan('appliance', 'candidate', anyTime());
    if (isRefusal(planned)) throw new Error(planned.message);
    expect(planned.plan?.steps.map(({ id }) => id)).toEqual(['add/route/10.33.0.0/16']);
    expect(there()).toEqual(ALL);
    expect(await devices.plan('nobody', 'candidate', anyTime())).toMatchObject({ code: 'ROLLOUT_UNKNOWN' });
    const read = async (): Promise<string> => {
      const text = await intent.datastores.documentOf('operational');
      return isRefusal(text) ? '' : text;
    };
    await until('it was observed', async () => (await read()).includes('10.30.0.0/16'));
    expect(JSON.parse(await read())).toMatchObject({ 'kedge-intent:device': [{ id: 'appliance' }] });
  });

  it('UN-6 UN-7 as a process: a commit is there, and after kill -9 what is missing comes back', async () => {
    stage.program = join(import.meta.dirname, 'serve-kernel.mjs');
    process.env['KEDGE_TEST_NETNS'] = NETNS;
    const { child } = await stage.serve();
    const client = stage.client('local/master');
    await client.load({ ...ADA, document: whole(branch()) }, CALL);
    expect(
      await client.commit({ ...ADA, comment: '', confirmSeconds: 0, ifRevision: 0 }, CALL),
    ).toMatchObject({
      outcome: 'committed',
    });
    const file = join(stage.state, 'devices/appliance.json');
    await until(
      'it is there',
      () => existsSync(file) && /"carried":{.*"attempt":null/.test(readFileSync(file, 'utf8')),
    );
    expect(there()).toEqual(ALL);
    await stage.end(child, 'SIGKILL');
    ip('route del blackhole 10.30.0.0/16 proto 109');
    const second = await stage.serve();
    await until('it is back', () => there().every(Boolean));
    await until('it is told', () => readFileSync(file, 'utf8').includes('"drifts":[],"perhaps":[]'));
    await stage.end(second.child);
    const events = (await stage.records()).filter((record) => record.schema === 'kedge.drift-event/1');
    expect(events.map(({ kind, cause }) => [kind, cause])).toContainEqual(['appeared', 'unmanaged-change']);
  });
});

const FROZEN = { code: 'GATE_FROZEN', message: 'at this level nothing is written' };

/** Until the device was looked at two times more. */
async function twoPasses(devices: Devices): Promise<{ readonly passes: number }> {
  let passes = 0;
  let last = devices.devices()[0]?.readAtMs;
  await until('it was looked at twice', () => {
    const now = devices.devices()[0]?.readAtMs;
    if (now !== last) passes += 1;
    last = now;
    return passes === 2;
  });
  return { passes };
}

/**
 * Devices in memory held to their intent by the real keepers: what one device must not do to the others, and what comes of
 * storage that cannot be read and of readings that are large.
 * Must not leave a file.
 */
import { PostureBoard } from '@kedge/bus';
import type { Held } from '@kedge/datastores';
import type { deviceTree, WholeIntent } from '@kedge/intent-model';
import { sha256 } from '@kedge/intent-store';
import { readPathAccords } from '@kedge/route-set';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Devices, type DevicesParts, type IntentDocuments } from '../src/devices.js';
import { UnderlayAccords } from '../src/underlay-accords.js';
import { BY, CLOCK, LOG, MemoryWays, OPEN, ports, siteOf, until } from './memory-ways.js';
import { Stage } from './stage.js';

const DEFAULTS = join(import.meta.dirname, '../../../yang/defaults');
const ACCORDS = {
  'kedge-accords:accords': { level: [5, 4, 3, 2, 1].map((number) => ({ number, underlay: OPEN })) },
} as unknown as WholeIntent;

/** A whole document. */
function whole(trees: Readonly<Record<string, deviceTree.DeviceTree>>, accords = ACCORDS): string {
  const list = Object.entries(trees).map(([id, tree]) => ({ id, ...tree }));
  return JSON.stringify({ ...accords, ...siteOf(Object.keys(trees)), 'kedge-intent:device': list });
}
const held = (number: number, text: string): Held =>
  ({ revision: { number, id: sha256(text), by: BY }, text }) as Held;
const states = (devices: Devices): string[] =>
  devices.devices().map(({ device, state }) => `${device} ${state}`);

let stage: Stage;
let ways: MemoryWays;
const ends: (() => unknown)[] = [];
beforeEach(() => {
  stage = new Stage();
  ways = new MemoryWays();
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  vi.useRealTimers();
  await stage.remove();
});

async function devicesWith(over: Partial<DevicesParts> = {}): Promise<Devices> {
  const board = new PostureBoard({ ...stage.config.board, realtime: false });
  const devices = await Devices.open({
    ...{ place: { appliance: 'box-7', bootId: 'boot-1234' }, directory: join(stage.state, 'devices') },
    ...{ reach: ways, drivers: ways.drivers, atOnce: 4, documentBytes: 8_388_608 },
    ...{ board, accords: new UnderlayAccords(undefined), clock: CLOCK, log: LOG },
    append: () => Promise.resolve(),
    ...over,
  });
  ends.push(async () => {
    await devices.close();
    board.close();
  });
  return devices;
}

describe('devices', { timeout: 60_000 }, () => {
  it('UN-3 one whose intent has a name that no path can have keeps nobody from the others', async () => {
    const devices = await devicesWith();
    devices.intend(held(2, whole({ a: ports('10.1.1.1'), b: ports('10.1.2.1') })), BY);
    await until('they are accorded', () => states(devices).join() === 'a accorded,b accorded');
    const bad: deviceTree.DeviceTree = {
      'ietf-interfaces:interfaces': { interface: [{ name: `'"`, type: 'iana-if-type:bridge' }] },
    };
    devices.intend(held(3, whole({ a: bad, b: ports('10.1.2.2') })), BY);
    await until('b has it', () => devices.devices()[1]?.revision === 3);
    await until('a is refused', () => states(devices)[0] === 'a refused');
    expect(devices.devices()[0]).toMatchObject({ revision: 2, refusals: [{ code: 'DRIVER_NAME' }] });
    expect(ways.works.filter(({ device }) => device.id === 'a')).toHaveLength(1);
    ways.put('a', {});
    await devices.check('a', AbortSignal.timeout(20_000));
    expect(devices.drifts('a').length).toBeGreaterThan(0);
  });

  it('UN-3 a revision that cannot be taken is an alarm until another one is', async () => {
    const devices = await devicesWith();
    devices.intend(held(2, '{'), BY);
    await until('that is said', () => devices.alarms.length > 0);
    expect(devices.alarms).toEqual([expect.stringMatching(/^revision 2 could not be given to devices: /)]);
    devices.intend(held(3, whole({ a: ports('10.1.1.1') })), BY);
    await until('it is accorded', () => states(devices)[0] === 'a accorded');
    expect(devices.alarms).toEqual([]);
  });

  it('UN-6 UN-14 go by accords that come into force while the level stays', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const files = { accords: join(stage.root, 'accords.json'), zones: join(stage.root, 'zones.json') };
    const devices = await devicesWith({ accords: new UnderlayAccords(readPathAccords(files)) });
    devices.intend(held(2, whole({ a: ports('10.1.1.1') }, {})), BY);
    await until('it waits', () => states(devices)[0] === 'a waiting');
    for (const name of ['accords', 'zones'] as const)
      writeFileSync(files[name], readFileSync(join(DEFAULTS, `${name}.json`)));
    vi.advanceTimersByTime(10_000);
    await until('it is accorded', () => states(devices)[0] === 'a accorded');
  });

  it('UN-6 whose memory cannot be read now are not touched until it can, and nothing is put aside', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const directory = join(stage.state, 'devices');
    mkdirSync(join(directory, 'a.json'), { recursive: true });
    const devices = await devicesWith();
    devices.intend(held(2, whole({ a: ports('10.1.1.1'), b: ports('10.1.2.1') })), BY);
    await until('the other one is accorded', () => states(devices).join() === 'b accorded');
    vi.advanceTimersByTime(10_000);
    await setImmediate();
    expect(devices.alarms).toEqual([expect.stringMatching(/^a: nothing is done on it: EISDIR/)]);
    const own = readdirSync(directory).filter((name) => name.startsWith('a.'));
    expect([own, ways.works.length]).toEqual([['a.json'], 1]);
    rmdirSync(join(directory, 'a.json'));
    await until('it is accorded', () => {
      vi.advanceTimersByTime(10_000);
      return states(devices).join() === 'a accorded,b accorded';
    });
    expect(devices.alarms).toEqual([]);
  });

  it('UN-6 that are dead do not hold the others up', async () => {
    const dead = ['d1', 'd2', 'd3', 'd4', 'd5', 'd6'];
    let [tries, hanging, most] = [0, 0, 0];
    ways.reading = async (device, signal) => {
      if (device === 'a') return;
      tries += 1;
      if (tries <= dead.length) throw new Error('it does not answer');
      hanging += 1;
      most = Math.max(most, hanging);
      await new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(new Error('it was told to end'));
        });
      });
    };
    const devices = await devicesWith();
    const trees = [...dead, 'a'].map((id) => [id, ports('10.1.1.1')] as const);
    devices.intend(held(2, whole(Object.fromEntries(trees))), BY);
    await until(
      'they do not answer',
      () => states(devices).filter((each) => each.endsWith('unreachable')).length === 6,
    );
    await until('a is accorded', () => states(devices)[0] === 'a accorded');
    const end = new AbortController();
    const checks = dead.map((id) => devices.check(id, end.signal));
    await until('they are asked again', () => hanging > 0);
    expect(await devices.check('a', AbortSignal.timeout(20_000))).toMatchObject([{ state: 'accorded' }]);
    expect(most).toBe(1);
    end.abort();
    await Promise.all(checks);
  });
});

describe('operational', { timeout: 60_000 }, () => {
  const given: string[] = [];
  const documents = {
    state: { phase: 'opening' },
    observed: (text: string) => {
      given.push(text);
      return Promise.resolve();
    },
  } as unknown as IntentDocuments;
  const large = (letter: string): deviceTree.DeviceTree => ({
    'ietf-interfaces:interfaces': {
      interface: [
        { name: 'port1', type: 'iana-if-type:ethernetCsmacd', description: letter.repeat(1_100_000) },
      ],
    },
  });
  const begun = async (over: Partial<DevicesParts> = {}): Promise<Devices> => {
    given.length = 0;
    const devices = await devicesWith(over);
    devices.begin(documents);
    return devices;
  };
  const reads = async (devices: Devices, device: string, tree: deviceTree.DeviceTree): Promise<void> => {
    ways.put(device, tree);
    await devices.check(device, AbortSignal.timeout(20_000));
  };

  it('UN-6 is given what was read, at most once a minute where that is large, and nothing of who is gone', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const devices = await begun();
    devices.intend(held(2, whole({ a: {}, b: {} })), BY);
    await until('they are accorded', () => states(devices).join() === 'a accorded,b accorded');
    vi.advanceTimersByTime(5_000);
    expect(given).toHaveLength(1);
    await reads(devices, 'a', large('x'));
    vi.advanceTimersByTime(5_000);
    expect(given).toHaveLength(1);
    vi.advanceTimersByTime(55_000);
    expect(given).toHaveLength(2);
    expect(given[1]).toContain('xxx');
    // It is read and goes; and what was read is not there any more.
    let release = (): void => undefined;
    let isAsked = false;
    ways.reading = () => {
      isAsked = true;
      return new Promise<void>((resolve) => (release = resolve));
    };
    ways.put('a', large('y'));
    const check = devices.check('a', AbortSignal.timeout(20_000));
    await until('it is asked', () => isAsked);
    devices.intend(held(3, whole({ b: {} })), BY);
    await until('it is gone', () => states(devices).join() === 'b accorded');
    release();
    await check;
    vi.advanceTimersByTime(60_000);
    expect(given).toHaveLength(3);
    expect([given[2]?.includes('"id":"b"'), given[2]?.includes('"id":"a"')]).toEqual([true, false]);
  });

  it('UN-6 is given nothing larger than a document may be, and that is an alarm as long as it is so', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const devices = await begun({ documentBytes: 1_000_000 });
    devices.intend(held(2, whole({ a: {} })), BY);
    await until('it is accorded', () => states(devices).join() === 'a accorded');
    await reads(devices, 'a', large('x'));
    vi.advanceTimersByTime(60_000);
    expect([given, devices.alarms]).toEqual([[], [expect.stringContaining('the most is 1000000')]]);
    await reads(devices, 'a', ports('10.1.1.1'));
    vi.advanceTimersByTime(60_000);
    expect([given.length, devices.alarms]).toEqual([1, []]);
  });
});

/**
 * One device and its keeper: a plan that waits, for its turn or for memory, while the intent becomes another one.
 * Must not leave a file.
 */
import type { deviceTree } from '@kedge/intent-model';
import { sha256 } from '@kedge/intent-store';
import { type DeviceMemory, type DevicePosture, intendedOf, inventoryOf } from '@kedge/rollout';
import type { Epoch } from '@kedge/units';
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';

import { DeviceKeeper } from '../src/device-keeper.js';
import { DriftRecords } from '../src/drift-records.js';
import { Turns } from '../src/turns.js';
import { BY, CLOCK, LOG, MemoryWays, OPEN, ports, siteOf, until } from './memory-ways.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

describe('a keeper', { timeout: 60_000 }, () => {
  const POSTURE: DevicePosture = { level: 5, epoch: 1n as Epoch, underlay: OPEN };
  const intend = (keeper: DeviceKeeper, number: number, tree: deviceTree.DeviceTree): void => {
    const site = siteOf(['a']);
    const device = inventoryOf(site).get('a');
    if (device === undefined) throw new Error('no device');
    const said = { number, by: BY, isRecalled: false };
    const intended = intendedOf({ devices: new Map([['a', tree]]) }, site, device, said, sha256);
    keeper.feed({ kind: 'intended', intended });
  };

  it('UN-3 a plan is not sent after its revision was taken back, also where memory takes long', async () => {
    for (const where of ['turn', 'memory'] as const) {
      const ways = new MemoryWays();
      const turns = new Turns(1);
      let isReady = false;
      let release = (): void => undefined;
      const wait = new Promise<void>((resolve) => (release = resolve));
      ways.reading = () => {
        // Somebody else is next at the way to devices, and takes long.
        if (where === 'turn' && !isReady) void turns.within(() => wait);
        return Promise.resolve();
      };
      const keep = (memory: DeviceMemory): Promise<void> => {
        if (memory.attempt?.intent?.revision !== 2) return Promise.resolve();
        isReady = true;
        return where === 'memory' ? wait : Promise.resolve();
      };
      const keeper = new DeviceKeeper(
        'a',
        {},
        {
          ...{ reach: ways, drivers: ways.drivers, files: { keep }, clock: CLOCK, log: LOG },
          records: new DriftRecords({ appliance: 'box-7', bootId: 'boot-1234' }, CLOCK),
          append: () => Promise.resolve(),
          ...{ ways: turns, desk: new Turns(1), doubtful: new Turns(1) },
          observed: () => undefined,
        },
      );
      ends.push(() => keeper.close());
      keeper.feed({ kind: 'posture', posture: POSTURE });
      intend(keeper, 2, ports('10.1.2.1'));
      await until('it is written down that the plan begins', () => isReady);
      intend(keeper, 3, ports('10.1.3.1'));
      await setImmediate();
      release();
      await until('the other one is there', () => keeper.state.memory.carried?.revision === 3);
      expect(ways.works.map(({ plan }) => JSON.stringify(plan.steps.map(({ path }) => path)))).toEqual([
        expect.stringContaining('10.1.3.1'),
      ]);
      expect([where, keeper.state.trouble]).toEqual([where, undefined]);
    }
  });
});

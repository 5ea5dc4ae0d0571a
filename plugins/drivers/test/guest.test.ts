/**
 * The Linux driver against a kernel that has everything: VLANs on bridges and interfaces, tunnels, addresses, routes;
 * any state to any other and back.
 * Must not leave a guest.
 */
import { planText } from '@kedge/compiler';
import { carryOut, readDevice, type Target, toolCarrier } from '@kedge/driver-host';
import { baseOf, madeTree, type MadeFeatures, picksFrom, type ToolWords } from '@kedge/driver-kit';
import type { deviceTree } from '@kedge/intent-model';
import { inverseOf } from '@kedge/reconcile';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { linuxDriver } from '../src/index.js';
import { compiled, linuxDevice, possible, sha256 } from './bench-device.js';
import { bootGuest, type Guest } from './guest-kernel.js';

const PORTS = ['port1', 'port2', 'port3'];
const FEATURES: MadeFeatures = {
  ports: PORTS,
  bridges: 2,
  vlans: true,
  routes: true,
  tunnels: ['gre', 'ip-in-ip', 'vxlan'],
  filters: false,
  details: true,
};
const never = new AbortController().signal;
const device = linuxDevice(PORTS, true);
let guest: Guest;
let target: Target<ToolWords, string, ToolWords>;

beforeAll(async () => {
  guest = await bootGuest();
  for (const name of PORTS) {
    for (const words of [
      ['link', 'add', 'name', name, 'type', 'veth', 'peer', 'name', `${name}-far`],
      ['link', 'set', 'dev', `${name}-far`, 'up'],
    ])
      expect(await guest.run('ip', words, '', never)).toMatchObject({ status: 0 });
  }
  target = { driver: linuxDriver, carrier: toolCarrier({ run: guest.run }), device, sha256 };
});
afterAll(async () => {
  await (guest as Guest | undefined)?.stop();
});

describe('a Linux host with VLANs', () => {
  it('UN-3 is brought from any state into any other and back, and a second plan is empty', async () => {
    let former: deviceTree.DeviceTree = {};
    let reading = await readDevice(target, never);
    const kinds = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const intended = possible(madeTree(picksFrom(seed), FEATURES), device);
        const compilation = compiled(device, intended, reading, former);
        former = intended;
        if (compilation.outcome === 'unchanged') return;
        if (compilation.outcome === 'refused') expect(compilation.refusals).toEqual([]);
        if (compilation.outcome !== 'planned') return;
        const { plan } = compilation;
        for (const { id } of plan.steps) {
          const kind = id.split('/')[1] ?? '';
          kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        }
        for (const turn of [plan, inverseOf(plan), plan]) {
          const carried = await carryOut(target, turn, {
            signal: never,
            over: turn === plan ? 'base' : 'steps',
          });
          expect(carried.applied.failure, planText(turn)).toBeUndefined();
          if (carried.reading !== undefined) reading = carried.reading;
          if (turn !== plan) expect(baseOf(reading, sha256)).toBe(plan.base);
        }
        expect(compiled(device, intended, reading, intended)).toMatchObject({
          outcome: 'unchanged',
        });
      }),
      // The first two visit every kind.
      { numRuns: 5, endOnFailure: true, examples: [[321], [202]] },
    );
    for (const kind of [
      'interface',
      'bridge-vlan',
      'bridge-port',
      'member',
      'pvid',
      'address',
      'route',
      'enabled',
    ])
      expect(kinds.get(kind) ?? 0, kind).toBeGreaterThan(1);
  }, 120_000);
});

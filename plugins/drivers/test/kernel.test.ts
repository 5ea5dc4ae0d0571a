/**
 * The Linux driver against the kernel of this machine, in network namespaces of its own: any state to any other and
 * back, other people's things, failures in the middle.
 * Must not leave a namespace.
 */
import { execFileSync } from 'node:child_process';

import { planText } from '@kedge/compiler';
import { carryOut, readDevice, type Target, toolCarrier } from '@kedge/driver-host';
import { baseOf, madeTree, type MadeFeatures, picksFrom, type ToolWords } from '@kedge/driver-kit';
import type { deviceTree } from '@kedge/intent-model';
import { inverseOf } from '@kedge/reconcile';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { linuxDriver } from '../src/index.js';
import { compiled, linuxDevice, possible, sha256 } from './bench-device.js';

const NETNS = `kedge-dr-${String(process.pid)}`;
const PORTS = ['port1', 'port2', 'port3'];
const FEATURES: MadeFeatures = {
  ports: PORTS,
  bridges: 2,
  // This kernel may be built without VLANs; the guest kernel's test has them.
  vlans: false,
  routes: true,
  tunnels: ['vxlan'],
  filters: false,
  details: true,
};
const ip = (...words: string[]): string =>
  execFileSync('ip', ['-n', NETNS, ...words.flatMap((one) => one.split(' '))], { encoding: 'utf8' });
const never = new AbortController().signal;
const device = linuxDevice(PORTS, false);
const target: Target<ToolWords, string, ToolWords> = {
  driver: linuxDriver,
  carrier: toolCarrier({ netns: NETNS, timeoutMs: 20_000 }),
  device,
  sha256,
};

beforeAll(() => {
  execFileSync('ip', ['netns', 'add', NETNS]);
  for (const name of PORTS) ip(`link add name ${name} type veth peer name ${name}-far`);
  for (const name of PORTS) ip(`link set ${name}-far up`);
});
afterAll(() => {
  execFileSync('ip', ['netns', 'delete', NETNS]);
});

describe('a Linux host', () => {
  it('UN-3 is brought from any state into any other and back, and a second plan is empty', async () => {
    let former: deviceTree.DeviceTree = {};
    let steps = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const intended = possible(madeTree(picksFrom(seed), FEATURES), device);
        const before = await readDevice(target, never);
        const compilation = compiled(device, intended, before, former);
        former = intended;
        if (compilation.outcome === 'unchanged') return;
        if (compilation.outcome === 'refused') expect(compilation.refusals).toEqual([]);
        if (compilation.outcome !== 'planned') return;
        const { plan } = compilation;
        steps += plan.steps.length;
        for (const turn of [plan, inverseOf(plan), plan]) {
          const carried = await carryOut(target, turn, {
            signal: never,
            over: turn === plan ? 'base' : 'steps',
          });
          expect(carried.applied.failure, planText(turn)).toBeUndefined();
          expect(carried.applied.done).toHaveLength(plan.steps.length);
          if (turn !== plan) expect(baseOf(await readDevice(target, never), sha256)).toBe(plan.base);
        }
        expect(compiled(device, intended, await readDevice(target, never), intended)).toMatchObject({
          outcome: 'unchanged',
        });
      }),
      { numRuns: 25, endOnFailure: true },
    );
    expect(steps).toBeGreaterThan(200);
  });
});

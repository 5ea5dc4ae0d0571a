/**
 * The Linux driver against the kernel of this machine, in network namespaces of its own: any state to any other and
 * back, other people's things, failures in the middle.
 * Must not leave a namespace.
 */
import { execFileSync } from 'node:child_process';

import { planText } from '@kedge/compiler';
import type { Plan } from '@kedge/contracts';
import { carryOut, readDevice, type Target, toolCarrier } from '@kedge/driver-host';
import {
  baseOf,
  madeTree,
  type MadeFeatures,
  picksFrom,
  type Reading,
  type ToolWords,
} from '@kedge/driver-kit';
import type { deviceTree } from '@kedge/intent-model';
import { inverseOf } from '@kedge/reconcile';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

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

const read = () => readDevice(target, never);
const planFor = (intended: deviceTree.DeviceTree, actual: Reading, former?: deviceTree.DeviceTree): Plan => {
  const one = compiled(device, intended, actual, former);
  if (one.outcome !== 'planned') throw new Error(JSON.stringify(one));
  return one.plan;
};
const ports = (...list: readonly deviceTree.Interface[]): deviceTree.DeviceTree => ({
  'ietf-interfaces:interfaces': { interface: list },
});
const port = (name: string, more: Partial<deviceTree.Interface> = {}): deviceTree.Interface => ({
  ...{ name, type: 'iana-if-type:ethernetCsmacd' },
  ...more,
});
const address = (...ips: readonly string[]): Partial<deviceTree.Interface> => ({
  'ietf-ip:ipv4': { address: ips.map((each) => ({ ip: each, 'prefix-length': 24 })) },
});
const routes = (...destinations: readonly string[]): deviceTree.DeviceTree => ({
  'ietf-routing:routing': {
    'control-plane-protocols': {
      'control-plane-protocol': [
        {
          ...{ type: 'ietf-routing:static', name: 'site' },
          'static-routes': {
            'ietf-ipv4-unicast-routing:ipv4': {
              route: destinations.map((each) => ({
                'destination-prefix': each,
                'next-hop': { 'special-next-hop': 'blackhole' },
              })),
            },
          },
        },
      ],
    },
  },
});
/** The way of the target, with somebody's hand in it. */
const withCarrier = (change: Partial<typeof target.carrier>): typeof target => ({
  ...target,
  carrier: { ...target.carrier, ...change },
});

/** Takes everything away that earlier tests have left. */
async function clear(): Promise<void> {
  const reading = await read();
  const former = ports(...PORTS.map((name) => port(name)));
  const one = compiled(
    device,
    ports(...PORTS.map((name) => port(name, { enabled: false }))),
    reading,
    former,
  );
  if (one.outcome === 'planned') {
    const carried = await carryOut(target, one.plan, { signal: never });
    expect(carried.applied.failure).toBeUndefined();
  }
}

describe('a Linux host', () => {
  beforeEach(clear);

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
      { numRuns: 15, endOnFailure: true },
    );
    expect(steps).toBeGreaterThan(100);
  });

  it('UN-3 keeps what somebody else made, and refuses to make it once more', async () => {
    ip('link add name theirs type bridge');
    ip('address add 172.17.0.1/16 dev theirs');
    ip('link set dev theirs up');
    ip('route add 10.77.0.0/16 dev theirs proto static');
    const others = (): string => ip('address show dev theirs') + ip('route show proto static');
    const before = others();
    const intended = {
      ...ports(port('port1', address('10.1.1.1')), { name: 'br0', type: 'iana-if-type:bridge' }),
      ...routes('10.88.0.0/16'),
    };
    const plan = planFor(intended, await read());
    for (const turn of [plan, inverseOf(plan)])
      expect((await carryOut(target, turn, { signal: never, over: 'steps' })).applied.outcome).toBe(
        'applied',
      );
    expect(others()).toBe(before);
    expect(
      compiled(device, ports({ name: 'theirs', type: 'iana-if-type:bridge' }), await read()),
    ).toMatchObject({
      outcome: 'refused',
      refusals: [{ code: 'COMPILER_FOREIGN' }],
    });
    ip('link delete dev theirs');
  });

  it('UN-10 rolls back by inverses when a step fails, wherever it stands', async () => {
    const destinations = ['10.90.0.0/16', '10.91.0.0/16', '10.92.0.0/16', '10.93.0.0/16'];
    const intended = {
      ...ports(port('port1', { description: 'a # b', ...address('10.1.1.1', '10.1.2.1') }), {
        ...{ name: 'br0', type: 'iana-if-type:bridge' },
        ...address('10.1.3.1'),
      }),
      ...routes(...destinations),
    };
    let visited = 0;
    for (const taken of destinations) {
      const before = await read();
      const plan = planFor(intended, before);
      // Somebody else's route to the same place: the kernel refuses ours, and reading did not show it.
      ip(`route add blackhole ${taken} proto static`);
      const { applied, rolledBack, remaining, reading } = await carryOut(target, plan, { signal: never });
      expect(applied).toMatchObject({
        ...{ outcome: 'failed', done: [] },
        failure: { code: 'DRIVER_REFUSED', step: `add/route/${taken}` },
      });
      expect(applied.failure?.message).toContain(`ip route add blackhole ${taken} table main proto 109`);
      expect([rolledBack, remaining]).toEqual([true, []]);
      expect(reading === undefined ? '' : baseOf(reading, sha256)).toBe(plan.base);
      expect(ip('route show type blackhole')).toContain(`${taken.slice(0, -3)}/16 proto static`);
      ip(`route delete blackhole ${taken} proto static`);
      visited += 1;
    }
    expect(visited).toBe(4);
  });

  it('UN-10 finds out by reading what a write of unknown outcome has done, and takes it back', async () => {
    const intended = ports(
      port('port1', address('10.1.1.1', '10.1.2.1')),
      port('port2', { description: 'x' }),
      {
        ...{ name: 'br0', type: 'iana-if-type:bridge' },
      },
    );
    const plan = planFor(intended, await read());
    let lost = 0;
    for (const half of [1, 3, 5, 7]) {
      let isFirst = true;
      const carried = await carryOut(
        withCarrier({
          write: async (commands, signal) => {
            if (!isFirst) return target.carrier.write(commands, signal);
            isFirst = false;
            lost += 1;
            await target.carrier.write(commands.slice(0, half), signal);
            return { done: undefined, failure: { code: 'ROUTES_TIMEOUT', message: 'no reply' } };
          },
        }),
        plan,
        { signal: never },
      );
      expect(carried).toMatchObject({
        applied: { outcome: 'failed', done: [] },
        rolledBack: true,
        remaining: [],
      });
      expect(baseOf(await read(), sha256)).toBe(plan.base);
    }
    expect(lost).toBe(4);
  });

  it('UN-10 says exactly what is left when a rollback cannot be complete', async () => {
    ip('link add name port9 type veth peer name port9-far');
    const more = linuxDevice([...PORTS, 'port9'], false);
    const before = await readDevice({ ...target, device: more }, never);
    const intended = {
      ...ports(port('port9', address('10.1.1.1')), port('port2', { description: 'x' })),
      ...routes('10.90.0.0/16'),
    };
    const one = compiled(more, intended, before);
    if (one.outcome !== 'planned') throw new Error(JSON.stringify(one));
    ip('route add blackhole 10.90.0.0/16 proto static');
    const carried = await carryOut(
      withCarrier({
        write: async (commands, signal) => {
          const written = await target.carrier.write(commands, signal);
          // Somebody pulls the interface out while the plan fails.
          if (written.failure !== undefined) ip('link delete dev port9');
          return written;
        },
      }),
      one.plan,
      { signal: never },
    );
    ip('route delete blackhole 10.90.0.0/16 proto static');
    expect(carried).toMatchObject({
      applied: { outcome: 'failed', done: [] },
      rolledBack: false,
      remaining: [
        {
          path: "/ietf-interfaces:interfaces/interface[name='port9']",
          intended: { name: 'port9', type: 'iana-if-type:ethernetCsmacd', enabled: false },
          actual: null,
        },
      ],
    });
    expect(carried.remaining).toHaveLength(1);
  });

  it('UN-14 stops at a safe point when leave is withdrawn, and leaves the device as it was', async () => {
    const many = Array.from(
      { length: 150 },
      (_, index) => `10.${String(100 + (index >> 6))}.${String(index & 63)}.0/24`,
    );
    const plan = planFor(routes(...many), await read());
    let asked = 0;
    let written = 0;
    const carried = await carryOut(
      withCarrier({
        write: (commands, signal) => {
          written += commands.length;
          return target.carrier.write(commands, signal);
        },
      }),
      plan,
      { signal: never, mayWrite: () => (asked += 1) < 3 },
    );
    expect(carried).toMatchObject({
      applied: { outcome: 'cancelled', done: [] },
      rolledBack: true,
      remaining: [],
    });
    // Two writes of at most 64 commands were let through, and taken back.
    expect([asked, written]).toEqual([3, 256]);
    expect(baseOf(await read(), sha256)).toBe(plan.base);
    const stopped = await carryOut(target, plan, { signal: AbortSignal.abort() });
    expect(stopped.applied).toEqual({ outcome: 'cancelled', done: [] });
  });

  it('UN-10 writes nothing over a device that is no longer as it was read', async () => {
    const plan = planFor(ports(port('port1', { description: 'x' })), await read());
    ip('link set dev port3 up');
    const stale = await carryOut(target, plan, { signal: never });
    expect(stale.applied).toMatchObject({ outcome: 'failed', done: [], failure: { code: 'DRIVER_STALE' } });
    const undo = await carryOut(target, inverseOf(plan), { signal: never, over: 'steps' });
    expect(undo.applied).toMatchObject({ outcome: 'failed', done: [], failure: { code: 'DRIVER_STALE' } });
    expect(ip('link show dev port1')).not.toContain('alias');
  });

  it('UN-3 keeps any description as it is', async () => {
    let held = 0;
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 80 }), async (text) => {
        const intended = possible(ports(port('port1', { description: text, enabled: false })), device);
        const one = compiled(device, intended, await read());
        if (one.outcome === 'refused') expect(one.refusals).toEqual([]);
        if (one.outcome !== 'planned') return;
        held += 1;
        const carried = await carryOut(target, one.plan, { signal: never });
        expect(carried.applied.failure, JSON.stringify(text)).toBeUndefined();
      }),
      {
        numRuns: 30,
        examples: [['#'], ["it's"], ['"'], [`'"`], [`'"#\\`], [' '], ['a  b'], ['\\'], ['\\n']],
      },
    );
    expect(held).toBeGreaterThan(8);
  });

  it('UN-8 reads a thousand interfaces in three questions', async () => {
    const many = `${NETNS}-many`;
    execFileSync('ip', ['netns', 'add', many]);
    const pairs = Array.from(
      { length: 500 },
      (_, index) => `link add name v${String(index)} type veth peer name w${String(index)}\n`,
    );
    execFileSync('ip', ['-n', many, '-batch', '-'], { input: pairs.join('') });
    let asked = 0;
    const counting = toolCarrier({ netns: many });
    const reading = await readDevice(
      withCarrier({
        ask: (questions, signal) => {
          asked += questions.length;
          return counting.ask(questions, signal);
        },
      }),
      never,
    );
    execFileSync('ip', ['netns', 'delete', many]);
    expect(asked).toBe(3);
    expect(reading.tree['ietf-interfaces:interfaces']?.interface?.length).toBeGreaterThanOrEqual(1000);
  });

  it('says what was wrong when the device cannot be read', async () => {
    const nowhere = { ...target, carrier: toolCarrier({ netns: 'kedge-nowhere' }) };
    await expect(readDevice(nowhere, never)).rejects.toMatchObject({ code: 'DRIVER_READ' });
    const plan = planFor(ports(port('port1', { description: 'x' })), await read());
    expect((await carryOut(nowhere, plan, { signal: never })).applied).toMatchObject({
      outcome: 'failed',
      failure: { code: 'DRIVER_READ' },
    });
  });
});

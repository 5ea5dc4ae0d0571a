/**
 * From the example site to plans: what is refused, what is left alone, what is skipped, and plans as text to be read.
 * Must not reach a device: the drivers here are data for devices that show whatever they are told.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { checkPlan, type GateMode } from '@kedge/reconcile';
import type { AnyDriver, DriverManifest, Reading } from '@kedge/driver-kit';
import { planData, planFrom, type deviceTree, type siteTree } from '@kedge/intent-model';
import type { Epoch } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  aimAt,
  compile,
  type DeviceCompilation,
  type DeviceInput,
  differencesBetween,
  differencesText,
  planText,
} from './index.js';

type Tree = deviceTree.DeviceTree;
type Interface = deviceTree.Interface;

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
const example = <Kind>(path: string): Kind =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../../../yang/examples/valid', path), 'utf8')) as Kind;

/** A driver of devices that hold and show everything. */
const driver = (name: string, access: DriverManifest['access'], marks: boolean): AnyDriver => ({
  manifest: {
    ...{ name, version: 1, access, marks },
    capabilities: [
      'kedge-inventory:addressing',
      'kedge-inventory:bridging',
      'kedge-inventory:filtering',
      'kedge-inventory:hardware-inventory',
      'kedge-inventory:port-state',
      'kedge-inventory:static-routing',
      'kedge-inventory:tunnelling',
      'kedge-inventory:vlan-bridging',
    ],
  },
  questions: () => [],
  lift: () => ({ tree: {}, own: [] }),
  shape: (object) => ({ as: 'held', object }),
  encode: () => [],
});
const drivers = [driver('linux', 'local', true), driver('q-bridge', 'snmp', false)];
const site = example<siteTree.SiteTree>('site/branch-office.json');
const access = example<Tree>('device/access-switch.json');
const router = example<Tree>('device/router-of-a-site.json');

const tree = (...list: readonly Interface[]): Tree => ({ 'ietf-interfaces:interfaces': { interface: list } });
const port = (name: string, more: Partial<Interface> = {}): Interface => ({
  ...{ name, type: 'iana-if-type:ethernetCsmacd' },
  ...more,
});
/** A switch with its ports in one bridge, and nothing configured. */
const bare: Reading = {
  own: [],
  tree: tree(
    { name: 'br0', type: 'iana-if-type:bridge' },
    ...['port1', 'port2', 'port3', 'port4'].map((name) =>
      port(name, { 'kedge-bridging:bridge-port': { bridge: 'br0' } }),
    ),
  ),
};
const host: Reading = { own: [], tree: tree(port('lan0'), port('wan0'), port('wan1')) };
const options = { epoch: 7n as Epoch, gate: 'open' as GateMode, drivers, sha256 };

const compileOne = (input: DeviceInput, of: siteTree.SiteTree = site): DeviceCompilation => {
  const [one, ...more] = compile(of, [input], options);
  expect(more).toEqual([]);
  return one as DeviceCompilation;
};
const stepsOf = (input: DeviceInput, of?: siteTree.SiteTree): string[] => {
  const one = compileOne(input, of);
  if (one.outcome === 'refused') expect(one.refusals).toEqual([]);
  return one.outcome === 'planned' ? planText(one.plan).trim().split('\n').slice(1) : [];
};
const refusalsOf = (input: DeviceInput, of?: siteTree.SiteTree): [string, string | undefined][] => {
  const one = compileOne(input, of);
  return one.outcome === 'refused'
    ? one.refusals.map(({ code, path, message, expected }) => {
        expect(message.startsWith('cannot ') && expected !== '').toBe(true);
        return [code, path.replace('/ietf-interfaces:interfaces/interface', '')];
      })
    : [];
};
const withSite = (
  change: (copy: { -readonly [Key in keyof siteTree.SiteTree]: siteTree.SiteTree[Key] }) => void,
) => {
  const copy = structuredClone(site);
  change(copy);
  return copy;
};
const withDevice = (id: string, more: Partial<siteTree.Device>) =>
  withSite((copy) => {
    copy['kedge-inventory:devices'] = {
      device: (copy['kedge-inventory:devices']?.device ?? []).map((each) =>
        each.id === id ? { ...each, ...more } : each,
      ),
    };
  });

describe('a plan', () => {
  it('UN-3 of a new switch is this', async () => {
    const one = compileOne({ device: 'switch-1', intended: access, actual: bare }, bridging);
    await expect(one.outcome === 'planned' ? planText(one.plan) : JSON.stringify(one)).toMatchFileSnapshot(
      'golden/new-switch.txt',
    );
  });

  it('UN-3 of a port that moves and a network that goes is this', async () => {
    const next = structuredClone(access) as {
      'ietf-interfaces:interfaces': { interface: Interface[] };
    } & Tree;
    const list = next['ietf-interfaces:interfaces'].interface;
    next['ietf-interfaces:interfaces'].interface = list.map((each): Interface => {
      if (each.name === 'port1')
        return {
          ...each,
          'kedge-bridging:bridge-port': {
            bridge: 'br0',
            pvid: 20,
            'acceptable-frames': 'untagged',
            vlan: [{ id: 20, tagging: 'untagged' }],
          },
        };
      if (each.name === 'port4')
        return {
          ...each,
          'kedge-bridging:bridge-port': {
            bridge: 'br0',
            'acceptable-frames': 'tagged',
            vlan: [{ id: 20 }, { id: 99 }],
          },
        };
      if (each.name === 'br0')
        return { ...each, 'kedge-bridging:bridge': { 'ageing-time': 600, vlan: [{ id: 20 }, { id: 99 }] } };
      return each;
    });
    const named = structuredClone(access) as typeof next;
    for (const each of named['ietf-interfaces:interfaces'].interface) {
      const bridge = each['kedge-bridging:bridge'];
      if (bridge !== undefined)
        Object.assign(bridge, {
          vlan: [
            { id: 10, name: 'staff' },
            { id: 20, name: 'guests' },
            { id: 99, name: 'devices' },
          ],
        });
    }
    const one = compileOne(
      { device: 'switch-1', intended: next, former: access, actual: { own: [], tree: named } },
      bridging,
    );
    await expect(one.outcome === 'planned' ? planText(one.plan) : JSON.stringify(one)).toMatchFileSnapshot(
      'golden/moved-port.txt',
    );
  });

  it('UN-3 of a new appliance is this, and differences read like it', async () => {
    const input = { device: 'appliance', intended: router, actual: host };
    const one = compileOne(input);
    await expect(one.outcome === 'planned' ? planText(one.plan) : JSON.stringify(one)).toMatchFileSnapshot(
      'golden/new-appliance.txt',
    );
    const { before, after } = aimAt(site, input, options);
    await expect(differencesText(differencesBetween(after, before))).toMatchFileSnapshot(
      'golden/new-appliance-compared.txt',
    );
  });

  it('UN-3 holds together, is the same in the form of kedge-plan, and each step says where it comes from', () => {
    const one = compileOne({ device: 'switch-1', intended: access, actual: bare }, bridging);
    if (one.outcome !== 'planned') throw new Error(JSON.stringify(one));
    checkPlan(one.plan);
    const without = one.plan.steps.map(({ origin, ...step }) => {
      expect(origin, step.id).toMatch(/^\//);
      return step;
    });
    expect(planFrom(planData(one.plan))).toEqual({ ...one.plan, steps: without });
    expect(one.plan.steps.find(({ id }) => id === 'add/bridge-vlan/br0/20')).toMatchObject({
      after: { id: 20, name: 'guests' },
      origin: "/kedge-site:site/network[name='guests']",
    });
  });
});

/** The example's switch makes no bridges; here it joins ports to one. */
const bridging = withDevice('switch-1', {
  capability: [
    'kedge-inventory:vlan-bridging',
    'kedge-inventory:bridging',
    'kedge-inventory:port-state',
    'kedge-inventory:addressing',
    'kedge-inventory:static-routing',
    'kedge-inventory:filtering',
  ],
});

/** The same with members and lists the other way round, but for lists that the user orders. */
function turned(value: unknown, isOrdered = false): unknown {
  if (Array.isArray(value)) {
    const list = value.map((each) => turned(each));
    return isOrdered ? list : list.reverse();
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, each]) => [name, turned(each, name === 'rule')]),
  );
}

describe('compiling', () => {
  it('UN-3 gives the same plan byte for byte, whatever the order of members, lists and devices', () => {
    const inputs = [
      { device: 'switch-1', intended: access, actual: bare },
      { device: 'appliance', intended: router, actual: host },
    ];
    const first = JSON.stringify(planTexts(compile(bridging, inputs, options)));
    expect(first.length).toBeGreaterThan(5000);
    const other = inputs.toReversed().map((input) => ({
      device: input.device,
      intended: turned(input.intended) as Tree,
      actual: turned(input.actual) as Reading,
    }));
    expect(JSON.stringify(planTexts(compile(turned(bridging) as siteTree.SiteTree, other, options)))).toBe(
      first,
    );
  });

  it('UN-3 keeps the order that the user gives: rules that change places are a change', () => {
    const rules = [
      { name: 'web', action: 'permit' as const },
      { name: 'rest', action: 'deny' as const },
    ];
    const acl = (list: typeof rules): Tree => ({
      'kedge-acl:acls': { acl: [{ family: 'ipv4', name: 'guests', rule: list }] },
    });
    const former = acl(rules);
    const actual = { own: [], tree: { ...bare.tree, ...former } };
    expect(stepsOf({ device: 'switch-1', intended: former, former, actual }, bridging)).toEqual([]);
    expect(
      stepsOf({ device: 'switch-1', intended: acl(rules.toReversed()), former, actual }, bridging),
    ).toEqual([
      '. ~ acl/ipv4/guests {"family":"ipv4","name":"guests","rule":[{"action":"permit","name":"web"},{"action":"deny","name":"rest"}]}' +
        ' -> {"family":"ipv4","name":"guests","rule":[{"action":"deny","name":"rest"},{"action":"permit","name":"web"}]}',
    ]);
  });

  it('UN-3 never touches what intent does not speak of and did not', () => {
    const foreign = tree(
      port('lan0'),
      port('wan0', {
        description: 'by hand',
        'ietf-ip:ipv4': { address: [{ ip: '192.0.2.9', 'prefix-length': 24 }] },
      }),
      port('wan1'),
      {
        name: 'docker0',
        type: 'iana-if-type:bridge',
        'ietf-ip:ipv4': { address: [{ ip: '172.17.0.1', 'prefix-length': 16 }] },
      },
    );
    const intended = tree(port('lan0', { description: 'to the floor' }));
    expect(stepsOf({ device: 'appliance', intended, actual: { own: [], tree: foreign } })).toEqual([
      '. + description/lan0 "to the floor"',
    ]);
    // Routes of a device that bears no mark are Kedge's only when intent knows them.
    const route = (destination: string): Tree => ({
      'ietf-routing:routing': {
        'control-plane-protocols': {
          'control-plane-protocol': [
            {
              type: 'ietf-routing:static',
              name: 'x',
              'static-routes': {
                'ietf-ipv4-unicast-routing:ipv4': {
                  route: [
                    { 'destination-prefix': destination, 'next-hop': { 'special-next-hop': 'blackhole' } },
                  ],
                },
              },
            },
          ],
        },
      },
    });
    const actual = { own: [], tree: { ...bare.tree, ...route('10.9.0.0/16') } };
    expect(stepsOf({ device: 'switch-1', intended: {}, actual }, bridging)).toEqual([]);
    expect(
      stepsOf({ device: 'switch-1', intended: {}, former: route('10.9.0.0/16'), actual }, bridging),
    ).toEqual([
      '. - route/10.9.0.0/16 {"destination-prefix":"10.9.0.0/16","next-hop":{"special-next-hop":"blackhole"}}',
    ]);
  });

  it('UN-3 takes away what intent spoke of and no longer does, and leaves links of the inventory as they are', () => {
    const former = tree(
      port('lan0', {
        description: 'to the floor',
        'ietf-ip:ipv4': { address: [{ ip: '10.20.10.1', 'prefix-length': 24 }] },
      }),
      { name: 'br0', type: 'iana-if-type:bridge' },
    );
    const actual = {
      own: ['br0'],
      tree: tree(...(former['ietf-interfaces:interfaces']?.interface ?? []), port('wan0'), port('wan1')),
    };
    const gone = [
      '. - description/lan0 "to the floor"',
      '. - address/lan0/10.20.10.1 {"ip":"10.20.10.1","prefix-length":24}',
    ];
    const bridge = ['. - enabled/br0 true', '. - interface/br0 {"name":"br0","type":"iana-if-type:bridge"}'];
    const withBridges = withDevice('appliance', {
      capability: ['kedge-inventory:addressing', 'kedge-inventory:port-state', 'kedge-inventory:bridging'],
    });
    expect(stepsOf({ device: 'appliance', intended: {}, former, actual }, withBridges).toSorted()).toEqual(
      [...gone, ...bridge].toSorted(),
    );
    // The mark alone tells of the bridge.
    expect(stepsOf({ device: 'appliance', intended: {}, actual }, withBridges)).toEqual(bridge);
  });

  it('UN-8 compares nothing of a device of which nothing has changed', () => {
    const input = {
      device: 'switch-1',
      intended: tree(port('port1', { 'kedge-bridging:bridge-port': { bridge: 'br0' } })),
      actual: bare,
    };
    const first = compileOne(input);
    expect(first).toMatchObject({ outcome: 'unchanged', skipped: false });
    if (first.outcome !== 'unchanged') return;
    const known = first.fingerprint;
    expect(compileOne({ ...input, known })).toMatchObject({ outcome: 'unchanged', skipped: true });
    expect(compileOne({ ...structuredClone(input), known })).toMatchObject({ skipped: true });
    expect(compileOne({ ...input, intended: tree(port('port1')), known }, bridging)).not.toMatchObject({
      skipped: true,
    });
    expect(compileOne({ ...input, known }, bridging)).toMatchObject({ skipped: false });
    const actual = {
      own: [],
      tree: tree(...(bare.tree['ietf-interfaces:interfaces']?.interface ?? []).slice(1)),
    };
    expect(compileOne({ ...input, actual, known })).not.toMatchObject({ skipped: true });
  });

  it('UN-3 refuses what spans the trees: VLANs, addresses and uplinks of the site', () => {
    const bridge = (id: number): Interface => ({
      name: 'br0',
      type: 'iana-if-type:bridge',
      'kedge-bridging:bridge': { vlan: [{ id }] },
    });
    const vlan = (id: number, ip: string): Interface => ({
      ...{ name: 'vlan99', type: 'iana-if-type:l2vlan' },
      'kedge-bridging:vlan-interface': { lower: 'port1', 'vlan-id': id },
      'ietf-ip:ipv4': { address: [{ ip, 'prefix-length': 24 }] },
    });
    const at = (...list: readonly Interface[]) =>
      refusalsOf({ device: 'switch-1', intended: tree(...list), actual: bare }, bridging);
    expect(at(bridge(11))).toEqual([['COMPILER_VLAN', "[name='br0']/kedge-bridging:bridge/vlan[id='11']"]]);
    expect(at(vlan(11, '192.0.2.1'))).toEqual([['COMPILER_VLAN', "[name='vlan99']"]]);
    expect(at(vlan(99, '192.0.2.1'))).toEqual([]);
    expect(at(vlan(99, '10.20.10.1'))).toEqual([
      ['COMPILER_ADDRESS', "[name='vlan99']/ietf-ip:ipv4/address[ip='10.20.10.1']"],
    ]);
    const actual = { own: [], tree: tree(port('lan0'), port('wan1')) };
    expect(refusalsOf({ device: 'appliance', intended: {}, actual })).toEqual([
      ['COMPILER_UPLINK', "/kedge-site:site/uplink[name='fibre']/interface"],
    ]);
  });

  it("UN-3 refuses interfaces that the device cannot have, has not, or that are somebody else's", () => {
    const at = (intended: Tree, actual: Reading = host) =>
      refusalsOf({ device: 'appliance', intended, actual });
    expect(at(tree(port('lan7')))).toEqual([['COMPILER_INTERFACE', "[name='lan7']"]]);
    expect(at(tree({ name: 'lan0', type: 'iana-if-type:bridge' }))).toEqual([
      ['COMPILER_INTERFACE', "[name='lan0']"],
    ]);
    expect(at(tree(port('lan0')), { own: [], tree: tree(port('wan0'), port('wan1')) })).toEqual([
      ['COMPILER_MISSING', "[name='lan0']"],
    ]);
    const other = tree(port('wan0'), port('wan1'), { name: 'lan0', type: 'iana-if-type:other' });
    expect(at(tree(port('lan0')), { own: [], tree: other })).toEqual([
      ['COMPILER_INTERFACE', "[name='lan0']"],
    ]);
    const tunnel: Interface = {
      ...{ name: 'gre1', type: 'iana-if-type:tunnel' },
      'kedge-tunnels:tunnel': { 'local-address': '192.0.2.1', 'remote-address': '192.0.2.2', gre: {} },
    };
    const there = tree(port('wan0'), port('wan1'), tunnel);
    expect(at(tree(tunnel), { own: [], tree: there })).toEqual([['COMPILER_FOREIGN', "[name='gre1']"]]);
    expect(at(tree(tunnel), { own: ['gre1'], tree: there })).toEqual([]);
  });

  it('UN-3 refuses what no plan can carry, names every such node, and stops no other device', () => {
    const intended: Tree = {
      ...tree(
        port('lan0', {
          'link-up-down-trap-enable': 'disabled',
          'ietf-ip:ipv4': {
            enabled: false,
            neighbor: [{ ip: '192.0.2.2', 'link-layer-address': '02:00:00:00:00:01' }],
          },
          'ietf-ip:ipv6': { 'dup-addr-detect-transmits': 1 },
        }),
        { name: 'br0', type: 'iana-if-type:bridge' },
      ),
      'ietf-routing:routing': { 'router-id': '192.0.2.1' },
    };
    expect(refusalsOf({ device: 'appliance', intended, actual: host })).toEqual([
      ['COMPILER_UNSUPPORTED', "[name='lan0']/ietf-ip:ipv4/enabled"],
      ['COMPILER_UNSUPPORTED', "[name='lan0']/ietf-ip:ipv4/neighbor"],
      ['COMPILER_UNSUPPORTED', "[name='lan0']/link-up-down-trap-enable"],
      ['COMPILER_UNSUPPORTED', '/ietf-routing:routing/router-id'],
    ]);
    expect(
      refusalsOf({
        device: 'appliance',
        intended: tree({ name: 'br0', type: 'iana-if-type:bridge' }),
        actual: host,
      }),
    ).toEqual([['COMPILER_CAPABILITY', "[name='br0']"]]);
    const outcomes = compile(
      site,
      [
        { device: 'appliance', intended, actual: host },
        { device: 'switch-9', intended: {}, actual: bare },
        {
          device: 'switch-1',
          intended: tree(port('port1', { enabled: false, 'kedge-bridging:bridge-port': { bridge: 'br0' } })),
          actual: bare,
        },
      ],
      options,
    );
    expect(outcomes.map(({ device, outcome }) => [device, outcome])).toEqual([
      ['appliance', 'refused'],
      ['switch-1', 'planned'],
      ['switch-9', 'refused'],
    ]);
    expect(outcomes[2]).toMatchObject({ refusals: [{ code: 'COMPILER_DEVICE' }] });
  });

  it('UN-11 refuses drivers that do not fit, and one device given twice', () => {
    const codes = (more: Partial<siteTree.Device>) =>
      refusalsOf({ device: 'switch-1', intended: {}, actual: bare }, withDevice('switch-1', more)).map(
        ([code]) => code,
      );
    expect(codes({ driver: 'unheard-of' })).toEqual(['DRIVER_UNKNOWN']);
    expect(codes({ capability: ['kedge-inventory:test-and-set'] })).toEqual(['DRIVER_CAPABILITY']);
    expect(codes({ driver: 'linux' })).toEqual(['DRIVER_ACCESS']);
    const twice = { device: 'switch-1', intended: {}, actual: bare };
    expect(() => compile(site, [twice, twice], options)).toThrow(
      expect.objectContaining({ code: 'COMPILER_TWICE' }) as Error,
    );
  });

  it('UN-3 plans for devices to come without letting it be applied, and not for retired ones', () => {
    const input = {
      device: 'switch-1',
      intended: tree(port('port1', { description: 'x', 'kedge-bridging:bridge-port': { bridge: 'br0' } })),
      actual: bare,
    };
    expect(compileOne(input)).toMatchObject({ outcome: 'planned', applicable: true });
    expect(compileOne(input, withDevice('switch-1', { 'life-cycle': 'planned' }))).toMatchObject({
      applicable: false,
    });
    expect(compileOne(input, withDevice('switch-1', { 'life-cycle': 'retired' }))).toEqual({
      device: 'switch-1',
      outcome: 'retired',
    });
  });

  it('UN-3 makes no plan where the gate lets none run: the compiler is frozen at 2 and 1', () => {
    fc.assert(
      fc.property(fc.constantFrom<GateMode>('open', 'tiers', 'emergency-only', 'frozen'), (gate) => {
        const run = (): unknown =>
          compile(site, [{ device: 'switch-1', intended: {}, actual: bare }], { ...options, gate });
        if (gate === 'open' || gate === 'tiers') expect(run).not.toThrow();
        else expect(run).toThrow(expect.objectContaining({ code: 'COMPILER_FROZEN' }) as Error);
      }),
    );
  });
});

function planTexts(compilations: readonly DeviceCompilation[]): unknown[] {
  return compilations.map((each) =>
    each.outcome === 'planned' ? [each.plan.steps, planText(each.plan)] : each,
  );
}

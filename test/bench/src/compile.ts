/**
 * What compiling costs: 200 devices with 50 changes each, and 10,000 interfaces of which 100 have changed, where
 * unchanged devices are known by the hash of what was read, beside the full comparison.
 * Must not reach a device: readings are made up.
 */
import { createHash } from 'node:crypto';

import { compile, type DeviceCompilation, type DeviceInput } from '@kedge/compiler';
import { DRIVERS } from '@kedge/drivers';
import type { Reading } from '@kedge/driver-kit';
import type { deviceTree, siteTree } from '@kedge/intent-model';
import { type Epoch } from '@kedge/units';

import type { Bench } from './bench.js';
import { goalOf, hostOf, rowOf } from './figures.js';

const DEVICES = 200;
const PORTS = 50;
const CHANGES = 50;
const CHANGED = 100;
const VLANS = [10, 20, 30];

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

const idOf = (device: number): string => `switch-${String(device)}`;
const portOf = (port: number): string => `port${String(port)}`;

const SITE = {
  'kedge-zones:zones': { zone: [{ name: 'branch', id: 2 }] },
  'kedge-inventory:devices': {
    device: Array.from({ length: DEVICES }, (_, device) => ({
      id: idOf(device),
      driver: 'linux',
      capability: [
        'kedge-inventory:bridging',
        'kedge-inventory:vlan-bridging',
        'kedge-inventory:port-state',
        'kedge-inventory:addressing',
      ],
      management: { local: [null] },
      interface: Array.from({ length: PORTS }, (__, port) => ({
        name: portOf(port),
        type: 'iana-if-type:ethernetCsmacd',
      })),
    })),
  },
  'kedge-site:site': {
    name: 'bench',
    appliance: [idOf(0)],
    network: VLANS.map((id) => ({ name: `net-${String(id)}`, 'vlan-id': id, zone: 'branch' })),
  },
} as unknown as siteTree.SiteTree;

/** A switch with every port in one bridge; `vlanOf` says in which VLAN. */
function treeOf(vlanOf: (port: number) => number, what = 'desk'): deviceTree.DeviceTree {
  return {
    'ietf-interfaces:interfaces': {
      interface: [
        {
          name: 'br0',
          type: 'iana-if-type:bridge',
          'kedge-bridging:bridge': { vlan: VLANS.map((id) => ({ id })) },
        },
        ...Array.from({ length: PORTS }, (_, port): deviceTree.Interface => ({
          name: portOf(port),
          type: 'iana-if-type:ethernetCsmacd',
          description: `${what} ${String(port)}`,
          'kedge-bridging:bridge-port': {
            bridge: 'br0',
            pvid: vlanOf(port),
            vlan: [{ id: vlanOf(port), tagging: 'untagged' }],
          },
        })),
      ],
    },
  };
}

const readingOf = (tree: deviceTree.DeviceTree): Reading => ({ tree, own: ['br0'] });
const first = (): number => 10;

/** What one compilation took and found; the plans themselves are let go of, as a service lets go of them. */
interface Spent {
  readonly cpuNs: number;
  readonly steps: number;
  readonly skipped: number;
}

const compiled = (inputs: readonly DeviceInput[]): readonly DeviceCompilation[] =>
  compile(SITE, inputs, { epoch: 7n as Epoch, gate: 'open', drivers: DRIVERS, sha256 });

function spent(inputs: readonly DeviceInput[]): Spent {
  const before = process.cpuUsage();
  const result = compiled(inputs);
  const { user, system } = process.cpuUsage(before);
  return {
    cpuNs: (user + system) * 1000,
    steps: stepsIn(result),
    skipped: result.filter((each) => each.outcome === 'unchanged' && each.skipped).length,
  };
}

const stepsIn = (result: readonly DeviceCompilation[]): number =>
  result.reduce((sum, each) => sum + (each.outcome === 'planned' ? each.plan.steps.length : 0), 0);

/** Fresh objects, as they come from a device or a datastore: nothing is remembered of them. */
const fresh = <Value>(value: Value): Value => structuredClone(value);

export const compileBench: Bench = async (options) => {
  const samples = options.samples ?? (options.quick === true ? 3 : 9);
  const intended = Array.from({ length: DEVICES }, () => treeOf(first));
  const moved = treeOf(first, 'by hand');
  const inputsOf = (actual: (device: number) => deviceTree.DeviceTree): DeviceInput[] =>
    intended.map((tree, device) => ({
      device: idOf(device),
      intended: fresh(tree),
      actual: readingOf(fresh(actual(device))),
    }));
  const many = (inputs: () => DeviceInput[]): Spent[] =>
    Array.from({ length: samples }, () => spent(inputs()));
  spent(inputsOf(() => moved));
  options.progress(`compiling for ${String(DEVICES)} devices`);
  const planning = many(() => inputsOf(() => moved));
  const steps = planning[0]?.steps ?? 0;

  options.progress(`comparing ${String(DEVICES * PORTS)} interfaces`);
  const known = new Map(
    compiled(inputsOf(() => treeOf(first))).flatMap((each) =>
      each.outcome === 'unchanged' ? [[each.device, each.fingerprint] as const] : [],
    ),
  );
  const changed = (device: number): deviceTree.DeviceTree =>
    device * PORTS < CHANGED ? treeOf(first, 'by hand') : treeOf(first);
  const withKnown = (inputs: readonly DeviceInput[]): DeviceInput[] =>
    inputs.map((each) => {
      const fingerprint = known.get(each.device);
      return fingerprint === undefined ? each : { ...each, known: fingerprint };
    });
  const skipping = many(() => withKnown(inputsOf(changed)));
  const full = many(() => inputsOf(changed));
  const skipped = skipping[0]?.skipped ?? 0;
  const found = [skipping, full].map((runs) => runs[0]?.steps ?? 0);
  // A figure over fewer changes than it says would be none.
  const invalid =
    steps === DEVICES * CHANGES &&
    skipped === DEVICES - CHANGED / PORTS &&
    found.every((each) => each === CHANGED)
      ? {}
      : {
          invalid: `${String(steps)} steps, ${String(skipped)} skipped, ${found.join(' and ')} changes`,
        };
  const row = (name: string, runs: readonly Spent[]) =>
    rowOf(
      name,
      runs.map(({ cpuNs }) => cpuNs),
      'ms',
      invalid,
    );
  const rows = [
    row(`CPU time to compile ${String(DEVICES)} devices with ${String(CHANGES)} changes each`, planning),
    row(
      `CPU time to compare ${String(DEVICES * PORTS)} interfaces, ${String(CHANGED)} changed, what is unchanged skipped`,
      skipping,
    ),
    row('the same, all compared', full),
  ];
  const ratio = (rows[1]?.p50 ?? 0) / (rows[2]?.p50 ?? 1);
  return {
    bench: 'compile',
    host: hostOf(),
    rows,
    ratios: { 'skipping against comparing all': Math.round(ratio * 100) / 100 },
    goals: [
      goalOf('compile, p50 in ms', 1000, rows[0]?.p50 ?? Number.NaN),
      goalOf('compare, p50 in ms', 1000, rows[1]?.p50 ?? Number.NaN),
    ],
  };
};

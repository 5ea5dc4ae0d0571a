/**
 * A Linux device for tests: its place in an inventory, a site that knows every made-up VLAN, and one turn of intent
 * from compilation to what was read back.
 * Must not replace anything that is tested.
 */
import { createHash } from 'node:crypto';

import { compile, type DeviceCompilation } from '@kedge/compiler';
import {
  type DeviceObjects,
  type InventoryDevice,
  MADE_VLANS,
  objectsOf,
  type Reading,
  treeOf,
} from '@kedge/driver-kit';
import type { deviceTree, siteTree } from '@kedge/intent-model';
import type { Epoch } from '@kedge/units';

import { linuxDriver } from '../src/index.js';

export const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

export const EPOCH = 7n as Epoch;

/** A device with ports, through the Linux driver. */
export function linuxDevice(ports: readonly string[], hasVlans: boolean): InventoryDevice {
  return {
    id: 'appliance',
    driver: 'linux',
    capability: [
      'kedge-inventory:bridging',
      ...(hasVlans ? (['kedge-inventory:vlan-bridging'] as const) : []),
      'kedge-inventory:port-state',
      'kedge-inventory:addressing',
      'kedge-inventory:static-routing',
      'kedge-inventory:tunnelling',
    ],
    management: { local: [null] },
    interface: ports.map((name) => ({ name, type: 'iana-if-type:ethernetCsmacd' as const })),
  };
}

/** A site with the device, and a network for every VLAN that made-up trees have. */
export function siteOf(device: InventoryDevice): siteTree.SiteTree {
  return {
    'kedge-zones:zones': { zone: [{ name: 'branch', id: 2 }] },
    'kedge-inventory:devices': { device: [device] },
    'kedge-site:site': {
      name: 'lisbon',
      appliance: [device.id],
      network: MADE_VLANS.map((id) => ({ name: `net-${String(id)}`, 'vlan-id': id, zone: 'branch' })),
    },
  };
}

/** Compiles for one device. */
export function compiled(
  device: InventoryDevice,
  intended: deviceTree.DeviceTree,
  actual: Reading,
  former?: deviceTree.DeviceTree,
): DeviceCompilation {
  const [one] = compile(
    siteOf(device),
    [{ device: device.id, intended, actual, ...(former === undefined ? {} : { former }) }],
    { epoch: EPOCH, gate: 'open', drivers: [linuxDriver], sha256 },
  );
  if (one === undefined) throw new Error('nothing was compiled');
  return one;
}

/** What of a tree the driver does not refuse. */
export function possible(tree: deviceTree.DeviceTree, device: InventoryDevice): deviceTree.DeviceTree {
  let objects: DeviceObjects = objectsOf(tree);
  for (;;) {
    const kept = new Map(
      [...objects].filter(([, object]) => linuxDriver.shape(object, objects, device).as !== 'refused'),
    );
    if (kept.size === objects.size) return treeOf(objects.values());
    objects = kept;
  }
}

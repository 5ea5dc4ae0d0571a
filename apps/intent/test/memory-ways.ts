/**
 * A way to devices in memory, by a driver for devices that hold and show everything: for tests alone.
 * It must not hold a gate, nor be taken for devices.
 */
import { type CarriedOut, carryOut } from '@kedge/driver-host';
import {
  type AnyDriver,
  type Change,
  type DeviceObjects,
  type Driver,
  type InventoryDevice,
  objectsAfter,
  objectsOf,
  type Reading,
  treeOf,
} from '@kedge/driver-kit';
import type { deviceTree, siteTree } from '@kedge/intent-model';
import { sha256 } from '@kedge/intent-store';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { setImmediate } from 'node:timers/promises';

import type { DeviceReach, DeviceWork } from '../src/device-reach.js';

export const BY = { principal: 'user:ada', tier: 'master', channel: 'local' } as const;
export const CLOCK = { monotonicNs, wallMs: () => Date.now() };
export const LOG = { info: () => undefined, warn: () => undefined, error: () => undefined };
/** What an accord says where everything is let through and nothing is looked at by itself. */
export const OPEN = { gate: { mode: 'open' }, drift: { interval: 3600 } } as const;

export const memoryDriver: Driver<string, Reading, Change> = {
  manifest: {
    ...{ name: 'memory', version: 1, access: 'local', marks: false },
    capabilities: ['kedge-inventory:addressing', 'kedge-inventory:port-state'],
  },
  questions: () => ['all'],
  lift: ([answer]) => answer ?? { tree: {}, own: [] },
  shape: (object) => ({ as: 'held', object }),
  encode: (change) => [change],
};

/** A tree of ports with an address each. */
export function ports(...addresses: readonly string[]): deviceTree.DeviceTree {
  const list = addresses.map((ip, place) => ({
    ...{ name: `port${String(place + 1)}`, type: 'iana-if-type:ethernetCsmacd' as const },
    'ietf-ip:ipv4': { address: [{ ip, 'prefix-length': 24 }] },
  }));
  return { 'ietf-interfaces:interfaces': { interface: list } };
}

/** Devices in memory; each begins with ports and nothing on them. */
export class MemoryWays implements DeviceReach {
  readonly drivers: readonly AnyDriver[] = [memoryDriver];
  readonly works: DeviceWork[] = [];
  /** Awaited before a device is read; may throw. */
  reading: (device: string, signal: AbortSignal) => Promise<void> = () => Promise.resolve();
  readonly #objects = new Map<string, DeviceObjects>();

  tree(device: string): deviceTree.DeviceTree {
    return treeOf(this.#of(device).values());
  }

  /** Somebody else makes it so. */
  put(device: string, tree: deviceTree.DeviceTree): void {
    this.#objects.set(device, objectsOf(tree));
  }

  async read({ id }: InventoryDevice, signal: AbortSignal): Promise<Reading> {
    signal.throwIfAborted();
    await this.reading(id, signal);
    return this.#readingOf(id);
  }

  carryOut(work: DeviceWork, signal: AbortSignal): Promise<CarriedOut> {
    this.works.push(work);
    const { device } = work;
    const carrier = {
      ask: () => Promise.resolve([this.#readingOf(device.id)]),
      write: (changes: readonly Change[]) => {
        for (const change of changes) this.#objects.set(device.id, objectsAfter(this.#of(device.id), change));
        return Promise.resolve({ done: changes.length });
      },
    };
    return carryOut({ driver: memoryDriver, carrier, device, sha256 }, work.plan, { signal });
  }

  #readingOf(device: string): Reading {
    return { tree: this.tree(device), own: [] };
  }

  #of(device: string): DeviceObjects {
    let objects = this.#objects.get(device);
    if (objects === undefined) {
      const port = { type: 'iana-if-type:ethernetCsmacd' as const, enabled: true };
      const list = ['port1', 'port2'].map((name) => ({ name, ...port }));
      objects = objectsOf({ 'ietf-interfaces:interfaces': { interface: list } });
      this.#objects.set(device, objects);
    }
    return objects;
  }
}

/** A site with such devices. */
export const siteOf = (ids: readonly string[], more: Partial<siteTree.Device> = {}): siteTree.SiteTree => ({
  'kedge-zones:zones': { zone: [{ name: 'branch', id: 2 }] },
  'kedge-inventory:devices': {
    device: ids.map((id) => ({
      ...{ id, driver: 'memory', management: { local: [null] as [null] } },
      capability: ['kedge-inventory:addressing', 'kedge-inventory:port-state'],
      interface: ['port1', 'port2'].map((name) => ({ name, type: 'iana-if-type:ethernetCsmacd' as const })),
      ...more,
    })),
  },
  'kedge-site:site': { name: 'lisbon', appliance: ids.slice(0, 1) },
});
/** Waits until something is so, whatever timers stand still; at most a minute. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await setImmediate();
  }
}

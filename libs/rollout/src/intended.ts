/**
 * What is intended for one device: its part of a revision, and a key by which two revisions mean the same for it.
 * It must not validate, compile or compare.
 */
import type { Holder } from '@kedge/datastores';
import { mayCompile } from '@kedge/compiler';
import { type InventoryDevice, objectsOf } from '@kedge/driver-kit';
import type { deviceTree, IntentTrees, siteTree } from '@kedge/intent-model';
import { canonicalText, type Sha256 } from '@kedge/reconcile';

import type { DevicePosture } from './device-posture.js';

/** What one revision means for one device. Made once, never changed. */
export interface Intended {
  readonly revision: number;
  /** Who put the revision in force; null: the appliance. */
  readonly by: Holder | null;
  /** As the inventory has it. */
  readonly device: InventoryDevice;
  readonly site: siteTree.SiteTree;
  /** Empty where nothing is intended for it. */
  readonly tree: deviceTree.DeviceTree;
  /**
   * It was intended before the process began, and has not been said again: the modules in use may refuse it, or it may
   * have to go. It is what the device is held against, and nothing is written because of it.
   */
  readonly isRecalled: boolean;
  /** SHA-256 over all that decides what the device is to be: equal for revisions that mean the same for it. */
  readonly key: string;
}

/** Whether plans may be made of what is intended, at this posture. */
export function mayPlan({ isRecalled }: Intended, { underlay }: DevicePosture): boolean {
  return !isRecalled && mayCompile(underlay.gate.mode);
}

/** Devices of the inventory, by id. */
export function inventoryOf(site: siteTree.SiteTree | undefined): ReadonlyMap<string, InventoryDevice> {
  return new Map((site?.['kedge-inventory:devices']?.device ?? []).map((device) => [device.id, device]));
}

/** VLANs that a tree speaks of; undefined where no objects can be made of it, as of a name that no path can have. */
function vlansOf(tree: deviceTree.DeviceTree): ReadonlySet<number> | undefined {
  const vlans = new Set<number>();
  try {
    for (const { kind, value } of objectsOf(tree).values()) {
      const vlan =
        kind === 'bridge-vlan'
          ? value.id
          : kind === 'interface'
            ? value['kedge-bridging:vlan-interface']?.['vlan-id']
            : undefined;
      if (vlan !== undefined) vlans.add(vlan);
    }
  } catch {
    // Its judgement says why. One device that cannot be brought to its intent keeps nobody from the others.
    return undefined;
  }
  return vlans;
}

/**
 * What a revision means for a device, also where nothing can be made of that. Reads the whole tree of the device: once per
 * revision and device.
 */
export function intendedOf(
  { devices }: Pick<IntentTrees, 'devices'>,
  site: siteTree.SiteTree,
  device: InventoryDevice,
  revision: Pick<Intended, 'by' | 'isRecalled'> & { readonly number: number },
  sha256: Sha256,
): Intended {
  const tree = devices.get(device.id) ?? {};
  const vlans = vlansOf(tree);
  const { network = [], uplink = [] } = site['kedge-site:site'] ?? {};
  const key = sha256(
    canonicalText({
      tree,
      device,
      // Of the site only what compilation looks at for this device.
      networks: network
        .filter((each) => vlans?.has(each['vlan-id']) ?? true)
        .map(({ name, 'vlan-id': vlan, prefix }) => ({ name, vlan, prefix }))
        .sort((a, b) => a.vlan - b.vlan),
      uplinks: uplink
        .filter((each) => each.device === device.id)
        .map(({ name, interface: port }) => ({ name, port }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    }),
  );
  const { number, by, isRecalled } = revision;
  return { revision: number, by, isRecalled, device, site, tree, key };
}

/**
 * What is intended for one device: its part of a revision, and a key by which two revisions mean the same for it.
 * It must not validate, compile or compare.
 */
import type { Holder } from '@kedge/datastores';
import { type InventoryDevice, objectsOf } from '@kedge/driver-kit';
import type { deviceTree, IntentTrees, siteTree } from '@kedge/intent-model';
import { canonicalText, type Sha256 } from '@kedge/reconcile';

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
  /** SHA-256 over all that decides what the device is to be: equal for revisions that mean the same for it. */
  readonly key: string;
}

/** Devices of the inventory, by id. */
export function inventoryOf(site: siteTree.SiteTree | undefined): ReadonlyMap<string, InventoryDevice> {
  return new Map((site?.['kedge-inventory:devices']?.device ?? []).map((device) => [device.id, device]));
}

/**
 * What a revision means for a device. Reads the whole tree of the device: once per revision and device.
 *
 * @throws KedgeError `DRIVER_NAME`
 */
export function intendedOf(
  { devices }: Pick<IntentTrees, 'devices'>,
  site: siteTree.SiteTree,
  device: InventoryDevice,
  revision: { readonly number: number; readonly by: Holder | null },
  sha256: Sha256,
): Intended {
  const tree = devices.get(device.id) ?? {};
  const vlans = new Set<number>();
  for (const { kind, value } of objectsOf(tree).values()) {
    const vlan =
      kind === 'bridge-vlan'
        ? value.id
        : kind === 'interface'
          ? value['kedge-bridging:vlan-interface']?.['vlan-id']
          : undefined;
    if (vlan !== undefined) vlans.add(vlan);
  }
  const { network = [], uplink = [] } = site['kedge-site:site'] ?? {};
  const key = sha256(
    canonicalText({
      tree,
      device,
      // Of the site only what compilation looks at for this device.
      networks: network
        .filter((each) => vlans.has(each['vlan-id']))
        .map(({ name, 'vlan-id': vlan, prefix }) => ({ name, vlan, prefix }))
        .sort((a, b) => a.vlan - b.vlan),
      uplinks: uplink
        .filter((each) => each.device === device.id)
        .map(({ name, interface: port }) => ({ name, port }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    }),
  );
  return { revision: revision.number, by: revision.by, device, site, tree, key };
}

/**
 * The whole intent of an appliance in one document, and the trees that it is made of: each is validated, compiled and
 * compared by itself.
 * It must not judge a document; it takes one apart that was validated.
 */
import type { AccordsTree } from './accords-tree.js';
import type { DeviceTree } from './device-tree.js';
import type { SiteTree } from './site-tree.js';

/** A device in the document: its id in the inventory, and the members of its tree beside it. */
export interface IntendedDevice extends DeviceTree {
  readonly id: string;
}

/** A document of intent: the members of the trees `accords` and `site`, and a tree for each device. Each may be missing. */
export interface WholeIntent extends Partial<AccordsTree>, Partial<SiteTree> {
  readonly 'kedge-intent:device'?: readonly IntendedDevice[];
}

/** A document taken apart. Zones and allowlist stand in both `accords` and `site`. */
export interface IntentTrees {
  /** Absent where the document has no accords: those that the appliance has stay in force. */
  readonly accords: AccordsTree | undefined;
  /** Absent where the document says nothing of a site; it has no devices then. */
  readonly site: SiteTree | undefined;
  /** By the id of the device. */
  readonly devices: ReadonlyMap<string, DeviceTree>;
}

/** Takes a document apart that its modules accept. */
export function treesOf(document: WholeIntent): IntentTrees {
  const { 'kedge-accords:accords': accords, 'kedge-intent:device': devices = [], ...site } = document;
  const { 'kedge-zones:zones': zones, 'kedge-zones:allowlist': allowlist } = site;
  const shared =
    zones === undefined
      ? undefined
      : {
          'kedge-zones:zones': zones,
          ...(allowlist === undefined ? {} : { 'kedge-zones:allowlist': allowlist }),
        };
  return {
    accords:
      shared === undefined || accords === undefined
        ? undefined
        : { ...shared, 'kedge-accords:accords': accords },
    site: shared === undefined ? undefined : { ...site, ...shared },
    devices: new Map(devices.map(({ id, ...tree }) => [id, tree])),
  };
}

/**
 * A document of intent taken apart into the trees that are judged and compared by themselves.
 * It must not judge a tree; what belongs to none it names.
 */
import type { Container } from '@kedge/datastores';

import { isContainer, isList, memberOf, predicatesOf } from './data-place.js';
import type { TreeShape } from './tree-shape.js';

/** The trees of yang/trees.json that a document is made of. */
export const DOCUMENT_TREES = ['accords', 'site', 'intent', 'device'] as const;
/** See {@link DOCUMENT_TREES}. */
export type DocumentTree = (typeof DOCUMENT_TREES)[number];
/** Their shapes. */
export type Shapes = Readonly<Record<DocumentTree, TreeShape>>;

/** The list of devices in a document. */
export const DEVICES = 'kedge-intent:device';
/** The devices of the site, and the list in it. */
const INVENTORY = 'kedge-inventory:devices';

/** One device of a document. */
export interface DevicePart {
  /** Its entry, as a data path. */
  readonly path: string;
  /** Undefined where its id cannot be read. */
  readonly id: string | undefined;
  /** The members of its tree. */
  readonly tree: Container;
}

/** A document taken apart. */
export interface Parts {
  /** With zones and allowlist; undefined where it has no accords of its own. */
  readonly accords: Container | undefined;
  /** Undefined where it says nothing of a site. */
  readonly site: Container | undefined;
  /** The list of devices with nothing but their ids, each once; undefined where there is none. */
  readonly intent: Container | undefined;
  /** Each id once. */
  readonly devices: readonly DevicePart[];
  /** Paths of devices that stand there again. */
  readonly again: readonly string[];
  /** Paths of members that belong to no tree. */
  readonly strays: readonly string[];
  /** Ids in the inventory of the site. */
  readonly inventory: ReadonlySet<string>;
}

/** Takes a document apart, whatever it is. */
export function partsOf(document: Container, shapes: Shapes): Parts {
  const { accords, site, intent, device } = shapes;
  const ofAccords = picked(document, accords.top);
  const hasAccords = Object.keys(ofAccords).some((name) => !site.top.has(name));
  const ofSite = picked(document, site.top);
  const strays = Object.keys(document)
    .filter((name) => !accords.top.has(name) && !site.top.has(name) && !intent.top.has(name))
    .map((name) => `/${name}`);
  const listed = memberOf(document, DEVICES);
  const devices: DevicePart[] = [];
  const again: string[] = [];
  const skeleton: Container[string][] = [];
  const ids = new Set<string>();
  for (const [at, entry] of isList(listed) ? listed.entries() : []) {
    if (!isContainer(entry)) {
      skeleton.push(entry);
      continue;
    }
    const id = memberOf(entry, 'id');
    const path = `/${DEVICES}${predicatesOf(entry, ['id'], at)}`;
    if (typeof id === 'string' && ids.has(id)) {
      again.push(path);
      continue;
    }
    if (typeof id === 'string') ids.add(id);
    skeleton.push(id === undefined ? {} : { id });
    devices.push({ path, id: typeof id === 'string' ? id : undefined, tree: picked(entry, device.top) });
    for (const name of Object.keys(entry))
      if (name !== 'id' && !device.top.has(name)) strays.push(`${path}/${name}`);
  }
  return {
    accords: hasAccords ? ofAccords : undefined,
    site: Object.keys(ofSite).length > 0 ? ofSite : undefined,
    intent: listed === undefined ? undefined : { [DEVICES]: isList(listed) ? skeleton : listed },
    devices,
    again,
    strays,
    inventory: idsIn(document),
  };
}

function picked(container: Container, names: ReadonlySet<string>): Container {
  return Object.fromEntries(Object.entries(container).filter(([name]) => names.has(name)));
}

function idsIn(document: Container): ReadonlySet<string> {
  const inventory = memberOf(document, INVENTORY);
  const list = isContainer(inventory) ? memberOf(inventory, 'device') : undefined;
  const ids = (isList(list) ? list : []).map((entry) => (isContainer(entry) ? memberOf(entry, 'id') : ''));
  return new Set(ids.filter((id): id is string => typeof id === 'string'));
}

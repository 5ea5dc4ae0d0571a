/**
 * What holds objects of a device together: what each needs, what it had better follow, and what only one can have.
 * It must not order anything, and knows nothing that is peculiar to one kind of device.
 */
import {
  compareNames,
  type DeviceObject,
  type DeviceObjects,
  interfacePath,
  isWithin,
  type ObjectOf,
  subnetOf,
} from '@kedge/driver-kit';

/** Objects of a device, with what is asked about them again and again. */
export class Neighbourhood {
  readonly objects: DeviceObjects;
  #byInterface: ReadonlyMap<string, readonly DeviceObject[]> | undefined;
  #addresses: readonly ObjectOf<'address'>[] | undefined;

  /** @param objects in any order, which decides nothing. Looked through when they are asked about first. */
  constructor(objects: DeviceObjects) {
    this.objects = objects;
  }

  /** The objects of an interface, its own among them. */
  of(name: string): readonly DeviceObject[] {
    this.#byInterface ??= byInterface(this.objects);
    return this.#byInterface.get(name) ?? [];
  }

  /** Addresses from whose subnets a next hop is reached directly, on one interface where one is given. */
  reaching(hop: string, name?: string): ObjectOf<'address'>[] {
    this.#addresses ??= [...this.objects.values()]
      .filter((object): object is ObjectOf<'address'> => object.kind === 'address')
      .sort((a, b) => compareNames(a.path, b.path));
    return this.#addresses.filter(
      ({ value, interface: owner }) =>
        (name === undefined || owner === name) &&
        isWithin(hop, subnetOf(value.ip, value['prefix-length']) ?? ''),
    );
  }

  has(path: string): boolean {
    return this.objects.has(path);
  }
}

function byInterface(objects: DeviceObjects): ReadonlyMap<string, readonly DeviceObject[]> {
  const found = new Map<string, DeviceObject[]>();
  for (const object of objects.values()) {
    if (object.interface === undefined) continue;
    const own = found.get(object.interface);
    if (own === undefined) found.set(object.interface, [object]);
    else own.push(object);
  }
  return found;
}

/** The next hops of a route. */
export function hopsOf({
  value,
}: ObjectOf<'route'>): readonly { readonly address?: string; readonly interface?: string }[] {
  const hop = value['next-hop'];
  const list = hop['next-hop-list']?.['next-hop'];
  const one = (each: {
    readonly 'outgoing-interface'?: string;
    readonly 'next-hop-address'?: string;
  }): { readonly address?: string; readonly interface?: string } => ({
    ...(each['next-hop-address'] === undefined ? {} : { address: each['next-hop-address'] }),
    ...(each['outgoing-interface'] === undefined ? {} : { interface: each['outgoing-interface'] }),
  });
  if (list !== undefined) return list.map(one);
  return hop['special-next-hop'] === undefined ? [one(hop)] : [];
}

/**
 * What has to be there as long as the object is: groups of paths, of each group any one. What is not among the
 * objects at all is somebody else's, and not asked for.
 */
export function needsOf(object: DeviceObject, near: Neighbourhood): readonly (readonly string[])[] {
  const needs: string[][] = [];
  const need = (...paths: readonly string[]): void => {
    const there = paths.filter((path) => near.has(path));
    if (there.length > 0) needs.push(there);
  };
  const at = object.interface === undefined ? undefined : interfacePath(object.interface);
  if (at !== undefined && object.kind !== 'interface') need(at);
  const port = `${at ?? ''}/kedge-bridging:bridge-port`;
  switch (object.kind) {
    case 'interface': {
      const vlan = object.value['kedge-bridging:vlan-interface'];
      if (vlan === undefined) break;
      need(interfacePath(vlan.lower));
      need(bridgeVlanPath(vlan.lower, vlan['vlan-id']));
      break;
    }
    case 'bridge-port':
      need(interfacePath(object.value.bridge));
      break;
    case 'acceptable-frames':
    case 'ingress-filtering':
      need(port);
      break;
    case 'pvid':
      need(port);
      need(`${port}/vlan[id='${String(object.value)}']`);
      break;
    case 'member': {
      need(port);
      const bridge = near.objects.get(port);
      if (bridge?.kind === 'bridge-port') need(bridgeVlanPath(bridge.value.bridge, object.value.id));
      break;
    }
    case 'acl-attachment':
      need(`/kedge-acl:acls/acl[family='${object.value.family ?? 'ipv4'}'][name='${object.value.acl}']`);
      break;
    case 'route':
      for (const hop of hopsOf(object)) {
        if (hop.interface !== undefined) need(interfacePath(hop.interface));
        if (hop.address !== undefined)
          need(...near.reaching(hop.address, hop.interface).map(({ path }) => path));
      }
      break;
    case 'description':
    case 'mtu':
    case 'ageing-time':
    case 'bridge-vlan':
    case 'forwarding-ipv4':
    case 'forwarding-ipv6':
    case 'address':
    case 'enabled':
    case 'acl':
      break;
  }
  return needs;
}

/** What had better be there before the object appears or changes: the link comes up last, routes after the link. */
export function followsOf(object: DeviceObject, near: Neighbourhood): readonly string[] {
  if (object.kind === 'enabled') {
    const own = near
      .of(object.interface ?? '')
      .filter(({ kind }) => kind !== 'enabled')
      .map(({ path }) => path);
    const self = near.objects.get(interfacePath(object.interface ?? ''));
    const lower = self?.kind === 'interface' ? self.value['kedge-bridging:vlan-interface']?.lower : undefined;
    return lower === undefined ? own : [...own, enabledPath(lower)];
  }
  if (object.kind === 'route') {
    return hopsOf(object).flatMap((hop) => {
      if (hop.interface !== undefined) return [enabledPath(hop.interface)];
      return near.reaching(hop.address ?? '').map((address) => enabledPath(address.interface ?? ''));
    });
  }
  return [];
}

/** What only one object can have at a time: an address, the untagged VLAN of a port, a VLAN of an interface below. */
export function claimsOf(object: DeviceObject): readonly string[] {
  if (object.kind === 'address') return [`address ${object.value.ip}`];
  if (object.kind === 'member')
    return object.value.tagging === 'untagged' ? [`untagged ${object.interface ?? ''}`] : [];
  if (object.kind !== 'interface') return [];
  const vlan = object.value['kedge-bridging:vlan-interface'];
  const tunnel = object.value['kedge-tunnels:tunnel'];
  return [
    ...(vlan === undefined ? [] : [`vlan ${vlan.lower} ${String(vlan['vlan-id'])}`]),
    ...(tunnel === undefined ? [] : [`tunnel ${tunnel['local-address']} ${tunnel['remote-address']}`]),
  ];
}

function bridgeVlanPath(bridge: string, id: number): string {
  return `${interfacePath(bridge)}/kedge-bridging:bridge/vlan[id='${String(id)}']`;
}

function enabledPath(name: string): string {
  return `${interfacePath(name)}/enabled`;
}

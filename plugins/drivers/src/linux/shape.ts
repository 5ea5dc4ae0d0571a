/**
 * How objects of intent will look when they are read back from Linux, and what goes with what there.
 * It must not encode anything.
 */
import {
  canonicalAddress,
  type Change,
  compareNames,
  type DeviceObject,
  type DeviceObjects,
  interfacePath,
  isWithin,
  type ObjectOf,
  type Shaped,
  subnetOf,
} from '@kedge/driver-kit';

import { numbered } from './lift.js';
import { tunnelMtu, USUAL_MTU } from './terms.js';

const held = (object: DeviceObject): Shaped => ({ as: 'held', object });
const refused = (why: string): Shaped => ({ as: 'refused', why });
/** The kernel does it anyway, and shows nothing. */
const implied: Shaped = { as: 'implied' };

/** Names that the kernel takes for interfaces. */
const NAME = /^[^\s/:]{1,15}$/;
const ALIAS_BYTES = 255;
/** Below it the kernel takes IPv6 off an interface, with all its addresses. */
const LEAST_MTU = 1280;

/** See the driver's `shape`. */
export function shapeOf(object: DeviceObject, intended: DeviceObjects): Shaped {
  switch (object.kind) {
    case 'interface': {
      const { name } = object.value;
      return NAME.test(name) && name !== '.' && name !== '..'
        ? held(object)
        : refused(`${name} is no name for an interface in Linux`);
    }
    case 'description':
      if (object.value === '') return implied;
      if ([...object.value].some((sign) => sign < ' ' || sign === '\u007f'))
        return refused('a description with control characters cannot be kept');
      return bytesIn(object.value) > ALIAS_BYTES
        ? refused(`a description is at most ${String(ALIAS_BYTES)} bytes long`)
        : held(object);
    case 'mtu':
      return shapeMtu(object, intended);
    case 'bridge-vlan':
      // The kernel knows VLANs by their numbers only.
      return held({ ...object, value: { id: object.value.id } });
    case 'acceptable-frames':
      if (object.value === 'untagged')
        return refused('a bridge of Linux cannot drop tagged frames of a VLAN that the port is a member of');
      return intended.has(object.path.replace('/acceptable-frames', '/pvid'))
        ? refused('a port with a PVID takes untagged frames')
        : implied;
    case 'ingress-filtering':
      return refused('a bridge of Linux that knows VLANs always filters what comes in');
    case 'forwarding-ipv4':
    case 'forwarding-ipv6':
      return refused('packets are forwarded by the data plane, never by the kernel');
    case 'address':
      return shapeAddress(object);
    case 'route':
      return shapeRoute(object, intended);
    case 'acl':
    case 'acl-attachment':
      return refused('filters of the appliance are accords, not lists of a device');
    case 'ageing-time':
    case 'bridge-port':
    case 'member':
    case 'pvid':
    case 'enabled':
      return held(object);
  }
}

function bytesIn(text: string): number {
  let bytes = 0;
  for (const sign of text) {
    const code = sign.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}

function shapeMtu(object: ObjectOf<'mtu'>, intended: DeviceObjects): Shaped {
  const self = intended.get(interfacePath(object.interface ?? ''));
  if (self?.kind !== 'interface') return refused('an MTU belongs to an interface');
  if (self.value['kedge-bridging:vlan-interface'] !== undefined)
    return refused('a VLAN interface has the MTU of the interface below it');
  if (object.value < LEAST_MTU) return refused(`an MTU below ${String(LEAST_MTU)} takes IPv6 away`);
  const tunnel = self.value['kedge-tunnels:tunnel'];
  return object.value === (tunnel === undefined ? USUAL_MTU : tunnelMtu(tunnel)) ? implied : held(object);
}

function shapeAddress(object: ObjectOf<'address'>): Shaped {
  const { ip } = object.value;
  if (canonicalAddress(ip) !== ip) return refused(`${ip} is not in canonical form`);
  if (isWithin(ip, 'fe80::/10')) return refused('the kernel makes link-local addresses itself');
  return held(object);
}

/** Whether a link is meant to be up; of interfaces that intent does not speak of it is assumed. */
function isUp(name: string, intended: DeviceObjects): boolean {
  const enabled = intended.get(`${interfacePath(name)}/enabled`);
  return enabled?.kind !== 'enabled' || enabled.value;
}

interface Hop {
  readonly 'outgoing-interface'?: string;
  readonly 'next-hop-address'?: string;
}

/** The interface of a next hop: as it is said, or the one from whose subnet it is reached. */
function resolved(hop: Hop, intended: DeviceObjects): string | undefined {
  const { 'outgoing-interface': name, 'next-hop-address': address } = hop;
  if (name !== undefined || address === undefined) return name;
  const reaching = [...intended.values()]
    .filter(
      (each): each is ObjectOf<'address'> =>
        each.kind === 'address' &&
        isWithin(address, subnetOf(each.value.ip, each.value['prefix-length']) ?? ''),
    )
    .sort((a, b) => compareNames(a.path, b.path))
    .map((each) => each.interface ?? '');
  return reaching.find((each) => isUp(each, intended)) ?? reaching[0];
}

function shapeRoute(object: ObjectOf<'route'>, intended: DeviceObjects): Shaped {
  const { 'destination-prefix': destination, 'next-hop': hop } = object.value;
  if (hop['special-next-hop'] === 'receive') return refused('the kernel receives for its own addresses only');
  const as = (value: ObjectOf<'route'>['value']['next-hop']): Shaped =>
    held({ ...object, value: { 'destination-prefix': destination, 'next-hop': value } });
  if (hop['special-next-hop'] !== undefined) return as({ 'special-next-hop': hop['special-next-hop'] });
  const list: readonly Hop[] = hop['next-hop-list']?.['next-hop'] ?? [hop];
  const hops: Required<Pick<Hop, 'outgoing-interface'>>[] = [];
  for (const each of list) {
    const name = resolved(each, intended);
    if (name === undefined)
      return refused(
        `nothing reaches the next hop ${each['next-hop-address'] ?? 'that is not said'} of ${destination}`,
      );
    const { 'next-hop-address': address } = each;
    if (isUp(name, intended))
      hops.push({
        'outgoing-interface': name,
        ...(address === undefined ? {} : { 'next-hop-address': address }),
      });
  }
  const [only] = hops;
  if (list.length === 0) return refused(`the route to ${destination} has no next hop`);
  if (only === undefined) return { as: 'dormant', why: 'the link of its next hop is meant to be down' };
  return as(hops.length === 1 ? only : { 'next-hop-list': { 'next-hop': numbered(hops) } });
}

/** Interfaces that a route leads out of. */
export function outOf({ value }: ObjectOf<'route'>): string[] {
  const hop = value['next-hop'];
  return (hop['next-hop-list']?.['next-hop'] ?? [hop]).flatMap((each) => each['outgoing-interface'] ?? []);
}

/**
 * See the driver's `upsets`: a link that goes down loses every route that leads out of it. Addresses that the kernel
 * takes away besides are put back by the same step.
 */
export function upsetsOf(
  { before: was, after: is }: Change,
  before: DeviceObjects,
  after: DeviceObjects,
): string[] {
  if (was?.kind !== 'enabled' || !was.value || (is?.kind === 'enabled' && is.value)) return [];
  return [...before.values(), ...after.values()]
    .filter((each) => each.kind === 'route' && outOf(each).includes(was.interface ?? ''))
    .map(({ path }) => path);
}

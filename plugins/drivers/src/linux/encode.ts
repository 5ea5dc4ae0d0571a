/**
 * Changes of objects as lines of `ip` and `bridge`.
 * It must not decide about order, nor touch what does not bear the driver's marks.
 */
import {
  type Change,
  type DeviceObject,
  type DeviceObjects,
  interfacePath,
  type InventoryDevice,
  type ObjectOf,
  subnetOf,
  type ToolWords,
} from '@kedge/driver-kit';
import type { deviceTree } from '@kedge/intent-model';
import { KedgeError } from '@kedge/units';

import { hasVlans } from './lift.js';
import { outOf } from './shape.js';
import { MARK_GROUP, ROUTE_PROTOCOL, tunnelLink, tunnelMtu, USUAL_MTU } from './terms.js';

const ip = (...words: readonly string[]): ToolWords => ({ tool: 'ip', words });
const bridge = (...words: readonly string[]): ToolWords => ({ tool: 'bridge', words });
const set = (name: string, ...words: readonly string[]): ToolWords =>
  ip('link', 'set', 'dev', name, ...words);

/** See the driver's `encode`. @throws KedgeError `DRIVER_STEP` */
export function linesOf({ before, after }: Change, at: DeviceObjects, device: InventoryDevice): ToolWords[] {
  const object = after ?? before;
  if (object === undefined) return [];
  const name = object.interface ?? '';
  switch (object.kind) {
    case 'interface':
      if (before !== undefined && after !== undefined) throw impossible(object, 'is made again, not changed');
      return after === undefined ? [ip('link', 'delete', 'dev', name)] : makeLines(object, device);
    case 'description':
      return [set(name, 'alias', after === undefined ? '' : object.value)];
    case 'mtu':
      return mtuLines(name, after === undefined ? usualMtu(name, at) : object.value, at);
    case 'enabled':
      // An interface is down when it comes.
      if (before === undefined && !object.value) return [];
      return after !== undefined && object.value ? [set(name, 'up')] : downLines(name, at);
    case 'ageing-time':
      return [
        set(name, 'type', 'bridge', 'ageing_time', String(100 * (after === undefined ? 300 : object.value))),
      ];
    case 'bridge-vlan':
      // Number and mark are all that there is of it: other values are one.
      if (before !== undefined && after !== undefined) return [];
      return [
        bridge(
          'vlan',
          after === undefined ? 'delete' : 'add',
          'dev',
          name,
          'vid',
          String(object.value.id),
          'self',
        ),
      ];
    case 'bridge-port':
      if (before !== undefined && after !== undefined)
        throw impossible(object, 'leaves and joins, it does not change');
      return [after === undefined ? set(name, 'nomaster') : set(name, 'master', object.value.bridge)];
    case 'member': {
      const { id, tagging } = object.value;
      if (after === undefined) return [bridge('vlan', 'delete', 'dev', name, 'vid', String(id))];
      const pvid = at.get(`${interfacePath(name)}/kedge-bridging:bridge-port/pvid`);
      return [vlanLine(name, id, tagging === 'untagged', pvid?.kind === 'pvid' && pvid.value === id)];
    }
    case 'pvid': {
      const member = at.get(
        `${interfacePath(name)}/kedge-bridging:bridge-port/vlan[id='${String(object.value)}']`,
      );
      const isUntagged = member?.kind === 'member' && member.value.tagging === 'untagged';
      return [vlanLine(name, object.value, isUntagged, after !== undefined)];
    }
    case 'address':
      if (before !== undefined && after !== undefined)
        throw impossible(object, 'goes and comes, it does not change');
      return after === undefined ? addressDelete(object, at) : [addressLine('add', object)];
    case 'route':
      // Replacing would take somebody else's route to the same destination for this one.
      return [
        ...(before?.kind === 'route' ? [routeDelete(before)] : []),
        ...(after?.kind === 'route' ? [routeAdd(after)] : []),
      ];
    case 'acceptable-frames':
    case 'ingress-filtering':
    case 'forwarding-ipv4':
    case 'forwarding-ipv6':
    case 'acl':
    case 'acl-attachment':
      throw impossible(object, 'is nothing that Linux can be told');
  }
}

function impossible({ id }: DeviceObject, why: string): KedgeError {
  return new KedgeError({
    code: 'DRIVER_STEP',
    message: `cannot carry out a change of ${id}: it ${why}`,
    field: 'kind',
    expected: 'a plan that was compiled for this driver',
  });
}

function vlanLine(name: string, id: number, isUntagged: boolean, isPvid: boolean): ToolWords {
  return bridge(
    ...['vlan', 'add', 'dev', name, 'vid', String(id)],
    ...(isPvid ? ['pvid'] : []),
    ...(isUntagged ? ['untagged'] : []),
  );
}

function makeLines({ value }: ObjectOf<'interface'>, device: InventoryDevice): ToolWords[] {
  const { name, type } = value;
  const vlan = value['kedge-bridging:vlan-interface'];
  const tunnel = value['kedge-tunnels:tunnel'];
  const mark = ['name', name, 'group', String(MARK_GROUP)];
  if (vlan !== undefined) {
    return [
      ip(
        ...['link', 'add', 'link', vlan.lower, ...mark, 'type', 'vlan'],
        // Without it the link below decides whether this one may be up.
        ...['id', String(vlan['vlan-id']), 'loose_binding', 'on'],
      ),
    ];
  }
  if (tunnel !== undefined) {
    return [
      ip('link', 'add', ...mark, 'type', tunnelLink(tunnel), ...tunnelWords(tunnel)),
      set(name, 'mtu', String(tunnelMtu(tunnel))),
    ];
  }
  if (type !== 'iana-if-type:bridge')
    throw new KedgeError({
      code: 'DRIVER_STEP',
      message: `cannot make the interface ${name}: a ${type} is there or is not`,
      field: 'type',
      expected: 'a bridge, a VLAN interface or a tunnel',
    });
  return [
    ip(
      // Otherwise a bridge has the address of a port, and without ports none, with which it takes no VLAN.
      ...['link', 'add', ...mark, 'address', bridgeAddress(device.id, name), 'type', 'bridge'],
      ...(hasVlans(device) ? ['vlan_filtering', '1', 'vlan_default_pvid', '0'] : []),
    ),
    // A bridge whose MTU nobody has changed takes that of its smallest port.
    set(name, 'mtu', '1280'),
    set(name, 'mtu', String(USUAL_MTU)),
  ];
}

/** A locally administered address that follows from device and bridge, so that it is the same after every making. */
function bridgeAddress(device: string, name: string): string {
  const bytes = [0x811c9dc5, 0x01000193].flatMap((seed) => {
    // FNV-1a, 32 bits, from two starting points.
    let hash = seed;
    for (const sign of `${device}/${name}`) hash = Math.imul(hash ^ (sign.codePointAt(0) ?? 0), 0x01000193);
    return [hash >>> 24, (hash >>> 16) & 255, (hash >>> 8) & 255, hash & 255];
  });
  return ['02', ...bytes.slice(0, 5).map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

function tunnelWords(tunnel: deviceTree.InterfaceTunnel): string[] {
  const hopLimit = String(tunnel['hop-limit'] ?? 64);
  const link = tunnelLink(tunnel);
  const ends = ['local', tunnel['local-address'], 'remote', tunnel['remote-address']];
  if (tunnel.vxlan !== undefined) {
    const { 'network-identifier': id, 'destination-port': port = 4789 } = tunnel.vxlan;
    return ['id', String(id), ...ends, 'dstport', String(port), 'ttl', hopLimit];
  }
  const key = tunnel.gre?.key === undefined ? [] : ['key', String(tunnel.gre.key)];
  // Outer IPv6 headers carry no limit of further encapsulations: the MTU counts without it.
  const isSix = link === 'ip6gre' || link === 'ip6tnl';
  return [
    ...(link === 'ip6tnl' ? ['mode', 'any'] : []),
    ...ends,
    ...(isSix ? ['hoplimit', hopLimit, 'encaplimit', 'none'] : ['ttl', hopLimit]),
    ...key,
  ];
}

function usualMtu(name: string, at: DeviceObjects): number {
  const self = at.get(interfacePath(name));
  const tunnel = self?.kind === 'interface' ? self.value['kedge-tunnels:tunnel'] : undefined;
  return tunnel === undefined ? USUAL_MTU : tunnelMtu(tunnel);
}

/** The MTU of an interface and of the VLAN interfaces on it, which follow it down by themselves and up never. */
function mtuLines(name: string, mtu: number, at: DeviceObjects): ToolWords[] {
  const uppers = [...at.values()].flatMap((each) =>
    each.kind === 'interface' && each.value['kedge-bridging:vlan-interface']?.lower === name
      ? [each.value.name]
      : [],
  );
  return [name, ...uppers.sort()].map((each) => set(each, 'mtu', String(mtu)));
}

function addressLine(
  verb: 'add' | 'delete' | 'replace',
  { value, interface: name = '' }: ObjectOf<'address'>,
): ToolWords {
  return ip('address', verb, `${value.ip}/${String(value['prefix-length'])}`, 'dev', name);
}

/** The addresses of one family on an interface, in the order in which they came. */
function addressesOf(name: string, isSix: boolean, at: DeviceObjects): ObjectOf<'address'>[] {
  return [...at.values()].filter(
    (each): each is ObjectOf<'address'> =>
      each.kind === 'address' && each.interface === name && each.value.ip.includes(':') === isSix,
  );
}

/** Down, and the IPv6 addresses that go with that put back. */
function downLines(name: string, at: DeviceObjects): ToolWords[] {
  return [set(name, 'down'), ...addressesOf(name, true, at).map((each) => addressLine('replace', each))];
}

/**
 * An address goes. With the first one of a subnet the kernel removes the later ones, and with the last one of an
 * interface the IPv4 routes that lead out of it: what is to stay is put back.
 */
function addressDelete(object: ObjectOf<'address'>, at: DeviceObjects): ToolWords[] {
  const { interface: name = '', value, path } = object;
  const lines = [addressLine('delete', object)];
  if (value.ip.includes(':')) return lines;
  const subnetAt = (each: ObjectOf<'address'>): string | undefined =>
    subnetOf(each.value.ip, each.value['prefix-length']);
  const all = addressesOf(name, false, at);
  const place = all.findIndex((each) => each.path === path);
  const isFirst = all.findIndex((each) => subnetAt(each) === subnetAt(object)) === place;
  const fellows = isFirst ? all.slice(place + 1).filter((each) => subnetAt(each) === subnetAt(object)) : [];
  lines.push(...fellows.map((each) => addressLine('replace', each)));
  if (all.length > fellows.length + 1) return lines;
  for (const each of at.values())
    if (
      each.kind === 'route' &&
      !each.value['destination-prefix'].includes(':') &&
      outOf(each).includes(name)
    )
      lines.push(routeAdd(each, 'replace'));
  return lines;
}

const OURS = ['table', 'main', 'proto', String(ROUTE_PROTOCOL)];

function routeDelete({ value }: ObjectOf<'route'>): ToolWords {
  return ip('route', 'delete', value['destination-prefix'], ...OURS);
}

function routeAdd({ value }: ObjectOf<'route'>, verb: 'add' | 'replace' = 'add'): ToolWords {
  const { 'destination-prefix': destination, 'next-hop': hop } = value;
  const special = hop['special-next-hop'];
  if (special !== undefined) return ip('route', verb, special, destination, ...OURS);
  const list = hop['next-hop-list']?.['next-hop'];
  const one = (each: {
    readonly 'outgoing-interface'?: string;
    readonly 'next-hop-address'?: string;
  }): string[] => [
    ...(each['next-hop-address'] === undefined ? [] : ['via', each['next-hop-address']]),
    ...['dev', each['outgoing-interface'] ?? ''],
    // The hop is reached by the interface named, whatever tables and rules say at that moment.
    ...(each['next-hop-address'] === undefined ? [] : ['onlink']),
  ];
  if (list === undefined) return ip('route', verb, destination, ...one(hop), ...OURS);
  return ip('route', verb, destination, ...OURS, ...list.flatMap((each) => ['nexthop', ...one(each)]));
}

/**
 * Lifts what `ip -j` and `bridge -j` print into the tree of a device.
 * It must not believe an answer that it does not understand, nor lift what the kernel or somebody else made by itself.
 */
import {
  canonicalAddress,
  type InventoryDevice,
  type Reading,
  STATIC_NAME,
  type ToolWords,
} from '@kedge/driver-kit';
import type { deviceTree, InterfaceType } from '@kedge/intent-model';
import { KedgeError } from '@kedge/units';

import { MARK_GROUP, ROUTE_PROTOCOL, tunnelMtu, USUAL_MTU } from './terms.js';

type Building<Node> = { -readonly [Name in keyof Node]: Node[Name] };
type Interface = Building<deviceTree.Interface>;
type Route = deviceTree.RoutingControlPlaneProtocolStaticRoutesIpv4Route;
type Json = Readonly<Record<string, unknown>>;

/** Whether the bridges of a device know VLANs. */
export function hasVlans(device: InventoryDevice): boolean {
  return (device.capability ?? []).includes('kedge-inventory:vlan-bridging');
}

/** All that is asked, whatever the number of interfaces. */
export function questionsOf(device: InventoryDevice): ToolWords[] {
  const routes = (family: string): ToolWords => ({
    tool: 'ip',
    words: ['-N', '-j', family, 'route', 'show', 'table', 'main', 'proto', String(ROUTE_PROTOCOL)],
  });
  return [
    { tool: 'ip', words: ['-N', '-d', '-j', 'address', 'show'] },
    routes('-4'),
    routes('-6'),
    ...(hasVlans(device) ? [{ tool: 'bridge' as const, words: ['-j', 'vlan', 'show'] }] : []),
  ];
}

/** The tree in the answers. @throws KedgeError `DRIVER_ANSWER` */
export function readingOf(answers: readonly string[]): Reading {
  const [links = '', routes4 = '', routes6 = '', vlans] = answers;
  const own: string[] = [];
  const interfaces = new Map<string, Interface>();
  for (const [place, link] of rowsOf(links, 'ip address').entries()) {
    const lifted = liftLink(link, `ip address, entry ${String(place)}`);
    interfaces.set(lifted.name, lifted);
    if (link['group'] === String(MARK_GROUP)) own.push(lifted.name);
  }
  if (vlans !== undefined)
    for (const [place, row] of rowsOf(vlans, 'bridge vlan').entries())
      liftVlans(row, interfaces, `bridge vlan, entry ${String(place)}`);
  const lists = { 4: liftRoutes(routes4, 4), 6: liftRoutes(routes6, 6) };

  return {
    own: own.sort(),
    tree: {
      'ietf-interfaces:interfaces': { interface: [...interfaces.values()] },
      ...(lists[4].length + lists[6].length === 0
        ? {}
        : {
            'ietf-routing:routing': {
              'control-plane-protocols': {
                'control-plane-protocol': [
                  {
                    type: 'ietf-routing:static',
                    name: STATIC_NAME,
                    'static-routes': {
                      ...(lists[4].length === 0
                        ? {}
                        : { 'ietf-ipv4-unicast-routing:ipv4': { route: lists[4] } }),
                      ...(lists[6].length === 0
                        ? {}
                        : { 'ietf-ipv6-unicast-routing:ipv6': { route: lists[6] } }),
                    },
                  },
                ],
              },
            },
          }),
    },
  };
}

function unbelievable(where: string, expected: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'DRIVER_ANSWER',
    message: `cannot believe what was read: ${where} is not as expected`,
    field: where,
    expected,
    help: 'see that ip and bridge are those of iproute2',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The rows of an answer; iproute2 prints nothing at all, or an empty row, where there is nothing. */
function rowsOf(text: string, where: string): Json[] {
  if (text.trim() === '') return [];
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw unbelievable(where, 'one JSON array', cause);
  }
  if (!Array.isArray(data)) throw unbelievable(where, 'one JSON array');
  return data
    .filter((row: unknown) => !(isJson(row) && Object.keys(row).length === 0))
    .map((row: unknown, place) => {
      if (!isJson(row)) throw unbelievable(`${where}, entry ${String(place)}`, 'an object');
      return row;
    });
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textIn(row: Json, name: string, where: string): string {
  const value = row[name];
  if (typeof value !== 'string') throw unbelievable(`${where}, ${name}`, 'a text');
  return value;
}

function numberIn(row: Json, name: string, where: string): number {
  const value = row[name];
  if (typeof value !== 'number') throw unbelievable(`${where}, ${name}`, 'a number');
  return value;
}

function jsonIn(row: Json, name: string): Json {
  const value = row[name];
  return isJson(value) ? value : {};
}

function listIn(row: Json, name: string, where: string): unknown[] {
  const value = row[name];
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw unbelievable(`${where}, ${name}`, 'a list');
  return value as unknown[];
}

function liftLink(link: Json, where: string): Interface {
  const name = textIn(link, 'ifname', where);
  const info = jsonIn(link, 'linkinfo');
  const data = jsonIn(info, 'info_data');
  const kind = typeof info['info_kind'] === 'string' ? info['info_kind'] : '';
  const tunnel = liftTunnel(kind, data);
  const lifted: Interface = { name, type: typeOf(kind, textIn(link, 'link_type', where), tunnel) };
  if (typeof link['ifalias'] === 'string' && link['ifalias'] !== '') lifted.description = link['ifalias'];
  if (!listIn(link, 'flags', where).includes('UP')) lifted.enabled = false;
  if (tunnel !== undefined) lifted['kedge-tunnels:tunnel'] = tunnel;
  if (kind === 'vlan' && typeof link['link'] === 'string')
    lifted['kedge-bridging:vlan-interface'] = { lower: link['link'], 'vlan-id': numberIn(data, 'id', where) };
  if (kind === 'bridge') {
    const ageing = Math.round(numberIn(data, 'ageing_time', where) / 100);
    lifted['kedge-bridging:bridge'] = ageing === 300 ? {} : { 'ageing-time': ageing };
  }
  if (info['info_slave_kind'] === 'bridge' && typeof link['master'] === 'string')
    lifted['kedge-bridging:bridge-port'] = { bridge: link['master'] };
  liftAddresses(link, lifted, where);
  const mtu = numberIn(link, 'mtu', where);
  const usual = tunnel === undefined ? USUAL_MTU : tunnelMtu(tunnel);
  // A VLAN interface has that of the interface below.
  if (mtu !== usual && kind !== 'vlan') lifted['ietf-ip:ipv4'] = { ...lifted['ietf-ip:ipv4'], mtu };
  return lifted;
}

/** Names and, as `-N` prints them, numbers (linux/if_arp.h, linux/rtnetlink.h). */
const ETHER: readonly string[] = ['ether', '[1]'];
const LOOPBACK: readonly string[] = ['loopback', '[772]'];
const GLOBAL: readonly unknown[] = ['global', '0'];

const TYPES: Readonly<Record<string, InterfaceType>> = {
  bridge: 'iana-if-type:bridge',
  vlan: 'iana-if-type:l2vlan',
};

function typeOf(kind: string, link: string, tunnel: unknown): InterfaceType {
  if (tunnel !== undefined) return 'iana-if-type:tunnel';
  const made = TYPES[kind];
  if (made !== undefined) return made;
  if (LOOPBACK.includes(link)) return 'iana-if-type:softwareLoopback';
  return ETHER.includes(link) && (kind === '' || kind === 'veth')
    ? 'iana-if-type:ethernetCsmacd'
    : 'iana-if-type:other';
}

function liftTunnel(kind: string, data: Json): deviceTree.InterfaceTunnel | undefined {
  if (!['gre', 'ip6gre', 'ipip', 'ip6tnl', 'vxlan'].includes(kind)) return undefined;
  const ends = (six: string, four: string): string | undefined => {
    const value = data[four] ?? data[six];
    return typeof value === 'string' ? canonicalAddress(value) : undefined;
  };
  const [local, remote] = [ends('local6', 'local'), ends('remote6', 'remote')];
  if (local === undefined || remote === undefined) return undefined;
  const ttl = data['ttl'];
  const common = {
    'local-address': local,
    'remote-address': remote,
    ...(typeof ttl === 'number' && ttl > 0 ? { 'hop-limit': ttl } : {}),
  };
  if (kind === 'vxlan') {
    const { id, port } = data;
    if (typeof id !== 'number' || typeof port !== 'number') return undefined;
    return { ...common, vxlan: { 'network-identifier': id, 'destination-port': port } };
  }
  if (kind === 'ipip' || kind === 'ip6tnl') return { ...common, 'ip-in-ip': [null] };
  const key = data['ikey'] ?? data['okey'];
  return { ...common, gre: typeof key === 'string' ? { key: keyNumber(key) } : {} };
}

/** A GRE key, which is printed like an address. */
function keyNumber(text: string): number {
  return text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

function liftAddresses(link: Json, lifted: Interface, where: string): void {
  const lists: Record<4 | 6, { ip: string; 'prefix-length': number }[]> = { 4: [], 6: [] };
  for (const entry of listIn(link, 'addr_info', where)) {
    if (!isJson(entry)) throw unbelievable(`${where}, addr_info`, 'objects');
    const family = entry['family'];
    // What comes and goes by itself is not configured: leases, autoconfiguration, link-local addresses.
    if (family !== 'inet' && family !== 'inet6') continue;
    if (entry['dynamic'] === true || entry['temporary'] === true || entry['mngtmpaddr'] === true) continue;
    if ((family === 'inet6' && !GLOBAL.includes(entry['scope'])) || typeof entry['address'] === 'string')
      continue;
    const ip = canonicalAddress(textIn(entry, 'local', where));
    if (ip === undefined) throw unbelievable(`${where}, addr_info`, 'addresses');
    lists[family === 'inet' ? 4 : 6].push({ ip, 'prefix-length': numberIn(entry, 'prefixlen', where) });
  }
  if (lists[4].length > 0) lifted['ietf-ip:ipv4'] = { address: lists[4] };
  if (lists[6].length > 0) lifted['ietf-ip:ipv6'] = { address: lists[6] };
}

function liftVlans(row: Json, interfaces: ReadonlyMap<string, Interface>, where: string): void {
  const lifted = interfaces.get(textIn(row, 'ifname', where));
  if (lifted === undefined) return;
  const port = lifted['kedge-bridging:bridge-port'];
  const bridge = lifted['kedge-bridging:bridge'];
  const ids: number[] = [];
  const members: deviceTree.InterfaceBridgePortVlan[] = [];
  let pvid: number | undefined;
  for (const entry of listIn(row, 'vlans', where)) {
    if (!isJson(entry)) throw unbelievable(`${where}, vlans`, 'objects');
    const first = numberIn(entry, 'vlan', where);
    // Ranges are printed by some versions even where they were not asked for.
    const last = typeof entry['vlanEnd'] === 'number' ? entry['vlanEnd'] : first;
    const flags = listIn(entry, 'flags', where);
    for (let id = first; id <= last; id += 1) {
      ids.push(id);
      members.push({ id, tagging: flags.includes('Egress Untagged') ? 'untagged' : 'tagged' });
      if (flags.includes('PVID')) pvid = id;
    }
  }
  if (ids.length === 0) return;
  if (bridge !== undefined) lifted['kedge-bridging:bridge'] = { ...bridge, vlan: ids.map((id) => ({ id })) };
  else if (port !== undefined)
    lifted['kedge-bridging:bridge-port'] = {
      ...port,
      ...(pvid === undefined ? {} : { pvid }),
      vlan: members,
    };
}

const SPECIAL = ['blackhole', 'unreachable', 'prohibit'] as const;
/** Kinds of routes as numbers, as `-N` prints them (linux/rtnetlink.h). */
const TYPE_NUMBERS: Readonly<Record<string, (typeof SPECIAL)[number]>> = {
  '6': 'blackhole',
  '7': 'unreachable',
  '8': 'prohibit',
};

function liftRoutes(text: string, family: 4 | 6): Route[] {
  const where = `ip -${String(family)} route`;
  return rowsOf(text, where).map((row, place): Route => {
    const at = `${where}, entry ${String(place)}`;
    const destination = destinationOf(textIn(row, 'dst', at), family);
    const type = row['type'];
    const special =
      typeof type === 'string' ? (SPECIAL.find((each) => each === type) ?? TYPE_NUMBERS[type]) : undefined;
    if (special !== undefined)
      return { 'destination-prefix': destination, 'next-hop': { 'special-next-hop': special } };
    const list = listIn(row, 'nexthops', at);
    if (list.length === 0) return { 'destination-prefix': destination, 'next-hop': hopOf(row, at) };
    const hops = list.map((hop) => {
      if (!isJson(hop)) throw unbelievable(`${at}, nexthops`, 'objects');
      return hopOf(hop, at);
    });
    return {
      'destination-prefix': destination,
      'next-hop': { 'next-hop-list': { 'next-hop': numbered(hops) } },
    };
  });
}

interface Hop {
  readonly 'outgoing-interface'?: string;
  readonly 'next-hop-address'?: string;
}

/** Next hops in one order, numbered: the kernel keeps no name for them. */
export function numbered(hops: readonly Hop[]): ({ readonly index: string } & Hop)[] {
  const text = (hop: Hop): string => `${hop['next-hop-address'] ?? ''} ${hop['outgoing-interface'] ?? ''}`;
  return hops
    .toSorted((a, b) => (text(a) < text(b) ? -1 : 1))
    .map(({ 'outgoing-interface': name, 'next-hop-address': address }, place) => ({
      index: String(place + 1),
      ...(name === undefined ? {} : { 'outgoing-interface': name }),
      ...(address === undefined ? {} : { 'next-hop-address': address }),
    }));
}

function hopOf(row: Json, where: string): Hop {
  const gateway = row['gateway'];
  const address = typeof gateway === 'string' ? canonicalAddress(gateway) : undefined;
  if (gateway !== undefined && address === undefined) throw unbelievable(`${where}, gateway`, 'an address');
  return {
    'outgoing-interface': textIn(row, 'dev', where),
    ...(address === undefined ? {} : { 'next-hop-address': address }),
  };
}

function destinationOf(dst: string, family: 4 | 6): string {
  if (dst === 'default') return family === 4 ? '0.0.0.0/0' : '::/0';
  return dst.includes('/') ? dst : `${dst}/${family === 4 ? '32' : '128'}`;
}

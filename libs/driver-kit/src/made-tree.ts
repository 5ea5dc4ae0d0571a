/**
 * Trees as devices have them, made up from a source of numbers: for proofs over many devices and for benches.
 * It must not make a tree that the modules would refuse.
 */
import type { deviceTree, InterfaceType } from '@kedge/intent-model';

/** A whole number from 0 to below `below`, which is at least 1. */
export type Pick = (below: number) => number;

/** What may stand in a made tree. */
export interface MadeFeatures {
  /** Names of interfaces that the device has. */
  readonly ports: readonly string[];
  /** Most bridges; 0 = none. */
  readonly bridges: number;
  /** VLANs of bridges, members, PVIDs and VLAN interfaces. */
  readonly vlans: boolean;
  readonly routes: boolean;
  /** Kinds of tunnels. */
  readonly tunnels: readonly ('gre' | 'ip-in-ip' | 'vxlan')[];
  readonly filters: boolean;
  /** MTUs other than usual, and descriptions. */
  readonly details: boolean;
}

/** VLANs that made trees know. */
export const MADE_VLANS = [10, 20, 30, 40] as const;

type Building<Node> = { -readonly [Name in keyof Node]: Node[Name] };

/** A valid tree; the same numbers give the same tree. */
export function madeTree(pick: Pick, features: MadeFeatures): deviceTree.DeviceTree {
  const chance = (percent: number): boolean => pick(100) < percent;
  const one = <Item>(items: readonly Item[]): Item => items[pick(items.length)] as Item;
  const some = <Item>(items: readonly Item[], percent: number): Item[] => items.filter(() => chance(percent));
  const interfaces: Building<deviceTree.Interface>[] = [];
  const put = (name: string, type: InterfaceType): Building<deviceTree.Interface> => {
    const made: Building<deviceTree.Interface> = { name, type };
    if (chance(20)) made.enabled = false;
    if (features.details && chance(25))
      made.description = one(['to the roof', 'rack 2, "left"', "it's free", 'uplink']);
    interfaces.push(made);
    return made;
  };
  const bridges: { readonly name: string; readonly vlans: readonly number[] }[] = [];
  for (let index = 0; index < features.bridges; index += 1) {
    if (!chance(70)) continue;
    const name = `br${String(index)}`;
    const vlans = features.vlans ? some(MADE_VLANS, 60) : [];
    const made = put(name, 'iana-if-type:bridge');
    made['kedge-bridging:bridge'] = {
      ...(chance(20) ? { 'ageing-time': one([60, 600]) } : {}),
      ...(vlans.length === 0 ? {} : { vlan: vlans.map((id) => ({ id })) }),
    };
    bridges.push({ name, vlans });
  }
  const addresses = new AddressPool(pick);
  const lowers: { readonly name: string; readonly vlans: readonly number[] }[] = bridges.filter(
    () => features.vlans,
  );
  for (const name of features.ports) {
    if (chance(15)) continue;
    const made = put(name, 'iana-if-type:ethernetCsmacd');
    if (bridges.length > 0 && chance(50)) {
      const bridge = one(bridges);
      const members = some(bridge.vlans, 50).map((id) => ({
        id,
        ...(chance(40) ? { tagging: 'untagged' as const } : {}),
      }));
      made['kedge-bridging:bridge-port'] = {
        bridge: bridge.name,
        ...(members.length > 0 && chance(60) ? { pvid: one(members).id } : {}),
        ...(members.length === 0 ? {} : { vlan: members }),
      };
    } else if (chance(70)) addresses.giveTo(made);
    if (features.details && chance(15))
      made['ietf-ip:ipv4'] = { ...made['ietf-ip:ipv4'], mtu: one([1400, 1600, 9000]) };
    if (features.vlans) lowers.push({ name, vlans: MADE_VLANS });
  }
  for (const { name, vlans } of lowers)
    for (const id of some(vlans, 20)) {
      const made = put(`${name}.${String(id)}`, 'iana-if-type:l2vlan');
      made['kedge-bridging:vlan-interface'] = { lower: name, 'vlan-id': id };
      if (chance(70)) addresses.giveTo(made);
    }
  for (const [index, kind] of features.tunnels.entries()) {
    if (!chance(50)) continue;
    const made = put(`tun${String(index)}`, 'iana-if-type:tunnel');
    const family = chance(60) ? 4 : 6;
    made['kedge-tunnels:tunnel'] = {
      'local-address': family === 4 ? '198.51.100.7' : '2001:db8::7',
      'remote-address':
        family === 4 ? `203.0.113.${String(9 + pick(2))}` : `2001:db8::${String(8 + pick(2))}`,
      ...(chance(30) ? { 'hop-limit': 32 } : {}),
      ...(kind === 'gre'
        ? { gre: chance(50) ? { key: 4_294_967_295 } : {} }
        : kind === 'vxlan'
          ? { vxlan: { 'network-identifier': 70 + pick(3) } }
          : { 'ip-in-ip': [null] as const }),
    };
    if (chance(50)) addresses.giveTo(made);
  }
  return {
    ...(interfaces.length === 0 ? {} : { 'ietf-interfaces:interfaces': { interface: interfaces } }),
    ...(features.routes ? routing(pick, interfaces) : {}),
    ...(features.filters ? filters(pick, interfaces) : {}),
  };
}

/** Addresses of a few subnets, each given once. */
class AddressPool {
  readonly #pick: Pick;
  readonly #given = new Set<string>();

  constructor(pick: Pick) {
    this.#pick = pick;
  }

  giveTo(made: Building<deviceTree.Interface>): void {
    const lists: Record<4 | 6, { ip: string; 'prefix-length': number }[]> = { 4: [], 6: [] };
    for (let count = this.#pick(3); count >= 0; count -= 1) {
      const family = this.#pick(3) === 0 ? 6 : 4;
      const [subnet, host] = [String(1 + this.#pick(5)), String(1 + this.#pick(3))];
      const ip = family === 4 ? `10.1.${subnet}.${host}` : `fd00:${subnet}::${host}`;
      if (this.#given.has(ip)) continue;
      this.#given.add(ip);
      lists[family].push({ ip, 'prefix-length': family === 4 ? 24 + this.#pick(2) : 64 });
    }
    if (lists[4].length > 0) made['ietf-ip:ipv4'] = { ...made['ietf-ip:ipv4'], address: lists[4] };
    if (lists[6].length > 0) made['ietf-ip:ipv6'] = { ...made['ietf-ip:ipv6'], address: lists[6] };
  }
}

function routing(pick: Pick, interfaces: readonly deviceTree.Interface[]): deviceTree.DeviceTree {
  const lists: Record<4 | 6, deviceTree.RoutingControlPlaneProtocolStaticRoutesIpv4Route[]> = {
    4: [],
    6: [],
  };
  for (const family of [4, 6] as const) {
    const hops = interfaces.flatMap(({ name, [`ietf-ip:ipv${family}` as const]: ip }) =>
      (ip?.address ?? []).map(({ ip: address }) => ({ name, address })),
    );
    for (let index = 0; index < 4; index += 1) {
      if (pick(100) >= 50) continue;
      const destination = family === 4 ? `10.${String(100 + index)}.0.0/16` : `fd9${String(index)}::/32`;
      const hop = hops[pick(hops.length + 1)];
      const to = hop === undefined ? '' : hop.address.replace(/\d+$/, '99');
      lists[family].push({
        'destination-prefix': destination,
        'next-hop':
          hop === undefined
            ? {
                'special-next-hop':
                  (['blackhole', 'unreachable', 'prohibit'] as const)[pick(3)] ?? 'blackhole',
              }
            : pick(3) === 0
              ? { 'outgoing-interface': hop.name }
              : { 'next-hop-address': to, ...(pick(2) === 0 ? { 'outgoing-interface': hop.name } : {}) },
      });
    }
  }
  if (lists[4].length + lists[6].length === 0) return {};
  return {
    'ietf-routing:routing': {
      'control-plane-protocols': {
        'control-plane-protocol': [
          {
            type: 'ietf-routing:static',
            name: 'site',
            'static-routes': {
              ...(lists[4].length === 0 ? {} : { 'ietf-ipv4-unicast-routing:ipv4': { route: lists[4] } }),
              ...(lists[6].length === 0 ? {} : { 'ietf-ipv6-unicast-routing:ipv6': { route: lists[6] } }),
            },
          },
        ],
      },
    },
  };
}

function filters(pick: Pick, interfaces: readonly deviceTree.Interface[]): deviceTree.DeviceTree {
  const names = ['guests', 'staff'].filter(() => pick(100) < 60);
  if (names.length === 0) return {};
  const rules = ['web', 'dns', 'rest'] as const;
  return {
    'kedge-acl:acls': {
      acl: names.map((name) => ({
        family: 'ipv4' as const,
        name,
        // From any place on, in that order: the order is the user's.
        rule: rules.map((_, place) => {
          const rule = rules[(place + pick(3)) % rules.length] ?? 'rest';
          return {
            name: `${rule}-${String(place)}`,
            action: pick(2) === 0 ? ('permit' as const) : ('deny' as const),
          };
        }),
      })),
      attachment: interfaces
        .filter(() => pick(100) < 20)
        .map(({ name }) => ({
          interface: name,
          direction: 'ingress' as const,
          family: 'ipv4' as const,
          acl: names[pick(names.length)] ?? '',
        })),
    },
  };
}

/** Numbers that follow from a seed alone, the same everywhere. Not for secrets. */
export function picksFrom(seed: number): Pick {
  let state = seed | 0;
  return (below) => {
    // Additive step, then two rounds of mixing: neighbouring seeds give unlike numbers.
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

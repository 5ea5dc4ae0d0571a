/**
 * The lab's network as text: one `ip -batch` file per namespace, and the settings beside it.
 * It must not run anything; prepare.ts does, inside the lab's own namespaces.
 */
import { foreignRoutes, linksOf, ROUTE_MODES, ROUTE_NAMESPACES } from './route-topology.js';
import { FORWARDER_NAMESPACE, ip4Of, ip6Of, macOf, namespaceOf, portOf, ZONES } from './topology.js';

/** Kernel settings by path below /proc/sys/net, for one namespace. */
export type Settings = readonly (readonly [path: string, value: string])[];

export interface NamespacePlan {
  readonly namespace: string;
  /** Set before any interface comes up. */
  readonly settings: Settings;
  /** Lines for `ip -n NAMESPACE -batch`. */
  readonly batch: readonly string[];
  /** Interfaces whose offloads are switched off: AF_PACKET copies would leave with bad checksums. */
  readonly plain: readonly string[];
}

/** Offloads that would make a copied frame something else than what is on the wire. */
export const OFFLOADS = ['rx', 'tx', 'sg', 'tso', 'gso', 'gro', 'rxvlan', 'txvlan'] as const;

/** Lines for `ip -batch` outside of all namespaces: makes them, and the wires between them. */
export function wiring(): readonly string[] {
  return [
    `netns add ${FORWARDER_NAMESPACE}`,
    ...ZONES.flatMap(({ name }) => [
      `netns add ${namespaceOf(name)}`,
      `link add eth0 netns ${namespaceOf(name)} address ${macOf(name)} type veth peer name ${portOf(name)} netns ${FORWARDER_NAMESPACE}`,
    ]),
    ...ROUTE_MODES.flatMap((mode) => [
      `netns add ${ROUTE_NAMESPACES[mode]}`,
      ...linksOf(mode).map(
        ({ name }) =>
          `link add ${name} netns ${ROUTE_NAMESPACES[mode]} type veth peer name ${name}-far netns ${ROUTE_NAMESPACES[mode]}`,
      ),
    ]),
  ];
}

/** The forwarder's side: ports without an address, a kernel that forwards and answers nothing (DP-7). */
export function forwarderPlan(): NamespacePlan {
  const ports = ZONES.map(({ name }) => portOf(name));
  return {
    namespace: FORWARDER_NAMESPACE,
    settings: [
      ['ipv4/ip_forward', '0'],
      ['ipv4/conf/all/forwarding', '0'],
      ['ipv4/conf/default/forwarding', '0'],
      ['ipv4/conf/all/arp_ignore', '8'],
      ['ipv6/conf/all/forwarding', '0'],
      ['ipv6/conf/default/forwarding', '0'],
      ['ipv6/conf/all/accept_ra', '0'],
      ['ipv6/conf/default/accept_ra', '0'],
      ['ipv6/conf/all/disable_ipv6', '1'],
      ['ipv6/conf/default/disable_ipv6', '1'],
      ...ports.flatMap((port) => [
        [`ipv4/conf/${port}/forwarding`, '0'] as const,
        [`ipv6/conf/${port}/disable_ipv6`, '1'] as const,
      ]),
    ],
    batch: ports.map((port) => `link set ${port} promisc on up`),
    plain: ports,
  };
}

/** The zones' side: one interface with one address per family, usable at once. */
export function zonePlans(): readonly NamespacePlan[] {
  return ZONES.map(({ name }) => ({
    namespace: namespaceOf(name),
    settings: [
      ['ipv4/ip_forward', '0'],
      ['ipv6/conf/all/forwarding', '0'],
      ['ipv6/conf/all/accept_ra', '0'],
      ['ipv6/conf/default/accept_ra', '0'],
      ['ipv6/conf/eth0/accept_ra', '0'],
      ['ipv6/conf/eth0/accept_dad', '0'],
      // A forwarder that is away must not silence the senders: what they know of their peers they keep.
      ['ipv4/neigh/eth0/ucast_solicit', '1000'],
      ['ipv6/neigh/eth0/ucast_solicit', '1000'],
    ],
    batch: [
      'link set lo up',
      'link set eth0 up',
      `address add ${ip4Of(name)}/24 dev eth0`,
      `address add ${ip6Of(name)}/64 dev eth0 nodad`,
    ],
    plain: ['eth0'],
  }));
}

/**
 * The namespaces of overlay and underlay: links whose far ends are silent, so that routes have somewhere to lead,
 * and the routes of others.
 */
export function routePlans(): readonly NamespacePlan[] {
  return ROUTE_MODES.map((mode) => ({
    namespace: ROUTE_NAMESPACES[mode],
    settings: [
      ['ipv4/ip_forward', '1'],
      ['ipv6/conf/all/accept_ra', '0'],
      ['ipv6/conf/default/accept_ra', '0'],
      ['ipv6/conf/default/accept_dad', '0'],
      // Routers solicit nothing, and silent far ends need no addresses that change by themselves.
      ['ipv6/conf/default/router_solicitations', '0'],
      ...linksOf(mode).flatMap(({ name }) => [[`ipv6/conf/${name}-far/disable_ipv6`, '1'] as const]),
    ],
    batch: [
      'link set lo up',
      ...linksOf(mode).flatMap(({ name, ip4, ip6 }) => [
        `link set ${name}-far up`,
        `link set ${name} up`,
        `address add ${ip4} dev ${name}`,
        `address add ${ip6} dev ${name} nodad`,
      ]),
      ...foreignRoutes(mode).map(({ add }) => `route add ${add}`),
    ],
    plain: [],
  }));
}

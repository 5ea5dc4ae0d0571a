/**
 * What the parts of the Linux driver have in common: its marks, and how kinds of interfaces are called on both sides.
 * It must not encode or lift anything.
 */
import type { deviceTree } from '@kedge/intent-model';

/** Link group of interfaces that the driver made; in no list of group names that we know. */
export const MARK_GROUP = 109;
/** Routing protocol number of the driver's routes; the filtered routes of posture are 107 and 108. */
export const ROUTE_PROTOCOL = 109;

/** The MTU that an interface has when intent says nothing. */
export const USUAL_MTU = 1500;

/** How a tunnel is called in Linux. */
export type TunnelLink = 'gre' | 'ip6gre' | 'ipip' | 'ip6tnl' | 'vxlan';

/** The kind of link that carries a tunnel. */
export function tunnelLink(tunnel: deviceTree.InterfaceTunnel): TunnelLink {
  const isSix = tunnel['local-address'].includes(':');
  if (tunnel.vxlan !== undefined) return 'vxlan';
  if (tunnel.gre !== undefined) return isSix ? 'ip6gre' : 'gre';
  return isSix ? 'ip6tnl' : 'ipip';
}

/** What fits into a usual packet together with the outer headers. The kernel's own choice depends on routes at that moment. */
const TUNNEL_MTU: Readonly<Record<Exclude<TunnelLink, 'vxlan'>, number>> = {
  gre: 1472,
  ip6gre: 1444,
  ipip: 1480,
  ip6tnl: 1460,
};

/** The MTU of a tunnel when intent says nothing. */
export function tunnelMtu(tunnel: deviceTree.InterfaceTunnel): number {
  const link = tunnelLink(tunnel);
  if (link !== 'vxlan') return TUNNEL_MTU[link];
  return tunnel['local-address'].includes(':') ? 1430 : 1450;
}

/**
 * The tree `device`: what one device is meant to be.
 * Written by `npm run yang:types` from the modules that yang/trees.json names for it; it must not be changed by hand.
 */

import type { AddressFamily, ControlPlaneProtocol, InterfaceType } from './identities.js';

/** A whole document of the tree. */
export interface DeviceTree {
  readonly 'ietf-interfaces:interfaces'?: Interfaces;
  readonly 'ietf-routing:routing'?: Routing;
  readonly 'kedge-acl:acls'?: Acls;
}

/** `/interfaces` */
export interface Interfaces {
  /** Keyed by name. */
  readonly interface?: readonly Interface[];
}

/** `/interfaces/interface` */
export interface Interface {
  readonly name: string;
  readonly description?: string;
  readonly type: InterfaceType;
  /** Default true. */
  readonly enabled?: boolean;
  readonly 'link-up-down-trap-enable'?: 'enabled' | 'disabled';
  readonly 'ietf-ip:ipv4'?: InterfaceIpv4;
  readonly 'ietf-ip:ipv6'?: InterfaceIpv6;
  readonly 'kedge-bridging:vlan-interface'?: InterfaceVlanInterface;
  readonly 'kedge-bridging:bridge-port'?: InterfaceBridgePort;
  readonly 'kedge-bridging:bridge'?: InterfaceBridge;
  readonly 'kedge-tunnels:tunnel'?: InterfaceTunnel;
}

/** `/interfaces/interface/ipv4` */
export interface InterfaceIpv4 {
  /** Default true. */
  readonly enabled?: boolean;
  /** Default false. */
  readonly forwarding?: boolean;
  /** Range 68..65535, in octets. */
  readonly mtu?: number;
  /** Keyed by ip. */
  readonly address?: readonly InterfaceIpv4Address[];
  /** Keyed by ip. */
  readonly neighbor?: readonly InterfaceIpv4Neighbor[];
}

/** `/interfaces/interface/ipv4/address` */
export interface InterfaceIpv4Address {
  readonly ip: string;
  /** Range 0..32. */
  readonly 'prefix-length'?: number;
  readonly netmask?: string;
}

/** `/interfaces/interface/ipv4/neighbor` */
export interface InterfaceIpv4Neighbor {
  readonly ip: string;
  readonly 'link-layer-address': string;
}

/** `/interfaces/interface/ipv6` */
export interface InterfaceIpv6 {
  /** Default true. */
  readonly enabled?: boolean;
  /** Default false. */
  readonly forwarding?: boolean;
  /** Range 1280..4294967295, in octets. */
  readonly mtu?: number;
  /** Keyed by ip. */
  readonly address?: readonly InterfaceIpv6Address[];
  /** Keyed by ip. */
  readonly neighbor?: readonly InterfaceIpv6Neighbor[];
  /** Uint32, default 1. */
  readonly 'dup-addr-detect-transmits'?: number;
  readonly autoconf?: InterfaceIpv6Autoconf;
  readonly 'ietf-ipv6-unicast-routing:ipv6-router-advertisements'?: InterfaceIpv6Ipv6RouterAdvertisements;
}

/** `/interfaces/interface/ipv6/address` */
export interface InterfaceIpv6Address {
  readonly ip: string;
  /** Range 0..128. */
  readonly 'prefix-length': number;
}

/** `/interfaces/interface/ipv6/neighbor` */
export interface InterfaceIpv6Neighbor {
  readonly ip: string;
  readonly 'link-layer-address': string;
}

/** `/interfaces/interface/ipv6/autoconf` */
export interface InterfaceIpv6Autoconf {
  /** Default true. */
  readonly 'create-global-addresses'?: boolean;
  /** Default false. */
  readonly 'create-temporary-addresses'?: boolean;
  /** Uint32, in seconds, default 604800. */
  readonly 'temporary-valid-lifetime'?: number;
  /** Uint32, in seconds, default 86400. */
  readonly 'temporary-preferred-lifetime'?: number;
}

/** `/interfaces/interface/ipv6/ipv6-router-advertisements` */
export interface InterfaceIpv6Ipv6RouterAdvertisements {
  /** Default false. */
  readonly 'send-advertisements'?: boolean;
  /** Range 4..65535, in seconds, default 600. */
  readonly 'max-rtr-adv-interval'?: number;
  /** Range 3..1350, in seconds. */
  readonly 'min-rtr-adv-interval'?: number;
  /** Default false. */
  readonly 'managed-flag'?: boolean;
  /** Default false. */
  readonly 'other-config-flag'?: boolean;
  /** Uint32, default 0. */
  readonly 'link-mtu'?: number;
  /** Range 0..3600000, in milliseconds, default 0. */
  readonly 'reachable-time'?: number;
  /** Uint32, in milliseconds, default 0. */
  readonly 'retrans-timer'?: number;
  /** Uint8. */
  readonly 'cur-hop-limit'?: number;
  /** Range 0..65535, in seconds. */
  readonly 'default-lifetime'?: number;
  readonly 'prefix-list'?: InterfaceIpv6Ipv6RouterAdvertisementsPrefixList;
}

/** `/interfaces/interface/ipv6/ipv6-router-advertisements/prefix-list` */
export interface InterfaceIpv6Ipv6RouterAdvertisementsPrefixList {
  /** Keyed by prefix-spec. */
  readonly prefix?: readonly InterfaceIpv6Ipv6RouterAdvertisementsPrefixListPrefix[];
}

/** `/interfaces/interface/ipv6/ipv6-router-advertisements/prefix-list/prefix` */
export interface InterfaceIpv6Ipv6RouterAdvertisementsPrefixListPrefix {
  readonly 'prefix-spec': string;
  readonly 'no-advertise'?: readonly [null];
  /** Uint32, in seconds, default 2592000. */
  readonly 'valid-lifetime'?: number;
  /** Default true. */
  readonly 'on-link-flag'?: boolean;
  /** Uint32, in seconds, default 604800. */
  readonly 'preferred-lifetime'?: number;
  /** Default true. */
  readonly 'autonomous-flag'?: boolean;
}

/**
 * The interface that it is a part of, and which part. At level 1 these interfaces stay for monitoring.
 * `/interfaces/interface/vlan-interface`
 */
export interface InterfaceVlanInterface {
  /**
   * The interface below: a bridge, which makes this one of its own addresses within the VLAN, or an interface
   * that carries tags.
   */
  readonly lower: string;
  /** The VLAN. Range 1..4094. */
  readonly 'vlan-id': number;
}

/** The interface as a port of a bridge. `/interfaces/interface/bridge-port` */
export interface InterfaceBridgePort {
  /** The bridge that the port belongs to. */
  readonly bridge: string;
  /**
   * The VLAN of frames that come in without a tag. None given means that such frames are dropped. Range
   * 1..4094.
   */
  readonly pvid?: number;
  /** The frames that are let in. Default all. */
  readonly 'acceptable-frames'?: 'all' | 'tagged' | 'untagged';
  /** Whether frames of VLANs that the port is no member of are dropped when they come in. Default true. */
  readonly 'ingress-filtering'?: boolean;
  /** Keyed by id. */
  readonly vlan?: readonly InterfaceBridgePortVlan[];
}

/** A VLAN that the port is a member of. `/interfaces/interface/bridge-port/vlan` */
export interface InterfaceBridgePortVlan {
  /** Its number. Range 1..4094. */
  readonly id: number;
  /** How frames of the VLAN go out of the port. Default tagged. */
  readonly tagging?: 'tagged' | 'untagged';
}

/** The bridge and the VLANs that it knows. `/interfaces/interface/bridge` */
export interface InterfaceBridge {
  /** How long an address that was learnt is remembered. Range 10..1000000, in seconds, default 300. */
  readonly 'ageing-time'?: number;
  /** Keyed by id. */
  readonly vlan?: readonly InterfaceBridgeVlan[];
}

/** A VLAN of the bridge. Frames of any other VLAN are dropped. `/interfaces/interface/bridge/vlan` */
export interface InterfaceBridgeVlan {
  /** Its number. Range 1..4094. */
  readonly id: number;
  /** What people call it on the device. None given means the name of the site's network with this number. */
  readonly name?: string;
}

/** The two ends of the tunnel and how packets are wrapped. `/interfaces/interface/tunnel` */
export interface InterfaceTunnel {
  /** The address of the device that the outer packets come from. */
  readonly 'local-address': string;
  /** The address that the outer packets go to. */
  readonly 'remote-address': string;
  /** Time to live, or hop limit, of the outer packets. Range 1..255, default 64. */
  readonly 'hop-limit'?: number;
  /** There is nothing more to say of it. */
  readonly 'ip-in-ip'?: readonly [null];
  readonly gre?: InterfaceTunnelGre;
  readonly vxlan?: InterfaceTunnelVxlan;
}

/** What GRE has of its own. `/interfaces/interface/tunnel/gre` */
export interface InterfaceTunnelGre {
  /** The key that both ends write. None given means no key. Range 0..4294967295. */
  readonly key?: number;
}

/** What VXLAN has of its own. `/interfaces/interface/tunnel/vxlan` */
export interface InterfaceTunnelVxlan {
  /** The VXLAN network identifier. Range 1..16777215. */
  readonly 'network-identifier': number;
  /** The UDP port of the remote end. Range 1..65535, default 4789. */
  readonly 'destination-port'?: number;
}

/** `/routing` */
export interface Routing {
  readonly 'router-id'?: string;
  readonly 'control-plane-protocols'?: RoutingControlPlaneProtocols;
  readonly ribs?: RoutingRibs;
}

/** `/routing/control-plane-protocols` */
export interface RoutingControlPlaneProtocols {
  /** Keyed by type and name. */
  readonly 'control-plane-protocol'?: readonly RoutingControlPlaneProtocol[];
}

/** `/routing/control-plane-protocols/control-plane-protocol` */
export interface RoutingControlPlaneProtocol {
  readonly type: ControlPlaneProtocol;
  readonly name: string;
  readonly description?: string;
  readonly 'static-routes'?: RoutingControlPlaneProtocolStaticRoutes;
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes` */
export interface RoutingControlPlaneProtocolStaticRoutes {
  readonly 'ietf-ipv4-unicast-routing:ipv4'?: RoutingControlPlaneProtocolStaticRoutesIpv4;
  readonly 'ietf-ipv6-unicast-routing:ipv6'?: RoutingControlPlaneProtocolStaticRoutesIpv6;
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv4` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv4 {
  /** Keyed by destination-prefix. */
  readonly route?: readonly RoutingControlPlaneProtocolStaticRoutesIpv4Route[];
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv4/route` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv4Route {
  readonly 'destination-prefix': string;
  readonly description?: string;
  readonly 'next-hop': RoutingControlPlaneProtocolStaticRoutesIpv4RouteNextHop;
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv4/route/next-hop` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv4RouteNextHop {
  readonly 'outgoing-interface'?: string;
  readonly 'next-hop-address'?: string;
  readonly 'special-next-hop'?: 'blackhole' | 'unreachable' | 'prohibit' | 'receive';
  readonly 'next-hop-list'?: RoutingControlPlaneProtocolStaticRoutesIpv4RouteNextHopNextHopList;
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv4/route/next-hop/next-hop-list` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv4RouteNextHopNextHopList {
  /** Keyed by index. */
  readonly 'next-hop'?: readonly RoutingControlPlaneProtocolStaticRoutesIpv4RouteNextHopNextHopListNextHop[];
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv4/route/next-hop/next-hop-list/next-hop` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv4RouteNextHopNextHopListNextHop {
  readonly index: string;
  readonly 'outgoing-interface'?: string;
  readonly 'next-hop-address'?: string;
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv6` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv6 {
  /** Keyed by destination-prefix. */
  readonly route?: readonly RoutingControlPlaneProtocolStaticRoutesIpv6Route[];
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv6/route` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv6Route {
  readonly 'destination-prefix': string;
  readonly description?: string;
  readonly 'next-hop': RoutingControlPlaneProtocolStaticRoutesIpv6RouteNextHop;
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv6/route/next-hop` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv6RouteNextHop {
  readonly 'outgoing-interface'?: string;
  readonly 'next-hop-address'?: string;
  readonly 'special-next-hop'?: 'blackhole' | 'unreachable' | 'prohibit' | 'receive';
  readonly 'next-hop-list'?: RoutingControlPlaneProtocolStaticRoutesIpv6RouteNextHopNextHopList;
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv6/route/next-hop/next-hop-list` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv6RouteNextHopNextHopList {
  /** Keyed by index. */
  readonly 'next-hop'?: readonly RoutingControlPlaneProtocolStaticRoutesIpv6RouteNextHopNextHopListNextHop[];
}

/** `/routing/control-plane-protocols/control-plane-protocol/static-routes/ipv6/route/next-hop/next-hop-list/next-hop` */
export interface RoutingControlPlaneProtocolStaticRoutesIpv6RouteNextHopNextHopListNextHop {
  readonly index: string;
  readonly 'outgoing-interface'?: string;
  readonly 'next-hop-address'?: string;
}

/** `/routing/ribs` */
export interface RoutingRibs {
  /** Keyed by name. */
  readonly rib?: readonly RoutingRib[];
}

/** `/routing/ribs/rib` */
export interface RoutingRib {
  readonly name: string;
  readonly 'address-family': AddressFamily;
  readonly description?: string;
}

/** The access control lists of the device. `/acls` */
export interface Acls {
  /** Keyed by family and name. */
  readonly acl?: readonly Acl[];
  /** Keyed by interface and direction and family. */
  readonly attachment?: readonly AclsAttachment[];
}

/** One list. What no rule matches is denied. `/acls/acl` */
export interface Acl {
  /** The packets that the list judges. Others are not touched by it. */
  readonly family: 'ipv4' | 'ipv6';
  /** What the device calls it. */
  readonly name: string;
  /** Keyed by name. */
  readonly rule?: readonly AclRule[];
}

/** One rule. The first one that matches counts. `/acls/acl/rule` */
export interface AclRule {
  /** What people call it. */
  readonly name: string;
  /** What the rule is for. */
  readonly description?: string;
  /** The protocol above IP; none given means any. */
  readonly protocol?: 'icmp' | 'tcp' | 'udp';
  /** Where packets come from; none given means anywhere. */
  readonly 'source-prefix'?: string;
  /** Where packets go to; none given means anywhere. */
  readonly 'destination-prefix'?: string;
  readonly 'source-port'?: AclRuleSourcePort;
  readonly 'destination-port'?: AclRuleDestinationPort;
  /** What happens to a packet that matches. */
  readonly action: 'deny' | 'permit';
}

/** Ports that packets come from; none given means any. `/acls/acl/rule/source-port` */
export interface AclRuleSourcePort {
  /** The first port. Range 0..65535. */
  readonly first: number;
  /** The last port. None given means the first alone. Range 0..65535. */
  readonly last?: number;
}

/** Ports that packets go to; none given means any. `/acls/acl/rule/destination-port` */
export interface AclRuleDestinationPort {
  /** The first port. Range 0..65535. */
  readonly first: number;
  /** The last port. None given means the first alone. Range 0..65535. */
  readonly last?: number;
}

/** Where a list is in force. One list for each interface, direction and family. `/acls/attachment` */
export interface AclsAttachment {
  /** The interface. */
  readonly interface: string;
  /** Which packets of the interface are judged. */
  readonly direction: 'ingress' | 'egress';
  /** The family of the list. */
  readonly family: 'ipv4' | 'ipv6';
  /** The list, one of that family. */
  readonly acl: string;
}

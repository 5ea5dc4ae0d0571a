/**
 * The tree `site`: the site, its networks and uplinks, its devices, the mesh, and how drift is judged.
 * Written by `npm run yang:types` from the modules that yang/trees.json names for it; it must not be changed by hand.
 */

import type { Capability, InterfaceType } from './identities.js';

/** A whole document of the tree. */
export interface SiteTree {
  readonly 'kedge-zones:zones': Zones;
  readonly 'kedge-zones:allowlist'?: Allowlist;
  readonly 'kedge-site:site'?: Site;
  readonly 'kedge-inventory:devices'?: Devices;
  readonly 'kedge-mesh:mesh'?: Mesh;
  readonly 'kedge-drift:drift'?: Drift;
}

/** The zones of the site. Every port of the data plane belongs to one. `/zones` */
export interface Zones {
  /** Keyed by name. */
  readonly zone: readonly Zone[];
}

/** One zone. `/zones/zone` */
export interface Zone {
  /** What people and accords call it. */
  readonly name: string;
  /** What the data plane calls it. Zone 1 is the management zone. Range 1..15. */
  readonly id: number;
  /** What the zone is for. */
  readonly description?: string;
  /** The interfaces of the data plane in this zone. */
  readonly port?: readonly string[];
}

/**
 * The named entries: traffic that the accords speak of by name. An entry as such allows nothing. `/allowlist`
 */
export interface Allowlist {
  /** Keyed by name. */
  readonly entry?: readonly AllowlistEntry[];
}

/**
 * One entry. A packet belongs to it when everything that is given matches; lists mean 'one of these'. Of
 * several entries that match a packet the most specific one counts (the one that fixes more bits of
 * addresses, protocol and ports), of equally specific ones the tighter verdict. `/allowlist/entry`
 */
export interface AllowlistEntry {
  /** What people and accords call it. */
  readonly name: string;
  /** What the entry is for. */
  readonly description?: string;
  /** The zone that the packet comes from. */
  readonly 'from-zone': string;
  /** The zone that the packet goes to. */
  readonly 'to-zone': string;
  /** Source addresses; none given means any, of both families. Bits behind the prefix length do not count. */
  readonly 'source-prefix'?: readonly string[];
  /** Destination addresses; none given means any, of both families. */
  readonly 'destination-prefix'?: readonly string[];
  /** The protocol; none given means any. */
  readonly protocol?: 'icmp' | 'tcp' | 'udp' | 'gre' | 'esp' | 'ospf' | 'vrrp' | 'sctp';
  /**
   * Source ports; none given means any. A fragment other than the first belongs to no entry that asks for
   * ports. Range 0..65535.
   */
  readonly 'source-port'?: readonly number[];
  /** Destination ports; none given means any. Range 0..65535. */
  readonly 'destination-port'?: readonly number[];
  /**
   * Whether the mirror of the entry belongs to it too: zones, prefixes and ports exchanged. The data plane
   * keeps no state; without this, answers are traffic of their own. Default false.
   */
  readonly bidirectional?: boolean;
}

/** The site. `/site` */
export interface Site {
  /** What the fleet calls it. */
  readonly name: string;
  /** What the site is, and where. */
  readonly description?: string;
  /** The devices that are appliances. Two of them act as one posture, the tighter of both. */
  readonly appliance: readonly string[];
  /** Keyed by name. */
  readonly network?: readonly SiteNetwork[];
  /** Keyed by name. */
  readonly uplink?: readonly SiteUplink[];
}

/** A network of the site: one VLAN, wherever a device carries it. `/site/network` */
export interface SiteNetwork {
  /** What people call it. */
  readonly name: string;
  /** What the network is for. */
  readonly description?: string;
  /** Its number on every device. Range 1..4094. */
  readonly 'vlan-id': number;
  /** The zone that its traffic belongs to when it reaches the appliance. */
  readonly zone: string;
  /**
   * The addresses within it. Addresses of interfaces in its VLAN are of these; the compiler refuses others.
   */
  readonly prefix?: readonly string[];
}

/** A way out of the site. `/site/uplink` */
export interface SiteUplink {
  /** What people call it. */
  readonly name: string;
  /** The appliance that it leads out of. */
  readonly device: string;
  /** The interface that it leads out of. */
  readonly interface: string;
  /** Which uplink is preferred: the lowest number among those that are good enough. Range 1..100. */
  readonly priority: number;
  readonly probe: SiteUplinkProbe;
}

/** How it is found out whether the uplink is good enough. `/site/uplink/probe` */
export interface SiteUplinkProbe {
  /** The addresses that are asked. One that answers is enough. */
  readonly target: readonly string[];
  /** The time from one question to the next. Range 50..60000, in milliseconds, default 200. */
  readonly interval?: number;
  /** An uplink that loses more is not good enough. Range 0..100, in percent, default 20. */
  readonly 'maximum-loss'?: number;
  /**
   * An uplink that takes longer, there and back, is not good enough. Range 1..10000, in milliseconds, default
   * 400.
   */
  readonly 'maximum-latency'?: number;
  /** An uplink whose latency varies more is not good enough. Range 1..10000, in milliseconds, default 100. */
  readonly 'maximum-jitter'?: number;
}

/** The devices of the site. `/devices` */
export interface Devices {
  /** Keyed by id. */
  readonly device?: readonly Device[];
}

/** One device. `/devices/device` */
export interface Device {
  /** What everything calls it. */
  readonly id: string;
  /** What the device is for, and where it is. */
  readonly description?: string;
  /** Where the device stands in its life. Default active. */
  readonly 'life-cycle'?: 'planned' | 'active' | 'replacing' | 'retired';
  /** The driver that speaks to it, by the name in its manifest. */
  readonly driver: string;
  /** What the device can do. A driver that can do less refuses the inventory. */
  readonly capability?: readonly Capability[];
  /**
   * The serial number that was accepted. Another one that is read means that the device was replaced. None
   * given means that replacements are not noticed.
   */
  readonly 'serial-number'?: string;
  readonly management: DeviceManagement;
  /** Keyed by name. */
  readonly interface?: readonly DeviceInterface[];
}

/** How the device is reached. `/devices/device/management` */
export interface DeviceManagement {
  readonly snmp?: DeviceManagementSnmp;
  /** The device is the host that Kedge runs on. */
  readonly local?: readonly [null];
}

/** By SNMP. `/devices/device/management/snmp` */
export interface DeviceManagementSnmp {
  /** The management address. */
  readonly address: string;
  /** The UDP port of the agent. Range 1..65535, default 161. */
  readonly port?: number;
  /** The version of the protocol. Default v3. */
  readonly version?: 'v2c' | 'v3';
  /**
   * The name under which community or user and keys are kept. The secret itself is never part of any tree.
   */
  readonly credentials: string;
  /** The SNMPv3 context; none given means the default one. */
  readonly context?: string;
  /** How long one request waits for its answer. Range 50..10000, in milliseconds, default 1000. */
  readonly timeout?: number;
}

/**
 * An interface that the device has. Intent may speak of these, and of those that it creates itself.
 * `/devices/device/interface`
 */
export interface DeviceInterface {
  /** What the device calls it. */
  readonly name: string;
  /** What kind of interface it is. */
  readonly type: InterfaceType;
  /** Its ifIndex. None given means that the driver looks it up by name. Range 1..2147483647. */
  readonly index?: number;
  /**
   * The number of the port within its bridge, which is another one than ifIndex. None given means that the
   * driver looks it up. Range 1..65535.
   */
  readonly 'bridge-port-number'?: number;
}

/** The mesh, seen from this site. `/mesh` */
export interface Mesh {
  readonly local: MeshLocal;
  readonly health?: MeshHealth;
  /** Keyed by name. */
  readonly peer?: readonly MeshPeer[];
}

/** The site's own end. `/mesh/local` */
export interface MeshLocal {
  /** Its addresses within the mesh, with the length of the mesh's prefix. */
  readonly address: readonly string[];
  /** The UDP port that it listens at. Range 1..65535. */
  readonly 'listen-port': number;
  /**
   * The port of the second interface, over which keys are rotated. The two change places with every rotation.
   * Range 1..65535.
   */
  readonly 'rotation-port': number;
  /** The age at which a key is rotated. Range 1..8760, in hours, default 720. */
  readonly 'rotation-interval'?: number;
  /**
   * The largest packet within the mesh. The MSS of TCP is clamped to it. Range 1280..9000, in octets, default
   * 1420.
   */
  readonly mtu?: number;
  /** The uplinks that the mesh may use. None given means all. */
  readonly uplink?: readonly string[];
}

/**
 * When a tunnel counts as degraded or lost. How often it is asked follows from the posture. `/mesh/health`
 */
export interface MeshHealth {
  /** A tunnel that loses this much or more is degraded. Range 1..100, in percent, default 5. */
  readonly 'degraded-loss'?: number;
  /**
   * A tunnel that takes this long or longer, there and back, is degraded. Range 1..10000, in milliseconds,
   * default 250.
   */
  readonly 'degraded-latency'?: number;
  /** A tunnel without any answer for this long is disconnected. Range 5..600, in seconds, default 30. */
  readonly 'lost-after'?: number;
}

/** The other end of one tunnel. `/mesh/peer` */
export interface MeshPeer {
  /** What people call it: another site, as a rule. */
  readonly name: string;
  /** Who the peer is. */
  readonly description?: string;
  /** What the peer is. At level 1 the cloud anchor is told why. Default site. */
  readonly role?: 'site' | 'cloud-anchor' | 'operator';
  /** Whether there is a tunnel to the peer. Default true. */
  readonly enabled?: boolean;
  /** The key that the peer is known by now. */
  readonly 'public-key': string;
  /** The key that the peer rotates to. */
  readonly 'next-public-key'?: string;
  /** The name under which the preshared key is kept. None given means that there is none. */
  readonly 'preshared-key'?: string;
  readonly endpoint?: MeshPeerEndpoint;
  /**
   * The time after which a silent tunnel is kept alive; 0 means never. Range 0..65535, in seconds, default
   * 25.
   */
  readonly keepalive?: number;
  /** Keyed by prefix. */
  readonly prefix: readonly MeshPeerPrefix[];
}

/** Where the peer is reached. A peer without one is behind NAT and comes by itself. `/mesh/peer/endpoint` */
export interface MeshPeerEndpoint {
  /** Its address or name. */
  readonly host: string;
  /** Its UDP port. Range 1..65535. */
  readonly port: number;
}

/**
 * What is reached through the peer. Each is a route of overlay mode, and only from these are packets of the
 * peer taken. `/mesh/peer/prefix`
 */
export interface MeshPeerPrefix {
  /** The destinations. */
  readonly prefix: string;
  /** What the route is for. Default ordinary. */
  readonly purpose?: 'ordinary' | 'management' | 'incident-response' | 'monitoring';
  /** The tier of the route. Default apprentice. */
  readonly tier?: 'site_owner' | 'master' | 'journeyman' | 'apprentice';
}

/** Differences between devices and intent. `/drift` */
export interface Drift {
  readonly classification?: DriftClassification;
  /** Keyed by name. */
  readonly exception?: readonly DriftException[];
}

/** How bad a difference is. `/drift/classification` */
export interface DriftClassification {
  /** The severity of what no rule names. Default minor. */
  readonly 'default-severity'?: 'info' | 'minor' | 'major' | 'critical';
  /** Keyed by name. */
  readonly rule?: readonly DriftClassificationRule[];
}

/**
 * The severity of what differs at a place or below it. The first rule that fits counts.
 * `/drift/classification/rule`
 */
export interface DriftClassificationRule {
  /** What people call it. */
  readonly name: string;
  /** The place. */
  readonly path: string;
  /** The devices that it speaks of. None given means all. */
  readonly device?: readonly string[];
  /** How bad it is. */
  readonly severity: 'info' | 'minor' | 'major' | 'critical';
}

/**
 * A difference that is tolerated: recorded, but neither remedied nor alarmed about, until its time is over.
 * `/drift/exception`
 */
export interface DriftException {
  /** What people call it. */
  readonly name: string;
  /** The device. */
  readonly device: string;
  /** The place. What is below it is tolerated too. */
  readonly path: string;
  /** Why. */
  readonly reason: string;
  /** Who answers for it. */
  readonly 'granted-by': string;
  /** When it ends. Nothing is tolerated for ever. */
  readonly until: string;
}

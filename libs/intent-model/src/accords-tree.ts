/**
 * The tree `accords`: what each posture level allows, over the zones and the allowlist of the site.
 * Written by `npm run yang:types` from the modules that yang/trees.json names for it; it must not be changed by hand.
 */

/** A whole document of the tree. */
export interface AccordsTree {
  readonly 'kedge-zones:zones': Zones;
  readonly 'kedge-zones:allowlist'?: Allowlist;
  readonly 'kedge-accords:accords': Accords;
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

/** The accords of all five levels. They always come as one set. `/accords` */
export interface Accords {
  /** What this set is for. */
  readonly description?: string;
  readonly 'lockdown-exit': AccordsLockdownExit;
  /** Keyed by number. */
  readonly level: readonly AccordsLevel[];
}

/**
 * How level 1 may be left at all. The overlay and the fleet are cut at that level and can never be among
 * these ways (PO-4). `/accords/lockdown-exit`
 */
export interface AccordsLockdownExit {
  /** The ways in by which a request may leave level 1. */
  readonly channel: readonly ('console' | 're-attestation' | 'oob')[];
}

/** The accord of one posture level. All five have to be there. `/accords/level` */
export interface AccordsLevel {
  /** The level: 5 normal, 4 watch, 3 restricted, 2 emergency, 1 lockdown. Range 1..5. */
  readonly number: number;
  /** What the level is for. */
  readonly description?: string;
  readonly authority?: AccordsLevelAuthority;
  /** Whether the data plane recognises protocols beyond ports. Default false. */
  readonly 'deep-classification'?: boolean;
  /**
   * Whether ARP passes between zones. IPv4 flows between zones that share a segment do not work without.
   * Default false.
   */
  readonly arp?: boolean;
  /** Whether IPv6 neighbour discovery passes between zones. Default false. */
  readonly 'neighbour-discovery'?: boolean;
  /** Whether error messages of ICMP and ICMPv6 pass between zones. Default false. */
  readonly 'icmp-errors'?: boolean;
  /** What happens between two zones, or within one, where neither zone-pair nor entry says anything. */
  readonly 'default-verdict': 'drop' | 'deprioritise' | 'pass';
  /** Keyed by from-zone and to-zone. */
  readonly 'zone-pair'?: readonly AccordsLevelZonePair[];
  /** Keyed by name. */
  readonly entry?: readonly AccordsLevelEntry[];
  /**
   * Whether changes of routes and devices go on while no record of them can be kept: the ledger takes
   * nothing, and its services have no more room for what waits. Otherwise they are refused. Postures never
   * wait for a record. Default false.
   */
  readonly 'unrecorded-changes'?: boolean;
  readonly overlay: AccordsLevelOverlay;
  readonly underlay: AccordsLevelUnderlay;
}

/**
 * Who may loosen the posture to this level. A step over several levels needs the authority of each of them
 * (PO-9). `/accords/level/authority`
 */
export interface AccordsLevelAuthority {
  /** The least trusted tier that may loosen to this level. */
  readonly 'minimum-tier': 'site_owner' | 'master' | 'journeyman' | 'apprentice';
  /** Whether a fresh second factor is needed too. Default false. */
  readonly 'second-factor'?: boolean;
}

/** Where two zones differ from the default verdict, in the direction written. `/accords/level/zone-pair` */
export interface AccordsLevelZonePair {
  /** The zone that the packet comes from. */
  readonly 'from-zone': string;
  /** The zone that the packet goes to. */
  readonly 'to-zone': string;
  /** What happens where no entry says anything. */
  readonly verdict: 'drop' | 'deprioritise' | 'pass';
}

/**
 * What happens to the traffic of an entry at this level. An entry that a level does not name is treated there
 * as its pair of zones is, whatever less specific entries say. `/accords/level/entry`
 */
export interface AccordsLevelEntry {
  /** The entry. */
  readonly name: string;
  /** What happens to its traffic. */
  readonly verdict: 'drop' | 'deprioritise' | 'pass';
}

/** What the level allows of the overlay. `/accords/level/overlay` */
export interface AccordsLevelOverlay {
  readonly routes: AccordsLevelOverlayRoutes;
}

/** Kedge's routes, and the policy rules ahead of all routing tables. `/accords/level/overlay/routes` */
export interface AccordsLevelOverlayRoutes {
  /**
   * Whether policy rules prohibit every destination that no route of Kedge leads to at this level, whatever
   * routing daemons or DHCP put into the tables. Addresses of the appliance itself are exempt.
   */
  readonly protect: boolean;
  /**
   * Control protocols of the appliance that pass all the same. ARP and neighbour discovery are not routed;
   * arp and neighbour-discovery of the level speak of them.
   */
  readonly exempt?: readonly ('bgp' | 'bfd' | 'dhcp')[];
  readonly 'overlay-mode'?: AccordsLevelOverlayRoutesOverlayMode;
  readonly 'underlay-mode'?: AccordsLevelOverlayRoutesUnderlayMode;
}

/** Routes through the mesh. `/accords/level/overlay/routes/overlay-mode` */
export interface AccordsLevelOverlayRoutesOverlayMode {
  /** The purposes whose routes there are. */
  readonly purpose?: readonly ('ordinary' | 'management' | 'incident-response' | 'monitoring')[];
  /** The least trusted tier whose routes there are. Default site_owner. */
  readonly 'minimum-tier'?: 'site_owner' | 'master' | 'journeyman' | 'apprentice';
}

/** Routes of the physical network. `/accords/level/overlay/routes/underlay-mode` */
export interface AccordsLevelOverlayRoutesUnderlayMode {
  /** The purposes whose routes there are. */
  readonly purpose?: readonly ('ordinary' | 'management' | 'incident-response' | 'monitoring')[];
  /** The least trusted tier whose routes there are. Default site_owner. */
  readonly 'minimum-tier'?: 'site_owner' | 'master' | 'journeyman' | 'apprentice';
}

/** What the level allows of the underlay. `/accords/level/underlay` */
export interface AccordsLevelUnderlay {
  readonly gate: AccordsLevelUnderlayGate;
  readonly drift?: AccordsLevelUnderlayDrift;
}

/** Who may change devices and underlay routes. `/accords/level/underlay/gate` */
export interface AccordsLevelUnderlayGate {
  /** What the gate does. */
  readonly mode: 'frozen' | 'emergency-only' | 'tiers' | 'open';
  /** The least trusted tier that executes. */
  readonly 'execute-tier'?: 'site_owner' | 'master' | 'journeyman' | 'apprentice';
  /** The least trusted tier that may propose. */
  readonly 'propose-tier'?: 'site_owner' | 'master' | 'journeyman' | 'apprentice';
}

/**
 * How the actual state of devices is held against intent. That is done at every level, and recorded.
 * `/accords/level/underlay/drift`
 */
export interface AccordsLevelUnderlayDrift {
  /** The time from one pass over a device to the next. Range 10..86400, in seconds, default 60. */
  readonly interval?: number;
  /** Keyed by severity. */
  readonly remedy?: readonly AccordsLevelUnderlayDriftRemedy[];
}

/**
 * What is done about differences of a severity. Nothing, where a severity is not named.
 * `/accords/level/underlay/drift/remedy`
 */
export interface AccordsLevelUnderlayDriftRemedy {
  /** The severity. */
  readonly severity: 'info' | 'minor' | 'major' | 'critical';
  /** What is done. */
  readonly remediation: 'none' | 'proposed' | 'automatic';
}

/**
 * What the lab is made of: zones, addresses, classes of traffic, users and places, as literal data.
 * It must not say what a posture level does with any of it; expectations.ts does, in a table of its own.
 */

/** A zone of the lab: one network namespace with one interface. */
export interface Zone {
  readonly name: string;
  /** Zone id in the governance tables, 1..15. */
  readonly id: number;
  /** Last part of both addresses. */
  readonly host: number;
}

/** The five zones, joined by the reference data plane into one Ethernet segment. */
export const ZONES = [
  { name: 'management', id: 1, host: 10 },
  { name: 'branch', id: 2, host: 20 },
  { name: 'servers', id: 3, host: 30 },
  { name: 'uplink', id: 4, host: 40 },
  { name: 'guest', id: 5, host: 50 },
] as const satisfies readonly Zone[];

export type ZoneName = (typeof ZONES)[number]['name'];

/** Namespace of the reference data plane: ports only, no address, nothing forwarded by the kernel. */
export const FORWARDER_NAMESPACE = 'kedge-fwd';

export const namespaceOf = (zone: ZoneName): string => `kz-${zone}`;
export const portOf = (zone: ZoneName): string => `kp-${zone}`;

function zoneOf(name: ZoneName): Zone {
  const zone = ZONES.find((candidate) => candidate.name === name);
  if (zone === undefined) throw new TypeError(`no zone ${name}`);
  return zone;
}

export const ip4Of = (zone: ZoneName): string => `10.77.0.${zoneOf(zone).host}`;
export const ip6Of = (zone: ZoneName): string => `fd77::${zoneOf(zone).host}`;
/** A fixed, locally administered address, so that a capture can be read. */
export const macOf = (zone: ZoneName): string => `02:4b:65:64:00:${String(zoneOf(zone).host)}`;

/** A class of traffic: one UDP flow per address family. */
export interface TrafficClass {
  readonly name: string;
  readonly from: ZoneName;
  readonly to: ZoneName;
  readonly port: number;
}

/** The classes that flow all the time and are counted where they arrive. */
export const CLASSES = [
  { name: 'management', from: 'management', to: 'servers', port: 161 },
  { name: 'critical', from: 'branch', to: 'servers', port: 5060 },
  { name: 'ordinary', from: 'branch', to: 'uplink', port: 443 },
  { name: 'unapproved', from: 'guest', to: 'servers', port: 7777 },
] as const satisfies readonly TrafficClass[];

export type ClassName = (typeof CLASSES)[number]['name'];
export const CLASS_NAMES: readonly ClassName[] = CLASSES.map(({ name }) => name);

interface NamedTraffic {
  readonly from: ZoneName;
  readonly to: ZoneName;
  readonly dnsPort: number;
  readonly tlsPort: number;
  readonly hosts: readonly string[];
}

/**
 * Conversations with names, a few a second: DNS questions over UDP, then TLS with the host that was asked for. Nobody
 * counts them where they arrive. No entry of the default accords names them: they go as their zone pair does.
 */
export const NAMED = {
  from: 'branch',
  to: 'uplink',
  dnsPort: 53,
  tlsPort: 443,
  hosts: ['mail.kedge.example', 'news.kedge.example', 'shop.kedge.example', 'www.kedge.example'],
} as const satisfies NamedTraffic;

/** Fixed numeric users; no account needs to exist. */
export const UIDS = {
  coordinator: 64701,
  bridge: 64702,
  dataplane: 64703,
  overlay: 64704,
  underlay: 64705,
  names: 64706,
  quartermaster: 64707,
  intent: 64708,
} as const;
export const GID = 64700;

/**
 * The services that deliver records to the ledger, and the user of each. Its number is also that of a group which only
 * this service has: the directory of its way into the ledger is open to that group alone.
 */
export const SOURCES = {
  'posture-coordinator': UIDS.coordinator,
  'vpp-bridge': UIDS.bridge,
  overlay: UIDS.overlay,
  underlay: UIDS.underlay,
  intent: UIDS.intent,
} as const;

/** Places inside the lab's own file tree; its /run is a private tmpfs. */
export const RUN = '/run/kedge';
export const BOARD = `${RUN}/board`;
export const SOCKETS = `${RUN}/sock`;
export const STATE = `${RUN}/state`;
export const LOG = `${RUN}/log`;
export const ETC = `${RUN}/etc`;
/** Where the coordinator keeps the accords in force for everybody. */
export const ACCORDS = `${RUN}/accords`;
/** The coordinator's way in for the intent, in a directory that the intent alone can pass. */
export const INTENT_SOCKET = `${SOCKETS}/intent/posture.sock`;
/** The underlay's way in for the intent, in a directory that the intent alone can pass. */
export const DEVICES_SOCKET = `${SOCKETS}/devices/devices.sock`;
/** The accords that the lab starts with, and that `kedge accords reload` reads. */
export const OFFERED = { accords: `${ETC}/accords.json`, zones: `${ETC}/zones.json` } as const;
export const TRAFFIC = `${RUN}/traffic`;
/** The certificate of the hosts that have names, made when the lab starts, and its key. */
export const IDENTITY = {
  directory: `${RUN}/identity`,
  certificate: `${RUN}/identity/certificate.pem`,
  key: `${RUN}/identity/key.pem`,
} as const;
/** The BPF file system of the lab, with the two posture maps. */
export const BPF = `${RUN}/bpf`;
/** Watched by the posture source indicator-file; a person may append to it. */
export const INDICATORS = `${STATE}/indicators/indicators.jsonl`;

export const DATAPLANE = 'reference';
export const TIERS = ['site_owner', 'master', 'journeyman', 'apprentice'] as const;
export type LocalTier = (typeof TIERS)[number];

/** Where the coordinator serves each channel and tier: the directory is the proof (PO-3). */
export const SOCKET_DIRECTORIES = ['console', ...TIERS.map((tier) => `local/${tier}` as const)] as const;
export type SocketDirectory = (typeof SOCKET_DIRECTORIES)[number];

/** Processes that send or receive, by zone; a zone may do one of the two. */
export const SENDING_ZONES = [...new Set(CLASSES.map(({ from }) => from))];
export const RECEIVING_ZONES = [...new Set(CLASSES.map(({ to }) => to))];
export const trafficSocket = (zone: ZoneName): string => `${TRAFFIC}/${zone}.sock`;

/**
 * Information elements and the templates made of them: IANA's own first, then those of an enterprise.
 * It must not hold values, nor write bytes.
 */

/** The private enterprise number that RFC 5612 keeps for documentation: ours until there is a real one. */
export const DOCUMENTATION_ENTERPRISE = 32_473;

/** Length of what says its own length (RFC 7011 §7). */
export const VARIABLE = 0xffff;

/** An information element. */
export interface Element {
  /** Its number; of the enterprise where `ours`. */
  readonly id: number;
  /** Bytes, or {@link VARIABLE}. */
  readonly length: number;
  readonly type: 'unsigned' | 'bytes' | 'text';
  /** True for an element of the enterprise. */
  readonly ours: boolean;
}

const unsigned = (id: number, length: number): Element => ({ id, length, type: 'unsigned', ours: false });
const bytes = (id: number, length: number): Element => ({ id, length, type: 'bytes', ours: false });
const text = (id: number, length: number): Element => ({ id, length, type: 'text', ours: false });
const ours = (id: number, type: Element['type'], length: number = VARIABLE): Element => ({
  id,
  length,
  type,
  ours: true,
});

/** Every element that is used, by its registered name; the enterprise's by the name that README.md gives. */
export const ELEMENTS = {
  octetDeltaCount: unsigned(1, 8),
  packetDeltaCount: unsigned(2, 8),
  protocolIdentifier: unsigned(4, 1),
  ipClassOfService: unsigned(5, 1),
  // RFC 7125 lets the upper byte, which has no flags, be left out.
  tcpControlBits: unsigned(6, 1),
  sourceTransportPort: unsigned(7, 2),
  sourceIPv4Address: bytes(8, 4),
  ingressInterface: unsigned(10, 4),
  destinationTransportPort: unsigned(11, 2),
  destinationIPv4Address: bytes(12, 4),
  egressInterface: unsigned(14, 4),
  sourceIPv6Address: bytes(27, 16),
  destinationIPv6Address: bytes(28, 16),
  icmpTypeCodeIPv4: unsigned(32, 2),
  postIpClassOfService: unsigned(55, 1),
  interfaceDescription: text(83, 32),
  forwardingStatus: unsigned(89, 1),
  applicationDescription: text(94, 160),
  // Of variable length although it always has four bytes: collectors that take fixed lengths for numbers (nfdump
  // 1.7.1 does) would turn its bytes round and not find the name that was announced for them.
  applicationId: bytes(95, VARIABLE),
  applicationName: text(96, 16),
  flowEndReason: unsigned(136, 1),
  icmpTypeCodeIPv6: unsigned(139, 2),
  flowStartMilliseconds: unsigned(152, 8),
  flowEndMilliseconds: unsigned(153, 8),
  postureLevel: ours(1, 'unsigned', 1),
  postureEpoch: ours(2, 'unsigned', 8),
  verdict: ours(3, 'unsigned', 1),
  reason: ours(4, 'text'),
  entry: ours(5, 'text'),
  fromZone: ours(6, 'text'),
  toZone: ours(7, 'text'),
  application: ours(8, 'text'),
  name: ours(9, 'text'),
  dataplane: ours(10, 'text'),
  applicationKey: bytes(95, 4),
} as const satisfies Readonly<Record<string, Element>>;

export type ElementName = keyof typeof ELEMENTS;

/** A template (RFC 7011 §3.4.1), or an options template when `scope` is not 0 (§3.4.2). */
export interface Template {
  /** 256 to 65535. */
  readonly id: number;
  /** How many of its first fields are the scope. */
  readonly scope: number;
  readonly fields: readonly ElementName[];
}

const IP4 = ['sourceIPv4Address', 'destinationIPv4Address'] as const;
const IP6 = ['sourceIPv6Address', 'destinationIPv6Address'] as const;
const PORTS = ['sourceTransportPort', 'destinationTransportPort', 'tcpControlBits'] as const;
const TIMES = ['flowStartMilliseconds', 'flowEndMilliseconds'] as const;
const COUNTS = ['octetDeltaCount', 'packetDeltaCount', 'protocolIdentifier'] as const;
const JUDGED = [
  'ipClassOfService',
  'postIpClassOfService',
  'ingressInterface',
  'egressInterface',
  'flowEndReason',
  'forwardingStatus',
  'applicationId',
  'postureLevel',
  'postureEpoch',
  'verdict',
  'reason',
  'entry',
  'fromZone',
  'toZone',
  'application',
  'name',
  'dataplane',
] as const;

/** The four shapes of a flow record, by family and by whether it has ports. */
export const FLOW_TEMPLATES = {
  ip4: { id: 256, scope: 0, fields: [...TIMES, ...IP4, ...PORTS, ...COUNTS, ...JUDGED] },
  ip6: { id: 257, scope: 0, fields: [...TIMES, ...IP6, ...PORTS, ...COUNTS, ...JUDGED] },
  icmp4: { id: 258, scope: 0, fields: [...TIMES, ...IP4, 'icmpTypeCodeIPv4', ...COUNTS, ...JUDGED] },
  icmp6: { id: 259, scope: 0, fields: [...TIMES, ...IP6, 'icmpTypeCodeIPv6', ...COUNTS, ...JUDGED] },
} as const satisfies Readonly<Record<string, Template>>;

/**
 * What ids mean. RFC 6759 has the id as scope; collectors that pass over scopes (nfdump) look for it among the
 * options. It stands in both places.
 */
export const OPTION_TEMPLATES = {
  application: {
    id: 260,
    scope: 1,
    fields: ['applicationKey', 'applicationKey', 'applicationName', 'applicationDescription'],
  },
  interface: { id: 261, scope: 1, fields: ['ingressInterface', 'ingressInterface', 'interfaceDescription'] },
} as const satisfies Readonly<Record<string, Template>>;

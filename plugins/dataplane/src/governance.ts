/**
 * Level tables for the data plane: built, stamped, checked and asked, by the same C core that judges packets.
 * It must not publish tables, nor know what a level is meant to allow.
 */
import { KedgeError } from '@kedge/units';

import { addon, type GovernanceSizes, type NativeJudgement } from './addon.js';
import { addressBytes, prefixBytes, type Family } from './address.js';

export type { GovernanceSizes } from './addon.js';

/** What becomes of a packet, from tightest to loosest. */
export const VERDICTS = ['drop', 'deprioritise', 'pass'] as const;
export type Verdict = (typeof VERDICTS)[number];

/** Why a packet was judged as it was, in the order of the layout's `enum kedge_reason`. */
export const REASONS = [
  'pair',
  'entry',
  'minimum',
  'neighbour',
  'malformed',
  'ethertype',
  'fragment',
  'zone',
] as const;
export type Reason = (typeof REASONS)[number];

/** What flows are recognised as, in the order of the layout's `enum kedge_application` (DP-10). */
export const APPLICATIONS = [
  'unknown',
  'dns',
  'tls',
  'http',
  'ssh',
  'wireguard',
  'ntp',
  'snmp',
  'bgp',
  'quic',
] as const;
export type Application = (typeof APPLICATIONS)[number];

/** What waits at a port that is full, in the order of the layout's `enum kedge_queue` (DP-11). */
export const QUEUES = ['ordinary', 'deprioritised'] as const;

/** What a level allows beside flows. */
export interface LevelFlags {
  /** Deep classification is on (DP-10). */
  readonly classify: boolean;
  /** ARP passes between zones. */
  readonly arp: boolean;
  readonly neighbourDiscovery: boolean;
  /** ICMP 3, 11, 12 and ICMPv6 1..4 pass between zones. */
  readonly icmpErrors: boolean;
}

/**
 * One allowlist entry, holding in the direction written. What is left out matches everything; a port needs
 * a protocol that has ports (TCP 6, UDP 17, DCCP 33, SCTP 132, UDP-Lite 136). For ICMP (1, or 58 in family 6)
 * `destinationPort` is type * 256 + code.
 */
export interface EntrySpec {
  /** 0..16383, the same on every level; indexes the hit counters. */
  readonly id: number;
  readonly family: Family;
  /** `10.0.0.0/8` or a single address. Bits beyond the length are ignored. */
  readonly sourcePrefix?: string | undefined;
  readonly destinationPrefix?: string | undefined;
  /** IANA protocol number, 0..255. */
  readonly protocol?: number | undefined;
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
  /** Zone id 1..15. */
  readonly sourceZone?: number | undefined;
  readonly destinationZone?: number | undefined;
  readonly verdict: Verdict;
  /** 0..65535; of several matching entries the highest wins, then the tighter verdict, then the lower id. */
  readonly rank: number;
}

/** The rules of one level. */
export interface LevelSpec {
  /** 1..5 */
  readonly level: number;
  /** Of the bank that the table is placed in; 0n while that is not known (see `stampLevelTable`). */
  readonly generation: bigint;
  readonly flags: LevelFlags;
  /** Verdict of a zone pair without a matching entry: `pairs[source][destination]`, 16 by 16, by zone id. */
  readonly pairs: readonly (readonly Verdict[])[];
  readonly entries: readonly EntrySpec[];
}

/** A flow to ask about. Addresses as text, or as 4 or 16 bytes. */
export interface FlowKey {
  readonly family: Family;
  readonly source: string | Uint8Array;
  readonly destination: string | Uint8Array;
  readonly protocol: number;
  readonly sourcePort?: number | undefined;
  /** For ICMP type * 256 + code. */
  readonly destinationPort?: number | undefined;
  readonly sourceZone: number;
  readonly destinationZone: number;
  /** True for a fragment other than the first: its ports are unknown. */
  readonly laterFragment?: boolean | undefined;
}

/** What the core says to a packet or flow. */
export interface Judgement {
  readonly verdict: Verdict;
  readonly reason: Reason;
  /** The entry that decided; undefined where none did. */
  readonly entryId: number | undefined;
  /** The zone pair asked about; both 0 where a zone was none. */
  readonly pair: { readonly fromZone: number; readonly toZone: number };
  /** Slots of the table that were looked at: bounded by shapes, whatever the number of entries (DP-9). */
  readonly probes: number;
}

/** How full a built table is. */
export interface BuildReport {
  readonly entries: number;
  /** Entries that another with the same match outranks and that are therefore not in the table. */
  readonly duplicates: number;
  /** Mask shapes in use per family. */
  readonly shapes: { readonly ip4: number; readonly ip6: number };
  /** Slots that the worst-placed entry costs. */
  readonly longestProbe: number;
}

/** Sizes and limits, from the C headers. */
export const sizes: GovernanceSizes = Object.freeze(addon.sizes);

const FLAG_BITS = { classify: 1, arp: 2, neighbourDiscovery: 4, icmpErrors: 8 } as const;
const OUTCOME = { ok: 0, level: 1, pair: 2, rule: 3, entries: 4, shapes: 5, probes: 6 } as const;
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);

function refuse(field: string, expected: string, found: unknown): never {
  throw new KedgeError({
    code: 'GOVERNANCE_SPEC',
    message: `cannot build a level table: ${field} is ${shown(found)}, expected ${expected}`,
    field,
    expected,
  });
}

/** As Array.isArray, without losing what the elements are. */
function isList(value: unknown): boolean {
  return Array.isArray(value);
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'bigint') return value.toString();
  if (isList(value)) return 'a list of another kind or length';
  return JSON.stringify(value);
}

function whole(field: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    refuse(field, `a whole number from ${least} to ${most}`, value);
  return value;
}

function verdictNumber(field: string, value: unknown): number {
  const place = VERDICTS.findIndex((verdict) => verdict === value);
  if (place < 0) refuse(field, `one of ${VERDICTS.join(', ')}`, value);
  return place + 1;
}

function flagsNumber(flags: LevelFlags): number {
  let bits = 0;
  for (const [name, bit] of Object.entries(FLAG_BITS)) {
    const value = flags[name as keyof LevelFlags];
    if (typeof value !== 'boolean') refuse(`flags.${name}`, 'true or false', value);
    if (value) bits |= bit;
  }
  return bits;
}

function pairBytes(pairs: LevelSpec['pairs']): Uint8Array {
  const zones = sizes.maxZones;
  const bytes = new Uint8Array(zones * zones);
  if (!isList(pairs) || pairs.length !== zones) refuse('pairs', `${zones} rows of verdicts`, pairs);
  for (const [from, row] of pairs.entries()) {
    if (!Array.isArray(row) || row.length !== zones)
      refuse(`pairs[${from}]`, `${zones} verdicts`, row.length);
    for (const [to, verdict] of row.entries())
      bytes[from * zones + to] = verdictNumber(`pairs[${from}][${to}]`, verdict);
  }
  return bytes;
}

/** Writes one entry as a `struct kedge_rule` at `at`. */
function writeRule(rules: DataView, at: number, entry: EntrySpec, name: string): void {
  const place = addon.rule;
  const { family } = entry;
  if (family !== 4 && family !== 6) refuse(`${name}.family`, '4 or 6', family);
  for (const [end, text] of [
    ['source', entry.sourcePrefix],
    ['destination', entry.destinationPrefix],
  ] as const) {
    if (text === undefined) continue;
    const prefix = typeof text === 'string' ? prefixBytes(text, family) : undefined;
    if (prefix === undefined)
      refuse(`${name}.${end}Prefix`, `an IPv${family} prefix such as ${EXAMPLE[family]}`, text);
    for (const [i, byte] of prefix.bytes.entries()) rules.setUint8(at + place[`key.${end}`] + i, byte);
    rules.setUint8(at + place[`shape.${end}_prefix`], prefix.length);
  }
  const protocol =
    entry.protocol === undefined ? undefined : whole(`${name}.protocol`, entry.protocol, 0, 255);
  if (protocol !== undefined) {
    rules.setUint8(at + place['key.protocol'], protocol);
    rules.setUint8(at + place['shape.match_protocol'], 1);
  }
  for (const [end, port] of [
    ['source', entry.sourcePort],
    ['destination', entry.destinationPort],
  ] as const) {
    if (port === undefined) continue;
    const icmp = end === 'destination' && protocol === (family === 4 ? 1 : 58);
    if (protocol === undefined || (!WITH_PORTS.has(protocol) && !icmp))
      refuse(`${name}.protocol`, `a protocol that has a ${end} port, because ${end}Port is given`, protocol);
    rules.setUint16(at + place[`key.${end}_port`], whole(`${name}.${end}Port`, port, 0, 65_535), true);
    rules.setUint8(at + place[`shape.match_${end}_port`], 1);
  }
  for (const [end, zone] of [
    ['source', entry.sourceZone],
    ['destination', entry.destinationZone],
  ] as const) {
    if (zone === undefined) continue;
    rules.setUint8(at + place[`key.${end}_zone`], whole(`${name}.${end}Zone`, zone, 1, sizes.maxZones - 1));
    rules.setUint8(at + place[`shape.match_${end}_zone`], 1);
  }
  rules.setUint32(at + place.id, whole(`${name}.id`, entry.id, 0, sizes.maxEntries - 1), true);
  rules.setUint16(at + place.rank, whole(`${name}.rank`, entry.rank, 0, 65_535), true);
  rules.setUint8(at + place.family, family === 4 ? 0 : 1);
  rules.setUint8(at + place.verdict, verdictNumber(`${name}.verdict`, entry.verdict));
}

const EXAMPLE = { 4: '10.0.0.0/8', 6: 'fd00::/8' } as const;

/**
 * Compiles one level (DP-9). Equal specifications give equal bytes. The buffer is new and belongs to the caller.
 *
 * @throws GOVERNANCE_SPEC a field is wrong; `field` names it.
 * @throws GOVERNANCE_ENTRIES more entries than a level holds.
 * @throws GOVERNANCE_SHAPES a family needs more than 16 mask shapes; the message says how many.
 * @throws GOVERNANCE_PROBES the entries cannot be placed within the bounded search.
 */
export function buildLevelTable(spec: LevelSpec): Buffer {
  return compileLevelTable(spec).table;
}

/** As `buildLevelTable`, with how full the table is. */
export function compileLevelTable(spec: LevelSpec): { table: Buffer; report: BuildReport } {
  const level = whole('level', spec.level, 1, 5);
  if (typeof spec.generation !== 'bigint' || spec.generation < 0n || spec.generation >= 1n << 56n)
    refuse('generation', 'a bigint from 0 to 2^56 - 1', spec.generation);
  const flags = flagsNumber(spec.flags);
  const pairs = pairBytes(spec.pairs);
  if (!isList(spec.entries)) refuse('entries', 'a list', spec.entries);
  if (spec.entries.length > sizes.maxEntries)
    throw new KedgeError({
      code: 'GOVERNANCE_ENTRIES',
      message: `cannot build level ${level}: it has ${spec.entries.length} entries, at most ${sizes.maxEntries} fit`,
      field: 'entries',
      expected: `at most ${sizes.maxEntries} entries`,
    });
  const rules = Buffer.alloc(spec.entries.length * sizes.rule);
  const view = new DataView(rules.buffer, rules.byteOffset, rules.byteLength);
  for (const [i, entry] of spec.entries.entries()) writeRule(view, i * sizes.rule, entry, `entries[${i}]`);
  const table = Buffer.alloc(sizes.levelTable);
  const built = addon.build(table, level, flags, spec.generation, pairs, rules);
  if (built.outcome === OUTCOME.shapes)
    throw new KedgeError({
      code: 'GOVERNANCE_SHAPES',
      message: `cannot build level ${level}: its IPv${built.family === 0 ? 4 : 6} entries have ${built.at} mask shapes, at most ${sizes.maxShapes} are searched`,
      field: 'entries',
      expected: `at most ${sizes.maxShapes} different combinations of prefix lengths and matched fields per family`,
      help: 'give entries of one kind the same prefix lengths and the same matched fields',
    });
  if (built.outcome === OUTCOME.probes)
    throw new KedgeError({
      code: 'GOVERNANCE_PROBES',
      message: `cannot build level ${level}: its ${spec.entries.length} entries do not fit the bounded search`,
      field: 'entries',
      expected: `a placement within ${sizes.maxProbes} slots for every entry`,
    });
  if (built.outcome !== OUTCOME.ok)
    throw new KedgeError({
      code: 'GOVERNANCE_SPEC',
      message: `cannot build level ${level}: the core refused item ${built.at} (outcome ${built.outcome})`,
      field: built.outcome === OUTCOME.rule ? `entries[${built.at}]` : 'pairs',
      expected: 'every field in its range',
    });
  const report = {
    entries: built.entries,
    duplicates: built.duplicates,
    shapes: { ip4: built.shapes4, ip6: built.shapes6 },
    longestProbe: built.longest,
  };
  return { table, report };
}

function tableBytes(table: Uint8Array): Uint8Array {
  if (!(table instanceof Uint8Array) || table.length !== sizes.levelTable || table.byteOffset % 8 !== 0)
    throw new KedgeError({
      code: 'GOVERNANCE_TABLE',
      message: `cannot use a level table: expected ${sizes.levelTable} bytes at a multiple of eight`,
      field: 'table',
      expected: `${sizes.levelTable} bytes`,
    });
  return table;
}

/**
 * Gives a built table the generation of the bank that it is placed in and renews its checksum, in place.
 *
 * @throws GOVERNANCE_TABLE the bytes are not a level table.
 */
export function stampLevelTable(table: Uint8Array, generation: bigint): void {
  if (generation < 1n || generation >= 1n << 56n)
    refuse('generation', 'a bigint from 1 to 2^56 - 1', generation);
  addon.stamp(tableBytes(table), generation);
}

/**
 * Whether the data plane would use these bytes as the table of `level` in a bank of `generation`.
 *
 * @throws GOVERNANCE_TABLE the bytes are not a level table.
 */
export function levelTableHolds(table: Uint8Array, level: number, generation: bigint): boolean {
  return addon.holds(tableBytes(table), whole('level', level, 1, 5), generation);
}

function judgementOf(native: NativeJudgement): Judgement {
  const verdict = VERDICTS[native.verdict - 1];
  const reason = REASONS[native.reason];
  if (verdict === undefined || reason === undefined)
    throw new KedgeError({
      code: 'GOVERNANCE_TABLE',
      message: `the core judged with verdict ${native.verdict} and reason ${native.reason}, which this version does not know`,
    });
  return {
    verdict,
    reason,
    entryId: native.entry < 0 ? undefined : native.entry,
    pair: { fromZone: native.sourceZone, toZone: native.destinationZone },
    probes: native.probes,
  };
}

/**
 * What the core says to an Ethernet frame (from the destination MAC on, without check sequence).
 * `table` undefined: what passes without a valid table, the built-in management minimum. Zones out of range
 * are no zone, and drop. The caller answers for the table's checksum (`levelTableHolds`).
 *
 * @throws GOVERNANCE_TABLE the bytes are not a level table.
 */
export function classifyFrame(
  table: Uint8Array | undefined,
  frame: Uint8Array,
  zones: { readonly fromZone: number; readonly toZone: number },
): Judgement {
  return judgementOf(
    addon.classifyFrame(
      table === undefined ? null : tableBytes(table),
      frame,
      zoneNumber(zones.fromZone),
      zoneNumber(zones.toZone),
    ),
  );
}

/** A zone id as the core takes it; whatever is no id becomes "no zone". */
function zoneNumber(zone: number): number {
  return Number.isInteger(zone) && zone > 0 && zone < sizes.maxZones ? zone : 0;
}

function keyAddress(field: 'source' | 'destination', key: FlowKey): Uint8Array {
  const value = key[field];
  const bytes = typeof value === 'string' ? addressBytes(value, key.family) : value;
  if (bytes?.length !== (key.family === 4 ? 4 : 16))
    throw new KedgeError({
      code: 'GOVERNANCE_KEY',
      message: `cannot classify a flow: its ${field} is not an IPv${key.family} address`,
      field,
      expected: `an IPv${key.family} address`,
    });
  return bytes;
}

/**
 * What the core says to a flow, without a frame. ICMP errors and neighbour discovery are judged here as flows;
 * their flags only speak for whole frames.
 *
 * @throws GOVERNANCE_TABLE the bytes are not a level table.
 * @throws GOVERNANCE_KEY an address is none of its family.
 */
export function classifyKey(table: Uint8Array | undefined, key: FlowKey): Judgement {
  return judgementOf(
    addon.classifyKey(
      table === undefined ? null : tableBytes(table),
      key.family === 4 ? 0 : 1,
      key.laterFragment === true ? 1 : 0,
      keyAddress('source', key),
      keyAddress('destination', key),
      key.protocol,
      key.sourcePort ?? 0,
      key.destinationPort ?? 0,
      zoneNumber(key.sourceZone),
      zoneNumber(key.destinationZone),
    ),
  );
}

/** What a frame is, in the order of the core's `enum kedge_packet_kind`. */
export const PACKET_KINDS = ['malformed', 'ethertype', 'flow', 'arp', 'nd', 'icmp-error'] as const;

/** A parsed frame. */
export interface ParsedFrame {
  readonly kind: (typeof PACKET_KINDS)[number];
  readonly family: Family;
  readonly laterFragment: boolean;
  readonly vlanTags: number;
  /** Outer VLAN id, 0 without a tag. */
  readonly vlan: number;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** 4 or 16 bytes. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

/** What the core reads from a frame, before any rule. */
export function parseFrame(frame: Uint8Array): ParsedFrame {
  const native = addon.parseFrame(frame);
  const family = native.family === 0 ? 4 : 6;
  const width = family === 4 ? 4 : 16;
  return {
    kind: PACKET_KINDS[native.kind] ?? 'malformed',
    family,
    laterFragment: native.laterFragment !== 0,
    vlanTags: native.vlanTags,
    vlan: native.vlan,
    protocol: native.protocol,
    sourcePort: native.sourcePort,
    destinationPort: native.destinationPort,
    source: new Uint8Array(native.source.subarray(0, width)),
    destination: new Uint8Array(native.destination.subarray(0, width)),
  };
}

/** A copy of the frame marked DSCP LE (RFC 8622), as a data plane sends what is deprioritised. */
export function markedLe(frame: Uint8Array): Buffer {
  return addon.markLe(frame);
}

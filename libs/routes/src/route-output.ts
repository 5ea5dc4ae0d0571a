/**
 * What `ip -j -N -d` prints about routes and rules, checked and turned into the text with which iproute2 adds them.
 * It must not believe anything that it did not check: what is unknown is an error, or an entry that equals nothing.
 */
import { isIP } from 'node:net';

import type { RouteMode } from '@kedge/posture';
import { KedgeError } from '@kedge/units';

import { addressOf } from './route-spec.js';
import {
  GUARD_TABLE,
  type KernelEntry,
  MAIN_TABLE,
  ROUTE_PROTOCOL,
  routeEntryKey,
  ruleEntryKey,
  RULE_PREFERENCES,
} from './route-world.js';

type Row = Readonly<Record<string, unknown>>;

function damaged(what: string, expected: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'ROUTES_OUTPUT',
    message: `cannot believe what ip printed: ${what}`,
    expected,
    help: 'see that /usr/sbin/ip is the one of iproute2',
    ...(cause === undefined ? {} : { cause }),
  });
}

function rowsOf(text: string): Row[] {
  let value: unknown;
  try {
    // A table without routes is printed as nothing by some versions and as [] by others.
    value = text.trim() === '' ? [] : JSON.parse(text);
  } catch (cause) {
    throw damaged('it is no JSON', 'one JSON array', cause);
  }
  if (!Array.isArray(value)) throw damaged('it is no list', 'one JSON array');
  return value.map((row: unknown, index) => {
    if (typeof row !== 'object' || row === null || Array.isArray(row))
      throw damaged(`row ${String(index)} is no object`, 'one object per route');
    return row as Row;
  });
}

function numberOf(value: unknown, what: string): number {
  const number = typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number < 2 ** 32)
    return number;
  throw damaged(`${what} is ${JSON.stringify(value)}`, 'a number of 32 bits');
}

function wordOf(value: unknown, what: string): string {
  if (typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$/.test(value)) return value;
  throw damaged(`${what} is ${JSON.stringify(value)}`, 'a word');
}

/**
 * An address as the kernel prints it: canonical already, but for IPv6 with an IPv4 tail. Ten thousand of them are
 * read within a transition, so the system's own check is used and nothing is built again.
 */
function canonicalAddress(text: string): string | undefined {
  const family = isIP(text);
  if (family === 0) return undefined;
  if (family === 4 || !/[.A-Z%]/.test(text)) return text;
  return addressOf(text)?.text;
}

function addressText(value: unknown, what: string): string {
  const address = typeof value === 'string' ? canonicalAddress(value) : undefined;
  if (address !== undefined) return address;
  throw damaged(`${what} is ${JSON.stringify(value)}`, 'an address');
}

function destinationText(given: string, v6: boolean): string {
  if (given === 'default') return v6 ? '::/0' : '0.0.0.0/0';
  const slash = given.indexOf('/');
  const address = canonicalAddress(slash < 0 ? given : given.slice(0, slash));
  const length = slash < 0 ? (v6 ? 128 : 32) : numberOf(given.slice(slash + 1), 'a prefix length');
  if (address !== undefined && length <= (v6 ? 128 : 32)) return `${address}/${String(length)}`;
  throw damaged(`a destination is ${JSON.stringify(given.slice(0, 60))}`, 'a prefix');
}

const TYPES: Readonly<Record<string, string>> = {
  '1': 'unicast',
  '2': 'local',
  '3': 'broadcast',
  '4': 'anycast',
  '5': 'multicast',
  '6': 'blackhole',
  '7': 'unreachable',
  '8': 'prohibit',
  '9': 'throw',
};

const KNOWN_ROUTE = new Set(
  'type tos dev gateway via table scope metric flags pref prefsrc metrics nexthops'.split(' '),
);
/** Flags that tell how a route fares, not what it is. */
const STATE_FLAGS = new Set([
  'linkdown',
  'dead',
  'offload',
  'trap',
  'rt_offload',
  'rt_trap',
  'offload_failed',
]);

function hasUnknown(row: Row, known: ReadonlySet<string>): boolean {
  for (const name in row) if (!known.has(name)) return true;
  return false;
}

function viaText(row: Row): string {
  if (row['gateway'] !== undefined) return ` via ${addressText(row['gateway'], 'a gateway')}`;
  const via = row['via'];
  if (via === undefined) return '';
  if (typeof via !== 'object' || via === null) throw damaged('via is no object', 'family and host');
  const { family, host } = via as Row;
  return ` via ${wordOf(family, 'a family')} ${addressText(host, 'a next hop')}`;
}

function deviceText(row: Row): string {
  return row['dev'] === undefined ? '' : ` dev ${wordOf(row['dev'], 'an interface')}`;
}

function flagsOf(row: Row): string[] {
  const flags = row['flags'] ?? [];
  if (!Array.isArray(flags)) throw damaged('flags are no list', 'a list of words');
  return flags.map((flag) => wordOf(flag, 'a flag')).filter((flag) => !STATE_FLAGS.has(flag));
}

function metricsText(row: Row): string {
  const metrics: unknown = row['metrics'] ?? [];
  if (!Array.isArray(metrics)) throw damaged('metrics are no list', 'a list of objects');
  return metrics
    .flatMap((metric: unknown) => Object.entries((metric ?? {}) as Row))
    .map(([name, value]) => ` ${wordOf(name, 'a metric')} ${String(numberOf(value, name))}`)
    .join('');
}

function nexthopsText(row: Row): string {
  const hops: unknown = row['nexthops'] ?? [];
  if (!Array.isArray(hops)) throw damaged('next hops are no list', 'a list of objects');
  return hops
    .map((hop: unknown) => {
      const one = (hop ?? {}) as Row;
      const onlink = flagsOf(one).includes('onlink') ? ' onlink' : '';
      return ` nexthop${viaText(one)}${deviceText(one)} weight ${String(numberOf(one['weight'] ?? 1, 'a weight'))}${onlink}`;
    })
    .join('');
}

/** Everything of a route but its destination, as text before and after it. */
interface Shape {
  readonly before: string;
  readonly after: string;
  readonly table: number;
  readonly metric: number;
  /** Whether a default route of this shape is an IPv6 one. */
  readonly six: boolean;
}

function shapeOf(row: Row, protocol: number): Shape {
  const typeName = row['type'] === undefined ? '1' : wordOf(row['type'], 'a type');
  const type = TYPES[typeName] ?? typeName;
  const via = viaText(row);
  const table = row['table'] === undefined ? MAIN_TABLE : numberOf(row['table'], 'a table');
  const metric = row['metric'] === undefined ? 0 : numberOf(row['metric'], 'a metric');
  const flags = flagsOf(row);
  const strange =
    hasUnknown(row, KNOWN_ROUTE) ||
    flags.some((flag) => flag !== 'onlink') ||
    !(row['pref'] === undefined || row['pref'] === 'medium' || row['pref'] === '0');
  const onlink = flags.includes('onlink') ? ' onlink' : '';
  const tos = row['tos'] === undefined ? '' : ` tos ${wordOf(row['tos'], 'a type of service')}`;
  const source = row['prefsrc'] === undefined ? '' : ` src ${addressText(row['prefsrc'], 'a source')}`;
  const place = ` table ${String(table)} metric ${String(metric)} proto ${String(protocol)}`;
  const whole = `${via}${deviceText(row)}${onlink}${tos}${source}${place}${metricsText(row)}${nexthopsText(row)}`;
  return {
    before: type === 'unicast' || strange ? '' : `${type} `,
    // What we do not know how to write equals nothing that is desired, and is deleted by what we do know.
    after: strange ? place : whole,
    table,
    metric,
    six: isIp6(row, via),
  };
}

function entryOf(dst: string, { before, after, table, metric, six }: Shape): KernelEntry {
  const v6 = dst === 'default' ? six : dst.includes(':');
  const destination = destinationText(dst, v6);
  return {
    kind: 'route',
    family: v6 ? 6 : 4,
    table: table === MAIN_TABLE ? 'main' : table === GUARD_TABLE ? 'guard' : 'other',
    key: routeEntryKey(table, destination, metric),
    text: before + destination + after,
  };
}

/**
 * Routes that are alike but for the destination: how a row reads up to it and after it, what that means, and the
 * entries that were made of such rows. Equal text means the same, whenever it is read.
 */
interface Pattern {
  readonly head: string;
  readonly tail: string;
  readonly shape: Shape;
  readonly entries: Map<string, KernelEntry>;
}

/** What was read before, by protocol number. Bounded: it starts anew where it grows beyond what a set may hold. */
const PATTERNS = new Map<number, Pattern[]>();
const MOST_PATTERNS = 32;
const MOST_ENTRIES = 50_000;

/** The pattern of a row as it is printed, or undefined where its destination cannot be told from the rest. */
function patternOf(text: string, dst: string, shape: Shape): Pattern | undefined {
  const at = text.indexOf(`"dst":"${dst}"`) + '"dst":"'.length;
  const [head, tail] = [text.slice(0, at), text.slice(at + dst.length)];
  return head + dst + tail === text && (JSON.parse(`${head}x${tail}`) as Row)['dst'] === 'x'
    ? { head, tail, shape, entries: new Map() }
    : undefined;
}

/** Where the object that begins at `from` ends, in text without escapes; 0 = nowhere. */
function endOfRow(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    const mark = text[at];
    if (mark === '"') {
      at = text.indexOf('"', at + 1);
      if (at < 0) return 0;
    } else if (mark === '{') depth += 1;
    else if (mark === '}' && --depth === 0) return at + 1;
  }
  return 0;
}

function shapedRow(row: Row, protocol: number): { readonly dst: string; readonly shape: Shape } {
  const { dst, ...rest } = row;
  if (typeof dst !== 'string') throw damaged('a route has no destination', 'an address or a prefix');
  return { dst, shape: shapeOf(rest, protocol) };
}

/**
 * Ten thousand routes are read twice within a transition and differ in nothing but their destinations: a row that
 * reads like one before needs no other look than at that. Undefined where the text is not what `ip` prints, a list
 * of objects without a space between: then it has to be read as any JSON.
 */
function alikeRows(text: string, protocol: number): KernelEntry[] | undefined {
  if (!text.startsWith('[{') || text.includes('\\')) return undefined;
  const patterns = PATTERNS.get(protocol) ?? [];
  if (patterns.reduce((sum, { entries }) => sum + entries.size, 0) > MOST_ENTRIES) patterns.length = 0;
  PATTERNS.set(protocol, patterns);
  const found: KernelEntry[] = [];
  let at = 1;
  let last: Pattern | undefined;
  for (;;) {
    const fits = ({ head, tail }: Pattern): boolean =>
      text.startsWith(head, at) && text.startsWith(tail, text.indexOf('"', at + head.length));
    const pattern: Pattern | undefined = last !== undefined && fits(last) ? last : patterns.find(fits);
    if (pattern !== undefined) {
      const from = at + pattern.head.length;
      const to = text.indexOf('"', from);
      const dst = text.slice(from, to);
      let entry = pattern.entries.get(dst);
      if (entry === undefined) {
        entry = entryOf(dst, pattern.shape);
        pattern.entries.set(dst, entry);
      }
      found.push(entry);
      at = to + pattern.tail.length;
      last = pattern;
    } else {
      const end = endOfRow(text, at);
      let row: Row;
      try {
        row = JSON.parse(text.slice(at, end)) as Row;
      } catch {
        return undefined;
      }
      const { dst, shape } = shapedRow(row, protocol);
      found.push(entryOf(dst, shape));
      const made = patterns.length < MOST_PATTERNS ? patternOf(text.slice(at, end), dst, shape) : undefined;
      if (made !== undefined) patterns.push(made);
      at = end;
    }
    if (text.startsWith(',{', at)) at += 1;
    else return text[at] === ']' && text.slice(at + 1).trim() === '' ? found : undefined;
  }
}

/** A default route prints its family nowhere; IPv6 ones carry a preference, and their hops are IPv6. */
function isIp6(row: Row, via: string): boolean {
  return row['pref'] !== undefined || (row['via'] === undefined && via.includes(':'));
}

/**
 * Routes of one mode from `ip -j -N -d route show table all proto N`.
 *
 * @throws KedgeError `ROUTES_OUTPUT`
 */
export function routesOutput(text: string, mode: RouteMode): KernelEntry[] {
  const protocol = ROUTE_PROTOCOL[mode];
  return (
    alikeRows(text, protocol) ??
    rowsOf(text).map((row) => {
      const { dst, shape } = shapedRow(row, protocol);
      return entryOf(dst, shape);
    })
  );
}

/**
 * Destinations alone from `ip -j -N route show`, whoever put them there.
 *
 * @throws KedgeError `ROUTES_OUTPUT`
 */
export function destinationsOutput(text: string): string[] {
  return rowsOf(text).map((row) => {
    const given = row['dst'];
    if (typeof given !== 'string') throw damaged('a route has no destination', 'an address or a prefix');
    return destinationText(given, given === 'default' ? isIp6(row, viaText(row)) : given.includes(':'));
  });
}

const KNOWN_RULE = new Set(
  'priority src table action protocol iif ipproto sport dport sport_start sport_end dport_start dport_end'.split(
    ' ',
  ),
);
const ACTIONS: Readonly<Record<string, string>> = { '6': 'blackhole', '7': 'unreachable', '8': 'prohibit' };
const PROTOCOL_NAMES: Readonly<Record<string, string>> = { '6': 'tcp', '17': 'udp' };

function portsText(row: Row, side: 'sport' | 'dport'): string {
  const [one, start, end] = [row[side], row[`${side}_start`], row[`${side}_end`]];
  if (one !== undefined) return ` ${side} ${String(numberOf(one, side))}`;
  if (start === undefined) return '';
  return ` ${side} ${String(numberOf(start, side))}-${String(numberOf(end, side))}`;
}

/**
 * Rules of one mode, and those of others that are asked before its prohibition, from `ip -j -N -d rule show`.
 *
 * @throws KedgeError `ROUTES_OUTPUT`
 */
export function rulesOutput(
  text: string,
  mode: RouteMode,
  family: 4 | 6,
): { readonly entries: KernelEntry[]; readonly strangers: string[] } {
  const entries: KernelEntry[] = [];
  const strangers: string[] = [];
  const own = Object.values(ROUTE_PROTOCOL);
  for (const row of rowsOf(text)) {
    const preference = numberOf(row['priority'], 'a preference');
    const protocol = row['protocol'] === undefined ? 0 : numberOf(row['protocol'], 'a protocol');
    const selector = row['ipproto'];
    const digits =
      selector === undefined
        ? ''
        : wordOf(typeof selector === 'number' ? String(selector) : selector, 'a protocol').replace(
            /^ipproto-/,
            '',
          );
    const ipproto = digits === '' ? '' : ` ipproto ${PROTOCOL_NAMES[digits] ?? digits}`;
    const action =
      row['action'] === undefined
        ? ''
        : ` ${ACTIONS[wordOf(row['action'], 'an action')] ?? wordOf(row['action'], 'an action')}`;
    const table = row['table'] === undefined ? '' : ` lookup ${String(numberOf(row['table'], 'a table'))}`;
    const iif = row['iif'] === undefined ? '' : ` iif ${wordOf(row['iif'], 'an interface')}`;
    const body = `${iif}${ipproto}${portsText(row, 'sport')}${portsText(row, 'dport')}${table}${action}`;
    const strange = hasUnknown(row, KNOWN_RULE) || row['src'] !== 'all';
    if (protocol === ROUTE_PROTOCOL[mode]) {
      entries.push({
        kind: 'rule',
        family,
        table: undefined,
        key: ruleEntryKey(family, preference),
        text: `pref ${String(preference)}${strange ? '' : body} protocol ${String(protocol)}`,
      });
    } else if (
      !own.includes(protocol) &&
      preference <= RULE_PREFERENCES[mode].prohibit &&
      !(preference === 0 && table === ' lookup 255')
    ) {
      strangers.push(
        `ipv${String(family)} pref ${String(preference)}${strange ? ' with a selector' : ''}${body}`,
      );
    }
  }
  return { entries, strangers };
}

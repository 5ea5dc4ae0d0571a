/**
 * Random accord sets, and a second opinion on what a set says about a flow: every entry looked at, in the words of
 * the YANG module.
 * Must not share code with the compiler or the core.
 */
import { type AccordSet, parseAccords, PROTOCOLS } from '@kedge/posture';
import type { FlowKey } from '@kedge/dataplane';
import type { Level } from '@kedge/units';

type Random = (below: number) => number;
const ORDER = ['drop', 'deprioritise', 'pass'] as const;
type Verdict = (typeof ORDER)[number];
const NAMES = ['management', 'inside', 'outside', 'guest'];
/** Prefixes that overlap on purpose. */
const PREFIXES = [
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.2.0/24',
  '10.1.2.3/32',
  'fd00::/8',
  'fd01::/16',
  'fd01:2::/32',
  'fd01:2::3/128',
];

/** Four zones, up to `entries` entries, verdicts that tighten from level to level. */
export function randomSet(random: Random, entries: number): AccordSet {
  const one = <T>(of: readonly T[]): T => of[random(of.length)] as T;
  const some = (of: readonly string[]): string[] => of.filter(() => random(of.length) < 2);
  const list = Array.from({ length: random(entries + 1) }, (_, index) => {
    const protocol = one([undefined, 'tcp', 'udp', 'icmp', 'esp'] as const);
    const ports = (): number[] => (random(2) === 0 ? [] : [one([22, 53, 443])]);
    const prefixes = (): string[] => (random(2) === 0 ? [] : some(PREFIXES));
    const [source, destination] = [prefixes(), prefixes()];
    const covers = (family: (prefix: string) => boolean): boolean =>
      [source, destination].every((given) => given.length === 0 || given.some(family));
    const common = covers((prefix) => prefix.includes(':')) || covers((prefix) => !prefix.includes(':'));
    return {
      name: `e-${String(index)}`,
      'from-zone': one(NAMES),
      'to-zone': one(NAMES),
      ...(common ? { 'source-prefix': source, 'destination-prefix': destination } : {}),
      ...(protocol === undefined ? {} : { protocol }),
      ...(protocol === 'tcp' || protocol === 'udp'
        ? { 'source-port': ports(), 'destination-port': ports() }
        : {}),
      bidirectional: random(3) === 0,
    };
  });
  // Drawn at level 5 and then only ever tightened: at most one step down per level.
  const tighten = (verdict: number): number => Math.max(0, verdict - (random(3) === 0 ? 1 : 0));
  let pairs = NAMES.flatMap((from) => NAMES.map((to) => ({ from, to, verdict: 1 + random(2) })));
  let verdicts = list.map(({ name }) => ({ name, verdict: random(3) }));
  const levels = [5, 4, 3, 2, 1].map((number) => {
    const level = {
      number,
      ...(number > 1 ? { authority: { 'minimum-tier': 'master' } } : {}),
      'default-verdict': 'drop',
      'zone-pair': pairs.map(({ from, to, verdict }) => ({
        'from-zone': from,
        'to-zone': to,
        verdict: ORDER[verdict],
      })),
      entry: verdicts.map(({ name, verdict }) => ({ name, verdict: ORDER[verdict] })),
      overlay: { routes: { protect: true } },
      underlay: { gate: { mode: 'frozen' } },
    };
    pairs = pairs.map((pair) => ({ ...pair, verdict: tighten(pair.verdict) }));
    verdicts = verdicts.map((entry) => ({ ...entry, verdict: tighten(entry.verdict) }));
    return level;
  });
  return parseAccords(
    { 'kedge-accords:accords': { 'lockdown-exit': { channel: ['console'] }, level: levels } },
    {
      'kedge-zones:zones': { zone: NAMES.map((name, index) => ({ name, id: index + 1 })) },
      'kedge-zones:allowlist': { entry: list },
    },
  );
}

function bits(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
}

/** Bits of the prefixes above; the compiler's own texts are not used. */
function prefixBits(text: string): { family: 4 | 6; bits: string } {
  const [address = '', length = '0'] = text.split('/');
  const family = address.includes(':') ? 6 : 4;
  const words: number[] = [];
  if (family === 4) words.push(...address.split('.').map(Number));
  else {
    const [head = '', tail = ''] = address.split('::');
    const groups = (part: string): number[] =>
      part === '' ? [] : part.split(':').map((group) => parseInt(group, 16));
    const all = [...groups(head)];
    while (all.length < 8 - groups(tail).length) all.push(0);
    for (const group of [...all, ...groups(tail)]) words.push(group >> 8, group & 255);
  }
  return { family, bits: bits(Uint8Array.from(words)).slice(0, Number(length)) };
}

/**
 * What a set says about a flow at a level: all matching entries, the most specific, of equals the tighter; then
 * the pair of zones.
 */
export function opinion({ accords, zones }: AccordSet, level: Level, flow: FlowKey): Verdict {
  const accord = accords.levels[level];
  const nameOf = (id: number): string | undefined => zones.zones.find((zone) => zone.id === id)?.name;
  const [from, to] = [nameOf(flow.sourceZone), nameOf(flow.destinationZone)];
  if (from === undefined || to === undefined) return 'drop';
  const pair =
    accord.pairs.find((each) => each.fromZone === from && each.toZone === to)?.verdict ??
    accord.defaultVerdict;
  const address = {
    source: bits(flow.source as Uint8Array),
    destination: bits(flow.destination as Uint8Array),
  };
  const longest = (prefixes: readonly { text: string }[], end: string): number => {
    if (prefixes.length === 0) return 0;
    const matching = prefixes
      .map(({ text }) => prefixBits(text))
      .filter((prefix) => prefix.family === flow.family && end.startsWith(prefix.bits))
      .map((prefix) => prefix.bits.length);
    return matching.length === 0 ? -1 : Math.max(...matching);
  };
  let best: { rank: number; verdict: Verdict } | undefined;
  let fragmentKnown = false;
  for (const entry of zones.entries)
    for (const mirror of entry.bidirectional ? [false, true] : [false]) {
      const [zoneA, zoneB] = mirror ? [entry.toZone, entry.fromZone] : [entry.fromZone, entry.toZone];
      const [near, far] = mirror
        ? [entry.destinationPrefixes, entry.sourcePrefixes]
        : [entry.sourcePrefixes, entry.destinationPrefixes];
      const [nearPorts, farPorts] = mirror
        ? [entry.destinationPorts, entry.sourcePorts]
        : [entry.sourcePorts, entry.destinationPorts];
      const lengths = [longest(near, address.source), longest(far, address.destination)];
      if (zoneA !== from || zoneB !== to || lengths.includes(-1)) continue;
      if (entry.protocol !== undefined && PROTOCOLS[entry.protocol][flow.family] !== flow.protocol) continue;
      if (flow.laterFragment === true && nearPorts.length + farPorts.length > 0) continue;
      if (nearPorts.length > 0 && !nearPorts.includes(flow.sourcePort ?? 0)) continue;
      if (farPorts.length > 0 && !farPorts.includes(flow.destinationPort ?? 0)) continue;
      const rank =
        (lengths[0] ?? 0) +
        (lengths[1] ?? 0) +
        (entry.protocol === undefined ? 0 : 8) +
        (nearPorts.length > 0 ? 16 : 0) +
        (farPorts.length > 0 ? 16 : 0);
      const verdict = accord.entries.find(({ name }) => name === entry.name)?.verdict ?? pair;
      fragmentKnown = true;
      if (best === undefined || rank > best.rank) best = { rank, verdict };
      else if (rank === best.rank && ORDER.indexOf(verdict) < ORDER.indexOf(best.verdict))
        best = { rank, verdict };
    }
  if (flow.laterFragment === true && !fragmentKnown) return 'drop';
  return best?.verdict ?? pair;
}

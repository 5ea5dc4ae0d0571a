/**
 * Accords: the schema of yang/kedge-accords.yang over RFC 7951 JSON, what YANG cannot say about them
 * (monotone tightening), and the five level specifications that they compile to.
 * It must not build tables and must not decide about requests; it says what the accords say.
 */
import { KedgeError, type Level, LEVELS } from '@kedge/units';
import { type Tier, TIERS } from '@kedge/contracts';
import { z } from 'zod';

import {
  type OverlayAccord,
  overlayOf,
  overlaySchema,
  pathsFaults,
  pathsLoosenings,
  type UnderlayAccord,
  underlayOf,
  underlaySchema,
} from './accords-paths.js';
import {
  type AllowlistEntry,
  descriptionSchema,
  familiesOf,
  type Fault,
  keyedList,
  leafList,
  nameSchema,
  type PlainFault,
  PROTOCOLS,
  type Zones,
  zonesDocumentSchema,
  zonesFaults,
  zonesOf,
} from './zones.js';
import { ANY_PREFIX, type Family, type Prefix } from './zones-prefix.js';

/** What happens to a packet, from tightest to loosest. */
export const VERDICTS = ['drop', 'deprioritise', 'pass'] as const;
/** See {@link VERDICTS}. */
export type Verdict = (typeof VERDICTS)[number];

/** The ways by which level 1 may be left; all but `re-attestation`, which is a ceremony, are channels. */
export const LOCKDOWN_EXITS = ['console', 're-attestation', 'oob'] as const;
/** See {@link LOCKDOWN_EXITS}. */
export type LockdownExit = (typeof LOCKDOWN_EXITS)[number];

/** Who may loosen to a level. */
export interface LevelAuthority {
  /** The least trusted tier that may. */
  readonly deescalationTier: Tier;
  /** Whether a fresh second factor is needed too. */
  readonly secondFactor: boolean;
}

/** The accord of one level. */
export interface LevelAccord {
  readonly level: Level;
  readonly description?: string;
  /** Absent at level 1, to which nothing loosens. */
  readonly authority?: LevelAuthority;
  readonly deepClassification: boolean;
  readonly arp: boolean;
  readonly neighbourDiscovery: boolean;
  readonly icmpErrors: boolean;
  readonly defaultVerdict: Verdict;
  /** Where a pair of zones differs from the default. */
  readonly pairs: readonly {
    readonly fromZone: string;
    readonly toZone: string;
    readonly verdict: Verdict;
  }[];
  /** Verdicts of entries; one that is not named is treated as its pair of zones is. */
  readonly entries: readonly { readonly name: string; readonly verdict: Verdict }[];
  /** Whether changes go on while no record of them can be kept (LE-5); absent = they are refused. */
  readonly unrecordedChanges?: true;
  /** Kedge's routes and the policy rules ahead of all tables (OV-13, OV-15). */
  readonly overlay: OverlayAccord;
  /** The gate before every write to devices and underlay routes (UN-14), and drift (UN-6, UN-7). */
  readonly underlay: UnderlayAccord;
}

/** The accords of all levels. */
export interface Accords {
  readonly description?: string;
  readonly lockdownExits: readonly LockdownExit[];
  readonly levels: Readonly<Record<Level, LevelAccord>>;
}

/** A whole valid set: what there is at the site and what each level allows of it. */
export interface AccordSet {
  readonly accords: Accords;
  readonly zones: Zones;
}

const verdictSchema = z.enum(VERDICTS);

const levelSchema = z.strictObject({
  number: z.int('expected a level').min(1, 'expected a level of 1 to 5').max(5, 'expected a level of 1 to 5'),
  description: descriptionSchema.optional(),
  authority: z
    .strictObject({ 'minimum-tier': z.enum(TIERS).optional(), 'second-factor': z.boolean().optional() })
    .optional(),
  'deep-classification': z.boolean().optional(),
  arp: z.boolean().optional(),
  'neighbour-discovery': z.boolean().optional(),
  'icmp-errors': z.boolean().optional(),
  'default-verdict': verdictSchema,
  'zone-pair': keyedList(
    z.strictObject({ 'from-zone': nameSchema, 'to-zone': nameSchema, verdict: verdictSchema }),
    256,
    (pair) => `${pair['from-zone']} ${pair['to-zone']}`,
  ).optional(),
  entry: keyedList(
    z.strictObject({ name: nameSchema, verdict: verdictSchema }),
    16384,
    ({ name }) => name,
  ).optional(),
  'unrecorded-changes': z.boolean().optional(),
  overlay: overlaySchema,
  underlay: underlaySchema,
});

const accordsDocumentSchema = z.strictObject({
  'kedge-accords:accords': z.strictObject({
    description: descriptionSchema.optional(),
    'lockdown-exit': z.strictObject({
      channel: leafList(z.enum(LOCKDOWN_EXITS), LOCKDOWN_EXITS.length, (channel) => channel).min(
        1,
        'expected at least one way out of level 1',
      ),
    }),
    level: keyedList(levelSchema, 5, ({ number }) => number).min(5, 'expected all five levels'),
  }),
});

type AccordsDocument = z.output<typeof accordsDocumentSchema>;

const LIST_KEYS: Readonly<Record<string, readonly string[]>> = {
  zone: ['name'],
  entry: ['name'],
  level: ['number'],
  'zone-pair': ['from-zone', 'to-zone'],
  remedy: ['severity'],
};

/**
 * A place in a document as RFC 7951 §6.11 writes it. A list entry whose keys cannot be read is named by its
 * position, counted from 1.
 */
export function instanceIdentifier(document: unknown, path: readonly PropertyKey[]): string {
  let node: unknown = document;
  let member = '';
  let text = '';
  for (const step of path) {
    node =
      typeof node === 'object' && node !== null ? (node as Record<PropertyKey, unknown>)[step] : undefined;
    if (typeof step !== 'number') {
      member = String(step);
      text += `/${member}`;
      continue;
    }
    const keys = LIST_KEYS[member];
    const row = typeof node === 'object' && node !== null ? (node as Record<string, unknown>) : undefined;
    if (keys !== undefined && row !== undefined && keys.every((key) => isPlain(row[key])))
      text += keys.map((key) => `[${key}=${quoted(row[key])}]`).join('');
    else if (keys === undefined && isPlain(node)) text += `[.=${quoted(node)}]`;
    else text += `[${String(step + 1)}]`;
  }
  return text === '' ? '/' : text;
}

function isPlain(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number';
}

function quoted(value: unknown): string {
  const text = String(value).slice(0, 80);
  return text.includes("'") ? `"${text.replaceAll('"', '')}"` : `'${text}'`;
}

function schemaFaults(document: unknown, error: z.ZodError): Fault[] {
  return error.issues.flatMap((issue): Fault[] => {
    const fault = (path: readonly PropertyKey[], message: string): Fault => ({
      code: 'ACCORD_INVALID',
      path: instanceIdentifier(document, path),
      message,
    });
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => fault([...issue.path, key], 'is no node of the schema'));
    return [fault(issue.path, issue.message)];
  });
}

function accordsFaults(document: AccordsDocument, zones: Zones): PlainFault[] {
  const faults: PlainFault[] = [];
  const zoneNames = new Set(zones.zones.map(({ name }) => name));
  const entryNames = new Set(zones.entries.map(({ name }) => name));
  for (const [index, level] of document['kedge-accords:accords'].level.entries()) {
    const at = (...path: PropertyKey[]): PropertyKey[] => ['kedge-accords:accords', 'level', index, ...path];
    if (level.number === 1 && Object.keys(level.authority ?? {}).length > 0)
      faults.push({ path: at('authority'), message: 'expected none at level 1, nothing loosens to it' });
    if (level.number !== 1 && level.authority?.['minimum-tier'] === undefined)
      faults.push({
        path: at('authority', 'minimum-tier'),
        message: 'expected the tier that may loosen to this level',
      });
    for (const { path, message } of pathsFaults(level.overlay, level.underlay))
      faults.push({ path: at(...path), message });
    for (const [place, pair] of (level['zone-pair'] ?? []).entries())
      for (const leaf of ['from-zone', 'to-zone'] as const)
        if (!zoneNames.has(pair[leaf]))
          faults.push({
            path: at('zone-pair', place, leaf),
            message: `expected the name of a zone that exists, not ${pair[leaf]}`,
          });
    for (const [place, entry] of (level.entry ?? []).entries())
      if (!entryNames.has(entry.name))
        faults.push({
          path: at('entry', place, 'name'),
          message: `expected the name of an allowlist entry that exists, not ${entry.name}`,
        });
  }
  return faults;
}

function accordsOf(document: AccordsDocument): Accords {
  const { description, 'lockdown-exit': exit, level: levels } = document['kedge-accords:accords'];
  const rows = levels.map((row): [Level, LevelAccord] => {
    const tier = row.authority?.['minimum-tier'];
    return [
      row.number as Level,
      {
        level: row.number as Level,
        ...(row.description === undefined ? {} : { description: row.description }),
        ...(tier === undefined
          ? {}
          : {
              authority: { deescalationTier: tier, secondFactor: row.authority?.['second-factor'] ?? false },
            }),
        deepClassification: row['deep-classification'] ?? false,
        arp: row.arp ?? false,
        neighbourDiscovery: row['neighbour-discovery'] ?? false,
        icmpErrors: row['icmp-errors'] ?? false,
        defaultVerdict: row['default-verdict'],
        pairs: (row['zone-pair'] ?? []).map((pair) => ({
          fromZone: pair['from-zone'],
          toZone: pair['to-zone'],
          verdict: pair.verdict,
        })),
        entries: row.entry ?? [],
        ...(row['unrecorded-changes'] === true ? { unrecordedChanges: true } : {}),
        overlay: overlayOf(row.overlay),
        underlay: underlayOf(row.underlay),
      },
    ];
  });
  return {
    ...(description === undefined ? {} : { description }),
    lockdownExits: exit.channel,
    levels: Object.fromEntries(rows) as Record<Level, LevelAccord>,
  };
}

/**
 * What the YANG modules say about two documents, and nothing more: the typed model, or every fault that was
 * found (at least one, in document order of the stage at which they were found).
 *
 * @param accordsDocument parsed JSON with `kedge-accords:accords`
 * @param zonesDocument parsed JSON with `kedge-zones:zones` and `kedge-zones:allowlist`
 */
export function validateAccords(
  accordsDocument: unknown,
  zonesDocument: unknown,
):
  | { readonly valid: true; readonly set: AccordSet }
  | { readonly valid: false; readonly faults: readonly [Fault, ...Fault[]] } {
  const zonesRead = zonesDocumentSchema.safeParse(zonesDocument);
  const accordsRead = accordsDocumentSchema.safeParse(accordsDocument);
  const faults: Fault[] = [
    ...(zonesRead.success ? [] : schemaFaults(zonesDocument, zonesRead.error)),
    ...(accordsRead.success ? [] : schemaFaults(accordsDocument, accordsRead.error)),
  ];
  if (zonesRead.success && accordsRead.success) {
    const zones = zonesOf(zonesRead.data);
    const place =
      (document: unknown) =>
      ({ path, message }: PlainFault): Fault => ({
        code: 'ACCORD_INVALID',
        path: instanceIdentifier(document, path),
        message,
      });
    faults.push(
      ...zonesFaults(zones).map(place(zonesDocument)),
      ...accordsFaults(accordsRead.data, zones).map(place(accordsDocument)),
    );
    if (faults.length === 0) return { valid: true, set: { accords: accordsOf(accordsRead.data), zones } };
  }
  return { valid: false, faults: faults as [Fault, ...Fault[]] };
}

/**
 * Reads accords and zones: schema, references, and monotone tightening (PO-2).
 *
 * @throws KedgeError `ACCORD_INVALID` (not what the YANG modules say) or `ACCORD_LOOSENS` (a lower level allows
 *   more than a higher one); `field` is the instance identifier of the first fault, the message tells the reason.
 */
export function parseAccords(accordsDocument: unknown, zonesDocument: unknown): AccordSet {
  const reading = validateAccords(accordsDocument, zonesDocument);
  if (!reading.valid) {
    const [{ path, message }, ...more] = reading.faults;
    throw new KedgeError({
      code: 'ACCORD_INVALID',
      message: `cannot use these accords: ${path}: ${message}${more.length > 0 ? ` (and ${String(more.length)} more)` : ''}`,
      field: path,
      help: 'yanglint with yang/kedge-zones.yang and yang/kedge-accords.yang says the same',
    });
  }
  const [loosening] = findLoosenings(reading.set);
  if (loosening !== undefined)
    throw new KedgeError({
      code: 'ACCORD_LOOSENS',
      message: `cannot use these accords: ${loosening.path}: ${loosening.message}`,
      field: loosening.path,
      expected: 'at every level the same as at the level above it, or tighter',
    });
  return reading.set;
}

/** True when `a` lets more through than `b`. */
export function isLooserVerdict(a: Verdict, b: Verdict): boolean {
  return VERDICTS.indexOf(a) > VERDICTS.indexOf(b);
}

function pairKey(fromZone: string, toZone: string): string {
  return `${fromZone} ${toZone}`;
}

/**
 * Verdicts of pairs and entries at one level, with what is not named filled in: a pair by the default, an entry
 * (and its mirror) by the pair of zones that it runs between.
 */
export function effective(accord: LevelAccord): {
  readonly pair: (fromZone: string, toZone: string) => Verdict;
  readonly entry: (entry: AllowlistEntry, mirror: boolean) => Verdict;
} {
  const pairs = new Map(accord.pairs.map((pair) => [pairKey(pair.fromZone, pair.toZone), pair.verdict]));
  const entries = new Map(accord.entries.map(({ name, verdict }) => [name, verdict]));
  const pair = (fromZone: string, toZone: string): Verdict =>
    pairs.get(pairKey(fromZone, toZone)) ?? accord.defaultVerdict;
  return {
    pair,
    entry: ({ name, fromZone, toZone }, mirror) =>
      entries.get(name) ?? (mirror ? pair(toZone, fromZone) : pair(fromZone, toZone)),
  };
}

/**
 * Where a level is looser than the level above it. Because every level knows the same entries with the same
 * ranks, comparing them one by one, the pairs one by one, and the switches is exact for every flow.
 */
export function findLoosenings({ accords, zones }: AccordSet): Fault[] {
  const faults: Fault[] = [];
  const fault = (level: Level, place: string, what: string, lower: string, upper: string): void => {
    faults.push({
      code: 'ACCORD_LOOSENS',
      path: `/kedge-accords:accords/level[number='${String(level)}']${place}`,
      message: `${what} is ${lower} at level ${String(level)} but ${upper} at level ${String(level + 1)}`,
    });
  };
  for (const level of LEVELS) {
    if (level === 5) continue;
    const lower = accords.levels[level];
    const upper = accords.levels[(level + 1) as Level];
    const below = effective(lower);
    const above = effective(upper);
    for (const from of zones.zones)
      for (const to of zones.zones) {
        const [a, b] = [below.pair(from.name, to.name), above.pair(from.name, to.name)];
        if (isLooserVerdict(a, b))
          fault(
            level,
            lower.pairs.some((pair) => pair.fromZone === from.name && pair.toZone === to.name)
              ? `/zone-pair[from-zone='${from.name}'][to-zone='${to.name}']/verdict`
              : '/default-verdict',
            `traffic from ${from.name} to ${to.name}`,
            a,
            b,
          );
      }
    for (const entry of zones.entries)
      for (const mirror of entry.bidirectional ? [false, true] : [false]) {
        const [a, b] = [below.entry(entry, mirror), above.entry(entry, mirror)];
        if (isLooserVerdict(a, b))
          fault(
            level,
            `/entry[name='${entry.name}']/verdict`,
            `${mirror ? 'the mirror of ' : ''}entry ${entry.name}`,
            a,
            b,
          );
      }
    for (const [name, leaf] of [
      ['arp', 'arp'],
      ['neighbourDiscovery', 'neighbour-discovery'],
      ['icmpErrors', 'icmp-errors'],
    ] as const)
      if (lower[name] && !upper[name]) fault(level, `/${leaf}`, leaf, 'passed', 'not passed');
    for (const loosening of pathsLoosenings(lower, upper))
      fault(level, loosening.place, loosening.what, loosening.lower, loosening.upper);
  }
  return faults;
}

/** Who may loosen, for the authoriser. A step over several levels needs the authority of each (PO-9). */
export type Authority = Readonly<Record<Exclude<Level, 1>, LevelAuthority>> & {
  /** The only ways in by which level 1 may be left. */
  readonly leaveLockdownChannels: readonly LockdownExit[];
};

/** The part of the accords that the authoriser asks. Level 1 has no row: nothing loosens to it. */
export function authorityOf(accords: Accords): Authority {
  // Accords that were read have the authority of 2 to 5; whoever makes them by hand gets the tightest.
  const of = (level: Level): LevelAuthority =>
    accords.levels[level].authority ?? { deescalationTier: TIERS[0], secondFactor: true };
  return { 2: of(2), 3: of(3), 4: of(4), 5: of(5), leaveLockdownChannels: accords.lockdownExits };
}

/** One entry of a level table. */
export interface EntrySpec {
  /** 0..16383, the same at every level. */
  readonly id: number;
  readonly family: Family;
  /** Canonical prefix text, "0.0.0.0/0" or "::/0" for any. */
  readonly sourcePrefix: string;
  readonly destinationPrefix: string;
  /** IANA number. */
  readonly protocol?: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly sourceZone: number;
  readonly destinationZone: number;
  readonly verdict: Verdict;
  /** Bits that the entry fixes; of several matching entries the highest counts. */
  readonly rank: number;
}

/** What the table of one level is built from. */
export interface LevelSpec {
  readonly level: Level;
  readonly generation: bigint;
  readonly flags: {
    readonly classify: boolean;
    readonly arp: boolean;
    readonly neighbourDiscovery: boolean;
    readonly icmpErrors: boolean;
  };
  /** [source zone][destination zone], 16 by 16; what has no zone is dropped. */
  readonly pairs: readonly (readonly Verdict[])[];
  readonly entries: readonly EntrySpec[];
}

/** What an entry id means to people; stands at the index of the id. */
export interface EntryLabel {
  /** Name of the allowlist entry. */
  readonly name: string;
  readonly family: Family;
  /** True for the mirror of a bidirectional entry. */
  readonly mirror: boolean;
  readonly fromZone: string;
  readonly toZone: string;
}

/** Accords and zones, compiled. */
export interface CompiledAccords {
  readonly levels: Readonly<Record<Level, LevelSpec>>;
  readonly labels: readonly EntryLabel[];
}

/** Limits of the tables (KEDGE_MAX_ENTRIES, KEDGE_MAX_SHAPES, KEDGE_MAX_ZONES of layout.h; a test compares). */
export const TABLE_LIMITS = { entries: 16384, shapes: 16, zones: 16 } as const;

interface Flow extends Omit<EntrySpec, 'id' | 'verdict'> {
  readonly entry: AllowlistEntry;
  readonly mirror: boolean;
}

const prefixesOf = (prefixes: readonly Prefix[], family: Family): readonly Prefix[] =>
  prefixes.length === 0 ? [ANY_PREFIX[family]] : prefixes.filter((prefix) => prefix.family === family);

const orAny = (ports: readonly number[]): readonly (number | undefined)[] =>
  ports.length === 0 ? [undefined] : ports;

/** An entry multiplied out: families, prefixes, ports, mirror. */
function* flowsOf(entry: AllowlistEntry, zoneIds: ReadonlyMap<string, number>): Generator<Flow> {
  const sourceZone = zoneIds.get(entry.fromZone) ?? 0;
  const destinationZone = zoneIds.get(entry.toZone) ?? 0;
  for (const family of familiesOf(entry))
    for (const source of prefixesOf(entry.sourcePrefixes, family))
      for (const destination of prefixesOf(entry.destinationPrefixes, family))
        for (const sourcePort of orAny(entry.sourcePorts))
          for (const destinationPort of orAny(entry.destinationPorts)) {
            const rank =
              source.length +
              destination.length +
              (entry.protocol === undefined ? 0 : 8) +
              (sourcePort === undefined ? 0 : 16) +
              (destinationPort === undefined ? 0 : 16);
            const protocol =
              entry.protocol === undefined ? {} : { protocol: PROTOCOLS[entry.protocol][family] };
            const head = { entry, family, rank, ...protocol };
            yield {
              ...head,
              mirror: false,
              sourcePrefix: source.text,
              destinationPrefix: destination.text,
              ...(sourcePort === undefined ? {} : { sourcePort }),
              ...(destinationPort === undefined ? {} : { destinationPort }),
              sourceZone,
              destinationZone,
            };
            if (entry.bidirectional)
              yield {
                ...head,
                mirror: true,
                sourcePrefix: destination.text,
                destinationPrefix: source.text,
                ...(destinationPort === undefined ? {} : { sourcePort: destinationPort }),
                ...(sourcePort === undefined ? {} : { destinationPort: sourcePort }),
                sourceZone: destinationZone,
                destinationZone: sourceZone,
              };
          }
}

function flowKey(flow: Flow): string {
  return [
    flow.family,
    flow.sourcePrefix,
    flow.destinationPrefix,
    flow.protocol ?? '',
    flow.sourcePort ?? '',
    flow.destinationPort ?? '',
    flow.sourceZone,
    flow.destinationZone,
  ].join(' ');
}

function shapeKey(flow: Flow): string {
  const length = (prefix: string): string => prefix.slice(prefix.indexOf('/'));
  return [
    length(flow.sourcePrefix),
    length(flow.destinationPrefix),
    flow.protocol !== undefined,
    flow.sourcePort !== undefined,
    flow.destinationPort !== undefined,
  ].join(' ');
}

/**
 * The specifications of all five levels. Every level holds every entry under the same id: one that the level
 * does not name carries the verdict of its pair of zones there.
 *
 * The mirror of a bidirectional entry carries the verdict of the entry where the level names it, otherwise
 * that of its own (exchanged) pair of zones.
 *
 * @throws KedgeError `ACCORD_TOO_MANY_ENTRIES`, `ACCORD_TOO_MANY_SHAPES`, `ACCORD_AMBIGUOUS` (two entries mean the
 *   same flow); `field` names the entry.
 */
export function compileAccords(accords: Accords, zones: Zones, generation = 0n): CompiledAccords {
  const zoneIds = new Map(zones.zones.map(({ name, id }) => [name, id]));
  const flows: Flow[] = [];
  const owners = new Map<string, AllowlistEntry>();
  const shapes: Record<Family, Set<string>> = { 4: new Set(), 6: new Set() };
  const refuse = (
    entry: AllowlistEntry,
    why: { readonly code: string; readonly message: string; readonly expected: string },
  ): never => {
    const field = `/kedge-zones:allowlist/entry[name='${entry.name}']`;
    throw new KedgeError({
      ...why,
      message: `cannot compile these accords: ${field}: ${why.message}`,
      field,
    });
  };
  for (const entry of zones.entries)
    for (const flow of flowsOf(entry, zoneIds)) {
      const key = flowKey(flow);
      const owner = owners.get(key);
      // An entry can be its own mirror; it is one flow then.
      if (owner === entry) continue;
      if (owner !== undefined)
        refuse(entry, {
          code: 'ACCORD_AMBIGUOUS',
          message: `it means the same flow as entry ${owner.name}`,
          expected: 'entries that differ in at least one prefix length, address, protocol, port or zone',
        });
      owners.set(key, entry);
      shapes[flow.family].add(shapeKey(flow));
      if (shapes[flow.family].size > TABLE_LIMITS.shapes)
        refuse(entry, {
          code: 'ACCORD_TOO_MANY_SHAPES',
          message: `it needs one more mask shape than the tables hold for IPv${String(flow.family)}`,
          expected: `at most ${String(TABLE_LIMITS.shapes)} different combinations of prefix lengths, protocol and ports`,
        });
      if (flows.length >= TABLE_LIMITS.entries)
        refuse(entry, {
          code: 'ACCORD_TOO_MANY_ENTRIES',
          message: 'multiplied out, the allowlist has more entries than the tables hold',
          expected: `at most ${String(TABLE_LIMITS.entries)} after families, prefixes, ports and mirrors were multiplied`,
        });
      flows.push(flow);
    }
  const names = new Map(zones.zones.map(({ name, id }) => [id, name]));
  return {
    levels: Object.fromEntries(
      LEVELS.map((level) => [level, levelSpec(accords.levels[level], zones, flows, generation)]),
    ) as Record<Level, LevelSpec>,
    labels: flows.map((flow) => ({
      name: flow.entry.name,
      family: flow.family,
      mirror: flow.mirror,
      fromZone: names.get(flow.sourceZone) ?? '',
      toZone: names.get(flow.destinationZone) ?? '',
    })),
  };
}

function levelSpec(
  accord: LevelAccord,
  { zones }: Zones,
  flows: readonly Flow[],
  generation: bigint,
): LevelSpec {
  const verdicts = effective(accord);
  const ids = new Map(zones.map(({ id, name }) => [id, name]));
  const pairs = Array.from({ length: TABLE_LIMITS.zones }, (_row, from) =>
    Array.from({ length: TABLE_LIMITS.zones }, (_cell, to): Verdict => {
      const [source, destination] = [ids.get(from), ids.get(to)];
      return source === undefined || destination === undefined ? 'drop' : verdicts.pair(source, destination);
    }),
  );
  return {
    level: accord.level,
    generation,
    flags: {
      classify: accord.deepClassification,
      arp: accord.arp,
      neighbourDiscovery: accord.neighbourDiscovery,
      icmpErrors: accord.icmpErrors,
    },
    pairs,
    entries: flows.map(({ entry, mirror, ...flow }, id) => ({
      id,
      ...flow,
      verdict: verdicts.entry(entry, mirror),
    })),
  };
}

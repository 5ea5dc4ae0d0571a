/**
 * Zones and allowlist entries: the schema of yang/kedge-zones.yang over RFC 7951 JSON, and the typed model.
 * It must not say what happens to traffic; that is the accords' business.
 */
import { z } from 'zod';

import { type Prefix, PREFIX_EXPECTED, prefixOf } from './zones-prefix.js';

/** Protocols that an entry can name, with their IANA numbers by family. `icmp` is the family's own. */
export const PROTOCOLS = {
  icmp: { 4: 1, 6: 58 },
  tcp: { 4: 6, 6: 6 },
  udp: { 4: 17, 6: 17 },
  gre: { 4: 47, 6: 47 },
  esp: { 4: 50, 6: 50 },
  ospf: { 4: 89, 6: 89 },
  vrrp: { 4: 112, 6: 112 },
  sctp: { 4: 132, 6: 132 },
} as const;
/** A protocol that an entry can name. */
export type Protocol = keyof typeof PROTOCOLS;

const WITH_PORTS: readonly (Protocol | undefined)[] = ['tcp', 'udp', 'sctp'];

/** A zone of the site. */
export interface Zone {
  readonly name: string;
  /** 1..15; 1 is the management zone. */
  readonly id: number;
  readonly description?: string;
  /** Interfaces of the data plane in this zone. */
  readonly ports: readonly string[];
}

/** A named entry of the allowlist: which traffic it means. Empty lists mean "any". */
export interface AllowlistEntry {
  readonly name: string;
  readonly description?: string;
  readonly fromZone: string;
  readonly toZone: string;
  readonly sourcePrefixes: readonly Prefix[];
  readonly destinationPrefixes: readonly Prefix[];
  readonly protocol?: Protocol;
  readonly sourcePorts: readonly number[];
  readonly destinationPorts: readonly number[];
  /** True: the mirror belongs to it too. */
  readonly bidirectional: boolean;
}

/** What there is at a site. */
export interface Zones {
  readonly zones: readonly Zone[];
  readonly entries: readonly AllowlistEntry[];
}

/** Something wrong with a document. */
export interface Fault {
  /** A code of docs/errors.md. */
  readonly code: string;
  /** Where, as an RFC 7951 instance identifier; for something that is missing, where it should be. */
  readonly path: string;
  /** What is wrong there. */
  readonly message: string;
}

type Step = PropertyKey;

/** A fault's place inside a document, before it is written as an instance identifier. */
export interface PlainFault {
  readonly path: readonly Step[];
  readonly message: string;
}

// What YANG counts are characters, not UTF-16 units; and not every character is one of its strings (RFC 7950 §14).
// eslint-disable-next-line no-control-regex -- the characters that YANG forbids
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufdd0-\ufdef]|\p{Surrogate}/u;

function yangCharacters(text: string): boolean {
  if (FORBIDDEN.test(text)) return false;
  for (const character of text) if (((character.codePointAt(0) ?? 0) & 0xfffe) === 0xfffe) return false;
  return true;
}

/** `type string { length "1..200"; }`, as all descriptions are. */
export const descriptionSchema = z.string().refine((text) => {
  const length = Array.from(text).length;
  return length >= 1 && length <= 200 && yangCharacters(text);
}, 'expected text of 1 to 200 characters');

/** The name of a zone or of an entry. */
export const nameSchema = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,30}$/, 'expected a name of [a-z0-9-], a letter first, at most 31 characters');

const prefixSchema = z.string().transform((text, context): Prefix => {
  const prefix = prefixOf(text);
  if (prefix !== undefined) return prefix;
  context.addIssue({ code: 'custom', message: `expected ${PREFIX_EXPECTED}` });
  return z.NEVER;
});

/** A leaf-list of a configuration: every value once. `valueOf` gives the canonical value. */
export function leafList<Schema extends z.ZodType>(
  schema: Schema,
  max: number,
  valueOf: (value: z.output<Schema>) => string | number,
) {
  return z
    .array(schema)
    .max(max, `expected at most ${String(max)} values`)
    .superRefine((values, context) => {
      const seen = new Set<string | number>();
      for (const [index, value] of values.entries()) {
        const canonical = valueOf(value);
        if (seen.has(canonical))
          context.addIssue({
            code: 'custom',
            path: [index],
            message: `expected every value once, ${String(canonical)} is given twice`,
          });
        seen.add(canonical);
      }
    });
}

/** A list of a configuration: every key once. */
export function keyedList<Schema extends z.ZodType>(
  schema: Schema,
  max: number,
  keyOf: (value: z.output<Schema>) => string | number,
) {
  return z
    .array(schema)
    .max(max, `expected at most ${String(max)} list entries`)
    .superRefine((values, context) => {
      const seen = new Set<string | number>();
      for (const [index, value] of values.entries()) {
        const key = keyOf(value);
        if (seen.has(key))
          context.addIssue({
            code: 'custom',
            path: [index],
            message: `expected every key once, ${String(key)} is given twice`,
          });
        seen.add(key);
      }
    });
}

const portNumber = z.int('expected a port number').min(0).max(65535);

const zoneSchema = z.strictObject({
  name: nameSchema,
  id: z
    .int('expected a zone id')
    .min(1, 'expected a zone id of 1 to 15')
    .max(15, 'expected a zone id of 1 to 15'),
  description: descriptionSchema.optional(),
  port: leafList(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/, 'expected the name of an interface'),
    64,
    (port) => port,
  ).optional(),
});

const entrySchema = z.strictObject({
  name: nameSchema,
  description: descriptionSchema.optional(),
  'from-zone': nameSchema,
  'to-zone': nameSchema,
  'source-prefix': leafList(prefixSchema, 1024, ({ text }) => text).optional(),
  'destination-prefix': leafList(prefixSchema, 1024, ({ text }) => text).optional(),
  protocol: z.enum(Object.keys(PROTOCOLS) as [Protocol, ...Protocol[]]).optional(),
  'source-port': leafList(portNumber, 64, (port) => port).optional(),
  'destination-port': leafList(portNumber, 64, (port) => port).optional(),
  bidirectional: z.boolean().optional(),
});

/** A document with the data of kedge-zones, as far as it can be checked node by node. */
export const zonesDocumentSchema = z.strictObject({
  'kedge-zones:zones': z.strictObject({
    zone: keyedList(zoneSchema, 15, ({ name }) => name).min(1, 'expected at least one zone'),
  }),
  'kedge-zones:allowlist': z
    .strictObject({ entry: keyedList(entrySchema, 16384, ({ name }) => name).optional() })
    .optional(),
});

/** The typed model of a document that fits {@link zonesDocumentSchema}. */
export function zonesOf(document: z.output<typeof zonesDocumentSchema>): Zones {
  return {
    zones: document['kedge-zones:zones'].zone.map(({ name, id, description, port }) => ({
      name,
      id,
      ...(description === undefined ? {} : { description }),
      ports: port ?? [],
    })),
    entries: (document['kedge-zones:allowlist']?.entry ?? []).map((entry) => ({
      name: entry.name,
      ...(entry.description === undefined ? {} : { description: entry.description }),
      fromZone: entry['from-zone'],
      toZone: entry['to-zone'],
      sourcePrefixes: entry['source-prefix'] ?? [],
      destinationPrefixes: entry['destination-prefix'] ?? [],
      ...(entry.protocol === undefined ? {} : { protocol: entry.protocol }),
      sourcePorts: entry['source-port'] ?? [],
      destinationPorts: entry['destination-port'] ?? [],
      bidirectional: entry.bidirectional ?? false,
    })),
  };
}

/** The families that an entry covers: each prefix list is empty or holds one of that family. */
export function familiesOf(entry: AllowlistEntry): (4 | 6)[] {
  const covers = (prefixes: readonly Prefix[], family: 4 | 6): boolean =>
    prefixes.length === 0 || prefixes.some((prefix) => prefix.family === family);
  return ([4, 6] as const).filter(
    (family) => covers(entry.sourcePrefixes, family) && covers(entry.destinationPrefixes, family),
  );
}

/** What YANG's `unique`, `must` and leafrefs say about zones and entries. Paths start at the document. */
export function zonesFaults({ zones, entries }: Zones): PlainFault[] {
  const faults: PlainFault[] = [];
  const at = (...path: Step[]): Step[] => ['kedge-zones:zones', 'zone', ...path];
  const ids = new Map<number, string>();
  const ports = new Map<string, string>();
  for (const [index, zone] of zones.entries()) {
    const other = ids.get(zone.id);
    if (other !== undefined)
      faults.push({
        path: at(index, 'id'),
        message: `expected every zone id once, ${other} has ${String(zone.id)} too`,
      });
    ids.set(zone.id, zone.name);
    for (const [place, port] of zone.ports.entries()) {
      const holder = ports.get(port);
      if (holder !== undefined)
        faults.push({
          path: at(index, 'port', place),
          message: `expected a port to belong to one zone only, ${holder} has ${port} too`,
        });
      ports.set(port, zone.name);
    }
  }
  if (!ids.has(1))
    faults.push({
      path: ['kedge-zones:zones'],
      message: 'expected a zone with id 1, the management zone',
    });
  const names = new Set(zones.map(({ name }) => name));
  for (const [index, entry] of entries.entries()) {
    const inside = (...path: Step[]): Step[] => ['kedge-zones:allowlist', 'entry', index, ...path];
    for (const [leaf, name] of [
      ['from-zone', entry.fromZone],
      ['to-zone', entry.toZone],
    ] as const)
      if (!names.has(name))
        faults.push({ path: inside(leaf), message: `expected the name of a zone that exists, not ${name}` });
    for (const [leaf, given] of [
      ['source-port', entry.sourcePorts],
      ['destination-port', entry.destinationPorts],
    ] as const)
      if (given.length > 0 && !WITH_PORTS.includes(entry.protocol))
        faults.push({
          path: inside(leaf, 0),
          message: `expected protocol tcp, udp or sctp beside a port, ${entry.protocol ?? 'no protocol'} has none`,
        });
    if (familiesOf(entry).length === 0)
      faults.push({
        path: inside(),
        message: 'expected source and destination prefixes with an address family in common',
      });
  }
  return faults;
}

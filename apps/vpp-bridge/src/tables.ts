/**
 * From two files to the tables of all five levels: read, validated, compiled, built by the governance core, and
 * asked about random flows before anybody else sees them.
 * It must not publish; a set of tables that comes out of here is right or was refused.
 */
import { filesBehind, readAccordDocument } from '@kedge/bus';
import {
  accordsIdentity,
  type AccordSet,
  compileAccords,
  type CompiledAccords,
  parseAccords,
} from '@kedge/posture';
import {
  classifyKey,
  compileLevelTable,
  type FlowKey,
  levelTableHolds,
  type Verdict,
  VERDICTS,
} from '@kedge/dataplane';
import { KedgeError, type Level, LEVELS } from '@kedge/units';
import { createHash } from 'node:crypto';

/** A level, built. */
export interface BuiltLevel {
  /** A whole `struct kedge_level_table`, its generation 0 until it is stamped. */
  readonly table: Buffer;
  readonly entries: number;
  readonly shapes: { readonly ip4: number; readonly ip6: number };
  readonly classify: boolean;
}

/** A set of accords and everything that was made of it. */
export interface BuiltTables {
  readonly set: AccordSet;
  readonly compiled: CompiledAccords;
  /** SHA-256 of accords, zones and the compiler's version. */
  readonly hash: Buffer;
  readonly levels: Readonly<Record<Level, BuiltLevel>>;
}

/** What identifies a set of accords in a bank. */
export function hashOf(set: AccordSet): Buffer {
  return createHash('sha256').update(accordsIdentity(set)).digest();
}

/**
 * Reads and validates both files.
 *
 * @throws KedgeError `ACCORD_UNREADABLE`, `ACCORD_SYNTAX`, `ACCORD_INVALID`, `ACCORD_LOOSENS`.
 */
export function readAccords(paths: { readonly accords: string; readonly zones: string }): AccordSet {
  const { accords, zones } = filesBehind(paths);
  return parseAccords(readAccordDocument('accords', accords), readAccordDocument('zones', zones));
}

/** How many random flows compiled tables are asked about; `random` gives whole numbers below its argument. */
export interface Probe {
  readonly flows: number;
  readonly random: (below: number) => number;
}

/**
 * Builds the tables of all levels and asks them about random flows.
 *
 * @throws KedgeError of `compileAccords`, of the table builder (`GOVERNANCE_*`), `ACCORD_TABLES_LOOSEN`.
 */
export function buildTables(set: AccordSet, probe: Probe): BuiltTables {
  const steps = buildSteps(set, probe);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/**
 * As {@link buildTables}, but step by step: with the most entries the whole takes longer than a heartbeat may be
 * late, so whoever serves meanwhile lets its event loop turn in between.
 */
export function* buildSteps(set: AccordSet, probe: Probe): Generator<undefined, BuiltTables, undefined> {
  const compiled = compileAccords(set.accords, set.zones);
  yield;
  const built: [Level, BuiltLevel][] = [];
  for (const level of LEVELS) {
    built.push([level, buildLevel(compiled.levels[level], level)]);
    yield;
  }
  const tables: BuiltTables = {
    set,
    compiled,
    hash: hashOf(set),
    levels: Object.fromEntries(built) as Record<Level, BuiltLevel>,
  };
  yield;
  const loosening = findLooseFlow(tables, probe);
  if (loosening !== undefined)
    throw new KedgeError({
      code: 'ACCORD_TABLES_LOOSEN',
      message:
        `cannot use the compiled tables: ${describeFlow(loosening.flow)} would ${loosening.lower.verdict} at level ` +
        `${String(loosening.lower.level)} but ${loosening.upper.verdict} at level ${String(loosening.upper.level)}`,
      expected: 'at every level the same as at the level above it, or tighter',
    });
  return tables;
}

function buildLevel(spec: CompiledAccords['levels'][Level], level: Level): BuiltLevel {
  const { table, report } = compileLevelTable(spec);
  if (!levelTableHolds(table, level, 0n))
    throw new KedgeError({
      code: 'ACCORD_TABLES_UNSOUND',
      message: `cannot use the table of level ${String(level)}: the core that built it refuses it`,
      help: 'this is a fault of the build: addon and data plane come from different releases',
    });
  return { table, entries: report.entries, shapes: report.shapes, classify: spec.flags.classify };
}

/** A flow that a lower level treats better than a higher one. */
export interface LooseFlow {
  readonly flow: FlowKey;
  readonly lower: { readonly level: Level; readonly verdict: Verdict };
  readonly upper: { readonly level: Level; readonly verdict: Verdict };
}

/** What is compared: the table of each level, however it was made. */
export type LevelTables = Readonly<Record<Level, { readonly table: Uint8Array }>>;

/**
 * Asks the tables about random flows, most of them near an entry, and finds one that is looser at a lower level
 * (PO-2); undefined when there was none. Flags are compared too, as they judge frames that are no flows.
 */
export function findLooseFlow(
  { compiled, levels }: { readonly compiled: CompiledAccords; readonly levels: LevelTables },
  { flows, random }: Probe,
): LooseFlow | undefined {
  const ascending = [...LEVELS].reverse();
  for (let count = 0; count < flows; count++) {
    const flow = randomFlow(compiled, random);
    let lower: LooseFlow['lower'] | undefined;
    for (const level of ascending) {
      const { verdict } = classifyKey(levels[level].table, flow);
      if (lower !== undefined && VERDICTS.indexOf(verdict) < VERDICTS.indexOf(lower.verdict))
        return { flow, lower, upper: { level, verdict } };
      lower = { level, verdict };
    }
  }
  return undefined;
}

const PROTOCOLS_ASKED = [1, 6, 17, 47, 50, 58, 89, 132, 253] as const;

function addressIn(prefix: string, family: 4 | 6, random: (below: number) => number): Uint8Array {
  const [address = '', length = '0'] = prefix.split('/');
  const bytes = bytesOf(address, family);
  const fixed = Number(length);
  // Now and then a bit of the prefix itself is turned, to fall just beside it.
  const beside = fixed > 0 && random(5) === 0 ? random(fixed) : -1;
  return bytes.map((byte, index) => {
    const keep = Math.min(8, Math.max(0, fixed - index * 8));
    const drawn = (byte & (0xff00 >> keep)) | (random(256) & (0xff >> keep));
    return index === beside >> 3 ? drawn ^ (0x80 >> (beside & 7)) : drawn;
  });
}

/** Bytes of an address in the canonical text that the compiler writes. */
function bytesOf(text: string, family: 4 | 6): Uint8Array {
  if (family === 4) return Uint8Array.from(text.split('.').map(Number));
  const [head = '', tail = ''] = text.split('::');
  const words = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((word) => parseInt(word, 16));
  const [before, after] = [words(head), words(tail)];
  const gap = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return Uint8Array.from([...before, ...gap, ...after].flatMap((word) => [word >> 8, word & 0xff]));
}

function randomFlow({ levels }: CompiledAccords, random: (below: number) => number): FlowKey {
  const { entries } = levels[5];
  const near = entries.length > 0 && random(4) > 0 ? entries[random(entries.length)] : undefined;
  const family = near?.family ?? (random(2) === 0 ? 4 : 6);
  const any = family === 4 ? '0.0.0.0/0' : '::/0';
  const blur = (value: number | undefined, below: number): number =>
    value === undefined || random(8) === 0 ? random(below) : value;
  return {
    family,
    source: addressIn(near?.sourcePrefix ?? any, family, random),
    destination: addressIn(near?.destinationPrefix ?? any, family, random),
    protocol:
      near?.protocol === undefined || random(8) === 0
        ? (PROTOCOLS_ASKED[random(PROTOCOLS_ASKED.length)] ?? 6)
        : near.protocol,
    sourcePort: blur(near?.sourcePort, 65_536),
    destinationPort: blur(near?.destinationPort, 65_536),
    sourceZone: blur(near?.sourceZone, 16),
    destinationZone: blur(near?.destinationZone, 16),
    laterFragment: random(16) === 0,
  };
}

function describeFlow(flow: FlowKey): string {
  const end = (address: string | Uint8Array, port: number | undefined): string =>
    `${typeof address === 'string' ? address : Buffer.from(address).toString('hex')} port ${String(port ?? 0)}`;
  return (
    `IPv${String(flow.family)} protocol ${String(flow.protocol)} from ${end(flow.source, flow.sourcePort)} in zone ` +
    `${String(flow.sourceZone)} to ${end(flow.destination, flow.destinationPort)} in zone ${String(flow.destinationZone)}`
  );
}

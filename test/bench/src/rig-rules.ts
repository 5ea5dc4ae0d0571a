/**
 * What the levels of the rig allow: four classes by their UDP port among as many entries as a site has.
 * Must not be computed from accords: what is measured is what packets cost, not what is compiled.
 */
import { buildLevelTable, type EntrySpec, type Verdict } from '@kedge/dataplane';
import type { Level } from '@kedge/units';

/** The zones of the two ports. */
export const RIG_ZONES = { in: 2, out: 3 } as const;
/** Entries of every level, those of the classes among them. */
export const RIG_ENTRIES = 4_096;

export type RigClass = 'management' | 'critical' | 'ordinary' | 'bulk';

interface ClassRule {
  readonly port: number;
  /** What each level does with it. */
  readonly verdict: Readonly<Record<Level, Verdict>>;
}

export const RIG_CLASSES: Readonly<Record<RigClass, ClassRule>> = {
  management: { port: 161, verdict: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'pass', 1: 'pass' } },
  critical: { port: 5060, verdict: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'pass', 1: 'drop' } },
  ordinary: { port: 443, verdict: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'drop', 1: 'drop' } },
  bulk: { port: 9000, verdict: { 5: 'pass', 4: 'pass', 3: 'deprioritise', 2: 'drop', 1: 'drop' } },
};

/** Whether a level lets the class through, before or after others. */
export const allowedAt = (name: RigClass, level: Level): boolean =>
  RIG_CLASSES[name].verdict[level] !== 'drop';

function entriesOf(level: Level): EntrySpec[] {
  const entries: EntrySpec[] = Object.values(RIG_CLASSES).map(({ port, verdict }, id) => ({
    ...{ id, family: 4, protocol: 17, destinationPort: port, verdict: verdict[level], rank: 100 },
    ...{ sourceZone: RIG_ZONES.in, destinationZone: RIG_ZONES.out },
  }));
  // By the sink's answer whoever is between learns where the sink is.
  entries.push({
    ...{ id: entries.length, family: 4, protocol: 17, sourcePort: 161, verdict: 'pass', rank: 100 },
    ...{ sourceZone: RIG_ZONES.out, destinationZone: RIG_ZONES.in },
  });
  for (let id = entries.length; id < RIG_ENTRIES; id += 1) {
    const host = `10.${String((id >> 8) & 255)}.${String(id & 255)}.1/32`;
    entries.push({
      ...{ id, family: 4, protocol: 17, destinationPrefix: host, destinationPort: 1024 + id },
      ...{ verdict: 'pass', rank: 50 },
    });
  }
  return entries;
}

/** The table of a level. The buffer is new and belongs to the caller. */
export function rigTable(level: Level, generation: bigint): Buffer {
  const pairs = Array.from({ length: 16 }, () => Array<Verdict>(16).fill('drop'));
  return buildLevelTable({
    level,
    generation,
    flags: { classify: level === 4, arp: true, neighbourDiscovery: true, icmpErrors: true },
    pairs,
    entries: entriesOf(level),
  });
}

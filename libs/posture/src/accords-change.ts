/**
 * What one set of accords permits that another does not: the direction of a change from the one to the other (PO-2).
 * It must not decide who may make the change; the authoriser does.
 */
import { type Level, LEVELS } from '@kedge/units';
import { TIERS } from '@kedge/contracts';

import { type AccordSet, authorityOf, effective, isLooserVerdict } from './accords.js';
import { pathsLoosenings } from './accords-paths.js';
import type { AllowlistEntry } from './zones.js';

/** Changes whenever the same accords would compile to other tables. */
const COMPILER = 'kedge-tables/1';

/** JSON of a value with the members of every object in order, so that equal values have equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** The text whose SHA-256 identifies a set: on disk, in a bank of the data plane, and in what is shown. */
export function accordsIdentity(set: AccordSet): string {
  return `${COMPILER}\n${canonical(set)}`;
}

/** A change from one set to another. */
export interface AccordsChange {
  /** `looser` where anything at any level is permitted that was not, or where that cannot be told. */
  readonly direction: 'none' | 'tighter' | 'looser';
  /** Levels at which more is permitted, by packets, paths or whoever may loosen; empty unless looser. */
  readonly looserAt: readonly Level[];
  /** The first thing that is looser, for people. */
  readonly because: string;
}

/**
 * The direction of a change. Exact for verdicts of entries and pairs that both sets have; entries that come or go
 * count as looser unless they come with the tightest verdict or go with the loosest, and a change of the zones
 * themselves, or of what an entry matches, cannot be told and counts as looser at every level.
 */
export function accordsChange(from: AccordSet, to: AccordSet): AccordsChange {
  if (accordsIdentity(from) === accordsIdentity(to)) return { direction: 'none', looserAt: [], because: '' };
  const untold = untoldOf(from, to);
  const found = LEVELS.flatMap((level) => {
    const what = untold ?? looserAt(from, to, level);
    return what === undefined ? [] : [{ level, what }];
  });
  const [first] = found;
  return first === undefined
    ? { direction: 'tighter', looserAt: [], because: '' }
    : {
        direction: 'looser',
        looserAt: found.map(({ level }) => level),
        because: `level ${first.level}: ${first.what}`,
      };
}

/** Why the flows of the two sets cannot be compared, if so. */
function untoldOf(from: AccordSet, to: AccordSet): string | undefined {
  const bare = <T extends object>(rows: readonly T[]): string =>
    canonical(rows.map((row) => ({ ...row, description: '' })));
  if (bare(from.zones.zones) !== bare(to.zones.zones)) return 'the zones themselves changed';
  const before = new Map(from.zones.entries.map((entry) => [entry.name, entry]));
  const other = to.zones.entries.find((entry) => {
    const old = before.get(entry.name);
    return old !== undefined && bare([old]) !== bare([entry]);
  });
  return other === undefined ? undefined : `entry ${other.name} matches other traffic`;
}

/** What a level permits in `to` and not in `from`; undefined = nothing. */
function looserAt(from: AccordSet, to: AccordSet, level: Level): string | undefined {
  const [old, next] = [from.accords.levels[level], to.accords.levels[level]];
  const [before, after] = [effective(old), effective(next)];
  for (const a of to.zones.zones)
    for (const b of to.zones.zones)
      if (isLooserVerdict(after.pair(a.name, b.name), before.pair(a.name, b.name)))
        return `traffic from ${a.name} to ${b.name}`;
  const names = (entries: readonly AllowlistEntry[]): ReadonlySet<string> =>
    new Set(entries.map(({ name }) => name));
  const [had, has] = [names(from.zones.entries), names(to.zones.entries)];
  for (const entry of to.zones.entries)
    for (const mirror of entry.bidirectional ? [false, true] : [false]) {
      const was = had.has(entry.name) ? before.entry(entry, mirror) : 'drop';
      if (isLooserVerdict(after.entry(entry, mirror), was)) return `entry ${entry.name}`;
    }
  for (const entry of from.zones.entries)
    for (const mirror of entry.bidirectional ? [false, true] : [false])
      if (!has.has(entry.name) && before.entry(entry, mirror) !== 'pass')
        return `entry ${entry.name} is gone`;
  for (const leaf of ['arp', 'neighbourDiscovery', 'icmpErrors'] as const)
    if (next[leaf] && !old[leaf]) return leaf;
  if (old.deepClassification && !next.deepClassification) return 'traffic is looked at less closely';
  const [path] = pathsLoosenings(next, old);
  return path?.what ?? looserAuthority(from, to, level);
}

/** Whoever may loosen to a level now and might not before; at level 1, the ways by which it is left. */
function looserAuthority(from: AccordSet, to: AccordSet, level: Level): string | undefined {
  const [old, next] = [authorityOf(from.accords), authorityOf(to.accords)];
  if (level === 1) {
    const exit = next.leaveLockdownChannels.find((channel) => !old.leaveLockdownChannels.includes(channel));
    return exit === undefined ? undefined : `it may be left by ${exit}`;
  }
  if (TIERS.indexOf(next[level].deescalationTier) > TIERS.indexOf(old[level].deescalationTier))
    return `the tier ${next[level].deescalationTier} may loosen to it`;
  return old[level].secondFactor && !next[level].secondFactor ? 'no second factor is needed' : undefined;
}

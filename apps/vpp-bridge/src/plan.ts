/**
 * What a change to another level would do to the traffic that was seen (PO-23).
 * It must stay a pure function: it reads nothing and changes nothing.
 */
import type { PlanRow } from '@kedge/bus';
import {
  type CompiledAccords,
  isLooserVerdict,
  type LevelSpec,
  type Verdict,
  type Zones,
} from '@kedge/posture';
import type { Level } from '@kedge/units';

import type { Counted } from './hit-history.js';

/** What a change does to traffic. */
export type Effect = 'unchanged' | 'cut' | 'deprioritised' | 'restored';

/** The effect of moving from one verdict to another. */
export function effectOf(now: Verdict, then: Verdict): Effect {
  if (now === then) return 'unchanged';
  if (isLooserVerdict(then, now)) return 'restored';
  return then === 'drop' ? 'cut' : 'deprioritised';
}

const EFFECT_ORDER: readonly Effect[] = ['cut', 'deprioritised', 'restored', 'unchanged'];

/**
 * One row for each direction between two zones and each entry that had traffic, most packets first within an
 * effect. Traffic of an entry that the accords no longer have counts as its pair's.
 */
export function planOf({
  counted,
  compiled,
  zones,
  from,
  to,
}: {
  readonly counted: readonly Counted[];
  readonly compiled: CompiledAccords;
  readonly zones: Zones;
  readonly from: Level;
  readonly to: Level;
}): PlanRow[] {
  const names = new Map(zones.zones.map(({ id, name }) => [id, name]));
  const verdicts = { now: verdictsOf(compiled.levels[from]), then: verdictsOf(compiled.levels[to]) };
  const entryIds = new Map<string, number>();
  for (const [id, { name, fromZone, toZone }] of compiled.labels.entries())
    entryIds.set(`${fromZone} ${toZone} ${name}`, id);

  const rows = new Map<string, PlanRow & { readonly effect: Effect }>();
  for (const { fromZone, toZone, entry, packets } of counted) {
    const [source, destination] = [nameOf(names, fromZone), nameOf(names, toZone)];
    const id = entry === '' ? undefined : entryIds.get(`${source} ${destination} ${entry}`);
    const of = ({ pair, entry: byId }: ReturnType<typeof verdictsOf>): Verdict =>
      (id === undefined ? undefined : byId(id)) ?? pair(fromZone, toZone);
    const [verdictNow, verdictThen] = [of(verdicts.now), of(verdicts.then)];
    const shown = id === undefined ? '' : entry;
    const key = `${source} ${destination} ${shown}`;
    rows.set(key, {
      fromZone: source,
      toZone: destination,
      entry: shown,
      verdictNow,
      verdictThen,
      effect: effectOf(verdictNow, verdictThen),
      packets: packets + (rows.get(key)?.packets ?? 0n),
    });
  }
  return [...rows.values()].sort(
    (a, b) =>
      EFFECT_ORDER.indexOf(a.effect) - EFFECT_ORDER.indexOf(b.effect) ||
      (a.packets === b.packets ? 0 : a.packets < b.packets ? 1 : -1) ||
      `${a.fromZone} ${a.toZone} ${a.entry}`.localeCompare(`${b.fromZone} ${b.toZone} ${b.entry}`, 'en'),
  );
}

function verdictsOf(spec: LevelSpec): {
  readonly pair: (fromZone: number, toZone: number) => Verdict;
  readonly entry: (id: number) => Verdict | undefined;
} {
  return {
    pair: (fromZone, toZone) => spec.pairs[fromZone]?.[toZone] ?? 'drop',
    entry: (id) => spec.entries[id]?.verdict,
  };
}

function nameOf(names: ReadonlyMap<number, string>, id: number): string {
  return names.get(id) ?? (id === 0 ? 'none' : `zone-${String(id)}`);
}

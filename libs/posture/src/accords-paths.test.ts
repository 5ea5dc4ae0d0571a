import { DRIFT_SEVERITIES, type Tier, TIERS } from '@kedge/contracts';
import { type Level, LEVELS } from '@kedge/units';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type Accords, parseAccords } from './accords.js';
import {
  allowsRoute,
  EXEMPT_PROTOCOLS,
  GATE_ANSWERS,
  gateAnswer,
  NOTHING_ALLOWED,
  type PathsAccord,
  pathsLoosenings,
  REMEDIATIONS,
  remediationOf,
  ROUTE_MODES,
  ROUTE_PURPOSES,
  type RouteMode,
  type RoutePurpose,
  type UnderlayAccord,
} from './accords-paths.js';

const YANG = join(import.meta.dirname, '../../../yang/defaults');
const file = (name: string): unknown => JSON.parse(readFileSync(join(YANG, name), 'utf8'));
const defaults = (): Accords => parseAccords(file('accords.json'), file('zones.json')).accords;

const scope = fc.record({
  purposes: fc.subarray([...ROUTE_PURPOSES]),
  minimumTier: fc.constantFrom(...TIERS),
});
const tier = fc.constantFrom(...TIERS);
const underlay: fc.Arbitrary<UnderlayAccord> = fc.oneof(
  fc.constantFrom<UnderlayAccord>({ gate: 'open' }, { gate: 'frozen' }),
  fc.record({ gate: fc.constant('tiers' as const), executeTier: tier, proposeTier: tier }),
  fc.record({ gate: fc.constant('emergency-only' as const), executeTier: tier }),
);
const remedies = fc
  .subarray([...DRIFT_SEVERITIES])
  .chain((named) =>
    fc.tuple(...named.map((one) => fc.constantFrom(...REMEDIATIONS).map((what) => [one, what]))),
  )
  .map((rows) => ({ intervalS: 60, remedies: Object.fromEntries(rows) as Record<string, never> }));
const accord: fc.Arbitrary<PathsAccord> = fc
  .record({
    drift: fc.option(remedies, { nil: undefined }),
    protect: fc.boolean(),
    exempt: fc.subarray([...EXEMPT_PROTOCOLS]),
    overlay: scope,
    underlayRoutes: scope,
    underlay,
    unrecorded: fc.boolean(),
  })
  .map(({ protect, exempt, overlay, underlayRoutes, underlay: gate, unrecorded, drift }) => ({
    ...(unrecorded ? { unrecordedChanges: true as const } : {}),
    overlay: { routes: { protect, exempt: protect ? exempt : [], overlay, underlay: underlayRoutes } },
    underlay: { ...gate, ...(drift === undefined ? {} : { drift }) },
  }));

/** Everything that an accord of one level lets happen, as words. */
function permitted({ overlay, underlay: gate, unrecordedChanges }: PathsAccord): Set<string> {
  const all = new Set<string>();
  for (const severity of DRIFT_SEVERITIES) {
    const remedy = REMEDIATIONS.indexOf(remediationOf(gate, severity));
    if (remedy >= 1) all.add(`propose to remedy ${severity}`);
    if (remedy >= 2) all.add(`remedy ${severity}`);
  }
  if (unrecordedChanges === true) all.add('change without a record');
  if (!overlay.routes.protect) all.add('everything');
  for (const protocol of EXEMPT_PROTOCOLS)
    if (!overlay.routes.protect || overlay.routes.exempt.includes(protocol)) all.add(protocol);
  for (const least of TIERS) {
    for (const mode of ROUTE_MODES)
      for (const purpose of ROUTE_PURPOSES)
        if (allowsRoute(overlay, { mode, purpose, tier: least })) all.add(`${mode} ${purpose} ${least}`);
    for (const kind of ['ordinary', 'emergency'] as const) {
      const answer = GATE_ANSWERS.indexOf(gateAnswer(gate, { tier: least, kind }));
      if (answer >= 1) all.add(`propose ${kind} ${least}`);
      if (answer >= 2) all.add(`execute ${kind} ${least}`);
    }
  }
  return all;
}

describe('overlay and underlay of the accords', () => {
  it('PO-1 the defaults leave of the routes what the table of the overlay says', () => {
    const { levels } = defaults();
    const tiersOf = (level: Level, mode: RouteMode, purpose: RoutePurpose): readonly Tier[] =>
      TIERS.filter((least) => allowsRoute(levels[level].overlay, { mode, purpose, tier: least }));
    const everybody = [...TIERS];
    const masters = ['site_owner', 'master'];
    for (const purpose of ROUTE_PURPOSES) {
      const critical = purpose === 'management' || purpose === 'incident-response';
      expect(LEVELS.map((level) => [level, tiersOf(level, 'overlay', purpose)])).toEqual([
        [5, everybody],
        [4, everybody],
        [3, everybody],
        [2, critical ? everybody : []],
        [1, []],
      ]);
      expect(LEVELS.map((level) => [level, tiersOf(level, 'underlay', purpose)])).toEqual([
        [5, everybody],
        [4, everybody],
        [3, masters],
        [2, purpose === 'ordinary' ? [] : masters],
        [1, purpose === 'monitoring' ? masters : []],
      ]);
    }
    expect(LEVELS.map((level) => levels[level].overlay.routes.protect)).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
  });

  it('PO-1 the defaults shut the gate as the table of the underlay says', () => {
    const { levels } = defaults();
    const answers = (level: Level, kind: 'ordinary' | 'emergency'): string[] =>
      TIERS.map((least) => gateAnswer(levels[level].underlay, { tier: least, kind }));
    const all = (answer: string): string[] => TIERS.map(() => answer);
    expect(LEVELS.map((level) => answers(level, 'ordinary'))).toEqual([
      all('execute'),
      all('execute'),
      ['execute', 'execute', 'propose', 'propose'],
      all('refuse'),
      all('refuse'),
    ]);
    expect(LEVELS.map((level) => answers(level, 'emergency'))).toEqual([
      all('execute'),
      all('execute'),
      ['execute', 'execute', 'propose', 'propose'],
      ['execute', 'refuse', 'refuse', 'refuse'],
      all('refuse'),
    ]);
  });

  it('PO-1 the defaults look at devices every five minutes, from level 4 on every minute, and remedy nothing at 2 and 1', () => {
    const { levels } = defaults();
    const remedied = (level: Level): string[] =>
      DRIFT_SEVERITIES.map((severity) => remediationOf(levels[level].underlay, severity));
    const proposed = ['none', 'none', 'proposed', 'proposed'];
    const nothing = DRIFT_SEVERITIES.map(() => 'none');
    expect(LEVELS.map((level) => [level, levels[level].underlay.drift?.intervalS, remedied(level)])).toEqual([
      [5, 300, proposed],
      [4, 60, proposed],
      [3, 60, proposed],
      [2, 60, nothing],
      [1, 60, nothing],
    ]);
  });

  it('PO-2 a level is held for looser exactly when it permits something that the level above does not', () => {
    let [looser, tighter] = [0, 0];
    fc.assert(
      fc.property(accord, accord, (lower, upper) => {
        const above = permitted(upper);
        const more = [...permitted(lower)].filter((one) => !above.has(one));
        const found = pathsLoosenings(lower, upper);
        expect(found.length > 0).toBe(more.length > 0);
        if (found.length > 0) looser++;
        else tighter++;
      }),
      { numRuns: 2000 },
    );
    expect(Math.min(looser, tighter)).toBeGreaterThan(20);
  });

  it('PO-2 a looser rule at a lower level is refused with its path and the reason', () => {
    const document = file('accords.json') as {
      'kedge-accords:accords': { level: { number: number; underlay: unknown }[] };
    };
    for (const level of document['kedge-accords:accords'].level)
      if (level.number === 2) level.underlay = { gate: { mode: 'open' } };
    expect(() => parseAccords(document, file('zones.json'))).toThrow(
      expect.objectContaining({
        code: 'ACCORD_LOOSENS',
        field: "/kedge-accords:accords/level[number='2']/underlay/gate/mode",
        message: expect.stringContaining(
          'an ordinary mutation of tier journeyman is executed at level 2 but only proposed at level 3',
        ),
      }),
    );
  });

  it('PO-2 where no accord can be read nothing is permitted', () => {
    for (const level of LEVELS) expect([...permitted(NOTHING_ALLOWED[level])]).toEqual([]);
  });
});

import { type Plan, TIERS } from '@kedge/contracts';
import { ROUTE_MODES, ROUTE_PURPOSES, type OverlayAccord } from '@kedge/posture';
import { checkPlan, inverseOf } from '@kedge/reconcile';
import type { Epoch } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { batchesOf, batchLines, isProtected, planOf, worldDifferences } from './route-plan.js';
import { routesAllowed, type RouteSpec } from './route-spec.js';
import { desiredRoutes, type KernelEntry, type RouteWorld } from './route-world.js';

const EPOCH = 7n as Epoch;
const EVERYTHING = { purposes: [...ROUTE_PURPOSES], minimumTier: 'apprentice' as const };
const CRITICAL = {
  purposes: ['management', 'incident-response'] as const,
  minimumTier: 'apprentice' as const,
};
const NOTHING = { purposes: [], minimumTier: 'site_owner' as const };
const accord = (
  scope: OverlayAccord['routes']['overlay'],
  protect: boolean,
  exempt: OverlayAccord['routes']['exempt'] = [],
): { overlay: OverlayAccord } => ({
  overlay: { routes: { overlay: scope, underlay: scope, protect, exempt } },
});
const NORMAL = accord(EVERYTHING, false);
const EMERGENCY = accord(CRITICAL, true, ['dhcp']);
const LOCKDOWN = accord(NOTHING, true);
const ACCORDS = [
  NORMAL,
  EMERGENCY,
  LOCKDOWN,
  accord(EVERYTHING, true, ['bgp', 'bfd']),
  accord(CRITICAL, false),
];

const route = (destination: string, more: Partial<RouteSpec> = {}): RouteSpec => ({
  destination,
  dev: 'mesh0',
  mode: 'overlay',
  purpose: 'ordinary',
  tier: 'journeyman',
  ...more,
});
const SITE = [
  route('10.80.0.0/16', { via: '10.7.0.2' }),
  route('10.81.0.0/24', { purpose: 'management', metric: 50 }),
  route('fd80::/32', { via: 'fe80::2', purpose: 'incident-response' }),
  route('10.90.0.0/16', { mode: 'underlay', purpose: 'monitoring' }),
];
const empty = (mode: RouteWorld['mode'] = 'overlay'): RouteWorld => ({ mode, entries: [], strangers: [] });

const linesOf = (plan: Plan): string[] => batchLines(plan.steps).map(({ line }) => line);

const specs: fc.Arbitrary<RouteSpec[]> = fc.array(
  fc
    .record({
      destination: fc.oneof(
        fc.nat(20).map((n) => `10.${String(n)}.0.0/16`),
        fc.nat(20).map((n) => `fd${String(n + 10)}::/32`),
      ),
      via: fc.boolean(),
      dev: fc.constantFrom('mesh0', 'eth1'),
      metric: fc.constantFrom(0, 50, 1024),
      mode: fc.constantFrom(...ROUTE_MODES),
      purpose: fc.constantFrom(...ROUTE_PURPOSES),
      tier: fc.constantFrom(...TIERS),
    })
    .map(({ via, ...rest }): RouteSpec => ({
      ...rest,
      ...(via ? { via: rest.destination.includes(':') ? 'fe80::2' : '10.7.0.2' } : {}),
    })),
  { maxLength: 30 },
);
const level = fc.constantFrom(...ACCORDS);
/** What somebody did by hand with our protocol number: taken away, changed, put elsewhere, doubled. */
const hands = fc.array(fc.record({ at: fc.nat(60), what: fc.constantFrom('take', 'change', 'double') }), {
  maxLength: 10,
});

function disturbed(world: RouteWorld, changes: readonly { at: number; what: string }[]): RouteWorld {
  const entries = [...world.entries];
  for (const { at, what } of changes) {
    const place = at % Math.max(1, entries.length);
    const entry = entries[place];
    if (entry === undefined) continue;
    // One key may hold several things, but never the same thing twice.
    const other = { ...entry, text: `${entry.text} mtu 1300` };
    const free = !entries.some(({ key, text }) => key === entry.key && text === other.text);
    if (what === 'take') entries.splice(place, 1);
    else if (what === 'change' && free) entries[place] = other;
    else if (what === 'double' && free) entries.push(other);
  }
  return { ...world, entries };
}

/** A kernel: refuses to add what is there and to delete what is not, and holds one thing per text and family. */
function applied(world: RouteWorld, plan: Plan, desired: RouteWorld): RouteWorld {
  const there = new Map(world.entries.map((entry) => [`${String(entry.family)} ${entry.text}`, entry]));
  const named = new Map<string, KernelEntry>(
    [...world.entries, ...desired.entries].map((entry) => [`${entry.key} ${entry.text}`, entry]),
  );
  for (const { line, step } of batchLines(plan.steps)) {
    const [, verb, text] = /^(?:route|rule) (add|del) (.*)$/.exec(line) ?? [];
    const key = step.id
      .split(' ')
      .slice(0, step.id.startsWith('rule') ? 3 : 4)
      .join(' ');
    const entry = named.get(`${key} ${text ?? ''}`);
    expect(entry, line).toBeDefined();
    if (entry === undefined) continue;
    const name = `${String(entry.family)} ${entry.text}`;
    expect(there.has(name), line).toBe(verb === 'del');
    if (verb === 'del') there.delete(name);
    else {
      // The kernel knows a route by table, destination and metric; of rules it takes several per preference.
      if (entry.kind === 'route')
        expect(
          [...there.values()].some(({ key: other }) => other === entry.key),
          line,
        ).toBe(false);
      there.set(name, entry);
    }
  }
  return { ...world, entries: [...there.values()] };
}

const sorted = ({ entries }: RouteWorld): string[] =>
  entries.map(({ family, text }) => `${String(family)} ${text}`).sort();

describe('a plan of routes', () => {
  it('OV-13 is a file for ip -batch that tightens: guard table, rules, then withdrawal', () => {
    const normal = desiredRoutes(SITE, NORMAL, 'overlay');
    expect(linesOf(planOf(empty(), normal, EPOCH))).toEqual([
      'route add 10.80.0.0/16 via 10.7.0.2 dev mesh0 onlink table 254 metric 18600 proto 107',
      'route add 10.81.0.0/24 dev mesh0 table 254 metric 50 proto 107',
      'route add fd80::/32 via fe80::2 dev mesh0 onlink table 254 metric 18600 proto 107',
    ]);
    const emergency = desiredRoutes(SITE, EMERGENCY, 'overlay');
    expect(linesOf(planOf(normal, emergency, EPOCH))).toEqual([
      'route add 10.81.0.0/24 dev mesh0 table 10700 metric 50 proto 107',
      'route add fd80::/32 via fe80::2 dev mesh0 onlink table 10700 metric 18600 proto 107',
      'rule add pref 100 lookup 10700 protocol 107',
      'rule add pref 110 iif lo ipproto udp dport 547 lookup 254 protocol 107',
      'rule add pref 149 prohibit protocol 107',
      'rule add pref 100 lookup 10700 protocol 107',
      'rule add pref 110 iif lo ipproto udp dport 67 lookup 254 protocol 107',
      'rule add pref 149 prohibit protocol 107',
      'route del 10.80.0.0/16 via 10.7.0.2 dev mesh0 onlink table 254 metric 18600 proto 107',
    ]);
    expect(linesOf(planOf(emergency, desiredRoutes(SITE, LOCKDOWN, 'overlay'), EPOCH))).toEqual([
      'route del 10.81.0.0/24 dev mesh0 table 10700 metric 50 proto 107',
      'route del fd80::/32 via fe80::2 dev mesh0 onlink table 10700 metric 18600 proto 107',
      'route del 10.81.0.0/24 dev mesh0 table 254 metric 50 proto 107',
      'route del fd80::/32 via fe80::2 dev mesh0 onlink table 254 metric 18600 proto 107',
      'rule del pref 110 iif lo ipproto udp dport 67 lookup 254 protocol 107',
      'rule del pref 110 iif lo ipproto udp dport 547 lookup 254 protocol 107',
    ]);
  });

  it('OV-13 is one batch per family, and one line for all routes where none is left', () => {
    const normal = desiredRoutes(SITE, NORMAL, 'overlay');
    const lockdown = planOf(normal, desiredRoutes(SITE, LOCKDOWN, 'overlay'), EPOCH);
    expect(batchesOf(lockdown, 107).map(({ family, text }) => [family, text.split('\n')])).toEqual(
      ([4, 6] as const).map((family) => [
        family,
        [
          'rule add pref 100 lookup 10700 protocol 107',
          'rule add pref 149 prohibit protocol 107',
          'route flush table all proto 107',
          '',
        ],
      ]),
    );
    // A part of it, its inverse, or what leaves something, goes line by line.
    const emergency = planOf(normal, desiredRoutes(SITE, EMERGENCY, 'overlay'), EPOCH);
    for (const plan of [{ ...lockdown, steps: lockdown.steps.slice(1) }, inverseOf(lockdown), emergency]) {
      const batches = batchesOf(plan, 107);
      expect(batches.map(({ text }) => text).join('')).not.toContain('flush');
      for (const { steps, text } of batches)
        expect(text).toBe(
          batchLines(steps)
            .map(({ line }) => `${line}\n`)
            .join(''),
        );
      expect(batches.flatMap(({ steps }) => steps.map(({ id }) => id)).sort()).toEqual(
        plan.steps.map(({ id }) => id).sort(),
      );
    }
  });

  it('OV-13 loosens the other way round: routes, then the prohibition, the guard table last', () => {
    const actual = desiredRoutes(SITE, EMERGENCY, 'overlay');
    expect(linesOf(planOf(actual, desiredRoutes(SITE, NORMAL, 'overlay'), EPOCH))).toEqual([
      'route add 10.80.0.0/16 via 10.7.0.2 dev mesh0 onlink table 254 metric 18600 proto 107',
      'rule del pref 149 prohibit protocol 107',
      'rule del pref 100 lookup 10700 protocol 107',
      'rule del pref 110 iif lo ipproto udp dport 67 lookup 254 protocol 107',
      'rule del pref 149 prohibit protocol 107',
      'rule del pref 100 lookup 10700 protocol 107',
      'rule del pref 110 iif lo ipproto udp dport 547 lookup 254 protocol 107',
      'route del 10.81.0.0/24 dev mesh0 table 10700 metric 50 proto 107',
      'route del fd80::/32 via fe80::2 dev mesh0 onlink table 10700 metric 18600 proto 107',
    ]);
  });

  it('OV-13 leads from any state to what is desired, and then there is nothing to do', () => {
    let changed = 0;
    fc.assert(
      fc.property(
        specs,
        specs,
        level,
        level,
        hands,
        fc.constantFrom(...ROUTE_MODES),
        (old, now, a, b, by, mode) => {
          const actual = disturbed(desiredRoutes(old, a, mode), by);
          const desired = desiredRoutes(now, b, mode);
          const plan = planOf(actual, desired, EPOCH);
          checkPlan(plan);
          const after = applied(actual, plan, desired);
          expect(sorted(after)).toEqual(sorted(desired));
          expect(planOf(after, desired, EPOCH).steps).toEqual([]);
          expect(worldDifferences(after, desired)).toEqual([]);
          expect(worldDifferences(actual, desired).length > 0).toBe(plan.steps.length > 0);
          changed += plan.steps.length;
        },
      ),
      { numRuns: 400 },
    );
    expect(changed).toBeGreaterThan(1000);
  });

  it('OV-14 is undone by its inverse, wherever it was interrupted', () => {
    fc.assert(
      fc.property(specs, specs, level, level, hands, fc.nat(60), (old, now, a, b, by, length) => {
        // What is there twice was appended; a plan adds, and need not bring that back.
        const once = by.filter(({ what }) => what !== 'double');
        const actual = disturbed(desiredRoutes(old, a, 'overlay'), once);
        const desired = desiredRoutes(now, b, 'overlay');
        const plan = planOf(actual, desired, EPOCH);
        const part = { ...plan, steps: plan.steps.slice(0, length) };
        const halfway = applied(actual, part, desired);
        expect(sorted(applied(halfway, inverseOf(part), actual))).toEqual(sorted(actual));
      }),
      { numRuns: 300 },
    );
  });

  it('OV-14 gives back after any tightening what was there, less what was deleted, plus what was added and is allowed', () => {
    fc.assert(
      fc.property(specs, specs, fc.nat(30), level, level, (before, added, gone, tight, loose) => {
        const set = [
          ...new Map([...before.slice(gone), ...added].map((one) => [one.destination, one])).values(),
        ];
        let world = desiredRoutes(before, NORMAL, 'overlay');
        for (const [items, at] of [
          [before, tight],
          [set, tight],
          [set, loose],
        ] as const) {
          const desired = desiredRoutes(items, at, 'overlay');
          world = applied(world, planOf(world, desired, EPOCH), desired);
        }
        const main = world.entries
          .filter(({ table }) => table === 'main')
          .map(({ key }) => key.split(' ')[2]);
        expect(main.sort()).toEqual(
          routesAllowed(set, loose)
            .filter(({ mode }) => mode === 'overlay')
            .map(({ destination }) => destination)
            .sort(),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('OV-13 mentions its own protocol number in every line and no other mode', () => {
    let lines = 0;
    fc.assert(
      fc.property(specs, level, level, hands, fc.constantFrom(...ROUTE_MODES), (all, a, b, by, mode) => {
        const plan = planOf(disturbed(desiredRoutes(all, a, mode), by), desiredRoutes(all, b, mode), EPOCH);
        for (const line of linesOf(plan)) {
          expect(line).toMatch(mode === 'overlay' ? / proto(col)? 107( |$)/ : / proto(col)? 108( |$)/);
          lines++;
        }
      }),
    );
    expect(lines).toBeGreaterThan(100);
  });

  it('OV-15 at no step of a tightening or loosening is an allowed destination prohibited', () => {
    let guarded = 0;
    fc.assert(
      fc.property(specs, level, level, (all, a, b) => {
        const [from, to] = [desiredRoutes(all, a, 'overlay'), desiredRoutes(all, b, 'overlay')];
        const guard = ({ entries }: RouteWorld): string[] =>
          entries.filter(({ table }) => table === 'guard').map(({ key }) => key);
        const main = ({ entries }: RouteWorld): string[] =>
          entries
            .filter(({ table }) => table === 'main')
            .map(({ key }) => key.replace('route 254 ', 'route 10700 '));
        const kept = main(from).filter((key) => main(to).includes(key));
        const plan = planOf(from, to, EPOCH);
        let world = from;
        for (let length = 1; length <= plan.steps.length; length++) {
          world = applied(world, { ...plan, steps: plan.steps.slice(length - 1, length) }, to);
          const routed = isProtected(world) ? guard(world) : main(world);
          expect(routed).toEqual(expect.arrayContaining(kept));
          // Looked up before the prohibition, in each family.
          for (const family of [4, 6])
            if (world.entries.some((entry) => entry.family === family && entry.text.includes(' prohibit ')))
              expect(
                world.entries.some(
                  (entry) => entry.family === family && entry.text.startsWith('pref 100 lookup'),
                ),
              ).toBe(true);
          guarded += isProtected(world) ? kept.length : 0;
        }
      }),
    );
    expect(guarded).toBeGreaterThan(50);
  });

  it('OV-15 a rule of somebody else ahead of the prohibition is a difference where it protects', () => {
    const desired = desiredRoutes(SITE, EMERGENCY, 'overlay');
    const actual = { ...desired, strangers: ['ipv4 pref 5 lookup 254'] };
    expect(worldDifferences(actual, desired)).toEqual([
      "a rule of somebody else's is asked first: ipv4 pref 5 lookup 254",
    ]);
    const normal = desiredRoutes(SITE, NORMAL, 'overlay');
    expect(worldDifferences({ ...normal, strangers: actual.strangers }, normal)).toEqual([]);
  });

  it('names the same base whatever the order in which it was read', () => {
    const world = desiredRoutes(SITE, NORMAL, 'overlay');
    const reversed = { ...world, entries: world.entries.toReversed() };
    const target = desiredRoutes(SITE, LOCKDOWN, 'overlay');
    expect(planOf(reversed, target, EPOCH).base).toBe(planOf(world, target, EPOCH).base);
    expect(planOf(empty(), target, EPOCH).base).not.toBe(planOf(world, target, EPOCH).base);
  });
});

/**
 * Any sequence of commits, faults, foreign changes, levels, restarts and questions: what has to hold all the time, and
 * that the device is as intended in the end.
 */
import { type DeviceObjects, madeTree, type MadeFeatures, objectsOf, picksFrom } from '@kedge/driver-kit';
import type { deviceTree } from '@kedge/intent-model';
import { LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ADA, type Fate, PORTS, World } from './world.js';

const FEATURES: MadeFeatures = {
  ports: PORTS,
  bridges: 2,
  vlans: false,
  routes: true,
  tunnels: [],
  filters: false,
  details: true,
};
const trees = fc.integer().map((seed) => madeTree(picksFrom(seed), FEATURES));
const fate = fc.constantFrom<Fate>('well', 'well', 'well', 'fails', 'lost', 'half', 'never');
const action = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('run' as const),
      fates: fc.array(fate, { minLength: 1, maxLength: 6 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('intend' as const), tree: trees }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('back' as const), to: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('meddle' as const), pick: fc.nat(50) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('level' as const),
      level: fc.constantFrom(...LEVELS, 5, 5, 4, 3, 3),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('pass' as const), seconds: fc.integer({ min: 0, max: 400 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), isDone: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('check' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remedy' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('clock' as const), hours: fc.integer({ min: -48, max: 2 }) }),
  },
);

/** What the device has to hold of what intent can have a say in. */
function governed(objects: DeviceObjects, intended: DeviceObjects): string[] {
  return [...objects.values()]
    .filter(
      ({ kind, path, interface: name = '' }) =>
        // The link of a port of the inventory stays as it is when nobody speaks of it.
        !(PORTS.includes(name) && !intended.has(path) && (kind === 'interface' || kind === 'enabled')),
    )
    .map(({ path, value }) => `${path} ${JSON.stringify(value)}`)
    .sort();
}

describe('one device, whatever happens', () => {
  it('UN-3 UN-6 UN-14 comes to what is intended when it is let, never writes at 2 or 1, never twice at once', async () => {
    let plans = 0;
    await fc.assert(
      fc.asyncProperty(trees, fc.array(action, { minLength: 5, maxLength: 60 }), async (first, actions) => {
        const world = new World();
        const all: deviceTree.DeviceTree[] = [{}, first];
        world.intend(first);
        let asked = 0;
        for (const each of actions) {
          switch (each.do) {
            case 'run':
              for (const one of each.fates) await world.run(one);
              break;
            case 'intend':
              all.push(each.tree);
              world.intend(each.tree);
              break;
            case 'back':
              world.intend(all[each.to % all.length] ?? {});
              break;
            case 'meddle':
              world.meddle(each.pick);
              break;
            case 'level':
              world.move(each.level);
              break;
            case 'pass':
              world.pass(each.seconds);
              break;
            case 'restart':
              world.answers.clear();
              asked = 0;
              await world.restart(each.isDone);
              break;
            case 'check':
              world.ask({ what: 'check', id: `ask-${String((asked += 1))}` });
              break;
            case 'remedy':
              world.ask({ what: 'remedy', id: `ask-${String((asked += 1))}`, by: ADA, path: undefined });
              break;
            case 'clock':
              world.wallMs += each.hours * 3_600_000;
              break;
          }
        }
        world.move(5);
        // Tries that failed may have to wait, and so may remedies that were too many.
        for (let turn = 0; turn < 30; turn += 1) {
          await world.settle();
          world.pass(300);
        }
        await world.settle();
        plans += world.works.length;
        const intended = objectsOf(world.intended?.tree ?? {});
        expect(governed(objectsOf(world.reading.tree), intended)).toEqual(governed(intended, intended));
        expect(world.answers.size).toBe(asked);
        // Every difference that appeared is cleared: nothing differs any more.
        const open = new Set<string>();
        const isSure = actions.every(
          (each) => each.do !== 'restart' && (each.do !== 'run' || each.fates.every((one) => one === 'well')),
        );
        for (const { kind, drift } of world.told)
          if (kind !== 'cleared') open.add(drift.path);
          // What the ledger may not have got is cleared all the same.
          else if (!open.delete(drift.path)) expect(isSure).toBe(false);
        expect([...open]).toEqual([]);
      }),
      { numRuns: 200 },
    );
    expect(plans).toBeGreaterThan(300);
  });
});

import { type Epoch, type Level, LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { allowedAt, type DesiredKind, desiredSet, type DesiredSet } from './desired-set.js';
import {
  type Edit,
  editedSet,
  isFirstEscalation,
  preEscalationSnapshot,
  restorationAt,
} from './escalation.js';

/** A route in small: `from` is the tightest level that allows it. */
interface Route {
  readonly to: string;
  readonly metric: number;
  readonly from: Level;
}
const kind: DesiredKind<Route> = {
  schema: 'kedge.small-routes/1',
  keyOf: ({ to }) => to,
  parse: (value) => value as Route,
};
const allows = (route: Route, level: Level): boolean => level >= route.from;
const same = (a: Route, b: Route): boolean => a.metric === b.metric && a.from === b.from;
const level = fc.constantFrom(...LEVELS);
const route = fc.record({ to: fc.constantFrom(...'abcdefgh'), metric: fc.nat(3), from: level });
const routes = fc.uniqueArray(route, { selector: ({ to }) => to });
const setOf = (items: readonly Route[], epoch = 1n): DesiredSet<Route> =>
  desiredSet(kind, epoch as Epoch, items);
const edits = fc.array(
  fc.oneof(
    route.map((item): Edit<Route> => ({ do: 'put', item })),
    fc.constantFrom(...'abcdefgh').map((key): Edit<Route> => ({ do: 'remove', key })),
  ),
  { maxLength: 10 },
);
const r = (to: string, from: Level = 1, metric = 0): Route => ({ to, from, metric });

describe('the pre-escalation snapshot', () => {
  it('PO-18 is taken on the way out of a level that withholds nothing, and on no later one', () => {
    const set = setOf([r('a', 4), r('b', 1)]);
    expect(isFirstEscalation(set, { from: 5, to: 1 }, allows)).toBe(true);
    expect(isFirstEscalation(set, { from: 4, to: 3 }, allows)).toBe(true);
    expect(isFirstEscalation(set, { from: 3, to: 2 }, allows)).toBe(false);
    expect(isFirstEscalation(set, { from: 4, to: 5 }, allows)).toBe(false);
    expect(isFirstEscalation(set, { from: 4, to: 4 }, allows)).toBe(false);
  });

  it('PO-18 says what changed in the world meanwhile, and is there all the same', () => {
    const found = preEscalationSnapshot({
      kind,
      set: setOf([r('gone'), r('here'), r('other', 1, 1)]),
      actual: [r('here'), r('other', 1, 2), r('stray'), r('half-done')],
      level: 5,
      epoch: 9n as Epoch,
      allows,
      same,
      adopts: ({ to }) => to === 'half-done',
    });
    expect(found).toEqual({
      set: { epochTaken: 9n, items: [r('gone'), r('half-done'), r('here'), r('other', 1, 1)] },
      report: {
        missing: [r('gone')],
        unwanted: [r('stray')],
        changed: [{ desired: r('other', 1, 1), actual: r('other', 1, 2) }],
      },
    });
  });

  it('PO-18 never loses what was wanted and takes up only what it is told to, whatever the world looks like', () => {
    fc.assert(
      fc.property(
        routes,
        fc.array(route),
        level,
        fc.constantFrom(...'abcdefgh'),
        (items, actual, at, adopted) => {
          const { set, report } = preEscalationSnapshot({
            kind,
            set: setOf(items),
            actual,
            level: at,
            epoch: 2n as Epoch,
            allows,
            same,
            adopts: ({ to }) => to === adopted,
          });
          for (const item of items) expect(set.items).toContainEqual(item);
          const more = set.items.filter(({ to }) => !items.some((each) => each.to === to));
          expect(more.every(({ to }) => to === adopted)).toBe(true);
          expect(set.epochTaken).toBe(2n);
          // Everything in the world is wanted as it is, reported, or was taken up.
          for (const { to } of actual) {
            const wanted = items.some((each) => each.to === to && allows(each, at));
            const told = [...report.unwanted, ...report.changed.map((each) => each.actual)].some(
              (each) => each.to === to,
            );
            const alike = wanted && !told;
            expect(alike || told || more.some((each) => each.to === to)).toBe(true);
          }
        },
      ),
    );
  });
});

describe('giving back', () => {
  it('OV-14 gives exactly the pre-escalation set when no order came meanwhile, whatever levels lay between', () => {
    fc.assert(
      fc.property(routes, (items) => {
        const set = setOf(items);
        const back = restorationAt(kind, set, [], 5, allows, same);
        expect(back).toEqual({ items: set.items, removed: [], added: [], withheld: [] });
      }),
    );
  });

  it('OV-14 gives the set less what was removed, plus what was added and the level allows', () => {
    fc.assert(
      fc.property(routes, edits, level, (items, orders, at) => {
        const set = setOf(items);
        const back = restorationAt(kind, set, orders, at, allows, same);
        // A model that knows nothing of sets: the last order for a key counts.
        const expected = new Map(items.map((item) => [item.to, item]));
        for (const order of orders) {
          if (order.do === 'put') expected.set(order.item.to, order.item);
          else expected.delete(order.key);
        }
        const model = [...expected.values()].sort((a, b) => (a.to < b.to ? -1 : 1));
        expect(back.items).toEqual(model.filter((each) => each.from <= at));
        expect(back.withheld).toEqual(model.filter((each) => each.from > at));
        expect(back.removed.map(({ to }) => to)).toEqual(
          set.items.filter((each) => each.from <= at && !expected.has(each.to)).map(({ to }) => to),
        );
        for (const each of back.added) expect(items).not.toContainEqual(each);
        for (const each of back.items) {
          expect(
            back.added.includes(each) || items.some((old) => same(old, each) && old.to === each.to),
          ).toBe(true);
        }
      }),
    );
  });

  it('OV-14 an order under a tight level changes the set and not the world', () => {
    const set = setOf([r('a', 3)]);
    const after = editedSet(kind, set, [
      { do: 'put', item: r('b', 4) },
      { do: 'remove', key: 'a' },
    ]);
    expect(allowedAt(after, 2, allows)).toEqual([]);
    expect(allowedAt(after, 5, allows)).toEqual([r('b', 4)]);
  });
});

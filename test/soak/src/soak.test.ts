import type { Level } from '@kedge/units';
import { describe, expect, it } from 'vitest';

import { actsOf, judgeOrders, type Order, type Sight } from './index.js';

const S = 1_000_000_000n;
const sight = (at: bigint, epoch: bigint, level: Level): Sight => ({ atNs: at * S, epoch, level });
const order = (at: bigint, level: Level, more: Partial<Order> = {}): Order => ({
  way: 'console',
  level,
  sentNs: at * S,
  answeredNs: (at * 10n + 1n) * (S / 10n),
  outcome: 'refusal',
  ...more,
});
const decided = (at: bigint, from: Level, to: Level, epoch: bigint, more: Partial<Order> = {}): Order =>
  order(at, to, { outcome: 'decision', from, to, epoch, ...more });
const kinds = (sights: readonly Sight[], orders: readonly Order[]): string[] =>
  judgeOrders(sights, orders).map(({ kind }) => kind);

describe('the judge of a soak', () => {
  const good = [sight(0n, 1n, 5), sight(10n, 2n, 2), sight(20n, 3n, 4)];
  const asked = [decided(10n, 5, 2, 2n), decided(20n, 2, 4, 3n)].map((each) => ({
    ...each,
    sentNs: each.sentNs - 1n,
  }));

  it('PO-17 finds nothing in what was ordered and done', () => {
    expect(kinds(good, asked)).toEqual([]);
    // Nobody knows whether an order without an answer was carried out.
    expect(kinds(good, [asked[0] ?? order(0n, 5), order(19n, 5, { outcome: 'lost' })])).toEqual([]);
    expect(kinds(good, [asked[0] ?? order(0n, 5), order(9n, 4, { outcome: 'waiting' })])).toEqual([]);
  });

  it('PO-17 sees an epoch that goes back, and one that was issued twice', () => {
    expect(kinds([...good, sight(30n, 2n, 2)], asked)).toEqual(['epoch-back']);
    expect(kinds([...good, sight(30n, 3n, 3)], asked)).toEqual(['epoch-twice']);
  });

  it('PO-17 sees a tightening that was answered and is not in force', () => {
    expect(kinds(good, [...asked, decided(30n, 4, 1, 9n)])).toEqual(['answer-lost']);
  });

  it('PO-4 sees a loosening that nobody asked for after the last tightening, or whose asker was refused', () => {
    expect(kinds(good, asked.slice(0, 1))).toEqual(['unasked-loosening']);
    expect(kinds(good, [...asked.slice(0, 1), order(15n, 5)])).toEqual(['unasked-loosening']);
    expect(kinds(good, [decided(5n, 5, 5, 1n), ...asked.slice(0, 1)])).toEqual(['unasked-loosening']);
    expect(kinds(good, [...asked.slice(0, 1), order(15n, 3, { outcome: 'lost' })])).toEqual([
      'unasked-loosening',
    ]);
  });

  it('PO-4 sees a loosening by who may not, and takes an answer about what stands for what it is', () => {
    const by = (way: Order['way'], epoch = 3n) => [
      asked[0] ?? order(0n, 5),
      decided(19n, 2, 4, epoch, { way }),
    ];
    expect(kinds(good, by('local/master'))).toEqual([]);
    for (const way of ['local/journeyman', 'local/apprentice'] as const) {
      expect(kinds(good, by(way))).toEqual(['unauthorised']);
    }
    expect(
      kinds([...good, sight(21n, 4n, 4)], [...asked, decided(30n, 2, 4, 4n, { way: 'local/apprentice' })]),
    ).toEqual([]);
    const preempted = [order(5n, 5, { outcome: 'lost' }), decided(9n, 1, 2, 2n, { way: 'local/site_owner' })];
    expect(kinds([sight(0n, 1n, 1), sight(10n, 2n, 2)], preempted)).toEqual([]);
    const lockdown = [sight(0n, 1n, 1), sight(10n, 2n, 2)];
    expect(kinds(lockdown, [decided(9n, 1, 2, 2n, { way: 'local/site_owner' })])).toEqual(['unauthorised']);
    expect(kinds(lockdown, [decided(9n, 1, 2, 2n)])).toEqual([]);
  });
});

describe('the plan of a soak', () => {
  it('is the same for the same seed, another for another, and has every act in it', () => {
    const acts = (seed: number) => {
      const plan = actsOf(seed);
      return Array.from({ length: 400 }, () => plan.next().value);
    };
    expect(acts(7)).toEqual(acts(7));
    expect(acts(8)).not.toEqual(acts(7));
    expect(new Set(acts(7).map(({ act }) => act)).size).toBe(8);
    const struck = acts(7).flatMap((act) => (act.act === 'kill' ? [act.service] : []));
    expect(new Set(struck).size).toBe(5);
  });
});

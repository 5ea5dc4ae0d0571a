import { type Level } from '@kedge/units';
import { expect, it } from 'vitest';

import { closedSpans, sendingTime, unexplainedLosses } from './blocked.js';
import { levelsInTurn } from './blocked-time.js';
import type { Decided } from './rig.js';

/** Decisions every thousand nanoseconds from 1,000 on, each acknowledged ten later. */
const decisions = (...levels: readonly Level[]): Decided[] =>
  levels.slice(1).map((to, i) => ({
    from: levels[i] ?? to,
    to,
    decidedNs: 1_000 * (i + 1),
    acknowledgedNs: 1_000 * (i + 1) + 10,
  }));

const around = (aroundNs: number) => ({ beforeNs: 0, aroundNs });
const always = () => true;
const aboveOne = (level: Level) => level > 1;

it('closes a class from the decision against it to the acknowledgement for it', () => {
  expect(closedSpans(decisions(5, 1, 2, 5), aboveOne)).toEqual([{ from: 1_000, until: 2_010 }]);
  expect(closedSpans(decisions(1, 1, 2), aboveOne)).toEqual([
    { from: Number.NEGATIVE_INFINITY, until: 2_010 },
  ]);
  expect(closedSpans(decisions(5, 1), aboveOne)).toEqual([{ from: 1_000, until: Number.POSITIVE_INFINITY }]);
  expect(closedSpans(decisions(5, 1), always)).toEqual([]);
});

it('counts every loss of a class that is always allowed, at the decision that it follows', () => {
  const decided = decisions(5, 1, 3, 2);
  expect(unexplainedLosses(decided, [[500, 501, 1], [1_001, 1_004, 2], [3_500, 3_600, 7]], always, around(50))).toEqual([
    3, 0, 7,
  ]);
});

it('explains what was sent while a level dropped it, and what was still on its way then', () => {
  const decided = decisions(5, 1, 3, 2);
  expect(unexplainedLosses(decided, [[990, 2_020, 100]], aboveOne, { beforeNs: 20, aroundNs: 10 })).toEqual([0, 0, 0]);
  expect(unexplainedLosses(decided, [[0, 900, 5]], aboveOne, { beforeNs: 20, aroundNs: 10 })).toEqual([5, 0, 0]);
});

it('counts of a loss that goes on after the class is open again the part that does', () => {
  const decided = decisions(5, 1, 3, 2);
  // Open again at 2,010 and 10 more: of 1,500 moments 480 are too many.
  expect(unexplainedLosses(decided, [[1_000, 2_500, 150]], aboveOne, around(10))).toEqual([48, 0, 0]);
});

it('takes out of account when nothing was sent', () => {
  const sent = sendingTime([
    [100, 150],
    [200, 300],
  ]);
  expect([50, 100, 120, 150, 160, 250, 310].map(sent)).toEqual([50, 100, 100, 100, 110, 150, 160]);
  // All of them were sent before the pause, while the class was closed.
  const decided = decisions(5, 1, 3);
  expect(unexplainedLosses(decided, [[995, 5_000, 9]], aboveOne, around(10))).not.toEqual([0, 0]);
  expect(unexplainedLosses(decided, [[995, 5_000, 9]], aboveOne, around(10), [[2_005, 5_000]])).toEqual([0, 0]);
});

it('goes from each level to each other equally often', () => {
  const levels = levelsInTurn();
  const seen = new Map<string, number>();
  let from: Level = 5;
  for (let i = 0; i < 200; i += 1) {
    const to = levels.next().value;
    const pair = `${from} → ${to}`;
    seen.set(pair, (seen.get(pair) ?? 0) + 1);
    from = to;
  }
  expect(from).toBe(5);
  expect(seen.size).toBe(20);
  expect(new Set(seen.values())).toEqual(new Set([10]));
});

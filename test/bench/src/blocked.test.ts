import { type Level } from '@kedge/units';
import { expect, it } from 'vitest';

import { busyTime, closedSpans, unexplainedLosses } from './blocked.js';
import { levelsInTurn } from './blocked-time.js';
import type { Gap } from './packets.js';
import type { Decided } from './rig.js';

/** Decisions every thousand nanoseconds from 1,000 on, each acknowledged ten later. */
const decisions = (...levels: readonly Level[]): Decided[] =>
  levels.slice(1).map((to, i) => ({
    from: levels[i] ?? to,
    to,
    decidedNs: 1_000 * (i + 1),
    acknowledgedNs: 1_000 * (i + 1) + 10,
  }));

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

/** So many frames that would have come from then to then. */
const missing = (frames: number, from: number, until: number): Gap => [0, 0, frames, from, until];

it('counts every loss of a class that is always allowed, at the decision that it follows', () => {
  const gaps = [missing(1, 500, 500), missing(2, 1_001, 1_004), missing(7, 3_500, 3_600)];
  expect(unexplainedLosses(decisions(5, 1, 3, 2), gaps, always, 50)).toEqual([3, 0, 7]);
});

it('explains what was judged while a level dropped it, and nothing else', () => {
  const decided = decisions(5, 1, 3, 2);
  const losses = (gap: Gap): number[] => unexplainedLosses(decided, [gap], aboveOne, 20);
  expect(losses(missing(100, 985, 2_025))).toEqual([0, 0, 0]);
  expect(losses(missing(1, 1_500, 1_500))).toEqual([0, 0, 0]);
  // A single one that was judged before the level was decided or thereafter.
  expect(losses(missing(1, 1_100, 400))).toEqual([0, 0, 0]);
  expect(losses(missing(1, 900, 400))).toEqual([1, 0, 0]);
  expect(losses(missing(5, 400, 900))).toEqual([5, 0, 0]);
  expect(losses(missing(5, 3_400, 3_900))).toEqual([0, 0, 5]);
});

it('counts of a loss that goes on after the class is open again the part that does', () => {
  // Open again at 2,010 and 10 more: of 1,500 moments 480 are too many.
  const gaps = [missing(150, 1_000, 2_499)];
  expect(unexplainedLosses(decisions(5, 1, 3, 2), gaps, aboveOne, 10)).toEqual([48, 0, 0]);
});

it('excuses no loss of which it is not known when it happened', () => {
  expect(unexplainedLosses(decisions(5, 1, 3, 2), [missing(4, 0, 0)], aboveOne, 10)).toEqual([4, 0, 0]);
});

it('takes out of account when nothing was judged', () => {
  const busy = busyTime([
    [100, 150],
    [200, 300],
  ]);
  expect([50, 100, 120, 150, 160, 250, 310].map(busy)).toEqual([50, 100, 100, 100, 110, 150, 160]);
  // Open from 2,010 to 3,000, but away all that time: what waited was judged thereafter.
  const decided = decisions(5, 1, 3, 1);
  const gaps = [missing(90, 1_000, 3_900)];
  expect(unexplainedLosses(decided, gaps, aboveOne, 10)).not.toEqual([0, 0, 0]);
  expect(unexplainedLosses(decided, gaps, aboveOne, 10, [[2_005, 3_100]])).toEqual([0, 0, 0]);
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

import { expect, it } from 'vitest';
import { goalOf, percentile, rowOf } from './figures.js';

it('takes percentiles by nearest rank', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
  expect(percentile(hundred, 0.5)).toBe(50);
  expect(percentile(hundred, 0.99)).toBe(99);
  expect(percentile(hundred, 0.999)).toBe(100);
  expect(percentile([7], 0.5)).toBe(7);
  expect(percentile([], 0.5)).toBeNaN();
});

it('turns unsorted nanoseconds into a row of its unit', () => {
  expect(rowOf('a hop', [3000, 1000, 2000], 'us')).toEqual({
    name: 'a hop',
    n: 3,
    unit: 'us',
    p50: 2,
    p99: 3,
    p999: 3,
    max: 3,
  });
});

it('never calls a goal met without a measurement', () => {
  expect(goalOf('bound', 10, Number.NaN).ok).toBe(false);
  expect(goalOf('bound', 10, 10).ok).toBe(true);
  expect(goalOf('bound', 10, 10.01).ok).toBe(false);
});

import { expect, it } from 'vitest';
import { countRow, floorOf, goalOf, percentile, rateRowOf, rowOf, summaryRow, textOf } from './figures.js';

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

it('turns the same samples into a rate whose percentiles come from the slow end', () => {
  const samples = [...Array<number>(98).fill(50), 100, 200];
  expect(rateRowOf('verdicts', samples)).toEqual({
    name: 'verdicts',
    n: 100,
    unit: '1/s',
    p50: 20_000_000,
    p99: 10_000_000,
    p999: 5_000_000,
    max: 5_000_000,
  });
  expect(rowOf('a verdict', samples, 'ns')).toMatchObject({ unit: 'ns', p50: 50, p99: 100, max: 200 });
});

it('holds a lower bound as a lower bound, and says so', () => {
  expect(floorOf('rate', 10, Number.NaN).ok).toBe(false);
  expect(floorOf('rate', 10, 10).ok).toBe(true);
  const missed = floorOf('rate', 10, 9.99);
  expect(missed.ok).toBe(false);
  const host = { cpus: '', node: '', kernel: '', load: [] };
  expect(textOf({ bench: 'b', host, rows: [], ratios: {}, goals: [missed] })).toContain(
    'MISSED rate: 9.99 (goal ≥ 10)',
  );
});

it('takes percentiles that were taken elsewhere as they are, and none for none', () => {
  const ns = { p50: 1_500, p99: 2_000, p999: 3_000, max: 4_000 };
  expect(summaryRow('latency', 10, ns, 'us')).toEqual({
    ...{ name: 'latency', n: 10, unit: 'us' },
    ...{ p50: 1.5, p99: 2, p999: 3, max: 4 },
  });
  expect(summaryRow('latency', 0, ns, 'us').p99).toBeNaN();
  expect(countRow('lost', 3)).toMatchObject({ n: 1, unit: 'frames', p50: 3, max: 3 });
});

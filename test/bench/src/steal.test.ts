import { expect, it } from 'vitest';
import { stolenIn } from './steal.js';

const processor = (n: number, clock: string, task: string): string =>
  [
    `cpu#${String(n)}, 2445.406 MHz`,
    '  .nr_running                    : 1',
    `  .clock                         : ${clock}`,
    `  .clock_task                    : ${task}`,
    '  .avg_idle                      : 406922',
    `cfs_rq[${String(n)}]:/`,
  ].join('\n');

it('counts what every processor lost, in nanoseconds', () => {
  const text = [
    processor(0, '16843833.366602', '16843833.366602'),
    processor(1, '1500.000101', '1499.000001'),
  ];
  expect(stolenIn(text.join('\n'))).toBe(1_000_100n);
  expect(stolenIn('Sched Debug Version: v0.11\n')).toBe(0n);
});

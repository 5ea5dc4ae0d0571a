/**
 * How long a silent data plane goes unanswered: the worker is stopped, alone and together with others that
 * hang, and the warden's stamps tell. Must not judge correctness.
 */
import { inArena } from './arena.js';
import type { WatchdogSample } from './conductor.js';
import { goalOf, hostOf, rowOf, type BenchReport, type Goal, type Row } from './figures.js';
import type { Bench } from './bench.js';

const SAMPLES = 2_000;
const RUNS: readonly (readonly [name: string, stops: readonly string[]])[] = [
  ['worker stopped', []],
  ['worker stopped, coordinator stopped after the store', ['stop-self']],
  ['worker stopped, bridge hung', ['stop-bridge']],
  ['worker stopped, every service hung', ['stop-self', 'stop-bridge']],
];

export const watchdog: Bench = async ({ samples = SAMPLES, progress }): Promise<BenchReport> => {
  const host = hostOf();
  progress(`side by side, which only makes it harder: ${RUNS.map(([name]) => name).join('; ')}`);
  const parts = await Promise.all(
    RUNS.map(async ([name, stops]) => {
      const taken = await inArena<WatchdogSample[]>({
        job: ['watchdog', String(samples), ...stops],
        fifo: true,
        withinMs: 60_000 + samples * 1_000,
      });
      progress(`done: ${name}`);
      const row = (what: string, of: (sample: WatchdogSample) => number): Row =>
        rowOf(`${name}: decided → ${what}`, taken.map(of), 'ms');
      const closed = row('fail-closed line set', (s) => s.closed);
      const raised = row('violation raised', (s) => s.raised);
      const killed = row('data plane killed', (s) => s.killed);
      const goals: Goal[] = [
        goalOf(`${name}: fail-closed p99, ms`, 1.2, closed.p99),
        goalOf(`${name}: violation p99, ms`, 1.2, raised.p99),
        goalOf(`${name}: killed p99, ms`, 52, killed.p99),
      ];
      return { rows: [closed, raised, killed], goals };
    }),
  );
  const rows = parts.flatMap((part) => part.rows);
  const goals = parts.flatMap((part) => part.goals);
  return { bench: 'watchdog', host, rows, ratios: {}, goals };
};

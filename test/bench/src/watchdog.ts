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
  const rows: Row[] = [];
  const goals: Goal[] = [];
  for (const [name, stops] of RUNS) {
    progress(name);
    const taken = await inArena<WatchdogSample[]>({
      job: ['watchdog', String(samples), ...stops],
      fifo: true,
      withinMs: 60_000 + samples * 1_000,
    });
    const closed = rowOf(
      `${name}: decided → fail-closed line set`,
      taken.map((s) => s.closed),
      'ms',
    );
    const raised = rowOf(
      `${name}: decided → violation raised`,
      taken.map((s) => s.raised),
      'ms',
    );
    const killed = rowOf(
      `${name}: decided → data plane killed`,
      taken.map((s) => s.killed),
      'ms',
    );
    rows.push(closed, raised, killed);
    goals.push(
      goalOf(`${name}: fail-closed p99, ms`, 1.2, closed.p99),
      goalOf(`${name}: violation p99, ms`, 1.2, raised.p99),
      goalOf(`${name}: killed p99, ms`, 52, killed.p99),
    );
  }
  return { bench: 'watchdog', host, rows, ratios: {}, goals };
};

/**
 * What a benchmark prints: rows of percentiles, ratios to a peer of the same run, goals met or missed.
 * Must not measure anything itself.
 */
import { cpus, loadavg, release } from 'node:os';

/**
 * One distribution. Percentiles by nearest rank; `unit` says what the numbers are. Of a rate (`1/s`) they are taken
 * from the slow end: 99 of 100 samples were at least `p99`, and `max` is the slowest.
 */
export interface Row {
  readonly name: string;
  readonly n: number;
  readonly unit: 'ns' | 'us' | 'ms' | '1/s' | 'frames';
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  /** Samples set apart because the worker was off its CPU or the machine lost time to its host. */
  readonly setApart?: number;
  /** Why the row must not be believed, where it must not. */
  readonly invalid?: string;
}

export interface Goal {
  readonly name: string;
  /** The bound, in the row's unit: measured must be at most this, or at least where `atLeast` says so. */
  readonly goal: number;
  readonly atLeast?: true;
  readonly measured: number;
  readonly ok: boolean;
}

export interface BenchReport {
  readonly bench: string;
  readonly host: { cpus: string; node: string; kernel: string; load: readonly number[] };
  readonly rows: readonly Row[];
  readonly ratios: Readonly<Record<string, number>>;
  readonly goals: readonly Goal[];
}

/** Nearest-rank percentile of ascending `sorted`; `q` in 0..1. NaN for none. */
export function percentile(sorted: readonly number[], q: number): number {
  if (sorted.length === 0) return Number.NaN;
  const rank = Math.min(sorted.length, Math.max(1, Math.ceil(q * sorted.length)));
  return sorted[rank - 1] ?? Number.NaN;
}

const DIVISOR = { ns: 1, us: 1e3, ms: 1e6 } as const;

/** Turns nanosecond samples into a row; `name` reads as a phrase. */
export function rowOf(
  name: string,
  samplesNs: readonly number[],
  unit: 'ns' | 'us' | 'ms',
  more: Partial<Pick<Row, 'setApart' | 'invalid'>> = {},
): Row {
  const sorted = [...samplesNs].sort((a, b) => a - b);
  const at = (q: number) => Math.round((percentile(sorted, q) / DIVISOR[unit]) * 100) / 100;
  return { name, n: sorted.length, unit, p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1), ...more };
}

/** The same samples as a rate: how many such things fit into a second. */
export function rateRowOf(name: string, samplesNs: readonly number[]): Row {
  const sorted = [...samplesNs].sort((a, b) => a - b);
  const at = (q: number) => Math.round(1e9 / percentile(sorted, q));
  return { name, n: sorted.length, unit: '1/s', p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) };
}

/** Percentiles that were taken elsewhere, of `n` samples in nanoseconds, as a row. */
export function summaryRow(
  name: string,
  n: number,
  ns: Pick<Row, 'p50' | 'p99' | 'p999' | 'max'>,
  unit: 'ns' | 'us' | 'ms',
  more: Partial<Pick<Row, 'setApart' | 'invalid'>> = {},
): Row {
  const of = (value: number) => (n === 0 ? Number.NaN : Math.round((value / DIVISOR[unit]) * 100) / 100);
  return { name, n, unit, p50: of(ns.p50), p99: of(ns.p99), p999: of(ns.p999), max: of(ns.max), ...more };
}

/** Frames that were counted once: the same number in every column. */
export function countRow(
  name: string,
  frames: number,
  more: Partial<Pick<Row, 'setApart' | 'invalid'>> = {},
): Row {
  return { name, n: 1, unit: 'frames', p50: frames, p99: frames, p999: frames, max: frames, ...more };
}

/** A bound that `measured` must reach; NaN never passes. */
export function floorOf(name: string, goal: number, measured: number): Goal {
  return { name, goal, atLeast: true, measured, ok: measured >= goal };
}

/** A bound that `measured` must not exceed; NaN never passes. */
export function goalOf(name: string, goal: number, measured: number): Goal {
  return { name, goal, measured, ok: measured <= goal };
}

/** What the figures were taken on; figures without it mean little. */
export function hostOf(): BenchReport['host'] {
  const list = cpus();
  return {
    cpus: `${String(list.length)} x ${list[0]?.model.trim() ?? 'unknown'}`,
    node: process.version,
    kernel: release(),
    load: loadavg().map((l) => Math.round(l * 100) / 100),
  };
}

/** The report as lines for people. */
export function textOf(report: BenchReport): string {
  const cells = report.rows.map((r) => [
    r.name,
    String(r.n),
    r.unit,
    ...[r.p50, r.p99, r.p999, r.max].map((v) => v.toFixed(2)),
    r.setApart === undefined ? '' : String(r.setApart),
    r.invalid ?? '',
  ]);
  const head = ['figure', 'n', 'unit', 'p50', 'p99', 'p99.9', 'max', 'set apart', ''];
  const widths = head.map((h, i) => Math.max(h.length, ...cells.map((c) => (c[i] ?? '').length)));
  const line = (c: readonly string[]) =>
    c
      .map((v, i) => (i === 0 || i === 8 ? v.padEnd(widths[i] ?? 0) : v.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  const out = [
    `${report.bench}   ${report.host.cpus}, node ${report.host.node}, kernel ${report.host.kernel}, load ${report.host.load.join(' ')}`,
    '',
    line(head),
    ...cells.map(line),
    '',
    ...Object.entries(report.ratios).map(([name, value]) => `ratio  ${name}: ${value.toFixed(2)}`),
    '',
    ...report.goals.map(
      (g) =>
        `${g.ok ? 'met   ' : 'MISSED'} ${g.name}: ${String(g.measured)} (goal ${g.atLeast === true ? '≥' : '≤'} ${String(g.goal)})`,
    ),
  ];
  return out.join('\n') + '\n';
}

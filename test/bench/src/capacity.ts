/**
 * How many frames per second pass through the rig, and how late they come at half of that.
 * Must not know what stands between its ends.
 */
import type { FrameClass, Job, PacketReport, Packets } from './packets.js';
import { type Search, throughputOf } from './throughput.js';

/** As RFC 2544 counts: with the check sequence of four bytes that Ethernet adds. */
export const FRAME_SIZES = [
  { named: 64, bytes: 60 },
  { named: 1_400, bytes: 1_396 },
] as const;
export type FrameSize = (typeof FRAME_SIZES)[number];

/** What comes later was kept, not carried: a buffer that fills would look like throughput for as long as it lasts. */
export const LATE_US = 5_000;
const TRIAL_MS = 250;
const LATENCY_MS = 100;
const LATENCY_RUNS = 11;
const LIMITS = { loss: 0.001, precision: 0.03, trials: 16, again: 1 };

/** Frames that were lost or late, as a share of all that were sent. */
function lostShare(report: PacketReport): number {
  const missed = report.classes.reduce((sum, c) => sum + c.lost + c.late, 0);
  return report.sent === 0 ? 1 : missed / report.sent;
}

export async function capacityOf(
  packets: Packets,
  size: FrameSize,
  classes: readonly FrameClass[],
): Promise<Search> {
  return throughputOf(async (rate) => {
    const job: Job = { size: size.bytes, rate, ms: TRIAL_MS, classes, lateUs: LATE_US };
    const report = await packets.run(job);
    return { offered: report.sent / ((report.endedNs - report.startedNs) / 1e9), lost: lostShare(report) };
  }, LIMITS);
}

/** How late frames come at a rate. */
export interface AtRate {
  /** Of several short runs the one with the median tail: the others are the machine's, or its host's. */
  readonly typical: PacketReport;
  /** Frames lost in all of them. */
  readonly lost: number;
}

export async function latencyAt(
  packets: Packets,
  size: FrameSize,
  classes: readonly FrameClass[],
  rate: number,
): Promise<AtRate> {
  const reports: PacketReport[] = [];
  const tail = (report: PacketReport): number => Math.max(...report.classes.map((c) => c.latencyNs.p99));
  for (let i = 0; i < LATENCY_RUNS; i += 1)
    reports.push(await packets.run({ size: size.bytes, rate, ms: LATENCY_MS, classes, lateUs: LATE_US }));
  const typical = [...reports].sort((a, b) => tail(a) - tail(b))[LATENCY_RUNS >> 1];
  if (typical === undefined) throw new Error('bench: nothing was sent');
  const lost = reports.flatMap((r) => r.classes).reduce((sum, c) => sum + c.lost, 0);
  return { typical, lost };
}

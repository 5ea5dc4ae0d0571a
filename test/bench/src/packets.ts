/**
 * The generator and sink of native/packets.c as one process: jobs in, accounts out. Must not judge what it counts.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export const PACKETS_PROGRAM = fileURLToPath(new URL('../build/packets', import.meta.url));

/** An interface of a network namespace, which is named by a file such as /proc/PID/ns/net. */
export interface WireEnd {
  readonly network: string;
  readonly name: string;
}

/** Frames of one class go to one UDP port; of all frames it has `share` out of the sum of shares (at most 64). */
export interface FrameClass {
  readonly port: number;
  readonly share: number;
}

export interface Job {
  /** Bytes of a frame without its check sequence, 60 to 1514. */
  readonly size: number;
  /** Frames per second of all classes together; 0 = as fast as it can. */
  readonly rate: number;
  /** For how long, at most. */
  readonly ms: number;
  readonly classes: readonly FrameClass[];
  /** A frame that takes so long counts as late as well. */
  readonly lateUs?: number;
  /** Which of the classes tells of missing frames when they would have come: one that always comes. */
  readonly clock?: number;
  /** Missing frames are waited for until nothing came for so long. */
  readonly silentMs?: number;
  /** Every so many frames one is left out, one goes behind the next of its class, one is sent once more. */
  readonly lose?: number;
  readonly swap?: number;
  readonly repeat?: number;
}

/** Percentiles in nanoseconds by nearest rank, too high by at most 3 %; the maximum is exact. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/**
 * So many frames of a class are missing between one sent at `after` (0 = none before) and one sent at `before`. By the
 * class that tells the time, the first would have come at `from` at the latest and the last not before `until` (0 = not
 * known); of a single one `until` comes before `from`.
 */
export type Gap = readonly [after: number, before: number, missing: number, from: number, until: number];

/** From the coming of one frame to that of the next. */
export type Stall = readonly [from: number, until: number];

export interface ClassAccount {
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
  /** Of the received ones. */
  readonly late: number;
  /** Of the received ones, behind one with a higher number (RFC 4737). */
  readonly reordered: number;
  readonly duplicates: number;
  /** Came so late that they cannot be told from duplicates; they count as lost. */
  readonly stale: number;
  readonly latencyNs: Latency;
  readonly gaps: readonly Gap[];
  /** Gaps for which there was no place. */
  readonly gapsUnkept: number;
}

/** Moments are CLOCK_MONOTONIC in nanoseconds. */
export interface PacketReport {
  readonly startedNs: number;
  /** When the last frame had been sent. */
  readonly endedNs: number;
  readonly sent: number;
  /** Of these, the interface did not take; lost like others. */
  readonly refused: number;
  /** Were not sent in time, and therefore not at all; not among `sent`. */
  readonly forgiven: number;
  readonly batches: number;
  /** Frames of an earlier run. */
  readonly strange: number;
  /** Came and found no place at the sink: the accounts are wrong. */
  readonly sinkDrops: number;
  /** When no frame of the class that tells the time came for a while. */
  readonly stalls: readonly Stall[];
  /** Stalls for which there was no place. */
  readonly stallsUnkept: number;
  /** By so much the wall clock, of which the kernel's stamps are, was moved meanwhile. */
  readonly clockMovedNs: number;
  readonly classes: readonly ClassAccount[];
}

const CLOCK_MOVES_NS = 5_000;

/** Why a report must not be believed, if so. */
export function whyInvalid(report: PacketReport): string | undefined {
  if (report.sinkDrops !== 0) return `the sink had no place for ${String(report.sinkDrops)} frames`;
  if (Math.abs(report.clockMovedNs) > CLOCK_MOVES_NS) return 'the wall clock was set meanwhile';
  if (report.stallsUnkept !== 0 || report.classes.some((c) => c.gapsUnkept !== 0))
    return 'more gaps or stalls than can be kept';
  return undefined;
}

const wordsOf = ({
  size,
  rate,
  ms,
  classes,
  lateUs,
  clock,
  silentMs,
  lose = 0,
  swap = 0,
  repeat = 0,
}: Job): string =>
  [
    ...['run', `size=${String(size)}`, `rate=${String(Math.round(rate))}`, `ms=${String(ms)}`],
    ...[`lose=${String(lose)}`, `swap=${String(swap)}`, `repeat=${String(repeat)}`],
    ...(lateUs === undefined ? [] : [`late=${String(lateUs)}`]),
    ...(clock === undefined ? [] : [`clock=${String(clock)}`]),
    ...(silentMs === undefined ? [] : [`silent=${String(silentMs)}`]),
    ...classes.map((c) => `class=${String(c.port)}:${String(c.share)}`),
  ].join(' ');

export class Packets {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Opens both ends; the thread that serves them spins on `cpu` while a job runs. Ends with this process. */
  static async start(options: {
    readonly from: WireEnd;
    readonly to: WireEnd;
    readonly cpu: number;
  }): Promise<Packets> {
    const { from, to, cpu } = options;
    const words = ['--from', from.network, from.name, '--to', to.network, to.name, '--cpu', String(cpu)];
    const packets = new Packets(
      spawn(PACKETS_PROGRAM, ['wire', ...words], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await packets.#answer();
    return packets;
  }

  async #answer(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('bench: the generator has ended');
    const answer = JSON.parse(line.value) as { error?: string };
    if (answer.error !== undefined) throw new Error(`bench: the generator says: ${answer.error}`);
    return answer;
  }

  /** Runs a job to its end. */
  async run(job: Job): Promise<PacketReport> {
    await this.begin(job);
    return this.#report();
  }

  /** Begins a job; `finish` ends it. When its first frame was due. */
  async begin(job: Job): Promise<number> {
    this.#child.stdin.write(`${wordsOf(job)}\n`);
    return ((await this.#answer()) as { startedNs: number }).startedNs;
  }

  /** Ends the job that runs and gives its account. */
  async finish(): Promise<PacketReport> {
    this.#child.stdin.write('stop\n');
    return this.#report();
  }

  async #report(): Promise<PacketReport> {
    return (await this.#answer()) as PacketReport;
  }

  end(): void {
    this.#child.stdin.end();
  }
}

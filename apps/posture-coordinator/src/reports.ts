/**
 * The reports of transitions (PO-8): the newest in memory, all that are kept in a file of JSON lines.
 * It must not hold anything up: what cannot be written is counted and said, never waited for (PO-22).
 */
import type { TransitionReport } from '@kedge/bus';
import { isEpoch, isLevel, type Epoch } from '@kedge/units';
import { appendFile, readFile, rename, stat } from 'node:fs/promises';
import { z } from 'zod';

/** The file is put aside at this size; the one before it goes. */
const FILE_MAX_BYTES = 4 * 1024 * 1024;
/** Lines that may wait for the disk. */
const PENDING_MAX = 4_096;

const u64 = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform((text) => BigInt(text));
const level = z.number().refine(isLevel);
const storedReport = z.object({
  epoch: u64.refine(isEpoch),
  from: level,
  to: level,
  outcome: z.string(),
  source: z
    .object({ channel: z.string(), tier: z.string(), principal: z.string(), reason: z.string() })
    .optional(),
  receivedAtNs: u64,
  decidedAtNs: u64,
  storedAtNs: u64,
  journaledAtNs: u64,
  completedAtNs: u64,
  durable: z.boolean(),
  // What a Date can hold.
  decidedAtWallMs: u64.refine((ms) => ms <= 8_640_000_000_000_000n),
  paths: z.array(
    z.object({
      path: z.string(),
      budgetNs: u64,
      startNs: u64,
      endNs: u64,
      outcome: z.string(),
      participants: z.array(
        z.object({
          name: z.string(),
          startedAtNs: u64,
          finishedAtNs: u64,
          outcome: z.string(),
          level: z.number(),
          changes: z.number(),
        }),
      ),
    }),
  ),
});

/** Which reports are wanted; what is not given is not asked for. */
export interface ReportFilter {
  /** Decided then or later, wall clock. */
  readonly sinceWallMs?: bigint;
  /** The level that it went to. */
  readonly level?: number;
  /** Channel or principal of whoever asked, in full. */
  readonly source?: string;
}

function isWanted(report: TransitionReport, { sinceWallMs, level, source }: ReportFilter): boolean {
  return (
    (sinceWallMs === undefined || report.decidedAtWallMs >= sinceWallMs) &&
    (level === undefined || report.to === level) &&
    (source === undefined || report.source?.channel === source || report.source?.principal === source)
  );
}

/** The reports of an appliance. */
export class Reports {
  readonly #path: string;
  readonly #kept: number;
  /** By epoch, in order. */
  readonly #reports = new Map<Epoch, TransitionReport>();
  #pending: string[] = [];
  #writing: Promise<void> | undefined;
  #lost = 0;
  /** The file may end within a line: after a start, and after a write that failed. */
  #torn = true;

  /**
   * @param kept how many reports are kept in memory.
   * @param lines what {@link readReports} found; those that cannot be read are passed over.
   */
  constructor(path: string, kept: number, lines: readonly string[]) {
    this.#path = path;
    this.#kept = kept;
    for (const line of lines) {
      const report = parse(line);
      if (report !== undefined) this.#keep(report);
    }
  }

  /**
   * A report that began, ended or changed. Not flushed: what must survive a power cut is in the journal, and ended
   * transitions are records besides.
   *
   * @param write into the file too; at the beginning already, so that a crash leaves the source.
   */
  put(report: TransitionReport, write: boolean): void {
    this.#keep(report);
    if (write) this.#write(report);
  }

  get(epoch: bigint): TransitionReport | undefined {
    return epoch === 0n ? this.newest() : this.#reports.get(epoch as Epoch);
  }

  newest(): TransitionReport | undefined {
    return [...this.#reports.values()].at(-1);
  }

  /** Newest first. @param before only smaller epochs; 0 = from the newest. @param wanted only what it says. */
  list(limit: number, before: bigint, wanted: ReportFilter = {}): readonly TransitionReport[] {
    return [...this.#reports.values()]
      .reverse()
      .filter((report) => (before === 0n || report.epoch < before) && isWanted(report, wanted))
      .slice(0, limit);
  }

  /** Reports that an earlier process left running. */
  unfinished(): readonly TransitionReport[] {
    return [...this.#reports.values()].filter(({ outcome }) => outcome === 'running');
  }

  /** Reports that could not be written. */
  get lost(): number {
    return this.#lost;
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await this.#writing;
  }

  #keep(report: TransitionReport): void {
    const epoch = report.epoch as Epoch;
    this.#reports.set(epoch, report);
    while (this.#reports.size > this.#kept) {
      const [oldest] = this.#reports.keys();
      if (oldest === undefined) break;
      this.#reports.delete(oldest);
    }
  }

  #write(report: TransitionReport): void {
    if (this.#pending.length >= PENDING_MAX) {
      this.#lost += 1;
      return;
    }
    this.#pending.push(
      JSON.stringify(report, (_key, value: unknown) =>
        typeof value === 'bigint' ? value.toString() : value,
      ),
    );
    this.#writing ??= this.#flush();
  }

  async #flush(): Promise<void> {
    while (this.#pending.length > 0) {
      const lines = this.#pending.splice(0);
      try {
        const size = await stat(this.#path).then(
          (status) => status.size,
          () => 0,
        );
        if (size > FILE_MAX_BYTES) await rename(this.#path, `${this.#path}.1`);
        const text = lines.map((line) => `${line}\n`).join('');
        await appendFile(this.#path, this.#torn ? `\n${text}` : text, { mode: 0o600 });
        this.#torn = false;
      } catch {
        this.#torn = true;
        this.#lost += lines.length;
      }
    }
    this.#writing = undefined;
  }
}

/** History is worth keeping and worth nothing against a start: what cannot be read is not there. */
/** What an earlier process left in the files at `path`, oldest first. Never fails. */
export async function readReports(path: string): Promise<readonly string[]> {
  const texts = await Promise.all([`${path}.1`, path].map((file) => readFile(file, 'utf8').catch(() => '')));
  return texts.flatMap((text) => text.split('\n').filter((line) => line !== ''));
}

function parse(line: string): TransitionReport | undefined {
  try {
    const { source, ...report } = storedReport.parse(JSON.parse(line));
    return source === undefined ? report : { ...report, source };
  } catch {
    return undefined;
  }
}

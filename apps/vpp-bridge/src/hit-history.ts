/**
 * What the data planes counted during the last hour, per zone pair and allowlist entry, second by second.
 * It must not say what would become of the traffic; that is the plan's business.
 */
import { layout, type SegmentReader } from '@kedge/shared-memory-ipc';
import type { EntryLabel } from '@kedge/posture';

/** Longest history, seconds (PlanRequest.window_s). */
export const MAX_WINDOW_S = 3_600;
/** Most counts that are held, all samples together; with more the history becomes shorter than the window. */
const MAX_COUNTS = 2_000_000;

const { maxZones } = layout.limits;
const PAIRS = maxZones * maxZones;
const VERDICT_PLACES = 4;

/** Traffic that was counted together: one direction between two zones, by an entry or by the pair itself. */
export interface Counted {
  readonly fromZone: number;
  readonly toZone: number;
  /** Name of the allowlist entry; empty for what the zone pair judged. */
  readonly entry: string;
  readonly packets: bigint;
}

/** What ids meant in the tables of one generation. */
export interface GenerationLabels {
  readonly labels: readonly EntryLabel[];
  /** Zone id by name. */
  readonly zoneIds: ReadonlyMap<string, number>;
}

/** Where a worker's counters are read, and under which generation they were counted. */
export interface WorkerCounters {
  /** Unique and constant while the counters go on: "NAME/WORKER". */
  readonly key: string;
  readonly generation: bigint;
  /** Packets judged by the pair, all verdicts together, at [from * 16 + to]. */
  readonly pairs: readonly bigint[];
  /** Packets by entry id. */
  readonly hits: readonly bigint[];
}

/** Reads the counters of one worker. `entries` bounds how many ids are looked at. */
export function readCounters(
  reader: SegmentReader,
  name: string,
  worker: number,
  entries: number,
): WorkerCounters {
  const at = layout.dataplane.worker + worker * layout.worker.size;
  const counters = at + layout.worker.counters;
  const generation = reader.load64(at + layout.worker.generation);
  const pairBytes = reader.bytes(counters + layout.workerCounters.pair, PAIRS * VERDICT_PLACES * 8);
  const hitBytes = reader.bytes(
    counters + layout.workerCounters.hit,
    Math.min(entries, layout.limits.maxEntries) * 8,
  );
  const pairs = Array.from({ length: PAIRS }, (_, pair) => {
    let sum = 0n;
    for (let verdict = 0; verdict < VERDICT_PLACES; verdict++)
      sum += pairBytes.readBigUInt64LE((pair * VERDICT_PLACES + verdict) * 8);
    return sum;
  });
  const hits = Array.from({ length: hitBytes.length / 8 }, (_, id) => hitBytes.readBigUInt64LE(id * 8));
  return { key: `${name}/${String(worker)}`, generation, pairs, hits };
}

interface Sample {
  readonly atNs: bigint;
  readonly counts: ReadonlyMap<string, bigint>;
}

/** Samples of counters, newest last, bounded in time and in number. */
export class HitHistory {
  readonly #samples: Sample[] = [];
  readonly #before = new Map<string, WorkerCounters>();
  #held = 0;
  #startedAtNs: bigint | undefined;

  /**
   * Takes one sample of all workers.
   *
   * What a worker counted while it moved from one generation to another belongs to neither (ids may have changed
   * their meaning) and is left out, as is what it counted before it was seen first.
   *
   * @param labelsOf what ids mean in a generation; undefined = not known here.
   */
  sample(
    atNs: bigint,
    workers: readonly WorkerCounters[],
    labelsOf: (generation: bigint) => GenerationLabels | undefined,
  ): void {
    this.#startedAtNs ??= atNs;
    const counts = new Map<string, bigint>();
    const add = (fromZone: number, toZone: number, entry: string, packets: bigint): void => {
      const key = `${String(fromZone)} ${String(toZone)} ${entry}`;
      counts.set(key, (counts.get(key) ?? 0n) + packets);
    };
    for (const now of workers) {
      const before = this.#before.get(now.key);
      this.#before.set(now.key, now);
      const meaning = labelsOf(now.generation);
      if (before?.generation !== now.generation || meaning === undefined) continue;
      for (const [pair, count] of now.pairs.entries()) {
        const packets = stepOf(before.pairs[pair], count);
        if (packets > 0n) add(Math.floor(pair / maxZones), pair % maxZones, '', packets);
      }
      for (const [id, count] of now.hits.entries()) {
        const packets = stepOf(before.hits[id], count);
        const label = meaning.labels[id];
        if (packets > 0n && label !== undefined)
          add(
            meaning.zoneIds.get(label.fromZone) ?? 0,
            meaning.zoneIds.get(label.toZone) ?? 0,
            label.name,
            packets,
          );
      }
    }
    this.#samples.push({ atNs, counts });
    this.#held += counts.size;
    const oldest = atNs - BigInt(MAX_WINDOW_S) * 1_000_000_000n;
    while (this.#samples.length > 1) {
      const [first] = this.#samples;
      if (first === undefined || (first.atNs > oldest && this.#held <= MAX_COUNTS)) break;
      this.#samples.shift();
      this.#held -= first.counts.size;
      this.#startedAtNs = first.atNs;
    }
  }

  /** What was counted during the last `windowS` seconds, and how many of them the history really covers. */
  window(
    nowNs: bigint,
    windowS: number,
  ): { readonly coveredS: number; readonly counted: readonly Counted[] } {
    const since = nowNs - BigInt(windowS) * 1_000_000_000n;
    const sums = new Map<string, bigint>();
    for (const { atNs, counts } of this.#samples)
      if (atNs > since) for (const [key, packets] of counts) sums.set(key, (sums.get(key) ?? 0n) + packets);
    const covered =
      this.#startedAtNs === undefined ? 0 : Number((nowNs - this.#startedAtNs) / 1_000_000_000n);
    return {
      coveredS: Math.max(0, Math.min(windowS, covered)),
      counted: [...sums].map(([key, packets]) => {
        const [fromZone = '0', toZone = '0', entry = ''] = key.split(' ');
        return { fromZone: Number(fromZone), toZone: Number(toZone), entry, packets };
      }),
    };
  }
}

/** How far a counter went on; one that is smaller than before was started anew. */
function stepOf(before: bigint | undefined, now: bigint): bigint {
  if (before === undefined) return 0n;
  return now >= before ? now - before : now;
}

/**
 * Rings of numbered slots in shared memory, as a reader sees them: what is whole, in order, and how much was missed.
 * It must not know what stands in a slot, nor believe a number that it reads.
 */
import type { SegmentReader } from '@kedge/shared-memory-ipc';

/** Where a ring stands in a segment. All offsets are bytes. */
export interface RingPlace {
  /** Of the number of records ever written. */
  readonly written: number;
  /** Of the first slot. */
  readonly slots: number;
  readonly slotSize: number;
  readonly slotCount: number;
  /** Of the sequence number inside a slot: 2n + 1 while record n is written, 2n + 2 when it is whole. */
  readonly sequence: number;
}

/** A record with its place in the ring. */
export type Numbered<T> = T & {
  /** Its number, from 0. */
  readonly number: bigint;
  /** Records lost directly before it. */
  readonly gap: bigint;
};

/** What was read of a ring. */
export interface Reading<T> {
  readonly records: readonly Numbered<T>[];
  /** The number to go on with. */
  readonly next: bigint;
  /** Records lost in all, those before the first that was read and those after the last included. */
  readonly gaps: bigint;
}

/**
 * Reads a ring from record `from` on. A record that is overwritten, being written or refused counts as a gap.
 *
 * @param read takes what stands at the offset of a slot, word by word with `load64` and `load32`, which keep their
 *   order; undefined = no record that can be.
 */
export function readSlots<T extends object>(
  reader: SegmentReader,
  place: RingPlace,
  from: bigint,
  read: (slot: number) => T | undefined,
): Reading<T> {
  const count = BigInt(place.slotCount);
  const written = reader.load64(place.written);
  // A ring that is younger than what was read of it was made anew.
  let next = from > written ? 0n : from;
  let gap = written - next > count ? written - next - count : 0n;
  next += gap;
  let gaps = gap;
  const records: Numbered<T>[] = [];
  for (; next < written; next += 1n) {
    const slot = place.slots + Number(next % count) * place.slotSize;
    const whole = BigInt.asUintN(64, 2n * next + 2n);
    const isWhole = (): boolean => reader.load64(slot + place.sequence) === whole;
    const record = isWhole() ? read(slot) : undefined;
    if (record === undefined || !isWhole()) {
      gap += 1n;
      gaps += 1n;
      continue;
    }
    records.push({ ...record, number: next, gap });
    gap = 0n;
  }
  return { records, next, gaps };
}

const COUNT_MAX = 2n ** 64n - 1n;

/** What one reader has had of the rings of workers: where to go on, and how much it never had. */
export class RingProgress {
  /** Numbers to go on with, by worker, for each file: a file made anew counts from 0. */
  readonly #next = new WeakMap<SegmentReader, Map<number, bigint>>();
  readonly #gaps = new Map<string, bigint>();

  /** Records of a data plane that were lost; stays within the 64 bits in which it is told. */
  gaps(name: string): bigint {
    return this.#gaps.get(name) ?? 0n;
  }

  /** Takes what is new in the ring of a worker. */
  take<T>(
    { name, reader }: { readonly name: string; readonly reader: SegmentReader },
    worker: number,
    read: (from: bigint) => Reading<T>,
  ): readonly Numbered<T>[] {
    const numbers = this.#next.get(reader) ?? new Map<number, bigint>();
    const { records, next, gaps } = read(numbers.get(worker) ?? 0n);
    this.#next.set(reader, numbers.set(worker, next));
    const sum = this.gaps(name) + gaps;
    this.#gaps.set(name, sum > COUNT_MAX ? COUNT_MAX : sum);
    return records;
  }
}

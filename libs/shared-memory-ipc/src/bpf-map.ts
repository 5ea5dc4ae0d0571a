/**
 * BPF array maps that are pinned in a BPF file system: checked, mapped for reading, watched by a native thread.
 * Must not know what a map means.
 */
import { addon, type BpfReport, type Handle } from './addon.js';
import { argumentError, bpfRefusalError, SegmentError } from './segment-error.js';

/** What a map has to be; anything else is refused before a byte of it is read. */
export interface BpfArrayShape {
  /** Bytes of one value, a multiple of 8 up to 4096. */
  readonly valueSize: number;
  /** 1 to 1024. */
  readonly entries: number;
  /** BPF programs may only read it (BPF_F_RDONLY_PROG). */
  readonly programsOnlyRead?: boolean;
}

export interface BpfWatchCounts {
  /** Changes that the thread has seen. */
  readonly changes: number;
  /** Changes whose place a newer one took because JavaScript was busy for too long. */
  readonly overrun: number;
  /** Whether the thread got real-time priority. */
  readonly realtime: boolean;
}

export interface BpfWatch {
  counts(): BpfWatchCounts;
  /** Ends the thread; `onChange` is not called any more. A second call does nothing. */
  close(): void;
}

/** An open map. */
export interface BpfArray {
  readonly path: string;
  /** Of the map in this kernel; another map pinned at the same path has another. */
  readonly id: number;
  /** One aligned word out of all values; @throws SegmentError SEGMENT_RANGE, SEGMENT_CLOSED */
  load64(offset: number): bigint;
  /**
   * Replaces one value. The kernel copies aligned words of 8 bytes each in one piece.
   * @throws SegmentError SEGMENT_ARGUMENT (not opened for writing), SEGMENT_RANGE, SEGMENT_CLOSED, BPFMAP_SYSTEM
   */
  update(index: number, value: Uint8Array): void;
  /**
   * Looks at one word every `periodUs` microseconds in a thread of its own and calls back when it differs from what
   * it saw before, at first from `last`: values in their order, and when each was seen (CLOCK_MONOTONIC). Keeps no
   * process alive. The map may be closed meanwhile.
   * @throws SegmentError SEGMENT_ARGUMENT (also where it is not mapped), SEGMENT_RANGE, SEGMENT_CLOSED, SEGMENT_SYSTEM
   */
  watch(options: {
    readonly offset: number;
    readonly last: bigint;
    readonly onChange: (values: readonly bigint[], seenAtNs: readonly bigint[]) => void;
    /** 100 to 1,000,000. */
    readonly periodUs: number;
    readonly realtime?: boolean;
  }): BpfWatch;
  close(): void;
}

/**
 * How a map is opened. The kernel maps only what may be written, so that `map` and `write` need the right to write
 * the pin; `look-up` needs the right to read it, reads by calls, and cannot watch. Only `write` can update.
 */
export type BpfAccess = 'look-up' | 'map' | 'write';
const ACCESS: readonly BpfAccess[] = ['look-up', 'map', 'write'];

/**
 * Opens a pinned map: owner and mode of the pin, then what the kernel says about the map, and only then a mapping.
 * @param owner uid that has to own the pin; "any" = whoever.
 * @throws SegmentError with a code BPFMAP_… , SEGMENT_ARGUMENT
 */
export function openBpfArray(options: {
  readonly path: string;
  readonly shape: BpfArrayShape;
  readonly owner: number | 'any';
  readonly access: BpfAccess;
}): BpfArray {
  const { path, shape, owner, access } = options;
  checked(path, shape);
  const report = addon.openBpf(
    path,
    shape.valueSize,
    shape.entries,
    shape.programsOnlyRead ?? false,
    owner === 'any' ? undefined : owner,
    ACCESS.indexOf(access),
  );
  return arrayOf('open', path, report);
}

/**
 * Makes a map and pins it where nothing is pinned yet. Needs CAP_BPF; the pin gets owner and mode.
 * @param name what tools show, at most 15 of [A-Za-z0-9_.].
 * @throws SegmentError with a code BPFMAP_… , SEGMENT_ARGUMENT
 */
export function createBpfArray(options: {
  readonly path: string;
  readonly name: string;
  readonly shape: BpfArrayShape;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}): BpfArray {
  const { path, name, shape, uid, gid, mode } = options;
  checked(path, shape);
  if (!/^[A-Za-z0-9_.]{1,15}$/.test(name)) throw argumentError('name', '1 to 15 of [A-Za-z0-9_.]', name);
  const report = addon.createBpf(
    path,
    shape.valueSize,
    shape.entries,
    shape.programsOnlyRead ?? false,
    name,
    uid,
    gid,
    mode,
  );
  return arrayOf('make', path, report);
}

function checked(path: string, { valueSize, entries }: BpfArrayShape): void {
  if (!path.startsWith('/') || path.includes('\0')) throw argumentError('path', 'an absolute path', path);
  if (!Number.isInteger(valueSize) || valueSize < 8 || valueSize > 4096 || valueSize % 8 !== 0)
    throw argumentError('valueSize', 'a multiple of 8 up to 4096', valueSize);
  if (!Number.isInteger(entries) || entries < 1 || entries > 1024)
    throw argumentError('entries', 'a whole number of 1..1024', entries);
}

function arrayOf(operation: string, path: string, report: BpfReport): BpfArray {
  const { handle, id } = report;
  if (handle === undefined || id === undefined) throw bpfRefusalError(operation, path, report);
  return opened(path, id, handle);
}

function opened(path: string, id: number, handle: Handle): BpfArray {
  return {
    path,
    id,
    load64: (offset) => addon.loadBpf64(handle, offset),
    update: (index, value) => {
      const errno = addon.updateBpf(handle, index, value);
      if (errno === 0) return;
      throw new SegmentError({
        code: 'BPFMAP_SYSTEM',
        message: `cannot write to the BPF map ${path}: errno ${errno.toString()}`,
        field: 'system',
        expected: 'the system call to succeed',
      });
    },
    watch: ({ offset, last, onChange, periodUs, realtime = false }) => {
      if (typeof onChange !== 'function') throw argumentError('onChange', 'a function', onChange);
      if (!Number.isInteger(periodUs) || periodUs < 100 || periodUs > 1_000_000)
        throw argumentError('periodUs', 'a whole number of 100..1000000 microseconds', periodUs);
      const watch = addon.watchBpf(handle, offset, last, onChange, periodUs, realtime);
      return {
        counts: () => addon.bpfWatchCounts(watch),
        close: () => {
          addon.closeBpfWatch(watch);
        },
      };
    },
    close: () => {
      addon.closeBpf(handle);
    },
  };
}

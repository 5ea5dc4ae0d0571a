/**
 * The native listener: one thread that sleeps on the bells of several segments and calls back into JavaScript.
 * Must not decide anything: it tells who rang, and counts what it had to deliver together.
 */
import { addon } from './addon.js';
import { layout } from './layout.js';
import { argumentError } from './segment-error.js';
import { handleOf, type SegmentReader } from './segment.js';

/** rings = delivered + coalesced + pending, always. */
export interface ListenerCounts {
  /** Bumps of all bells that the thread has seen. */
  readonly rings: number;
  /** Calls of `onRing` with at least one segment. */
  readonly delivered: number;
  /** Rings that shared a call with an earlier one, because JavaScript was busy or they came together. */
  readonly coalesced: number;
  /** Rings seen whose call is still under way. */
  readonly pending: number;
}

export interface Listener {
  /** Whether the thread got real-time priority (SCHED_FIFO). Without it, it works with a wider tail. */
  readonly realtime: boolean;
  counts(): ListenerCounts;
  /** Lets the process end while the listener is open; `ref` takes it back. */
  unref(): void;
  ref(): void;
  /** Ends the thread; `onRing` is not called any more. A second call does nothing. */
  close(): void;
}

/**
 * Starts a listener. A ring after this call returns is never lost, but rings may share a call. The segments
 * may be closed while it listens: it holds mappings of its own until it is closed.
 *
 * `onRing` gets the indices into `segments` that rang; with `timeoutMs` it is also called with none when
 * nothing rang for so long. What it throws is an uncaught exception, as from any event handler.
 * @throws SegmentError SEGMENT_ARGUMENT, SEGMENT_CLOSED, SEGMENT_SYSTEM
 */
export function listen(options: {
  readonly segments: readonly SegmentReader[];
  readonly onRing: (changed: readonly number[]) => void;
  readonly timeoutMs?: number;
  readonly realtime?: boolean;
}): Listener {
  const { segments, onRing, timeoutMs, realtime = false } = options;
  const most = layout.limits.maxBells - 1;
  if (!Array.isArray(options.segments) || segments.length < 1 || segments.length > most)
    throw argumentError('segments', `an array of 1..${most.toString()} segments`, segments);
  if (typeof onRing !== 'function') throw argumentError('onRing', 'a function', onRing);
  if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= 86_400_000))
    throw argumentError('timeoutMs', 'a number of 1..86400000 milliseconds', timeoutMs);
  const handle = addon.listen(
    segments.map((segment) => handleOf(segment)),
    onRing,
    timeoutMs ?? -1,
    realtime,
  );
  const hasRealtime = addon.listenerRealtime(handle);
  return {
    realtime: hasRealtime,
    counts: () => addon.listenerCounts(handle),
    unref: () => {
      addon.listenerKeep(handle, false);
    },
    ref: () => {
      addon.listenerKeep(handle, true);
    },
    close: () => {
      addon.closeListener(handle);
    },
  };
}

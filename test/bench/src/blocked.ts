/**
 * Which losses a change of level explains, and which nothing explains: pure arithmetic over moments and gaps.
 * Must not know which class or level is which.
 */
import type { Gap, Stall } from './packets.js';
import type { Decided } from './rig.js';

/** Times of CLOCK_MONOTONIC in nanoseconds. */
interface Span {
  readonly from: number;
  readonly until: number;
}

/**
 * When a class was not to pass: from the decision for a level that drops it to the acknowledgement of one that does
 * not. `decided` in order of time; what counts before the first is its `from`.
 */
export function closedSpans(decided: readonly Decided[], allows: (level: Decided['to']) => boolean): Span[] {
  const spans: Span[] = [];
  let from = decided[0] === undefined || allows(decided[0].from) ? undefined : Number.NEGATIVE_INFINITY;
  for (const d of decided) {
    if (!allows(d.to)) from ??= d.decidedNs;
    else if (from !== undefined) {
      spans.push({ from, until: d.acknowledgedNs });
      from = undefined;
    }
  }
  if (from !== undefined) spans.push({ from, until: Number.POSITIVE_INFINITY });
  return spans;
}

/** The first place of ascending `list` at which `is` holds; the length where it holds nowhere. */
function firstAt<T>(list: readonly T[], is: (each: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const each = list[middle];
    if (each !== undefined && is(each)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Turns moments into the time in which frames came: stalls take none. `stalls` in order, none within another. */
export function busyTime(stalls: readonly Stall[]): (moment: number) => number {
  let sum = 0;
  const before = stalls.map(([from, until]) => (sum += until - from) - (until - from));
  return (moment) => {
    const at = firstAt(stalls, ([from]) => from > moment) - 1;
    const [from, until] = stalls[at] ?? [0, 0];
    return at < 0 ? moment : Math.min(moment, from) + Math.max(0, moment - until) - (before[at] ?? 0);
  };
}

/**
 * For each decision, how many frames are missing that were judged from it to the next and that no closed span
 * explains. A frame would have come when it was judged, but for `slackNs`; those of a gap stand evenly in it, outside
 * of stalls, and one of which it is not certain when it was judged is excused if it may have been within a span.
 */
export function unexplainedLosses(
  decided: readonly Decided[],
  gaps: readonly Gap[],
  allows: (level: Decided['to']) => boolean,
  slackNs: number,
  stalls: readonly Stall[] = [],
): number[] {
  const busy = busyTime(stalls);
  const spans = closedSpans(decided, allows).map(({ from, until }) => ({
    from: busy(from - slackNs),
    until: busy(until + slackNs),
  }));
  const lost = decided.map(() => 0);
  for (const [, , missing, from, until] of gaps) {
    const first = busy(Math.min(from, until));
    const last = busy(Math.max(from, until)) + 1;
    let explained = 0;
    for (let i = firstAt(spans, (s) => s.until > first); i < spans.length; i += 1) {
      const span = spans[i];
      if (span === undefined || span.from >= last) break;
      explained += Math.min(last, span.until) - Math.max(first, span.from);
    }
    if (until < from && explained > 0) explained = last - first;
    const unexplained = Math.ceil(missing * (1 - explained / (last - first)));
    const at = Math.max(0, firstAt(decided, (d) => d.decidedNs > Math.min(from, until)) - 1);
    if (unexplained > 0 && lost.length > 0) lost[at] = (lost[at] ?? 0) + unexplained;
  }
  return lost;
}

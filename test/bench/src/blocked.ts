/**
 * Which losses a change of level explains, and which nothing explains: pure arithmetic over moments and gaps.
 * Must not know which class or level is which.
 */
import type { Gap, Pause } from './packets.js';
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

/** Turns moments into times of sending: pauses take none. `pauses` in order of time, none within another. */
export function sendingTime(pauses: readonly Pause[]): (moment: number) => number {
  let sum = 0;
  const before = pauses.map(([from, until]) => (sum += until - from) - (until - from));
  return (moment) => {
    const at = firstAt(pauses, ([from]) => from > moment) - 1;
    const [from, until] = pauses[at] ?? [0, 0];
    return at < 0 ? moment : Math.min(moment, from) + Math.max(0, moment - until) - (before[at] ?? 0);
  };
}

/** How far a frame may be from where it stands by the account. */
export interface Slack {
  /** As long as a frame may take: what was sent so long before a span was still judged in it. */
  readonly beforeNs: number;
  /** As far apart as frames are, and as late as they may be sent. */
  readonly aroundNs: number;
}

/**
 * For each decision, how many frames are missing that were sent from it to the next and that no closed span explains.
 * A gap's frames stand evenly in its time of sending.
 */
export function unexplainedLosses(
  decided: readonly Decided[],
  gaps: readonly Gap[],
  allows: (level: Decided['to']) => boolean,
  slack: Slack,
  pauses: readonly Pause[] = [],
): number[] {
  const sent = sendingTime(pauses);
  const spans = closedSpans(decided, allows).map(({ from, until }) => ({
    from: sent(from - slack.beforeNs) - slack.aroundNs,
    until: sent(until) + slack.aroundNs,
  }));
  const lost = decided.map(() => 0);
  for (const [afterMoment, beforeMoment, missing] of gaps) {
    const [after, before] = [sent(afterMoment), sent(beforeMoment)];
    const length = Math.max(1, before - after);
    let outside = length;
    for (let i = firstAt(spans, (s) => s.until > after); i < spans.length; i += 1) {
      const span = spans[i];
      if (span === undefined || span.from >= before) break;
      outside -= Math.min(before, span.until) - Math.max(after, span.from);
    }
    const unexplained = Math.round((missing * Math.max(0, outside)) / length);
    const at = Math.max(0, firstAt(decided, (d) => d.decidedNs > afterMoment) - 1);
    if (unexplained > 0 && lost.length > 0) lost[at] = (lost[at] ?? 0) + unexplained;
  }
  return lost;
}

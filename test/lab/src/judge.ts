/**
 * What was allowed when: from a trace of the board to the spans of time in which a class of traffic must not
 * get through, and the packets that did all the same.
 * It must not know accords; what a level does stands in expectations.ts.
 */
import type { Level } from '@kedge/units';

import type { BoardState } from './board-watch.js';
import { EXPECTED } from './expectations.js';
import { CLASS_NAMES, type ClassName } from './topology.js';
import type { Sighting, Traffic } from './traffic.js';

const LOOSEN_DATAPLANE = 5;
const FRESH_NS = 1_000_000_000n;

/** From this moment on the loosest level that packets may be judged by. CLOCK_MONOTONIC nanoseconds. */
export interface Allowance {
  readonly fromNs: bigint;
  readonly level: Level;
  /** What made it so: the last acknowledgement, the deadline that passed without one, a looser word. */
  readonly because: 'start' | 'acknowledged' | 'deadline' | 'loosened';
  readonly epoch: bigint;
}

/** True when every live worker has acknowledged the epoch, at this level or a tighter one. */
export function acknowledgedBy(state: BoardState, epoch: bigint, level: Level): boolean {
  const live = state.workers.filter((worker) => worker.live);
  return live.length > 0 && live.every((worker) => worker.epoch >= epoch && worker.level <= level);
}

/** When the last live worker had acknowledged the epoch; undefined when none of the states shows it. */
export function lastAcknowledgement(
  states: readonly BoardState[],
  epoch: bigint,
  level: Level,
): bigint | undefined {
  const state = states.find((candidate) => acknowledgedBy(candidate, epoch, level));
  return state?.workers
    .filter((worker) => worker.live)
    .map((worker) => worker.finishedAtNs)
    .reduce((a, b) => (a > b ? a : b));
}

/**
 * The loosest level allowed at every moment of a trace. A tightening binds from the last acknowledgement, or
 * from `graceNs` after its decision when that comes first; a loosening frees from its stage or store on.
 * The result is in order of time; where several hold, a later entry replaces an earlier one.
 */
export function allowances(states: readonly BoardState[], graceNs: bigint): readonly Allowance[] {
  const [first] = states;
  if (first === undefined) return [];
  const result: Allowance[] = [
    { fromNs: first.atNs, level: first.word.level, because: 'start', epoch: first.word.epoch },
  ];
  states.forEach((state, at) => {
    const before = states[at - 1];
    if (before === undefined || state.word.level === before.word.level) return;
    const { epoch, level } = state.word;
    if (level < before.word.level) {
      // A word that recovery has put back stands under a line of its own time: the store counts then.
      const { epoch: named, decidedAtNs } = state.line;
      const fresh = named === epoch && state.word.storedAtNs - decidedAtNs < FRESH_NS;
      const decidedAt = fresh ? decidedAtNs : state.word.storedAtNs;
      const deadline = decidedAt + graceNs;
      const acknowledged = lastAcknowledgement(states.slice(at), epoch, level);
      const inTime = acknowledged !== undefined && acknowledged < deadline;
      result.push({
        fromNs: inTime ? acknowledged : deadline,
        level,
        because: inTime ? 'acknowledged' : 'deadline',
        epoch,
      });
    } else {
      const released = states
        .filter(({ line }) => line.epoch === epoch && line.stage === LOOSEN_DATAPLANE)
        .map(({ line }) => line.stageAtNs);
      const fromNs = [...released, state.word.storedAtNs].reduce((a, b) => (a < b ? a : b));
      result.push({ fromNs, level, because: 'loosened', epoch });
    }
  });
  // A loosening that came before the tightening it followed was due ends that one before it began.
  return result.filter((entry, at) => !result.slice(at + 1).some((later) => later.fromNs <= entry.fromNs));
}

/** A span in which a class must not get through: sent after `afterNs` and received before `beforeNs`. */
export interface ClosedSpan {
  readonly class: ClassName;
  readonly afterNs: bigint;
  readonly beforeNs: bigint;
  readonly because: Allowance['because'];
  readonly epoch: bigint;
  readonly level: Level;
}

/** The spans in which each class is closed, up to `untilNs`. Neighbouring levels that both drop are one span. */
export function closedSpans(allowed: readonly Allowance[], untilNs: bigint): readonly ClosedSpan[] {
  return CLASS_NAMES.flatMap((name) => {
    const spans: ClosedSpan[] = [];
    let open: Omit<ClosedSpan, 'beforeNs'> | undefined;
    for (const { fromNs, level, because, epoch } of allowed) {
      const closed = EXPECTED[name][level] === 'drop';
      if (closed && open === undefined) open = { class: name, afterNs: fromNs, because, epoch, level };
      else if (!closed && open !== undefined) {
        spans.push({ ...open, beforeNs: fromNs });
        open = undefined;
      }
    }
    if (open !== undefined && open.afterNs < untilNs) spans.push({ ...open, beforeNs: untilNs });
    return spans;
  });
}

/** Packets of a class that got through while it was closed. */
export interface Leak {
  readonly span: ClosedSpan;
  readonly packets: number;
  /** False when the receiver's log no longer reached back: the count is a lower bound. */
  readonly complete: boolean;
  readonly first?: Sighting;
  readonly last?: Sighting;
}

/** Asks the receivers for everything that got through a closed span; spans without packets are left out. */
export async function leaks(traffic: Traffic, spans: readonly ClosedSpan[]): Promise<readonly Leak[]> {
  const found: Leak[] = [];
  for (const span of spans) {
    const { packets, complete, first, last } = await traffic.forbidden(
      span.class,
      span.afterNs,
      span.beforeNs,
    );
    if (packets === 0 && complete) continue;
    found.push({
      span,
      packets,
      complete,
      ...(first === undefined ? {} : { first }),
      ...(last === undefined ? {} : { last }),
    });
  }
  return found;
}

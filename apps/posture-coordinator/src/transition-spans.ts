/**
 * The spans that the coordinator says of a transition that ended: the whole, the store, the journal, each path's turn,
 * the verification. What workers and participants did is said by those who saw it.
 * It must not know where spans go.
 */
import type { TransitionReport } from '@kedge/bus';
import { PATHS, type Span, SPAN_PLACE } from '@kedge/contracts';

/** Spans of a report that is complete. */
export function spansOf(report: TransitionReport): readonly Span[] {
  const { epoch, from, to, outcome, decidedAtNs, storedAtNs, journaledAtNs, completedAtNs } = report;
  // A request that was stamped by another clock, or by none, began when it was decided.
  const begun =
    report.receivedAtNs > 0n && report.receivedAtNs < decidedAtNs ? report.receivedAtNs : decidedAtNs;
  const parent = SPAN_PLACE.transition;
  const child = (
    place: number,
    name: string,
    startNs: bigint,
    endNs: bigint,
    more: Partial<Span> = {},
  ): readonly Span[] =>
    startNs === 0n || endNs < startNs || startNs < begun || endNs > completedAtNs
      ? []
      : [{ epoch, place, parent, name, startNs, endNs, failed: false, attributes: {}, ...more }];
  const paths = PATHS.flatMap((path) => {
    const told = report.paths.find((each) => each.path === path);
    if (told === undefined) return [];
    const { budgetNs, outcome: how } = told;
    if (how === 'absent') return [];
    // Who is not done is waited for until the end; who was done before its turn came began no later than that.
    const endNs = told.endNs === 0n ? completedAtNs : told.endNs;
    const startNs = endNs < told.startNs ? endNs : told.startNs;
    return child(SPAN_PLACE.path(path), path, startNs, endNs, {
      failed: how === 'late' || how === 'failed',
      attributes: { outcome: how, budget_ns: budgetNs },
    });
  });
  const done = paths.reduce((last, { endNs }) => (endNs > last ? endNs : last), storedAtNs);
  return [
    {
      epoch,
      place: parent,
      name: 'transition',
      startNs: begun,
      endNs: completedAtNs,
      failed: outcome !== 'completed' && outcome !== 'preempted',
      attributes: { from, to, outcome, durable: report.durable },
    },
    ...child(SPAN_PLACE.store, 'store', decidedAtNs, storedAtNs),
    ...child(SPAN_PLACE.journal, 'journal', decidedAtNs, journaledAtNs),
    ...paths,
    ...(outcome === 'completed' ? child(SPAN_PLACE.verify, 'verify', done, completedAtNs) : []),
  ];
}

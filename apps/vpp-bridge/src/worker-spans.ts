/**
 * The spans of the packet workers of one transition, from what they acknowledged on the board.
 * It must not know where spans go.
 */
import type { DataplaneAcknowledged } from '@kedge/bus';
import { type Span, SPAN_PLACE } from '@kedge/contracts';

/** @param dataplanes names as the configuration has them: a span is called by the place of its data plane. */
export function workerSpans(
  { epoch, workers }: DataplaneAcknowledged,
  dataplanes: readonly string[],
): readonly Span[] {
  return workers
    .filter(({ ack }) => ack.epoch === epoch)
    .map(({ who, ack }) => {
      const [name = '', worker = '0'] = who.split('/');
      return {
        epoch,
        place: SPAN_PLACE.worker(dataplanes.indexOf(name), Number(worker)),
        parent: SPAN_PLACE.path('dataplane'),
        name: `worker ${who}`,
        startNs: ack.startedAtNs,
        endNs: ack.finishedAtNs,
        failed: ack.outcome === 'failed',
        attributes: { outcome: ack.outcome, level: ack.level ?? 0 },
      };
    });
}

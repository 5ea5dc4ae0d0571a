/**
 * The span that a participant says of what it did at a stage of a transition.
 * It must not know where spans go.
 */
import { type ParticipantAck, STAGES } from '@kedge/bus';
import { type Span, SPAN_PLACE } from '@kedge/contracts';

/** Told of every acknowledgement, gives the span of those that are new: later rounds of the same stage are none. */
export function participantSpans(path: 'overlay' | 'underlay'): (ack: ParticipantAck) => readonly Span[] {
  let last = '';
  return ({ epoch, stage, outcome, level, startedAtNs, finishedAtNs, changes }) => {
    const said = `${String(epoch)}/${stage}`;
    if (said === last) return [];
    last = said;
    return [
      {
        epoch,
        place: SPAN_PLACE.participant(path, STAGES.indexOf(stage)),
        parent: SPAN_PLACE.path(path),
        name: `${path} ${stage}`,
        startNs: startedAtNs,
        endNs: finishedAtNs,
        failed: outcome === 'failed',
        attributes: { outcome, level, changes },
      },
    ];
  };
}

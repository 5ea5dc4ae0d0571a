import { postureTransitionRecordSchema } from '@kedge/contracts';
import type { Transition } from '@kedge/posture';
import type { Epoch } from '@kedge/units';
import { describe, expect, it } from 'vitest';

import type { Party } from './board-standings.js';
import { recordOf, type ReportParts, transitionReportOf } from './transition-report.js';

const epoch = 9n as Epoch;
const transition: Transition = {
  epoch,
  from: 5,
  to: 2,
  direction: 'tighten',
  requested: 2,
  source: { channel: 'fleet', tier: 'master', principal: 'user:ada', reason: 'an incident' },
  requestId: 'r1',
  receivedAtNs: 90n,
  recovered: false,
  accord: false,
  late: [],
  durable: true,
};

function party(
  path: Party['standing']['path'],
  finishedAtNs: bigint,
  outcome: 'applied' | 'failed' = 'applied',
): Party {
  const acked = finishedAtNs > 0n;
  return {
    standing: {
      path,
      layer: path === 'dataplane' ? 'dataplane' : 'path',
      present: true,
      epoch: acked ? epoch : (8n as Epoch),
      level: acked ? 2 : 5,
      outcome,
    },
    ack: {
      epoch: acked ? epoch : (8n as Epoch),
      stage: 'tighten',
      startedAtNs: 110n,
      finishedAtNs: acked ? finishedAtNs : 50n,
      outcome,
      level: acked ? 2 : 5,
      changes: 4,
    },
  };
}

function reportOf(parties: Record<string, Party>, outcome: ReportParts['outcome']) {
  return transitionReportOf({
    transition,
    outcome,
    parties: new Map(Object.entries(parties)),
    budgetNs: { dataplane: 100n, overlay: 500n, underlay: 1_000n },
    earlier: undefined,
    stamps: {
      receivedAtNs: 90n,
      decidedAtNs: 100n,
      decidedAtWallMs: 1_700_000_000_000,
      storedAtNs: 101n,
      journaledAtNs: 900n,
      completedAtNs: outcome === undefined ? 0n : 2_000n,
      startNs: { dataplane: 100n, overlay: 100n, underlay: 100n },
      sessionsNs: 0n,
    },
  });
}

describe('the report of a transition', () => {
  it('PO-8 says of every path and participant when it began and ended, against which budget, and how', () => {
    const report = reportOf(
      {
        'reference/0': party('dataplane', 150n),
        'reference/1': party('dataplane', 170n),
        // Late by the turn of its path, not by its own start.
        mesh: party('overlay', 605n),
      },
      'late',
    );
    expect(report).toMatchObject({
      epoch: 9n,
      from: 5,
      to: 2,
      outcome: 'late',
      source: { principal: 'user:ada' },
    });
    expect(report.paths).toMatchObject([
      { path: 'dataplane', budgetNs: 100n, startNs: 100n, endNs: 170n, outcome: 'applied' },
      { path: 'overlay', budgetNs: 500n, startNs: 100n, endNs: 605n, outcome: 'late' },
      { path: 'underlay', outcome: 'absent', endNs: 0n, participants: [] },
    ]);
    expect(report.paths[0]?.participants[0]).toEqual({
      name: 'reference/0',
      startedAtNs: 110n,
      finishedAtNs: 150n,
      outcome: 'applied',
      level: 2,
      changes: 4,
    });
  });

  it('PO-8 tells running, cancelled, failed and late apart', () => {
    const outcomeOf = (one: Party, end: ReportParts['outcome']) =>
      reportOf({ mesh: one }, end).paths[1]?.outcome;
    expect(outcomeOf(party('overlay', 0n), undefined)).toBe('running');
    expect(outcomeOf(party('overlay', 0n), 'preempted')).toBe('cancelled');
    const newer = party('overlay', 200n);
    const overtaken = { ...newer, ack: newer.ack && { ...newer.ack, epoch: 10n as Epoch } };
    expect(outcomeOf(overtaken, 'preempted')).toBe('cancelled');
    expect(outcomeOf(party('overlay', 200n), 'preempted')).toBe('applied');
    expect(outcomeOf(party('overlay', 0n), 'late')).toBe('late');
    expect(outcomeOf(party('overlay', 200n, 'failed'), 'late')).toBe('failed');
    expect(outcomeOf(party('overlay', 200n), 'completed')).toBe('applied');
  });

  it('PO-8 becomes a record whose id is the fact, and that its schema accepts', () => {
    const record = recordOf('box-1', reportOf({ mesh: party('overlay', 200n) }, 'completed'));
    expect(record.id).toBe('posture-transition/box-1/9');
    expect(postureTransitionRecordSchema.parse(record)).toEqual(record);
  });
});

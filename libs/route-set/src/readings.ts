/**
 * What a set of routes and the participant that hosts it count.
 * It must not know which service asks, nor where metrics go.
 */
import type { Reading } from '@kedge/contracts';

import type { RouteStatus } from './hosted.js';

/** A set as the status call of its service tells it. */
export interface RoutesToRead extends RouteStatus {
  /** The epoch and level that are wholly applied; 0 = none. */
  readonly appliedEpoch: bigint;
  readonly appliedLevel: number;
}

const NS_PER_S = 1e9;

/** Readings of one set of routes; one service hosts one. */
export function routeReadings(status: RoutesToRead): readonly Reading[] {
  const gauge = (name: Reading['name'], help: string, value: number | bigint): Reading => ({
    type: 'gauge',
    name,
    help,
    labels: [],
    samples: [{ labels: {}, value }],
  });
  const took = status.lastFinishedAtNs - status.lastStartedAtNs;
  return [
    gauge('kedge_participant_level', 'The level that is wholly applied; 0 = none.', status.appliedLevel),
    gauge('kedge_participant_epoch', 'The epoch that is wholly applied; 0 = none.', status.appliedEpoch),
    gauge('kedge_routes_desired', 'Routes of the desired set.', status.desired),
    gauge('kedge_routes_allowed', 'Routes of it that the level lets into the kernel.', status.allowed),
    gauge(
      'kedge_reconciliation_failed',
      '1 while the last round of reconciliation is one that failed.',
      Number(status.lastOutcome === 'failed'),
    ),
    gauge('kedge_reconciliation_changes', 'Changes of the last round that ended.', status.lastChanges),
    gauge(
      'kedge_reconciliation_seconds',
      'How long the last round that ended took.',
      took > 0n ? Number(took) / NS_PER_S : 0,
    ),
    gauge('kedge_participant_alarms', 'Alarms that stand.', status.alarms.length),
  ];
}

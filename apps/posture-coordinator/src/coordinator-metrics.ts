/**
 * What the coordinator counts: postures, transitions against their budgets, refusals, and of the warden what stands
 * on the board.
 * It must not decide anything, nor know where metrics go.
 */
import type { PathReport, TransitionReport } from '@kedge/bus';
import { type Metrics, PATHS, type Reading } from '@kedge/contracts';

import { ledgerReadings, type Outbox } from '@kedge/ledger-link';
import { postureStateOf } from './posture-view.js';
import type { Reports } from './reports.js';
import type { TransitionDriver } from './transition-driver.js';

/** Seconds: dense around the three budgets of 1 ms, 5 s and 10 s. */
const BUCKETS = [
  0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 7.5, 10, 20,
];
const NS_PER_S = 1e9;

/** Adds what the coordinator counts; its parts are read when somebody asks. */
export function countCoordinator(
  metrics: Metrics,
  driver: TransitionDriver,
  { reports, records }: { readonly reports: Reports; readonly records: Outbox },
): void {
  const seconds = metrics.histogram({
    name: 'kedge_transition_seconds',
    help: 'From the moment at which the turn of a path came to the moment at which its last participant was done.',
    labels: ['path', 'direction'],
    buckets: BUCKETS,
  });
  const ended = metrics.counter({
    name: 'kedge_transitions_total',
    help: 'Transitions that ended, by how.',
    labels: ['direction', 'outcome'],
  });
  const missed = metrics.counter({
    name: 'kedge_budget_missed_total',
    help: 'Transitions in which a path was done later than its budget, or not at all.',
    labels: ['path'],
  });
  for (const path of PATHS) missed({ path }, 0);
  const refused = metrics.counter({
    name: 'kedge_requests_refused_total',
    help: 'Requests that were refused, by the code of the refusal.',
    labels: ['code'],
  });
  const violated = metrics.counter({
    name: 'kedge_warden_violations_total',
    help: 'What the warden recorded on the board, since the coordinator started.',
    labels: ['kind', 'path'],
  });
  driver.on('ended', (report) => {
    const direction = directionOf(report);
    ended({ direction, outcome: report.outcome });
    for (const each of report.paths) {
      const took = secondsOf(each);
      if (took !== undefined) seconds({ path: each.path, direction }, took);
      if (each.outcome === 'late') missed({ path: each.path });
    }
  });
  driver.on('refused', (code) => {
    refused({ code });
  });
  driver.on('violated', ({ kind, path }) => {
    violated({ kind, path: path ?? 'none' });
  });
  metrics.read(() => readings(driver, reports, records));
}

/** A transition to the level in force is one of accords, or a repair. */
export function directionOf({ from, to }: Pick<TransitionReport, 'from' | 'to'>): string {
  return to < from ? 'tighten' : to > from ? 'loosen' : 'same';
}

/** How long a path took; undefined where it took no part, or was not done. */
export function secondsOf({ startNs, endNs }: Pick<PathReport, 'startNs' | 'endNs'>): number | undefined {
  // Who tightened by the word alone may have been done before the stage was written.
  if (startNs === 0n || endNs === 0n) return undefined;
  return endNs > startNs ? Number(endNs - startNs) / NS_PER_S : 0;
}

function readings(driver: TransitionDriver, reports: Reports, records: Outbox): readonly Reading[] {
  const { machine } = driver;
  const state = postureStateOf(driver, reports, records);
  const gauge = (name: Reading['name'], help: string, value: number | bigint): Reading => ({
    type: 'gauge',
    name,
    help,
    labels: [],
    samples: [{ labels: {}, value }],
  });
  const counter = (name: Reading['name'], help: string, value: number | bigint): Reading => ({
    ...gauge(name, help, value),
    type: 'counter',
  });
  return [
    gauge('kedge_posture_level', 'The level that packets obey, 1 (lockdown) to 5 (normal).', state.level),
    gauge('kedge_posture_decided_level', 'The level that was decided last.', state.target),
    gauge('kedge_posture_epoch', 'The epoch of the last decision.', state.epoch),
    gauge('kedge_transition_running', '1 while a transition is under way.', Number('transition' in machine)),
    {
      type: 'gauge',
      name: 'kedge_fail_closed',
      help: '1 while the warden holds a path closed.',
      labels: ['path'],
      samples: PATHS.map((path) => ({
        labels: { path },
        value: Number(state.failClosed.some((each) => each.path === path)),
      })),
    },
    {
      type: 'gauge',
      name: 'kedge_beat_age_seconds',
      help: 'Age of the last beat of each writer of the board.',
      labels: ['service'],
      samples: state.services.map(({ name, beatAgeNs }) => ({
        labels: { service: name },
        value: Number(beatAgeNs) / NS_PER_S,
      })),
    },
    {
      type: 'gauge',
      name: 'kedge_service_serving',
      help: '1 while a writer of the board beats and says that it serves.',
      labels: ['service'],
      samples: state.services.map(({ name, serving }) => ({
        labels: { service: name },
        value: Number(serving),
      })),
    },
    gauge('kedge_alarms', 'Alarms that stand.', state.alarms.length),
    gauge(
      'kedge_disagreements',
      'Parts that believe in another posture than the one in force.',
      state.disagreements.length,
    ),
    gauge(
      'kedge_journal_durable',
      '0 once the decision journal takes no records any more.',
      Number(driver.durable),
    ),
    counter('kedge_reports_lost_total', 'Reports of transitions that could not be written.', reports.lost),
    ...ledgerReadings(records.status()),
  ];
}

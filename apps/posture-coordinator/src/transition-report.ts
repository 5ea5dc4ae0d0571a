/**
 * The report of one transition (PO-8): what was decided, and what every path and participant made of it, timed at
 * the acting ends (PO-14).
 * It must not decide how a transition ended.
 */
import type {
  Acknowledgement,
  ParticipantReport,
  PathReport,
  SourceReport,
  TransitionReport,
} from '@kedge/bus';
import { PATHS, pathOutcomeSchema, type PathName, type PostureTransitionRecord } from '@kedge/contracts';
import type { EndOutcome, OwnCause, Source, Transition } from '@kedge/posture';
import { isLevel } from '@kedge/units';

import type { Party } from './board-standings.js';

/** Moments of a transition, CLOCK_MONOTONIC nanoseconds; 0 = not yet. */
export interface Stamps {
  readonly receivedAtNs: bigint;
  readonly decidedAtNs: bigint;
  readonly decidedAtWallMs: number;
  storedAtNs: bigint;
  journaledAtNs: bigint;
  completedAtNs: bigint;
  /** When each path's turn came: the budgets count from here. */
  readonly startNs: Partial<Record<PathName, bigint>>;
  /** When the turn of the session layer came, where that is later than its path's. */
  sessionsNs: bigint;
}

/** What a report is made of. */
export interface ReportParts {
  readonly transition: Transition;
  readonly stamps: Stamps;
  readonly parties: ReadonlyMap<string, Party>;
  /** What was acknowledged for this epoch, also where a newer one stands in the slot by now. */
  readonly acks?: ReadonlyMap<string, Acknowledgement>;
  readonly budgetNs: Readonly<Record<PathName, bigint>>;
  /** Undefined while it runs. */
  readonly outcome: EndOutcome | undefined;
  /** From an earlier process, for a transition that was taken up again. */
  readonly earlier: TransitionReport | undefined;
}

/** What the history says where nobody asked. */
const REASONS: Readonly<Record<OwnCause, string>> = {
  provisioning: 'the first start of this appliance: the level it was provisioned with',
  recovery: 'recovered after a restart',
  doubt: 'after a restart it was not certain what had been decided: the level of doubt',
  repair: 'repair of what was not at the level in force',
  revoked: 'a loosening that could not be written down is taken back',
};

/** The report as it stands. */
export function transitionReportOf(parts: ReportParts): TransitionReport {
  const { transition, stamps, outcome, earlier } = parts;
  const source = transition.source === undefined ? earlier?.source : shownSource(transition.source);
  return {
    epoch: transition.epoch,
    from: transition.from,
    to: transition.to,
    outcome: outcome ?? 'running',
    source: source ?? {
      channel: 'local',
      tier: 'site_owner',
      principal: 'service:posture-coordinator',
      reason: REASONS[transition.own ?? 'repair'],
    },
    receivedAtNs: earlier?.receivedAtNs ?? stamps.receivedAtNs,
    decidedAtNs: stamps.decidedAtNs,
    storedAtNs: stamps.storedAtNs,
    journaledAtNs: stamps.journaledAtNs,
    completedAtNs: stamps.completedAtNs,
    durable: transition.durable || stamps.journaledAtNs > 0n,
    paths: PATHS.map((path) => pathReportOf(path, parts)),
    decidedAtWallMs: BigInt(Math.trunc(stamps.decidedAtWallMs)),
  };
}

function pathReportOf(path: PathName, parts: ReportParts): PathReport {
  const { transition, stamps, parties, outcome } = parts;
  const budgetNs = parts.budgetNs[path];
  const startNs = stamps.startNs[path] ?? 0n;
  const ended = outcome !== undefined;
  const participants = [...parties]
    .filter(([, { standing }]) => standing.path === path)
    .map(([name, { standing, ack: newest }]): ParticipantReport => {
      const ack = parts.acks?.get(name) ?? newest;
      // Who acknowledged what pre-empted this one may never have done this one.
      const acted =
        ack !== undefined &&
        ack.outcome !== 'none' &&
        (outcome === 'preempted' ? ack.epoch === transition.epoch : ack.epoch >= transition.epoch);
      if (!acted) {
        return {
          name,
          startedAtNs: 0n,
          finishedAtNs: 0n,
          outcome: !standing.present
            ? 'absent'
            : !ended
              ? 'running'
              : outcome === 'preempted'
                ? 'cancelled'
                : 'late',
          level: standing.level ?? transition.from,
          changes: 0,
        };
      }
      const turnNs = standing.layer === 'session' && stamps.sessionsNs > 0n ? stamps.sessionsNs : startNs;
      const late = turnNs > 0n && ack.finishedAtNs > turnNs + budgetNs;
      return {
        name,
        startedAtNs: ack.startedAtNs,
        finishedAtNs: ack.finishedAtNs,
        outcome: late && ack.outcome !== 'failed' ? 'late' : ack.outcome,
        level: ack.level ?? transition.from,
        changes: ack.changes,
      };
    });
  const there = participants.filter((each) => each.outcome !== 'absent');
  const all = there.map((each) => each.outcome);
  const finished = !all.includes('running') && there.every((each) => each.finishedAtNs > 0n);
  return {
    path,
    budgetNs,
    startNs,
    endNs: finished
      ? there.reduce((last, each) => (each.finishedAtNs > last ? each.finishedAtNs : last), 0n)
      : 0n,
    outcome:
      all.length === 0
        ? 'absent'
        : ((['running', 'failed', 'late', 'cancelled', 'applied'] as const).find((worst) =>
            all.includes(worst),
          ) ?? 'unchanged'),
    participants,
  };
}

/** The report of an ended transition as a record for the ledger. */
export function recordOf(appliance: string, report: TransitionReport): PostureTransitionRecord {
  const text = (value: bigint): string => value.toString();
  const source = report.source;
  return {
    schema: 'kedge.posture-transition/1',
    id: `posture-transition/${appliance}/${report.epoch}`,
    appliance,
    at: new Date(Number(report.decidedAtWallMs)).toISOString(),
    epoch: text(report.epoch),
    from: isLevel(report.from) ? report.from : 1,
    to: isLevel(report.to) ? report.to : 1,
    outcome: report.outcome as PostureTransitionRecord['outcome'],
    source: {
      channel: (source?.channel ?? 'local') as PostureTransitionRecord['source']['channel'],
      tier: (source?.tier ?? 'site_owner') as PostureTransitionRecord['source']['tier'],
      principal: source?.principal ?? '',
      reason: source?.reason ?? '',
    },
    receivedAtNs: text(report.receivedAtNs),
    decidedAtNs: text(report.decidedAtNs),
    storedAtNs: text(report.storedAtNs),
    journaledAtNs: text(report.journaledAtNs),
    completedAtNs: text(report.completedAtNs),
    durable: report.durable,
    paths: report.paths.map(({ path, budgetNs, startNs, endNs, outcome, participants }) => ({
      path: path as PathName,
      budgetNs: text(budgetNs),
      startNs: text(startNs),
      endNs: text(endNs),
      outcome: pathOutcomeSchema.parse(outcome),
      participants: participants.map((each) => ({
        name: each.name,
        startedAtNs: text(each.startedAtNs),
        finishedAtNs: text(each.finishedAtNs),
        outcome: pathOutcomeSchema.parse(each.outcome),
        level: isLevel(each.level) ? each.level : 1,
        changes: each.changes,
      })),
    })),
  };
}

/** Of whoever asked what people are shown. */
function shownSource({ channel, tier, principal, reason }: Source): SourceReport {
  return { channel, tier, principal, reason };
}

/**
 * Postures, transitions and tables as text for people.
 * It must not ask anybody for anything.
 */
import type { PlanReply, PostureState, ShowReply, TransitionReport } from '@kedge/bus';

import { durationText, levelText, type Mark, table, timeline } from './render.js';

/** The posture in force, in a few lines. */
export function stateText(state: PostureState): string {
  const { epoch, level, target, transition, failClosed, services, alarms } = state;
  const lines = [`level ${levelText(level)}, epoch ${epoch}`];
  if (target !== level) lines.push(`decided: ${levelText(target)}`);
  if (transition !== undefined && transition.epoch > 0n) {
    const { from, to, outcome, source } = transition;
    const by =
      source === undefined || source.principal === '' ? '' : `, by ${source.principal}: ${source.reason}`;
    lines.push(`last transition: ${from} → ${to}, ${outcome}${by}`);
  }
  for (const line of failClosed) {
    lines.push(`FAIL-CLOSED ${line.path} at ${levelText(line.level)} since epoch ${line.epoch}`);
  }
  for (const alarm of alarms) lines.push(`ALARM ${alarm}`);
  if (services.length > 0) {
    lines.push(
      '',
      table(
        [
          { title: 'service' },
          { title: 'state' },
          { title: 'beat', right: true },
          { title: 'pid', right: true },
          { title: 'level', right: true },
          { title: 'epoch', right: true },
        ],
        services.map((service) => [
          service.name,
          service.stale ? 'STALE' : service.serving ? 'serving' : 'not serving',
          durationText(service.beatAgeNs),
          String(service.pid),
          service.level === 0 ? '' : String(service.level),
          service.epoch === 0n ? '' : String(service.epoch),
        ]),
      ),
    );
  }
  return lines.join('\n');
}

/** One state in one line, for a watch. */
export function stateLine(state: PostureState): string {
  const { epoch, level, target, transition, failClosed, alarms } = state;
  const parts = [`epoch ${epoch}`, `level ${levelText(level)}`];
  if (target !== level) parts.push(`decided ${target}`);
  if (transition !== undefined && transition.epoch > 0n) {
    parts.push(`${transition.from} → ${transition.to} ${transition.outcome}`);
  }
  for (const line of failClosed) parts.push(`FAIL-CLOSED ${line.path} ${line.level}`);
  for (const alarm of alarms) parts.push(`ALARM ${alarm}`);
  return parts.join('  ');
}

/** Transitions, one line each. */
export function historyText(transitions: readonly TransitionReport[]): string {
  if (transitions.length === 0) return 'no transitions that were asked for';
  return table(
    [
      { title: 'epoch', right: true },
      { title: 'when' },
      { title: 'from → to' },
      { title: 'outcome' },
      { title: 'took', right: true },
      { title: 'changes', right: true },
      { title: 'channel' },
      { title: 'by' },
      { title: 'reason' },
    ],
    transitions.map((report) => [
      String(report.epoch),
      report.decidedAtWallMs === 0n ? '' : new Date(Number(report.decidedAtWallMs)).toISOString(),
      `${report.from} → ${report.to}`,
      report.durable ? report.outcome : `${report.outcome}, NOT DURABLE`,
      report.completedAtNs === 0n ? '' : durationText(report.completedAtNs - report.decidedAtNs),
      String(
        report.paths
          .flatMap(({ participants }) => participants)
          .reduce((sum, { changes }) => sum + changes, 0),
      ),
      report.source?.channel ?? '',
      report.source?.principal ?? '',
      report.source?.reason ?? '',
    ]),
  );
}

/** Each path with everybody on it: when, how much of the budget, how it ended, how much was changed. */
function participantsText({ decidedAtNs, paths }: TransitionReport): string {
  const after = (atNs: bigint): string =>
    atNs === 0n ? '' : `${atNs >= decidedAtNs ? '+' : ''}${durationText(atNs - decidedAtNs)}`;
  const rows = paths.flatMap(({ path, budgetNs, startNs, endNs, outcome, participants }) => {
    const use = (untilNs: bigint): string =>
      untilNs === 0n || startNs === 0n ? '' : durationText(untilNs - startNs);
    return [
      [path, '', after(startNs), after(endNs), use(endNs), durationText(budgetNs), outcome, ''],
      ...participants.map((each) => [
        '',
        each.name,
        after(each.startedAtNs),
        after(each.finishedAtNs),
        use(each.finishedAtNs),
        '',
        each.outcome,
        String(each.changes),
      ]),
    ];
  });
  return table(
    [
      { title: 'path' },
      { title: 'participant' },
      { title: 'start', right: true },
      { title: 'end', right: true },
      { title: 'took', right: true },
      { title: 'budget', right: true },
      { title: 'outcome' },
      { title: 'changes', right: true },
    ],
    rows,
  );
}

/** One transition as a timeline against its budgets (PO-8). */
export function transitionText(report: TransitionReport): string {
  const { epoch, from, to, outcome, source, paths } = report;
  const marks: Mark[] = [];
  const mark = (name: string, atNs: bigint, more: Omit<Mark, 'name' | 'atNs'> = {}): void => {
    if (atNs > 0n) marks.push({ name, atNs, ...more });
  };
  mark('received', report.receivedAtNs);
  mark('decided', report.decidedAtNs);
  mark('stored', report.storedAtNs);
  mark('journaled', report.journaledAtNs, report.durable ? {} : { note: 'NOT DURABLE' });
  for (const path of paths) {
    const budget = path.budgetNs === 0n ? {} : { budget: { ns: path.budgetNs, fromNs: path.startNs } };
    for (const participant of path.participants) {
      mark(`seen by ${participant.name}`, participant.startedAtNs);
      mark(`acknowledged by ${participant.name}`, participant.finishedAtNs, {
        ...budget,
        note: participant.outcome,
      });
    }
  }
  mark('verified', report.completedAtNs);
  marks.sort((a, b) => (a.atNs < b.atNs ? -1 : a.atNs > b.atNs ? 1 : 0));
  const title = `epoch ${epoch}: ${levelText(from)} → ${levelText(to)}, ${outcome}`;
  const by =
    source === undefined || source.principal === ''
      ? []
      : [`by ${source.principal} (${source.channel}, ${source.tier}): ${source.reason}`];
  return [
    title,
    ...by,
    '',
    timeline(report.decidedAtNs, marks),
    ...(paths.length === 0 ? [] : ['', participantsText(report)]),
  ].join('\n');
}

/** What a change would cut or restore (PO-23). */
export function planText(plan: PlanReply): string {
  const { from, to, windowS, rows } = plan;
  const head = `${levelText(from)} → ${levelText(to)}, by the traffic of the last ${windowS} s (nothing is changed)`;
  if (rows.length === 0) return `${head}\n\nno traffic was seen`;
  return `${head}\n\n${table(
    [
      { title: 'effect' },
      { title: 'from zone' },
      { title: 'to zone' },
      { title: 'entry' },
      { title: 'now' },
      { title: 'then' },
      { title: 'packets', right: true },
    ],
    rows.map((row) => [
      row.effect,
      row.fromZone,
      row.toZone,
      row.entry === '' ? '(zone pair)' : row.entry,
      row.verdictNow,
      row.verdictThen,
      String(row.packets),
    ]),
  )}`;
}

/** Tables, data planes and workers. */
export function governanceText(show: ShowReply): string {
  const lines = [
    `tables generation ${show.generation}, accords ${Buffer.from(show.accordsHash).toString('hex').slice(0, 16)}`,
  ];
  if (show.waiting !== '') lines.push(`waiting: ${show.waiting}`);
  lines.push(
    `zones: ${show.zones.map(({ id, name }) => `${name} (${id})`).join(', ')}`,
    '',
    table(
      [
        { title: 'level' },
        { title: 'table' },
        { title: 'entries', right: true },
        { title: 'shapes v4', right: true },
        { title: 'shapes v6', right: true },
        { title: 'deep' },
      ],
      show.levels.map((level) => [
        levelText(level.level),
        level.valid ? 'valid' : 'INVALID',
        String(level.entries),
        String(level.shapesIp4),
        String(level.shapesIp6),
        level.classify ? 'yes' : 'no',
      ]),
    ),
  );
  for (const dataplane of show.dataplanes) {
    const safe = dataplane.safeLevel === 0 ? '' : `, obeys its SAFE LEVEL ${dataplane.safeLevel}`;
    lines.push(
      '',
      `data plane ${dataplane.name}: ${dataplane.alive ? 'alive' : 'DEAD'}${safe}, telemetry gaps ${dataplane.telemetryGaps}`,
      table(
        [
          { title: 'worker', right: true },
          { title: 'level', right: true },
          { title: 'epoch', right: true },
          { title: 'generation', right: true },
          { title: 'received', right: true },
          { title: 'sent', right: true },
          { title: 'dropped', right: true },
          { title: 'low priority', right: true },
        ],
        dataplane.workers.map((worker) => [
          String(worker.index),
          String(worker.level),
          String(worker.epoch),
          String(worker.generation),
          String(worker.received),
          String(worker.sent),
          String(worker.dropped),
          String(worker.deprioritised),
        ]),
      ),
    );
  }
  return lines.join('\n');
}

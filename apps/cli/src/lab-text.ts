/**
 * The lab and its drills as text for people.
 * It must not ask anybody for anything.
 */
import type { ChaosReport, DrillReport, Lab, LabStatus } from '@kedge/lab';

import { table } from './render.js';

/** Where to look into a lab. */
export function labPlacesText(lab: Lab): string {
  return [
    `The lab "${lab.name}" is up: five zones, one forwarder between them, four classes of traffic.`,
    `  its files   ${lab.reach('/run/kedge')}   (board/ sock/ state/ log/ etc/)`,
    `  its init    process ${lab.pid}, the warden; everything ends with it`,
  ].join('\n');
}

/** What to try, in plain words. */
export function tryText(name: string, foreground: boolean): string {
  const option = name === 'lab' ? '' : ` --lab ${name}`;
  const rows = [
    [`npx kedge top${option}`, 'what goes on, on one screen, live; q leaves it'],
    [`npx kedge posture get${option}`, 'level, services, alarms'],
    [`npx kedge posture plan 2${option}`, 'what going to 2 would cut, by what was seen lately'],
    [`npx kedge posture set 2${option} --reason "trying it out"`, 'ordinary and unapproved traffic stops'],
    [`npx kedge transition show${option}`, 'the same transition against its budgets'],
    [`npx kedge posture set 1${option} --reason "lockdown"`, 'only management is left'],
    [
      `npx kedge posture set 5${option} --as console --reason "all clear"`,
      'level 1 is left by the console only',
    ],
    [`npx kedge drill${option}`, 'all levels down and up, measured where packets arrive'],
  ];
  const width = Math.max(...rows.map(([command = '']) => command.length));
  return [
    foreground ? 'Try, in a second terminal:' : 'Try:',
    ...rows.map(([command = '', what = '']) => `  ${command.padEnd(width)}   # ${what}`),
    '',
    foreground
      ? 'Ctrl-C ends the lab.'
      : `npx kedge lab down${name === 'lab' ? '' : ` --name ${name}`} ends it.`,
  ].join('\n');
}

function memoryText(kib: number | undefined): string {
  return kib === undefined ? '' : `${(kib / 1024).toFixed(1)} MiB`;
}

export function statusText(status: LabStatus): string {
  if (status.state !== 'up') {
    const was = status.state === 'stale' ? ' (its processes are gone; the next start tidies up)' : '';
    return `the lab "${status.name}" is not up${was}`;
  }
  return [
    `the lab "${status.name}" is up, init process ${status.pid ?? 0}, files under ${status.root ?? ''}`,
    '',
    table(
      [{ title: 'part' }, { title: 'processes', right: true }, { title: 'memory', right: true }],
      [
        ...(status.services ?? []).map(({ name, processes, pssKiB }) => [
          name,
          processes === 0 ? 'none' : String(processes),
          memoryText(pssKiB),
        ]),
        ['together', '', memoryText(status.pssKiB)],
      ],
    ),
    '(memory: what is resident, pages that several have by share)',
    '',
    table(
      [{ title: 'pid', right: true }, { title: 'command' }],
      (status.processes ?? []).map(({ pid, command }) => [
        String(pid),
        command.length > 100 ? `${command.slice(0, 99)}…` : command,
      ]),
    ),
  ].join('\n');
}

/** The drill, one line a step. */
export function drillText(report: DrillReport): string {
  const classes = Object.keys(report.steps[0]?.traffic ?? {});
  const text = table(
    [
      { title: 'epoch', right: true },
      { title: 'step' },
      { title: 'data plane', right: true },
      { title: 'budget', right: true },
      ...classes.map((title) => ({ title, right: true })),
      { title: '' },
    ],
    report.steps.map((step) => {
      const path = step.paths['dataplane'];
      return [
        step.epoch,
        `${step.from} → ${step.to}`,
        path === undefined ? 'none' : `${path.ms.toFixed(3)} ms`,
        path === undefined ? '' : `${path.budgetMs} ms`,
        ...classes.map((name) => {
          const seen = step.traffic[name as keyof typeof step.traffic];
          const mark = { pass: '', deprioritise: ' low', drop: ' drop' }[seen.allowed];
          return `${seen.received}/${seen.sent}${mark}`;
        }),
        step.ok ? 'ok' : 'FAILED',
      ];
    }),
  );
  const violations = report.violations.map(({ epoch, message }) => `VIOLATION (epoch ${epoch}) ${message}`);
  const end = report.ok
    ? `passed: ${report.steps.length} steps on the ${report.dataplane} data plane`
    : `FAILED: ${report.violations.length} violations`;
  return [
    text,
    '',
    ...violations,
    end,
    `routes and rules after the last step: ${report.routes.identical ? 'byte for byte what they were' : 'other than before the first'}`,
    `the ledger: ${report.ledger.levels.map(({ level, seen, held }) => `${held}/${seen} at level ${level}`).join(', ')}`,
    '(packets received/sent after the last acknowledgement of each level; records held/seen at each level)',
  ].join('\n');
}

/** The chaos drill, one line an act. */
export function chaosText(report: ChaosReport): string {
  const text = table(
    [
      { title: 'act' },
      { title: 'struck', right: true },
      { title: 'right again', right: true },
      { title: 'offered/s', right: true },
      { title: '' },
    ],
    report.acts.map((act) => [
      act.name,
      act.struck === undefined ? '' : String(act.struck),
      act.convergedMs === undefined ? '' : `${act.convergedMs} ms`,
      act.offered === undefined ? '' : String(act.offered),
      act.ok ? 'ok' : 'FAILED',
    ]),
  );
  const violations = report.violations.map(({ act, message }) => `VIOLATION (${act}) ${message}`);
  const end = report.ok
    ? `passed: ${report.acts.length} acts in ${report.seconds} s`
    : `FAILED: ${report.violations.length} violations in ${report.acts.length} acts`;
  return [text, '', ...violations, end].join('\n');
}

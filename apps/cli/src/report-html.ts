/**
 * The report of a drill as one page that needs nothing but itself: drawings, tables, violations, the host.
 * It must stay a pure function of the drill's JSON and of the facts; it loads nothing and runs no script.
 */
import { LEVEL_NAMES } from '@kedge/units';

import {
  budgetChart,
  type Changes,
  changesChart,
  courseChart,
  msText,
  trafficChart,
} from './report-charts.js';
import { markup, Markup, type Piece } from './report-markup.js';
import { STYLE } from './report-style.js';
import {
  type ChaosView,
  chaosView,
  type DrillView,
  drillView,
  type StepView,
  type ViolationView,
} from './report-view.js';

/** What is said about where and when it was drilled: name and value, in order. */
export type Facts = readonly (readonly [name: string, value: string])[];

/** No page is larger, whatever the report holds: the bounds of the view see to it, and a test. */
export const PAGE_MAX_BYTES = 4 * 1024 * 1024;

/** Nothing from outside, no script, no form: the browser holds the page to it as well. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

function page(title: string, body: readonly Piece[]): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Markup(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`.text;
}

function table(
  columns: readonly { readonly title: string; readonly number?: boolean }[],
  rows: readonly { readonly cells: readonly Piece[]; readonly bad?: boolean }[],
): Markup {
  return markup`<div class="scroll"><table><thead><tr>${columns.map(({ title, number }) => markup`<th${number === true ? markup` class="n"` : ''}>${title}</th>`)}</tr></thead><tbody>
${rows.map(({ cells, bad }) => markup`<tr${bad === true ? markup` class="bad"` : ''}>${cells.map((cell, at) => markup`<td${columns[at]?.number === true ? markup` class="n"` : ''}>${cell}</td>`)}</tr>\n`)}</tbody></table></div>`;
}

const absent = (text: string): Markup => markup`<p class="absent">${text}</p>`;

function header(kind: string, ok: boolean, facts: Facts, about: string): Markup {
  const when = facts.find(([name]) => name === 'when')?.[1];
  const where = facts.find(([name]) => name === 'appliance')?.[1];
  return markup`<header><h1>${kind}</h1><span class="verdict ${ok ? 'good' : 'bad'}">${ok ? 'PASSED' : 'FAILED'}</span><p>${[where, when, about].filter((part) => part !== undefined && part !== '').join(' · ')}</p></header>`;
}

function tile(value: Piece, text: Piece, bad = false): Markup {
  return markup`<div class="tile"><b${bad ? markup` class="bad"` : ''}>${value}</b><span>${text}</span></div>`;
}

function tiles(view: DrillView): Markup {
  const worst = view.paths.flatMap(({ key, title }) => {
    const paths = view.steps.flatMap(({ paths }) => paths.get(key) ?? []);
    const slowest = paths.reduce<(typeof paths)[number] | undefined>(
      (most, path) => (most === undefined || path.ms / path.budgetMs > most.ms / most.budgetMs ? path : most),
      undefined,
    );
    if (slowest === undefined) return [];
    return [
      tile(
        msText(slowest.ms),
        `${title} at its slowest, of ${msText(slowest.budgetMs)}`,
        paths.some(({ ok }) => !ok),
      ),
    ];
  });
  const judged = view.steps.flatMap(({ traffic }) => [...traffic.values()]);
  const shut = judged.filter(({ allowed }) => allowed === 'drop');
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
  const leaked = sum(shut.map(({ received }) => received));
  const violations = view.violations.length + view.left.violations;
  return markup`<div class="tiles">${tile(violations, violations === 1 ? 'violation' : 'violations', violations > 0)}${tile(view.steps.length + view.left.steps, 'transitions')}${worst}${
    shut.length === 0
      ? ''
      : tile(
          `${leaked.toLocaleString('en')} of ${sum(shut.map(({ sent }) => sent)).toLocaleString('en')}`,
          'disallowed packets arrived after the last acknowledgement',
          leaked > 0,
        )
  }</div>`;
}

function violations(list: readonly ViolationView[], left: number, of: string): Markup {
  if (list.length === 0) return markup`<p class="lead good">None.</p>`;
  return markup`${table(
    [{ title: 'kind' }, { title: of }, { title: 'level', number: true }, { title: 'what happened' }],
    list.map(({ kind, epoch, level, message }) => ({
      cells: [kind, epoch, level ?? '', message],
      bad: true,
    })),
  )}${left > 0 ? absent(`and ${left} more, in the JSON report`) : ''}`;
}

function budgets(view: DrillView): Markup {
  return markup`<section><h2>Every transition against its budgets</h2>
<p class="lead">From the decision (when loosening, from the moment that its turn came) until the last participant of the path had acknowledged. The scale is logarithmic; each ring is one participant; right of the dashed line is too late.</p>
${view.paths.map(({ key, title }) => {
  const rows = view.steps.flatMap((step) => {
    const path = step.paths.get(key);
    return path === undefined ? [] : [{ step, path }];
  });
  const missing = view.steps.length - rows.length;
  return markup`<div class="panel"><figure><figcaption>${title}</figcaption>${
    rows.length === 0
      ? absent('No participant of this path took part in any step: it was not drilled.')
      : budgetChart(title, rows)
  }</figure>${rows.length > 0 && missing > 0 ? absent(`${missing} of ${view.steps.length} steps say nothing about this path.`) : ''}</div>`;
})}</section>`;
}

function traffic(view: DrillView): Markup {
  if (view.classes.length === 0) {
    return markup`<section><h2>Traffic per class</h2>${absent('The report holds no traffic: nothing was judged by packets.')}</section>`;
  }
  return markup`<section><h2>Traffic per class</h2>
<p class="lead">Packets while each level was held, counted where they arrive, from the last acknowledgement on; the number is what arrived. The frame is everything that was offered.</p>
<ul class="key"><li><i style="background:var(--good)"></i>let through</li><li><i style="background:var(--low)"></i>let through, marked low priority</li><li><i style="background:var(--soft);border:1px solid var(--line)"></i>offered, shut out</li><li><i style="background:var(--bad)"></i>✗ arrived, and should not have</li></ul>
<div class="panel">${view.classes.map((name) => markup`<figure><figcaption>${name}</figcaption>${trafficChart(name, view)}</figure>`)}</div></section>`;
}

/** A step that no line break tears apart. */
const stepText = ({ from, to }: { readonly from: number; readonly to: number }): string =>
  `${from}\u00a0→\u00a0${to}`;

/** Routes as the kernel was asked for them; where nobody asked, what the participants say of themselves. */
function changesOf(step: StepView, key: string): Changes | undefined {
  const routes = step.routes.get(key);
  if (routes !== undefined) return routes;
  const path = step.paths.get(key);
  if (path === undefined) return undefined;
  const sum = path.participants.reduce((total, { changes: each }) => total + each, 0);
  return step.to > step.from ? { withdrawn: 0, restored: sum } : { withdrawn: sum, restored: 0 };
}

function changedRoutes(view: DrillView, key: string): Piece {
  const rows = view.steps.flatMap((step) => {
    const routes = step.routes.get(key);
    return routes === undefined || (routes.ok && routes.withdrawn + routes.restored === 0)
      ? []
      : [{ step, routes }];
  });
  if (rows.length === 0) return '';
  return table(
    [
      { title: 'step' },
      { title: 'withdrawn', number: true },
      { title: 'back', number: true },
      { title: 'there', number: true },
      { title: 'among them' },
    ],
    rows.map(({ step, routes }) => ({
      cells: [
        stepText(step),
        routes.withdrawn,
        routes.restored,
        routes.there,
        `${routes.named.join(', ')}${routes.withdrawn + routes.restored > routes.named.length ? ', …' : ''}${routes.ok ? '' : ' ✗'}`,
      ],
      bad: !routes.ok,
    })),
  );
}

function changes(view: DrillView): Markup {
  const others = view.paths.filter(({ key }) => key !== 'dataplane');
  return markup`<section><h2>Withdrawn and brought back</h2>
<p class="lead">What each path withdrew when tightening (below the line) and brought back when loosening (above it): routes as the kernel shows them, or, where it was not asked, things as the participants counted them.</p>
${others.map(({ key, title }) => {
  const there = view.steps.some((step) => changesOf(step, key) !== undefined);
  const shown = there
    ? changesChart(title, view, (step) => changesOf(step, key))
    : absent('No participant of this path took part: nothing was withdrawn, nothing brought back.');
  return markup`<div class="panel"><figure><figcaption>${title}</figcaption>${shown}</figure>${changedRoutes(view, key)}</div>`;
})}</section>`;
}

function gate(view: DrillView): Markup {
  const rows = view.steps.flatMap(({ from, to, gate: seen }) =>
    seen === undefined ? [] : [{ from, to, seen }],
  );
  const who = (tiers: readonly string[]): string => (tiers.length === 0 ? 'nobody' : tiers.join(', '));
  return markup`<section><h2>Who may change the underlay</h2>
<p class="lead">Whom the gate let through at each level, of everybody who asked.</p>${
    rows.length === 0
      ? absent('The report holds no gate: nobody asked.')
      : table(
          [{ title: 'step' }, { title: 'gate' }, { title: 'ordinary changes' }, { title: 'emergencies' }],
          rows.map(({ from, to, seen }) => ({
            cells: [
              stepText({ from, to }),
              `${seen.mode}${seen.ok ? '' : ' ✗'}`,
              who(seen.ordinary),
              who(seen.emergency),
            ],
            bad: !seen.ok,
          })),
        )
  }</section>`;
}

function ledger(view: DrillView): Markup {
  return markup`<section><h2>What the ledger holds of it</h2>
<p class="lead">Transitions and answers of the gate as the drill saw them, and as one question for each level brings them.</p>${
    view.ledger.length === 0
      ? absent('The report holds nothing of the ledger: it was not asked.')
      : table(
          [
            { title: 'level' },
            { title: 'seen', number: true },
            { title: 'in the ledger', number: true },
            { title: '' },
          ],
          view.ledger.map(({ level, seen, held, ok }) => ({
            cells: [level, seen, held, ok ? 'the same' : 'DIFFERS'],
            bad: !ok,
          })),
        )
  }</section>`;
}

function numbers(view: DrillView): Markup {
  const text = (path: { ms: number; budgetMs: number; ok: boolean } | undefined): Piece =>
    path === undefined ? '—' : `${msText(path.ms)}${path.ok ? '' : ' ✗'}`;
  return markup`<section><h2>The same in numbers</h2>${table(
    [
      { title: 'epoch', number: true },
      { title: 'step' },
      ...view.paths.map(({ title }) => ({ title, number: true })),
      ...view.classes.map((title) => ({ title, number: true })),
      { title: '' },
    ],
    view.steps.map((step) => ({
      cells: [
        step.epoch,
        stepText(step),
        ...view.paths.map(({ key }) => text(step.paths.get(key))),
        ...view.classes.map((name) => {
          const seen = step.traffic.get(name);
          return seen === undefined ? '—' : `${seen.received}/${seen.sent}`;
        }),
        step.ok ? 'ok' : 'FAILED',
      ],
      bad: !step.ok,
    })),
  )}<p class="lead">Packets as received/sent; — means that nothing is known.</p>${view.left.steps > 0 ? absent(`${view.left.steps} more steps are in the JSON report.`) : ''}</section>`;
}

function host(facts: Facts): Markup {
  return markup`<section><h2>Where it ran</h2>${
    facts.length === 0
      ? absent('Nothing is known about the host.')
      : markup`<dl>${facts.map(([name, value]) => markup`<dt>${name}</dt><dd>${value.slice(0, 300)}</dd>`)}</dl>`
  }</section>`;
}

const footer = markup`<footer>Budgets: data plane 1 ms, overlay 5 s, underlay 10 s, unless the appliance was configured with others; the dashed lines show those that held. Times are the monotonic clock at the acting ends. The JSON report (kedge drill --json) holds every number of this page.</footer>`;

/** The page of a drill of every level. Pure; takes the drill's JSON as it was printed. */
export function drillPage(report: unknown, facts: Facts): string {
  const view = drillView(report);
  const plane = view.dataplane === '' ? '' : `${view.dataplane} data plane`;
  return page(`Kedge drill: ${view.ok ? 'passed' : 'FAILED'}`, [
    header('Kedge drill', view.ok, facts, plane),
    tiles(view),
    view.steps.length === 0
      ? absent('The report holds no steps.')
      : [
          markup`<section><h2>The course</h2><p class="lead">The level in force, step by step: ${[5, 4, 3, 2, 1].map((level) => `${level} ${LEVEL_NAMES[level as 1]}`).join(', ')}.</p><div class="panel">${courseChart(view)}</div></section>`,
          markup`<section><h2>Violations</h2>${violations(view.violations, view.left.violations, 'epoch')}</section>`,
          budgets(view),
          traffic(view),
          changes(view),
          gate(view),
          ledger(view),
          numbers(view),
        ],
    host(facts),
    footer,
  ]);
}

function acts({ acts: list, left }: ChaosView): Markup {
  const known = list.flatMap(({ convergedMs }) => convergedMs ?? []);
  const slowest = Math.max(1, ...known);
  return markup`<section><h2>Every act</h2><p class="lead">What was struck, and how long it took from the request until everything was right again.</p>${table(
    [
      { title: 'act' },
      { title: 'struck', number: true },
      { title: 'right again', number: true },
      { title: '' },
      { title: 'offered/s', number: true },
      { title: '' },
    ],
    list.map(({ name, ok, struck, convergedMs, offered }) => ({
      cells: [
        name,
        struck ?? '—',
        convergedMs === undefined ? '—' : msText(convergedMs),
        convergedMs === undefined
          ? ''
          : markup`<svg viewBox="0 0 120 10" style="width:7.5rem" aria-hidden="true"><rect y="1" width="${Math.max(1, Math.round((convergedMs / slowest) * 120))}" height="8" rx="2" class="${ok ? 'bar' : 'late'}"/></svg>`,
        offered ?? '—',
        ok ? 'ok' : 'FAILED',
      ],
      bad: !ok,
    })),
  )}${left.acts > 0 ? absent(`${left.acts} more acts are in the JSON report.`) : ''}</section>`;
}

/** The page of a chaos drill. Pure. */
export function chaosPage(report: unknown, facts: Facts): string {
  const view = chaosView(report);
  const failed = view.violations.length + view.left.violations;
  return page(`Kedge chaos drill: ${view.ok ? 'passed' : 'FAILED'}`, [
    header(
      'Kedge chaos drill',
      view.ok,
      facts,
      `${view.acts.length + view.left.acts} acts in ${view.seconds} s`,
    ),
    markup`<div class="tiles">${tile(failed, failed === 1 ? 'violation' : 'violations', failed > 0)}${tile(view.acts.length + view.left.acts, 'acts')}${tile(msText(Math.max(0, ...view.acts.flatMap(({ convergedMs }) => convergedMs ?? []))), 'longest until right again')}</div>`,
    markup`<section><h2>Violations</h2>${violations(view.violations, view.left.violations, 'act')}</section>`,
    view.acts.length === 0 ? absent('The report holds no acts.') : acts(view),
    host(facts),
    footer,
  ]);
}

/**
 * The drawings of a report, as SVG inside the page.
 * They must be understood without colour: what matters has a shape, a place or a word of its own.
 */
import { markup, type Markup } from './report-markup.js';
import type { DrillView, PathView, StepView } from './report-view.js';

const WIDTH = 960;
const round = (value: number): string => String(Math.round(value * 10) / 10);

/** Milliseconds in the unit that suits them. */
export function msText(ms: number): string {
  const size = Math.abs(ms);
  const three = (value: number): string =>
    value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
  if (size >= 1_000) return `${three(ms / 1_000)} s`;
  if (size >= 1 || size === 0) return `${three(ms)} ms`;
  return `${three(ms * 1_000)} µs`;
}

const share = (part: number, whole: number): string =>
  whole > 0 ? `${((part / whole) * 100).toFixed(part / whole < 0.1 ? 1 : 0)} %` : '';

function svg(height: number, label: string, body: readonly Markup[]): Markup {
  return markup`<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">${body}</svg>`;
}

/** A level as a chip with its number. */
function chip(x: number, y: number, level: number): Markup {
  return markup`<rect x="${round(x)}" y="${round(y - 8)}" width="18" height="16" rx="3" class="l${level}"/><text x="${round(x + 9)}" y="${round(y + 4)}" class="c s w">${level}</text>`;
}

/** The level after each step, from the first to the last. */
export function courseChart({ steps }: DrillView): Markup {
  const left = 96;
  const right = WIDTH - 12;
  const top = 14;
  const row = 26;
  const start = steps[0]?.from ?? 5;
  const stretch = (right - left) / (steps.length + 1);
  const y = (level: number): number => top + (5 - level) * row;
  const levels = [start, ...steps.map(({ to }) => to)];
  const names = ['normal', 'watch', 'restricted', 'emergency', 'lockdown'];
  const line = levels
    .map((level, at) => {
      const x = left + at * stretch;
      return `${at === 0 ? 'M' : 'L'}${round(x)} ${round(y(level))}H${round(x + stretch)}`;
    })
    .join('');
  return svg(top + 4 * row + 46, `The level in force: ${levels.join(', ')}`, [
    ...names.map(
      (name, at) =>
        markup`<line x1="${left}" x2="${right}" y1="${y(5 - at)}" y2="${y(5 - at)}" class="g"/><text x="${left - 10}" y="${y(5 - at) + 4}" class="e m">${5 - at} ${name}</text>`,
    ),
    markup`<path d="${line}" class="course"/>`,
    ...levels.map((level, at) => chip(left + (at + 0.5) * stretch - 9, y(level), level)),
    ...steps.map((step, at) => {
      const x = left + (at + 1) * stretch;
      return markup`<text x="${round(x + stretch / 2)}" y="${top + 4 * row + 32}" class="c s ${step.ok ? 'm' : 'b'}">${stretch > 46 ? step.epoch : ''}${step.ok ? '' : ' ✗'}</text>`;
    }),
    markup`<text x="${left - 10}" y="${top + 4 * row + 32}" class="e s m">epoch</text>`,
  ]);
}

interface Row {
  readonly step: StepView;
  readonly path: PathView;
}

/** One path: each transition as a bar on a logarithmic scale against the path's budget. */
export function budgetChart(title: string, rows: readonly Row[]): Markup {
  const left = 100;
  const right = WIDTH - 170;
  const top = 24;
  const height = 24;
  const values = rows.flatMap(({ path }) => [
    path.ms,
    path.budgetMs,
    ...path.participants.map(({ ms }) => ms),
  ]);
  const positive = values.filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(0.1, ...positive)) + 1e-9);
  const high = Math.log10(Math.max(1, ...positive) * 2);
  const x = (ms: number): number =>
    ms <= 0 ? left : left + (Math.max(0, Math.log10(ms) - low) / (high - low)) * (right - left);
  const bottom = top + rows.length * height;
  const decades = Array.from({ length: Math.floor(high) - low + 1 }, (_, at) => 10 ** (low + at));
  const budgets = new Set(rows.map(({ path }) => path.budgetMs));
  const [budget = 0] = budgets;
  const limit =
    budgets.size === 1
      ? [
          markup`<rect x="${round(x(budget))}" y="${top}" width="${round(right - x(budget))}" height="${bottom - top}" class="over"/>`,
          markup`<line x1="${round(x(budget))}" x2="${round(x(budget))}" y1="${top - 4}" y2="${bottom}" class="limit"/>`,
          markup`<text x="${round(x(budget) + 4)}" y="${top - 8}" class="s b">budget ${msText(budget)}</text>`,
        ]
      : [];
  const bars = rows.map(({ step, path }, at) => {
    const y = top + at * height + height / 2;
    const late = !path.ok;
    const own =
      budgets.size === 1
        ? undefined
        : markup`<line x1="${round(x(path.budgetMs))}" x2="${round(x(path.budgetMs))}" y1="${y - 10}" y2="${y + 10}" class="limit"/>`;
    // A time of nothing is a path that never ended.
    const said =
      path.ms > 0
        ? `${msText(path.ms)} · ${share(path.ms, path.budgetMs)}${late ? ' ✗' : ''}`
        : '✗ did not end';
    return markup`<g><title>epoch ${step.epoch}: ${step.from} → ${step.to}, ${title} ${said}</title>${chip(10, y, step.from)}<text x="40" y="${y + 4}" class="c m">→</text>${chip(52, y, step.to)}<rect x="${left}" y="${y - 6}" width="${round(Math.max(1, x(path.ms) - left))}" height="12" rx="2" class="${late ? 'late' : 'bar'}"/>${own}${path.participants
      .filter(({ ms }) => ms > 0)
      .map(
        ({ name, ms, outcome }) =>
          markup`<circle cx="${round(x(ms))}" cy="${y}" r="3.4" class="who"><title>${name}: ${outcome} after ${msText(ms)}</title></circle>`,
      )}<text x="${right + 14}" y="${y + 4}" class="${late ? 'b' : ''}">${said}</text></g>`;
  });
  return svg(bottom + 22, `${title}: time of each transition against its budget`, [
    ...limit,
    ...decades.map(
      (ms) =>
        markup`<line x1="${round(x(ms))}" x2="${round(x(ms))}" y1="${top}" y2="${bottom}" class="g"/><text x="${round(x(ms))}" y="${bottom + 16}" class="c s m">${msText(ms).replace(/\.0+ /, ' ')}</text>`,
    ),
    ...bars,
  ]);
}

/** One class: which part of what was offered arrived, while each level was held. */
export function trafficChart(name: string, { steps }: DrillView): Markup {
  const left = 14;
  const right = WIDTH - 12;
  const top = 16;
  const height = 40;
  const stretch = (right - left) / Math.max(1, steps.length);
  const width = Math.min(58, stretch * 0.66);
  const columns = steps.map((step, at) => {
    const x = left + at * stretch + (stretch - width) / 2;
    const middle = x + width / 2;
    const seen = step.traffic.get(name);
    const level = chip(middle - 9, top + height + 16, step.to);
    if (seen === undefined) {
      return markup`<g>${level}<text x="${round(middle)}" y="${top + height - 4}" class="c s m">no data</text></g>`;
    }
    // Levels are held for different times: what counts is the part of what was offered then.
    const offered = seen.sent > 0 ? height : 0;
    const arrived = Math.min(1, seen.received / Math.max(1, seen.sent)) * height;
    const leak = seen.allowed === 'drop' && seen.received > 0;
    const said = leak ? `${seen.received} ✗` : seen.allowed === 'drop' ? 'shut' : String(seen.received);
    const at0 = top + height - Math.max(offered, arrived) - 4;
    return markup`<g><title>level ${step.to}: ${seen.received} of ${seen.sent} arrived, ${seen.deprioritised} marked low priority; expected: ${seen.allowed}</title><rect x="${round(x)}" y="${round(top + height - offered)}" width="${round(width)}" height="${round(offered)}" rx="2" class="offer"/><rect x="${round(x)}" y="${round(top + height - arrived)}" width="${round(width)}" height="${round(leak ? Math.max(3, arrived) : arrived)}" rx="2" class="${leak ? 'leak' : seen.allowed}"/><text x="${round(middle)}" y="${round(at0)}" class="c s ${leak ? 'b' : 'm'}">${stretch > 40 || leak ? said : ''}</text>${level}</g>`;
  });
  return svg(top + height + 30, `${name}: packets offered and received at each level`, [
    markup`<line x1="${left}" x2="${right}" y1="${top + height}" y2="${top + height}" class="g"/>`,
    ...columns,
  ]);
}

/** What one path withdrew and brought back at one step. */
export interface Changes {
  readonly withdrawn: number;
  readonly restored: number;
}

/** One path: withdrawn below the line, brought back above it; undefined where nothing is known about a step. */
export function changesChart(
  title: string,
  { steps }: DrillView,
  changesOf: (step: StepView) => Changes | undefined,
): Markup {
  const left = 14;
  const right = WIDTH - 12;
  const half = 46;
  const zero = 18 + half;
  const stretch = (right - left) / Math.max(1, steps.length);
  const width = Math.min(58, stretch * 0.66);
  const all = steps.map(changesOf);
  const most = Math.max(
    1,
    ...all.flatMap((each) => (each === undefined ? [] : [each.withdrawn, each.restored])),
  );
  const columns = steps.map((step, at) => {
    const middle = left + (at + 0.5) * stretch;
    const seen = all[at];
    const { withdrawn = 0, restored = 0 } = seen ?? {};
    const up = (restored / most) * half;
    const down = (withdrawn / most) * half;
    const bar = (y: number, size: number, kind: string): Markup =>
      markup`<rect x="${round(middle - width / 2)}" y="${round(y)}" width="${round(width)}" height="${round(size)}" rx="2" class="${kind}"/>`;
    const say = (y: number, text: string): Markup =>
      markup`<text x="${round(middle)}" y="${round(y)}" class="c s">${stretch > 34 ? text : ''}</text>`;
    const said = [
      ...(restored > 0 ? [bar(zero - up, up, 'back'), say(zero - up - 5, `+${restored}`)] : []),
      ...(withdrawn > 0 ? [bar(zero, down, 'cut'), say(zero + down + 14, `−${withdrawn}`)] : []),
      ...(seen === undefined ? [say(zero - 5, 'no data')] : []),
      ...(seen !== undefined && withdrawn + restored === 0 ? [say(zero - 5, '0')] : []),
    ];
    return markup`<g><title>${step.from} → ${step.to}: ${withdrawn} withdrawn, ${restored} brought back</title>${said}${chip(middle - 9, zero + half + 30, step.to)}</g>`;
  });
  return svg(zero + half + 44, `${title}: withdrawn and brought back at each step`, [
    markup`<line x1="${left}" x2="${right}" y1="${zero}" y2="${zero}" class="g"/>`,
    ...columns,
  ]);
}

/**
 * Text for people: tables that line up, durations that fit, a transition against its budgets.
 * It must not ask anybody for anything.
 */
import { isLevel, LEVEL_NAMES } from '@kedge/units';

/** JSON with 64-bit numbers as strings and bytes as hexadecimal; indented, or on one line with `indent` 0. */
export function jsonText(value: unknown, indent = 2): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) => {
      if (typeof item === 'bigint') return String(item);
      if (item instanceof Uint8Array) return Buffer.from(item).toString('hex');
      // Buffers have made themselves plain objects before a replacer sees them.
      if (isBufferJson(item)) return Buffer.from(item.data).toString('hex');
      return item;
    },
    indent,
  );
}

function isBufferJson(value: unknown): value is { data: number[] } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    value.type === 'Buffer' &&
    'data' in value &&
    Array.isArray(value.data)
  );
}

/** "3 restricted". */
export function levelText(level: number): string {
  return isLevel(level) ? `${level} ${LEVEL_NAMES[level]}` : `${level} (fail-closed)`;
}

/** A duration in the unit that suits it, three digits: "840 ns", "12.3 µs", "4.56 ms", "2.00 s". */
export function durationText(ns: bigint | number): string {
  const value = Number(ns);
  const size = Math.abs(value);
  for (const [unit, factor] of [
    ['s', 1e9],
    ['ms', 1e6],
    ['µs', 1e3],
  ] as const) {
    if (size >= factor) {
      const scaled = value / factor;
      return `${scaled.toFixed(Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2)} ${unit}`;
    }
  }
  return `${value} ns`;
}

export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/** Text of somebody else on one line of a terminal: control characters, which could move its cursor, are shown as �. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '�');
}

const width = (text: string): number => [...text].length;

/** Rows under titles, two spaces between columns, numbers to the right; no line ends with blanks. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(plain));
  const widths = columns.map(({ title }, at) =>
    Math.max(width(title), ...cells.map((row) => width(row[at] ?? ''))),
  );
  const line = (row: readonly string[]): string =>
    columns
      .map(({ right }, at) => {
        const cell = row[at] ?? '';
        const blanks = ' '.repeat((widths[at] ?? 0) - width(cell));
        return right === true ? blanks + cell : cell + blanks;
      })
      .join('  ')
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...cells.map(line)].join('\n');
}

/** A moment of a transition. */
export interface Mark {
  readonly name: string;
  readonly atNs: bigint;
  /** The budget it stands against, and when that began to run. */
  readonly budget?: { readonly ns: bigint; readonly fromNs: bigint };
  readonly note?: string;
}

const WIDTH = 40;
const LEFT_NS = 1e3;

/**
 * Moments along a bar, seen from `originNs`. Time runs on a logarithmic scale, because what matters happens
 * within microseconds and within seconds; everything up to one µs stands at the left end. The end of a budget
 * stands in the bar as `|`, a mark behind it as `!`.
 */
export function timeline(originNs: bigint, marks: readonly Mark[]): string {
  const spans = marks.map(({ atNs }) => Number(atNs - originNs));
  const deadlines = marks.map(({ budget }) =>
    budget === undefined ? undefined : Number(budget.fromNs + budget.ns - originNs),
  );
  const longest = Math.max(1e6, ...spans, ...deadlines.filter((deadline) => deadline !== undefined));
  const place = (ns: number): number =>
    ns <= LEFT_NS
      ? 0
      : Math.min(WIDTH, Math.round((Math.log10(ns / LEFT_NS) / Math.log10(longest / LEFT_NS)) * WIDTH));
  const rows = marks.map(({ name, budget, note }, at) => {
    const span = spans[at] ?? 0;
    const deadline = deadlines[at];
    const bar = Array.from({ length: WIDTH + 1 }, () => '·');
    const late = deadline !== undefined && span > deadline;
    if (deadline !== undefined) bar[place(deadline)] = '|';
    bar[place(span)] = late ? '!' : '●';
    const verdict =
      budget === undefined
        ? ''
        : `${durationText(budgetUse(budget, originNs, span))} of ${durationText(budget.ns)}${late ? ', LATE' : ''}`;
    const sign = span >= 0 ? '+' : '';
    return [
      name,
      `${sign}${durationText(span)}`,
      bar.join(''),
      [verdict, note ?? ''].filter(Boolean).join('  '),
    ];
  });
  const scale = `1 µs${durationText(longest).padStart(WIDTH - 3)}`;
  return table([{ title: '' }, { title: '', right: true }, { title: scale }, { title: '' }], rows);
}

function budgetUse(budget: { readonly fromNs: bigint }, originNs: bigint, span: number): number {
  return span - Number(budget.fromNs - originNs);
}

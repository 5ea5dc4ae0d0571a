/**
 * `kedge top` as lines of text that fit a terminal, whatever its size.
 * It must not write to one, and lets nothing but printable ASCII and a handful of signs of its own into a line.
 */
import { durationText, levelText } from './render.js';
import {
  type Sort,
  sortedEntries,
  sortedPairs,
  type Top,
  type TopDataPlane,
  type TopPlane,
  type TopPosture,
} from './top-model.js';

/** How it is to look. */
export interface Look {
  /** Size of the terminal; no line is longer, and there are no more of them. */
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
  /** For terminals that know nothing else. */
  readonly ascii: boolean;
  readonly paused: boolean;
  readonly sort: Sort;
  /** For people: "every 1 s". */
  readonly pace: string;
}

type Tone = 'plain' | 'title' | 'good' | 'warn' | 'bad' | 'dim';
interface Span {
  readonly text: string;
  readonly tone: Tone;
}
type Line = readonly Span[];
interface Panel {
  /** Made once it is known how many of its lines are shown. */
  readonly title: (shown: string) => Line;
  readonly lines: readonly Line[];
}

/** Below this two panels beside each other are too narrow to be read. */
const TWO_COLUMNS = 72;
/** With fewer rows the head says in one line what is as it should be. */
const ROOMY = 20;
/** Lines of the head that may grow: at most one in so many rows for what is wrong. */
const ROWS_PER_CONCERN = 8;
const RATE = 6;
const SGR: Readonly<Record<Tone, string>> = {
  plain: '',
  title: '1',
  good: '32',
  warn: '33',
  bad: '1;31',
  dim: '2',
};
/** The signs of its own, and what stands for each where there is only ASCII: as wide, so that columns stay columns. */
const SIGNS: ReadonlyMap<string, string> = new Map([
  ['→', '>'],
  ['…', '~'],
  ['µ', 'u'],
  ['│', '|'],
]);

/** The screen: at most `rows` lines of at most `columns` characters, colours not counted. */
export function screenOf(top: Top, look: Look): string[] {
  const head = headOf(top, look);
  const body = bodyOf(top, look, look.rows - head.length);
  return [...head, ...body].slice(0, Math.max(0, look.rows)).map((line) => painted(line, look));
}

const span = (text: string, tone: Tone = 'plain'): Span => ({ text, tone });
const lengthOf = (line: Line): number => line.reduce((sum, { text }) => sum + text.length, 0);

/** Only what every terminal shows as one character each. */
function plainText(text: string, ascii: boolean): string {
  return text.replace(/[^\x20-\x7e]/gu, (sign) => {
    const plain = SIGNS.get(sign);
    return plain === undefined ? '?' : ascii ? plain : sign;
  });
}

/** A line cut to the width and coloured. */
function painted(line: Line, { columns, colour, ascii }: Look): string {
  const spans = cut(
    line.map(({ text, tone }) => span(plainText(text, ascii), tone)),
    columns,
    ascii,
  );
  return spans
    .map(({ text, tone }) =>
      colour && SGR[tone] !== '' && text.trim() !== '' ? `\u001b[${SGR[tone]}m${text}\u001b[0m` : text,
    )
    .join('')
    .trimEnd();
}

function cut(line: Line, width: number, ascii: boolean): Line {
  if (lengthOf(line) <= width) return line;
  const spans: Span[] = [];
  let left = width - 1;
  for (const { text, tone } of line) {
    if (left <= 0) break;
    spans.push(span(text.slice(0, left), tone));
    left -= text.length;
  }
  return width < 1 ? [] : [...spans, span(ascii ? '~' : '…', 'dim')];
}

/** Text in so many characters, cut at its end, or at its beginning where the end tells more. */
function cell(
  text: string,
  width: number,
  { right = false, keepEnd = false }: { readonly right?: boolean; readonly keepEnd?: boolean } = {},
): string {
  const fitting =
    text.length <= width
      ? text
      : width <= 1
        ? text.slice(0, Math.max(0, width))
        : keepEnd
          ? `…${text.slice(text.length - width + 1)}`
          : `${text.slice(0, width - 1)}…`;
  return right ? fitting.padStart(width) : fitting.padEnd(width);
}

/** A rate or a count in at most five characters: "0", "3.2", "1234", "56.7k", "1.23M"; "-" = not known yet. */
export function amountText(value: number | bigint | undefined): string {
  if (value === undefined) return '-';
  const amount = Number(value);
  if (amount === 0) return '0';
  if (amount < 9.95) return typeof value === 'bigint' ? String(value) : amount.toFixed(1);
  if (amount < 9_999.5) return amount.toFixed(0);
  for (const [unit, factor] of [
    ['k', 1e3],
    ['M', 1e6],
    ['G', 1e9],
    ['T', 1e12],
  ] as const) {
    const scaled = amount / factor;
    if (scaled < 9.995) return `${scaled.toFixed(2)}${unit}`;
    if (scaled < 99.95) return `${scaled.toFixed(1)}${unit}`;
    if (scaled < 999.5) return `${scaled.toFixed(0)}${unit}`;
  }
  return 'many';
}

/** Items one after the other, on as many lines as they need; an item is never split. */
function flow(items: readonly Line[], columns: number): Line[] {
  const lines: Span[][] = [];
  let last: Span[] | undefined;
  for (const item of items) {
    if (last !== undefined && lengthOf(last) + 2 + lengthOf(item) <= columns) last.push(span('  '), ...item);
    else lines.push((last = [...item]));
  }
  return lines;
}

function headOf(top: Top, look: Look): Line[] {
  const lines = [titleOf(top, look)];
  const { posture, dataplane, concerns } = top;
  if (posture.seen) lines.push(...postureLines(posture.value, look));
  else
    lines.push([
      span(`the posture coordinator does not answer: ${posture.message} [${posture.code}]`, 'bad'),
    ]);
  const room = Math.max(1, Math.floor(look.rows / ROWS_PER_CONCERN));
  const shown = concerns.length <= room ? concerns : concerns.slice(0, Math.max(1, room - 1));
  for (const { severity, text } of shown) lines.push([span(text, severity)]);
  if (shown.length < concerns.length && room > 1)
    lines.push([span(`… ${concerns.length - shown.length} more: kedge doctor tells all`, 'warn')]);
  if (dataplane.seen)
    lines.push(...planeLines(dataplane.value, posture.seen ? posture.value : undefined, look));
  else
    lines.push([
      span(`the governance bridge does not answer: ${dataplane.message} [${dataplane.code}]`, 'bad'),
    ]);
  return lines;
}

function titleOf(top: Top, look: Look): Line {
  const left = [span('kedge top', 'title'), span(`  ${top.target}`)];
  const right = [
    ...(look.paused ? [span('PAUSED', 'warn'), span('  ')] : []),
    span(`by ${look.sort}  ${look.pace}  `, 'dim'),
    span(`${top.at.slice(11, 19)}Z`),
  ];
  const blanks = look.columns - lengthOf(left) - lengthOf(right);
  return blanks < 2 ? [...left, span('  '), ...right] : [...left, span(' '.repeat(blanks)), ...right];
}

/** The time of day, as everybody's clock has it who reads logs. */
function clockText(wallMs: bigint): string {
  const date = new Date(Number(wallMs));
  return Number.isNaN(date.getTime()) ? 'no time of a clock' : `${date.toISOString().slice(11, 19)}Z`;
}

const LEVEL_TONES: Readonly<Record<number, Tone>> = { 5: 'good', 4: 'warn', 3: 'warn', 2: 'bad', 1: 'bad' };

function postureLines({ level, target, epoch, transition, services }: TopPosture, look: Look): Line[] {
  const brief = look.rows < ROOMY;
  const lines: Line[] = [
    [
      span('level '),
      span(levelText(level), LEVEL_TONES[level] ?? 'bad'),
      span(`  epoch ${String(epoch)}`),
      ...(target === level ? [] : [span(`  decided: ${levelText(target)}`, 'warn')]),
    ],
  ];
  if (transition !== undefined) {
    const { from, to, outcome, principal, reason, decidedAtWallMs, paths } = transition;
    const at = decidedAtWallMs === 0n ? '' : ` at ${clockText(decidedAtWallMs)}`;
    lines.push([
      span(`last ${from} → ${to} `),
      span(outcome, outcome === 'completed' ? 'good' : outcome === 'running' ? 'warn' : 'bad'),
      span(`${at}${principal === '' ? '' : ` by ${principal}: ${reason}`}`),
    ]);
    const well = (outcome: string): boolean => outcome === 'applied' || outcome === 'unchanged';
    const told = paths.filter(
      ({ path, outcome: how, late }) => !brief || path === 'dataplane' || late || !well(how),
    );
    lines.push(
      ...flow(
        told.map(({ path, outcome: how, tookNs, budgetNs, late }) => {
          const took = tookNs === undefined ? '-' : durationText(tookNs);
          const said = late ? ' LATE' : well(how) ? '' : ` ${how}`;
          const tone = late || how === 'failed' ? 'bad' : said === '' ? 'good' : 'warn';
          return [span(`${path} `), span(`${took}/${durationText(budgetNs)}${said}`, tone)];
        }),
        look.columns,
      ),
    );
  }
  const well = services.filter((service) => service.state === 'serving');
  const told = brief ? services.filter((service) => service.state !== 'serving') : services;
  const items = told.map(({ name, state, beatAgeNs }): Line => {
    const tone = state === 'serving' ? 'good' : state === 'stale' ? 'bad' : 'warn';
    const said = state === 'serving' ? '' : ` ${state === 'stale' ? 'STALE' : state}`;
    return [span(`${name} `), span(`${durationText(beatAgeNs)}${said}`, tone)];
  });
  if (brief) items.push([span(`${well.length} of ${services.length} services serve`)]);
  lines.push(...flow(items, look.columns));
  return lines;
}

function planeLines(plane: TopDataPlane, posture: TopPosture | undefined, { columns }: Look): Line[] {
  const { received, sent, dropped, deprioritised, flowsLive, flowsBegun, flowsEvicted } = plane;
  const each = (name: string, value: number | undefined, tone: Tone = 'plain'): Line => [
    span(`${name} `, 'dim'),
    span(`${amountText(value)}/s`, (value ?? 0) > 0 ? tone : 'plain'),
  ];
  return [
    ...plane.planes.flatMap((one) => flow(planeItems(one, posture), columns)),
    ...flow(
      [
        each('in', received),
        each('out', sent),
        each('low', deprioritised, 'warn'),
        each('drop', dropped, 'warn'),
        [span('flows ', 'dim'), span(`${amountText(flowsLive)} live`)],
        each('begun', flowsBegun),
        ...((flowsEvicted ?? 0) > 0 ? [each('evicted', flowsEvicted, 'warn')] : []),
      ],
      columns,
    ),
  ];
}

function planeItems(plane: TopPlane, posture: TopPosture | undefined): Line[] {
  const { name, alive, workers, behind, olderTables, restarted, telemetryGaps, flowGaps } = plane;
  const count = `${workers} worker${workers === 1 ? '' : 's'}`;
  const items: Line[] = [[span(`${name} `), span(alive ? 'alive' : 'DEAD', alive ? 'good' : 'bad')]];
  if (posture === undefined || behind === undefined || workers === 0) items.push([span(count)]);
  else if (behind === 0) items.push([span(`${count} at epoch ${String(posture.epoch)}`)]);
  else items.push([span(`${behind} of ${count} BEHIND epoch ${String(posture.epoch)}`, 'bad')]);
  if (olderTables > 0) items.push([span(`${olderTables} with older tables`, 'warn')]);
  if (restarted > 0) items.push([span(`${restarted} RESTARTED`, 'bad')]);
  items.push([
    span('gaps ', 'dim'),
    span(
      `events ${amountText(telemetryGaps)} flows ${amountText(flowGaps)}`,
      telemetryGaps + flowGaps > 0n ? 'warn' : 'plain',
    ),
  ]);
  return items;
}

const VERDICTS: ReadonlyMap<string, Span> = new Map([
  ['pass', span('pass', 'good')],
  ['deprioritise', span('low ', 'warn')],
  ['drop', span('drop', 'bad')],
]);
const verdictSpan = (verdict: string): Span => VERDICTS.get(verdict) ?? span(cell(verdict, 4));

function bodyOf(top: Top, look: Look, rows: number): Line[] {
  const { columns } = look;
  if (!top.dataplane.seen || rows < 2) return [];
  const plane = top.dataplane.value;
  const panels = (width: number) => ({
    pairs: pairsPanel(plane, look.sort, width),
    entries: entriesPanel(top, look.sort, width),
    drops: dropsPanel(plane, width),
    queues: queuesPanel(plane, width),
    applications: applicationsPanel(plane, width),
    names: namesPanel(top, width),
  });
  if (columns < TWO_COLUMNS) {
    const { pairs, entries, drops, queues, applications, names } = panels(columns);
    return column([pairs, drops, entries, queues, names, applications], rows);
  }
  const width = Math.floor((columns - 3) / 2);
  const [left, right] = [panels(width), panels(columns - 3 - width)];
  const lefts = column([left.pairs, left.entries], rows);
  const rights = column([right.drops, right.queues, right.names, right.applications], rows);
  return Array.from({ length: Math.max(lefts.length, rights.length) }, (_, at) => {
    const line = lefts[at] ?? [];
    const blanks = ' '.repeat(Math.max(0, width - lengthOf(line)));
    return [...line, span(blanks), span(' │ ', 'dim'), ...(rights[at] ?? [])];
  });
}

/** Panels below each other in so many rows. What has to be cut says in its title how much is shown. */
function column(panels: readonly Panel[], rows: number): Line[] {
  const given = shares(
    rows,
    panels.map(({ lines }) => lines.length + 1),
  );
  return panels.flatMap(({ title, lines }, at) => {
    const own = (given[at] ?? 0) - 1;
    if (own < 1) return [];
    const shown = own < lines.length ? ` ${own}/${lines.length}` : '';
    return [title(shown), ...lines.slice(0, own)];
  });
}

/** How many rows each gets that wants so many: two for each while they last, then one after the other, in turn. */
export function shares(rows: number, wants: readonly number[]): number[] {
  let left = rows;
  const given = wants.map((want) => {
    const first = Math.min(want, 2);
    if (first > left) return 0;
    left -= first;
    return first;
  });
  for (let grew = true; grew;) {
    grew = false;
    for (const [at, want] of wants.entries()) {
      const has = given[at] ?? 0;
      if (left < 1 || has === 0 || has >= want) continue;
      given[at] = has + 1;
      left -= 1;
      grew = true;
    }
  }
  return given;
}

/** A title over a column of text, with the names of the columns beside it. */
function titled(name: string, width: number, titles: readonly string[]): Panel['title'] {
  const more = titles.join('');
  return (shown) => [span(cell(`${name}${shown}`, width - more.length) + more, 'title')];
}

const none = (text: string): Line[] => [[span(text, 'dim')]];
const rateCell = (value: number | undefined, width = RATE): string =>
  cell(amountText(value), width, { right: true });

function pairsPanel({ pairs }: TopDataPlane, sort: Sort, width: number): Panel {
  const each = (value: number | undefined, tone: Tone): Span =>
    span(rateCell(value), (value ?? 0) > 0 ? tone : 'dim');
  // Where nothing goes on is told in one line; what goes on needs the room.
  const [quiet, busy] = [true, false].map((wanted) =>
    sortedPairs(pairs, sort).filter(
      ({ pass, deprioritise, drop }) => (pass === 0 && deprioritise === 0 && drop === 0) === wanted,
    ),
  );
  const lines = (busy ?? []).map(({ from, to, pass, deprioritise, drop }): Line => [
    span(cell(`${from} → ${to}`, width - 3 * RATE)),
    each(pass, 'good'),
    each(deprioritise, 'warn'),
    each(drop, 'bad'),
  ]);
  const rest = quiet?.length ?? 0;
  return {
    title: titled('ZONE PAIR/s', width, ['  pass', '   low', '  drop']),
    lines:
      pairs.length === 0
        ? none('nothing was judged by a zone pair yet')
        : [...lines, ...(rest === 0 ? [] : none(`${rest} quiet`))],
  };
}

function entriesPanel({ entries }: Top, sort: Sort, width: number): Panel {
  const title = titled(`ENTRY, last ${entries.seen ? entries.value.windowS : 0} s`, width, [
    '      ',
    '    /s',
  ]);
  if (!entries.seen) return { title, lines: none(`${entries.message} [${entries.code}]`) };
  const lines = sortedEntries(entries.value.rows, sort).map(
    ({ from, to, entry, verdict, perSecond }): Line => [
      span(cell(`${entry} (${from} → ${to})`, width - 6 - RATE)),
      span('  '),
      verdictSpan(verdict),
      span(rateCell(perSecond)),
    ],
  );
  return { title, lines: lines.length === 0 ? none('no entry had traffic') : lines };
}

function dropsPanel({ drops }: TopDataPlane, width: number): Panel {
  const lines = drops.map(({ reason, perSecond, packets }): Line => [
    span(cell(reason, width - 2 * RATE - 1)),
    span(rateCell(perSecond), (perSecond ?? 0) > 0 ? 'bad' : 'dim'),
    span(cell(amountText(packets), RATE + 1, { right: true })),
  ]);
  return {
    title: titled('DROPPED BY', width, ['    /s', '  total']),
    lines: lines.length === 0 ? none('nothing was dropped yet') : lines,
  };
}

function queuesPanel({ queues }: TopDataPlane, width: number): Panel {
  const wide = width >= 50;
  const titles = [' waiting', ' waited/s', ' lost/s', ...(wide ? [' withdrawn/s'] : [])];
  const lines = queues.map(({ name, waiting, waited, lost, withdrawn }): Line => [
    span(cell(name, width - titles.join('').length)),
    span(cell(amountText(waiting), 8, { right: true }), waiting > 0n ? 'warn' : 'plain'),
    span(rateCell(waited, 9), (waited ?? 0) > 0 ? 'warn' : 'dim'),
    span(rateCell(lost, 7), (lost ?? 0) > 0 ? 'bad' : 'dim'),
    ...(wide ? [span(rateCell(withdrawn, 12), 'dim')] : []),
  ]);
  return {
    title: titled('QUEUE', width, titles),
    lines: lines.length === 0 ? none('the bridge tells of none') : lines,
  };
}

function applicationsPanel({ applications, classify }: TopDataPlane, width: number): Panel {
  const lines = applications.map(({ name, packetsPerSecond, bytesPerSecond }): Line => [
    span(cell(name, width - 2 * RATE - 2)),
    span(rateCell(packetsPerSecond), (packetsPerSecond ?? 0) > 0 ? 'plain' : 'dim'),
    span(rateCell(bytesPerSecond, RATE + 2), (bytesPerSecond ?? 0) > 0 ? 'plain' : 'dim'),
  ]);
  return {
    title: titled(classify === false ? 'APPLICATION (off)' : 'APPLICATION', width, ['    /s', ' bytes/s']),
    lines:
      lines.length > 0
        ? lines
        : none(classify === false ? 'this level does not look into packets' : 'nothing was recognised yet'),
  };
}

function namesPanel({ names }: Top, width: number): Panel {
  const title = titled(
    names.seen && names.value.lost > 0n ? `NAME, ${amountText(names.value.lost)} records missed` : 'NAME',
    width,
    [],
  );
  if (!names.seen)
    return {
      title,
      lines: none(
        names.code === 'BUS_UNIMPLEMENTED'
          ? 'this release of the bridge has no names'
          : `${names.message} [${names.code}]`,
      ),
    };
  const wide = width >= 56;
  // Where there is no room for zones, both directions of a conversation would be the same line twice.
  const shown = new Map(
    names.value.latest.map((seen, i) => [
      wide ? i : JSON.stringify([seen.application, seen.name, seen.verdict]),
      seen,
    ]),
  );
  const lines = [...shown.values()].map(({ application, name, fromZone, toZone, verdict }): Line => [
    verdictSpan(verdict),
    span(` ${cell(application, 5)}`, 'dim'),
    // The end of a name says whose it is.
    span(cell(name, width - 10 - (wide ? 23 : 0), { keepEnd: true })),
    ...(wide ? [span(` ${cell(`${fromZone} → ${toZone}`, 22)}`, 'dim')] : []),
  ]);
  return { title, lines: lines.length === 0 ? none('no flow with a name has ended yet') : lines };
}

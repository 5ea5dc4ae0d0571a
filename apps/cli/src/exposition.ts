/**
 * Reads metrics in the text exposition format of Prometheus, version 0.0.4, strictly.
 * It must not know which metrics there are, nor where they come from.
 */
import { KedgeError } from '@kedge/units';

/** One family as it was told. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary' | 'untyped';
  readonly samples: readonly MetricSample[];
}

/** One line of a family; of a histogram its buckets, sum and count each are one. */
export interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const HELP = new RegExp(`^# HELP (${NAME}) (.*)$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\\\|\\"|\\n)*)"(,|$)/y;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
};

/**
 * Every family, in the order told. Refused are samples without a type, families and samples that come twice, a counter
 * below 0, and a histogram whose buckets fall, or whose last is not its count.
 *
 * @throws KedgeError `CLI_METRICS_INVALID`, with the number of the line
 */
export function familiesOf(text: string): readonly MetricFamily[] {
  const families = new Map<string, { help: string; type: MetricFamily['type']; samples: MetricSample[] }>();
  const helps = new Map<string, string>();
  const seen = new Set<string>();
  let current = '';
  if (text !== '' && !text.endsWith('\n')) throw invalid(0, 'the last line does not end');
  for (const [index, line] of text.split('\n').entries()) {
    const at = index + 1;
    if (line === '') continue;
    if (line.startsWith('# HELP ')) {
      const [, name = '', help = ''] = HELP.exec(line) ?? [];
      if (name === '' || helps.has(name)) throw invalid(at, 'a HELP that is no HELP, or comes twice');
      helps.set(
        name,
        help.replaceAll(/\\(\\|n)/g, (_, what) => (what === 'n' ? '\n' : '\\')),
      );
      continue;
    }
    if (line.startsWith('# TYPE ')) {
      const [, name = '', type] = TYPE.exec(line) ?? [];
      if (type === undefined || families.has(name)) throw invalid(at, 'a TYPE that is none, or comes twice');
      families.set(name, { help: helps.get(name) ?? '', type: type as MetricFamily['type'], samples: [] });
      current = name;
      continue;
    }
    if (line.startsWith('#')) continue;
    const [, name = '', inner, written = ''] = SAMPLE.exec(line) ?? [];
    const family = families.get(current);
    if (family === undefined || !(SUFFIXES[family.type] ?? ['']).some((end) => name === `${current}${end}`))
      throw invalid(at, 'a sample that belongs to no family');
    const sample = { name, labels: labelsOf(inner ?? '', at), value: valueOf(written, at) };
    const key = `${name}${JSON.stringify(Object.entries(sample.labels).sort())}`;
    if (seen.has(key)) throw invalid(at, 'a sample that comes twice');
    seen.add(key);
    if (family.type === 'counter' && !(sample.value >= 0)) throw invalid(at, 'a counter below 0');
    family.samples.push(sample);
  }
  const told = [...families].map(([name, family]) => ({ name, ...family }));
  for (const family of told) if (family.type === 'histogram') checkHistogram(family);
  return told;
}

function labelsOf(text: string, at: number): Readonly<Record<string, string>> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const [, name = '', value = ''] = LABEL.exec(text) ?? [];
    if (name === '' || Object.hasOwn(labels, name)) throw invalid(at, 'labels that cannot be read');
    labels[name] = value.replaceAll(/\\(\\|"|n)/g, (_, what: string) => (what === 'n' ? '\n' : what));
  }
  return labels;
}

function valueOf(written: string, at: number): number {
  if (written === '+Inf' || written === 'Inf') return Infinity;
  if (written === '-Inf') return -Infinity;
  if (written === 'NaN' || written === 'Nan') return NaN;
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/.test(written))
    throw invalid(at, 'a value that is no number');
  return Number(written);
}

function checkHistogram({ name, samples }: MetricFamily): void {
  const series = new Map<string, { bound: number; at: number; count: number | undefined }>();
  for (const sample of samples) {
    const { le, ...labels } = sample.labels;
    const key = JSON.stringify(Object.entries(labels).sort());
    const one = series.get(key) ?? { bound: -Infinity, at: 0, count: undefined };
    series.set(key, one);
    if (sample.name === `${name}_count`) one.count = sample.value;
    if (sample.name !== `${name}_bucket`) continue;
    const bound = le === undefined ? NaN : valueOf(le, 0);
    if (!(bound > one.bound) || sample.value < one.at) throw invalid(0, `buckets of ${name} that fall`);
    one.bound = bound;
    one.at = sample.value;
  }
  for (const { bound, at, count } of series.values())
    if (bound !== Infinity || at !== count) throw invalid(0, `buckets of ${name} that are not its count`);
}

function invalid(line: number, why: string): KedgeError {
  return new KedgeError({
    code: 'CLI_METRICS_INVALID',
    message: `metrics cannot be read${line === 0 ? '' : `, line ${String(line)}`}: ${why}`,
    expected: 'the text exposition format of Prometheus, version 0.0.4',
  });
}

import { describe, expect, it } from 'vitest';

import { familiesOf } from './exposition.js';

const HISTOGRAM = `# HELP t_seconds Time.
# TYPE t_seconds histogram
t_seconds_bucket{le="0.1",path="a"} 1
t_seconds_bucket{le="+Inf",path="a"} 2
t_seconds_sum{path="a"} 3.5
t_seconds_count{path="a"} 2
`;

describe('metrics as text', () => {
  it('are read with help, type, labels and values as they were written', () => {
    const text = `# HELP n_total A \\\\ and a\\nline.\n# TYPE n_total counter\nn_total{a="x\\"}\\n,",b=""} 1e3\n\n# a remark\n${HISTOGRAM}# TYPE g gauge\ng -0.5\n`;
    const [counter, histogram, gauge, ...more] = familiesOf(text);
    expect(counter).toEqual({
      name: 'n_total',
      help: 'A \\ and a\nline.',
      type: 'counter',
      samples: [{ name: 'n_total', labels: { a: 'x"}\n,', b: '' }, value: 1000 }],
    });
    expect(histogram?.samples.map(({ name, value }) => [name, value])).toEqual([
      ['t_seconds_bucket', 1],
      ['t_seconds_bucket', 2],
      ['t_seconds_sum', 3.5],
      ['t_seconds_count', 2],
    ]);
    expect(gauge?.samples).toEqual([{ name: 'g', labels: {}, value: -0.5 }]);
    expect(more).toEqual([]);
  });

  it('that are not in the format are refused, with the line', () => {
    const wrong: readonly (readonly [string, string])[] = [
      ['g 1\n', 'line 1'],
      ['# TYPE g gauge\ng 1', 'does not end'],
      ['# TYPE g gauge\n# TYPE g gauge\n', 'line 2'],
      ['# TYPE g thing\n', 'line 1'],
      ['# TYPE g gauge\nh 1\n', 'line 2'],
      ['# TYPE g gauge\ng one\n', 'line 2'],
      ['# TYPE g gauge\ng{a="1" 1\n', 'line 2'],
      ['# TYPE g gauge\ng{a="1",a="2"} 1\n', 'line 2'],
      ['# TYPE g gauge\ng{a="1"b="2"} 1\n', 'line 2'],
      ['# TYPE g gauge\ng{a="1"} 1\ng{a="1"} 2\n', 'line 3'],
      ['# TYPE c_total counter\nc_total -1\n', 'line 2'],
      [HISTOGRAM.replace('"0.1",path="a"} 1', '"0.1",path="a"} 3'), 'fall'],
      [HISTOGRAM.replace('_count{path="a"} 2', '_count{path="a"} 3'), 'not its count'],
      [HISTOGRAM.replace('+Inf', '7'), 'not its count'],
    ];
    for (const [text, why] of wrong)
      expect(() => familiesOf(text), text).toThrow(
        expect.objectContaining({
          code: 'CLI_METRICS_INVALID',
          message: expect.stringContaining(why) as string,
        }),
      );
  });
});

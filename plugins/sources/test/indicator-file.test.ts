import { kit, type Line, type PostureSourceContext, type TightenRequest } from '@kedge/posture-source-kit';
import { readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import indicatorFile, { indicatorOf, levelsOf } from '../indicator-file/index.js';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const line = (fields: object): string => JSON.stringify(fields);
const critical = line({ id: 'a', severity: 'critical' });

/** The plugin over several contents of its file, one pass each; what it asked for and what it said was wrong. */
async function passes(
  contents: readonly (readonly (string | { text: string; cut: boolean })[])[],
  settings: Record<string, number> = {},
) {
  const asked: TightenRequest[] = [];
  const problems: (string | undefined)[] = [];
  const stop = new AbortController();
  let pass = 0;
  const context: PostureSourceContext = {
    settings,
    signal: stop.signal,
    now: () => NOW,
    sleep: async () => undefined,
    lines: async function* (file): AsyncGenerator<Line> {
      expect(file).toBe('indicators');
      let number = 0;
      for (const each of contents[pass] ?? []) {
        number += 1;
        yield { number, ...(typeof each === 'string' ? { text: each, cut: false } : each) };
      }
    },
    changed: async () => {
      pass += 1;
      if (pass === contents.length) stop.abort();
    },
    tighten: async (request) => {
      asked.push(request);
      return { outcome: 'applied', epoch: '1', level: request.level };
    },
    problem: (sentence) => problems.push(sentence),
  };
  await indicatorFile(kit).run(context);
  return { asked, problems };
}

describe('the file of indicators', () => {
  it('PO-3 the gravest new indicator asks for the level of its severity, once', async () => {
    const high = line({ id: 'b', severity: 'high', description: 'beacon' });
    const { asked, problems } = await passes([
      [high, line({ id: 'c', severity: 'low' })],
      [high, critical],
      [high, critical, line({ id: 'd', severity: 'medium' })],
      [critical],
      [],
      [critical],
    ]);
    expect(asked.map(({ level, reason }) => [level, reason])).toEqual([
      [3, 'indicator b is high: beacon'],
      [2, 'indicator a is critical'],
      [4, 'indicator d is medium'],
    ]);
    for (const { key } of asked) expect(key).toMatch(/^[A-Za-z0-9._:-]{8,32}$/);
    expect(new Set(asked.map(({ key }) => key)).size).toBe(3);
    expect(problems.every((each) => each === undefined)).toBe(true);
  });

  it('PO-3 an indicator that has expired asks for nothing, and settings choose other levels', async () => {
    const { asked } = await passes(
      [
        [
          line({ id: 'old', severity: 'critical', expires: '2026-11-22T12:00:00Z' }),
          line({ id: 'new', severity: 'high', expires: '2026-11-22T12:00:01Z' }),
        ],
      ],
      { high: 1 },
    );
    expect(asked).toMatchObject([{ level: 1, reason: 'indicator new is high' }]);
    expect(() => levelsOf({ high: 6 })).toThrow('the setting high must be a level from 1 to 5');
  });

  it('PO-5 a line that is no indicator is refused by line and field, and the lines around it count', async () => {
    const wrong: [string, string][] = [
      ['no json', 'line'],
      ['[]', 'line'],
      ['null', 'line'],
      [line({ severity: 'high' }), 'id'],
      [line({ id: 'with a space', severity: 'high' }), 'id'],
      [line({ id: 7, severity: 'high' }), 'id'],
      [line({ id: 'a', severity: 'worst' }), 'severity'],
      [line({ id: 'a', severity: '__proto__' }), 'severity'],
      [line({ id: 'a', severity: 'high', expires: 'tomorrow' }), 'expires'],
      [line({ id: 'a', severity: 'high', expires: '2026-13-40T00:00:00Z' }), 'expires'],
      [line({ id: 'a', severity: 'high', description: 'two\nlines' }), 'description'],
      [line({ id: 'a', severity: 'high', colour: 'red' }), 'colour'],
    ];
    for (const [text, field] of wrong) {
      expect(() => indicatorOf(text, false), text).toThrow(
        expect.objectContaining({ code: 'INDICATOR_LINE', field }),
      );
      const { asked, problems } = await passes([[critical, text, '']]);
      expect(problems[0]).toContain(`INDICATOR_LINE line 2, ${field}: expected`);
      expect(asked).toHaveLength(1);
    }
    expect(() => indicatorOf(critical, true)).toThrow(expect.objectContaining({ field: 'line' }));
    const many = await passes([Array.from({ length: 100 }, () => 'x')]);
    expect(many.problems[0]).toMatch(/^INDICATOR_LINE line 1, .*; line 3, .* \(and 97 more\)$/);
    expect(wrong).toHaveLength(12);
  });

  it('comes with a manifest that is sealed over what is shipped', () => {
    const folder = new URL('../indicator-file/', import.meta.url);
    const hash = createHash('sha256');
    for (const path of ['README.md', 'index.js', 'package.json']) {
      const content = createHash('sha256')
        .update(readFileSync(new URL(path, folder)))
        .digest('hex');
      hash.update(`${path}\0${content}\n`);
    }
    const manifest = JSON.parse(readFileSync(new URL('plugin.json', folder), 'utf8')) as {
      contentHash: string;
    };
    expect(manifest.contentHash, 'node libs/plugin-host/dist/seal.js plugins/sources/indicator-file').toBe(
      hash.digest('hex'),
    );
  });
});

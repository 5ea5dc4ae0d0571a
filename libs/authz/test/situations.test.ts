/**
 * docs/authorisation.md is right: every situation that it describes is asked, and its examples run.
 * Must not hold a situation of its own.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import {
  askingSchema,
  PolicyKeeper,
  readPolicyTests,
  requestOf,
  runPolicyTests,
  SHIPPED_SETS,
} from '../src/index.js';
import { PolicyDirectory } from './policies.js';

const page = readFileSync(join(import.meta.dirname, '../../../docs/authorisation.md'), 'utf8');
const rows = [...page.matchAll(/^\| (\d+) \|(.*)\|$/gm)].map(([, number = '', rest = '']) => {
  const [situation, set, as, asks, level, factor, from, answer, policy] = rest
    .split('|')
    .map((cell) => cell.trim());
  return { number, situation, set, as, asks, level, factor, from, answer, policy };
});
const block = (language: string, at: number): string =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))][at]?.[1] ?? '';

describe('docs/authorisation.md', () => {
  it('describes fifty-seven situations', () => {
    expect(rows.map(({ number }) => Number(number))).toEqual(Array.from({ length: 57 }, (_, i) => i + 1));
    expect(new Set(rows.map(({ set }) => set))).toEqual(new Set(Object.keys(SHIPPED_SETS)));
  });

  it.each(rows)('SE-2 situation $number: $situation: $answer by $policy', (row) => {
    const { set = '', as = '', asks = '', level, factor = '', from, answer, policy } = row;
    const [channel, tier] = as.split('/');
    const to = /^level (\d)$/.exec(asks)?.[1];
    const age = /^(\d+) s$/.exec(factor)?.[1];
    const asking = askingSchema.parse({
      tier,
      channel,
      action: to === undefined ? asks : 'posture.set',
      level: Number(level),
      ...(to === undefined ? {} : { to: Number(to) }),
      ...(age === undefined ? {} : { secondFactorAge: Number(age) }),
      ...(from === '' ? {} : { address: from }),
    });
    const { answer: given, policies } = new PolicyKeeper({ policies: set }).authoriser.explain(
      requestOf(asking),
    );
    expect({ answer: given.allow ? 'yes' : 'no', policy: given.rule }).toEqual({ answer, policy });
    if (policy !== 'default-deny') expect(policies[0]).toBe(policy);
  });

  it('SE-2 its example of a policy does what its tests say', async () => {
    const directory = new PolicyDirectory();
    for (const file of SHIPPED_SETS.default)
      directory.put(
        `${file}.cedar`,
        readFileSync(join(import.meta.dirname, '../policies', `${file}.cedar`), 'utf8'),
      );
    directory.put('working-hours.cedar', block('cedar', 0));
    const keeper = new PolicyKeeper({ policies: directory.path });
    try {
      await keeper.start();
      const tests = readPolicyTests('working-hours.test.json', block('json', 1));
      expect(runPolicyTests(tests, keeper.authoriser).map(({ passed, by }) => [passed, by])).toEqual([
        [true, 'journeyman-executes'],
        [true, 'working-hours'],
      ]);
    } finally {
      await keeper.close();
      directory.remove();
    }
  });

  it('SE-2 a test that expects something else fails, and a file that is none is refused by its field', () => {
    const { authoriser } = new PolicyKeeper({ policies: 'default' });
    const ask = { tier: 'apprentice', channel: 'local', action: 'mutation.execute', level: 5 };
    const file = (expected: object): string =>
      JSON.stringify({ tests: [{ name: 'it', ask, expect: expected }] });
    const passes = (expected: object): boolean | undefined =>
      runPolicyTests(readPolicyTests('f', file(expected)), authoriser)[0]?.passed;
    expect(passes({ allow: false })).toBe(true);
    expect(passes({ allow: false, by: 'default-deny' })).toBe(true);
    expect(passes({ allow: true })).toBe(false);
    expect(passes({ allow: false, by: 'loosening-tier' })).toBe(false);
    expect(() => readPolicyTests('f', 'no json')).toThrow(/no JSON/);
    expect(() => readPolicyTests('f', file({ allow: 'yes' }))).toThrow(
      expect.objectContaining({ code: 'AUTHZ_TESTS', field: 'tests.0.expect.allow' }),
    );
  });
});

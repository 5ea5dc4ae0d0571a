/**
 * Holds the reader of YANG text: what it refuses, and that it reads what yanglint reads.
 * Must not ask what statements mean.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { type Statement, statementsOf, walk } from './statements.js';
import { moduleFiles, STANDARD_MODULES } from '@kedge/yang-trees';

const YANG = join(import.meta.dirname, '../../../yang');

/** A module as a sorted list of what it says, without order, layout and comments. */
function said(statement: Statement): string[] {
  return [...walk(statement)]
    .map(({ statement: one, within }) =>
      [
        ...within.map(({ keyword, argument }) => `${keyword} ${argument ?? ''}`),
        one.keyword,
        one.argument ?? '',
      ]
        .join('/')
        .replace(/\s+/g, ' '),
    )
    .sort();
}

describe('YANG text', () => {
  it('is read as RFC 7950 says: quotes, escapes, joined parts, comments, lines that only line up', () => {
    const text = [
      '// a comment { that ; means nothing',
      'module x { /* nor "this" */',
      '  prefix "a" + \'b\\n\' ;',
      '  description',
      '    "first   ',
      '       second',
      '      third \\"quoted\\"\\ttab";',
      '  ext:thing;',
      "  pattern '[{;}]+';}",
    ].join('\n');
    const [module] = statementsOf(text, 'x');
    expect(module).toMatchObject({ keyword: 'module', argument: 'x', line: 2, column: 1 });
    expect(module?.children.map(({ keyword, argument }) => [keyword, argument])).toEqual([
      ['prefix', 'ab\\n'],
      ['description', 'first\n  second\n third "quoted"\ttab'],
      ['ext:thing', undefined],
      ['pattern', '[{;}]+'],
    ]);
  });

  it.each([
    ['module x {', '1:11: a keyword was expected'],
    ['module x }', '1:10: a ; or { was expected'],
    ['module x;\n}', '2:1: a keyword was expected'],
    ['module "x;', '1:8: a string that does not end'],
    ['module x { /* never', '1:12: a comment that does not end'],
    ['module "\\q";', '1:8: a string with \\q, which is no escape'],
    ['module "x" + y;', '1:14: a quoted string was expected after +'],
  ])('%j is refused with its place', (text, what) => {
    expect(() => statementsOf(text, 'x.yang')).toThrow(
      expect.objectContaining({ code: 'SCHEMA_SYNTAX', message: `cannot read x.yang: ${what}` }),
    );
  });

  it('of every own module and of every module of the package says what yanglint says', () => {
    const files = [...moduleFiles([YANG, ...STANDARD_MODULES]).values()];
    let [visited, compared] = [0, 0];
    for (const file of files) {
      const [module] = statementsOf(readFileSync(file, 'utf8'), file);
      expect(['module', 'submodule']).toContain(module?.keyword);
      visited++;
      if (!file.startsWith(YANG)) continue;
      const search = [YANG, ...STANDARD_MODULES].flatMap((directory) => ['-p', directory]);
      const printed = spawnSync('yanglint', ['-D', ...search, '-f', 'yang', file], {
        encoding: 'utf8',
      }).stdout;
      const [theirs] = statementsOf(printed, file);
      if (module === undefined || theirs === undefined) throw new Error(`${file} holds no module`);
      expect(said(module)).toEqual(said(theirs));
      compared++;
    }
    expect(compared).toBe(12);
    expect(visited).toBeGreaterThanOrEqual(compared + 30);
  });
});

/**
 * Holds what CONTRIBUTING.md says about files and tests and a machine can see: names, heads, no tests set aside.
 * Must not judge prose, nor repeat what eslint and prettier hold.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const OWN = ['apps', 'libs', 'plugins', 'test', 'firmware', 'yang'];
const TOOLS = ['node_modules', 'dist', 'build', 'bundle', '.cache'];

function under(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return TOOLS.includes(entry.name) ? [] : under(path);
    return [relative(ROOT, path)];
  });
}

const files = OWN.flatMap((folder) => under(join(ROOT, folder)));
const sources = files.filter(
  (path) => /\.(ts|mts|mjs|js|c|cc|cpp|h|hpp|proto)$/.test(path) && !path.endsWith('.d.mts'),
);
const tests = files.filter((path) => path.endsWith('.test.ts'));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** The comment at the top of a file, without its marks; empty when there is none. */
function head(path: string): string {
  const text = read(path).replace(/^#!.*\n/, '');
  const block = /^\s*\/\*\*?([\s\S]*?)\*\//.exec(text)?.[1] ?? /^(?:\/\/.*\n)+/.exec(text)?.[0] ?? '';
  return block.replace(/^\s*(?:\*|\/\/) ?/gm, '').trim();
}

describe('files', () => {
  it('are named in kebab-case, for a thing and not for a role', () => {
    const stems = sources.map((path) => ({ path, stem: basename(path).replace(/(\.test)?\.[a-z]+$/, '') }));
    const role = /(^|[-_])(manager|helpers?|utils?|impl|common|shared)$|[-_](service|base)$/;
    const wrong = stems.filter(({ path, stem }) => {
      const shape = /\.(c|cc|cpp|h|hpp)$/.test(path)
        ? /^[a-z0-9]+([-_][a-z0-9]+)*$/
        : /^[a-z0-9]+([-.][a-z0-9]+)*$/;
      return !shape.test(stem) || role.test(stem);
    });
    expect(wrong.map(({ path }) => path)).toEqual([]);
    expect(stems.length).toBeGreaterThanOrEqual(100);
  });

  it('begin with what they are and what they must not do', () => {
    const without = sources
      .filter((path) => !path.endsWith('.test.ts') && !path.startsWith('apps/cli/bin/'))
      .filter((path) => (head(path).match(/[.:](\s|$)/g) ?? []).length < 2);
    expect(without).toEqual([]);
  });

  it('hold no unfinished marks', () => {
    const mark = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`);
    expect(sources.filter((path) => mark.test(read(path)))).toEqual([]);
  });
});

describe('tests', () => {
  it('are neither skipped, nor singled out, nor left for later, and replace no module', () => {
    const aside = /\b(?:it|test|describe)\.(?:skip|only|todo|skipIf|fails)\b|\bvi\.(?:mock|doMock)\(/;
    const self = relative(ROOT, import.meta.filename);
    expect(tests.filter((path) => path !== self && aside.test(read(path)))).toEqual([]);
    expect(tests.length).toBeGreaterThanOrEqual(25);
  });
});

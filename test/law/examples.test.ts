/**
 * The examples of the packages' READMEs, as they stand there: a program, "prints", and what it prints.
 * It must not stand for a test of what the packages do.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const EXAMPLE = /```js\n([\s\S]*?)```\n\nprints\n\n```\n([\s\S]*?)```/g;

const examples = ['libs', 'plugins', 'apps']
  .flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => join(ROOT, folder, name)))
  .filter((directory) => existsSync(join(directory, 'README.md')))
  .flatMap((directory) => {
    const page = readFileSync(join(directory, 'README.md'), 'utf8');
    return [...page.matchAll(EXAMPLE)].map(([, program = '', output = ''], number) => ({
      name: `${relative(ROOT, directory)}, number ${String(number + 1)}`,
      directory,
      program,
      output,
    }));
  });

describe('the examples of the READMEs', () => {
  it.each(examples)('$name prints what the page says', ({ directory, program, output }) => {
    const printed = execFileSync(process.execPath, ['--input-type=module', '-'], {
      cwd: directory,
      input: program,
      encoding: 'utf8',
    });
    expect(printed).toBe(output);
  });

  it('are found wherever there is one', () => {
    expect(examples.length).toBeGreaterThanOrEqual(5);
    const programs = examples.map(({ program }) => program).join('');
    for (const name of ['compiler', 'ledger', 'ledger-export', 'ledger-index', 'ledger-store'])
      expect(programs).toContain(`'@kedge/${name}'`);
  });
});

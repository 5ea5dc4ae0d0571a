/**
 * The example of the README, as it stands there.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const PACKAGE = join(import.meta.dirname, '..');

it('the example of the README prints what the README says', () => {
  const page = readFileSync(join(PACKAGE, 'README.md'), 'utf8');
  const [, program, output] = /```js\n([\s\S]*?)```\n\nprints\n\n```\n([\s\S]*?)```/.exec(page) ?? [];
  const printed = execFileSync(process.execPath, ['--input-type=module', '-'], {
    cwd: PACKAGE,
    input: program ?? '',
    encoding: 'utf8',
  });
  expect(printed).toBe(output);
});

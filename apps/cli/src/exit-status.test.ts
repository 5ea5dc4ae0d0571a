/**
 * Exit statuses of the command against docs/errors.md, row by row.
 * Must not hold statuses of its own.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { exitOf } from './exit-status.js';

const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
const rows = [...page.matchAll(/^\| `([A-Z0-9_]+)` \| (\d) \|/gm)].map(
  ([, code = '', exit = '']) => [code, Number(exit)] as const,
);

describe('exit statuses', () => {
  it('every code ends the command with the status that docs/errors.md says', () => {
    expect(rows.length).toBeGreaterThan(60);
    const differing = rows
      .filter(([code, exit]) => exitOf(code) !== exit)
      .map(([code, exit]) => `${code}: page ${exit}, command ${exitOf(code)}`);
    expect(differing).toEqual([]);
  });

  it('what is no code of ours is unexpected, an unknown code of ours is a refusal', () => {
    expect([exitOf('ENOENT'), exitOf('whatever'), exitOf('SOMETHING_NEW')]).toEqual([1, 1, 3]);
  });
});

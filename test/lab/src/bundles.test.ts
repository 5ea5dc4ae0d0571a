import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { isFresh } from './bundles.js';
import { ROOT } from './paths.js';

const directory = mkdtempSync(join(tmpdir(), 'kedge-bundles-'));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('a bundle', () => {
  it('is fresh while what it is made of stands as it was, and not any more when one of it changed or went', () => {
    const main = join(directory, 'main.js');
    const source = join(directory, 'source.js');
    const input = relative(ROOT, source);
    expect(isFresh(main)).toBe(false);
    writeFileSync(source, 'one');
    const own = createHash('sha256').update(`\0${input}\0`).update('one').digest('hex');
    writeFileSync(join(directory, 'made-of.json'), JSON.stringify({ inputs: [input], own }));
    expect(isFresh(main)).toBe(true);
    writeFileSync(source, 'two');
    expect(isFresh(main)).toBe(false);
    rmSync(source);
    expect(isFresh(main)).toBe(false);
  });
});

import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readPathAccords } from './path-accords.js';

const DEFAULTS = fileURLToPath(new URL('../../../yang/defaults', import.meta.url));

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-path-accords-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Has the pointer lead to a set, as the coordinator does. */
function point(name: string): void {
  symlinkSync(name, join(directory, 'draft'));
  renameSync(join(directory, 'draft'), join(directory, 'paths'));
}

function keep(name: string, change: (accords: string) => string): void {
  cpSync(DEFAULTS, join(directory, name), { recursive: true });
  const path = join(directory, name, 'accords.json');
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

const read = () =>
  readPathAccords({
    accords: join(directory, 'paths/accords.json'),
    zones: join(directory, 'paths/zones.json'),
  });

describe('accords that a path follows', () => {
  it('PO-2 others that cannot be used are a refusal until they can, and those from before stay', () => {
    keep('first', (text) => text);
    keep('other', () => '{');
    point('first');
    const accords = read();
    expect([accords.usable, accords.refusal]).toEqual([true, undefined]);
    const { levels } = accords;
    point('other');
    for (const _look of [1, 2]) {
      accords.follow();
      expect(accords.refusal).toMatchObject({ code: 'ACCORD_SYNTAX' });
      expect([accords.usable, accords.levels === levels]).toEqual([true, true]);
    }
    keep('other', (text) => text);
    accords.follow();
    expect([accords.refusal, accords.levels === levels]).toEqual([undefined, false]);
  });

  it('PO-2 a pointer that goes back ends the refusal', () => {
    keep('first', (text) => text);
    point('first');
    const accords = read();
    point('nowhere');
    accords.follow();
    expect(accords.refusal).toMatchObject({ code: 'ACCORD_UNREADABLE' });
    point('first');
    accords.follow();
    expect(accords.refusal).toBeUndefined();
  });

  it('PO-2 where none could ever be used nothing is allowed', () => {
    const accords = read();
    expect([accords.usable, accords.refusal?.code]).toEqual([false, 'ACCORD_UNREADABLE']);
    expect(accords.levels[5].underlay.gate).toBe('frozen');
  });
});

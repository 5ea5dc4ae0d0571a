/**
 * A broken copy of this package, made of its sources with one text replaced, so that a test can show that it
 * would notice. Must leave nothing behind, and must not touch the sources.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Judged } from './world.js';

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url));
/** Inside the package, so that its imports are found; passed over by every tool. */
const COPIES = fileURLToPath(new URL('../../dist/', import.meta.url));

/** One small break. */
export interface Mutant {
  readonly file: string;
  /** Stands there exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** Runs `work` with the broken package. @throws when the text to be replaced is not there exactly once. */
export async function withMutant(mutant: Mutant, work: (code: Judged) => void): Promise<void> {
  mkdirSync(COPIES, { recursive: true });
  const directory = mkdtempSync(join(COPIES, '.mutant-'));
  try {
    for (const name of readdirSync(SOURCES)) {
      if (!name.endsWith('.ts') || name.endsWith('.test.ts')) continue;
      let text = readFileSync(join(SOURCES, name), 'utf8');
      if (name === mutant.file) {
        const count = text.split(mutant.find).length - 1;
        if (count !== 1) throw new Error(`the text of the mutant stands ${count} times in ${name}`);
        text = text.replace(mutant.find, () => mutant.replace);
      }
      writeFileSync(join(directory, name), text);
    }
    const code = (await import(/* @vite-ignore */ join(directory, 'index.ts'))) as Judged;
    work(code);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

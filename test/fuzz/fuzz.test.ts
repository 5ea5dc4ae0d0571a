/**
 * A short run of every fuzz target over its kept corpus and a number of new inputs, and the proof that each sees:
 * with a small break planted in what it looks at, it finds it within the same bound.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { build, buildPlanted, fuzz, plants, startsOf, TARGETS } from './fuzz.mjs';

/** New inputs of each target in one short run. */
const RUNS: Record<string, number> = {
  packet: 40_000,
  classify: 5000,
  tables: 4000,
  segment: 5000,
  governor: 1500,
  'warden-board': 2000,
  'warden-config': 12_000,
  'boot-journal': 20_000,
  deep: 20_000,
  flows: 6000,
  yang: 4000,
};
const SEED = 20_261_128;

let scratch: string;
let programs: string[];
let broken: string[];

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'kedge-fuzz-'));
  programs = build(TARGETS);
  broken = buildPlanted(TARGETS);
}, 240_000);

afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

/** Paths of a target's inputs: the merged ones, and the reproducers of what was found and mended. */
const inputsOf = (target: string): string[] =>
  startsOf(target).flatMap((place) => readdirSync(place).map((name) => join(place, name)));

/** One bounded run on a copy of the kept inputs; reproducers of findings stand in `findings`. */
async function run(program: string, target: string, kind: string) {
  const findings = join(scratch, kind, target);
  const corpus = join(scratch, kind, `${target}-corpus`);
  for (const place of startsOf(target)) cpSync(place, corpus, { recursive: true });
  const runs = inputsOf(target).length + (RUNS[target] ?? 0);
  return fuzz(program, target, { corpora: [corpus], findings, runs, seed: SEED });
}

it('keeps a corpus for each target, small, each input once and under the name of its content', () => {
  let bytes = 0;
  for (const target of TARGETS) {
    const inputs = inputsOf(target);
    expect(inputs.length).toBeGreaterThanOrEqual(10);
    for (const input of inputs) {
      const content = readFileSync(input);
      bytes += content.length;
      expect(createHash('sha1').update(content).digest('hex')).toBe(basename(input));
    }
  }
  expect(TARGETS).toHaveLength(Object.keys(RUNS).length);
  expect(bytes).toBeLessThanOrEqual(200 * 1024);
});

describe('survives its kept corpus and new inputs, under sanitizers', () => {
  it.each(TARGETS.map((target, i) => ({ target, i })))('$target', async ({ target, i }) => {
    const result = await run(programs[i] ?? '', target, 'whole');
    expect({ target, ok: result.ok, why: result.why }).toEqual({ target, ok: true, why: undefined });
    expect(result.executions).toBeGreaterThanOrEqual(RUNS[target] ?? Infinity);
    expect(result.coverage).toBeGreaterThan(100);
  });
});

describe('finds the break that is planted in what it looks at', () => {
  it('has exactly one for each target', () => {
    expect(plants().map(({ target }) => target)).toEqual(TARGETS);
  });

  it.each(TARGETS.map((target, i) => ({ target, i })))('$target', async ({ target, i }) => {
    const result = await run(broken[i] ?? '', target, 'planted');
    expect(result.ok).toBe(false);
    expect(result.why).toMatch(/does not hold|AddressSanitizer|runtime error/);
    const reproducer = result.finding ?? '';
    expect(existsSync(reproducer) && basename(reproducer).startsWith(`${target}-crash-`)).toBe(true);
    // The break, and nothing else, is what it found.
    const whole = spawnSync(programs[i] ?? '', [reproducer], { env: { ...process.env, TMPDIR: scratch } });
    expect(whole.status).toBe(0);
  });
});

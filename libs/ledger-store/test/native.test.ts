/**
 * The threads that sign and write under sanitizers, by themselves and in Node.
 */
import { sanitizedTests } from '@kedge/lab';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const HOME = join(import.meta.dirname, '..');
const EVERY_TEST = ['writes-in-order', 'stops-at-a-failure', 'ends-in-the-middle'];
const passed = (target: string): { readonly output: string; readonly tests: string[] } => {
  const output = execFileSync('make', ['-s', '-C', HOME, target], { encoding: 'utf8' });
  return { output, tests: [...output.matchAll(/^ok ([a-z-]+)$/gm)].map(([, name = '']) => name) };
};

describe('the pipeline of frames', { timeout: 120_000 }, () => {
  it('LE-5 has no data race under ThreadSanitizer, which sees one that is planted', () => {
    const { output, tests } = passed('tsan');
    expect(output).toContain('planted race seen');
    expect(tests).toEqual(EVERY_TEST);
  });

  it('LE-5 does nothing undefined, and keeps nothing, under AddressSanitizer and UndefinedBehaviorSanitizer', () => {
    expect(passed('asan').tests).toEqual(EVERY_TEST);
  });

  it('LE-2 LE-5 LE-9 signs, seals and writes in Node without anything undefined', async () => {
    const { numFailedTests, numPassedTests, numTotalTests } = await sanitizedTests(HOME);
    expect(numFailedTests).toBe(0);
    expect(numPassedTests).toBeGreaterThanOrEqual(13);
    expect(numPassedTests).toBe(numTotalTests);
  });
});

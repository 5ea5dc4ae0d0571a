/**
 * The front door's own tests over an addon with sanitizers built in, and what it leaves behind.
 */
import { sanitizedTests } from '@kedge/lab';
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';

const HOME = join(import.meta.dirname, '..');
const SANITIZED = join(HOME, 'build/sanitized');
const run = promisify(execFile);
const ASAN = execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
const environment = (options: string): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'] ?? '',
  LD_PRELOAD: ASAN,
  ASAN_OPTIONS: options,
  UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
});

beforeAll(async () => {
  await run('make', ['-s', '-j2', '-C', HOME, 'sanitized-addon'], { maxBuffer: 1 << 24 });
}, 180_000);

describe('the addon', () => {
  it('UN-1 passes the front door’s tests under AddressSanitizer and UndefinedBehaviorSanitizer in Node', async () => {
    const config = join(HOME, 'test/sanitized.config.mjs');
    const { numFailedTests, numPassedTests, numTotalTests } = await sanitizedTests(HOME, config);
    expect(numFailedTests).toBe(0);
    expect(numPassedTests).toBeGreaterThanOrEqual(65);
    expect(numPassedTests).toBe(numTotalTests);
  }, 180_000);

  it('UN-1 leaves nothing behind, as LeakSanitizer sees, which sees what is left on purpose', async () => {
    const script = join(SANITIZED, 'test/every-call.mjs');
    /** How many things were left; a process that ends in order leaves none, of Node neither. */
    const left = async (...more: string[]): Promise<number> => {
      const given = [join(SANITIZED, 'build/yang.node'), join(SANITIZED, 'test/everything.yang')];
      const { stderr } = await run(process.execPath, [script, ...given, ...more], {
        maxBuffer: 1 << 26,
        env: environment('detect_leaks=1:exitcode=0'),
      });
      return [...stderr.matchAll(/^(?:Direct|Indirect) leak of /gm)].length;
    };
    expect(await left()).toBe(0);
    expect(await left('leave')).toBeGreaterThan(5);
  }, 120_000);
});

/**
 * A package's own tests over its addon with sanitizers built in: a copy of the package around that addon, in a Node that
 * preloads AddressSanitizer.
 * It must not change what the tests are.
 */
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const CONFIG = join(import.meta.dirname, '../sanitized.config.mjs');
const VITEST = join(import.meta.dirname, '../../../node_modules/vitest/vitest.mjs');

/** How many there were, and how many passed. */
export interface SanitizedTests {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
}

/**
 * Builds the target `sanitized-addon` of a package's Makefile, which leaves the copy under `build/sanitized`, and runs
 * its tests.
 *
 * @param home directory of the package.
 * @throws what execFile throws, with all that was printed, where a test failed or a sanitizer had something to say.
 */
export async function sanitizedTests(home: string): Promise<SanitizedTests> {
  const run = promisify(execFile);
  await run('make', ['-s', '-C', home, 'sanitized-addon'], { maxBuffer: 1 << 24 });
  const root = join(home, 'build/sanitized');
  const { stdout } = await run(
    process.execPath,
    [VITEST, 'run', '--config', CONFIG, '--root', root, '--reporter=json'],
    {
      cwd: root,
      maxBuffer: 1 << 24,
      env: {
        PATH: process.env['PATH'] ?? '',
        LD_PRELOAD: execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim(),
        ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
        UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
      },
    },
  );
  return JSON.parse(stdout.slice(stdout.indexOf('{'))) as SanitizedTests;
}

/**
 * The native tests, and the front door's own tests over an addon with sanitizers built in.
 */
import { sanitizedTests } from '@kedge/lab';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const home = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/** One target of the Makefile; its standard output, and everything in the message when it fails. */
async function make(target: string): Promise<string> {
  const { stdout } = await run('make', ['-s', '-C', home, target], { maxBuffer: 1 << 24 });
  return stdout;
}

const everyTest = [
  'transition-is-never-torn',
  'ack-is-never-torn',
  'stuck-writer-is-bounded',
  'values-out-of-range-are-refused',
  'line-stands-before-word',
  'bells-lose-nothing',
  'one-writer-per-name',
  'readers-survive-renewal',
  'readers-cannot-hold-off-the-writer',
  'removed-file-still-keeps-a-second-writer-out',
  'mapping-is-read-only',
  'crashed-writers-leave-a-usable-board',
  'interrupted-renewal-keeps-contents',
  'random-bytes-are-refused-or-in-range',
  'directory-rules',
  'nothing-leaks',
  'crc-agrees-with-the-bitwise-one',
];

function passed(output: string): string[] {
  expect(output).toContain(`${everyTest.length.toString()} tests passed`);
  return [...output.matchAll(/^ok ([a-z-]+): ./gm)].map((match) => match[1] ?? '');
}

describe('the C implementation', () => {
  it('PO-15 PO-16 keeps its promises natively: order of the tightening store, whole lines, one writer', async () => {
    expect(passed(await make('test'))).toEqual(everyTest);
  }, 120_000);

  it('PO-15 has no data race under ThreadSanitizer, which sees one that is planted', async () => {
    const output = await make('tsan');
    expect(output).toContain('planted race seen');
    expect(passed(output)).toEqual(everyTest);
  }, 120_000);

  it('PO-16 does nothing undefined under AddressSanitizer and UndefinedBehaviorSanitizer', async () => {
    expect(passed(await make('asan'))).toEqual(everyTest);
  }, 120_000);
});

describe('the addon', () => {
  it('PO-16 passes the front door’s tests under AddressSanitizer and UndefinedBehaviorSanitizer in Node', async () => {
    const { numFailedTests, numPassedTests, numTotalTests } = await sanitizedTests(home);
    expect(numFailedTests).toBe(0);
    expect(numPassedTests).toBeGreaterThanOrEqual(35);
    expect(numPassedTests).toBe(numTotalTests);
  }, 120_000);
});

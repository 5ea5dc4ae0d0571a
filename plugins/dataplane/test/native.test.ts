/** The core's native tests: each runs here and says in JSON what it saw. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { make, ROOT } from './scenario.js';

const PROGRAMS = [
  'fuzz_packets',
  'random_rules',
  'banks_threads',
  'banks_threads_mutant',
  'banks_processes',
  'banks_processes_mutant',
  'telemetry_ring',
  'governor_threads',
  'governor_memory',
  'queues',
  'deep_vectors',
  'flows_table',
  'flow_ring',
];

let scratch: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'kedge-dataplane-'));
  make(...PROGRAMS.map((name) => `build/test/${name}`));
}, 240_000);

afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

function run(
  name: string,
  ...args: string[]
): { status: number | null; seen: Record<string, unknown>; errors: string } {
  const { status, stdout, stderr } = spawnSync(join(ROOT, 'build/test', name), args, {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, TSAN_OPTIONS: 'halt_on_error=1' },
  });
  return { status, seen: stdout === '' ? {} : (JSON.parse(stdout) as never), errors: stderr };
}

describe('banks', () => {
  it('DP-2 never tears a table between threads on one mapping, under ThreadSanitizer', () => {
    const { status, seen, errors } = run('banks_threads', '20000');
    expect(errors).toBe('');
    expect(status).toBe(0);
    expect(seen['uses']).toBeGreaterThan(1000);
  });

  it('DP-2 without the second read is caught by ThreadSanitizer', () => {
    const { status, errors } = run('banks_threads_mutant', '20000');
    expect(status).toBe(66);
    expect(errors).toContain('data race');
  });

  it('DP-2 never tears a table between two processes, by the checksum of every table used', () => {
    const { status, seen } = run('banks_processes', '1500');
    expect(status).toBe(0);
    expect(seen['torn']).toBe(0);
    expect(seen['uses']).toBeGreaterThan(50);
    expect(seen['generations']).toBeGreaterThan(50);
  });

  it('DP-2 without the second read is caught by the checksums', () => {
    const { status, seen } = run('banks_processes_mutant', '1500');
    expect(status).toBe(1);
    expect(seen['torn']).toBeGreaterThan(0);
  });
});

it('DP-8 counts every event that the ring overwrote, and reads no event half', () => {
  const { status, seen, errors } = run('telemetry_ring', '300000');
  expect(errors).toBe('');
  expect(status).toBe(0);
  expect(seen['wrong']).toBe(0);
  expect(seen['whole']).toBeGreaterThan(0);
  expect(seen['gaps']).toBeGreaterThan(0);
  expect(Number(seen['whole']) + Number(seen['gaps'])).toBe(300_000);
});

it('DP-12 counts every flow record that the ring overwrote, and reads no record half', () => {
  const { status, seen, errors } = run('flow_ring', '100000');
  expect(errors).toBe('');
  expect(status).toBe(0);
  expect(seen['wrong']).toBe(0);
  expect(seen['whole']).toBeGreaterThan(0);
  expect(seen['gaps']).toBeGreaterThan(0);
  expect(Number(seen['whole']) + Number(seen['gaps'])).toBe(100_000);
});

describe('recognition', () => {
  it('DP-10 knows each protocol by its bytes however it is cut, and takes no random bytes for one', () => {
    const { status, seen, errors } = run('deep_vectors', '1000000', '20261128');
    expect(errors).toBe('');
    expect(status).toBe(0);
    expect(seen).toMatchObject({ vectors: 52, applications: 9, mutated: 1_000_000, taken: 0, failures: 0 });
    // Every length of every vector, every cut of every stream, every two records of every TLS hello.
    expect(seen['shortened']).toBeGreaterThan(8000);
    expect(seen['cuts']).toBeGreaterThan(2000);
    expect(seen['records']).toBeGreaterThan(1600);
    expect(seen['crossed']).toBeGreaterThan(400);
    expect(seen['survived']).toBeGreaterThan(100_000);
  });

  it('DP-10 tells each protocol in both directions of its conversation, at levels that look deeper alone', () => {
    const { status, seen, errors } = run('flows_table', 'depth');
    expect(errors).toBe('');
    expect(seen).toEqual({ told: 208, failures: 0 });
    expect(status).toBe(0);
  });

  it('DP-10 survives mutated conversations in mutated frames under AddressSanitizer', () => {
    const { status, seen, errors } = run('flows_table', 'fuzz');
    expect(errors).toBe('');
    expect(seen['failures']).toBe(0);
    expect(seen['observed']).toBeGreaterThan(200_000);
    expect(seen['recognised']).toBeGreaterThan(100_000);
    expect(status).toBe(0);
  });
});

describe('flows', () => {
  it('DP-12 loses no packet and counts none twice, by a plain count beside it', () => {
    const { status, seen, errors } = run('flows_table', 'sums');
    expect(errors).toBe('');
    expect(seen).toMatchObject({ packets: 400_000, wrong: 0, failures: 0 });
    expect(seen['evicted']).toBeGreaterThan(10_000);
    // Records ended for each of the five reasons.
    for (const count of seen['ends'] as number[]) expect(count).toBeGreaterThan(1000);
    expect(status).toBe(0);
  });

  it('DP-12 ends a record when epoch, level or verdict change, when it is idle, old or closed', () => {
    const { status, seen, errors } = run('flows_table', 'timeouts');
    expect(errors).toBe('');
    expect(seen['failures']).toBe(0);
    expect(status).toBe(0);
  });

  it('DP-12 lets no flood of dropped packets evict a flow that passes', () => {
    const { status, seen, errors } = run('flows_table', 'flood');
    expect(errors).toBe('');
    expect(seen['failures']).toBe(0);
    expect(seen['evicted']).toBeGreaterThan(900_000);
    expect(status).toBe(0);
  });
});

for (const [sanitizer, program] of [
  ['ThreadSanitizer', 'governor_threads'],
  ['AddressSanitizer', 'governor_memory'],
] as const)
  it(`DP-7 follows segments that vanish and come back with two workers, under ${sanitizer}`, () => {
    const { status, seen, errors } = run(program, '3', mkdtempSync(join(scratch, 'board-')));
    expect(errors).toBe('');
    expect(seen).toMatchObject({ rounds: 3, good: true, loose: 0 });
    expect(status).toBe(0);
  });

it('DP-11 queues keep order, bytes, bounds and counters over random steps, under AddressSanitizer', () => {
  const { status, seen, errors } = run('queues', '60000', '20261128');
  expect(errors).toBe('');
  expect(status).toBe(0);
  // All of the meter's rules held, and the steps went everywhere.
  expect(seen).toMatchObject({ steps: 60_000, meters: 8, fullest: 384 });
  for (const what of ['pushed', 'moved', 'withdrawn', 'refused']) expect(seen[what]).toBeGreaterThan(500);
});

it('DP-4 survives a million random and mutated frames and damaged tables under AddressSanitizer', () => {
  const { status, seen, errors } = run('fuzz_packets', '1000000', '20261122');
  expect(errors).toBe('');
  expect(status).toBe(0);
  const kinds = seen['kinds'] as number[];
  expect(kinds).toHaveLength(6);
  for (const count of kinds) expect(count).toBeGreaterThan(100);
});

it('DP-9 finds for every packet what a plain reading of all rules finds, and refuses a table of which any part differs', () => {
  const { status, seen, errors } = run('random_rules', '200', '20261128');
  expect(errors).toBe('');
  expect(status).toBe(0);
  expect(seen['judged']).toBe(80_000);
  for (const what of ['by_entry', 'several', 'fragments']) expect(seen[what], what).toBeGreaterThan(10_000);
  expect(seen['full_families']).toBeGreaterThan(50);
  const turned = seen['turned'] as number[];
  expect(turned).toHaveLength(8);
  for (const count of turned) expect(count).toBeGreaterThan(150);
});

it('DP-4 passes the front door’s tests under AddressSanitizer and UndefinedBehaviorSanitizer in Node', async () => {
  make('sanitized-addon');
  const root = join(ROOT, 'build/sanitized');
  const vitest = fileURLToPath(new URL('../../../node_modules/vitest/vitest.mjs', import.meta.url));
  const config = join(ROOT, 'test/sanitized.config.mjs');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [vitest, 'run', '--config', config, '--root', root, '--reporter=json'],
    {
      cwd: root,
      maxBuffer: 1 << 24,
      env: {
        PATH: process.env['PATH'] ?? '',
        LD_PRELOAD: execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim(),
        ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
        UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
      },
    },
  );
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as Record<string, number>;
  expect(report['numFailedTests']).toBe(0);
  expect(report['numPassedTests']).toBeGreaterThanOrEqual(24);
  expect(report['numPassedTests']).toBe(report['numTotalTests']);
}, 120_000);

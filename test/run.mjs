/**
 * What `npm test` runs after set-up: the static checks, then every vitest file; the last line counts both.
 * Must not swallow what a failing check or test has to say, nor pass when nothing was run.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const bin = (path) => join(ROOT, 'node_modules', path);
const { projects } = JSON.parse(readFileSync(join(ROOT, 'nest-cli.json'), 'utf8'));

/** Each check is one command that has to end with status 0 and whose output is shown only when it does not. */
const BUILD = ['build', [bin('typescript/bin/tsc'), '-b']];
/** What needs the build, in two lanes beside each other; what writes the same files is in one of them. */
const LANES = [
  [['lint', [bin('eslint/bin/eslint.js'), '--max-warnings', '0', '.']]],
  [
    ['types of sources and tests', [bin('typescript/bin/tsc'), '-p', 'tsconfig.lint.json']],
    ...Object.keys(projects).map((app) => [
      `nest build ${app}`,
      [bin('@nestjs/cli/bin/nest.js'), 'build', app],
    ]),
    ['format', [bin('prettier/bin/prettier.cjs'), '--check', '--log-level', 'warn', '.']],
  ],
];

function run(args, { show = false, env = {} } = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
    });
    let output = '';
    child.stdout?.on('data', (chunk) => (output += chunk));
    child.stderr?.on('data', (chunk) => (output += chunk));
    child.on('close', (status, signal) => resolve({ ok: status === 0, output, end: signal ?? status }));
  });
}

/** Runs checks one after the other; the names of those that failed. */
async function lane(checks) {
  const failed = [];
  for (const [name, args] of checks) {
    const from = performance.now();
    const { ok, output } = await run(args);
    console.log(`${ok ? '✓' : '✗'} ${name} (${((performance.now() - from) / 1000).toFixed(1)} s)`);
    if (!ok) {
      failed.push(name);
      console.log(output.replace(/^/gm, '    '));
    }
  }
  return failed;
}

async function checks() {
  const failed = await lane([BUILD]);
  failed.push(...(await Promise.all(LANES.map(lane))).flat());
  const all = 1 + LANES.flat().length;
  return { passed: all - failed.length, failed: failed.length, skipped: 0 };
}

async function tests() {
  const directory = mkdtempSync(join(tmpdir(), 'kedge-run-'));
  const report = join(directory, 'vitest.json');
  try {
    const { ok, end } = await run(
      [
        ...[bin('vitest/vitest.mjs'), 'run', '--reporter=default', '--reporter=json'],
        `--outputFile.json=${report}`,
      ],
      { show: true },
    );
    const result = JSON.parse(readFileSync(report, 'utf8'));
    const skipped = result.numPendingTests + result.numTodoTests;
    // A file that could not even be loaded, or an error outside every test, has no failed test to its name.
    const unnamed = result.testResults.filter(
      (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
    ).length;
    let failed = result.numFailedTests + unnamed;
    if (!ok && failed === 0) {
      console.log(`vitest ended with ${end} although no test failed`);
      failed = 1;
    }
    return { passed: result.numPassedTests, failed, skipped };
  } catch (error) {
    console.log(`vitest left no report: ${error.message}`);
    return { passed: 0, failed: 1, skipped: 0 };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const first = await checks();
const second = await tests();
const passed = first.passed + second.passed;
const skipped = first.skipped + second.skipped;
let failed = first.failed + second.failed;
if (skipped > 0 && process.env.CI === 'true') {
  console.log(`${skipped} skipped: nothing may be skipped here`);
  failed += skipped;
}
if (second.passed === 0) failed = Math.max(failed, 1);
process.exitCode = failed === 0 ? 0 : 1;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);

/**
 * Shows that the tests can fail: plants the small breaks of mutants.json one by one in a copy of the tree and
 * expects the test that names the id to catch each: `npm run mutants [-- ID …] [--json]`; exit 6 otherwise.
 * Must not touch the tree that it was started in.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { idsOf } from './trace.mjs';

const ROOT = join(import.meta.dirname, '../..');
const EXIT = { usage: 2, survived: 6 };

/**
 * One mutant: `find` (exact text, once in `file`) becomes `replace`; `test` is the vitest file and a part of the
 * title that has to fail; `build` says what the test uses besides sources: make targets as
 * "directory" or "directory target", and "tsc" where it starts child processes from dist. With `atLoad` the break is
 * one that the product itself refuses at load, so that the test file cannot even start.
 */
export function mutants(root = ROOT) {
  return JSON.parse(readFileSync(join(root, 'test/law/mutants.json'), 'utf8')).mutants;
}

/** How often the text to be replaced stands in its file. */
export function occurrences(mutant, root = ROOT) {
  return readFileSync(join(root, mutant.file), 'utf8').split(mutant.find).length - 1;
}

/** A copy of the tree with its builds; packages are shared by link, the workspaces are the copy's own. */
function copyTree() {
  const at = mkdtempSync(join(tmpdir(), 'kedge-mutants-'));
  cpSync(ROOT, at, {
    recursive: true,
    preserveTimestamps: true,
    verbatimSymlinks: true,
    filter: (path) => !['.git', 'node_modules'].includes(basename(path)),
  });
  const link = (from, to) => {
    mkdirSync(to, { recursive: true });
    for (const name of readdirSync(from)) {
      if (name === '@kedge') continue;
      if (!name.startsWith('.vite') && name !== '.cache') symlinkSync(join(from, name), join(to, name));
    }
  };
  link(join(ROOT, 'node_modules'), join(at, 'node_modules'));
  mkdirSync(join(at, 'node_modules/@kedge'));
  for (const folder of ['apps', 'libs', 'plugins', 'test']) {
    for (const name of readdirSync(join(ROOT, folder))) {
      const directory = join(ROOT, folder, name);
      let manifest;
      try {
        manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
      } catch {
        continue;
      }
      symlinkSync(join(at, folder, name), join(at, 'node_modules', manifest.name));
      try {
        link(join(directory, 'node_modules'), join(at, folder, name, 'node_modules'));
      } catch {
        // Most workspaces have no packages of their own.
      }
    }
  }
  return at;
}

function run(at, command, args) {
  const result = spawnSync(command, args, {
    cwd: at,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 15 * 60_000,
    env: { ...process.env, NO_COLOR: '1' },
  });
  return { ok: result.status === 0, output: `${result.stdout ?? ''}${result.stderr ?? ''}` };
}

/** Builds what a mutant's test needs beside its sources; the output of the first step that fails. */
function build(at, mutant) {
  for (const step of mutant.build ?? []) {
    const [directory, ...targets] = step.split(' ');
    const { ok, output } =
      step === 'tsc'
        ? run(at, process.execPath, [join(at, 'node_modules/typescript/bin/tsc'), '-b'])
        : run(at, 'make', ['-C', directory, ...targets]);
    if (!ok) return output;
  }
  return undefined;
}

/** Runs one test of the copy: the titles that passed and those that failed. */
function runTest(at, { file, title }) {
  const report = join(at, 'node_modules/.mutant.json');
  rmSync(report, { force: true });
  const pattern = title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const vitest = join(at, 'node_modules/vitest/vitest.mjs');
  const { output } = run(at, process.execPath, [
    ...[vitest, 'run', file, '--testNamePattern', pattern],
    ...['--reporter=json', `--outputFile=${report}`],
  ]);
  let results;
  try {
    results = JSON.parse(readFileSync(report, 'utf8')).testResults;
  } catch {
    return { passed: [], failed: [], output };
  }
  const tests = results.flatMap((result) => result.assertionResults);
  const titles = (status) => tests.filter((test) => test.status === status).map((test) => test.title);
  const refused = results.find(
    (result) => result.status === 'failed' && result.assertionResults.length === 0,
  );
  return { passed: titles('passed'), failed: titles('failed'), refused: refused?.message, output };
}

/** Plants a mutant in the copy; the function that undoes it. */
function plant(at, mutant) {
  const path = join(at, mutant.file);
  const before = readFileSync(path, 'utf8');
  writeFileSync(
    path,
    before.replace(mutant.find, () => mutant.replace),
  );
  return () => writeFileSync(path, before);
}

function verdictOn(at, mutant) {
  const count = occurrences(mutant, at);
  if (count !== 1)
    return { verdict: 'does not apply', why: `its text stands ${count} times in ${mutant.file}` };
  const sound = build(at, mutant) ?? '';
  if (sound !== '') return { verdict: 'does not build', why: `without the break:\n${sound}` };
  const before = runTest(at, mutant.test);
  if (before.failed.length > 0 || before.passed.length === 0) {
    const why = before.failed.length > 0 ? `fails without the break: ${before.failed[0]}` : 'no such test';
    return { verdict: 'not sound', why: `${why}\n${before.output.slice(-2000)}` };
  }
  const undo = plant(at, mutant);
  try {
    const broken = build(at, mutant);
    if (broken !== undefined) return { verdict: 'does not build', why: broken.slice(-2000) };
    const after = runTest(at, mutant.test);
    const catcher = after.failed.find((title) => idsOf(title).includes(mutant.id));
    if (catcher !== undefined) return { verdict: 'caught', why: catcher };
    if (mutant.atLoad === true && after.refused !== undefined) {
      return { verdict: 'caught', why: after.refused };
    }
    if (after.passed.length + after.failed.length === 0) {
      return { verdict: 'does not build', why: after.output.slice(-2000) };
    }
    return { verdict: 'survived', why: `${mutant.test.file}: ${mutant.test.title}` };
  } finally {
    undo();
    // The next mutant's own build starts from sound sources; stale products of this one are made anew here.
    build(at, mutant);
  }
}

function main() {
  const args = process.argv.slice(2);
  const wanted = args.filter((arg) => !arg.startsWith('--'));
  const all = mutants();
  const chosen = wanted.length === 0 ? all : all.filter((mutant) => wanted.includes(mutant.id));
  if (args.some((arg) => arg.startsWith('--') && arg !== '--json') || chosen.length === 0) {
    console.error('usage: npm run mutants [-- ID …] [--json]');
    return EXIT.usage;
  }
  const at = copyTree();
  const rows = [];
  const stop = () => {
    rmSync(at, { recursive: true, force: true });
    process.exit(130);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    for (const mutant of chosen) {
      const from = performance.now();
      const { verdict, why } = verdictOn(at, mutant);
      const seconds = (performance.now() - from) / 1000;
      rows.push({ id: mutant.id, file: mutant.file, verdict, why, seconds });
      if (!args.includes('--json')) {
        console.log(
          `${mutant.id.padEnd(6)} ${verdict.padEnd(15)} ${seconds.toFixed(1).padStart(6)} s  ${mutant.file}`,
        );
        if (verdict !== 'caught') console.log(why.replace(/^/gm, '       '));
      }
    }
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
  const caught = rows.filter((row) => row.verdict === 'caught').length;
  if (args.includes('--json'))
    console.log(JSON.stringify({ ok: caught === rows.length, mutants: rows }, undefined, 2));
  else console.log(`${caught} of ${rows.length} mutants caught (${relative(process.cwd(), ROOT) || '.'})`);
  return caught === rows.length ? 0 : EXIT.survived;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main();

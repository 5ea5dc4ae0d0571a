/**
 * Shows that the tests can fail: plants the small breaks of mutants.json one by one in a copy of the tree and
 * expects the test that names the id to catch each: `npm run mutants [-- [--only] ID …] [--json]`; exit 6 when
 * one survives or does not apply. Must not touch the tree that it was started in, nor leave anything behind.
 */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { idsOf } from './trace.mjs';

const ROOT = join(import.meta.dirname, '../..');
const EXIT = { unexpected: 1, usage: 2, survived: 6, stopped: 130 };
/** Everything that some test starts or loads, made current once before the first break. */
const BUILDS = [
  'libs/shared-memory-ipc',
  'libs/plugin-host',
  'libs/sqlite',
  'libs/ledger-store',
  'libs/libyang-ts',
  'plugins/dataplane',
  'plugins/warden',
  'plugins/boot',
  'test/lab',
  'test/faults',
  'tsc',
  'bundle',
];
/** Longest run of one build or test; vitest's own limits end a test that hangs long before. */
const LIMIT_MS = 10 * 60_000;

/**
 * Every command has namespaces of its own, with empty /tmp and /run, and ends with the runner: what a broken
 * warden or lab leaves running, mounted or listening ends with its namespaces. Without root there are none.
 */
const WORLD = 'mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /run && ip link set lo up && "$@"; exit $?';
const PRIVATE = [
  ...['setpriv', '--pdeathsig', 'KILL', '--'],
  ...['unshare', '--kill-child', '-n', '-m', '-p', '-f', '--mount-proc', 'bash', '-c', WORLD, 'mutant'],
];

/**
 * One mutant: `find` (exact text, once in `file`) becomes `replace`; `test` is the vitest file and a part of the
 * title that has to fail; `build` says what is made anew of the broken source before the test: make targets as
 * "directory" or "directory target", "tsc" where the test starts child processes from dist, then "bundle" where the
 * lab starts the services.
 */
export function mutants(root = ROOT) {
  return JSON.parse(readFileSync(join(root, 'test/law/mutants.json'), 'utf8')).mutants;
}

/** How often the text to be replaced stands in its file. */
export function occurrences(mutant, root = ROOT) {
  return readFileSync(join(root, mutant.file), 'utf8').split(mutant.find).length - 1;
}

/** Not under /tmp, which the commands cannot see. */
const COPIES = '/var/tmp/kedge-mutants-';

/** A copy of the tree with its builds; packages are shared by link, the workspaces are the copy's own. */
function copyTree() {
  const at = mkdtempSync(COPIES);
  // Services of the lab run as other users and enter the tree too.
  chmodSync(at, 0o755);
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

/** What runs now, to be ended when the runner is told to stop. */
let running;
let stopped = false;

function run(at, command, args) {
  const line = process.getuid() === 0 ? [...PRIVATE, command, ...args] : [command, ...args];
  return new Promise((resolve, reject) => {
    if (stopped) return reject(new Error('stopped'));
    let output = '';
    running = spawn(line[0], line.slice(1), {
      cwd: at,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
      env: { ...process.env, NO_COLOR: '1', TMPDIR: '/tmp' },
    });
    running.stdout.on('data', (chunk) => (output += chunk));
    running.stderr.on('data', (chunk) => (output += chunk));
    running.on('error', reject);
    running.on('close', (status) => {
      running = undefined;
      if (stopped) reject(new Error('stopped'));
      else resolve({ ok: status === 0, output });
    });
  });
}

/** Makes what tests use beside sources; the output of the first step that fails. */
async function build(at, steps) {
  for (const step of steps) {
    const [directory, ...targets] = step.split(' ');
    const program = {
      tsc: [join(at, 'node_modules/typescript/bin/tsc'), '-b'],
      bundle: [join(at, 'firmware/bundler/bundle.mjs')],
    }[step];
    const { ok, output } =
      program !== undefined
        ? await run(at, process.execPath, program)
        : await run(at, 'make', ['--no-print-directory', '-C', directory, ...targets]);
    if (!ok) return output.slice(-2000);
  }
  return undefined;
}

const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Runs some tests of the copy: each with its file, title and status. */
async function runTests(at, tests) {
  const report = join(at, 'node_modules/.mutant.json');
  rmSync(report, { force: true });
  const files = [...new Set(tests.map(({ file }) => file))];
  const titles = [...new Set(tests.map(({ title }) => literal(title)))];
  const { output } = await run(at, process.execPath, [
    ...[join(at, 'node_modules/vitest/vitest.mjs'), 'run', ...files, '--testNamePattern', titles.join('|')],
    ...['--reporter=json', `--outputFile=${report}`],
  ]);
  let results;
  try {
    results = JSON.parse(readFileSync(report, 'utf8')).testResults;
  } catch {
    return { tests: [], output };
  }
  const messages = results.flatMap(({ message, assertionResults }) => [
    message,
    ...assertionResults.flatMap(({ failureMessages }) => failureMessages),
  ]);
  return {
    tests: results.flatMap(({ name, assertionResults }) =>
      assertionResults.map(({ title, status }) => ({ file: relative(at, name), title, status })),
    ),
    output: [output, ...messages].filter((text) => text !== '').join('\n'),
  };
}

/** The results of one test among those of a run: the titles that passed and those that failed. */
function resultsOf(test, results) {
  const own = results.filter(({ file, title }) => file === test.file && title.includes(test.title));
  const titles = (status) => own.filter((result) => result.status === status).map(({ title }) => title);
  return { passed: titles('passed'), failed: titles('failed') };
}

const isSound = ({ passed, failed }) => failed.length === 0 && passed.length > 0;

/** The mutants whose tests do not pass without a break, with the reason: all at once, then once more alone. */
async function unsound(at, chosen) {
  const built = await build(at, BUILDS);
  if (built !== undefined) throw new Error(`the tree does not build without a break:\n${built}`);
  const together = await runTests(
    at,
    chosen.map(({ test }) => test),
  );
  const reasons = new Map();
  for (const mutant of chosen) {
    if (isSound(resultsOf(mutant.test, together.tests))) continue;
    const alone = await runTests(at, [mutant.test]);
    const result = resultsOf(mutant.test, alone.tests);
    if (isSound(result)) continue;
    const [first] = result.failed;
    const why = first === undefined ? 'does not run without the break' : `fails without the break: ${first}`;
    reasons.set(mutant, `${why}\n${alone.output.slice(-2000)}`);
  }
  return reasons;
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

/** `stale` holds the builds that an earlier mutant left broken; they are made anew together with this one's. */
async function verdictOn(at, mutant, stale) {
  const undo = plant(at, mutant);
  try {
    const steps = new Set([...stale, ...(mutant.build ?? [])]);
    stale.clear();
    for (const step of mutant.build ?? []) stale.add(step);
    const broken = await build(at, steps);
    if (broken !== undefined) return { verdict: 'does not build', why: broken };
    const after = await runTests(at, [mutant.test]);
    const { passed, failed } = resultsOf(mutant.test, after.tests);
    const catcher = failed.find((title) => idsOf(title).includes(mutant.id));
    if (catcher !== undefined) return { verdict: 'caught', why: catcher };
    if (passed.length + failed.length === 0) {
      return { verdict: 'does not start', why: after.output.slice(-2000) };
    }
    return { verdict: 'survived', why: `${mutant.test.file}: ${mutant.test.title}` };
  } finally {
    undo();
  }
}

/** Those that build the same thing stand together, so that it is put right and broken anew in one build. */
function inOrder(chosen) {
  const key = (mutant) => (mutant.build ?? []).join();
  return chosen.toSorted((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}

async function judge(at, chosen, say) {
  const rows = [];
  const conclude = (mutant, from, { verdict, why }) => {
    const seconds = (performance.now() - from) / 1000;
    rows.push({ id: mutant.id, file: mutant.file, verdict, why, seconds });
    say(
      `${mutant.id.padEnd(6)} ${verdict.padEnd(15)} ${seconds.toFixed(1).padStart(6)} s  ${mutant.file}` +
        (verdict === 'caught' ? '' : `\n${why.replace(/^/gm, '       ')}`),
    );
  };
  const applying = chosen.filter((mutant) => {
    const count = occurrences(mutant, at);
    const why = `its text stands ${count} times in ${mutant.file}`;
    if (count !== 1) conclude(mutant, performance.now(), { verdict: 'does not apply', why });
    return count === 1;
  });
  if (applying.length === 0) return rows;
  const from = performance.now();
  const reasons = await unsound(at, applying);
  say(`tests without a break: ${((performance.now() - from) / 1000).toFixed(1)} s`);
  const stale = new Set();
  for (const mutant of inOrder(applying)) {
    const start = performance.now();
    const why = reasons.get(mutant);
    conclude(
      mutant,
      start,
      why === undefined ? await verdictOn(at, mutant, stale) : { verdict: 'not sound', why },
    );
  }
  return rows;
}

async function main() {
  const args = process.argv.slice(2);
  const wanted = args.filter((arg) => !arg.startsWith('--'));
  const all = mutants();
  const chosen = wanted.length === 0 ? all : all.filter((mutant) => wanted.includes(mutant.id));
  const lost = wanted.filter((id) => !all.some((mutant) => mutant.id === id));
  const strange = args.filter((arg) => arg.startsWith('--') && !['--json', '--only'].includes(arg));
  if (strange.length > 0 || lost.length > 0 || (args.includes('--only') && wanted.length === 0)) {
    for (const id of lost) console.error(`there is no mutant of ${id}`);
    console.error('usage: npm run mutants [-- [--only] ID …] [--json]');
    return EXIT.usage;
  }
  const json = args.includes('--json');
  // With --json what was found goes to stdout at the end, and how far it is to stderr.
  const say = (line) => (json ? console.error : console.log)(line);
  const stop = () => {
    stopped = true;
    running?.kill('SIGKILL');
  };
  process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', stop);
  const at = copyTree();
  let rows;
  try {
    rows = await judge(at, chosen, say);
  } catch (error) {
    if (stopped) return EXIT.stopped;
    console.error(error.message);
    return EXIT.unexpected;
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
  const caught = rows.filter((row) => row.verdict === 'caught').length;
  if (json) console.log(JSON.stringify({ ok: caught === rows.length, mutants: rows }, undefined, 2));
  else console.log(`${caught} of ${rows.length} mutants caught`);
  return caught === rows.length ? 0 : EXIT.survived;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();

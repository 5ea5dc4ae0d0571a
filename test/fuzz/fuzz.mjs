/**
 * Runs the fuzz targets of native/: `npm run fuzz -- TARGET|all [--minutes N | --runs N] [--jobs N] [--keep]`.
 * Each starts from its kept corpus; what it finds worth keeping goes beside it into build/, and into the kept
 * corpus with --keep alone. Must not write anywhere else in the tree, nor call a run good that executed nothing.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = import.meta.dirname;
const ROOT = join(HERE, '../..');
const EXIT = { unexpected: 1, usage: 2, found: 6, stopped: 130 };
/** Most bytes that the kept corpus of one target may have. */
const KEPT_BYTES = 24 * 1024;
/** Longest input of each target: what its format can use. */
const LONGEST = {
  packet: 2048,
  classify: 512,
  tables: 256,
  segment: 192,
  governor: 256,
  'warden-board': 256,
  'warden-config': 4096,
  'boot-journal': 1440,
  deep: 1536,
  flows: 1536,
  yang: 2048,
};
export const TARGETS = Object.keys(LONGEST);

/** Where the inputs of a target stand: those in the repository, and those of this machine. */
const keptOf = (target) => join(HERE, 'corpus', target);
const foundOf = (target) => join(HERE, 'build/corpus', target);

/** What once broke a target: each stays for good, and no merge takes one for superfluous. */
const reproducersOf = (target) => join(HERE, 'reproducers', target);

/** The inputs of the repository: directories of those that are merged and those that are not. */
export const startsOf = (target) =>
  [keptOf(target), reproducersOf(target)].filter((place) => existsSync(place));

/** One small break per target, which its program has to find: proof that it can see. */
export function plants() {
  return JSON.parse(readFileSync(join(HERE, 'plants.json'), 'utf8')).plants;
}

/** Boards are written again for each input: memory, where there is a file system of it. */
function scratchParent() {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

function make(goals) {
  execFileSync('make', ['-s', '-C', HERE, '-j2', ...goals], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Brings programs up to date; their paths, in the order of the targets. */
export function build(targets) {
  make(targets.map((target) => `build/${target}`));
  return targets.map((target) => join(HERE, 'build', target));
}

/** The same with the break of each target planted. Throws where the text to be replaced is not there once. */
export function buildPlanted(targets) {
  for (const target of targets) {
    const plant = plants().find((one) => one.target === target);
    if (plant === undefined) throw new Error(`there is no break for ${target}`);
    const source = readFileSync(join(ROOT, plant.file), 'utf8');
    const count = source.split(plant.find).length - 1;
    if (count !== 1) throw new Error(`the break of ${target} stands ${count} times in ${plant.file}`);
    const place = join(HERE, 'build/planted', target, basename(plant.file));
    const broken = source.replace(plant.find, () => plant.replace);
    mkdirSync(join(place, '..'), { recursive: true });
    let before;
    try {
      before = readFileSync(place, 'utf8');
    } catch {
      before = undefined;
    }
    if (before === broken) continue;
    writeFileSync(place, broken);
    rmSync(join(place, '../fuzz'), { force: true });
  }
  make(targets.map((target) => `build/planted/${target}/fuzz`));
  return targets.map((target) => join(HERE, 'build/planted', target, 'fuzz'));
}

/** What runs now, to be ended when the runner is told to stop. */
const running = new Set();

/** One process of a target; what it did, by its own last lines. */
function once(program, target, options, scratch) {
  const { corpora, findings, seed, runs, seconds, flags = [] } = options;
  const args = [
    ...['-print_final_stats=1', '-timeout=10', '-rss_limit_mb=1024', `-max_len=${LONGEST[target]}`],
    ...[`-seed=${seed}`, `-artifact_prefix=${findings}/${target}-`, ...flags],
    ...(runs === undefined ? [] : [`-runs=${runs}`]),
    ...(seconds === undefined ? [] : [`-max_total_time=${seconds}`]),
    ...corpora,
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: findings,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, TMPDIR: scratch, ASAN_OPTIONS: '', UBSAN_OPTIONS: 'print_stacktrace=1' },
    });
    running.add(child);
    let text = '';
    child.stderr.on('data', (chunk) => {
      text = text.length > 1 << 22 ? text.slice(1 << 21) + chunk : text + chunk;
    });
    child.on('error', reject);
    child.on('close', (status, signal) => {
      running.delete(child);
      const number = (pattern) => Number([...text.matchAll(pattern)].at(-1)?.[1] ?? 0);
      resolve({
        ok: status === 0,
        status: signal ?? status,
        executions: number(/stat::number_of_executed_units: +(\d+)/g),
        coverage: number(/ cov: (\d+) /g),
        inputs: number(/ corp: (\d+)\//g),
        finding: /Test unit written to (\S+)/.exec(text)?.[1],
        why: /does not hold: .*|(?:AddressSanitizer|UndefinedBehaviorSanitizer|LeakSanitizer): .*|runtime error: .*|libFuzzer: .*/.exec(
          text,
        )?.[0],
        text,
      });
    });
  });
}

/**
 * Runs one program over corpora for so many executions or seconds, in `jobs` processes that share what they find.
 * The reproducer of a finding stands in `findings` afterwards.
 */
export async function fuzz(program, target, options) {
  const { jobs = 1, seed = 1, corpora, findings } = options;
  const scratch = mkdtempSync(join(scratchParent(), 'kedge-fuzz-'));
  const from = performance.now();
  mkdirSync(findings, { recursive: true });
  for (const directory of corpora) mkdirSync(directory, { recursive: true });
  try {
    const each = await Promise.all(
      Array.from({ length: jobs }, (_, job) =>
        once(program, target, { ...options, seed: seed + job }, scratch),
      ),
    );
    const seconds = (performance.now() - from) / 1000;
    const executions = each.reduce((sum, job) => sum + job.executions, 0);
    const bad = each.find((job) => !job.ok);
    return {
      target,
      executions,
      perSecond: Math.round(executions / seconds),
      seconds,
      coverage: Math.max(...each.map((job) => job.coverage)),
      inputs: Math.max(...each.map((job) => job.inputs)),
      ok: bad === undefined,
      status: bad?.status ?? 0,
      finding: bad?.finding,
      why: bad?.why,
      text: bad?.text,
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const sizeOf = (directory) =>
  readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);

/** Merges what was found into the kept corpus: the fewest and shortest inputs with the same coverage. */
async function keep(program, target) {
  const next = join(HERE, 'build', `${target}.kept`);
  rmSync(next, { recursive: true, force: true });
  const { ok, text } = await fuzz(program, target, {
    corpora: [next, keptOf(target), foundOf(target)],
    findings: join(HERE, 'build/findings'),
    flags: ['-set_cover_merge=1'],
  });
  if (!ok) throw new Error(`merging ${target} failed:\n${text.slice(-2000)}`);
  const shortest = readdirSync(next).sort(
    (a, b) => statSync(join(next, a)).size - statSync(join(next, b)).size || (a < b ? -1 : 1),
  );
  rmSync(keptOf(target), { recursive: true, force: true });
  mkdirSync(keptOf(target), { recursive: true });
  let bytes = 0;
  for (const name of shortest) {
    const content = readFileSync(join(next, name));
    bytes += content.length;
    if (bytes > KEPT_BYTES) break;
    writeFileSync(join(keptOf(target), createHash('sha1').update(content).digest('hex')), content);
  }
  rmSync(next, { recursive: true, force: true });
  return `${readdirSync(keptOf(target)).length} inputs kept, ${sizeOf(keptOf(target))} bytes`;
}

const HELP = `NAME
    npm run fuzz - looks for inputs that break what must always hold

SYNOPSIS
    npm run fuzz -- TARGET|all [--minutes N | --runs N] [--jobs N] [--keep]
    npm run fuzz -- --help

TARGETS
    ${TARGETS.join(', ')}

OPTIONS
    --minutes N   of each target (default 1; fractions are allowed)
    --runs N      executions of each target and job instead
    --jobs N      processes of one target at a time, 1 to 64 (default 1)
    --keep        afterwards, merge what was found into test/fuzz/corpus, minimised

OUTPUT
    One line per target: executions, executions per second, coverage in edges, inputs, findings.

EXIT STATUS
    0  nothing was found
    1  a target could not be built or did not run
    2  wrong usage
    6  something was found; its reproducer stands in test/fuzz/build/findings and is named on stderr

EXAMPLE
    npm run fuzz -- packet --minutes 30 --jobs 2 --keep
    test/fuzz/build/packet test/fuzz/build/findings/packet-crash-…   runs one input again
`;

function optionsOf(args) {
  const options = { jobs: 1, minutes: undefined, runs: undefined, keep: false, targets: [] };
  const number = (text, most) => {
    const value = Number(text);
    return text !== undefined && value > 0 && value <= most ? value : undefined;
  };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === '--keep') options.keep = true;
    else if (arg === '--minutes') options.minutes = number(args[++i], 10_000) ?? NaN;
    else if (arg === '--runs') options.runs = number(args[++i], 1e12) ?? NaN;
    else if (arg === '--jobs') options.jobs = number(args[++i], 64) ?? NaN;
    else if (arg === 'all') options.targets.push(...TARGETS);
    else if (TARGETS.includes(arg)) options.targets.push(arg);
    else return undefined;
  }
  const wrong = [options.jobs, options.runs ?? 1].some((value) => !Number.isInteger(value));
  if (wrong || Number.isNaN(options.minutes ?? 1) || options.targets.length === 0) return undefined;
  return options.minutes !== undefined && options.runs !== undefined ? undefined : options;
}

async function main() {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    console.log(HELP);
    return 0;
  }
  const options = optionsOf(args);
  if (options === undefined) {
    console.error(
      'usage: npm run fuzz -- TARGET|all [--minutes N | --runs N] [--jobs N] [--keep]; see --help',
    );
    console.error(`targets: ${TARGETS.join(', ')}`);
    return EXIT.usage;
  }
  let stopped = false;
  const stop = () => {
    stopped = true;
    for (const child of running) child.kill('SIGINT');
  };
  process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', stop);
  const targets = [...new Set(options.targets)];
  const programs = build(targets);
  let status = 0;
  for (const [i, target] of targets.entries()) {
    if (stopped) return EXIT.stopped;
    const seconds = options.runs === undefined ? Math.ceil((options.minutes ?? 1) * 60) : undefined;
    const result = await fuzz(programs[i], target, {
      corpora: [foundOf(target), ...startsOf(target)],
      findings: join(HERE, 'build/findings'),
      jobs: options.jobs,
      // Another way each time; the reproducer of a finding tells everything.
      seed: 1 + Math.floor(Math.random() * 2 ** 30),
      runs: options.runs,
      seconds,
      flags: ['-reload=1'],
    });
    if (stopped) return EXIT.stopped;
    const { executions, perSecond, coverage, inputs, finding } = result;
    const found = finding === undefined ? 0 : 1;
    console.log(
      `${target.padEnd(14)} ${executions} executions, ${perSecond}/s, coverage ${coverage}, ${inputs} inputs, ${found} findings`,
    );
    if (!result.ok) {
      if (finding === undefined || statSync(finding, { throwIfNoEntry: false }) === undefined) {
        console.error(`${target} ended with ${result.status}:\n${result.text.slice(-2000)}`);
        return EXIT.unexpected;
      }
      console.error(
        `${target}: ${result.why ?? 'it ended'}; reproducer: ${relative(process.cwd(), finding)}`,
      );
      status = EXIT.found;
    } else if (executions === 0) {
      console.error(`${target} executed nothing`);
      return EXIT.unexpected;
    } else if (options.keep) {
      console.log(`${target.padEnd(14)} ${await keep(programs[i], target)}`);
    }
  }
  return status;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();

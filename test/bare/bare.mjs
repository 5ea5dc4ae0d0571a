/**
 * Proves that a clean clone works on a bare Debian: a fresh root file system with Node and nothing else, `npm test`
 * in it, then `npm start`, ended once by Ctrl-C and once by SIGKILL. `npm run test:bare [-- OPTIONS]`, as root.
 *   --suite bookworm|trixie   Debian 12 or 13 (bookworm)
 *   --only test|start         one half only
 *   --keep                    leave the root file system behind and say where it is
 * Must not leave a mount, a process or a file behind (but for --keep), nor take longer than its bounds.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(import.meta.dirname, '../..');
const CLONE = '/opt/kedge';
const EXIT = { failed: 1, usage: 2, notReady: 4, check: 6 };
const BOUND_MS = { bootstrap: 10 * 60_000, test: 40 * 60_000, up: 10 * 60_000, down: 20_000 };
/** What `npm start` says once traffic flows. */
const UP = /The lab "[^"]+" is up:/;
const CA_FILE = '/etc/ssl/certs/ca-certificates.crt';

class Stop extends Error {
  constructor(message, code = EXIT.check) {
    super(message);
    this.code = code;
  }
}

function options(args) {
  const chosen = { suite: 'bookworm', only: undefined, keep: false, inside: undefined };
  const allowed = { '--suite': ['bookworm', 'trixie'], '--only': ['test', 'start'] };
  for (let at = 0; at < args.length; at += 1) {
    const [flag, value] = [args[at], args[at + 1]];
    if (flag === '--keep') chosen.keep = true;
    else if (flag === '--inside' && value !== undefined) chosen.inside = args[(at += 1)];
    else if (allowed[flag]?.includes(value)) chosen[flag.slice(2)] = args[(at += 1)];
    else throw new Stop('usage: bare.mjs [--suite bookworm|trixie] [--only test|start] [--keep]', EXIT.usage);
  }
  return chosen;
}

function must(command, args, { timeout = 60_000, ...rest } = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', timeout, maxBuffer: 1 << 26, ...rest });
  if (result.status !== 0) {
    const end = result.error?.message ?? result.signal ?? `exit status ${result.status}`;
    throw new Stop(`${[command, ...args].join(' ')} failed (${end})\n${(result.stderr ?? '').slice(-4000)}`);
  }
  return result.stdout;
}

async function step(name, action) {
  const from = performance.now();
  console.log(`• ${name}`);
  const result = await action();
  console.log(`  ${((performance.now() - from) / 1000).toFixed(1)} s`);
  return result;
}

// ------------------------------------------------------------------ the root file system

/** Puts a file of this machine at the same place of the new root; what is missing here is left out. */
function carry(root, path, to = path) {
  if (!existsSync(path)) return;
  mkdirSync(dirname(join(root, to)), { recursive: true });
  rmSync(join(root, to), { force: true });
  copyFileSync(realpathSync(path), join(root, to));
}

/** Node and npm as they run here; the suite's own Node may be older than Kedge needs. */
function carryNode(root) {
  const npm = dirname(dirname(realpathSync(must('sh', ['-c', 'command -v npm']).trim())));
  carry(root, process.execPath, '/usr/local/bin/node');
  must('chmod', ['0755', join(root, 'usr/local/bin/node')]);
  const place = '/usr/local/lib/node_modules/npm';
  cpSync(npm, join(root, place), { recursive: true, verbatimSymlinks: true });
  for (const name of ['npm', 'npx'])
    symlinkSync(`${place}/bin/${name}-cli.js`, join(root, 'usr/local/bin', name));
}

/** How this machine reaches its package sources: names, certificates, npm's own configuration. */
function carryNetwork(root) {
  for (const path of ['/etc/resolv.conf', '/etc/hosts', CA_FILE]) carry(root, path);
  // Whatever brings Debian's certificates makes that file anew, out of its own and of what lies here.
  carry(root, CA_FILE, '/usr/local/share/ca-certificates/this-machine.crt');
  const config = (key) => must('npm', ['config', 'get', key], { cwd: homedir() }).trim();
  carry(root, config('globalconfig'), '/usr/local/etc/npmrc');
  carry(root, config('userconfig'), '/root/.npmrc');
}

function bootstrap(root, suite) {
  must('mmdebstrap', ['--variant=minbase', '--quiet', suite, root], { timeout: BOUND_MS.bootstrap });
  carryNode(root);
  carryNetwork(root);
  must('git', ['clone', '--quiet', '--no-hardlinks', ROOT, join(root, CLONE)]);
}

// ---------------------------------------------------------- inside the private namespaces

/** Mounts live in this process's own mount namespace and end with it. */
function mountAll(root) {
  // Namespaces can be made in a chroot only when its root is a mount point.
  must('mount', ['--bind', root, root]);
  must('mount', ['--make-private', root]);
  must('mount', ['-t', 'proc', 'proc', join(root, 'proc')]);
  must('mount', ['--rbind', '/sys', join(root, 'sys')]);
  must('mount', ['--rbind', '/dev', join(root, 'dev')]);
  must('mount', ['-t', 'tmpfs', 'tmpfs', join(root, 'run')]);
  must('mount', ['-t', 'tmpfs', 'tmpfs', join(root, 'tmp')]);
}

function inChroot(root, command, { ci = false } = {}) {
  const environment = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    ...(ci ? { CI: 'true' } : {}),
    ...(existsSync(CA_FILE) ? { NODE_EXTRA_CA_CERTS: CA_FILE, SSL_CERT_FILE: CA_FILE } : {}),
  };
  return spawn('chroot', [root, '/bin/sh', '-c', `cd ${CLONE} && exec ${command}`], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
}

function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Gone already.
  }
}

/** Passes a child's output on and keeps it; resolves with its end, or kills it when the time is over. */
function followed(child, boundMs, onText = () => undefined) {
  let text = '';
  const take = (chunk) => {
    const fresh = text === '' || text.endsWith('\n');
    const lines = String(chunk).replace(/\n(?=.)/g, '\n    ');
    process.stdout.write(fresh ? `    ${lines}` : lines);
    text += chunk;
    onText(text);
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  return new Promise((resolve) => {
    const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), boundMs);
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, text });
    });
  });
}

async function testInside(root) {
  const { status, signal, text } = await followed(inChroot(root, 'npm test', { ci: true }), BOUND_MS.test);
  const last = text.trimEnd().split('\n').at(-1) ?? '';
  if (status !== 0 || !/^\d+ passed, 0 failed$/.test(last)) {
    throw new Stop(`npm test ended with ${signal ?? status}, last line: ${last}`);
  }
}

/** Whatever a run of the lab could leave: processes, namespaces, network namespaces by name, segments, sockets. */
function remains(root) {
  const processes = [];
  const namespaces = new Set();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const state = /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      for (const kind of ['net', 'pid', 'mnt']) namespaces.add(readlinkSync(`/proc/${pid}/ns/${kind}`));
      if (Number(pid) !== process.pid) processes.push(`${state} ${command}`);
    } catch {
      // It ended while it was looked at.
    }
  }
  const files = ['run/netns', 'run/kedge', 'dev/shm', 'tmp'].flatMap((path) => {
    const at = join(root, path);
    return existsSync(at) ? readdirSync(at).map((name) => `/${path}/${name}`) : [];
  });
  return [...processes, ...namespaces, ...files].sort();
}

async function startInside(root, how) {
  const before = remains(root);
  const child = inChroot(root, 'npm start');
  let up = () => undefined;
  const isUp = new Promise((resolve) => (up = resolve));
  const end = followed(child, BOUND_MS.up + BOUND_MS.down, (text) => UP.test(text) && up('up'));
  const timer = new Promise((resolve) => setTimeout(() => resolve('late'), BOUND_MS.up).unref());
  const first = await Promise.race([isUp, end.then(() => 'ended'), timer]);
  if (first !== 'up') {
    signalGroup(child, 'SIGKILL');
    throw new Stop(`npm start never said that it is up: it ${first === 'late' ? 'took too long' : 'ended'}`);
  }
  const status = inChroot(root, 'npx kedge lab status');
  const answer = await followed(status, 60_000);
  if (answer.status !== 0) throw new Stop(`kedge lab status ended with ${answer.signal ?? answer.status}`);
  // A check that would see nothing proves nothing: now there is much to see.
  const there = remains(root).filter((item) => !before.includes(item));
  if (there.length < 10) throw new Stop(`a running lab shows only: ${there.join('; ')}`);
  signalGroup(child, how);
  const deadline = performance.now() + BOUND_MS.down;
  let left;
  do {
    await new Promise((resolve) => setTimeout(resolve, 200));
    left = remains(root).filter((item) => !before.includes(item));
  } while (left.length > 0 && performance.now() < deadline);
  if (left.length > 0) {
    signalGroup(child, 'SIGKILL');
    throw new Stop(`${how} left behind:\n${left.map((item) => `    ${item}`).join('\n')}`);
  }
  await end;
}

async function inside(root, { only }) {
  mountAll(root);
  if (only !== 'start') await step('npm test', () => testInside(root));
  if (only !== 'test') {
    await step('npm start, ended by Ctrl-C', () => startInside(root, 'SIGINT'));
    await step('npm start, ended by SIGKILL', () => startInside(root, 'SIGKILL'));
  }
}

// ------------------------------------------------------------------------------- outside

async function outside({ suite, only, keep }) {
  if (process.getuid?.() !== 0)
    throw new Stop('a bare root file system needs root: sudo npm run test:bare', EXIT.notReady);
  const has = (command) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
  const missing = ['mmdebstrap', 'git', 'unshare'].filter((command) => !has(command));
  if (missing.length > 0) {
    const packages = missing.map((name) => (name === 'unshare' ? 'util-linux' : name));
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    await step(`installing ${packages.join(' ')}`, () => {
      must('apt-get', ['-qq', 'update'], { env, timeout: 300_000 });
      must('apt-get', ['-qq', 'install', '--yes', '--no-install-recommends', ...packages], {
        env,
        timeout: 600_000,
      });
    });
  }
  const root = mkdtempSync(join(tmpdir(), `kedge-bare-${suite}-`));
  must('chmod', ['0755', root]);
  try {
    await step(`a bare ${suite} with Node ${process.versions.node}`, () => bootstrap(root, suite));
    const self = fileURLToPath(import.meta.url);
    const child = spawn(
      'unshare',
      [
        ...['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'],
        // A shell as process 1: it reaps what the killed leave behind, as every init does.
        ...['bash', '-c', '"$@" & wait $!', 'init', process.execPath, self, '--inside', root],
        ...(only === undefined ? [] : ['--only', only]),
      ],
      { stdio: 'inherit' },
    );
    const stop = () => child.kill('SIGKILL');
    process.on('SIGINT', stop).on('SIGTERM', stop);
    const status = await new Promise((resolve) =>
      child.on('close', (code, signal) => resolve(signal ?? code)),
    );
    if (status !== 0) throw new Stop(`the ${suite} run ended with ${status}`);
    console.log(`${suite}: ok`);
  } finally {
    if (keep) console.log(`kept: ${root}`);
    else rmSync(root, { recursive: true, force: true, maxRetries: 5 });
  }
}

try {
  const chosen = options(process.argv.slice(2));
  if (chosen.inside === undefined) await outside(chosen);
  else await inside(chosen.inside, chosen);
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  console.error(`bare: ${error.message}`);
  process.exitCode = error.code;
}

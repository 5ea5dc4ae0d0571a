/**
 * A bare Debian as a root file system: a fresh one with Node, npm and a clone of this checkout, and commands in it.
 * Must not leave a mount behind: mounts live in the caller's own mount namespace and end with it.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const BOOTSTRAP_MS = 10 * 60_000;
const CA_FILE = '/etc/ssl/certs/ca-certificates.crt';
/** Where the clone stands in the new root. */
export const CLONE = '/opt/kedge';
export const EXIT = { failed: 1, usage: 2, notReady: 4, check: 6 };

/** A reason to end with an exit status. */
export class Stop extends Error {
  constructor(message, code = EXIT.check) {
    super(message);
    this.code = code;
  }
}

/** What a command printed; Stop when it fails. */
export function must(command, args, { timeout = 60_000, ...rest } = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', timeout, maxBuffer: 1 << 26, ...rest });
  if (result.status !== 0) {
    const end = result.error?.message ?? result.signal ?? `exit status ${result.status}`;
    throw new Stop(`${[command, ...args].join(' ')} failed (${end})\n${(result.stderr ?? '').slice(-4000)}`);
  }
  return result.stdout;
}

/** Says what is done, and how long it took. */
export async function step(name, action) {
  const from = performance.now();
  console.log(`• ${name}`);
  const result = await action();
  console.log(`  ${((performance.now() - from) / 1000).toFixed(1)} s`);
  return result;
}

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

/** An empty directory for a root, after what making one needs was installed. */
export async function roomFor(suite) {
  if (process.getuid?.() !== 0)
    throw new Stop('a bare root file system needs root: run it with sudo', EXIT.notReady);
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
  return root;
}

/** Makes the root: the suite and these packages, Node, the network, and a clone of what is committed. */
export function bootstrap(root, suite, packages = []) {
  const include = packages.length === 0 ? [] : [`--include=${packages.join(',')}`];
  must('mmdebstrap', ['--variant=minbase', '--quiet', ...include, suite, root], { timeout: BOOTSTRAP_MS });
  carryNode(root);
  carryNetwork(root);
  must('git', ['clone', '--quiet', '--no-hardlinks', ROOT, join(root, CLONE)]);
}

/** What a running system has mounted. */
export function mountAll(root) {
  // Namespaces can be made in a chroot only when its root is a mount point.
  must('mount', ['--bind', root, root]);
  must('mount', ['--make-private', root]);
  must('mount', ['-t', 'proc', 'proc', join(root, 'proc')]);
  must('mount', ['--rbind', '/sys', join(root, 'sys')]);
  must('mount', ['--rbind', '/dev', join(root, 'dev')]);
  must('mount', ['-t', 'tmpfs', 'tmpfs', join(root, 'run')]);
  must('mount', ['-t', 'tmpfs', 'tmpfs', join(root, 'tmp')]);
}

/** Starts a command of the shell in the clone. */
export function inChroot(root, command, { ci = false } = {}) {
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

/** Sends a signal to everything that a command started in its own group. */
export function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Gone already.
  }
}

/** Passes a child's output on and keeps it; resolves with its end, or kills it when the time is over. */
export function followed(child, boundMs, onText = () => undefined) {
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

/** Runs a script in private namespaces, where it may mount what it likes; Stop unless it ends well. */
export async function inNamespaces(script, args, what) {
  const child = spawn(
    'unshare',
    [
      ...['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'],
      // A shell as process 1: it reaps what the killed leave behind, as every init does.
      ...['bash', '-c', '"$@" & wait $!', 'init', process.execPath, script, ...args],
    ],
    { stdio: 'inherit' },
  );
  const stop = () => child.kill('SIGKILL');
  process.on('SIGINT', stop).on('SIGTERM', stop);
  const status = await new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  if (status !== 0) throw new Stop(`the ${what} run ended with ${status}`);
}

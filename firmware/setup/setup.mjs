/**
 * Brings a checkout to the state in which Kedge starts or is tested: Node, system packages, npm packages,
 * native code, build; what is there already is not done again.
 * Must not need anything but Node itself, nor print where packages come from.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(import.meta.dirname, '../..');
const NODE_FLOOR = [20, 19];
/** Exit codes as in docs/errors.md. */
const EXIT = { failed: 1, usage: 2, notReady: 4 };
const NATIVE = [
  'libs/shared-memory-ipc',
  'libs/plugin-host',
  'libs/routes',
  'libs/sqlite',
  'libs/ledger-store',
  'libs/libyang-ts',
  'plugins/dataplane',
  'plugins/warden',
  'plugins/boot',
  'test/lab',
  'test/faults',
  'test/bench',
];

/** One of the modules of the IETF after NMDA; yang/trees.json names those that are used. */
const STANDARD_MODULES = '/usr/share/yuma/nmda-modules/ietf/ietf-interfaces@2018-02-20.yang';

/** What has to be on the system: a command, a file or a look of its own, the Debian package, who needs it. */
const SYSTEM = [
  { probe: 'gcc', packages: ['gcc'], why: 'native code' },
  { probe: 'g++', packages: ['g++'], why: 'native code' },
  { probe: 'make', packages: ['make'], why: 'native code' },
  { probe: '/usr/include/stdio.h', packages: ['libc6-dev'], why: 'native code' },
  { probe: '/usr/include/libyang/libyang.h', packages: [libyangPackage()], why: 'native code' },
  { probe: '/usr/include/pcre2.h', packages: ['libpcre2-dev'], why: 'native code' },
  { probe: 'ip', packages: ['iproute2'], why: 'the lab' },
  { probe: 'conntrack', packages: ['conntrack'], why: 'ending established flows' },
  { probe: 'ethtool', packages: ['ethtool'], why: 'the lab' },
  { probe: 'unshare', packages: ['util-linux'], why: 'the lab' },
  { probe: 'openssl', packages: ['openssl'], why: 'the lab, and tests of flows' },
  { probe: 'nft', packages: ['nftables'], why: 'tests of routes, and a bench', test: true },
  { probe: 'ssh', packages: ['openssh-client'], why: 'tests of flows', test: true },
  { probe: 'rsyslogd', packages: ['rsyslog'], why: 'tests of export to syslog', test: true },
  { probe: rsyslogTls, packages: ['rsyslog-gnutls'], why: 'tests of export to syslog', test: true },
  { probe: 'nfcapd', packages: ['nfdump'], why: 'tests of flow export', test: true },
  { probe: 'ps', packages: ['procps'], why: 'tests', test: true },
  { probe: 'clang', packages: ['clang'], why: 'tests of native code', test: true },
  { probe: clangRuntime, packages: ['libclang-rt-dev'], why: 'tests of native code', test: true },
  { probe: 'ansible-playbook', packages: ['ansible-core'], why: 'tests of playbooks', test: true },
  { probe: 'python3', packages: ['python3'], why: 'a second verifier of the ledger', test: true },
  { probe: 'linux.uml', packages: ['user-mode-linux'], why: 'tests of drivers against VLANs', test: true },
  { probe: 'yanglint', packages: [yanglintPackage()], why: 'tests of YANG modules', test: true },
  { probe: STANDARD_MODULES, packages: ['libyuma-base'], why: 'the YANG modules of the IETF', test: true },
];

class Stop extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

function onDebian12() {
  let release = '';
  try {
    release = readFileSync('/etc/os-release', 'utf8');
  } catch {
    // Not a system that says what it is: the newer name is as good as the older.
  }
  return /^VERSION_ID="?12"?$/m.test(release);
}

function yanglintPackage() {
  return onDebian12() ? 'libyang2-tools' : 'libyang3-tools';
}

function libyangPackage() {
  return onDebian12() ? 'libyang2-dev' : 'libyang-dev';
}

/** True when the sanitizers' libraries of some clang are installed. */
function clangRuntime() {
  const list = (path) => (existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : []);
  return list('/usr/lib')
    .filter((path) => path.startsWith('/usr/lib/llvm-'))
    .flatMap((llvm) => list(join(llvm, 'lib/clang')))
    .flatMap((version) => list(join(version, 'lib/linux')))
    .some((path) => path.includes('libclang_rt.tsan'));
}

/** True when rsyslog can speak TLS. */
function rsyslogTls() {
  return readdirSync('/usr/lib')
    .filter((name) => name.endsWith('-linux-gnu'))
    .some((name) => existsSync(join('/usr/lib', name, 'rsyslog/lmnsd_gtls.so')));
}

function isThere(probe) {
  if (typeof probe === 'function') return probe();
  const places = probe.startsWith('/')
    ? ['']
    : [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return places.some((directory) => {
    const path = directory === '' ? probe : join(directory, probe);
    try {
      accessSync(path, probe.startsWith('/') ? constants.R_OK : constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The last lines of what a command said, without the hosts that it spoke to. */
export function told(output) {
  return output
    .replace(/\b[a-z]+:\/\/[^\s'"]+/g, '<address>')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-40)
    .map((line) => `    ${line}`)
    .join('\n');
}

/** Runs a command quietly, a dot every five seconds; throws with its last words when it fails. */
function run(command, args, { cwd = ROOT, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-200_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const dots = setInterval(() => process.stdout.write('.'), 5_000);
    child.on('error', (cause) => {
      clearInterval(dots);
      reject(new Stop(`cannot run ${command}: ${cause.message}`, EXIT.failed));
    });
    child.on('close', (status, signal) => {
      clearInterval(dots);
      if (status === 0) resolve(output);
      else {
        const end = signal === null ? `exit status ${status}` : signal;
        reject(new Stop(`${[command, ...args].join(' ')} failed (${end}):\n${told(output)}`, EXIT.failed));
      }
    });
  });
}

function nodeIsNewEnough() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor < NODE_FLOOR[1])) {
    throw new Stop(
      `Node ${NODE_FLOOR.join('.')} or newer is needed, this is ${process.versions.node}`,
      EXIT.notReady,
    );
  }
  return `Node ${process.versions.node}`;
}

async function systemPackages(purpose) {
  const wanted = SYSTEM.filter((item) => purpose === 'test' || item.test !== true);
  const missing = wanted.filter((item) => !isThere(item.probe));
  if (missing.length === 0) return 'all there';
  const packages = [...new Set(missing.flatMap((item) => item.packages))];
  const install = ['install', '--yes', '--no-install-recommends', ...packages];
  if (process.getuid?.() !== 0 || !isThere('apt-get')) {
    const reasons = missing.map((item) => `    ${item.packages.join(', ')}: ${item.why}`).join('\n');
    throw new Stop(
      isThere('apt-get')
        ? `these packages are missing:\n${reasons}\n  install them, then start again:\n` +
            `    sudo apt-get update && sudo apt-get ${install.join(' ')}`
        : `these Debian packages, or what they are called here, are missing:\n${reasons}`,
      EXIT.notReady,
    );
  }
  process.stdout.write(`installing ${packages.join(' ')} `);
  const env = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' };
  const options = ['-o', 'Dpkg::Use-Pty=0', '-o', 'DPkg::Lock::Timeout=300', '-qq'];
  await run('apt-get', [...options, 'update'], { env });
  await run('apt-get', [...options, ...install], { env });
  const still = wanted.filter((item) => !isThere(item.probe));
  if (still.length > 0) {
    throw new Stop(
      `installed, yet not found: ${still.flatMap((item) => item.packages).join(', ')}`,
      EXIT.failed,
    );
  }
  return `installed ${packages.length}`;
}

/** True when node_modules holds exactly the versions that package-lock.json names. */
export function modulesFollowLock(root = ROOT) {
  const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  let installed;
  try {
    installed = read('node_modules/.package-lock.json');
  } catch {
    return false;
  }
  const locked = read('package-lock.json');
  return Object.entries(locked).every(([path, item]) => {
    if (path === '' || !path.includes('node_modules/')) return true;
    const here = installed[path];
    // What belongs to another platform is optional and may be missing.
    if (here === undefined) return item.optional === true || item.peer === true;
    if (item.link === true) return here.link === true && existsSync(join(root, path));
    return here.version === item.version && here.integrity === item.integrity;
  });
}

async function npmPackages() {
  if (modulesFollowLock()) return 'as locked';
  process.stdout.write('npm ci ');
  await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  if (!modulesFollowLock())
    throw new Stop('npm ci left other packages than package-lock.json names', EXIT.failed);
  return 'installed';
}

function filesUnder(directory) {
  return readdirSync(directory, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        return ['node_modules', 'dist', 'build'].includes(entry.name) ? [] : filesUnder(path);
      }
      return /(^Makefile|\.(c|cc|cpp|h|hpp|mk))$/.test(entry.name) ? [path] : [];
    })
    .sort();
}

/** One hash over everything that native code is made of; every package sees the shared layout. */
function nativeInputs() {
  const hash = createHash('sha256').update(`${process.arch} ${process.versions.modules}\n`);
  for (const path of NATIVE.flatMap((directory) => filesUnder(join(ROOT, directory)))) {
    hash
      .update(`${path.slice(ROOT.length)}\0`)
      .update(readFileSync(path))
      .update('\0');
  }
  // Its sources are native code too.
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  hash.update(packages['node_modules/better-sqlite3'].integrity);
  return hash.digest('hex');
}

async function nativeCode() {
  const inputs = nativeInputs();
  const stamp = join(ROOT, 'node_modules/.cache/kedge/native');
  const directories = NATIVE.filter((directory) => existsSync(join(ROOT, directory, 'Makefile')));
  const built = directories.every((directory) => existsSync(join(ROOT, directory, 'build')));
  if (built && existsSync(stamp) && readFileSync(stamp, 'utf8') === inputs) return 'unchanged';
  for (const directory of directories) {
    process.stdout.write(`${directory} `);
    await run('make', ['-C', directory, '-j2']);
  }
  mkdirSync(join(ROOT, 'node_modules/.cache/kedge'), { recursive: true });
  writeFileSync(stamp, inputs);
  return 'built';
}

async function typescript() {
  // tsc keeps its own account of what changed; a second run only looks.
  await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-b']);
  return 'built';
}

async function bundles() {
  // Not imported before npm's packages are there.
  const { bundleAll } = await import('../bundler/bundle.mjs');
  const made = await bundleAll((line) => process.stdout.write(`${line} `));
  return made === 0 ? 'unchanged' : 'made';
}

function purposeOf(args) {
  if (args.length === 0) return 'test';
  const [flag, purpose, ...rest] = args;
  if (flag !== '--for' || rest.length > 0 || !['start', 'test'].includes(purpose ?? '')) {
    throw new Stop('usage: setup.mjs [--for start|test]', EXIT.usage);
  }
  return purpose;
}

async function setUp() {
  const purpose = purposeOf(process.argv.slice(2));
  const steps = [
    ['Node', nodeIsNewEnough],
    ['system packages', () => systemPackages(purpose)],
    ['npm packages', npmPackages],
    ['native code', nativeCode],
    ['TypeScript', typescript],
    ['bundles', bundles],
  ];
  const begun = performance.now();
  console.log(`Setting Kedge up for ${purpose === 'start' ? 'a start' : 'tests'}`);
  for (const [at, [name, step]] of steps.entries()) {
    const from = performance.now();
    process.stdout.write(`  ${at + 1}/${steps.length} ${name.padEnd(16)} `);
    const result = await step();
    console.log(`${result} (${((performance.now() - from) / 1000).toFixed(1)} s)`);
  }
  console.log(`Set up in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await setUp();
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    console.error(`\nset-up: ${error.message}`);
    process.exitCode = error.code;
  }
}

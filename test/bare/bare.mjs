/**
 * Proves that a clean clone works on a bare Debian: a fresh root file system with Node and nothing else, `npm test`
 * in it, then `npm start`, ended once by Ctrl-C and once by SIGKILL. `npm run test:bare [-- OPTIONS]`, as root.
 *   --suite bookworm|trixie   Debian 12 or 13 (bookworm)
 *   --only test|start         one half only
 *   --keep                    leave the root file system behind and say where it is
 * Must not leave a mount, a process or a file behind (but for --keep), nor take longer than its bounds.
 */
import { existsSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import {
  bootstrap,
  EXIT,
  followed,
  inChroot,
  inNamespaces,
  mountAll,
  roomFor,
  signalGroup,
  step,
  Stop,
} from './root.mjs';

const BOUND_MS = { test: 40 * 60_000, up: 10 * 60_000, down: 20_000 };
/** What `npm start` says once traffic flows. */
const UP = /The lab "[^"]+" is up:/;

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
  const root = await roomFor(suite);
  try {
    await step(`a bare ${suite} with Node ${process.versions.node}`, () => bootstrap(root, suite));
    const self = fileURLToPath(import.meta.url);
    await inNamespaces(self, ['--inside', root, ...(only === undefined ? [] : ['--only', only])], suite);
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

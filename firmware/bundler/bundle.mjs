/**
 * Makes of every service one file with all the JavaScript that it is made of, and V8's code cache beside it, so
 * that a service that was killed is back soon. `npm run bundle` compiles first: rolldown knows no decorators.
 * Must not change what a service does: native addons and .proto files stay where they are and are found there.
 *
 *   apps/NAME/bundle/main.js           what is started: takes the next two
 *   apps/NAME/bundle/service-HASH.js   the service
 *   apps/NAME/bundle/service-HASH.cache  its code as V8 keeps it; used by the Node that made it, others do without
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(import.meta.dirname, '../..');
const SELF = fileURLToPath(import.meta.url);
const sha256 = (...parts) =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex');

/** Every service: what nest-cli.json builds. */
export function services() {
  return Object.keys(JSON.parse(readFileSync(join(ROOT, 'nest-cli.json'), 'utf8')).projects).sort();
}

/** Written beside its place and renamed into it: a service that starts meanwhile finds the old one whole. */
function put(path, content) {
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, content);
  renameSync(fresh, path);
}

const installed = (path) => path.includes('node_modules/');

/**
 * What a bundle is made of and by: unchanged as long as this is. Packages are looked at by the lock file alone;
 * the lab compares `own` in the same way before it starts a service.
 */
function madeOf(inputs) {
  const own = createHash('sha256');
  for (const path of inputs) own.update(`\0${path}\0`).update(readFileSync(join(ROOT, path)));
  const by = sha256(
    `${process.version} ${process.arch}\0`,
    readFileSync(SELF),
    readFileSync(join(ROOT, 'package-lock.json')),
  );
  return { inputs, own: own.digest('hex'), by };
}

function isFresh(directory) {
  try {
    const { files, ...made } = JSON.parse(readFileSync(join(directory, 'made-of.json'), 'utf8'));
    if (!files.every((name) => existsSync(join(directory, name)))) return false;
    return JSON.stringify(madeOf(made.inputs)) === JSON.stringify(made);
  } catch {
    return false;
  }
}

/**
 * A module knows its own place: what it finds beside itself (an addon, a .proto file) it finds from the bundle,
 * too, as long as the tree stands as it does.
 */
function places(directory, entry) {
  return {
    name: 'places',
    transform(code, id) {
      const at = (path) => JSON.stringify(relative(directory, path));
      let text = code.replaceAll('import.meta.url', `new URL(${at(id)}, import.meta.url).href`);
      text = text.replaceAll(/\b__dirname\b/g, `require('node:path').join(__dirname, ${at(dirname(id))})`);
      // NestJS's own log is never asked for a time here: its formatter, 15 ms of ICU, is made when it is.
      if (/@nestjs\/common\/services\/[a-z-]*logger\.service\.js$/.test(id)) {
        text = text.replace(
          /const dateTimeFormatter = (new Intl\.DateTimeFormat\([^;]*\));/,
          'const dateTimeFormatter = { format: (date) => $1.format(date) };',
        );
      }
      // The bundle is a script, which cannot wait at its top; what runs a service never rejects.
      if (id === entry) text = text.replace(/^await (run[A-Z][A-Za-z]*)\(/m, 'void $1(');
      return text === code ? null : { code: text, map: null };
    },
  };
}

/** What is not installed is optional (NestJS tries for its transports): it stays a name, and fails as it did. */
const optional = {
  name: 'optional',
  async resolveId(source, importer, options) {
    if (importer === undefined || /^[./]|^node:/.test(source) || builtinModules.includes(source)) return null;
    const found = await this.resolve(source, importer, { ...options, skipSelf: true });
    return found ?? { id: source, external: true };
  },
};

async function bundleOf(entry, directory) {
  const { rolldown } = await import('rolldown');
  const bundle = await rolldown({
    input: entry,
    platform: 'node',
    plugins: [places(directory, entry), optional],
    onLog: (level, log) => {
      // NestJS and protobufjs are written so; nothing of it is ours to mend.
      if (level === 'warn' && /node_modules|EVAL/.test(`${log.id ?? ''} ${log.code ?? ''}`)) return;
      if (level === 'warn') console.warn(log.message);
    },
  });
  const { output } = await bundle.generate({ format: 'cjs', codeSplitting: false, sourcemap: false });
  await bundle.close();
  const [chunk, ...more] = output;
  if (chunk === undefined || more.length > 0) throw new Error(`${entry} did not become one file`);
  const inputs = Object.keys(chunk.modules)
    .filter((id) => id.startsWith(ROOT) && !installed(id) && existsSync(id))
    .map((id) => relative(ROOT, id))
    .sort();
  return { code: chunk.code, inputs };
}

/** A script, not a module: V8 takes a code cache for scripts only. */
const starter = (name) => `'use strict';
// Starts the service beside it; made by firmware/bundler.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script, constants } = require('node:vm');

const file = join(__dirname, '${name}.js');
let cachedData;
try {
  cachedData = readFileSync(join(__dirname, '${name}.cache'));
} catch {
  // Without it everything is compiled anew, which takes longer.
}
const script = new Script(
  \`(function (exports, require, module, __filename, __dirname) {\${readFileSync(file, 'latin1')}\\n})\`,
  { filename: file, cachedData, importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER },
);
globalThis[Symbol.for('kedge.bundle')] = script;
script.runInThisContext().call(exports, exports, require, module, file, __dirname);
`;

/** Characters beyond Latin-1 as escapes: V8 then keeps the text in one byte a character. */
function latin1(code) {
  return code.replaceAll(/[\u0100-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * A rehearsal: the service is started in a place of its own, with nobody around it, and stopped once it serves or
 * gives up. What it compiled until then is what the cache holds; how far it came matters for the cache alone.
 */
async function cacheOf(main, service) {
  const scratch = mkdtempSync(join(tmpdir(), 'kedge-bundle-'));
  try {
    const cache = join(scratch, 'cache');
    const preload = join(scratch, 'preload.cjs');
    // A cache fits the flags that V8 had when it was made. A service says others later, with its policy engine
    // (libs/authz): this ends before.
    writeFileSync(
      preload,
      `process.on('exit', () => {
  require('node:fs').writeFileSync(${JSON.stringify(cache)}, globalThis[Symbol.for('kedge.bundle')].createCachedData());
});`,
    );
    const config = join(scratch, 'config.json');
    writeFileSync(config, JSON.stringify(rehearsalConfig(scratch, service)));
    const node = [process.execPath, '--require', preload, main, '--config', config];
    // As root it could reach the machine's own network: there is none in here, nor any program to be called.
    const [command, ...args] = process.getuid?.() === 0 ? ['unshare', '-n', '--', ...node] : node;
    const said = await rehearse(command, args);
    if (!existsSync(cache)) throw new Error(`${relative(ROOT, main)} does not start: ${said.slice(-2_000)}`);
    return readFileSync(cache);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Runs it until it says that it serves; all that it said. */
function rehearse(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { NODE_ENV: 'production', PATH: '/usr/bin:/bin' },
    });
    let said = '';
    const timeout = setTimeout(() => child.kill('SIGTERM'), 10_000);
    const hear = (chunk) => {
      said += chunk;
      if (said.includes('"msg":"serving"')) setTimeout(() => child.kill('SIGTERM'), 250);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timeout);
      resolve(said);
    });
  });
}

/** Places and a configuration for a service that is alone in the world. */
function rehearsalConfig(scratch, service) {
  const at = (name) => join(scratch, name);
  const tiers = ['site_owner', 'master', 'journeyman', 'apprentice'].map((tier) => `sock/local/${tier}`);
  for (const ways of ['sock/console', 'sock/internal', ...tiers]) {
    for (const name of [ways, `${ways}/underlay`, `${ways}/ledger`, `${ways}/intent`]) {
      mkdirSync(at(name), { recursive: true });
      chmodSync(at(name), 0o750);
    }
  }
  for (const name of ['board', 'state']) mkdirSync(at(name), { mode: 0o755 });
  const owner = process.getuid?.() ?? 0;
  const common = {
    appliance: 'rehearsal',
    sockets: at('sock'),
    accords: join(ROOT, 'yang/defaults/accords.json'),
    zones: join(ROOT, 'yang/defaults/zones.json'),
  };
  const owners = { posture: owner, warden: owner };
  if (service === 'vpp-bridge') return { ...common, board: at('board'), spool: at('state/records'), owners };
  if (service === 'posture-coordinator') {
    return { ...common, board: { directory: at('board'), owners: { warden: owner } }, state: at('state') };
  }
  if (service === 'quartermaster') {
    return {
      ...{
        appliance: common.appliance,
        sockets: common.sockets,
        origin: 'kedge.example/rehearsal',
        sources: [],
      },
      ...{
        board: { directory: at('board'), owners },
        directory: at('state/ledger'),
        key: at('state/ledger.key'),
      },
    };
  }
  const owned = { board: { directory: at('board'), owners }, state: at('state') };
  // It is given accords and zones as a part of the intent.
  if (service === 'intent') return { appliance: common.appliance, sockets: common.sockets, ...owned };
  return { ...common, ...owned };
}

/** Bundles one service; false when nothing of it has changed. */
export async function bundle(service) {
  const directory = join(ROOT, 'apps', service, 'bundle');
  if (isFresh(directory)) return false;
  const { code, inputs } = await bundleOf(join(ROOT, 'apps', service, 'dist/main.js'), directory);
  const text = latin1(code);
  const name = `service-${sha256(text).slice(0, 16)}`;
  mkdirSync(directory, { recursive: true });
  put(join(directory, 'package.json'), '{ "type": "commonjs" }\n');
  put(join(directory, `${name}.js`), Buffer.from(text, 'latin1'));
  // A cache fits by the length of the text only, as V8 sees it: it is never beside another text.
  rmSync(join(directory, `${name}.cache`), { force: true });
  const rehearsal = join(directory, `rehearsal-${process.pid}.js`);
  writeFileSync(rehearsal, starter(name));
  try {
    put(join(directory, `${name}.cache`), await cacheOf(rehearsal, service));
  } finally {
    rmSync(rehearsal);
  }
  put(join(directory, 'main.js'), starter(name));
  const files = ['main.js', `${name}.js`, `${name}.cache`];
  put(join(directory, 'made-of.json'), JSON.stringify({ ...madeOf(inputs), files }));
  for (const old of readdirSync(directory)) {
    if (old.startsWith('service-') && !old.startsWith(name)) rmSync(join(directory, old), { force: true });
  }
  return true;
}

/** Bundles every service; says how many were made anew. */
export async function bundleAll(say = () => undefined) {
  let made = 0;
  for (const service of services()) {
    const from = performance.now();
    if (!(await bundle(service))) continue;
    made += 1;
    say(`${service} (${((performance.now() - from) / 1000).toFixed(1)} s)`);
  }
  return made;
}

if (process.argv[1] === SELF) {
  const made = await bundleAll((line) => console.log(line));
  console.log(made === 0 ? 'every bundle is as it has to be' : `${made} of ${services().length} bundled`);
}

/**
 * The support bundle: everything that somebody needs who is to help, in one archive, with every secret left out.
 * It must not hold a byte that did not go through redaction, and must not grow beyond its bound.
 */
import { KedgeError } from '@kedge/units';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  createWriteStream,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { arch, cpus, freemem, release, tmpdir, totalmem, uptime, version } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';

import { diagnosisOf, diagnosisText } from './diagnosis.js';
import { examinePlaces, type ExamineOptions } from './examine.js';
import type { Examination } from './examination.js';
import type { Places } from './places.js';
import { historyText } from './posture-text.js';
import { isSecretName, redactData, redactText, secretsInLines } from './redaction.js';
import { jsonText } from './render.js';
import { VERSION } from './version.js';

export interface SupportBundleOptions extends ExamineOptions {
  readonly output?: string;
}

const KIB = 1024;
/** Bounds of one bundle, before compression. */
export const BUNDLE = {
  /** All files together. */
  totalBytes: 16 * KIB * KIB,
  /** Any one file. */
  fileBytes: 512 * KIB,
  /** The end of each log. */
  logBytes: 256 * KIB,
  logs: 32,
  configurations: 32,
} as const;

/** One file of the bundle. */
export interface BundleFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Only a part of what it was made from. */
  readonly cut: boolean;
}

/** What was written. */
export interface Bundle {
  readonly file: string;
  readonly bytes: number;
  readonly files: readonly BundleFile[];
  /** What could not be had, and why. */
  readonly missing: readonly string[];
}

/** What a file is made of before secrets are taken out. */
interface Draft {
  readonly path: string;
  readonly text: string;
  readonly cut: boolean;
}

/** Collects drafts, what is missing, and the secrets that must not appear anywhere. */
class Collection {
  readonly drafts: Draft[] = [];
  readonly missing: string[] = [];
  readonly secrets = new Set<string>();

  add(path: string, text: string, cut = false): void {
    this.drafts.push({ path, text, cut });
  }

  json(path: string, value: unknown): void {
    // Plain data first: bytes and 64-bit numbers are text from here on.
    const { value: open, secrets } = redactData(JSON.parse(jsonText(value)));
    for (const secret of secrets) this.secrets.add(secret);
    this.add(path, `${JSON.stringify(open, null, 2)}\n`);
  }

  lacks(what: string, why: unknown): void {
    this.missing.push(`${what}: ${why instanceof Error ? why.message : String(why)}`);
  }
}

/**
 * Makes a bundle.
 *
 * @throws KedgeError `CLI_OUTPUT` (it cannot be written, or is there already), and what finding the appliance throws
 */
export async function supportBundle(options: SupportBundleOptions): Promise<Bundle> {
  const now = new Date();
  const stamp = now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  const file = resolve(options.output ?? `kedge-support-${stamp}.tar.gz`);
  requireFree(file);
  const { examination, places } = await examinePlaces(options);
  const found = new Collection();
  // Configuration and environments first: the secrets in them are looked for in everything else.
  configurations(found, places);
  await environments(found, places);
  seen(found, examination);
  logs(found, places);
  await machine(found, places);
  const work = mkdtempSync(join(tmpdir(), 'kedge-support-'));
  try {
    const files = lay(work, found);
    const manifest = {
      schema: 'kedge.support-bundle/1',
      made: now.toISOString(),
      by: `kedge ${VERSION}`,
      of: redactText(places.title, found.secrets),
      files,
      missing: found.missing.map((each) => redactText(each, found.secrets)),
    };
    writeFileSync(join(work, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });
    await pack(work, file, now);
    return { file, bytes: statSync(file).size, files, missing: manifest.missing };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** For people. */
export function bundleText({ file, bytes, files, missing }: Bundle): string {
  return [
    `${file}: ${files.length} files, ${(bytes / KIB).toFixed(0)} KiB`,
    ...(missing.length === 0 ? [] : ['', 'could not be had:', ...missing.map((each) => `  ${each}`)]),
    '',
    'Secrets are left out. Look it through all the same before you hand it on: tar -tvf, and manifest.json.',
  ].join('\n');
}

function requireFree(file: string): void {
  const refuse = (message: string, cause?: unknown): KedgeError =>
    new KedgeError({
      code: 'CLI_OUTPUT',
      message: `cannot write ${file}: ${message}`,
      field: '--output',
      expected: 'a file that is not there yet, in a directory that exists and can be written to',
      ...(cause === undefined ? {} : { cause }),
    });
  if (existsSync(file)) throw refuse('it is there already');
  try {
    const probe = `${file}.new`;
    closeSync(openSync(probe, 'wx', 0o600));
    rmSync(probe);
  } catch (cause) {
    throw refuse('its directory does not exist or cannot be written to', cause);
  }
}

/* ------------------------------------------------------------------ what is collected */

function configurations(found: Collection, { etc }: Places): void {
  let names: string[];
  try {
    // Keys and certificates have other names, and are never opened.
    names = readdirSync(etc).filter((name) => /\.(json|conf)$/.test(name));
  } catch (error) {
    found.lacks('configuration', error);
    return;
  }
  for (const name of names.sort().slice(0, BUNDLE.configurations)) {
    try {
      const { text, cut } = endOf(join(etc, name), BUNDLE.fileBytes);
      const parsed = cut ? undefined : parseJson(text);
      if (parsed !== undefined) found.json(`configuration/${name}`, parsed);
      else {
        for (const secret of secretsInLines(text)) found.secrets.add(secret);
        found.add(`configuration/${name}`, text, cut);
      }
    } catch (error) {
      found.lacks(`configuration/${name}`, error);
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Names of the variables of each service; of values only those that are the same everywhere. */
const OPEN_VARIABLES = new Set(['PATH', 'NODE_ENV', 'LANG', 'LC_ALL', 'TZ']);

async function environments(found: Collection, { pid }: Places): Promise<void> {
  const { processesWith } = await import('@kedge/lab');
  const services = processesWith(pid ?? process.pid).filter(({ command }) =>
    command.some((word) => /kedge|posture-coordinator|vpp-bridge|\/apps\//.test(word)),
  );
  const shown = services.flatMap(({ pid: number, command }) => {
    if (number === process.pid) return [];
    try {
      const variables = readFileSync(`/proc/${number}/environ`, 'utf8')
        .split('\0')
        .filter((each) => each.includes('='))
        .map((each): [string, string] => [
          each.slice(0, each.indexOf('=')),
          each.slice(each.indexOf('=') + 1),
        ]);
      for (const [name, value] of variables) if (isSecretName(name)) found.secrets.add(value);
      return [
        {
          process: number,
          program: command.slice(0, 2).map((word) => basename(word)),
          environment: Object.fromEntries(variables.filter(([name]) => OPEN_VARIABLES.has(name))),
          leftOut: variables
            .map(([name]) => name)
            .filter((name) => !OPEN_VARIABLES.has(name))
            .sort(),
        },
      ];
    } catch {
      return [];
    }
  });
  found.json('system/services.json', shown);
}

function seen(found: Collection, examination: Examination): void {
  const { coordinator, history, bridge, board, violations, journal, accords, disks, scheduling } =
    examination;
  const diagnosis = diagnosisOf(examination);
  found.json('doctor.json', diagnosis);
  found.add('doctor.txt', `${diagnosisText(diagnosis)}\n`);
  const put = (
    path: string,
    what:
      | { readonly seen: true; readonly value: unknown }
      | { readonly seen: false; readonly code: string; readonly message: string },
  ): void => {
    if (what.seen) found.json(path, what.value);
    else found.lacks(path, `${what.message} [${what.code}]`);
  };
  put('posture/state.json', coordinator);
  put('posture/history.json', history);
  if (history.seen) found.add('posture/history.txt', `${historyText(history.value)}\n`);
  put('posture/journal.json', journal);
  put('posture/accords.json', accords);
  put(
    'governance/tables.json',
    bridge.seen
      ? // Its first half tells accords apart and does not look like a key.
        {
          seen: true,
          value: {
            ...bridge.value,
            accordsHash: Buffer.from(bridge.value.accordsHash).toString('hex', 0, 8),
          },
        }
      : bridge,
  );
  put('board/snapshot.json', board);
  found.json('board/violations.json', violations);
  found.json('system/disks.json', disks);
  found.json('system/scheduling.json', scheduling);
}

function logs(found: Collection, { log }: Places): void {
  let names: string[];
  try {
    names = readdirSync(log).filter((name) => /\.log(\.\d+)?$/.test(name));
  } catch (error) {
    found.lacks('logs', error);
    return;
  }
  for (const name of names.sort().slice(0, BUNDLE.logs)) {
    try {
      const { text, cut } = endOf(join(log, name), BUNDLE.logBytes);
      // A first line that is only half there is left out: half a secret looks like none.
      found.add(`logs/${name}`, cut ? text.slice(text.indexOf('\n') + 1) : text, cut);
    } catch (error) {
      found.lacks(`logs/${name}`, error);
    }
  }
  if (names.length > BUNDLE.logs)
    found.lacks('logs', `${names.length - BUNDLE.logs} more logs were left out`);
}

/** The last bytes of a regular file. */
function endOf(path: string, most: number): { text: string; cut: boolean } {
  const fd = openSync(path, 'r');
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) throw new Error('it is no regular file');
    const bytes = Buffer.alloc(Math.min(status.size, most));
    const read = readSync(fd, bytes, 0, bytes.length, Math.max(0, status.size - most));
    return { text: bytes.toString('utf8', 0, read), cut: status.size > most };
  } finally {
    closeSync(fd);
  }
}

const KERNEL_FILES = [
  '/proc/version',
  '/proc/cmdline',
  '/proc/loadavg',
  '/proc/meminfo',
  '/proc/sys/kernel/sched_rt_runtime_us',
  '/proc/sys/kernel/sched_rt_period_us',
  '/proc/sys/net/ipv4/ip_forward',
  '/proc/sys/net/ipv6/conf/all/forwarding',
  '/proc/pressure/cpu',
  '/proc/pressure/io',
  '/etc/os-release',
] as const;
/** What the kernel's own tools say; never with secrets: `wg` and the like are not asked. */
const NETWORK = {
  links: ['-s', 'link', 'show'],
  addresses: ['address', 'show'],
  'routes-4': ['-4', 'route', 'show', 'table', 'all'],
  'routes-6': ['-6', 'route', 'show', 'table', 'all'],
  'rules-4': ['-4', 'rule', 'show'],
  'rules-6': ['-6', 'rule', 'show'],
} as const;

async function machine(found: Collection, { pid }: Places): Promise<void> {
  found.json('system/versions.json', {
    kedge: VERSION,
    node: process.versions.node,
    openssl: process.versions.openssl,
    kernel: release(),
    build: version(),
    architecture: arch(),
    processors: cpus().length,
    memoryBytes: totalmem(),
    freeBytes: freemem(),
    uptimeS: Math.trunc(uptime()),
  });
  const parts = KERNEL_FILES.map((path) => {
    try {
      return `== ${path}\n${readFileSync(path, 'utf8').trimEnd()}\n`;
    } catch {
      return `== ${path}\n(not there)\n`;
    }
  });
  found.add('system/kernel.txt', parts.join('\n'));
  const run = promisify(execFile);
  for (const [name, args] of Object.entries(NETWORK)) {
    const path = `system/network/${name}.txt`;
    const command = ['ip', ...args];
    const inside = pid === undefined ? command : ['nsenter', `--net=/proc/${pid}/ns/net`, ...command];
    try {
      const { stdout } = await run(inside[0] ?? 'ip', inside.slice(1), {
        timeout: 5_000,
        maxBuffer: 8 * BUNDLE.fileBytes,
      });
      found.add(path, stdout.slice(0, BUNDLE.fileBytes), stdout.length > BUNDLE.fileBytes);
    } catch (error) {
      found.lacks(path, error);
    }
  }
}

/* ------------------------------------------------------------------ how it is laid down */

/** Writes every file with its secrets taken out, in order, up to the bound; what was written. */
function lay(work: string, found: Collection): readonly BundleFile[] {
  let room = BUNDLE.totalBytes;
  return [...found.drafts]
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .flatMap(({ path, text, cut }): BundleFile[] => {
      const open = redactText(text, found.secrets);
      let bytes = Buffer.from(open);
      const short = bytes.length > BUNDLE.fileBytes;
      if (short) bytes = bytes.subarray(0, BUNDLE.fileBytes);
      if (bytes.length > room) {
        found.lacks(path, 'the bundle has no room left');
        return [];
      }
      room -= bytes.length;
      mkdirSync(join(work, dirname(path)), { recursive: true, mode: 0o700 });
      writeFileSync(join(work, path), bytes, { mode: 0o600 });
      return [
        {
          path,
          bytes: bytes.length,
          sha256: createHash('sha256').update(bytes).digest('hex'),
          cut: cut || short,
        },
      ];
    });
}

/** Packs a directory: names in order, owner root, one time for all, so that the same files make the same bytes. */
async function pack(work: string, file: string, at: Date): Promise<void> {
  const name = basename(file).replace(/\.(tar\.gz|tgz)$/, '');
  const tar = spawn(
    'tar',
    [
      ...['--create', '--file=-', '--format=ustar', '--sort=name', '--mode=u=rwX,go='],
      ...[
        '--owner=root:0',
        '--group=root:0',
        '--numeric-owner',
        `--mtime=@${Math.trunc(at.getTime() / 1000)}`,
      ],
      ...[`--transform=s,^\\.,${name.replace(/[^\w.-]/g, '_')},`, '--directory', work, '.'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  tar.stderr.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
  const ended = new Promise<number | null>((settle, reject) => {
    tar.once('error', reject);
    tar.once('close', settle);
  });
  const unfinished = `${file}.new`;
  try {
    const [status] = await Promise.all([
      ended,
      pipeline(
        tar.stdout,
        createGzip({ level: 9 }),
        createWriteStream(unfinished, { flags: 'wx', mode: 0o600 }),
      ),
    ]);
    if (status !== 0) throw new Error(said.trim() || `tar ended with ${String(status)}`);
    renameSync(unfinished, file);
  } catch (cause) {
    rmSync(unfinished, { force: true });
    throw new KedgeError({
      code: 'CLI_OUTPUT',
      message: `cannot pack ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      field: '--output',
      cause,
    });
  }
}

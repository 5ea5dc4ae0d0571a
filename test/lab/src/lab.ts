/**
 * A lab from outside: bring it up, wait until everything in it works, reach into it, take it down.
 * It must not live inside of it: what runs in the lab is started by the lab's own init.
 */
import {
  governanceClient,
  type GovernanceClient,
  intentClient,
  type IntentClient,
  ledgerClient,
  type LedgerClient,
  overlayClient,
  type OverlayClient,
  postureClient,
  type PostureClient,
  underlayClient,
  type UnderlayClient,
} from '@kedge/bus';
import { CUT_BINARY } from '@kedge/routes';
import { KedgeError } from '@kedge/units';
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

import { BoardTrace } from './board-watch.js';
import { requireFreshBundles } from './bundles.js';
import { wardenFile } from './config.js';
import {
  labDirectory,
  labLogPath,
  type LabNote,
  makeLabDirectory,
  readNote,
  removeLabDirectory,
  wardenConfigPath,
  writeNote,
} from './lab-file.js';
import { PROGRAMS, ROOT } from './paths.js';
import { initUnder, processesWith, pssOf, type SeenProcess, startTimeOf } from './processes.js';
import { DEFAULT_NAME, type LabBudgets, labSettings, type LabSettings } from './settings.js';
import {
  BOARD,
  CLASS_NAMES,
  type ClassName,
  LOG,
  RUN,
  type SocketDirectory,
  SOCKETS,
  STATE,
  type ZoneName,
} from './topology.js';
import { seeded } from './seed.js';
import { Traffic } from './traffic.js';

/** A start takes 6 s on two processors that have nothing else to do, and was seen to take 33 s on a third of them. */
const READY_WITHIN_MS = 60_000;
const DOWN_WITHIN_MS = 10_000;

/** Parts of the lab that can be looked for among its processes. */
export const LAB_SERVICES = [
  'posture-coordinator',
  'vpp-bridge',
  'forwarder',
  'overlay',
  'underlay',
  'quartermaster',
  'intent',
  'warden',
] as const;
export type LabService = (typeof LAB_SERVICES)[number];

/** A lab that is up. Its clients are made when they are asked for; {@link Lab.close} closes them. */
export interface Lab {
  readonly name: string;
  /** Its init, as seen from this machine. */
  readonly pid: number;
  readonly settings: LabSettings;
  /** A path inside the lab as one that this machine can open. */
  reach(path: string): string;
  /** The board directory, reachable from here. */
  readonly board: string;
  /** The coordinator's decision journal, reachable from here. */
  readonly journal: string;
  posture(way: SocketDirectory): PostureClient;
  governance(): GovernanceClient;
  overlay(): OverlayClient;
  /** By the way in of a channel and tier; without one, that of the appliance itself. */
  underlay(way?: SocketDirectory): UnderlayClient;
  /** By the way in of a channel and tier; without one, that of the appliance itself. */
  ledger(way?: SocketDirectory): LedgerClient;
  /** By the way in of a channel and tier; without one, that of the appliance itself. */
  intent(way?: SocketDirectory): IntentClient;
  traffic(): Traffic;
  trace(): Promise<BoardTrace>;
  /** True while its init lives. */
  alive(): boolean;
  processes(): readonly SeenProcess[];
  /** The processes of one of its parts; empty while it is away. */
  serviceProcesses(service: LabService): readonly SeenProcess[];
  /** The last lines of a log, "" when there is none. */
  logTail(service: string, lines: number): string;
  /** Lets go of it; it goes on. */
  close(): void;
  /** Ends it and everything in it. */
  down(): Promise<void>;
}

export interface LabUpOptions {
  readonly name?: string;
  /** The lab ends with this process. */
  readonly foreground?: boolean;
  readonly budgets?: LabBudgets;
  readonly rates?: Partial<Record<ClassName, number>>;
  readonly portRates?: Partial<Record<ZoneName, number>>;
  readonly forwarder?: string;
  /** How long it may take until all of it works, milliseconds. */
  readonly readyWithinMs?: number;
  /** Told in words what happens. */
  readonly out?: (line: string) => void;
  readonly signal?: AbortSignal;
}

const MARKS: Readonly<Record<LabService, (process: SeenProcess) => boolean>> = {
  'posture-coordinator': ({ command }) => command.includes(PROGRAMS.coordinator),
  'vpp-bridge': ({ command }) => command.includes(PROGRAMS.bridge),
  overlay: ({ command }) => command.includes(PROGRAMS.overlay),
  underlay: ({ command }) => command.includes(PROGRAMS.underlay),
  quartermaster: ({ command }) => command.includes(PROGRAMS.quartermaster),
  intent: ({ command }) => command.includes(PROGRAMS.intent),
  forwarder: ({ command }) => command.includes('--port') && /forwarder[^/]*$/.test(command[0] ?? ''),
  warden: ({ innerPid }) => innerPid === 1,
};

class RunningLab implements Lab {
  readonly name: string;
  readonly pid: number;
  readonly settings: LabSettings;
  readonly #closing: { close(): void }[] = [];
  /** Clients and the like by the socket that they speak to, until `close`. */
  readonly #kept = new Map<string, { close(): void }>();

  constructor(private readonly note: LabNote) {
    this.name = note.name;
    this.pid = note.pid;
    this.settings = note.settings;
  }

  reach(path: string): string {
    return `/proc/${this.pid}/root${path}`;
  }

  get board(): string {
    return this.reach(BOARD);
  }

  get journal(): string {
    return this.reach(`${STATE}/posture-coordinator/decisions.journal`);
  }

  posture(way: SocketDirectory): PostureClient {
    return this.#speaking(`${way}/posture.sock`, postureClient);
  }

  governance(): GovernanceClient {
    return this.#speaking('internal/governance.sock', governanceClient);
  }

  overlay(): OverlayClient {
    return this.#speaking('internal/overlay.sock', overlayClient);
  }

  underlay(way?: SocketDirectory): UnderlayClient {
    return this.#speaking(
      way === undefined ? 'internal/underlay.sock' : `${way}/underlay/gate.sock`,
      underlayClient,
    );
  }

  ledger(way?: SocketDirectory): LedgerClient {
    return this.#speaking(
      way === undefined ? 'internal/ledger.sock' : `${way}/ledger/ledger.sock`,
      ledgerClient,
    );
  }

  intent(way?: SocketDirectory): IntentClient {
    return this.#speaking(
      way === undefined ? 'internal/intent.sock' : `${way}/intent/intent.sock`,
      intentClient,
    );
  }

  traffic(): Traffic {
    return this.#keep('traffic', () => new Traffic((path) => this.reach(path)));
  }

  #speaking<Client extends { close(): void }>(socket: string, make: (path: string) => Client): Client {
    return this.#keep(socket, () => make(this.reach(`${SOCKETS}/${socket}`)));
  }

  #keep<Item extends { close(): void }>(key: string, make: () => Item): Item {
    const known = this.#kept.get(key);
    if (known !== undefined) return known as Item;
    const item = make();
    this.#kept.set(key, item);
    return item;
  }

  async trace(): Promise<BoardTrace> {
    const trace = await BoardTrace.open(this.board);
    this.#closing.push(trace);
    return trace;
  }

  alive(): boolean {
    return String(startTimeOf(this.pid)) === this.note.startTime;
  }

  processes(): readonly SeenProcess[] {
    return this.alive() ? processesWith(this.pid) : [];
  }

  serviceProcesses(service: LabService): readonly SeenProcess[] {
    return this.processes().filter(MARKS[service]);
  }

  logTail(service: string, lines: number): string {
    try {
      return lastLines(readFileSync(this.reach(`${LOG}/${service}.log`), 'utf8'), lines);
    } catch {
      return '';
    }
  }

  close(): void {
    for (const item of [...this.#closing.splice(0), ...this.#kept.values()]) item.close();
    this.#kept.clear();
  }

  async down(): Promise<void> {
    this.close();
    await end(this.note);
  }
}

function lastLines(text: string, lines: number): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new KedgeError({
    code: 'LAB_NOT_ROOT',
    message:
      'the lab needs root: it makes network, mount and process namespaces, and lends its services CAP_NET_RAW, CAP_SYS_NICE and CAP_IPC_LOCK',
    help: 'run it as root: sudo npm start',
  });
}

function requirePrograms(settings: LabSettings): void {
  const missing = [
    ...Object.values(PROGRAMS),
    CUT_BINARY,
    ...(settings.forwarder === undefined ? [] : [settings.forwarder]),
  ].filter((path) => {
    try {
      accessSync(path, constants.R_OK);
      return false;
    } catch {
      return true;
    }
  });
  if (missing.length === 0) return;
  throw new KedgeError({
    code: 'LAB_INCOMPLETE',
    message: `the lab cannot start, ${missing.length} of its parts are not built: ${missing.join(', ')}`,
    help: 'npm run setup',
  });
}

/** The services run under users of their own: every directory down to their programs has to let them through. */
function requireWayIn(): void {
  for (const path of [ROOT, process.execPath]) {
    for (let directory = dirname(path); ; directory = dirname(directory)) {
      if ((statSync(directory).mode & 0o001) === 0) {
        throw new KedgeError({
          code: 'LAB_INCOMPLETE',
          message: `the lab cannot start: its services run under users of their own and cannot reach ${path}, because ${directory} is closed to others`,
          help: `chmod o+x ${directory}, or keep the checkout elsewhere`,
        });
      }
      if (directory === '/') break;
    }
  }
}

/** True when the lab of this name is up. False, too, when that cannot be known without root. */
export function labIsUp(name: string = DEFAULT_NAME): boolean {
  try {
    return readNote(name).state === 'up';
  } catch {
    return false;
  }
}

/**
 * The lab of this name.
 *
 * @throws KedgeError `LAB_NAME`, `LAB_NOT_UP`, `LAB_FORBIDDEN`
 */
export function connectLab(name: string = DEFAULT_NAME): Lab {
  labSettings({ name });
  const found = readNote(name);
  if (found.state === 'up') return new RunningLab(found.note);
  const named = name === DEFAULT_NAME ? '' : ` --name ${name}`;
  throw new KedgeError({
    code: 'LAB_NOT_UP',
    message:
      found.state === 'stale'
        ? `the lab "${name}" is not up any more: its processes are gone`
        : `the lab "${name}" is not up`,
    help: `start it with: npx kedge lab up${named}`,
  });
}

/** How a lab stands. */
export interface LabStatus {
  readonly name: string;
  readonly state: 'up' | 'down' | 'stale';
  readonly pid?: number;
  /** Where its files are, as seen from this machine. */
  readonly root?: string;
  readonly processes?: readonly { readonly pid: number; readonly command: string }[];
  readonly services?: readonly {
    readonly name: LabService;
    readonly processes: number;
    /** Resident memory, shared pages by share (PSS), KiB; missing while it is away. */
    readonly pssKiB?: number;
  }[];
  /** Of all of these together, KiB. */
  readonly pssKiB?: number;
}

/**
 * How the lab of this name stands.
 *
 * @throws KedgeError `LAB_FORBIDDEN`, `LAB_NAME`
 */
export function labStatus(name: string = DEFAULT_NAME): LabStatus {
  labSettings({ name });
  const found = readNote(name);
  if (found.state !== 'up') return { name, state: found.state === 'stale' ? 'stale' : 'down' };
  const lab = new RunningLab(found.note);
  const services = LAB_SERVICES.map((service) => {
    const processes = lab.serviceProcesses(service);
    const memory = processes.map(({ pid }) => pssOf(pid)).filter((kib) => kib !== undefined);
    return {
      name: service,
      processes: processes.length,
      ...(memory.length === 0 ? {} : { pssKiB: memory.reduce((sum, kib) => sum + kib, 0) }),
    };
  });
  return {
    name,
    state: 'up',
    pid: lab.pid,
    root: lab.reach(RUN),
    processes: lab.processes().map(({ pid, command }) => ({ pid, command: command.join(' ') })),
    services,
    pssKiB: services.reduce((sum, { pssKiB = 0 }) => sum + pssKiB, 0),
  };
}

async function end(note: LabNote): Promise<void> {
  const isThere = (): boolean => String(startTimeOf(note.pid)) === note.startTime;
  const signal = (name: NodeJS.Signals): void => {
    // Nothing is signalled by its number alone: it may be somebody else by now.
    if (!isThere()) return;
    try {
      process.kill(note.pid, name);
    } catch {
      // It went meanwhile.
    }
  };
  const waitGone = async (ms: number): Promise<boolean> => {
    for (const until = performance.now() + ms; performance.now() < until; await sleep(20)) {
      if (!isThere()) return true;
    }
    return !isThere();
  };
  signal('SIGTERM');
  if (!(await waitGone(3_000))) signal('SIGKILL');
  if (!(await waitGone(DOWN_WITHIN_MS))) {
    throw new KedgeError({
      code: 'LAB_START',
      message: `the lab "${note.name}" did not end (process ${note.pid})`,
    });
  }
  removeLabDirectory(note.name);
}

/**
 * Ends the lab of this name; a stale note is taken away. False when there was none.
 *
 * @throws KedgeError `LAB_FORBIDDEN`, `LAB_NAME`
 */
export async function labDown(name: string = DEFAULT_NAME): Promise<boolean> {
  labSettings({ name });
  const found = readNote(name);
  if (found.state === 'none') return false;
  if (found.state === 'stale') {
    removeLabDirectory(name);
    return false;
  }
  await end(found.note);
  return true;
}

/**
 * Brings a lab up and waits until all of it works: word present, every worker on it, tables in use, services
 * serving, traffic arriving. When it does not come up, it is taken down again.
 *
 * @throws KedgeError `LAB_NOT_ROOT`, `LAB_INCOMPLETE`, `LAB_NAME`, `LAB_RUNNING`, `LAB_START` (its init ended),
 *   `LAB_NOT_READY` (says which part is missing, with its last words)
 */
export async function labUp(options: LabUpOptions = {}): Promise<Lab> {
  const { out = () => undefined, foreground = false, readyWithinMs = READY_WITHIN_MS, signal } = options;
  requireRoot();
  const settings = labSettings(options);
  requirePrograms(settings);
  requireFreshBundles();
  requireWayIn();
  const { name } = settings;
  const found = readNote(name);
  if (found.state === 'up') {
    throw new KedgeError({
      code: 'LAB_RUNNING',
      message: `the lab "${name}" is up already (process ${found.note.pid})`,
      help: 'npx kedge lab status shows it, npx kedge lab down ends it',
    });
  }
  if (found.state === 'stale') removeLabDirectory(name);
  makeLabDirectory(name);
  writeFileSync(wardenConfigPath(name), wardenFile(settings, process.execPath), { mode: 0o600 });
  out('namespaces, network, services');
  const log = openSync(labLogPath(name), 'w', 0o600);
  const child = spawn(
    PROGRAMS.warden,
    ['--config', wardenConfigPath(name), '--init', ...(foreground ? ['--with-parent'] : [])],
    {
      stdio: ['ignore', log, log],
      detached: !foreground,
      cwd: '/',
    },
  );
  closeSync(log);
  let note: LabNote | undefined;
  let lab: RunningLab | undefined;
  try {
    note = await noteOf(child, settings);
    writeNote(note);
    lab = new RunningLab(note);
    await ready(lab, child, readyWithinMs, out, signal);
    if (!foreground) child.unref();
    return lab;
  } catch (error) {
    lab?.close();
    child.kill('SIGKILL');
    if (note !== undefined) await end(note).catch(() => undefined);
    removeLabDirectory(name);
    throw error;
  }
}

function lastWords(name: string): string {
  try {
    return lastLines(readFileSync(labLogPath(name), 'utf8'), 8);
  } catch {
    return '';
  }
}

function gone(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function startFailure(name: string, child: ChildProcess): KedgeError {
  const how =
    child.exitCode === null ? `by ${child.signalCode ?? 'a signal'}` : `with status ${child.exitCode}`;
  return new KedgeError({
    code: 'LAB_START',
    message: `the init of the lab "${name}" ended ${how}; its last words: ${lastWords(name) || '(none)'}`,
  });
}

async function noteOf(child: ChildProcess, settings: LabSettings): Promise<LabNote> {
  const starterPid = await new Promise<number>((resolve, reject) => {
    child.once('spawn', () => {
      resolve(child.pid ?? 0);
    });
    child.once('error', (cause) => {
      reject(new KedgeError({ code: 'LAB_START', message: `cannot run ${PROGRAMS.warden}`, cause }));
    });
  });
  for (const until = performance.now() + 5_000; performance.now() < until; await sleep(10)) {
    if (gone(child)) throw startFailure(settings.name, child);
    const pid = initUnder(starterPid);
    const startTime = pid === undefined ? undefined : startTimeOf(pid);
    if (pid !== undefined && startTime !== undefined) {
      return { name: settings.name, pid, startTime: String(startTime), starterPid, settings };
    }
  }
  throw new KedgeError({
    code: 'LAB_START',
    message: `the init of the lab "${settings.name}" did not appear; its last words: ${lastWords(settings.name)}`,
  });
}

interface Check {
  readonly part: string;
  /** Whose log tells more. */
  readonly service: string;
  /** Undefined when it holds, otherwise what is missing. */
  readonly missing: () => Promise<string | undefined>;
}

/** What must hold before a lab is called up, in the order in which it comes to hold. */
function checks(lab: Lab): readonly Check[] {
  let trace: BoardTrace | undefined;
  const board = async (): Promise<BoardTrace> => (trace ??= await lab.trace());
  return [
    {
      part: 'the posture word',
      service: 'posture-coordinator',
      missing: async () =>
        (await board()).now.word.epoch > 0n ? undefined : 'no decision has been stored on the board yet',
    },
    {
      part: 'tables and acknowledgements of the data plane',
      service: 'forwarder',
      missing: async () => {
        const { now } = await board();
        const live = now.workers.filter((worker) => worker.live);
        if (live.length === 0) return 'no packet worker is live';
        if (live.some(({ generation }) => generation === 0n)) return 'a packet worker has no tables yet';
        if (live.some(({ epoch }) => epoch < now.word.epoch)) return 'a packet worker is behind the word';
        return undefined;
      },
    },
    {
      part: 'the posture coordinator',
      service: 'posture-coordinator',
      missing: async () => {
        const health = await lab.posture('console').health({ deadlineMs: 2_000 });
        return health === 'SERVING' ? undefined : `it says ${health}`;
      },
    },
    {
      part: 'the governance bridge',
      service: 'vpp-bridge',
      missing: async () => {
        const health = await lab.governance().health({ deadlineMs: 2_000 });
        return health === 'SERVING' ? undefined : `it says ${health}`;
      },
    },
    {
      part: 'the overlay and its routes',
      service: 'overlay',
      missing: () => seeded(lab, 'overlay'),
    },
    {
      part: 'the underlay and its routes',
      service: 'underlay',
      missing: () => seeded(lab, 'underlay'),
    },
    {
      part: 'the ledger',
      service: 'quartermaster',
      missing: async () => {
        const health = await lab.ledger().health({ deadlineMs: 2_000 });
        return health === 'SERVING' ? undefined : `it says ${health}`;
      },
    },
    {
      part: 'the intent',
      service: 'intent',
      missing: async () => {
        const health = await lab.intent().health({ deadlineMs: 2_000 });
        return health === 'SERVING' ? undefined : `it says ${health}`;
      },
    },
    {
      part: 'traffic',
      service: 'traffic-management',
      missing: async () => {
        const report = await lab.traffic().report();
        const arrived = new Set(
          [...report.values()].flatMap(({ flows }) =>
            flows.flatMap(({ class: name, family, packets, rate }) =>
              rate === 0 && packets > 0 ? [`${name} over IPv${family}`] : [],
            ),
          ),
        );
        // Every flow, not just one: until its neighbour is resolved, a sender's kernel holds its packets back.
        const silent = CLASS_NAMES.filter((name) => lab.settings.rates[name] > 0)
          .flatMap((name) => [`${name} over IPv4`, `${name} over IPv6`])
          .filter((flow) => !arrived.has(flow));
        return silent.length === 0 ? undefined : `nothing has arrived of ${silent.join(', ')}`;
      },
    },
  ];
}

async function ready(
  lab: RunningLab,
  child: ChildProcess,
  withinMs: number,
  out: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const until = performance.now() + withinMs;
  for (const { part, service, missing } of checks(lab)) {
    out(part);
    for (let why: string | undefined = 'not looked at yet'; why !== undefined;) {
      signal?.throwIfAborted();
      if (gone(child) || !lab.alive()) throw startFailure(lab.name, child);
      try {
        why = await missing();
      } catch (error) {
        why = error instanceof Error ? error.message : String(error);
      }
      if (why === undefined) break;
      if (performance.now() > until) {
        const words = lab.logTail(service, 6) || lastWords(lab.name);
        throw new KedgeError({
          code: 'LAB_NOT_READY',
          message: `the lab "${lab.name}" did not become ready within ${withinMs / 1000} s: ${part}: ${why}`,
          help: words === '' ? `there is no log of ${service}` : `last words of ${service}: ${words}`,
        });
      }
      await sleep(50);
    }
  }
  lab.close();
}

/** Where a lab keeps what is on this machine and not inside of it. */
export const labPlace = labDirectory;

/**
 * A board of its own for every test, the real warden on it, and actors that play its neighbours.
 * It must not judge what the warden does: the tests do.
 */
import { execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process';
import {
  accessSync,
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { millisOf } from '@kedge/units';
import { wardenConfigText, type WardenConfig } from '../src/index.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const BUILD = join(ROOT, 'build');
export const ACTOR = join(BUILD, 'actor');

/** Builds the warden, the actor and what runs under sanitizers; takes no time when they are there. */
export function buildTests(): void {
  execFileSync('make', ['-C', ROOT, '--silent', 'tests'], { stdio: ['ignore', 'ignore', 'inherit'] });
}

export const KIND = {
  BUDGET: 1,
  LATE_LOOSENING: 2,
  STALE_SERVICE: 3,
  DATAPLANE_KILLED: 4,
  SERVICE_DIED: 5,
  ALARM: 6,
  CLEARED: 7,
} as const;
export const STAGE = { TIGHTEN: 1, DECIDED: 2, PATHS: 3, SESSIONS: 4, DATAPLANE: 5, COMPLETE: 7 } as const;
export const OUTCOME = { APPLIED: 1, UNCHANGED: 2, FAILED: 3 } as const;
/** errno EINPROGRESS. */
export const IN_PROGRESS = 115;

export interface Violation {
  readonly whole: boolean;
  readonly atNs: bigint;
  readonly epoch: bigint;
  readonly deadlineNs: bigint;
  readonly kind: number;
  readonly path: number;
  readonly level: number;
  readonly outcome: number;
  readonly actedAtNs: bigint;
  readonly subject: string;
}

export interface FailClosed {
  readonly level: number;
  readonly epoch: bigint;
  readonly setAtNs: bigint;
  readonly clearedAtNs: bigint;
  readonly count: bigint;
}

/** The warden's segment. */
export interface Shown {
  readonly beatAgeNs: bigint;
  readonly beats: bigint;
  readonly serving: number;
  readonly realtime: number;
  readonly silenceKillNs: bigint;
  readonly staleNs: bigint;
  readonly budgetNs: readonly [bigint, bigint, bigint];
  readonly failClosed: readonly [FailClosed, FailClosed, FailClosed];
  readonly written: bigint;
  readonly violations: readonly Violation[];
}

/** Times and epochs are larger than a JSON number holds. */
const LARGE = /"(\w+Ns|epoch|count|beats|written)":(\[[\d,]+\]|\d+)/g;

function parseShown(text: string): Shown {
  const quoted = text.replace(
    LARGE,
    (_, key: string, value: string) => `"${key}":${value.replace(/\d+/g, '"$&n"')}`,
  );
  return JSON.parse(quoted, (_, value: unknown) =>
    typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
  ) as Shown;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** A process whose standard output is read line by line. */
export class Line {
  readonly child: Child;
  readonly lines: string[] = [];
  log = '';
  status: number | string | undefined;
  private readonly waiting: ((line: string) => void)[] = [];
  readonly ended: Promise<number | string>;

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    this.child.stdin.on('error', () => undefined);
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      const next = this.waiting.shift();
      if (next === undefined) this.lines.push(line);
      else next(line);
    });
    this.child.stderr.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
    this.ended = new Promise((resolve) => {
      this.child.on('close', (status, signal) => {
        this.status = status ?? signal ?? 'error';
        resolve(this.status);
      });
    });
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('not started');
    return this.child.pid;
  }

  line(): Promise<string> {
    const there = this.lines.shift();
    if (there !== undefined) return Promise.resolve(there);
    const next = new Promise<string>((resolve, reject) => {
      this.waiting.push(resolve);
      void this.ended.then((status) => reject(new Error(`ended with ${status}: ${this.log}`)));
    });
    return within(`the next line of ${this.child.spawnargs.join(' ')}`, next);
  }

  /** How it ended, as soon as it has. */
  end(): Promise<number | string> {
    return within(`the end of ${this.child.spawnargs.join(' ')}`, this.ended);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Stops it; resolved when none of its threads runs any more, which on a busy machine takes its time. */
  async stop(): Promise<void> {
    this.kill('SIGSTOP');
    const tasks = `/proc/${this.pid}/task`;
    await until(`the stop of ${this.child.spawnargs.join(' ')}`, () =>
      readdirSync(tasks).every((tid) => / T /.test(readFileSync(`${tasks}/${tid}/stat`, 'latin1'))),
    );
  }
}

/** What is promised, or an error that names what was waited for in vain. */
async function within<T>(what: string, promise: Promise<T>, limitMs = 10_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${limitMs} ms in vain for ${what}`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One neighbour of the warden. */
export class Actor extends Line {
  /** Gives an order; the answer, a time where the order has one. */
  async tell(...order: readonly (string | number)[]): Promise<bigint> {
    this.child.stdin.write(`${order.join(' ')}\n`);
    const answer = BigInt(await this.line());
    if (answer === 0xffff_ffff_ffff_ffffn) throw new Error(`the actor does not know ${order.join(' ')}`);
    return answer;
  }
}

/** Waits until `probe` gives something; fails with what it saw last. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false,
  limitMs = 10_000,
): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const value = probe();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await sleep(5);
  }
}

function memoryDirectory(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

/** The values every test starts from; owners are root, as the actors are. */
export function baseConfig(board: string, changes: Partial<WardenConfig> = {}): WardenConfig {
  return {
    board,
    budgets: { dataplane: millisOf(20), overlay: millisOf(100), underlay: millisOf(200) },
    silenceKill: millisOf(300),
    beatStale: millisOf(1000),
    owners: { posture: 0, 'dataplane-a': 0, 'dataplane-b': 0, 'participant-o': 0, 'participant-u': 0 },
    dataplanes: ['dataplane-a'],
    ...changes,
  };
}

export class Stage {
  readonly board = mkdtempSync(join(memoryDirectory(), 'kedge-warden-'));
  private readonly processes: Line[] = [];

  /** Writes a configuration and starts the warden with it; resolved when it says that it is ready. */
  async warden(changes: Partial<WardenConfig> = {}, sanitized = false): Promise<Line> {
    const file = this.write('warden.conf', wardenConfigText(baseConfig(this.board, changes)));
    const warden = this.run(join(BUILD, sanitized ? 'kedge-warden-sanitized' : 'kedge-warden'), [
      '--config',
      file,
    ]);
    await warden.line();
    return warden;
  }

  write(name: string, text: string): string {
    const file = join(this.board, name);
    writeFileSync(file, text, { mode: 0o644 });
    return file;
  }

  run(command: string, args: readonly string[]): Line {
    // Leaks cannot be looked for in a process that others may be tracing; everything else is.
    const process_ = new Line(command, args, { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' });
    this.processes.push(process_);
    return process_;
  }

  async actor(...args: readonly (string | number)[]): Promise<Actor> {
    return this.play(ACTOR, args);
  }

  /** As another user of the group kedge. */
  async actorAs(uid: number, ...args: readonly (string | number)[]): Promise<Actor> {
    const change = [`--reuid=${uid}`, '--regid=64700', '--clear-groups', '--', ACTOR];
    return this.play('setpriv', args, change);
  }

  private async play(
    command: string,
    [role, ...rest]: readonly (string | number)[],
    before: readonly string[] = [],
  ): Promise<Actor> {
    const actor = new Actor(command, [...before, String(role), this.board, ...rest.map(String)]);
    this.processes.push(actor);
    await actor.line();
    return actor;
  }

  show(): Shown {
    return parseShown(execFileSync(ACTOR, ['show', this.board], { encoding: 'utf8' }));
  }

  /** Violations of a kind, as soon as there are `count`. */
  async violations(kind: number, count = 1): Promise<readonly Violation[]> {
    return until(`${count} violations of kind ${kind}`, () => {
      const found = this.show().violations.filter((v) => v.kind === kind);
      return found.length >= count ? found : undefined;
    });
  }

  /**
   * Waits until the warden has opened what was just put onto the board, and two of its refresh periods more.
   * On a busy machine its main thread takes its time; a segment that it refuses is waited for in vain.
   */
  async seen(): Promise<void> {
    const end = Date.now() + 2_000;
    while (!this.everythingIsMapped() && Date.now() < end) await sleep(10);
    await sleep(250);
  }

  private everythingIsMapped(): boolean {
    const wardens = this.processes.filter(
      ({ child, status }) => status === undefined && /kedge-warden/.test(child.spawnfile),
    );
    const segments = readdirSync(this.board).filter((name) =>
      /^(posture|dataplane-|participant-)/.test(name),
    );
    return wardens.every(({ pid }) => {
      const maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
      return segments.every((name) => maps.includes(join(this.board, name)));
    });
  }

  async close(): Promise<void> {
    for (const one of this.processes) {
      one.kill('SIGCONT');
      one.kill('SIGTERM');
    }
    const end = Date.now() + 3_000;
    for (const one of this.processes) {
      while (one.status === undefined && Date.now() < end) await sleep(10);
      one.kill('SIGKILL');
      await one.ended;
    }
    rmSync(this.board, { recursive: true, force: true });
  }
}

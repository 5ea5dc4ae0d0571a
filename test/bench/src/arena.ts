/**
 * A lab without its coordinator: the conductor stands in its place, everything but the packet worker is on
 * CPU 0. Must not take a figure.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  BOARD,
  ETC,
  FULL_BUDGETS,
  forwarderCommand,
  labSettings,
  LOG,
  PROGRAMS,
  STATE,
  wardenFile,
} from '@kedge/lab';
import { showClocks } from './steal.js';

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const RESULT = `${STATE}/posture-coordinator/result.json`;
const STOPPED_FOR_MS = 80;

export interface ArenaOptions {
  /** What the conductor is to do, after BOARD and RESULT; `journal` is replaced by a path it may write to. */
  readonly job: readonly string[];
  /** Keep every event loop busy and its heap collecting. */
  readonly busy?: boolean;
  /** The packet worker polls and never sleeps; it is then never SCHED_FIFO. */
  readonly poll?: boolean;
  /** The packet worker runs SCHED_FIFO. */
  readonly fifo?: boolean;
  /** What the warden asks of the kernel about idle processors; absent: nothing. */
  readonly cpuLatencyMs?: number;
  /** Packets per second of the class that flows. */
  readonly rate?: number;
  /** Longest time it may take. */
  readonly withinMs: number;
}

type Command = readonly [string, ...string[]];

function taskset(cpu: number, command: readonly string[]): Command {
  return ['/usr/bin/taskset', '-c', String(cpu), ...command];
}

/** Lets go on what has been stopped for a while: the conductor stops itself in some jobs. */
function resumeStopped(mark: string, seen: Map<string, number>): void {
  for (const pid of execFileSync('pgrep', ['-f', mark], { encoding: 'utf8' }).split('\n').filter(Boolean)) {
    let state = '';
    try {
      state = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0] ?? '';
    } catch {
      // It ended meanwhile.
    }
    if (state !== 'T') seen.delete(pid);
    else if (!seen.has(pid)) seen.set(pid, performance.now());
    else if (performance.now() - (seen.get(pid) ?? 0) > STOPPED_FOR_MS) process.kill(Number(pid), 'SIGCONT');
  }
}

async function readyPid(warden: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    warden.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const line = text.split('\n').find((l) => l.includes('"ready"'));
      if (line !== undefined) resolve((JSON.parse(line) as { pid: number }).pid);
    });
    warden.once('exit', (code) => {
      reject(new Error(`bench: the warden ended with ${String(code)} before the arena was ready`));
    });
  });
}

/** Builds the arena, lets the conductor do its job in it, and gives back what it wrote. */
export async function inArena<T>(options: ArenaOptions): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'kedge-bench-'));
  const busy = options.busy === true ? ['--import', here('busy.js')] : [];
  const settings = labSettings({
    name: 'bench',
    // Killed data planes come back at once; nothing else differs from the shipped budgets.
    budgets: { ...FULL_BUDGETS, restartMinMs: 5, restartMaxMs: 5 },
    rates: { ordinary: options.rate ?? 10 },
    portRates: {},
    ...(options.cpuLatencyMs === undefined ? {} : { cpuLatencyMs: options.cpuLatencyMs }),
  });
  const [forwarder, ...forwarderWords] = forwarderCommand(settings);
  const text = wardenFile(
    {
      ...settings,
      commands: {
        'posture-coordinator': taskset(0, [
          ...[process.execPath, ...busy, here('conductor.js'), BOARD, RESULT],
          ...options.job.map((word) => (word === 'journal' ? `${STATE}/posture-coordinator/journal` : word)),
        ]),
        'vpp-bridge': taskset(0, [
          process.execPath,
          ...busy,
          PROGRAMS.bridge,
          '--config',
          `${ETC}/vpp-bridge.json`,
        ]),
        forwarder: [
          forwarder,
          ...forwarderWords.filter((word, i, all) => word !== '--fifo' && all[i - 1] !== '--fifo'),
          ...['--cpu', '1'],
          ...(options.poll === true ? ['--poll'] : []),
          ...(options.fifo === true ? ['--fifo', '50'] : []),
        ],
      },
    },
    process.execPath,
  );
  const configuration = join(directory, 'warden.conf');
  // The conductor stops others and reads the scheduler's clocks; the coordinator in whose place it stands may not.
  const allowed = text.replace(
    /(\[service posture-coordinator\][^[]*?capabilities = )/,
    '$1CAP_KILL CAP_DAC_READ_SEARCH ',
  );
  writeFileSync(configuration, allowed, { mode: 0o644 });
  const hideClocks = showClocks();
  const warden = spawn(
    'taskset',
    ['-c', '0', PROGRAMS.warden, '--config', configuration, '--init', '--with-parent'],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  try {
    const pid = await readyPid(warden);
    const reach = (path: string): string => `/proc/${String(pid)}/root${path}`;
    const giveUp = performance.now() + options.withinMs;
    const stopped = new Map<string, number>();
    while (!existsSync(reach(RESULT))) {
      if (performance.now() > giveUp || warden.exitCode !== null) {
        const log = reach(`${LOG}/posture-coordinator.log`);
        const tail = existsSync(log) ? readFileSync(log, 'utf8').slice(-2000) : 'no log';
        throw new Error(`bench: the conductor did not finish within ${String(options.withinMs)} ms\n${tail}`);
      }
      if (options.job.includes('stop-self')) resumeStopped('conductor.js', stopped);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return JSON.parse(readFileSync(reach(RESULT), 'utf8')) as T;
  } finally {
    warden.kill('SIGTERM');
    const gone = new Promise((resolve) => warden.once('exit', resolve));
    if (warden.exitCode === null && warden.signalCode === null) {
      const force = setTimeout(() => warden.kill('SIGKILL'), 5_000);
      await gone;
      clearTimeout(force);
    }
    hideClocks();
    rmSync(directory, { recursive: true, force: true });
  }
}

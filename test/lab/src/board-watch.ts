/**
 * The watcher of the board (native/board-watch.c): a trace of everything that changed on it, and strikes at
 * exact steps of a transition. It stands outside of everything that it watches.
 * It must not write to the board.
 */
import type { Level } from '@kedge/units';
import { KedgeError } from '@kedge/units';
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { PROGRAMS } from './paths.js';
import { ROUTE_MODES } from './route-topology.js';
import { DATAPLANE } from './topology.js';

/** One look at the board; epochs and times as on it. */
export interface BoardState {
  readonly atNs: bigint;
  readonly word: { readonly epoch: bigint; readonly level: Level; readonly storedAtNs: bigint };
  readonly line: {
    readonly epoch: bigint;
    readonly from: number;
    readonly to: number;
    /** enum kedge_stage: 1 tighten, 2 loosening decided, 5 loosening of the data plane, 6 verify, 7 complete. */
    readonly stage: number;
    readonly receivedAtNs: bigint;
    readonly decidedAtNs: bigint;
    readonly stageAtNs: bigint;
  };
  /** Data plane, overlay, underlay; level 0 = clear. */
  readonly failClosed: readonly {
    readonly epoch: bigint;
    readonly level: number;
    readonly setAtNs: bigint;
  }[];
  readonly violations: bigint;
  readonly safeLevel: number;
  readonly workers: readonly {
    readonly live: boolean;
    /** Table generation in use; 0 = none. */
    readonly generation: bigint;
    readonly epoch: bigint;
    readonly level: number;
    readonly startedAtNs: bigint;
    readonly finishedAtNs: bigint;
  }[];
  /** What overlay and underlay have wholly applied, by name. */
  readonly participants: readonly ParticipantSeen[];
  readonly incarnations: { readonly posture: bigint; readonly warden: bigint; readonly dataplane: bigint };
}

/** An acknowledgement slot of a participant; epoch 0 = none yet. */
export interface ParticipantSeen {
  readonly name: string;
  readonly epoch: bigint;
  readonly level: number;
  /** enum kedge_outcome: 1 applied, 2 unchanged, 3 failed, 4 cancelled. */
  readonly outcome: number;
  readonly changes: number;
  readonly startedAtNs: bigint;
  readonly finishedAtNs: bigint;
}

interface RawState {
  readonly at: string;
  readonly word: { epoch: string; level: Level; storedAt: string };
  readonly line: {
    epoch: string;
    from: number;
    to: number;
    stage: number;
    receivedAt: string;
    decidedAt: string;
    stageAt: string;
  };
  readonly failClosed: { epoch: string; level: number; setAt: string }[];
  readonly violations: string;
  readonly dataplane: {
    safeLevel: number;
    workers: {
      live: number;
      generation: string;
      epoch: string;
      level: number;
      startedAt: string;
      finishedAt: string;
    }[];
  };
  readonly participants: {
    name: string;
    epoch: string;
    level: number;
    outcome: number;
    changes: number;
    startedAt: string;
    finishedAt: string;
  }[];
  readonly incarnations: { posture: string; warden: string; dataplane: string };
}

function stateOf(raw: RawState): BoardState {
  const { word, line, incarnations } = raw;
  return {
    atNs: BigInt(raw.at),
    word: { epoch: BigInt(word.epoch), level: word.level, storedAtNs: BigInt(word.storedAt) },
    line: {
      epoch: BigInt(line.epoch),
      from: line.from,
      to: line.to,
      stage: line.stage,
      receivedAtNs: BigInt(line.receivedAt),
      decidedAtNs: BigInt(line.decidedAt),
      stageAtNs: BigInt(line.stageAt),
    },
    failClosed: raw.failClosed.map(({ epoch, level, setAt }) => ({
      epoch: BigInt(epoch),
      level,
      setAtNs: BigInt(setAt),
    })),
    violations: BigInt(raw.violations),
    safeLevel: raw.dataplane.safeLevel,
    workers: raw.dataplane.workers.map((worker) => ({
      live: worker.live !== 0,
      generation: BigInt(worker.generation),
      epoch: BigInt(worker.epoch),
      level: worker.level,
      startedAtNs: BigInt(worker.startedAt),
      finishedAtNs: BigInt(worker.finishedAt),
    })),
    participants: raw.participants.map(({ name, epoch, level, outcome, changes, startedAt, finishedAt }) => ({
      name,
      epoch: BigInt(epoch),
      level,
      outcome,
      changes,
      startedAtNs: BigInt(startedAt),
      finishedAtNs: BigInt(finishedAt),
    })),
    incarnations: {
      posture: BigInt(incarnations.posture),
      warden: BigInt(incarnations.warden),
      dataplane: BigInt(incarnations.dataplane),
    },
  };
}

function failure(message: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'LAB_WATCH',
    message,
    help: 'is the lab up? try: kedge lab status',
    ...(cause === undefined ? {} : { cause }),
  });
}

const WATCHED = ROUTE_MODES.flatMap((name) => ['--participant', name]);

/** A running trace: every state of the board since it began, in order. */
export class BoardTrace {
  readonly #child: ChildProcess;
  readonly #states: BoardState[] = [];
  readonly #waiting = new Set<() => void>();
  #ended: KedgeError | undefined;

  private constructor(board: string) {
    const child = spawn(
      PROGRAMS.boardWatch,
      ['trace', '--board', board, '--dataplane', DATAPLANE, ...WATCHED],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
    this.#child = child;
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#states.push(stateOf(JSON.parse(line) as RawState));
      this.#wake();
    });
    child.on('error', (cause) => {
      this.#end(failure(`cannot run ${PROGRAMS.boardWatch}`, cause));
    });
    child.on('close', () => {
      this.#end(failure(`the watch of ${board} ended: ${said.trim()}`));
    });
  }

  /**
   * Begins to watch; resolves when the first state is there.
   *
   * @throws KedgeError `LAB_WATCH`
   */
  static async open(board: string): Promise<BoardTrace> {
    const trace = new BoardTrace(board);
    await trace.until(() => true, 5_000);
    return trace;
  }

  get states(): readonly BoardState[] {
    return this.#states;
  }

  /** The newest state. */
  get now(): BoardState {
    const last = this.#states.at(-1);
    if (last === undefined) throw this.#ended ?? failure('nothing was seen of the board yet');
    return last;
  }

  /**
   * The first state, of those to come or the present one, for which `holds` is true; undefined when none came
   * in time.
   *
   * @throws KedgeError `LAB_WATCH` when the watch ended.
   */
  async until(holds: (state: BoardState) => boolean, withinMs: number): Promise<BoardState | undefined> {
    const deadline = performance.now() + withinMs;
    for (let seen = Math.max(0, this.#states.length - 1); ;) {
      for (; seen < this.#states.length; seen += 1) {
        const state = this.#states[seen];
        if (state !== undefined && holds(state)) return state;
      }
      if (this.#ended !== undefined) throw this.#ended;
      const left = deadline - performance.now();
      if (left <= 0) return undefined;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, left);
        this.#waiting.add(wake);
      });
    }
  }

  close(): void {
    this.#ended ??= failure('the watch was closed');
    this.#child.stdin?.end();
    this.#child.kill('SIGTERM');
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #end(error: KedgeError): void {
    this.#ended ??= error;
    this.#wake();
  }
}

/** When to strike: a step of a transition with a later epoch than `afterEpoch`. */
export type Step =
  | 'now'
  | 'decided'
  | 'journaled'
  | 'stored'
  | 'acknowledged'
  | 'carried'
  | 'verified'
  | 'complete'
  | `stage:${1 | 2 | 3 | 4 | 5 | 6 | 7}`;

export interface Strike {
  readonly board: string;
  readonly afterEpoch: bigint;
  readonly when: Step;
  readonly signal: 'STOP' | 'KILL';
  /** At least one. */
  readonly pids: readonly number[];
  /** The file whose change means "journaled". */
  readonly journal?: string;
  readonly timeoutMs: number;
}

/** What a strike came to. */
export interface Struck {
  /** False when the step was not seen in time; nobody was struck then. */
  readonly seen: boolean;
  readonly processes: number;
  readonly seenAtNs: bigint;
  readonly doneAtNs: bigint;
  readonly wordEpoch: bigint;
  readonly lineEpoch: bigint;
  readonly stage: number;
}

/** An armed watcher. */
export interface ArmedStrike {
  readonly struck: Promise<Struck>;
  cancel(): void;
}

/**
 * Arms a watcher that signals processes the instant it sees the step; resolves when it watches.
 *
 * @throws KedgeError `LAB_WATCH`
 */
export async function armStrike(strike: Strike): Promise<ArmedStrike> {
  if (strike.pids.length === 0)
    throw failure(`cannot strike at ${strike.when}: there is no process to strike`);
  const child = spawn(
    PROGRAMS.boardWatch,
    [
      'strike',
      ...['--board', strike.board, '--dataplane', DATAPLANE, '--after', String(strike.afterEpoch)],
      ...WATCHED,
      ...['--when', strike.when, '--signal', strike.signal, '--timeout', String(strike.timeoutMs)],
      ...(strike.journal === undefined ? [] : ['--journal', strike.journal]),
      ...strike.pids.flatMap((pid) => ['--pid', String(pid)]),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
  const lines: Record<string, unknown>[] = [];
  let wake: () => void = () => undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
    wake();
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      resolve(status);
    });
  });
  const armed = new Promise<void>((resolve) => (wake = resolve));
  const early = await Promise.race([armed.then(() => 'armed' as const), closed]);
  if (early !== 'armed' && lines.length === 0)
    throw failure(`cannot watch for ${strike.when}: ${said.trim()}`);
  return {
    struck: closed.then((status) => {
      const last = lines[1];
      if (last === undefined)
        throw failure(`the watch for ${strike.when} ended with ${String(status)}: ${said.trim()}`);
      return {
        seen: last['seen'] === true,
        processes: Number(last['struck']),
        seenAtNs: BigInt(String(last['seenAt'])),
        doneAtNs: BigInt(String(last['doneAt'])),
        wordEpoch: BigInt(String(last['wordEpoch'])),
        lineEpoch: BigInt(String(last['lineEpoch'])),
        stage: Number(last['stage']),
      };
    }),
    cancel: () => {
      child.kill('SIGTERM');
    },
  };
}

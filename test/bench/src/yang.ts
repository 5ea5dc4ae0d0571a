/**
 * What the YANG binding costs beside libyang alone: modules, a large configuration, its differences, the event loop
 * meanwhile, and the memory afterwards; and what compiling from such data costs. Must not give one side anything that
 * the other has not.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';

import type { Bench } from './bench.js';
import { compileBench } from './compile.js';
import { goalOf, hostOf, percentile, rowOf } from './figures.js';
import { DIRECTORIES, documentOf } from './yang-material.js';

const INTERFACES = 10_000;
const CHANGES = 100;
const SAMPLES = 31;
const WARM_UP = 8;
const REST_MS = 100;
/** Loading is short: more of it, for the same certainty. */
const LOADS_PER_SAMPLE = 5;
const ROUNDS = 1_000;
const OVERHEAD = 1.15;

/**
 * What an allocator does with memory that is given back is not what is measured: both sides keep it, and neither asks
 * the kernel for the same pages again in every round.
 */
const KEPT = { MALLOC_TRIM_THRESHOLD_: String(2 ** 30), MALLOC_MMAP_THRESHOLD_: String(2 ** 25) };

/** One of the two programs: a word in, its answer out. */
interface Side {
  ask(word: string): Promise<string>;
  end(): void;
}

function sideOf(command: string, words: readonly string[]): Side {
  const child = spawn(command, words, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...KEPT },
  });
  // Who has ended is told by the answer that does not come.
  child.stdin.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    ask: async (word) => {
      child.stdin.write(`${word}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`bench: ${command} has ended`);
      return value;
    },
    end: () => child.stdin.end(),
  };
}

const median = (all: readonly number[]): number =>
  percentile(
    [...all].sort((a, b) => a - b),
    0.5,
  );

/** Resident memory after so many rounds, as a share of what it was before: in a process that does nothing else. */
function memoryAfter(rounds: number): number {
  const program = join(import.meta.dirname, 'yang-memory.js');
  return Number(
    execFileSync(process.execPath, ['--expose-gc', program, String(rounds)], { encoding: 'utf8' }),
  );
}

export const yang: Bench = async (options) => {
  const { samples = SAMPLES, quick = false, progress } = options;
  const directory = mkdtempSync(join(tmpdir(), 'kedge-bench-yang-'));
  const count = quick ? INTERFACES / 10 : INTERFACES;
  const [before, after] = [documentOf(count), documentOf(count, count / CHANGES)];
  writeFileSync(join(directory, 'before.json'), before);
  writeFileSync(join(directory, 'after.json'), after);
  const documents = [join(directory, 'before.json'), join(directory, 'after.json')];
  const sides = {
    mine: sideOf(process.execPath, [join(import.meta.dirname, 'yang-side.js'), ...documents]),
    theirs: sideOf(join(import.meta.dirname, '../build/yang'), [...DIRECTORIES, ...documents]),
  };
  const mine = { load: [] as number[], parse: [] as number[], diff: [] as number[], read: [] as number[] };
  const theirs = { load: [] as number[], parse: [] as number[], diff: [] as number[] };
  const taken = { mine, theirs };
  try {
    progress(`${ROUNDS} rounds of 100 interfaces`);
    const memory = memoryAfter(quick ? ROUNDS / 10 : ROUNDS);
    progress(`${count} interfaces, ${(before.length / 1e6).toFixed(1)} MB, in turns with libyang alone`);
    // In turns, and in turns who begins: whatever the machine does meanwhile, it does to both.
    const inTurns = async (word: 'load' | 'parse' | 'diff', rounds: number): Promise<void> => {
      // Each thread of a pool has memory of its own, which it is given when it first needs it.
      for (let i = 0; i < WARM_UP; i += 1)
        for (const side of [sides.theirs, sides.mine]) await side.ask(word);
      for (let i = 0; i < rounds; i += 1) {
        for (const who of i % 2 === 0 ? (['theirs', 'mine'] as const) : (['mine', 'theirs'] as const)) {
          taken[who][word].push(Number(await sides[who].ask(word)));
          await wait(REST_MS);
        }
      }
    };
    await inTurns('load', samples * LOADS_PER_SAMPLE);
    await inTurns('parse', samples);
    await inTurns('diff', samples);
    for (let i = 0; i < samples; i += 1) {
      const [ns, changes] = (await sides.mine.ask('read')).split(' ').map(Number);
      if (ns === undefined || changes !== CHANGES)
        throw new Error(`bench: ${String(changes)} changes were found, not ${String(CHANGES)}`);
      mine.read.push(ns);
    }
    const late = JSON.parse(await sides.mine.ask('late')) as number[];
    const compiling = await compileBench(options);
    const ratio = (name: 'load' | 'parse' | 'diff'): number => median(mine[name]) / median(theirs[name]);
    const lateP99 = percentile(
      late.toSorted((x, y) => x - y),
      0.99,
    );
    return {
      bench: 'yang',
      host: hostOf(),
      rows: [
        rowOf('modules loaded by the binding', mine.load, 'ms'),
        rowOf('modules loaded by libyang alone', theirs.load, 'ms'),
        rowOf('parsed and validated by the binding', mine.parse, 'ms'),
        rowOf('parsed and validated by libyang alone', theirs.parse, 'ms'),
        rowOf('compared by the binding', mine.diff, 'ms'),
        rowOf('compared by libyang alone', theirs.diff, 'ms'),
        rowOf('changes read', mine.read, 'ms'),
        rowOf('event loop late meanwhile', late, 'ms'),
        ...compiling.rows,
      ],
      ratios: {
        'load, binding / libyang alone': ratio('load'),
        'parse, binding / libyang alone': ratio('parse'),
        'diff, binding / libyang alone': ratio('diff'),
        [`memory after ${ROUNDS} rounds / before`]: memory,
        ...compiling.ratios,
      },
      goals: [
        goalOf('load, over libyang alone', OVERHEAD, ratio('load')),
        goalOf('parse and validate, over libyang alone', OVERHEAD, ratio('parse')),
        goalOf('diff, over libyang alone', OVERHEAD, ratio('diff')),
        goalOf('event loop late, p99 ms', 20, lateP99 / 1e6),
        goalOf('memory after the rounds, over before', 1.1, memory),
        ...(compiling.goals ?? []),
      ],
    };
  } finally {
    for (const side of Object.values(sides)) side.end();
    rmSync(directory, { recursive: true });
  }
};

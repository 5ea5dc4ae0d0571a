/**
 * What the YANG binding costs beside libyang alone: modules, a large configuration, its differences, the event loop
 * meanwhile, and the memory afterwards; and what compiling from such data costs. Must not give one side anything that
 * the other has not.
 */
import type { DataTree } from '@kedge/libyang-ts';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';

import type { Bench } from './bench.js';
import { compileBench } from './compile.js';
import { goalOf, hostOf, percentile, rowOf } from './figures.js';
import { DIRECTORIES, documentOf, load } from './yang-material.js';

const INTERFACES = 10_000;
const CHANGES = 100;
const SAMPLES = 15;
const WARM_UP = 8;
const REST_MS = 100;
/** Loading is short: more of it, for the same certainty. */
const LOADS_PER_SAMPLE = 5;
const ROUNDS = 1_000;
const OVERHEAD = 1.15;

/** The program beside: a word in, the nanoseconds that it took out. */
function peer(before: string, after: string): { ask(word: string): Promise<number>; end(): void } {
  const program = join(import.meta.dirname, '../build/yang');
  const child = spawn(program, [...DIRECTORIES, before, after], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    ask: async (word) => {
      child.stdin.write(`${word}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error('bench: the program beside has ended');
      return Number(value);
    },
    end: () => child.stdin.end(),
  };
}

async function timed<T>(work: () => T | Promise<T>): Promise<{ ns: number; result: T }> {
  const from = monotonicNs();
  const result = await work();
  return { ns: Number(monotonicNs() - from), result };
}

/** How late a timer of a millisecond comes while `work` goes on, in nanoseconds. */
async function watched<T>(late: number[], work: () => Promise<T>): Promise<T> {
  let done = false;
  const watching = (async () => {
    while (!done) {
      const from = monotonicNs();
      await wait(1);
      late.push(Math.max(0, Number(monotonicNs() - from) - 1e6));
    }
  })();
  const result = await work();
  done = true;
  await watching;
  return result;
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
  const beside = peer(join(directory, 'before.json'), join(directory, 'after.json'));
  const mine = { load: [] as number[], parse: [] as number[], diff: [] as number[], read: [] as number[] };
  const theirs = { load: [] as number[], parse: [] as number[], diff: [] as number[] };
  try {
    progress(`${ROUNDS} rounds of 100 interfaces`);
    const memory = memoryAfter(quick ? ROUNDS / 10 : ROUNDS);
    progress(`${count} interfaces, ${(before.length / 1e6).toFixed(1)} MB, in turns with libyang alone`);
    const context = load();
    const trees: DataTree[] = [];
    for (const document of [before, after]) trees.push(await context.parseConfiguration(document));
    const [a, b] = trees;
    if (a === undefined || b === undefined) throw new Error('bench: nothing was parsed');
    // Each thread of the pool has memory of its own, which it is given when it first needs it.
    for (let i = 0; i < WARM_UP; i += 1) {
      await beside.ask('parse');
      (await context.parseConfiguration(before)).dispose();
    }
    const late: number[] = [];
    // In turns, one kind after the other: whatever the machine does meanwhile, it does to both, and both allocators go
    // through the same sequence. What frees on another thread is given the time for it.
    for (let i = 0; i < samples * LOADS_PER_SAMPLE; i += 1) {
      theirs.load.push(await beside.ask('load'));
      const loaded = await timed(load);
      mine.load.push(loaded.ns);
      loaded.result.dispose();
    }
    for (let i = 0; i < samples; i += 1) {
      theirs.parse.push(await beside.ask('parse'));
      const parsed = await watched(late, () => timed(() => context.parseConfiguration(before)));
      mine.parse.push(parsed.ns);
      parsed.result.dispose();
      await wait(REST_MS);
    }
    for (let i = 0; i < samples; i += 1) {
      theirs.diff.push(await beside.ask('diff'));
      const compared = await watched(late, () => timed(() => context.diff(a, b)));
      mine.diff.push(compared.ns);
      const read = await watched(late, () =>
        timed(async () => {
          let changes = 0;
          for await (const change of compared.result) changes += change.op === 'replace' ? 1 : 0;
          return changes;
        }),
      );
      mine.read.push(read.ns);
      compared.result.dispose();
      if (read.result !== CHANGES)
        throw new Error(`bench: ${read.result} changes were found, not ${CHANGES}`);
    }
    for (const tree of trees) tree.dispose();
    context.dispose();
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
    beside.end();
    rmSync(directory, { recursive: true });
  }
};

/**
 * What the YANG binding costs beside libyang alone: modules, a large configuration, its differences, the event loop
 * meanwhile, and the memory afterwards. Must not give one side anything that the other has not.
 */
import { Context, type DataTree } from '@kedge/libyang-ts';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import type { Bench } from './bench.js';
import { goalOf, hostOf, percentile, rowOf } from './figures.js';

const DIRECTORIES = ['/usr/share/yuma/nmda-modules/ietf', '/usr/share/yuma/modules/ietf'] as const;
const INTERFACES = 10_000;
const CHANGES = 100;
const SAMPLES = 7;
/** Loading is short: more of it, for the same certainty. */
const LOADS_PER_SAMPLE = 5;
const ROUNDS = 1_000;
const WARM_ROUNDS = 100;
const OVERHEAD = 1.15;

/** Configuration of so many interfaces, of which every so many is described otherwise. */
function documentOf(count: number, otherwise = Infinity): string {
  const list = Array.from({ length: count }, (_, i) => ({
    name: `eth${i}`,
    description: (i + 1) % otherwise === 0 ? `moved port number ${i}` : `access port number ${i}`,
    type: 'iana-if-type:ethernetCsmacd',
    enabled: i % 2 === 0,
    'ietf-ip:ipv4': {
      mtu: 1400 + (i % 100),
      address: [{ ip: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`, 'prefix-length': 24 }],
    },
    'ietf-ip:ipv6': { address: [{ ip: `2001:db8::${i.toString(16)}`, 'prefix-length': 64 }] },
  }));
  return JSON.stringify({ 'ietf-interfaces:interfaces': { interface: list } });
}

function load(): Context {
  const context = new Context({ searchDirectories: DIRECTORIES });
  for (const name of ['ietf-interfaces', 'ietf-ip', 'iana-if-type']) context.load(name, { features: 'all' });
  return context;
}

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

/** Reading and disposing again and again: resident memory after it, as a share of what it was before. */
async function memoryAfter(rounds: number): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const context = load();
  const document = documentOf(100);
  const round = async (count: number): Promise<number> => {
    for (let i = 0; i < count; i += 1) {
      const tree = await context.parseConfiguration(document);
      tree.dispose();
    }
    collect();
    return process.memoryUsage().rss;
  };
  const before = await round(WARM_ROUNDS);
  const after = await round(rounds);
  context.dispose();
  return after / before;
}

export const yang: Bench = async ({ samples = SAMPLES, quick = false, progress }) => {
  const directory = mkdtempSync(join(tmpdir(), 'kedge-bench-yang-'));
  const count = quick ? INTERFACES / 10 : INTERFACES;
  const [before, after] = [documentOf(count), documentOf(count, count / CHANGES)];
  writeFileSync(join(directory, 'before.json'), before);
  writeFileSync(join(directory, 'after.json'), after);
  const beside = peer(join(directory, 'before.json'), join(directory, 'after.json'));
  const mine = { load: [] as number[], parse: [] as number[], diff: [] as number[], read: [] as number[] };
  const theirs = { load: [] as number[], parse: [] as number[], diff: [] as number[] };
  try {
    // First: what comes after leaves the heap larger.
    progress(`${ROUNDS} rounds of 100 interfaces`);
    const memory = await memoryAfter(quick ? ROUNDS / 10 : ROUNDS);
    progress(`${count} interfaces, ${(before.length / 1e6).toFixed(1)} MB, in turns with libyang alone`);
    const context = load();
    const trees: DataTree[] = [];
    for (const document of [before, after]) trees.push(await context.parseConfiguration(document));
    const [a, b] = trees;
    if (a === undefined || b === undefined) throw new Error('bench: nothing was parsed');
    await beside.ask('parse');
    const late: number[] = [];
    // In turns: whatever the machine does meanwhile, it does to both.
    for (let i = 0; i < samples; i += 1) {
      for (let j = 0; j < LOADS_PER_SAMPLE; j += 1) {
        theirs.load.push(await beside.ask('load'));
        const loaded = await timed(load);
        mine.load.push(loaded.ns);
        loaded.result.dispose();
      }
      theirs.parse.push(await beside.ask('parse'));
      const parsed = await watched(late, () => timed(() => context.parseConfiguration(before)));
      mine.parse.push(parsed.ns);
      parsed.result.dispose();
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
      ],
      ratios: {
        'load, binding / libyang alone': ratio('load'),
        'parse, binding / libyang alone': ratio('parse'),
        'diff, binding / libyang alone': ratio('diff'),
        [`memory after ${ROUNDS} rounds / before`]: memory,
      },
      goals: [
        goalOf('load, over libyang alone', OVERHEAD, ratio('load')),
        goalOf('parse and validate, over libyang alone', OVERHEAD, ratio('parse')),
        goalOf('diff, over libyang alone', OVERHEAD, ratio('diff')),
        goalOf('event loop late, p99 ms', 20, lateP99 / 1e6),
        goalOf('memory after the rounds, over before', 1.1, memory),
      ],
    };
  } finally {
    beside.end();
    rmSync(directory, { recursive: true });
  }
};

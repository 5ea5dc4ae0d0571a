/**
 * The binding's side of the benchmark, the counterpart of native/yang.c: a program of its own that does what it is told
 * by words on its standard input, and answers each with the nanoseconds that it took.
 *
 *   node yang-side.js BEFORE.json AFTER.json
 *
 * "load", "parse" and "diff" are those of libyang alone; "read" goes through the changes of a comparison, and answers
 * how long that took and how many there were; "late" answers, as JSON, how late a timer of a millisecond came while the
 * others went on. Must not count what tidies up.
 */
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';

import { load } from './yang-material.js';

async function timed<T>(work: () => T | Promise<T>): Promise<{ ns: number; result: T }> {
  const from = monotonicNs();
  const result = await work();
  return { ns: Number(monotonicNs() - from), result };
}

const late: number[] = [];

/** Notes how late a timer of a millisecond comes while `work` goes on. */
async function watched<T>(work: () => Promise<T>): Promise<T> {
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

const [before = '', after = ''] = process.argv.slice(2).map((path) => readFileSync(path, 'utf8'));
const context = load();
const a = await context.parseConfiguration(before);
const b = await context.parseConfiguration(after);

/** What it took, of something that is not needed any more. */
function nsOf({ ns, result }: { readonly ns: number; readonly result: { dispose(): void } }): string {
  result.dispose();
  return String(ns);
}

async function answer(word: string): Promise<string> {
  switch (word) {
    case 'load':
      return nsOf(await timed(load));
    case 'parse':
      return nsOf(await watched(() => timed(() => context.parseConfiguration(before))));
    case 'diff':
      return nsOf(await watched(() => timed(() => context.diff(a, b))));
    case 'read': {
      using diff = await context.diff(a, b);
      const { ns, result } = await watched(() =>
        timed(async () => {
          let changes = 0;
          for await (const change of diff) changes += change.op === 'replace' ? 1 : 0;
          return changes;
        }),
      );
      return `${String(ns)} ${String(result)}`;
    }
    case 'late':
      return JSON.stringify(late);
    default:
      throw new Error(`bench: no such word: ${word}`);
  }
}

for await (const word of createInterface({ input: process.stdin })) {
  process.stdout.write(`${await answer(word)}\n`);
}
for (const each of [a, b, context]) each.dispose();

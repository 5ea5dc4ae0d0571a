/**
 * How many records a second become durable: in groups with 2,000 callers that each wait, and one by one beside plain
 * flushes of the same bytes; and what the process grows by. Must not judge what was written.
 */
import { closeSync, fdatasyncSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { floorOf, goalOf, rateRowOf, type Row } from './figures.js';
import type { LedgerBench } from './ledger-part.js';
import { recordFor, storeForBench } from './ledger-store.js';

const CALLERS = 2_000;
/** Of one sample. */
const RECORDS = 50_000;
const SAMPLES = 40;
/** Callers that each wait for a record with a flush of its own. */
const SINGLE_CALLERS = 64;
/** Of one turn of single records, and of plain flushes. */
const TURN = 400;
const TURNS = 20;
const MIB = 1024 * 1024;
const GROWTH_MIB = 32;

const nowNs = (): number => Number(process.hrtime.bigint());

export const ledgerAppend: LedgerBench = async ({ samples = SAMPLES, progress }) => {
  progress(`${samples} times ${RECORDS} records, ${CALLERS} callers that wait for each`);
  const groups = await inGroups(samples);
  progress(`${TURNS} turns of ${TURN} records one by one, and of plain flushes of the same bytes`);
  const { single, alone, plain } = await oneByOne();
  const ratio = partOf(single, plain);
  return {
    rows: [groups.row, single, alone, plain],
    ratios: {
      'one by one, against plain flushes': ratio,
      'one by one, one caller, against plain flushes': partOf(alone, plain),
      'processor time of a record in a group, us': groups.processorUs,
      'records over whose second half memory is watched': samples * RECORDS,
    },
    goals: [
      floorOf('records in groups, 1/s', 50_000, groups.row.p50),
      floorOf('one by one, against plain flushes', 0.9, ratio),
      // What is held is bounded and full long before; the rest is the collector's and the allocator's slack.
      goalOf('growth of memory over the second half, MiB', GROWTH_MIB, groups.grownMib),
    ],
  };
};

function partOf(part: Row, whole: Row): number {
  return Math.round((part.p50 / whole.p50) * 1_000) / 1_000;
}

interface Groups {
  readonly row: Row;
  readonly grownMib: number;
  readonly processorUs: number;
}

async function inGroups(samples: number): Promise<Groups> {
  const bench = await storeForBench();
  let number = 0;
  const run = async (count: number): Promise<void> => {
    const until = number + count;
    const caller = async (): Promise<void> => {
      while (number < until) await bench.store.append(recordFor((number += 1)));
    };
    await Promise.all(Array.from({ length: CALLERS }, caller));
  };
  await run(RECORDS);
  let before = process.memoryUsage.rss();
  const cpu = process.cpuUsage();
  const perRecord: number[] = [];
  for (let n = 0; n < samples; n += 1) {
    if (n === Math.floor(samples / 2)) before = process.memoryUsage.rss();
    const begun = nowNs();
    await run(RECORDS);
    perRecord.push((nowNs() - begun) / RECORDS);
  }
  const grownMib = Math.round(((process.memoryUsage.rss() - before) / MIB) * 10) / 10;
  const { user, system } = process.cpuUsage(cpu);
  const processorUs = Math.round(((user + system) / (samples * RECORDS)) * 10) / 10;
  await bench.end();
  return { processorUs, row: rateRowOf(`records in groups, ${CALLERS} callers`, perRecord), grownMib };
}

interface OneByOne {
  readonly single: Row;
  /** One caller alone, which has nothing to give before the last one is durable. */
  readonly alone: Row;
  readonly plain: Row;
}

/** In turns: what the machine does meanwhile strikes all. */
async function oneByOne(): Promise<OneByOne> {
  const bench = await storeForBench({ flush: 'every', limits: { tileMs: 600_000 } });
  const directory = mkdtempSync(join(dirname(bench.directory), 'plain-'));
  const descriptor = openSync(join(directory, 'file'), 'w');
  let number = 0;
  const run = async (callers: number, count: number): Promise<number> => {
    const until = number + count;
    const caller = async (): Promise<void> => {
      while (number < until) await bench.store.append(recordFor((number += 1)));
    };
    const begun = nowNs();
    await Promise.all(Array.from({ length: callers }, caller));
    return (nowNs() - begun) / count;
  };
  await run(SINGLE_CALLERS, TURN);
  const before = bench.store.status().walBytes;
  await run(SINGLE_CALLERS, TURN);
  const bytes = Buffer.alloc(Math.round((bench.store.status().walBytes - before) / TURN), 7);
  // A file of its length already, as the store makes room before it writes.
  writeSync(descriptor, Buffer.alloc(TURNS * TURN * bytes.length));
  fsyncSync(descriptor);
  let at = 0;
  // By calls that wait: nothing but the disk is between one flush and the next.
  const flushPlainly = (): number => {
    const begun = nowNs();
    for (let n = 0; n < TURN; n += 1) {
      writeSync(descriptor, bytes, 0, bytes.length, at);
      fdatasyncSync(descriptor);
      at += bytes.length;
    }
    return (nowNs() - begun) / TURN;
  };
  const [singles, alones, plains]: [number[], number[], number[]] = [[], [], []];
  for (let turn = 0; turn < TURNS; turn += 1) {
    singles.push(await run(SINGLE_CALLERS, TURN));
    plains.push(flushPlainly());
    alones.push(await run(1, TURN / 4));
  }
  closeSync(descriptor);
  rmSync(directory, { recursive: true });
  await bench.end();
  return {
    single: rateRowOf(`records one by one, ${SINGLE_CALLERS} callers`, singles),
    alone: rateRowOf('records one by one, one caller', alones),
    plain: rateRowOf('plain flushes of the same bytes', plains),
  };
}

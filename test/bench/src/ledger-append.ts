/**
 * How many records a second become durable: in groups with 2,000 callers that each wait, and one by one beside plain
 * flushes of the same bytes; and what the process grows by. Must not judge what was written.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { floorOf, goalOf, rateRowOf, type Row } from './figures.js';
import type { LedgerBench } from './ledger-part.js';
import { recordFor, storeForBench } from './ledger-store.js';

const CALLERS = 2_000;
/** Of one sample. */
const RECORDS = 50_000;
const SAMPLES = 40;
/** Of one turn of single records, and of plain flushes. */
const TURN = 200;
const TURNS = 20;
const MIB = 1024 * 1024;
const GROWTH_MIB = 32;

const nowNs = (): number => Number(process.hrtime.bigint());

export const ledgerAppend: LedgerBench = async ({ samples = SAMPLES, progress }) => {
  progress(`${samples} times ${RECORDS} records, ${CALLERS} callers that wait for each`);
  const groups = await inGroups(samples);
  progress(`${TURNS} turns of ${TURN} records one by one, and of plain flushes of the same bytes`);
  const { single, plain } = await oneByOne();
  const ratio = Math.round((single.p50 / plain.p50) * 1_000) / 1_000;
  return {
    rows: [groups.row, single, plain],
    ratios: {
      'one by one, against plain flushes': ratio,
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

/** In turns: what the machine does meanwhile strikes both. */
async function oneByOne(): Promise<{ readonly single: Row; readonly plain: Row }> {
  const bench = await storeForBench({ flush: 'every', limits: { tileMs: 600_000 } });
  const directory = mkdtempSync(join(dirname(bench.directory), 'plain-'));
  const handle = await open(join(directory, 'file'), 'w');
  const measure = async (): Promise<number> => {
    const before = bench.store.status().walBytes;
    await Promise.all(Array.from({ length: TURN }, () => bench.store.append(recordFor((number += 1)))));
    return Math.round((bench.store.status().walBytes - before) / TURN);
  };
  let number = 0;
  const bytes = Buffer.alloc(await measure(), 7);
  // A file of its length already, as the store makes room before it writes.
  await handle.writeFile(Buffer.alloc((TURNS + 1) * TURN * bytes.length));
  await handle.sync();
  const singles: number[] = [];
  const plains: number[] = [];
  let at = 0;
  for (let turn = 0; turn < TURNS; turn += 1) {
    const begun = nowNs();
    await measure();
    singles.push((nowNs() - begun) / TURN);
    const plainBegun = nowNs();
    for (let n = 0; n < TURN; n += 1) {
      await handle.write(bytes, 0, bytes.length, at);
      await handle.datasync();
      at += bytes.length;
    }
    plains.push((nowNs() - plainBegun) / TURN);
  }
  await handle.close();
  rmSync(directory, { recursive: true });
  await bench.end();
  return {
    single: rateRowOf('records one by one', singles),
    plain: rateRowOf('plain flushes of the same bytes', plains),
  };
}

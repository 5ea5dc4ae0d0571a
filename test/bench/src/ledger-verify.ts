/** How many entries a second a check of the whole log takes, reading included. Must not look at what is right. */
import { checkLog, encodeRecord, openCheckpoint } from '@kedge/ledger';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { floorOf, rateRowOf } from './figures.js';
import type { LedgerBench } from './ledger-part.js';
import { recordFor, storeForBench } from './ledger-store.js';

const ENTRIES = 200_000;
const PART = 10_000;
const SAMPLES = 9;

export const ledgerVerify: LedgerBench = async ({ samples = SAMPLES, progress }) => {
  const bench = await storeForBench();
  const times = Math.min(samples, SAMPLES);
  progress(`${times} checks of a log with ${ENTRIES} entries`);
  for (let from = 1; from <= ENTRIES; from += PART) {
    const records = Array.from({ length: PART }, (_, at) => encodeRecord(recordFor(from + at)).bytes);
    await bench.store.deliver('bench', 'one', BigInt(from), records);
  }
  await bench.store.close();
  const log = join(bench.directory, 'log');
  const read = (path: string): Buffer | undefined => {
    try {
      return readFileSync(join(log, path));
    } catch {
      return undefined;
    }
  };
  const perEntry: number[] = [];
  for (let n = 0; n < times; n += 1) {
    const begun = process.hrtime.bigint();
    const { size, root } = openCheckpoint(read('checkpoint') ?? '', bench.signer);
    const { faults, entries } = checkLog({ size, root, read });
    if (faults.length > 0 || entries !== ENTRIES) throw new Error('bench: the log is not whole');
    perEntry.push(Number(process.hrtime.bigint() - begun) / entries);
  }
  await bench.end();
  const row = rateRowOf('entries checked, with reading', perEntry);
  return { rows: [row], goals: [floorOf('entries checked, 1/s', 100_000, row.p50)] };
};

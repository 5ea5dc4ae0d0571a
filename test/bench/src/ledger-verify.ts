/**
 * How many entries a second a check of the whole log takes, reading included: of its hashes alone in process, and of
 * hashes and records by the program as it is shipped, from its start to its end. Must not look at what is right.
 */
import { checkLog, encodeRecord, openCheckpoint } from '@kedge/ledger';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { floorOf, rateRowOf } from './figures.js';
import type { LedgerBench } from './ledger-part.js';
import { recordFor, storeForBench } from './ledger-store.js';

const PROGRAM = fileURLToPath(
  new URL('../../../apps/ledger-verify/bin/kedge-ledger-verify.js', import.meta.url),
);
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
  const hashes: number[] = [];
  const records: number[] = [];
  for (let n = 0; n < times; n += 1) {
    const begun = process.hrtime.bigint();
    const { size, root } = openCheckpoint(read('checkpoint') ?? '', bench.signer);
    const { faults, entries } = checkLog({ size, root, read });
    if (faults.length > 0 || entries !== ENTRIES) throw new Error('bench: the log is not whole');
    hashes.push(Number(process.hrtime.bigint() - begun) / entries);
    records.push(byProgram(log, bench.signer.text) / ENTRIES);
  }
  await bench.end();
  const row = rateRowOf('entries and their records verified, by the program', records);
  return {
    rows: [rateRowOf('entries whose hashes were checked, in process', hashes), row],
    goals: [floorOf('records verified, 1/s', 100_000, row.p50)],
  };
};

/** Nanoseconds from its start to its end. */
function byProgram(log: string, key: string): number {
  const begun = process.hrtime.bigint();
  const { status, stdout } = spawnSync(process.execPath, [PROGRAM, log, '--key', key, '--json'], {
    encoding: 'utf8',
  });
  const took = Number(process.hrtime.bigint() - begun);
  const { records } = JSON.parse(stdout) as { readonly records: number };
  if (status !== 0 || records !== ENTRIES) throw new Error('bench: the log was not verified');
  return took;
}

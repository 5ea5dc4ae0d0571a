/**
 * The ledger's figures, part by part: taking records in, and checking them. Must not measure anything itself.
 */
import type { Bench } from './bench.js';
import { type BenchReport, hostOf } from './figures.js';
import { ledgerAppend } from './ledger-append.js';
import type { LedgerBench, LedgerPart } from './ledger-part.js';
import { ledgerVerify } from './ledger-verify.js';

/** In their order. */
const PARTS: readonly LedgerBench[] = [ledgerAppend, ledgerVerify];

export const ledger: Bench = async (options): Promise<BenchReport> => {
  const host = hostOf();
  const parts: LedgerPart[] = [];
  for (const part of PARTS) parts.push(await part(options));
  return {
    bench: 'ledger',
    host,
    rows: parts.flatMap(({ rows }) => rows),
    ratios: Object.assign({}, ...parts.map(({ ratios }) => ratios ?? {})) as Readonly<Record<string, number>>,
    goals: parts.flatMap(({ goals }) => goals),
  };
};

/**
 * The ledger's figures, part by part: taking records in, and checking them. Must not measure anything itself.
 */
import type { Bench, BenchOptions } from './bench.js';
import { type BenchReport, type Goal, hostOf, type Row } from './figures.js';
import { ledgerAppend } from './ledger-append.js';
import { ledgerVerify } from './ledger-verify.js';

/** What a part gives. */
export interface LedgerPart {
  readonly rows: readonly Row[];
  readonly ratios?: Readonly<Record<string, number>>;
  readonly goals: readonly Goal[];
}

/** One part of the bench; it makes a store of its own and removes it. */
export type LedgerBench = (
  options: BenchOptions & { readonly progress: (line: string) => void },
) => Promise<LedgerPart>;

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

/** What a part of the ledger's bench is given and gives. Must not name one. */
import type { BenchOptions } from './bench.js';
import type { Goal, Row } from './figures.js';

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

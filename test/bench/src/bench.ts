/** What a benchmark is given and gives. Must not name one. */
import type { BenchReport } from './figures.js';

export interface BenchOptions {
  /** Samples per row; each benchmark has its own default. */
  readonly samples?: number;
  /** Less of everything, for a look and not for figures; most benchmarks have no quicker way. */
  readonly quick?: boolean;
}

export type Bench = (options: BenchOptions & { progress: (line: string) => void }) => Promise<BenchReport>;

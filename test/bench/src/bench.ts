/** What a benchmark is given and gives. Must not name one. */
import type { BenchReport } from './figures.js';

export interface BenchOptions {
  /** Samples per row; each benchmark has its own default. */
  readonly samples?: number;
  /** Less of everything, for a look and not for figures; most benchmarks have no quicker way. */
  readonly quick?: boolean;
  /** Of how many records, where a benchmark is about a number of them; its goals are for its own default. */
  readonly records?: number;
  /** A file that what takes long to build is kept in, and found in the next time, where a benchmark builds such a thing. */
  readonly keep?: string;
}

export type Bench = (options: BenchOptions & { progress: (line: string) => void }) => Promise<BenchReport>;

/** The list of benchmarks. Must not run one. */
import type { BenchReport } from './figures.js';
import { posturePath } from './posture-path.js';
import { watchdog } from './watchdog.js';

export interface BenchOptions {
  /** Samples per row; each benchmark has its own default. */
  readonly samples?: number;
}

export type Bench = (options: BenchOptions & { progress: (line: string) => void }) => Promise<BenchReport>;

export const benches: Readonly<Record<string, Bench>> = {
  'posture-path': posturePath,
  watchdog,
};

/** The list of benchmarks. Must not run one. */
import type { Bench } from './bench.js';
import { classifier } from './classifier.js';
import { posturePath } from './posture-path.js';
import { transitionBench } from './transition.js';
import { watchdog } from './watchdog.js';

export type { Bench, BenchOptions } from './bench.js';

export const benches: Readonly<Record<string, Bench>> = {
  classifier,
  'posture-path': posturePath,
  transition: transitionBench,
  watchdog,
};

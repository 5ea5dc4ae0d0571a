/** The list of benchmarks. Must not run one. */
import { QUARTERMASTER_FLAGS } from '@kedge/lab';

import { authz } from './authz.js';
import type { Bench } from './bench.js';
import { blockedTime } from './blocked-time.js';
import { classifier } from './classifier.js';
import { compileBench } from './compile.js';
import { forwarder } from './forwarder.js';
import { ledger } from './ledger.js';
import { ledgerBus } from './ledger-bus.js';
import { ledgerQuery } from './ledger-query.js';
import { posturePath } from './posture-path.js';
import { transitionBench } from './transition.js';
import { watchdog } from './watchdog.js';
import { yang } from './yang.js';

export type { Bench, BenchOptions } from './bench.js';

export const benches: Readonly<Record<string, Bench>> = {
  authz,
  'blocked-time': blockedTime,
  classifier,
  compile: compileBench,
  forwarder,
  'ledger-bus': ledgerBus,
  'ledger-query': ledgerQuery,
  ledger,
  'posture-path': posturePath,
  transition: transitionBench,
  watchdog,
  yang,
};

/** Node's own flags for those that do in their own process what a service does under such flags. */
export const nodeFlags: Readonly<Record<string, readonly string[]>> = { ledger: QUARTERMASTER_FLAGS };

/**
 * A thread that checks records, bundle after bundle.
 * It must not read files: the bytes that it is given are those that were hashed.
 */
import { entriesOf } from '@kedge/ledger';
import type { MessagePort } from 'node:worker_threads';
import { parentPort, workerData } from 'node:worker_threads';

import { summaryOf } from './record-check.js';
import type { BundleJob, BundleResult } from './record-threads.js';

const { results, done } = workerData as { readonly results: MessagePort; readonly done: Int32Array };

parentPort?.on('message', ({ first, count, bytes }: BundleJob) => {
  let result: BundleResult;
  try {
    result = { first, summary: summaryOf(first, entriesOf(bytes, count) ?? []) };
  } catch (error) {
    result = { first, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  results.postMessage(result);
  Atomics.add(done, 0, 1);
  Atomics.notify(done, 0);
});

/**
 * A thread that checks records, bundle after bundle.
 * It must not read files: the bytes that it is given are those that were hashed.
 */
import { parentPort, workerData } from 'node:worker_threads';

import { RecordChecks } from './record-check.js';
import type { BundleJob, BundleResult, ThreadData } from './record-threads.js';

const { results, done, key } = workerData as ThreadData;
const checks = new RecordChecks(key);

parentPort?.on('message', ({ first, count, bytes }: BundleJob) => {
  let result: BundleResult;
  const given: ArrayBuffer[] = [];
  try {
    const summary = checks.summaryOf(first, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), count);
    given.push(summary.ids.buffer);
    result = { first, summary };
  } catch (error) {
    result = { first, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  results.postMessage(result, given);
  Atomics.add(done, 0, 1);
  Atomics.notify(done, 0);
});

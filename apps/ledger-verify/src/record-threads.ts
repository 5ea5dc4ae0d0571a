/**
 * Checks the records of bundles in threads, and gives back what they say in the order of the log.
 * It must not let more wait than a bounded number of bundles.
 */
import { KedgeError } from '@kedge/units';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';

import type { IdKey } from './id-hash.js';
import { type BundleSummary, RecordChecks } from './record-check.js';

/** Bundles that are under way, for each thread. */
const WAITING_MAX = 16;
const SILENT_MS = 60_000;

/** A bundle for a thread. */
export interface BundleJob {
  readonly first: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** What a thread says to it. */
export type BundleResult =
  | { readonly first: number; readonly summary: BundleSummary }
  | { readonly first: number; readonly failure: string };

/** What a thread is given at its start. */
export interface ThreadData {
  readonly results: MessagePort;
  readonly done: Int32Array;
  readonly key: IdKey;
}

/** Threads that were started. The caller ends them. */
export class RecordThreads {
  readonly #workers: readonly { readonly worker: Worker; readonly results: MessagePort }[];
  readonly #done = new Int32Array(new SharedArrayBuffer(4));
  readonly #take: (summary: BundleSummary) => void;
  readonly #own: RecordChecks;
  readonly #order: number[] = [];
  readonly #ready = new Map<number, BundleSummary>();
  #given = 0;
  #taken = 0;

  /**
   * @param threads 0 = none: whoever gives a bundle checks it then.
   * @param take is told of each bundle, in the order in which they were given.
   */
  constructor(threads: number, key: IdKey, take: (summary: BundleSummary) => void) {
    this.#take = take;
    this.#own = new RecordChecks(key);
    this.#workers = Array.from({ length: threads }, () => {
      const { port1, port2 } = new MessageChannel();
      const worker = new Worker(new URL('./record-worker.js', import.meta.url), {
        workerData: { results: port2, done: this.#done, key } satisfies ThreadData,
        transferList: [port2],
      });
      port1.unref();
      worker.unref();
      return { worker, results: port1 };
    });
  }

  /** Gives a bundle away. Blocks while too many wait. @throws KedgeError `VERIFY_FAILED` */
  give(first: number, count: number, bundle: Uint8Array): void {
    if (this.#workers.length === 0) {
      const own = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.length);
      this.#take(this.#own.summaryOf(first, own, count));
      return;
    }
    const bytes = Uint8Array.from(bundle);
    const turn = this.#given % this.#workers.length;
    this.#given += 1;
    this.#order.push(first);
    this.#workers[turn]?.worker.postMessage({ first, count, bytes } satisfies BundleJob, [bytes.buffer]);
    this.#drain();
    while (this.#given - this.#taken > WAITING_MAX * this.#workers.length) this.#wait();
  }

  /** Waits for all. @throws KedgeError `VERIFY_FAILED` */
  finish(): void {
    this.#drain();
    while (this.#taken < this.#given) this.#wait();
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await Promise.all(
      this.#workers.map(({ worker, results }) => {
        results.close();
        return worker.terminate();
      }),
    );
  }

  #wait(): void {
    const seen = Atomics.load(this.#done, 0);
    this.#drain();
    if (this.#taken < this.#given && Atomics.wait(this.#done, 0, seen, SILENT_MS) === 'timed-out')
      throw failed(new Error('a thread is silent'));
    this.#drain();
  }

  #drain(): void {
    for (const { results } of this.#workers) {
      for (let got = receiveMessageOnPort(results); got !== undefined; got = receiveMessageOnPort(results)) {
        const result = got.message as BundleResult;
        if ('failure' in result) throw failed(new Error(result.failure));
        this.#ready.set(result.first, result.summary);
      }
    }
    for (;;) {
      const [next] = this.#order;
      const summary = next === undefined ? undefined : this.#ready.get(next);
      if (next === undefined || summary === undefined) return;
      this.#order.shift();
      this.#ready.delete(next);
      this.#taken += 1;
      this.#take(summary);
    }
  }
}

function failed(cause: unknown): KedgeError {
  return new KedgeError({
    code: 'VERIFY_FAILED',
    message: 'cannot check the records of the ledger to the end',
    help: 'this is a defect; nothing follows about the ledger',
    cause,
  });
}

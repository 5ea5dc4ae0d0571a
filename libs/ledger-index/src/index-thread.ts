/**
 * The near end of the index's thread: calls go out, replies come back in the same order.
 * It must not know what a call does.
 */
import { KedgeError } from '@kedge/units';
import { Worker } from 'node:worker_threads';

import type { Answer } from './question.js';
import type { Call, Reply, ThreadData, Told } from './thread.js';

/** From source and from what is built of it: a thread is started from what is built. */
const PROGRAM = new URL('../dist/worker.js', import.meta.url);

interface Waiting {
  readonly resolve: (answer: Answer | undefined) => void;
  readonly reject: (error: KedgeError) => void;
}

/** A thread that runs. `end` it. */
export class IndexThread {
  /** How it stood after the last call. */
  told: Told = { beginning: 'new', from: 0, upTo: 0, leaf: undefined };
  readonly #path: string;
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  readonly #ended: Promise<void>;
  #isEnding = false;

  constructor(data: ThreadData) {
    this.#path = data.path;
    // Options of the process that say how modules are found are not for what is built.
    this.#worker = new Worker(PROGRAM, { workerData: data, execArgv: [] });
    let cause: unknown;
    this.#worker.on('message', (reply: Reply) => this.#take(reply));
    this.#worker.on('error', (error) => {
      cause = error;
    });
    this.#ended = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#isEnding = true;
        for (const { reject } of this.#waiting.splice(0)) reject(this.#gone(cause));
        resolve();
      });
    });
  }

  /** @throws KedgeError What the call throws, or `LEDGER_INDEX_CLOSED`. */
  ask(call: Call, handedOver: readonly ArrayBuffer[] = []): Promise<Answer | undefined> {
    if (this.#isEnding) return Promise.reject(this.#closed());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(call, handedOver);
    });
  }

  /** Ends it after what was asked before. Twice is once. */
  async end(): Promise<void> {
    if (!this.#isEnding) {
      this.#isEnding = true;
      this.#worker.postMessage({ call: 'close' } satisfies Call);
    }
    await this.#ended;
  }

  #take(reply: Reply): void {
    const waiting = this.#waiting.shift();
    if ('error' in reply) {
      const cause = reply.cause === '' ? {} : { cause: new Error(reply.cause) };
      waiting?.reject(new KedgeError({ ...reply.error, ...cause }));
      return;
    }
    this.told = reply.told;
    waiting?.resolve(reply.answer);
  }

  #gone(cause: unknown): KedgeError {
    return new KedgeError({
      code: 'LEDGER_INDEX_FAILED',
      message: `cannot use the ledger's index ${this.#path}: its thread has ended`,
      help: 'open it again',
      cause,
    });
  }

  #closed(): KedgeError {
    return new KedgeError({
      code: 'LEDGER_INDEX_CLOSED',
      message: `cannot use the ledger's index ${this.#path}: it is closed`,
    });
  }
}

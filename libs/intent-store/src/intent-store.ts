/**
 * The kept intent: the near end of its thread. Calls go out, answers come back in the same order.
 * It must not know what is kept.
 */
import type { IntentKeeping, Keep, Kept } from '@kedge/datastores';
import { KedgeError } from '@kedge/units';
import { Worker } from 'node:worker_threads';

import type { Answer, Call, Reply, ThreadData } from './thread.js';

/** From source and from what is built of it: a thread is started from what is built. */
const PROGRAM = new URL('../dist/worker.js', import.meta.url);

/** Where it is kept. */
export interface IntentStoreOptions {
  /** Absolute path of the file; its journal stands beside it. Its directory exists and is this service's own. */
  readonly path: string;
}

/** An open store. `close` it. Every call is answered in its order. */
export interface IntentStore extends IntentKeeping {
  /** What it had when it was opened; undefined where no step was kept yet. */
  readonly kept: Kept | undefined;
  /**
   * @throws KedgeError `INTENT_STORE_FULL` (nothing of it is there), `INTENT_STORE_FAILED` (it may be there; nothing is
   *   taken any more), `INTENT_STORE_CLOSED`.
   */
  keep(keep: Keep): Promise<void>;
  /** @throws KedgeError `INTENT_STORE_DAMAGED`, `INTENT_STORE_FAILED`, `INTENT_STORE_CLOSED`. */
  documentOf(hash: string): Promise<string>;
  /** Ends its thread when what was asked before is done. Twice is once. */
  close(): Promise<void>;
}

/**
 * Opens the store and proves what is in force in it, or makes it.
 *
 * @throws KedgeError `INTENT_STORE_BUSY` (another process has it), `INTENT_STORE_DAMAGED` (it is left as it is),
 *   `INTENT_STORE_FULL`, `INTENT_STORE_FAILED`.
 */
export async function openIntentStore({ path }: IntentStoreOptions): Promise<IntentStore> {
  const thread = new StoreThread({ path });
  try {
    return new OpenStore(thread, (await thread.ask({ call: 'open' })) as Kept | undefined);
  } catch (error) {
    await thread.end();
    throw error;
  }
}

class OpenStore implements IntentStore {
  readonly kept: Kept | undefined;
  readonly #thread: StoreThread;

  constructor(thread: StoreThread, kept: Kept | undefined) {
    this.#thread = thread;
    this.kept = kept;
  }

  async keep(keep: Keep): Promise<void> {
    await this.#thread.ask({ call: 'keep', keep });
  }

  async documentOf(hash: string): Promise<string> {
    return (await this.#thread.ask({ call: 'document', hash })) as string;
  }

  async close(): Promise<void> {
    await this.#thread.end();
  }
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: KedgeError) => void;
}

class StoreThread {
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

  ask(call: Call): Promise<Answer> {
    if (this.#isEnding) return Promise.reject(this.#closed());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(call);
    });
  }

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
    waiting?.resolve(reply.answer);
  }

  #gone(cause: unknown): KedgeError {
    return new KedgeError({
      code: 'INTENT_STORE_FAILED',
      message: `cannot use the kept intent ${this.#path}: its thread has ended`,
      help: 'start the service again',
      cause,
    });
  }

  #closed(): KedgeError {
    return new KedgeError({
      code: 'INTENT_STORE_CLOSED',
      message: `cannot use the kept intent ${this.#path}: it is closed`,
    });
  }
}

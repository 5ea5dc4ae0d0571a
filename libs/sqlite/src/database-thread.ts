/**
 * A thread that has a database, and its service: calls go out, replies come back in the same order, so that a disk that
 * takes its time takes none of its service's event loop.
 * It must not know what a call does.
 */
import { KedgeError, type KedgeErrorJson } from '@kedge/units';
import { parentPort, Worker } from 'node:worker_threads';

/** A reply that says what went wrong; `cause` is empty where nothing more is known. */
interface Failed {
  readonly error: KedgeErrorJson;
  readonly cause: string;
}

/** What is started, and how it is spoken of. */
export interface DatabaseThreadOptions {
  /** The program of the thread, which does {@link answerCalls}. */
  readonly program: URL;
  /** What it is started with. */
  readonly data: { readonly path: string };
  /** The rest of "cannot use …", without the path. */
  readonly name: string;
  /** Codes of a thread that has ended by itself, and of one that was ended. */
  readonly codes: { readonly gone: string; readonly closed: string };
  /** What is to be done about one that has ended by itself. */
  readonly help: string;
}

interface Waiting<Reply> {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: KedgeError) => void;
}

/** The service's end of a thread that runs. `end` it. */
export class DatabaseThread<Call extends { readonly call: string }, Reply extends object> {
  readonly #options: DatabaseThreadOptions;
  readonly #worker: Worker;
  readonly #waiting: Waiting<Reply>[] = [];
  readonly #ended: Promise<void>;
  #isEnding = false;

  constructor(options: DatabaseThreadOptions) {
    this.#options = options;
    // Options of the process that say how modules are found are not for what is built.
    this.#worker = new Worker(options.program, { workerData: options.data, execArgv: [] });
    let cause: unknown;
    this.#worker.on('message', (reply: Reply | Failed) => this.#take(reply));
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

  /**
   * The reply to a call, when its turn has come.
   *
   * @param handedOver buffers of the call that are the thread's own from now on.
   * @throws KedgeError what the reply says went wrong; the codes of the options.
   */
  ask(call: Call, handedOver: readonly ArrayBuffer[] = []): Promise<Reply> {
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
      this.#worker.postMessage({ call: 'close' });
    }
    await this.#ended;
  }

  #take(reply: Reply | Failed): void {
    const waiting = this.#waiting.shift();
    if ('error' in reply) {
      const cause = reply.cause === '' ? {} : { cause: new Error(reply.cause) };
      waiting?.reject(new KedgeError({ ...reply.error, ...cause }));
      return;
    }
    waiting?.resolve(reply);
  }

  #gone(cause: unknown): KedgeError {
    const { name, data, codes, help } = this.#options;
    return new KedgeError({
      code: codes.gone,
      message: `cannot use ${name} ${data.path}: its thread has ended`,
      help,
      cause,
    });
  }

  #closed(): KedgeError {
    const { name, data, codes } = this.#options;
    return new KedgeError({ code: codes.closed, message: `cannot use ${name} ${data.path}: it is closed` });
  }
}

/**
 * The thread's end: answers each call with one reply, until it is asked to `close`.
 *
 * @param answer may throw.
 * @param errorOf what was thrown, as the service is told it.
 */
export function answerCalls<Call extends { readonly call: string }, Reply extends object>(
  answer: (call: Call) => Reply,
  errorOf: (thrown: unknown) => KedgeError,
): void {
  const port = parentPort;
  const replyTo = (call: Call): Reply | Failed => {
    try {
      return answer(call);
    } catch (thrown) {
      const error = errorOf(thrown);
      return { error: error.toJSON(), cause: error.cause instanceof Error ? error.cause.message : '' };
    }
  };
  port?.on('message', (call: Call) => {
    port.postMessage(replyTo(call));
    if (call.call === 'close') port.close();
  });
}

/**
 * The thread of the index, and how the index stood after the last call.
 * It must not know what a call does.
 */
import { DatabaseThread } from '@kedge/sqlite';

import type { Answer } from './question.js';
import type { Call, Reply, ThreadData, Told } from './thread.js';

/** From source and from what is built of it: a thread is started from what is built. */
const PROGRAM = new URL('../dist/worker.js', import.meta.url);

/** A thread that runs. `end` it. */
export class IndexThread {
  /** How it stood after the last call. */
  told: Told = { beginning: 'new', from: 0, upTo: 0, leaf: undefined };
  readonly #thread: DatabaseThread<Call, Reply>;

  constructor(data: ThreadData) {
    this.#thread = new DatabaseThread({
      program: PROGRAM,
      data,
      name: "the ledger's index",
      codes: { gone: 'LEDGER_INDEX_FAILED', closed: 'LEDGER_INDEX_CLOSED' },
      help: 'open it again',
    });
  }

  /** @throws KedgeError What the call throws, or `LEDGER_INDEX_CLOSED`. */
  async ask(call: Call, handedOver: readonly ArrayBuffer[] = []): Promise<Answer | undefined> {
    const { told, answer } = await this.#thread.ask(call, handedOver);
    this.told = told;
    return answer;
  }

  /** Ends it after what was asked before. Twice is once. */
  end(): Promise<void> {
    return this.#thread.end();
  }
}

/**
 * The kept intent: the near end of its thread.
 * It must not know what is kept.
 */
import type { IntentKeeping, Keep, Kept } from '@kedge/datastores';
import { DatabaseThread } from '@kedge/sqlite';

import type { Call, Reply, ThreadData } from './thread.js';

/** From source and from what is built of it: a thread is started from what is built. */
const PROGRAM = new URL('../dist/worker.js', import.meta.url);

type StoreThread = DatabaseThread<Call, Reply>;

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
  const thread: StoreThread = new DatabaseThread({
    program: PROGRAM,
    data: { path } satisfies ThreadData,
    name: 'the kept intent',
    codes: { gone: 'INTENT_STORE_FAILED', closed: 'INTENT_STORE_CLOSED' },
    help: 'start the service again',
  });
  try {
    return new OpenStore(thread, (await thread.ask({ call: 'open' })).answer as Kept | undefined);
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
    return (await this.#thread.ask({ call: 'document', hash })).answer as string;
  }

  async close(): Promise<void> {
    await this.#thread.end();
  }
}

/**
 * Hands flow records to everybody who watches, each with a queue of its own.
 * It must not wait for a watcher: what does not fit into its queue is lost to it and counted.
 */
import type { FlowBatch, FlowReport } from '@kedge/bus';
import { KedgeError } from '@kedge/units';

/** Watchers at once. */
export const WATCHERS_MAX = 16;
/** Records that wait for one watcher. */
export const QUEUE_MAX = 8_192;
/** Records in one batch: well below the longest reply. */
export const BATCH_MAX = 512;

interface Watcher {
  readonly queue: FlowReport[];
  lost: bigint;
  wake: () => void;
}

/** Everybody who watches. */
export class FlowWatch {
  readonly #watchers = new Set<Watcher>();

  /** True while somebody watches. */
  get watched(): boolean {
    return this.#watchers.size > 0;
  }

  /** Gives records to all watchers. */
  tell(flows: readonly FlowReport[]): void {
    if (flows.length === 0) return;
    for (const watcher of this.#watchers) {
      const room = Math.max(0, QUEUE_MAX - watcher.queue.length);
      for (const flow of flows.slice(0, room)) watcher.queue.push(flow);
      watcher.lost += BigInt(Math.max(0, flows.length - room));
      watcher.wake();
    }
  }

  /**
   * An empty batch at once, then what ends from now on, until `signal` aborts.
   *
   * @throws KedgeError `GOVERNANCE_WATCHERS`, when it is first asked for a batch
   */
  async *watch(signal: AbortSignal): AsyncGenerator<FlowBatch, void, undefined> {
    if (this.#watchers.size >= WATCHERS_MAX)
      throw new KedgeError({
        code: 'GOVERNANCE_WATCHERS',
        message: 'cannot watch flows: too many watch already',
        expected: `at most ${String(WATCHERS_MAX)}`,
      });
    const watcher: Watcher = { queue: [], lost: 0n, wake: () => undefined };
    this.#watchers.add(watcher);
    const gone = (): void => {
      watcher.wake();
    };
    signal.addEventListener('abort', gone);
    try {
      yield { flows: [], lost: 0n };
      while (!signal.aborted) {
        if (watcher.queue.length > 0) {
          const { lost } = watcher;
          watcher.lost = 0n;
          yield { flows: watcher.queue.splice(0, BATCH_MAX), lost };
          continue;
        }
        await new Promise<void>((resolve) => {
          watcher.wake = resolve;
        });
      }
    } finally {
      this.#watchers.delete(watcher);
      signal.removeEventListener('abort', gone);
    }
  }
}

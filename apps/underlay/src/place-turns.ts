/**
 * Turns by place: at one place one thing is done at a time, in the order of asking; places do not wait for each other.
 * It must not know what is done.
 */
import { KedgeError } from '@kedge/units';

/** Most that wait for their turn at one place, besides the one whose turn it is. */
export const MOST_WAITING = 16;

interface Waiting {
  readonly begin: () => void;
}

/** See the head of the file. */
export class PlaceTurns {
  /** Places at which something is done, each with those that wait. */
  readonly #places = new Map<string, Waiting[]>();

  /** How many have their turn or wait for it. */
  get count(): number {
    let count = 0;
    for (const waiting of this.#places.values()) count += 1 + waiting.length;
    return count;
  }

  /**
   * Does something when its turn at the place has come; who leaves while waiting does not do it.
   *
   * @throws KedgeError `UNDERLAY_BUSY` when too many wait there
   * @throws what the signal was aborted with, and what `work` throws
   */
  async take<T>(place: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const waiting = this.#places.get(place);
    if (waiting === undefined) this.#places.set(place, []);
    else await this.#wait(place, waiting, signal);
    try {
      return await work();
    } finally {
      this.#pass(place);
    }
  }

  async #wait(place: string, waiting: Waiting[], signal: AbortSignal): Promise<void> {
    if (waiting.length >= MOST_WAITING)
      throw new KedgeError({
        code: 'UNDERLAY_BUSY',
        message: `cannot take up more for ${place}: ${String(MOST_WAITING)} wait already`,
        help: 'ask again when some of them have ended',
      });
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        waiting.splice(waiting.indexOf(each), 1);
        reject(signal.reason as Error);
      };
      const each: Waiting = {
        begin: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      waiting.push(each);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  #pass(place: string): void {
    const next = this.#places.get(place)?.shift();
    if (next === undefined) this.#places.delete(place);
    else next.begin();
  }
}

/**
 * Turns: so many at once, the others one after the other in the order in which they came.
 * It must not know what is done in a turn.
 */

/** Gives turns. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param most turns at once, at least 1. */
  constructor(most: number) {
    this.#free = most;
  }

  /** Does something in a turn of its own. */
  async within<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

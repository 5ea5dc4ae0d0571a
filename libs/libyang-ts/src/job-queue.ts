/**
 * The jobs of one context: one at a time, in the order in which they were asked for.
 * Must not begin a job that was aborted, nor let the result of one get lost: it is given, or thrown away.
 */
import { YangError, yangErrorOf } from './yang-error.js';

/** What jobs are counted on, from when they are asked for until they are over. */
export interface Held {
  pending: number;
}

/** What a job is. */
export interface Job<T> {
  /** What it does, as the rest of "cannot …". */
  readonly operation: string;
  /** Trees that nobody else may touch until it is over. */
  readonly holds: readonly Held[];
  readonly signal: AbortSignal | undefined;
  /** Begins it. */
  begin(): Promise<T>;
  /** Frees a result that nobody wants any more. */
  discard?(result: T): void;
}

interface Waiting {
  readonly run: () => Promise<void>;
}

/** Jobs that wait and the one that runs. */
export class JobQueue {
  readonly #most: number;
  readonly #waiting: Waiting[] = [];
  #running = false;

  /** @param most jobs that may wait */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * The result of the job, when its turn has come and it is done.
   *
   * @throws YangError what the addon threw; `YANG_ABORTED`, `YANG_QUEUE_FULL`
   */
  run<T>(job: Job<T>): Promise<T> {
    const { operation, holds, signal } = job;
    if (signal?.aborted === true) return Promise.reject(aborted(operation, signal));
    if (this.#running && this.#waiting.length >= this.#most)
      return Promise.reject(
        new YangError({
          code: 'YANG_QUEUE_FULL',
          message: `cannot ${operation}: too many jobs of the context wait`,
          expected: `at most ${this.#most}`,
          help: 'await results before asking for more',
        }),
      );
    return new Promise<T>((resolve, reject) => {
      let begun = false;
      let settled = false;
      for (const hold of holds) hold.pending += 1;
      const release = (): void => {
        signal?.removeEventListener('abort', onAbort);
        for (const hold of holds) hold.pending -= 1;
      };
      const waiting: Waiting = {
        run: async () => {
          begun = true;
          try {
            const result = await job.begin();
            if (settled) job.discard?.(result);
            else resolve(result);
          } catch (error) {
            if (!settled) reject(yangErrorOf(error, operation));
          } finally {
            release();
          }
        },
      };
      const onAbort = (): void => {
        settled = true;
        if (!begun) {
          this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
          release();
        }
        reject(aborted(operation, signal));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiting);
      void this.#work();
    });
  }

  async #work(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await next.run();
    this.#running = false;
  }
}

function aborted(operation: string, signal: AbortSignal | undefined): YangError {
  return new YangError({
    code: 'YANG_ABORTED',
    message: `cannot ${operation}: it was aborted`,
    ...(signal === undefined ? {} : { cause: signal.reason as unknown }),
  });
}

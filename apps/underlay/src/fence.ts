/**
 * A fence around the way to a device: once it is closed nothing is written there any more, and what was being written is
 * ended. Reading goes on.
 * It must not decide when it is closed.
 */
import type { Carrier } from '@kedge/driver-host';
import { KedgeError } from '@kedge/units';

/** See the head of the file; open once it is made. */
export class Fence {
  readonly #closing = new AbortController();
  readonly #stillness: { readonly promise: Promise<void>; readonly resolve: () => void };
  #writing = 0;

  constructor() {
    let resolve: () => void = () => undefined;
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    this.#stillness = { promise, resolve };
  }

  /** Resolves when it is closed and nothing is being written. */
  get still(): Promise<void> {
    return this.#stillness.promise;
  }

  close(): void {
    this.#closing.abort(tooLate());
    this.#settle();
  }

  /** The same way, with the fence around it. */
  around<Question, Answer, Command>(
    carrier: Carrier<Question, Answer, Command>,
  ): Carrier<Question, Answer, Command> {
    const { signal: closed } = this.#closing;
    return {
      ask: (questions, signal) => carrier.ask(questions, signal),
      write: async (commands, signal) => {
        if (closed.aborted) {
          const { code, message } = tooLate();
          return { done: 0, failure: { code, message } };
        }
        this.#writing += 1;
        try {
          return await carrier.write(commands, AbortSignal.any([signal, closed]));
        } finally {
          this.#writing -= 1;
          this.#settle();
        }
      },
    };
  }

  #settle(): void {
    if (this.#closing.signal.aborted && this.#writing === 0) this.#stillness.resolve();
  }
}

function tooLate(): KedgeError {
  return new KedgeError({
    code: 'UNDERLAY_TOO_LATE',
    message: 'nothing more is written to the device: the time for taking back is over',
    help: 'what differs stands in the alarm and in the ledger',
  });
}

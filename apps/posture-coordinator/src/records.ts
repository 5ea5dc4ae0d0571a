/**
 * Records on their way to the ledger: handed to the sink without ever being waited for (PO-22).
 * It must not decide what is recorded.
 */
import type { LedgerRecord, RecordSink } from '@kedge/contracts';
import type { Logger } from '@kedge/runtime';

/** Records that may wait for the sink at once. */
const PENDING_MAX = 2_048;

/** Hands records on. Bounded; what is lost is counted and said. */
export class Records {
  readonly #sink: Promise<RecordSink | undefined>;
  readonly #logger: Logger;
  #pending = 0;
  #lost = 0;

  /** @param sink undefined = none could be opened: everything is lost, and counted. */
  constructor(sink: Promise<RecordSink | undefined>, logger: Logger) {
    this.#sink = sink;
    this.#logger = logger;
  }

  /** Records that never reached the sink. */
  get lost(): number {
    return this.#lost;
  }

  put(record: LedgerRecord): void {
    if (this.#pending >= PENDING_MAX) {
      this.#lost += 1;
      return;
    }
    this.#pending += 1;
    void this.#sink
      .then((sink) => {
        if (sink === undefined) throw new Error('there is no sink');
        return sink.append(record);
      })
      .catch((error: unknown) => {
        this.#lost += 1;
        if (this.#lost === 1) this.#logger.error({ err: error, id: record.id }, 'a record was lost');
      })
      .finally(() => {
        this.#pending -= 1;
      });
  }
}

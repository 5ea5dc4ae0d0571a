/**
 * Drains a spool into the ledger for ever: asks where the ledger stands, goes on from there, and lets go of what the
 * ledger keeps.
 * It must not lose a record, nor hold more of them in memory than its window; whoever appends never waits for it.
 */
import type { Batch, Calls, IntakeApi, Kept } from '@kedge/bus';
import type { Spool, SpoolReader } from '@kedge/ledger';
import { KedgeError, millisFromNanos } from '@kedge/units';

import { Bell, pause } from './waiting.js';

/** Opens a stream to the ledger: batches go in, what is durable there comes out. */
export type Deliver = Calls<IntakeApi>['deliver'];

/** See the fields. */
export interface SpoolForwarderOptions {
  /** Stays its caller's. */
  readonly spool: Spool;
  readonly deliver: Deliver;
  /** CLOCK_MONOTONIC in nanoseconds. */
  readonly nowNs: () => bigint;
  readonly log: {
    info(fields: object, text: string): void;
    warn(fields: object, text: string): void;
  };
  /** Between two tries, milliseconds; doubled each time. Default 50 and 5,000. */
  readonly backoff?: { readonly firstMs: number; readonly mostMs: number };
  /** How long the ledger may leave an answer owing before the stream is made anew, milliseconds; default 10,000. */
  readonly answerMs?: number;
  /** Until the first try, milliseconds; default 0. */
  readonly beginMs?: number;
  /** How long records wait for more of them, once what was there before is sent, milliseconds; default 0. */
  readonly gatherMs?: number;
  /** Bytes of one batch at most; default 512 KiB. */
  readonly batchBytes?: number;
  /** Bytes that may be on their way and not kept yet, at most; default 4 MiB. */
  readonly windowBytes?: number;
}

/** How far the ledger is behind a spool. */
export interface ForwarderStatus {
  /** Whether the ledger has answered on the stream that is open. */
  readonly linked: boolean;
  /** Durable records that the ledger is not known to keep. */
  readonly waiting: bigint;
  /** How long the oldest of them has waited at most, since this process began; 0 where none waits. */
  readonly waitingMs: number;
  /** Records that the ledger kept since this process began. */
  readonly kept: bigint;
  /** Code of what is in the way; undefined while linked, or before the first try has ended. */
  readonly trouble: string | undefined;
}

/** A batch that is on its way. */
interface Sent {
  readonly upTo: bigint;
  readonly bytes: number;
}

/** One stream to the ledger. */
interface Stream {
  readonly over: AbortController;
  /** Rung when the ledger answered, and when there is more to send. */
  readonly bell: Bell;
  answered: boolean;
  readonly sent: Sent[];
  sentBytes: number;
  /** The newest sequence that was sent. */
  upTo: bigint;
}

const OPEN_MS = 5_000;
/** Moments between which it is not told apart since when something waits. */
const MARK_MS = 100;
const MOST_MARKS = 256;

/** At work once it is made. `close` once. */
export class SpoolForwarder {
  readonly #options: SpoolForwarderOptions;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  readonly #unhear: () => void;
  #stream: Stream | undefined;
  /** The newest sequence that the ledger is known to keep. */
  #kept: bigint;
  #keptSince = 0n;
  /** The ledger has said once where it stands. */
  #asked = false;
  #linked = false;
  #trouble: string | undefined;
  /** What had become durable when; the first one is of what waits longest. */
  #marks: { upTo: bigint; readonly atNs: bigint }[] = [];

  constructor(options: SpoolForwarderOptions) {
    this.#options = options;
    const { spool } = options;
    this.#kept = spool.status().oldest - 1n;
    this.#mark();
    this.#unhear = spool.onDurable(() => {
      this.#mark();
      this.#stream?.bell.ring();
    });
    this.#running = this.#run();
  }

  status(): ForwarderStatus {
    const { spool, nowNs } = this.#options;
    const { durable } = spool.status();
    const [first] = this.#marks;
    return {
      linked: this.#linked,
      waiting: durable - this.#kept,
      waitingMs: durable > this.#kept && first !== undefined ? millisFromNanos(nowNs() - first.atNs) : 0,
      kept: this.#keptSince,
      trouble: this.#trouble,
    };
  }

  /** Ends the stream and waits for what is under way. What is not kept waits for the next process. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#unhear();
    await this.#running;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { firstMs, mostMs } = this.#options.backoff ?? { firstMs: 50, mostMs: 5_000 };
    const { signal } = this.#closing;
    let waitMs = firstMs;
    await pause(this.#options.beginMs ?? 0, signal);
    while (!signal.aborted) {
      const before = this.#keptSince;
      try {
        await this.#forward();
        this.#tell(lost('the ledger ended the stream'));
      } catch (error) {
        this.#tell(error);
      }
      if (this.#keptSince > before) waitMs = firstMs;
      await pause(waitMs, signal);
      waitMs = Math.min(waitMs * 2, mostMs);
    }
  }

  /** Said once, until it is another or was over. */
  #tell(error: unknown): void {
    this.#linked = false;
    if (this.#closing.signal.aborted) return;
    const code = error instanceof KedgeError ? error.code : 'LEDGER_LINK_FAILED';
    if (code === this.#trouble) return;
    this.#trouble = code;
    this.#options.log.warn({ err: error }, 'records wait: the ledger takes none');
  }

  /** One stream, from its beginning to its end. */
  async #forward(): Promise<void> {
    const { spool, deliver, answerMs = 10_000 } = this.#options;
    const { id } = spool.identity;
    const over = new AbortController();
    const stream: Stream = {
      over,
      bell: new Bell(),
      answered: false,
      sent: [],
      sentBytes: 0,
      upTo: 0n,
    };
    const stop = (): void => {
      over.abort(this.#closing.signal.reason);
      stream.bell.ring();
    };
    this.#closing.signal.addEventListener('abort', stop);
    if (this.#closing.signal.aborted) stop();
    let answers = 0;
    let heard = -1;
    const silence = setInterval(() => {
      if (stream.sent.length > 0 && heard === answers) {
        over.abort(
          new KedgeError({
            code: 'LEDGER_LINK_SILENT',
            message: `the ledger was sent records and has said nothing for ${answerMs} ms`,
            help: 'see whether it hangs, and how its disk does',
          }),
        );
        stream.bell.ring();
      }
      heard = stream.sent.length > 0 ? answers : -1;
    }, answerMs);
    this.#stream = stream;
    try {
      for await (const kept of deliver(this.#batches(stream, id), {
        deadlineMs: OPEN_MS,
        signal: over.signal,
      })) {
        answers += 1;
        await this.#take(stream, id, kept);
      }
    } catch (error) {
      // Why it was ended here says more than that it was.
      throw over.signal.aborted && over.signal.reason instanceof KedgeError ? over.signal.reason : error;
    } finally {
      clearInterval(silence);
      this.#closing.signal.removeEventListener('abort', stop);
      this.#stream = undefined;
      over.abort();
      stream.bell.ring();
    }
  }

  /** What is sent on a stream: a question first, then what the answer says is missing. */
  async *#batches(stream: Stream, spool: string): AsyncGenerator<Batch, void, undefined> {
    const { batchBytes = 512 * 1024, windowBytes = 4 * 1024 * 1024, gatherMs = 0 } = this.#options;
    const { signal } = stream.over;
    yield { spool, first: 0n, records: [] };
    while (!stream.answered && !signal.aborted) await stream.bell.rung();
    if (signal.aborted) return;
    const { base } = this.#options.spool.identity;
    const reader: SpoolReader = this.#options.spool.reader(this.#kept);
    try {
      while (!signal.aborted) {
        if (stream.sentBytes >= windowBytes) {
          await stream.bell.rung();
          continue;
        }
        // Before the look: what becomes durable during it rings.
        const more = stream.bell.rung();
        const taken = await reader.take(batchBytes);
        const [first] = taken;
        if (first === undefined) {
          await more;
          if (gatherMs > 0) await pause(gatherMs, signal);
          continue;
        }
        const bytes = taken.reduce((sum, each) => sum + each.bytes.length, 0);
        stream.upTo = reader.last;
        stream.sent.push({ upTo: reader.last, bytes });
        stream.sentBytes += bytes;
        yield { spool, first: first.sequence - base, records: taken.map((each) => each.bytes) };
      }
    } finally {
      await reader.close();
    }
  }

  /** What the ledger says that it keeps. */
  async #take(stream: Stream, id: string, { spool: of, upTo }: Kept): Promise<void> {
    const { spool, log } = this.#options;
    if (of !== id) return;
    const kept = upTo + spool.identity.base;
    if (!stream.answered) {
      await this.#compare(kept);
      stream.answered = true;
      this.#linked = true;
      this.#trouble = undefined;
      log.info({ spool: id, kept: String(kept) }, 'the ledger takes records');
    } else if (kept > stream.upTo) {
      throw new KedgeError({
        code: 'LEDGER_LINK_ANSWER',
        message: `the ledger says that it keeps what it was not sent: ${kept}`,
        expected: `at most ${stream.upTo}`,
      });
    }
    while (stream.sent[0] !== undefined && stream.sent[0].upTo <= kept)
      stream.sentBytes -= stream.sent.shift()?.bytes ?? 0;
    if (kept > this.#kept) {
      // What an earlier process brought there is none of this one's.
      if (this.#asked) this.#keptSince += kept - this.#kept;
      this.#kept = kept;
      this.#unmark();
      try {
        await spool.release(kept);
      } catch (error) {
        log.warn({ err: error }, 'a file of the spool that the ledger has could not be removed');
      }
    }
    this.#asked = true;
    stream.bell.ring();
  }

  /**
   * Whether what the ledger has and what lies here belong together. Where they do not, all that lies here is
   * delivered anew: twice is better than never.
   */
  async #compare(kept: bigint): Promise<void> {
    const { spool } = this.#options;
    const { oldest, durable } = spool.status();
    if (kept >= oldest - 1n && kept <= durable) {
      // It may know more than this process does, and less where a copy of it was put back.
      this.#kept = kept < this.#kept ? kept : this.#kept;
      this.#mark();
      return;
    }
    await spool.renew();
    this.#kept = oldest - 1n;
    throw new KedgeError({
      code: 'LEDGER_LINK_APART',
      message: `the ledger says that it keeps this spool up to ${kept}, and here lie ${oldest} to ${durable}`,
      help: 'nothing: all that lies here is delivered under another name; see why one of both was put back',
    });
  }

  /** Notes when what is durable now became so. */
  #mark(): void {
    const { spool, nowNs } = this.#options;
    const { durable } = spool.status();
    if (durable <= this.#kept) return;
    const last = this.#marks.at(-1);
    const atNs = nowNs();
    if (
      last !== undefined &&
      (this.#marks.length >= MOST_MARKS || millisFromNanos(atNs - last.atNs) < MARK_MS)
    ) {
      last.upTo = durable;
      return;
    }
    this.#marks.push({ upTo: durable, atNs });
  }

  #unmark(): void {
    while (this.#marks[0] !== undefined && this.#marks[0].upTo <= this.#kept) this.#marks.shift();
  }
}

function lost(message: string): KedgeError {
  return new KedgeError({ code: 'LEDGER_LINK_LOST', message });
}

/**
 * The reconciliation loop at work: runs what it is given, one run at a time, and cannot be ended by what that throws.
 * It must not know what a run does; clock and timers are given.
 */
import { KedgeError, millisFromNanos, nanosFromMillis, type Nanos, nanosOf } from '@kedge/units';

import {
  loopOf,
  type LoopEvent,
  type LoopReason,
  type LoopState,
  type LoopStatus,
  type LastRun,
  type RunOutcome,
  step,
} from './loop.js';

/** Calls back later, once. */
export interface Timers {
  /** @returns takes the call back. */
  after(ms: number, call: () => void): () => void;
}

/** A loop in use. */
export interface ReconciliationOptions {
  /**
   * One run. When `signal` aborts it stops at its next safe point; the loop waits until it has settled. May throw or
   * reject: that is a failed run.
   */
  readonly run: (because: LoopReason, signal: AbortSignal) => Promise<RunOutcome>;
  /** CLOCK_MONOTONIC in nanoseconds. */
  readonly nowNs: () => bigint;
  readonly timers: Timers;
  /** From the end of a good run to the next by itself, milliseconds; 0 = never. */
  readonly everyMs: number;
  /** From a failure to the next try, milliseconds; doubled each time up to `mostMs`. Default 100 and 30,000. */
  readonly backoff?: { readonly firstMs: number; readonly mostMs: number };
  /** Told after every change; what it throws is dropped. */
  readonly onStatus?: (status: LoopStatus, last: LastRun | undefined) => void;
}

/** The loop: inert until {@link unblock}, then running whenever it is asked, due, or was cut short. */
export class Reconciliation {
  readonly #options: ReconciliationOptions;
  #state: LoopState;
  #cancelTimer: (() => void) | undefined;
  #abort: AbortController | undefined;
  #closed = false;
  #settled: Promise<void> = Promise.resolve();

  constructor(options: ReconciliationOptions) {
    this.#options = options;
    const { firstMs, mostMs } = options.backoff ?? { firstMs: 100, mostMs: 30_000 };
    this.#state = loopOf(
      {
        everyNs: nanosFromMillis(options.everyMs),
        backoffFirstNs: nanosFromMillis(firstMs),
        backoffMostNs: nanosFromMillis(mostMs),
      },
      this.#now(),
    );
  }

  get status(): LoopStatus {
    return this.#state.status;
  }
  get last(): LastRun | undefined {
    return this.#state.last;
  }
  /** Runs that failed one after the other. */
  get failures(): number {
    return this.#state.failures;
  }
  /** Requests that shared a run with another one. */
  get coalesced(): bigint {
    return this.#state.coalesced;
  }

  /** Asks for a run: now, or after the one that runs. However often it is asked meanwhile, one more follows. */
  want(because: LoopReason): void {
    this.#happen({ kind: 'want', because, at: this.#now() });
  }
  /** What runs is void: its signal aborts with `reason`, and another run follows. */
  preempt(because: LoopReason, reason?: KedgeError): void {
    this.#reason = reason;
    this.#happen({ kind: 'preempt', because, at: this.#now() });
  }
  /** Nothing may start; asked meanwhile is remembered. */
  block(why: string): void {
    this.#happen({ kind: 'block', why, at: this.#now() });
  }
  unblock(): void {
    if (!this.#closed) this.#happen({ kind: 'unblock', at: this.#now() });
  }

  /** Stops what runs and waits until it has settled. A second call waits as well. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.block('closed');
      this.#cancelTimer?.();
      this.#abort?.abort(stopped());
    }
    await this.#settled;
  }

  #reason: KedgeError | undefined;

  #happen(event: LoopEvent): void {
    const result = step(this.#state, event);
    if (result.kind === 'refused') return;
    const changed = result.state !== this.#state;
    this.#state = result.state;
    for (const effect of result.effects) {
      if (effect.do === 'abort') this.#abort?.abort(this.#reason ?? stopped());
      else this.#start(effect.run, effect.because);
    }
    if (!changed) return;
    this.#arm();
    try {
      this.#options.onStatus?.(this.#state.status, this.#state.last);
    } catch {
      // Whoever looks on does not end the loop.
    }
  }

  #start(run: number, because: LoopReason): void {
    const abort = new AbortController();
    this.#abort = abort;
    this.#settled = this.#run(because, abort.signal).then((result) => {
      if (this.#abort === abort) this.#abort = undefined;
      this.#happen({ kind: 'ended', run, result, at: this.#now() });
    });
  }

  /** Never rejects. */
  async #run(because: LoopReason, signal: AbortSignal): Promise<RunOutcome> {
    try {
      // Not in the stack of whoever asked.
      await Promise.resolve();
      return await this.#options.run(because, signal);
    } catch (error) {
      return { outcome: 'failed', changes: 0, failure: failureOf(error) };
    }
  }

  #arm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const { status } = this.#state;
    if (this.#closed || status.state !== 'idle' || status.next === undefined) return;
    const wait = status.next - this.#now();
    // Timers count in 31 bits; a tick that comes early arms again.
    const ms = Math.min(Math.ceil(Math.max(millisFromNanos(wait > 0n ? wait : 0n), 0)), 2_000_000_000);
    this.#cancelTimer = this.#options.timers.after(ms, () => {
      this.#cancelTimer = undefined;
      this.#happen({ kind: 'tick', at: this.#now() });
    });
  }

  #now(): Nanos {
    return nanosOf(this.#options.nowNs());
  }
}

/** Code and sentence of whatever was thrown. */
export function failureOf(error: unknown): { readonly code: string; readonly message: string } {
  const code =
    error instanceof Error && 'code' in error && typeof error.code === 'string'
      ? error.code
      : 'RECONCILE_RUN_FAILED';
  return { code, message: error instanceof Error ? error.message : String(error) };
}

function stopped(): KedgeError {
  return new KedgeError({ code: 'RECONCILE_STOPPED', message: 'the reconciliation was stopped' });
}

/**
 * Keeps the ledger cosigned by its witness, at the pace of the posture (LE-4): at 2 and 1 after every flush, otherwise
 * every now and then.
 * It must not hold up a record: what the witness does not answer in its time is offered again later.
 */
import type { LedgerWitness } from '@kedge/bus';
import { consistencyProof, nodesInTiles, type NoteVerifier } from '@kedge/ledger';
import type { LedgerStore } from '@kedge/ledger-store';
import {
  type AnchorVerdict,
  openAnchor,
  type Anchoring as Loop,
  startAnchoring,
} from '@kedge/ledger-witness';

import type { QuartermasterLog } from './log.js';

/** What the anchoring is given; all of it stays its owner's. */
export interface AnchoringParts {
  readonly store: Pick<LedgerStore, 'checkpoint' | 'read' | 'size'>;
  readonly url: string;
  readonly witness: NoteVerifier;
  readonly log: NoteVerifier;
  /** Between two anchorings while records are flushed in batches, milliseconds. */
  readonly everyMs: number;
  /** How long one may take, milliseconds. */
  readonly timeoutMs: number;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly say: QuartermasterLog;
}

/** A checkpoint and the size of its tree. */
export interface SizedCheckpoint {
  readonly text: string;
  readonly size: number;
}

/** The size that a checkpoint of our own says. */
export function sizeOf(checkpoint: string): number {
  return Number(checkpoint.split('\n', 2)[1]);
}

/** Offers the newest checkpoint again and again. `close` once. */
export class Anchoring {
  readonly #parts: AnchoringParts;
  readonly #anchor: ReturnType<typeof openAnchor>;
  readonly #loop: Loop;
  readonly #timer: NodeJS.Timeout;
  #atOnce = false;
  #cosigned: SizedCheckpoint | undefined;
  #last: AnchorVerdict | undefined;
  /** What makes the witness refuse for good: this log was put back, or has forked. */
  #against: string | undefined;

  constructor(parts: AnchoringParts) {
    this.#parts = parts;
    const { store, url, witness, log, everyMs, timeoutMs, random, say } = parts;
    this.#anchor = openAnchor({ url, witness, log, answerMs: timeoutMs });
    this.#loop = startAnchoring({
      anchor: this.#anchor,
      latest: () => {
        const checkpoint = store.checkpoint();
        const size = sizeOf(checkpoint);
        if (size === 0 || size === this.#cosigned?.size) return undefined;
        return {
          checkpoint,
          proofFrom: (from) =>
            from === 0 ? [] : consistencyProof(from, size, nodesInTiles(size, store.read)),
        };
      },
      onVerdict: (verdict) => {
        this.#hear(verdict);
      },
      onError: (error) => {
        say.error({ err: error }, 'a checkpoint could not be offered to the witness');
      },
      random,
    });
    this.#timer = setInterval(() => {
      this.#loop.wake();
    }, everyMs);
  }

  /** The newest checkpoint that was cosigned since the start. */
  get cosigned(): SizedCheckpoint | undefined {
    return this.#cosigned;
  }

  /** How the witness stands. */
  get standing(): LedgerWitness {
    const { url } = this.#parts;
    const size = BigInt(this.#cosigned?.size ?? 0);
    const last = this.#last;
    if (this.#against !== undefined && last !== undefined)
      return { url, state: last.verdict, size, why: this.#against };
    if (last === undefined) return { url, state: 'idle', size, why: '' };
    return { url, state: last.verdict, size, why: 'why' in last ? last.why : '' };
  }

  /** Whether every flush is offered at once. */
  setPace(atOnce: boolean): void {
    this.#atOnce = atOnce;
    if (atOnce) this.#loop.wake();
  }

  /** There are new durable entries. */
  grown(): void {
    if (this.#atOnce) this.#loop.wake();
  }

  /** What the witness has against this log, and whether it can be reached. */
  alarms(): readonly string[] {
    if (this.#against !== undefined) return [this.#against];
    const last = this.#last;
    return last !== undefined && 'why' in last ? [`the witness does not cosign: ${last.why}`] : [];
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    // What is under way ends with its connection.
    this.#anchor.close();
    await this.#loop.stop();
  }

  #hear(verdict: AnchorVerdict): void {
    const { say } = this.#parts;
    const before = this.#last?.verdict;
    this.#last = verdict;
    if (verdict.verdict === 'cosigned') {
      this.#cosigned = { text: verdict.checkpoint, size: sizeOf(verdict.checkpoint) };
      if (before !== 'cosigned') say.info({ size: this.#cosigned.size }, 'the witness cosigns the ledger');
      return;
    }
    if ('held' in verdict) {
      this.#against =
        verdict.verdict === 'older'
          ? `the ledger was put back: its witness holds ${verdict.held.size} entries of it`
          : `the ledger has forked: its witness holds another history of ${verdict.held.size} entries`;
      say.error(
        { held: verdict.held.size, note: verdict.heldNote },
        'the witness holds something else of this ledger',
      );
      return;
    }
    if (before !== verdict.verdict) say.warn({ why: verdict.why }, 'the witness does not cosign');
  }
}

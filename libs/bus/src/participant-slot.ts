/**
 * A participant's own file on the board: its heartbeat and its acknowledgement.
 * It must not decide what to acknowledge.
 */
import { PATHS, type PathName } from '@kedge/contracts';
import { createSegment, layout, type SegmentWriter } from '@kedge/shared-memory-ipc';
import { EPOCH_NONE, epochOf, isLevel, KedgeError, type Level, levelOf } from '@kedge/units';

import { ACK_OUTCOMES, type AckOutcome, type Stage, STAGES } from './board-lines.js';

/** What a participant has done; times are CLOCK_MONOTONIC nanoseconds, taken where the work was done (PO-14). */
export interface ParticipantAck {
  /** The epoch that is wholly applied now; never older than one acknowledged before. */
  readonly epoch: bigint;
  /** The stage that was acted on. */
  readonly stage: Exclude<Stage, 'none'>;
  readonly outcome: Exclude<AckOutcome, 'none'>;
  /** The level now applied. */
  readonly level: Level;
  readonly startedAtNs: bigint;
  readonly finishedAtNs: bigint;
  /** Things withdrawn or brought back. */
  readonly changes: number;
}

/** The writer's side of `participant-NAME`. One process holds it. */
export class ParticipantSlot {
  readonly #segment: SegmentWriter;
  readonly #listeners: ((ack: ParticipantAck) => void)[] = [];
  #epoch: bigint;
  #level: Level | undefined;

  /**
   * Creates or takes over the slot. A surviving one of this boot keeps what it acknowledged.
   *
   * @param path the path whose budget binds it; 'none' for a service that only beats.
   * @throws SegmentError `SEGMENT_BUSY` (another process holds it), `SEGMENT_OWNER`, `SEGMENT_DIRECTORY`,
   *   `SEGMENT_NAME`, `SEGMENT_SYSTEM`.
   */
  static create({
    directory,
    name,
    path,
  }: {
    readonly directory: string;
    readonly name: string;
    readonly path: PathName | 'none';
  }): ParticipantSlot {
    const segment = createSegment({ directory, name: `participant-${name}`, kind: 'participant' });
    segment.store32(layout.participant.path, path === 'none' ? layout.limits.pathNone : PATHS.indexOf(path));
    segment.ring();
    return new ParticipantSlot(segment);
  }

  private constructor(segment: SegmentWriter) {
    this.#segment = segment;
    const ack = segment.ack(layout.participant.ack);
    this.#epoch = ack?.epoch ?? EPOCH_NONE;
    this.#level = isLevel(ack?.level) ? ack.level : undefined;
  }

  /** The newest epoch that was acknowledged, also by an earlier process of this boot. */
  get epoch(): bigint {
    return this.#epoch;
  }

  /** The level that was acknowledged last, also by an earlier process of this boot; undefined = none. */
  get level(): Level | undefined {
    return this.#level;
  }

  /** Renews the heartbeat, every 100 ms from the event loop. */
  beat(serving: boolean): void {
    this.#segment.beat(serving);
  }

  /**
   * Writes the slot and rings.
   *
   * @throws KedgeError `BUS_ACK_ORDER` for an epoch older than the last, `BUS_ACK_INVALID` for a field out of range.
   */
  acknowledge(ack: ParticipantAck): void {
    const epoch = epochOf(ack.epoch);
    if (epoch < this.#epoch) {
      throw new KedgeError({
        code: 'BUS_ACK_ORDER',
        message: `cannot acknowledge epoch ${epoch}: epoch ${this.#epoch} was acknowledged already`,
        field: 'epoch',
        expected: `at least ${this.#epoch}`,
      });
    }
    if (!Number.isInteger(ack.changes) || ack.changes < 0 || ack.changes > 0xffff_ffff) {
      throw invalid('changes', 'a whole number from 0 to 4294967295');
    }
    if (ack.startedAtNs < 0n || ack.finishedAtNs < ack.startedAtNs) {
      throw invalid('finishedAtNs', 'a moment not before startedAtNs');
    }
    this.#epoch = epoch;
    this.#level = levelOf(ack.level);
    this.#segment.writeAck(layout.participant.ack, {
      epoch,
      stage: STAGES.indexOf(ack.stage),
      outcome: ACK_OUTCOMES.indexOf(ack.outcome),
      level: levelOf(ack.level),
      startedAtNs: ack.startedAtNs,
      finishedAtNs: ack.finishedAtNs,
      changes: ack.changes,
    });
    for (const listener of this.#listeners) listener(ack);
  }

  /** Told of every acknowledgement after it was written; for whoever counts, not for whoever acts. */
  onAcknowledged(listener: (ack: ParticipantAck) => void): void {
    this.#listeners.push(listener);
  }

  /** Gives the file's lock back; the file and what it says stay. */
  close(): void {
    this.#segment.close();
  }
}

function invalid(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'BUS_ACK_INVALID',
    message: `cannot acknowledge: ${field} is out of range`,
    field,
    expected,
  });
}

/**
 * How records are flushed, by the posture: at 2 and 1 each by itself, otherwise in batches.
 * It must not wait for anything, and nothing waits for it: a tightening goes on without the ledger (PO-22).
 */
import type { PostureBoard } from '@kedge/bus';
import type { FlushMode } from '@kedge/ledger-store';
import type { Level } from '@kedge/units';

/** What moves the level that is looked at. */
const CHANGES = [
  'posture.decided',
  'posture.staged',
  'posture.changed',
  'failclosed.set',
  'failclosed.cleared',
  'board.found',
  'board.lost',
] as const;

/** The mode of a level. */
export function flushModeAt(level: Level): FlushMode {
  return level <= 2 ? 'every' : 'batched';
}

/**
 * Tells the mode now and whenever it changes. The level is the strictest of what is in force and where a transition
 * goes: a tightening is recorded under the mode that it leads to.
 */
export class FlushByPosture {
  readonly #board: Pick<PostureBoard, 'snapshot' | 'on' | 'off'>;
  readonly #tell: (mode: FlushMode, level: Level) => void;
  readonly #look = (): void => {
    const { gateLevel } = this.#board.snapshot();
    if (gateLevel === this.#level) return;
    this.#level = gateLevel;
    this.#tell(flushModeAt(gateLevel), gateLevel);
  };
  #level: Level | undefined;

  constructor(
    board: Pick<PostureBoard, 'snapshot' | 'on' | 'off'>,
    tell: (mode: FlushMode, level: Level) => void,
  ) {
    this.#board = board;
    this.#tell = tell;
    for (const change of CHANGES) board.on(change, this.#look);
    this.#look();
  }

  /** The level that counts now. */
  get level(): Level {
    return this.#level ?? 1;
  }

  close(): void {
    for (const change of CHANGES) this.#board.off(change, this.#look);
  }
}

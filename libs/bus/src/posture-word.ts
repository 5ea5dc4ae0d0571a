/**
 * The posture word: what packets obey now, in one 64-bit number (PO-15).
 * It must not know where a word is stored.
 */
import { type Epoch, epochOf, isLevel, type Level, levelOf, LOCKDOWN } from '@kedge/units';

const LEVEL_MASK = 0x7n;
const FLAGS_SHIFT = 3n;
const FLAGS_MASK = 0x1fffn;
const EPOCH_SHIFT = 16n;

/** A posture word, taken apart. */
export interface PostureWord {
  /** As stored: epoch in the top 48 bits, 13 flag bits, level in the lowest 3. */
  readonly value: bigint;
  readonly epoch: Epoch;
  /** The level to obey: what is stored, or 1 where that is no level. */
  readonly level: Level;
  /** False where the stored level is 0, 6 or 7, which means fail-closed. Also before the first decision. */
  readonly valid: boolean;
  /** 13 bits, none of them has a meaning yet. */
  readonly flags: number;
}

/** Takes a word apart. Every 64-bit value is some word; what is not a level is lockdown. */
export function readWord(value: bigint): PostureWord {
  const raw = Number(value & LEVEL_MASK);
  return {
    value,
    epoch: (value >> EPOCH_SHIFT) as Epoch,
    level: isLevel(raw) ? raw : LOCKDOWN,
    valid: isLevel(raw),
    flags: Number((value >> FLAGS_SHIFT) & FLAGS_MASK),
  };
}

/**
 * Puts a word together.
 *
 * @throws KedgeError `UNITS_EPOCH`, `UNITS_LEVEL`.
 */
export function wordOf(epoch: bigint, level: number, flags = 0): bigint {
  return (
    (epochOf(epoch) << EPOCH_SHIFT) | ((BigInt(flags) & FLAGS_MASK) << FLAGS_SHIFT) | BigInt(levelOf(level))
  );
}

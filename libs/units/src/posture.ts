/**
 * Levels and epochs: the two numbers that every part of Kedge talks about.
 * It must not say what a level does; that is data (accords).
 */
import { KedgeError } from './error.js';

/** The five posture levels in the order from normal to lockdown (PO-1). */
export const LEVELS = [5, 4, 3, 2, 1] as const;

/** A posture level: 5 normal, 4 watch, 3 restricted, 2 emergency, 1 lockdown. Lower is tighter. */
export type Level = (typeof LEVELS)[number];

/** What people call the levels. */
export const LEVEL_NAMES: Readonly<Record<Level, string>> = {
  5: 'normal',
  4: 'watch',
  3: 'restricted',
  2: 'emergency',
  1: 'lockdown',
};

/** The tightest level. Also what is obeyed where a level cannot be read. */
export const LOCKDOWN: Level = 1;

/** True for the numbers 1 to 5 and nothing else. */
export function isLevel(value: unknown): value is Level {
  return value === 1 || value === 2 || value === 3 || value === 4 || value === 5;
}

/**
 * A level that came from outside.
 *
 * @throws KedgeError `UNITS_LEVEL` when it is none.
 */
export function levelOf(value: unknown, field = 'level'): Level {
  if (isLevel(value)) return value;
  throw new KedgeError({
    code: 'UNITS_LEVEL',
    message: `cannot read ${describe(value)} as a posture level`,
    field,
    expected: 'a whole number from 1 (lockdown) to 5 (normal)',
  });
}

/** The tighter (lower) of two levels. */
export function tighterOf(a: Level, b: Level): Level {
  return a < b ? a : b;
}

/** The looser (higher) of two levels. */
export function looserOf(a: Level, b: Level): Level {
  return a > b ? a : b;
}

/** True when `a` is strictly tighter than `b`. */
export function isTighter(a: Level, b: Level): boolean {
  return a < b;
}

/** True when `a` is strictly looser than `b`. */
export function isLooser(a: Level, b: Level): boolean {
  return a > b;
}

/** The way from one level to another: `escalate` (tighter), `deescalate` (looser) or `stay`. */
export type Direction = 'escalate' | 'deescalate' | 'stay';

/** Direction of a move between two levels. */
export function directionOf(from: Level, to: Level): Direction {
  if (to < from) return 'escalate';
  return to > from ? 'deescalate' : 'stay';
}

declare const epoch: unique symbol;

/** Number of a posture decision, 0 (before the first) to {@link EPOCH_MAX}; only ever increasing on an appliance. */
export type Epoch = bigint & { readonly [epoch]: true };

/** Largest epoch: 48 bits of the posture word (PO-15). */
export const EPOCH_MAX = 281_474_976_710_655n as Epoch;

/** The epoch before the first decision. */
export const EPOCH_NONE = 0n as Epoch;

/** True for a bigint that fits the posture word. */
export function isEpoch(value: unknown): value is Epoch {
  return typeof value === 'bigint' && value >= 0n && value <= EPOCH_MAX;
}

/**
 * An epoch that came from outside: a bigint, or a decimal string as in JSON.
 *
 * @throws KedgeError `UNITS_EPOCH` when it is none.
 */
export function epochOf(value: unknown, field = 'epoch'): Epoch {
  if (isEpoch(value)) return value;
  if (typeof value === 'string' && /^(0|[1-9]\d{0,14})$/.test(value)) {
    const number = BigInt(value);
    if (isEpoch(number)) return number;
  }
  throw new KedgeError({
    code: 'UNITS_EPOCH',
    message: `cannot read ${describe(value)} as an epoch`,
    field,
    expected: `a whole number from 0 to ${String(EPOCH_MAX)}`,
  });
}

/** The later (higher) of two epochs. */
export function laterOf(a: Epoch, b: Epoch): Epoch {
  return a > b ? a : b;
}

/**
 * The epoch after `value`.
 *
 * @throws KedgeError `UNITS_EPOCH` when there is none left.
 */
export function nextEpoch(value: Epoch): Epoch {
  return epochOf(value + 1n);
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return String(value);
  return value === null ? 'null' : typeof value;
}

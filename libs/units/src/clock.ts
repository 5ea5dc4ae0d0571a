/**
 * Durations, instants and the clock that is injected into whatever needs to know the time.
 * It must not read a clock itself.
 */
declare const millis: unique symbol;
declare const nanos: unique symbol;

/** A duration in milliseconds, may have a fraction. */
export type Millis = number & { readonly [millis]: true };

/**
 * Nanoseconds: a duration, or an instant of CLOCK_MONOTONIC (0 = never). Unsigned 64 bits; a decimal string in
 * JSON.
 */
export type Nanos = bigint & { readonly [nanos]: true };

/** Gives a number its unit. */
export function millisOf(value: number): Millis {
  return value as Millis;
}

/** Gives a bigint its unit. */
export function nanosOf(value: bigint): Nanos {
  return value as Nanos;
}

/** Whole nanoseconds of a duration in milliseconds. */
export function nanosFromMillis(value: Millis | number): Nanos {
  return BigInt(Math.round(value * 1e6)) as Nanos;
}

/** Milliseconds of a duration in nanoseconds; exact up to 2^53 nanoseconds (104 days). */
export function millisFromNanos(value: Nanos | bigint): Millis {
  return (Number(value) / 1e6) as Millis;
}

/** The two clocks of a machine. Injected, so that whoever decides by time can be tested without waiting. */
export interface Clock {
  /** CLOCK_MONOTONIC in nanoseconds; the only one to measure with (PO-14). */
  monotonicNs(): bigint;
  /** Milliseconds since 1970 by the wall clock; for people, never for measuring. */
  wallMs(): number;
}

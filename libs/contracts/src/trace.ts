/**
 * Spans of one transition as data. Every service says its own; they join without a message between them, because what
 * a span is called follows from the boot, the epoch and its place in the transition.
 * It must not know how spans leave an appliance, nor read a clock.
 */

/** A part of a transition; moments are CLOCK_MONOTONIC nanoseconds, taken where the work was done (PO-14). */
export interface Span {
  readonly epoch: bigint;
  readonly place: number;
  /** Absent: the root. */
  readonly parent?: number;
  readonly name: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, string | number | bigint | boolean>>;
}

const PATH_PLACE = { dataplane: 0x10, overlay: 0x11, underlay: 0x12 } as const;

/** Places of spans in a transition, 16 bits, never 0. */
export const SPAN_PLACE = {
  transition: 0x01,
  store: 0x02,
  journal: 0x03,
  verify: 0x04,
  path: (path: keyof typeof PATH_PLACE): number => PATH_PLACE[path],
  /** What a participant did at a stage, by the number of the stage, 0 to 255. */
  participant: (path: 'overlay' | 'underlay', stage: number): number =>
    (path === 'overlay' ? 0x2000 : 0x2100) | (stage & 0xff),
  /** A packet worker, by the place of its data plane in the configuration (0 to 63) and its number (0 to 255). */
  worker: (dataplane: number, worker: number): number => 0x4000 | ((dataplane & 0x3f) << 8) | (worker & 0xff),
} as const;

/** 32 hexadecimal digits: the first 80 bits of the boot id, then the epoch, of which there is one of each. */
export function traceIdOf(bootId: string, epoch: bigint): string {
  return `${bootId.replaceAll('-', '').slice(0, 20)}${epoch.toString(16).padStart(12, '0').slice(-12)}`;
}

/** 16 hexadecimal digits: the epoch, then the place. */
export function spanIdOf(epoch: bigint, place: number): string {
  return `${epoch.toString(16).padStart(12, '0').slice(-12)}${place.toString(16).padStart(4, '0')}`;
}

/**
 * Names of the warden's events, as in `enum kedge_violation_kind` of the layout.
 * It must not read the ring in which they stand.
 */

/** By number, from 1. */
export const VIOLATION_KIND_NAMES = {
  1: 'budget',
  2: 'late-loosening',
  3: 'stale-service',
  4: 'dataplane-killed',
  5: 'service-died',
  6: 'alarm',
  7: 'fail-closed-cleared',
} as const;

/**
 * `budget`: a path missed its budget. `late-loosening`: recorded, never fail-closed. `stale-service`: event loop
 * silent, killed. `dataplane-killed`: stayed silent after its deadline. `service-died`: ended by itself; its
 * outcome is the exit status (128 + signal). `alarm`: a miss on the way to 4, or a posture word that went back.
 * `fail-closed-cleared`: verify passed at the current epoch.
 */
export type ViolationKind = (typeof VIOLATION_KIND_NAMES)[keyof typeof VIOLATION_KIND_NAMES];

/** The name of a kind as it stands in the segment; undefined for a number that is none. */
export function violationKindOf(kind: number): ViolationKind | undefined {
  return (VIOLATION_KIND_NAMES as Readonly<Record<number, ViolationKind>>)[kind];
}

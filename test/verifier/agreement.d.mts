/** A case in which the two differ, or which both get wrong. */
export interface SaidCase {
  readonly number: number;
  readonly kind: string;
  readonly ours: unknown;
  readonly theirs: unknown;
  readonly case: unknown;
}
export interface Agreement {
  readonly cases: number;
  readonly trees: number;
  readonly tamperings: number;
  readonly different: readonly SaidCase[];
  readonly missed: readonly SaidCase[];
}
export function agreement(trees: number, seed: number): Promise<Agreement>;

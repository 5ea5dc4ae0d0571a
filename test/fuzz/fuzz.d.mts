export const TARGETS: readonly string[];
export interface Plant {
  readonly target: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}
export interface FuzzResult {
  readonly target: string;
  readonly executions: number;
  readonly perSecond: number;
  readonly seconds: number;
  readonly coverage: number;
  readonly inputs: number;
  readonly ok: boolean;
  readonly status: number | string;
  readonly finding: string | undefined;
  readonly why: string | undefined;
}
export function startsOf(target: string): string[];
export function plants(): Plant[];
export function build(targets: readonly string[]): string[];
export function buildPlanted(targets: readonly string[]): string[];
export function fuzz(
  program: string,
  target: string,
  options: {
    readonly corpora: readonly string[];
    readonly findings: string;
    readonly jobs?: number;
    readonly seed?: number;
    readonly runs?: number;
    readonly seconds?: number;
    readonly flags?: readonly string[];
  },
): Promise<FuzzResult>;

export interface Mutant {
  readonly id: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly test: { readonly file: string; readonly title: string };
  readonly build?: readonly string[];
}
export function mutants(root?: string): Mutant[];
export function occurrences(mutant: Mutant, root?: string): number;

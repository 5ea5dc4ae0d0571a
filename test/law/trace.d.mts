export interface Owed {
  readonly id: string;
  readonly clause?: string;
  readonly text: string;
  readonly why: string;
}
export interface NamedTest {
  readonly file: string;
  readonly title: string;
  readonly ids: readonly string[];
}
export interface Trace {
  readonly ids: readonly { readonly id: string; readonly tests: readonly string[] }[];
  readonly owed: readonly Owed[];
  readonly untested: readonly string[];
  readonly unknown: readonly string[];
}
export function requirements(root?: string): { id: string; title: string }[];
export function owedList(root?: string): Owed[];
export function titlesIn(text: string, name?: string): string[];
export function idsOf(title: string): string[];
export function namedTests(root?: string): NamedTest[];
export function trace(root?: string): Trace;

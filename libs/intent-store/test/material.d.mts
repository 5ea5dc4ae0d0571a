import type { Heads, IntentDatastores, IntentKeeping, Kept, Reply, Revision } from '@kedge/datastores';

export function sha256(text: string): string;
export function documentAt(number: number, isBulky?: boolean): string;
export function digestOf(
  heads: Heads,
  revisions: readonly Revision[],
  documents: ReadonlyMap<string, string>,
): string;
export interface Over {
  readonly datastores: IntentDatastores;
  request(request: object): Promise<Reply>;
  load(number: number, isBulky?: boolean): Promise<Reply>;
  commit(confirmSeconds?: number): Promise<Reply>;
  pass(seconds: number): Promise<void>;
}
export function datastoresOver(
  store: IntentKeeping & { readonly kept: Kept | undefined },
  onKept?: (step: number, digest: string) => void,
  onBegin?: (step: number) => void,
): Promise<Over>;
export function wholeCourse(over: Over): Promise<void>;

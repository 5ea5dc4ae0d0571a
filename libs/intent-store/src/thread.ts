/**
 * What the kept intent and its thread say to each other.
 * It must not hold code.
 */
import type { Keep, Kept } from '@kedge/datastores';

/** What the thread is started with. */
export interface ThreadData {
  readonly path: string;
}

/** What it is asked for, one after the other. */
export type Call =
  | { readonly call: 'open' }
  | { readonly call: 'keep'; readonly keep: Keep }
  | { readonly call: 'document'; readonly hash: string }
  | { readonly call: 'close' };

/** What it answers with: what was kept, or a document. */
export type Answer = Kept | string | undefined;

/** One for each call that did not fail, in their order. */
export interface Reply {
  readonly answer: Answer;
}

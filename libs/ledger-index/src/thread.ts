/**
 * What the index and its thread say to each other.
 * It must not hold code.
 */
import type { CheckedPage } from './checked-question.js';
import type { Answer, Filter } from './question.js';

/** What the thread is started with. */
export interface ThreadData {
  readonly path: string;
  readonly origin: string;
}

/** What it is asked for, one after the other. */
export type Call =
  | { readonly call: 'open' }
  /** The log is not the one that was indexed: begins with nothing. */
  | { readonly call: 'renew' }
  /** Entries one behind the other in `bytes`. */
  | {
      readonly call: 'add';
      readonly first: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly lengths: readonly number[];
    }
  | { readonly call: 'query'; readonly filter: Filter; readonly page: CheckedPage }
  | { readonly call: 'prune'; readonly before: number }
  | { readonly call: 'close' };

/** Why an index begins with nothing; `kept` where it goes on from what was there. */
export type Beginning = 'kept' | 'new' | 'damaged' | 'other-version' | 'other-log';

/** How it stands after a call. */
export interface Told {
  readonly beginning: Beginning;
  readonly from: number;
  readonly upTo: number;
  readonly leaf: Uint8Array | undefined;
}

/** One for each call that did not fail, in their order. */
export interface Reply {
  readonly told: Told;
  readonly answer?: Answer | undefined;
}

/**
 * The front door of the ledger's index.
 * It must not hold code of its own.
 */
export {
  type EntriesFrom,
  type LedgerIndex,
  type LedgerIndexOptions,
  openLedgerIndex,
} from './ledger-index.js';
export {
  type Answer,
  type Filter,
  type Kind,
  LIMIT_MAX,
  type Page,
  type Row,
  WORDS_MAX,
} from './question.js';
export type { Beginning } from './thread.js';

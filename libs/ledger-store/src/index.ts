/**
 * The ledger as durable files: what was acknowledged survives, verifies, and stays bounded.
 * It must not decide what is recorded, nor who may ask for it.
 */
import type { LedgerStore, LedgerStoreOptions } from './store.js';

export type {
  DurableRecord,
  FlushMode,
  LedgerStore,
  LedgerStoreOptions,
  RetentionOptions,
  RetentionOutcome,
  SealedRecord,
  StoredEntry,
  StoreLimits,
  StoreRecovery,
  StoreStatus,
  SubjectKeys,
} from './store.js';

export declare function openLedgerStore(options: LedgerStoreOptions): Promise<LedgerStore>;

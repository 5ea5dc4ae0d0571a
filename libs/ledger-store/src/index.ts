/**
 * The ledger as durable files: what was acknowledged survives, verifies, and stays bounded.
 * It must not decide what is recorded, nor who may ask for it.
 */
export { bundlesOf, SEGMENT_BUNDLES, type SegmentManifest } from './archive.js';
export { openLedgerStore } from './open-store.js';
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

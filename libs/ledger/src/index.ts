/**
 * Records on their way to the ledger: canonical encoding and a durable, bounded spool.
 * It must not decide what is recorded.
 */
export { decodeRecord, encodeRecord, MAX_RECORD_BYTES } from './canonical.js';
export {
  openSpool,
  type Spool,
  type SpooledRecord,
  type SpoolOptions,
  type SpoolRecovery,
  type SpoolStatus,
} from './spool.js';

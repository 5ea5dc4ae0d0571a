/**
 * How the records of a service reach the ledger: an outbox that nobody waits for, and the forwarder behind it.
 * It must not decide what is recorded, and must never delay or fail its service (PO-22).
 */
export { ledgerReadings } from './ledger-readings.js';
export { openOutbox, Outbox, type OutboxOptions, type OutboxStatus } from './outbox.js';
export {
  type Deliver,
  type ForwarderStatus,
  SpoolForwarder,
  type SpoolForwarderOptions,
} from './spool-forwarder.js';

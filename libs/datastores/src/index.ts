/**
 * Datastores of the intent after NMDA (RFC 8342), as one total state machine: revisions, candidate, lock, commits that
 * have to be confirmed, history. It must stay pure; storage, the schema, clocks and timers are given by its users.
 */
export * from './data-path.js';
export * from './datastores-state.js';
export { step, unknownRevision } from './datastores-machine.js';
export {
  type Change,
  IntentDatastores,
  type IntentDatastoresOptions,
  type IntentKeeping,
  type IntentSchema,
  type Source,
  SOURCES,
  type Validation,
} from './datastores.js';
export * from './document.js';
export { dropped, HISTORY_BOUNDS, type HistoryBounds } from './history.js';
export * from './refusal.js';
export * from './revision.js';

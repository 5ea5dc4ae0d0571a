/**
 * The front door of the kept intent.
 * It must not hold code of its own.
 */
export { type IntentStore, type IntentStoreOptions, openIntentStore } from './intent-store.js';
export { sha256 } from './store-file.js';

/**
 * Brings intent to devices and holds them to it: one total state machine per device (UN-3, UN-6, UN-7, UN-14).
 * It must stay pure; devices, storage, the ledger, clocks and timers are its user's.
 */
export { APPLIANCE, applianceAt } from './authority.js';
export {
  type Attempt,
  type CarriedIntent,
  type DeviceMemory,
  emptyMemory,
  memoryText,
  parsedMemory,
} from './device-memory.js';
export { type DevicePosture, isSamePosture, NO_POSTURE } from './device-posture.js';
export { type Intended, intendedOf, inventoryOf } from './intended.js';
export { type Judgement, judgementOf, type Question, type Tools } from './judgement.js';
export { begun, dueOf, isPending, isTended, REMEDIES_MOST, step, supersededBy } from './rollout-machine.js';
export * from './rollout-state.js';
export { type Standing, standingOf } from './standing.js';

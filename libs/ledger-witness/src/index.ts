/**
 * A witness of ledgers (C2SP tlog-witness) and its client: who cosigns a log that has only grown, and who asks it.
 * It must not read a ledger's entries, nor know whose ledgers these are.
 */
export {
  type AddCheckpoint,
  addCheckpointOf,
  addCheckpointText,
  MAX_REQUEST_BYTES,
  originHash,
} from './add-checkpoint.js';
export {
  type Anchor,
  type AnchorOptions,
  type AnchorRequest,
  type AnchorVerdict,
  openAnchor,
} from './anchor.js';
export { type Anchoring, type AnchoringOptions, startAnchoring } from './anchoring.js';
export { type Contradiction, type Held, type Judgement, judgementOf } from './judgement.js';
export { createWitnessKey, readWitnessKey } from './witness-key.js';
export { serveWitness, type WitnessServer, type WitnessServerOptions } from './witness-server.js';
export { openWitness, type Witness, type WitnessAlarm, type WitnessOptions } from './witness.js';

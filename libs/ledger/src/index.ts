/**
 * Records on their way into the ledger: canonical encoding, a durable and bounded spool, and the ledger's proofs.
 * It must not decide what is recorded.
 */
export { canonicalJson, JSON_LEVELS_MAX, parseCanonicalJson } from './canonical-json.js';
export { checkedRecord, decodeRecord, encodeRecord, MAX_RECORD_BYTES } from './canonical.js';
export {
  type Checkpoint,
  type EntryProof,
  isProven,
  openCheckpoint,
  type OpenedCheckpoint,
  proofOf,
  proofText,
  signCheckpoint,
  unsignedCheckpoint,
  type UnsignedCheckpoint,
} from './checkpoint.js';
export {
  type KeyById,
  type KeyOfSubject,
  openEntry,
  type OpenedEntry,
  pseudonymised,
  type Seal,
  sealEntry,
  sealRecord,
  sealValue,
  SUBJECT_KEY_BYTES,
  type SubjectKey,
  subjectKeyOf,
} from './entry.js';
export { checkLog, type LogCheck, type LogFault, type LogVerdict } from './log-check.js';
export {
  type ConsistencyClaim,
  consistencyProof,
  edgeOf,
  EMPTY_ROOT,
  GrowingTree,
  HASH_BYTES,
  type InclusionClaim,
  inclusionProof,
  isConsistent,
  isIncluded,
  isTreeSize,
  leafHash,
  nodeHash,
  type NodeHashes,
  nodesOver,
  type NodeWatcher,
  type PairHash,
  rootOf,
} from './merkle-tree.js';
export {
  type ForensicFacts,
  type ForensicItem,
  forensicRecords,
  type MutationFacts,
  mutationRecords,
  type RecordedStep,
} from './parts.js';
export { isInSample, isRecorded, isRightlyRecorded } from './sampling.js';
export {
  cosigned,
  MAX_NOTE_BYTES,
  MAX_SIGNATURES,
  type NoteSignature,
  type NoteSigner,
  type NoteVerifier,
  type OpenedNote,
  openNote,
  type SignatureKind,
  signerOf,
  SIGNATURE_LENGTH,
  signNote,
  verifierOf,
} from './signed-note.js';
export {
  openSpool,
  type Spool,
  type SpooledRecord,
  type SpoolOptions,
  type SpoolRecovery,
  type SpoolStatus,
} from './spool.js';
export { type SpoolIdentity } from './spool-identity.js';
export { type SpooledBytes, type SpoolReader } from './spool-reader.js';
export { type LogFile, TiledLog } from './tiled-log.js';
export {
  bundleOf,
  CHECKPOINT_PATH,
  entriesOf,
  hashesAt,
  MAX_ENTRY_BYTES,
  nodesInTiles,
  partsOrThrow,
  placeAt,
  readEntries,
  readHashes,
  TILE_HEIGHT,
  TILE_WIDTH,
  type TileFault,
  tileIn,
  tilePath,
  type TilePlace,
  type TileReader,
  tilesOf,
} from './tiles.js';
export { witnessVerdict, type WitnessVerdict } from './witness.js';

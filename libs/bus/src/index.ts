/**
 * The front door of the bus: the posture board in shared memory, and gRPC over Unix sockets.
 * It must not decide anything about the posture; it carries what others decide.
 */
export {
  accordDocument,
  type AccordFiles,
  accordUnreadable,
  filesBehind,
  readAccordDocument,
  refuseLargeAccord,
} from './accord-files.js';
export {
  type CallContext,
  type CallOptions,
  type Calls,
  defineService,
  type Duplex,
  type Handlers,
  MAX_REQUEST_BYTES,
  type MethodDefinition,
  type ServiceDefinition,
  type Streaming,
  type StreamOptions,
  type Unary,
} from './api.js';
export {
  ACK_OUTCOMES,
  type Acknowledgement,
  type AckOutcome,
  type BoardFault,
  type PerPath,
  type Stage,
  STAGES,
  type Transition,
  type Violation,
  type WorkerLines,
} from './board-lines.js';
export {
  type BoardFile,
  type BoardSnapshot,
  type DataplaneState,
  type Disagreement,
  type ParticipantState,
} from './board-snapshot.js';
export * from './bascule-api.js';
export { type DesiredStore, type DesiredStoreOptions, openDesiredStore, sha256 } from './desired-store.js';
export * from './devices-api.js';
export * from './governance-api.js';
export * from './intent-api.js';
export * from './intent-devices-api.js';
export * from './ledger-api.js';
export * from './overlay-api.js';
export {
  type Binding,
  bindingOf,
  mayFollow,
  dataplaneAcknowledged,
  gateViewOf,
  type PathLayer,
} from './participant-binding.js';
export {
  type HostedParticipant,
  type HostLog,
  type HostOptions,
  hostParticipant,
  type Limit,
  type OwnLimit,
  type ParticipantStatus,
} from './participant-host.js';
export { type ParticipantAck, ParticipantSlot } from './participant-slot.js';
export * from './posture-api.js';
export * from './posture-board.js';
export { type PostureWord, readWord, wordOf } from './posture-word.js';
export { type SocketLock, socketState, type SocketState, takeLock } from './socket-lock.js';
export { type PlacedSocket, placeSocket, verifySocketDirectory, verifySocketPlace } from './socket-place.js';
export * from './underlay-api.js';
export {
  type Client,
  type Connection,
  dialUnix,
  governanceClient,
  type GovernanceClient,
  intentPostureClient,
  postureClient,
  type PostureClient,
} from './unix-client.js';
export {
  type CallFault,
  MAX_REPLY_BYTES,
  provide,
  type ProvidedService,
  type ServeOptions,
  serveUnix,
  type UnixServer,
} from './unix-server.js';

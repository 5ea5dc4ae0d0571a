/**
 * The API of the ledger in TypeScript. What every field means stands in proto/kedge/ledger/v1/ledger.proto, which is
 * its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Duplex, type Streaming, type Unary } from './api.js';
import { dialUnix, type Client } from './unix-client.js';

/** Bytes of records that one batch may carry. */
export const MAX_BATCH_BYTES = 1024 * 1024;
/** With what a batch has beside its records. */
const MAX_BATCH_MESSAGE_BYTES = MAX_BATCH_BYTES + 256 * 1024;

export interface Batch {
  readonly spool: string;
  readonly first: bigint;
  readonly records: readonly Uint8Array[];
}

export interface Kept {
  readonly spool: string;
  readonly upTo: bigint;
}

/** The calls of kedge.ledger.v1.Intake. */
export interface IntakeApi {
  readonly deliver: Duplex<Batch, Kept>;
}

export interface LedgerFilter {
  readonly fromWallMs?: bigint;
  readonly toWallMs?: bigint;
  readonly kinds: readonly string[];
  readonly level?: number;
  readonly principal?: string;
  readonly device?: string;
  readonly session?: string;
  readonly outcome?: string;
}

export interface QueryRequest {
  readonly filter?: LedgerFilter;
  readonly limit: number;
  readonly after?: bigint;
  readonly newestFirst: boolean;
}

export interface LedgerEntry {
  readonly index: bigint;
  readonly record: string;
  readonly erased: readonly string[];
}

export interface QueryReply {
  readonly count: bigint;
  readonly entries: readonly LedgerEntry[];
  readonly more: boolean;
  readonly indexed: bigint;
}

export interface TailRequest {
  readonly filter?: LedgerFilter;
  readonly from?: bigint;
}

export interface TailReply {
  readonly entries: readonly LedgerEntry[];
  readonly next: bigint;
}

export interface ProveRequest {
  readonly index: bigint;
}

export interface ProveReply {
  readonly proof: string;
  readonly entry: Uint8Array;
  readonly leafHash: Uint8Array;
}

export interface GetCheckpointRequest {
  readonly oldSize?: bigint;
}

export interface GetCheckpointReply {
  readonly checkpoint: string;
  readonly consistency: readonly Uint8Array[];
  readonly verifier: string;
}

export type LedgerStatusRequest = Record<string, never>;

export interface LedgerSource {
  readonly service: string;
  readonly spool: string;
  readonly upTo: bigint;
  readonly streams: number;
  readonly records: bigint;
  readonly duplicates: bigint;
}

export interface LedgerWitness {
  readonly url: string;
  readonly state: string;
  readonly size: bigint;
  readonly why: string;
}

export interface LedgerSnapshot {
  readonly id: string;
  readonly complete: boolean;
  readonly missing: readonly string[];
  readonly tookNs: bigint;
}

export interface LedgerStatusReply {
  readonly origin: string;
  readonly verifier: string;
  readonly size: bigint;
  readonly keptFrom: bigint;
  readonly flush: string;
  readonly level: number;
  readonly refusing: boolean;
  readonly why: string;
  readonly indexed: bigint;
  readonly sources: readonly LedgerSource[];
  readonly witness?: LedgerWitness;
  readonly alarms: readonly string[];
  readonly snapshot?: LedgerSnapshot;
  readonly keptOut: bigint;
}

export interface EraseRequest {
  readonly subject: string;
  readonly reason: string;
  readonly principal: string;
}

export interface EraseReply {
  readonly erased: boolean;
}

export interface ExportRequest {
  readonly filter?: LedgerFilter;
  readonly format: string;
  readonly pseudonymised: boolean;
}

export interface ExportPiece {
  readonly bytes: Uint8Array;
  readonly entries: number;
}

/** The calls of kedge.ledger.v1.Ledger. */
export interface LedgerApi {
  readonly query: Unary<QueryRequest, QueryReply>;
  readonly tail: Streaming<TailRequest, TailReply>;
  readonly prove: Unary<ProveRequest, ProveReply>;
  readonly getCheckpoint: Unary<GetCheckpointRequest, GetCheckpointReply>;
  readonly status: Unary<LedgerStatusRequest, LedgerStatusReply>;
  readonly erase: Unary<EraseRequest, EraseReply>;
  readonly export: Streaming<ExportRequest, ExportPiece>;
}

const FILE = 'kedge/ledger/v1/ledger.proto';

/** kedge.ledger.v1.Intake, loaded from its .proto. Its requests may be larger than those of other services. */
export const intakeService = defineService<IntakeApi>(FILE, 'kedge.ledger.v1.Intake', {
  maxRequestBytes: MAX_BATCH_MESSAGE_BYTES,
});

/** kedge.ledger.v1.Ledger, loaded from its .proto. */
export const ledgerService = defineService<LedgerApi>(FILE, 'kedge.ledger.v1.Ledger');

export type IntakeClient = Client<IntakeApi>;
export type LedgerClient = Client<LedgerApi>;

/** A client of the intake of one service. Connects with its first call. */
export function intakeClient(socket: string): IntakeClient {
  return dialUnix(socket, intakeService);
}

/** A client of the ledger. Connects with its first call. */
export function ledgerClient(socket: string): LedgerClient {
  return dialUnix(socket, ledgerService);
}

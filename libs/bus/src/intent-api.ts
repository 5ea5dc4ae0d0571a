/**
 * The API of the intent in TypeScript. What every field means stands in proto/kedge/intent/v1/intent.proto, which is
 * its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Streaming, type Unary } from './api.js';
import { type Client, dialUnix } from './unix-client.js';

export interface IntentHolderMessage {
  readonly principal: string;
  readonly tier: string;
  readonly channel: string;
}

export interface IntentRevisionMessage {
  readonly number: number;
  readonly id: string;
  readonly parent: string;
  readonly atWallMs: bigint;
  readonly by?: IntentHolderMessage;
  readonly cause: string;
  readonly of: number;
  readonly confirmSeconds: number;
  readonly comment: string;
  readonly hash: string;
  readonly bytes: bigint;
  readonly modules: string;
}

export interface IntentLockMessage {
  readonly by?: IntentHolderMessage;
  readonly atWallMs: bigint;
  readonly comment: string;
}

export interface IntentCandidateMessage {
  readonly base: number;
  readonly hash: string;
  readonly changed: boolean;
  readonly by?: IntentHolderMessage;
  readonly atWallMs: bigint;
}

export interface IntentPendingMessage {
  readonly revision: number;
  readonly by?: IntentHolderMessage;
  readonly untilWallMs: bigint;
  readonly waiting: boolean;
}

export interface IntentFindingMessage {
  readonly path: string;
  readonly message: string;
  readonly appTag: string;
}

export interface IntentRefusalMessage {
  readonly code: string;
  readonly message: string;
  readonly field: string;
  readonly expected: string;
  readonly help: string;
  readonly rule: string;
  readonly between?: IntentRevisionMessage;
  readonly findings: readonly IntentFindingMessage[];
  readonly complete: boolean;
}

export interface IntentStatusReply {
  readonly phase: string;
  readonly level: number;
  readonly frozen: boolean;
  readonly running: number;
  readonly startup: number;
  readonly intended: number;
  readonly candidate?: IntentCandidateMessage;
  readonly lock?: IntentLockMessage;
  readonly pending?: IntentPendingMessage;
  readonly modules: string;
  readonly validity: string;
  readonly revisions: number;
  readonly bytes: bigint;
  readonly alarms: readonly string[];
}

export interface IntentSourceRequest {
  readonly source: string;
}

export interface IntentPiece {
  readonly bytes: Uint8Array;
}

export interface IntentHistoryRequest {
  readonly limit: number;
  readonly before: number;
}

export interface IntentHistoryReply {
  readonly revisions: readonly IntentRevisionMessage[];
  readonly total: number;
}

export interface IntentValidateReply {
  readonly findings: readonly IntentFindingMessage[];
  readonly complete: boolean;
}

export interface IntentCompareRequest {
  readonly from: string;
  readonly to: string;
}

export interface IntentChangeMessage {
  readonly path: string;
  readonly kind: string;
  readonly before?: string;
  readonly after?: string;
}

/** What every request that changes something says. */
export interface IntentAsking {
  readonly principal: string;
}

export interface IntentLoadRequest extends IntentAsking {
  readonly document: string;
}

export interface IntentEditMessage {
  readonly kind: string;
  readonly path: string;
  readonly value?: string;
}

export interface IntentEditRequest extends IntentAsking {
  readonly edits: readonly IntentEditMessage[];
}

export interface IntentLockRequest extends IntentAsking {
  readonly comment: string;
}

export interface IntentUnlockRequest extends IntentAsking {
  readonly force: boolean;
}

export interface IntentCommitRequest extends IntentAsking {
  readonly comment: string;
  readonly confirmSeconds: number;
  readonly ifRevision: number;
}

export interface IntentRollbackRequest extends IntentCommitRequest {
  readonly to: number;
}

export interface IntentConfirmRequest extends IntentAsking {
  readonly revision: number;
}

export type IntentReply =
  | { readonly outcome: 'candidate'; readonly candidate: IntentCandidateMessage }
  | { readonly outcome: 'locked'; readonly locked: IntentLockMessage }
  | { readonly outcome: 'unlocked'; readonly unlocked: IntentLockMessage }
  | {
      readonly outcome: 'committed';
      readonly committed: { readonly revision?: IntentRevisionMessage; readonly confirmByWallMs: bigint };
    }
  | { readonly outcome: 'unchanged'; readonly unchanged: IntentRevisionMessage }
  | { readonly outcome: 'confirmed'; readonly confirmed: IntentRevisionMessage }
  | {
      readonly outcome: 'cancelled';
      readonly cancelled: { readonly revision?: IntentRevisionMessage; readonly was: number };
    }
  | { readonly outcome: 'refusal'; readonly refusal: IntentRefusalMessage };

/** The calls of kedge.intent.v1.Intent. */
export interface IntentApi {
  readonly status: Unary<Record<string, never>, IntentStatusReply>;
  readonly show: Streaming<IntentSourceRequest, IntentPiece>;
  readonly history: Unary<IntentHistoryRequest, IntentHistoryReply>;
  readonly validate: Unary<IntentSourceRequest, IntentValidateReply>;
  readonly compare: Streaming<IntentCompareRequest, IntentChangeMessage>;
  readonly load: Unary<IntentLoadRequest, IntentReply>;
  readonly edit: Unary<IntentEditRequest, IntentReply>;
  readonly discard: Unary<IntentAsking, IntentReply>;
  readonly lock: Unary<IntentLockRequest, IntentReply>;
  readonly unlock: Unary<IntentUnlockRequest, IntentReply>;
  readonly commit: Unary<IntentCommitRequest, IntentReply>;
  readonly rollback: Unary<IntentRollbackRequest, IntentReply>;
  readonly confirm: Unary<IntentConfirmRequest, IntentReply>;
  readonly cancel: Unary<IntentConfirmRequest, IntentReply>;
}

/** Largest request, bytes: a whole document in one. */
export const MAX_INTENT_REQUEST_BYTES = 17 * 1024 * 1024;

/** kedge.intent.v1.Intent, loaded from its .proto. */
export const intentService = defineService<IntentApi>(
  'kedge/intent/v1/intent.proto',
  'kedge.intent.v1.Intent',
  {
    maxRequestBytes: MAX_INTENT_REQUEST_BYTES,
  },
);

export type IntentClient = Client<IntentApi>;

/** A client of the intent. Connects with its first call. */
export function intentClient(socket: string): IntentClient {
  return dialUnix(socket, intentService);
}

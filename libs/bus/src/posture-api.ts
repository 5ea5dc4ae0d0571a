/**
 * The local API of the posture coordinator in TypeScript. What every field means stands in
 * proto/kedge/posture/v1/posture.proto, which is its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { ACCORD_BYTES_MAX } from './accord-files.js';
import { defineService, MAX_REQUEST_BYTES, type Streaming, type Unary } from './api.js';

export type GetRequest = Record<string, never>;
export type WatchRequest = Record<string, never>;

export interface SetRequest {
  readonly level: number;
  readonly reason: string;
  readonly principal: string;
  readonly idempotencyKey: string;
  readonly ifEpoch?: bigint;
}

export interface AccordDocuments {
  readonly accords: string;
  readonly zones: string;
}

export interface OnBehalf {
  readonly tier: string;
  readonly channel: string;
  readonly askedMsAgo?: bigint;
}

export interface ReloadAccordsRequest {
  readonly reason: string;
  readonly principal: string;
  readonly idempotencyKey: string;
  readonly ifEpoch?: bigint;
  readonly documents?: AccordDocuments;
  readonly onBehalf?: OnBehalf;
}

export interface ReloadPoliciesRequest {
  readonly reason: string;
  readonly principal: string;
}

export interface PoliciesInForce {
  readonly set: string;
  readonly generation: string;
  readonly policies: number;
  readonly changed: boolean;
}

export type ReloadPoliciesReply =
  | { readonly outcome: 'inForce'; readonly inForce: PoliciesInForce }
  | { readonly outcome: 'refusal'; readonly refusal: RefusalReply };

export interface DecisionReply {
  readonly epoch: bigint;
  readonly from: number;
  readonly to: number;
  readonly durable: boolean;
  readonly receivedAtNs: bigint;
  readonly decidedAtNs: bigint;
}

export interface WaitingReply {
  readonly behindEpoch: bigint;
}

export interface RefusalReply {
  readonly code: string;
  readonly message: string;
  readonly field: string;
  readonly expected: string;
  readonly help: string;
  readonly rule: string;
}

export type SetReply =
  | { readonly outcome: 'decision'; readonly decision: DecisionReply }
  | { readonly outcome: 'refusal'; readonly refusal: RefusalReply }
  | { readonly outcome: 'waiting'; readonly waiting: WaitingReply };

export interface FailClosedReport {
  readonly path: string;
  readonly level: number;
  readonly epoch: bigint;
  readonly setAtNs: bigint;
}

export interface ServiceReport {
  readonly name: string;
  readonly beatAgeNs: bigint;
  readonly stale: boolean;
  readonly serving: boolean;
  readonly pid: number;
  readonly epoch: bigint;
  readonly level: number;
}

export interface SourceReport {
  readonly channel: string;
  readonly tier: string;
  readonly principal: string;
  readonly reason: string;
}

export interface ParticipantReport {
  readonly name: string;
  readonly startedAtNs: bigint;
  readonly finishedAtNs: bigint;
  readonly outcome: string;
  readonly level: number;
  readonly changes: number;
}

export interface PathReport {
  readonly path: string;
  readonly budgetNs: bigint;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly outcome: string;
  readonly participants: readonly ParticipantReport[];
}

export interface TransitionReport {
  readonly epoch: bigint;
  readonly from: number;
  readonly to: number;
  readonly outcome: string;
  readonly source?: SourceReport;
  readonly receivedAtNs: bigint;
  readonly decidedAtNs: bigint;
  readonly storedAtNs: bigint;
  readonly journaledAtNs: bigint;
  readonly completedAtNs: bigint;
  readonly durable: boolean;
  readonly paths: readonly PathReport[];
  readonly decidedAtWallMs: bigint;
}

export interface PostureState {
  readonly epoch: bigint;
  readonly level: number;
  readonly target: number;
  readonly transition?: TransitionReport;
  readonly failClosed: readonly FailClosedReport[];
  readonly services: readonly ServiceReport[];
  readonly atNs: bigint;
  readonly alarms: readonly string[];
  readonly disagreements: readonly DisagreementReport[];
  readonly violations: readonly ViolationReport[];
  readonly accordsHash?: string;
}

export interface DisagreementReport {
  readonly who: string;
  readonly path: string;
  readonly believesEpoch: bigint;
  readonly believesLevel: number;
  readonly inForceEpoch: bigint;
  readonly inForceLevel: number;
  readonly ageNs: bigint;
  readonly overdue: boolean;
  readonly away: boolean;
}

export interface ViolationReport {
  readonly number: bigint;
  readonly atNs: bigint;
  readonly epoch: bigint;
  readonly kind: string;
  readonly path: string;
  readonly subject: string;
  readonly deadlineNs: bigint;
  readonly actedAtNs: bigint;
  readonly level: number;
}

export interface HistoryRequest {
  readonly limit: number;
  readonly beforeEpoch: bigint;
  readonly sinceWallMs?: bigint;
  readonly level?: number;
  readonly source?: string;
}

export interface HistoryReply {
  readonly transitions: readonly TransitionReport[];
}

export interface TransitionRequest {
  readonly epoch: bigint;
}

export type TransitionReply =
  | { readonly outcome: 'report'; readonly report: TransitionReport }
  | { readonly outcome: 'refusal'; readonly refusal: RefusalReply };

/** The calls of kedge.posture.v1.Posture. */
export interface PostureApi {
  readonly get: Unary<GetRequest, PostureState>;
  readonly set: Unary<SetRequest, SetReply>;
  readonly reloadAccords: Unary<ReloadAccordsRequest, SetReply>;
  readonly reloadPolicies: Unary<ReloadPoliciesRequest, ReloadPoliciesReply>;
  readonly watch: Streaming<WatchRequest, PostureState>;
  readonly history: Unary<HistoryRequest, HistoryReply>;
  readonly transition: Unary<TransitionRequest, TransitionReply>;
}

/** kedge.posture.v1.Posture, loaded from its .proto. */
export const postureService = defineService<PostureApi>(
  'kedge/posture/v1/posture.proto',
  'kedge.posture.v1.Posture',
);

/** The same on the socket of the intent, whose requests carry accords and zones. */
export const intentPostureService = defineService<PostureApi>(
  'kedge/posture/v1/posture.proto',
  'kedge.posture.v1.Posture',
  { maxRequestBytes: 2 * ACCORD_BYTES_MAX + MAX_REQUEST_BYTES },
);

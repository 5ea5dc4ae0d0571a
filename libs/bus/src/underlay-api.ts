/**
 * The API of the underlay in TypeScript. What every field means stands in
 * proto/kedge/underlay/v1/underlay.proto, which is its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Unary } from './api.js';
import type { ListRoutesReply, ListRoutesRequest, RouteKeyMessage, RouteMessage } from './overlay-api.js';
import { dialUnix, type Client } from './unix-client.js';

export interface ChangeMessage {
  readonly add: readonly RouteMessage[];
  readonly remove: readonly RouteKeyMessage[];
}

export interface GateRefusal {
  readonly code: string;
  readonly message: string;
  readonly field: string;
  readonly expected: string;
  readonly help: string;
  readonly rule: string;
  readonly epoch: bigint;
  readonly level: number;
}

export type UnderlayStatusRequest = Record<string, never>;

export interface UnderlayStatusReply {
  readonly gate: string;
  readonly epoch: bigint;
  readonly level: number;
  readonly permits: number;
  readonly permitsOld: number;
  readonly proposals: number;
  readonly state: string;
  readonly why: string;
  readonly appliedEpoch: bigint;
  readonly appliedLevel: number;
  readonly desired: number;
  readonly allowed: number;
  readonly epochTaken: bigint;
  readonly lastOutcome: string;
  readonly lastChanges: number;
  readonly lastStartedAtNs: bigint;
  readonly lastFinishedAtNs: bigint;
  readonly alarms: readonly string[];
  readonly devices: number;
  readonly deviceCalls: number;
}

export interface AskRequest {
  readonly kind: string;
}

export type AskReply =
  | { readonly outcome: 'granted'; readonly granted: { readonly epoch: bigint; readonly level: number } }
  | { readonly outcome: 'refusal'; readonly refusal: GateRefusal };

export type ExecuteRequest = {
  readonly id: string;
  readonly principal: string;
  readonly kind: string;
} & (
  | { readonly what: 'change'; readonly change: ChangeMessage }
  | { readonly what: 'proposal'; readonly proposal: string }
);

export interface ExecuteDone {
  readonly changed: number;
  readonly withheld: number;
  readonly epoch: bigint;
  readonly applied: boolean;
}

export type ExecuteReply =
  | { readonly outcome: 'done'; readonly done: ExecuteDone }
  | { readonly outcome: 'refusal'; readonly refusal: GateRefusal };

export interface ProposeRequest {
  readonly id: string;
  readonly principal: string;
  readonly reason: string;
  readonly change?: ChangeMessage;
}

export interface ProposalMessage {
  readonly id: string;
  readonly principal: string;
  readonly tier: string;
  readonly channel: string;
  readonly reason: string;
  readonly change: ChangeMessage;
  readonly epoch: bigint;
  readonly atWallMs: bigint;
}

export type ProposalReply =
  | { readonly outcome: 'proposal'; readonly proposal: ProposalMessage }
  | { readonly outcome: 'refusal'; readonly refusal: GateRefusal };

export type ListProposalsRequest = Record<string, never>;

export interface ListProposalsReply {
  readonly proposals: readonly ProposalMessage[];
}

export interface WithdrawRequest {
  readonly id: string;
  readonly principal: string;
}

/** The calls of kedge.underlay.v1.Underlay. */
export interface UnderlayApi {
  readonly status: Unary<UnderlayStatusRequest, UnderlayStatusReply>;
  readonly ask: Unary<AskRequest, AskReply>;
  readonly execute: Unary<ExecuteRequest, ExecuteReply>;
  readonly propose: Unary<ProposeRequest, ProposalReply>;
  readonly listProposals: Unary<ListProposalsRequest, ListProposalsReply>;
  readonly withdraw: Unary<WithdrawRequest, ProposalReply>;
  readonly listRoutes: Unary<ListRoutesRequest, ListRoutesReply>;
}

/** kedge.underlay.v1.Underlay, loaded from its .proto. */
export const underlayService = defineService<UnderlayApi>(
  'kedge/underlay/v1/underlay.proto',
  'kedge.underlay.v1.Underlay',
);

export type UnderlayClient = Client<UnderlayApi>;

/** A client of the underlay. Connects with its first call. */
export function underlayClient(socket: string): UnderlayClient {
  return dialUnix(socket, underlayService);
}

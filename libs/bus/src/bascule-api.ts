/**
 * Notifications of the host's governance daemon in TypeScript. What every field means stands in
 * proto/kedge/bascule/v1/bascule.proto, which is its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Unary } from './api.js';
import type { DecisionReply, RefusalReply, WaitingReply } from './posture-api.js';

export interface Notification {
  readonly level: number;
  readonly reason: string;
  readonly principal: string;
  readonly eventId: string;
  readonly idempotencyKey: string;
  readonly ifEpoch?: bigint;
}

export type NotifyReply = { readonly level: number } & (
  | { readonly outcome: 'decision'; readonly decision: DecisionReply }
  | { readonly outcome: 'refusal'; readonly refusal: RefusalReply }
  | { readonly outcome: 'waiting'; readonly waiting: WaitingReply }
);

/** The calls of kedge.bascule.v1.Bascule. */
export interface BasculeApi {
  readonly notify: Unary<Notification, NotifyReply>;
}

/** kedge.bascule.v1.Bascule, loaded from its .proto. */
export const basculeService = defineService<BasculeApi>(
  'kedge/bascule/v1/bascule.proto',
  'kedge.bascule.v1.Bascule',
);

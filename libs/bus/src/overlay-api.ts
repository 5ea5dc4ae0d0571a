/**
 * The API of the overlay in TypeScript. What every field means stands in
 * proto/kedge/overlay/v1/overlay.proto, which is its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Unary } from './api.js';
import { dialUnix, type Client } from './unix-client.js';

/** A route on the wire; its mode is that of the service that is asked. */
export interface RouteMessage {
  readonly destination: string;
  readonly via: string;
  readonly dev: string;
  readonly metric: number;
  readonly purpose: string;
  readonly tier: string;
}

export interface RouteKeyMessage {
  readonly destination: string;
  readonly metric: number;
}

export interface AddRoutesRequest {
  readonly routes: readonly RouteMessage[];
  readonly principal: string;
}

export interface RemoveRoutesRequest {
  readonly routes: readonly RouteKeyMessage[];
  readonly principal: string;
}

export interface EditReply {
  readonly changed: number;
  readonly unchanged: number;
  readonly withheld: number;
  readonly epoch: bigint;
  readonly level: number;
  readonly applied: boolean;
}

export interface ListRoutesRequest {
  readonly limit: number;
  readonly offset: number;
}

export interface ListedRoute {
  readonly route: RouteMessage;
  readonly allowed: boolean;
}

export interface ListRoutesReply {
  readonly routes: readonly ListedRoute[];
  readonly total: number;
  readonly epoch: bigint;
  readonly level: number;
}

export type OverlayStatusRequest = Record<string, never>;

export interface OverlayStatusReply {
  readonly state: string;
  readonly why: string;
  readonly epoch: bigint;
  readonly level: number;
  readonly desired: number;
  readonly allowed: number;
  readonly epochTaken: bigint;
  readonly lastOutcome: string;
  readonly lastChanges: number;
  readonly lastStartedAtNs: bigint;
  readonly lastFinishedAtNs: bigint;
  readonly alarms: readonly string[];
}

/** The calls of kedge.overlay.v1.Overlay. */
export interface OverlayApi {
  readonly addRoutes: Unary<AddRoutesRequest, EditReply>;
  readonly removeRoutes: Unary<RemoveRoutesRequest, EditReply>;
  readonly listRoutes: Unary<ListRoutesRequest, ListRoutesReply>;
  readonly status: Unary<OverlayStatusRequest, OverlayStatusReply>;
}

/** kedge.overlay.v1.Overlay, loaded from its .proto. */
export const overlayService = defineService<OverlayApi>(
  'kedge/overlay/v1/overlay.proto',
  'kedge.overlay.v1.Overlay',
);

export type OverlayClient = Client<OverlayApi>;

/** A client of the overlay. Connects with its first call. */
export function overlayClient(socket: string): OverlayClient {
  return dialUnix(socket, overlayService);
}

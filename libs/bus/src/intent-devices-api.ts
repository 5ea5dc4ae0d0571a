/**
 * The API of the intent about devices in TypeScript. What every field means stands in
 * proto/kedge/intent/v1/intent.proto, which is its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Streaming, type Unary } from './api.js';
import type { IntentAsking, IntentRefusalMessage } from './intent-api.js';
import { type Client, dialUnix } from './unix-client.js';

/** Which device is meant. */
export interface IntentDeviceRequest {
  readonly device: string;
}

export interface IntentDeviceRefusalMessage {
  readonly code: string;
  readonly path: string;
  readonly message: string;
  readonly expected: string;
}

export interface IntentDormantMessage {
  readonly path: string;
  readonly why: string;
}

export interface IntentDeviceMessage {
  readonly device: string;
  readonly driver: string;
  readonly state: string;
  readonly why: string;
  readonly revision: number;
  readonly readAtWallMs: bigint;
  readonly nextAtWallMs: bigint;
  readonly drifts: number;
  readonly refusals: readonly IntentDeviceRefusalMessage[];
  readonly dormant: readonly IntentDormantMessage[];
  readonly complete: boolean;
}

export interface IntentDriftMessage {
  readonly device: string;
  readonly path: string;
  readonly intended?: string;
  readonly actual?: string;
  readonly sinceWallMs: bigint;
  readonly seenWallMs: bigint;
  readonly severity: string;
  readonly cause: string;
  readonly remediation: string;
  readonly exception: string;
}

export interface IntentPlanRequest extends IntentDeviceRequest {
  readonly source: string;
}

export interface IntentPlanHead {
  readonly steps: number;
  readonly dormant: readonly IntentDormantMessage[];
  readonly complete: boolean;
}

export type IntentPlanPart =
  | { readonly part: 'head'; readonly head: IntentPlanHead }
  | { readonly part: 'text'; readonly text: Uint8Array }
  | { readonly part: 'data'; readonly data: Uint8Array };

export interface IntentRemedyRequest extends IntentAsking, IntentDeviceRequest {
  readonly path: string;
}

export type IntentRemedyReply =
  | {
      readonly outcome: 'remedied';
      readonly remedied: { readonly remedied: number; readonly device?: IntentDeviceMessage };
    }
  | { readonly outcome: 'refusal'; readonly refusal: IntentRefusalMessage };

/** The calls of kedge.intent.v1.IntentDevices. */
export interface IntentDevicesApi {
  readonly listDevices: Streaming<IntentDeviceRequest, IntentDeviceMessage>;
  readonly listDrifts: Streaming<IntentDeviceRequest, IntentDriftMessage>;
  readonly plan: Streaming<IntentPlanRequest, IntentPlanPart>;
  readonly remedy: Unary<IntentRemedyRequest, IntentRemedyReply>;
  readonly check: Streaming<IntentDeviceRequest, IntentDeviceMessage>;
}

/** kedge.intent.v1.IntentDevices, loaded from its .proto. */
export const intentDevicesService = defineService<IntentDevicesApi>(
  'kedge/intent/v1/intent.proto',
  'kedge.intent.v1.IntentDevices',
);

export type IntentDevicesClient = Client<IntentDevicesApi>;

/** A client of the intent for its devices. Connects with its first call. */
export function intentDevicesClient(socket: string): IntentDevicesClient {
  return dialUnix(socket, intentDevicesService);
}

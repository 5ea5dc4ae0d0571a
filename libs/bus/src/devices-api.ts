/**
 * The API of the devices in TypeScript. What every field means stands in proto/kedge/underlay/v1/devices.proto, which is
 * its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Streaming } from './api.js';
import type { GateRefusal } from './underlay-api.js';
import { type Client, dialUnix } from './unix-client.js';

export interface DeviceReadRequest {
  readonly device: string;
}

export interface DeviceReadingPart {
  readonly tree: Uint8Array;
  readonly own: readonly string[];
}

export interface CarryOutRequest {
  readonly id: string;
  readonly principal: string;
  readonly tier: string;
  readonly channel: string;
  readonly kind: string;
  readonly device: string;
  readonly plan: string;
}

export interface CarryFailureMessage {
  readonly code: string;
  readonly message: string;
  readonly step: string;
}

export interface DeviceDifferenceMessage {
  readonly path: string;
  readonly intended: string;
  readonly actual: string;
}

export interface CarriedOutMessage {
  readonly result: string;
  readonly done: readonly string[];
  readonly failure?: CarryFailureMessage;
  readonly rolledBack?: boolean;
  readonly remaining: readonly DeviceDifferenceMessage[];
  readonly wasRead: boolean;
}

export type CarryOutReply =
  | { readonly outcome: 'refusal'; readonly refusal: GateRefusal }
  | { readonly outcome: 'carried'; readonly carried: CarriedOutMessage }
  | { readonly outcome: 'reading'; readonly reading: DeviceReadingPart };

/** The calls of kedge.underlay.v1.Devices. */
export interface DevicesApi {
  readonly read: Streaming<DeviceReadRequest, DeviceReadingPart>;
  readonly carryOut: Streaming<CarryOutRequest, CarryOutReply>;
}

/** Largest inventory entry of a device, bytes of JSON. */
export const MAX_DEVICE_BYTES = 2 * 1024 * 1024;
/** Largest plan, bytes of JSON. */
export const MAX_PLAN_BYTES = 14 * 1024 * 1024;

/** kedge.underlay.v1.Devices, loaded from its .proto. */
export const devicesService = defineService<DevicesApi>(
  'kedge/underlay/v1/devices.proto',
  'kedge.underlay.v1.Devices',
  { maxRequestBytes: MAX_DEVICE_BYTES + MAX_PLAN_BYTES + 64 * 1024 },
);

export type DevicesClient = Client<DevicesApi>;

/** A client of the devices. Connects with its first call. */
export function devicesClient(socket: string): DevicesClient {
  return dialUnix(socket, devicesService);
}

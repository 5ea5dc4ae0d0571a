/**
 * What the intent says of its devices, and takes about them from people.
 * It must not hold anything; whoever keeps the devices implements it, the calls of kedge.intent.v1 show it.
 */
import type { Plan } from '@kedge/contracts';
import type { Holder, IntentRefusal } from '@kedge/datastores';
import type { CompileRefusal, Dormant } from '@kedge/compiler';
import type { Drift } from '@kedge/drift';

/**
 * How a device stands to the intent. `new`: not read yet. `accorded`: as intended. `drifted`: as intended but for the
 * drifts. `applying`: a plan is being carried out. `waiting`: a plan is there and may not run now (posture, life cycle,
 * another try is due). `refused`: the intent cannot be carried out on it. `unreachable`: it was not read.
 * `retired`: neither read nor written.
 */
export const DEVICE_STATES = [
  'new',
  'accorded',
  'drifted',
  'applying',
  'waiting',
  'refused',
  'unreachable',
  'retired',
] as const;
/** See {@link DEVICE_STATES}. */
export type DeviceState = (typeof DEVICE_STATES)[number];

/** One device as it stands. */
export interface DeviceView {
  /** Its id in the inventory. */
  readonly device: string;
  readonly driver: string;
  readonly state: DeviceState;
  /** A sentence; empty where there is nothing to say. */
  readonly why: string;
  /** The revision whose intent was carried out on it last; 0 = none. */
  readonly revision: number;
  /** When it was read last, milliseconds since 1970; undefined = never. */
  readonly readAtMs: number | undefined;
  /** When it is looked at next. */
  readonly nextAtMs: number | undefined;
  /** How many differences there are. */
  readonly drifts: number;
  readonly refusals: readonly CompileRefusal[];
  readonly dormant: readonly Dormant[];
}

/** Devices, what differs on them, and what is asked about them. */
export interface DeviceViews {
  /** All devices of the inventory, by id. */
  devices(): readonly DeviceView[];
  /** What differs now, by device and path; of one device, or of all. */
  drifts(device?: string): readonly Drift[];
  /**
   * The plan that `source` would run on a device now: the running intent, or the candidate. Reads the device; writes
   * nothing. `undefined` where there is nothing to do.
   */
  plan(
    device: string,
    source: 'running' | 'candidate',
    signal: AbortSignal,
  ): Promise<{ readonly plan: Plan | undefined; readonly dormant: readonly Dormant[] } | IntentRefusal>;
  /** Remedies the differences of a device that are automatic or proposed; of one path and below, or all. */
  remedy(
    device: string,
    path: string | undefined,
    by: Holder,
    signal: AbortSignal,
  ): Promise<{ readonly remedied: number; readonly view: DeviceView } | IntentRefusal>;
  /** Reads a device now and compares; all of them where none is named. */
  check(device: string | undefined, signal: AbortSignal): Promise<readonly DeviceView[] | IntentRefusal>;
}

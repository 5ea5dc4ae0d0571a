/**
 * The tree `operations`: what the underlay knows while it works: devices as they answered, plans, differences.
 * Written by `npm run yang:types` from the modules that yang/trees.json names for it; it must not be changed by hand.
 */

import type { Capability, InterfaceType } from './identities.js';

/** A whole document of the tree. */
export interface OperationsTree {
  readonly 'kedge-inventory:devices'?: Devices;
  /** State. */
  readonly 'kedge-plan:plans'?: Plans;
  readonly 'kedge-drift:drift'?: Drift;
}

/** The devices of the site. `/devices` */
export interface Devices {
  /** Keyed by id. */
  readonly device?: readonly Device[];
}

/** One device. `/devices/device` */
export interface Device {
  /** What everything calls it. */
  readonly id: string;
  /** What the device is for, and where it is. */
  readonly description?: string;
  /** Where the device stands in its life. Default active. */
  readonly 'life-cycle'?: 'planned' | 'active' | 'replacing' | 'retired';
  /** The driver that speaks to it, by the name in its manifest. */
  readonly driver: string;
  /** What the device can do. A driver that can do less refuses the inventory. */
  readonly capability?: readonly Capability[];
  /**
   * The serial number that was accepted. Another one that is read means that the device was replaced. None
   * given means that replacements are not noticed.
   */
  readonly 'serial-number'?: string;
  readonly management: DeviceManagement;
  /** Keyed by name. */
  readonly interface?: readonly DeviceInterface[];
  /** State. */
  readonly observed?: DeviceObserved;
}

/** How the device is reached. `/devices/device/management` */
export interface DeviceManagement {
  readonly snmp?: DeviceManagementSnmp;
  /** The device is the host that Kedge runs on. */
  readonly local?: readonly [null];
}

/** By SNMP. `/devices/device/management/snmp` */
export interface DeviceManagementSnmp {
  /** The management address. */
  readonly address: string;
  /** The UDP port of the agent. Range 1..65535, default 161. */
  readonly port?: number;
  /** The version of the protocol. Default v3. */
  readonly version?: 'v2c' | 'v3';
  /**
   * The name under which community or user and keys are kept. The secret itself is never part of any tree.
   */
  readonly credentials: string;
  /** The SNMPv3 context; none given means the default one. */
  readonly context?: string;
  /** How long one request waits for its answer. Range 50..10000, in milliseconds, default 1000. */
  readonly timeout?: number;
}

/**
 * An interface that the device has. Intent may speak of these, and of those that it creates itself.
 * `/devices/device/interface`
 */
export interface DeviceInterface {
  /** What the device calls it. */
  readonly name: string;
  /** What kind of interface it is. */
  readonly type: InterfaceType;
  /** Its ifIndex. None given means that the driver looks it up by name. Range 1..2147483647. */
  readonly index?: number;
  /**
   * The number of the port within its bridge, which is another one than ifIndex. None given means that the
   * driver looks it up. Range 1..65535.
   */
  readonly 'bridge-port-number'?: number;
}

/** What was read last from the device. `/devices/device/observed` */
export interface DeviceObserved {
  /** Whether the last attempt was answered. State. */
  readonly reachable?: boolean;
  /** When the device answered last. State. */
  readonly 'last-answer'?: string;
  /** Its sysObjectID, by which drivers know what it is. State. */
  readonly 'system-object-id'?: string;
  /** The serial number of its chassis. State. */
  readonly 'serial-number'?: string;
  /** The software that it runs. State. */
  readonly 'software-revision'?: string;
  /** How long it has been up, where that can be told. Uint64 as text, in seconds, state. */
  readonly uptime?: string;
  /** What the driver found that it can do. State. */
  readonly capability?: readonly Capability[];
}

/** Plans that were compiled. `/plans` */
export interface Plans {
  /** Keyed by id, state. */
  readonly plan?: readonly Plan[];
}

/** An ordered set of steps towards one target. `/plans/plan` */
export interface Plan {
  /** Its name, used once on the appliance. State. */
  readonly id: string;
  /**
   * The epoch under which it was made. Under a newer one it is refused. Uint64 as text, range
   * 0..281474976710655, state.
   */
  readonly epoch: string;
  /** What it changes: a device or a set of routes. State. */
  readonly target: string;
  /**
   * SHA-256 of what was read when it was made. A plan whose base no longer holds is made again, not applied.
   * State.
   */
  readonly base: string;
  /** Keyed by id, state. */
  readonly step?: readonly PlanStep[];
}

/** One change, in the order of application. `/plans/plan/step` */
export interface PlanStep {
  /** Its name within the plan. State. */
  readonly id: string;
  /**
   * Where, as an instance identifier in the form of JSON. It is text because it leads into the tree of a
   * device. State.
   */
  readonly path: string;
  /** The operation, in the words of whoever applies it: add, remove, set. State. */
  readonly kind: string;
  /** What was read there. Whoever applies the step and finds something else refuses it. State. */
  readonly before?: Readonly<Record<string, unknown>>;
  /** What is to be there afterwards. State. */
  readonly after?: Readonly<Record<string, unknown>>;
  /** State. */
  readonly inverse: PlanStepInverse;
  /** Steps of one group are applied together or not at all. They stand together. State. */
  readonly 'atomic-group'?: string;
  /** Steps that have to be finished before. They stand before it. State. */
  readonly 'depends-on'?: readonly string[];
  /** Whether work may stop after this step and leave the target in a state that is right by itself. State. */
  readonly 'safe-point': boolean;
}

/**
 * The way back. It is always given: what cannot be undone is not put into a plan. `/plans/plan/step/inverse`
 */
export interface PlanStepInverse {
  /** The operation, in the words of whoever applies it: add, remove, set. State. */
  readonly kind: string;
  /** What was read there. Whoever applies the step and finds something else refuses it. State. */
  readonly before?: Readonly<Record<string, unknown>>;
  /** What is to be there afterwards. State. */
  readonly after?: Readonly<Record<string, unknown>>;
}

/** Differences between devices and intent. `/drift` */
export interface Drift {
  readonly classification?: DriftClassification;
  /** Keyed by name. */
  readonly exception?: readonly DriftException[];
  /** Keyed by device and path, state. */
  readonly difference?: readonly DriftDifference[];
}

/** How bad a difference is. `/drift/classification` */
export interface DriftClassification {
  /** The severity of what no rule names. Default minor. */
  readonly 'default-severity'?: 'info' | 'minor' | 'major' | 'critical';
  /** Keyed by name. */
  readonly rule?: readonly DriftClassificationRule[];
}

/**
 * The severity of what differs at a place or below it. The first rule that fits counts.
 * `/drift/classification/rule`
 */
export interface DriftClassificationRule {
  /** What people call it. */
  readonly name: string;
  /** The place. */
  readonly path: string;
  /** The devices that it speaks of. None given means all. */
  readonly device?: readonly string[];
  /** How bad it is. */
  readonly severity: 'info' | 'minor' | 'major' | 'critical';
}

/**
 * A difference that is tolerated: recorded, but neither remedied nor alarmed about, until its time is over.
 * `/drift/exception`
 */
export interface DriftException {
  /** What people call it. */
  readonly name: string;
  /** The device. */
  readonly device: string;
  /** The place. What is below it is tolerated too. */
  readonly path: string;
  /** Why. */
  readonly reason: string;
  /** Who answers for it. */
  readonly 'granted-by': string;
  /** When it ends. Nothing is tolerated for ever. */
  readonly until: string;
}

/** What differs now. `/drift/difference` */
export interface DriftDifference {
  /** The device. It may be one that is no longer in the inventory. State. */
  readonly device: string;
  /** The place: the lowest one that holds the whole difference. State. */
  readonly path: string;
  /** What is meant to be there, as kedge-plan writes values. Nothing given means nothing. State. */
  readonly intended?: Readonly<Record<string, unknown>>;
  /** What was read there. State. */
  readonly actual?: Readonly<Record<string, unknown>>;
  /** When it was seen first. State. */
  readonly since: string;
  /** When it was seen last. State. */
  readonly seen: string;
  /** How bad it is, by the rules in force when it was seen last. State. */
  readonly severity: 'info' | 'minor' | 'major' | 'critical';
  /** The probable cause. State. */
  readonly cause: 'unmanaged-change' | 'failed-commit' | 'device-replaced' | 'unknown';
  /** What is done about it at the level in force. State. */
  readonly remediation: 'none' | 'proposed' | 'automatic';
  /** The exception that covers it now; none where there is none. State. */
  readonly exception?: string;
}

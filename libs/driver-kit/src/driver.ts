/**
 * What a device back end is: data that says which devices it fits, what to ask, how answers become a tree, and how a
 * change becomes commands.
 * It must not reach a device: a driver owns no process, socket, clock or order, so it cannot hang or leave half a change.
 */
import type { Capability, deviceTree, siteTree } from '@kedge/intent-model';
import { type PlanValue, type Step } from '@kedge/contracts';
import type { Sha256 } from '@kedge/reconcile';
import { KedgeError } from '@kedge/units';

import { type DeviceObject, type DeviceObjects, objectAt, objectsOf } from './device-object.js';

/** A device of the inventory, as it was accepted. */
export type InventoryDevice = siteTree.Device;

/** What a driver says of itself. */
export interface DriverManifest {
  /** By which the inventory names it: `[a-z][a-z0-9-]{0,30}`. */
  readonly name: string;
  /** Changes whenever it would read or write otherwise: part of what makes two compilations the same. */
  readonly version: number;
  /** How it reaches its devices; decides which host runs it. */
  readonly access: 'local' | 'snmp';
  /** What devices can do through it, at most. */
  readonly capabilities: readonly Capability[];
  /**
   * Whether what Kedge made bears its mark on the device. Where it does, everything that bears the mark is Kedge's;
   * where it does not, only what intent speaks of or spoke of.
   */
  readonly marks: boolean;
  /** sysObjectIDs of its devices, each a prefix; absent where devices are not known by one. */
  readonly systemObjectIds?: readonly string[];
}

/** What was read from a device. */
export interface Reading {
  /**
   * Configuration only, in the form of intent; of routes and filters only Kedge's where the driver tells them by a
   * mark. Lists stand in the device's own order.
   */
  readonly tree: deviceTree.DeviceTree;
  /** Interfaces that bear Kedge's mark: it made them. Empty where a device can bear none. */
  readonly own: readonly string[];
}

/** An object as the device will show it. */
export type Shaped =
  | { readonly as: 'held'; readonly object: DeviceObject }
  /** The device does it anyway, and shows nothing of it. */
  | { readonly as: 'implied' }
  /** It is not in force under the rest of the intent, and not on the device (a route over a link that is down). */
  | { readonly as: 'dormant'; readonly why: string }
  /** The device cannot hold it. */
  | { readonly as: 'refused'; readonly why: string };

/** One change of one object; never without both sides. */
export interface Change {
  readonly before: DeviceObject | undefined;
  readonly after: DeviceObject | undefined;
}

/**
 * A back end. Everything is pure: same input, same output.
 *
 * @typeParam Question what is asked of a device; a few, whatever the size of the device.
 * @typeParam Answer what comes back for one question.
 * @typeParam Command one write.
 */
export interface Driver<Question, Answer, Command> {
  readonly manifest: DriverManifest;
  /** What has to be asked to read the device. */
  questions(device: InventoryDevice): readonly Question[];
  /**
   * Lifts answers, one for each question, into the tree.
   *
   * @throws KedgeError `DRIVER_ANSWER` when they cannot be believed.
   */
  lift(answers: readonly Answer[], device: InventoryDevice): Reading;
  /** How an object of intent will look when it is read back, among the others of the intent. Applied twice, it is applied once. */
  shape(object: DeviceObject, intended: DeviceObjects, device: InventoryDevice): Shaped;
  /** True where the change can be made in place; false where the object has to go and come again. */
  changesInPlace?(before: DeviceObject, after: DeviceObject): boolean;
  /**
   * Paths of other objects that a change takes away besides, of what was read or is intended: they are removed
   * before and put back after.
   */
  upsets?(change: Change, before: DeviceObjects, after: DeviceObjects): readonly string[];
  /** Objects with one name are written together or not at all; absent = alone. */
  atomicWith?(object: DeviceObject): string | undefined;
  /**
   * The commands of a change, in their order.
   *
   * @param at the objects of the device before the change.
   * @throws KedgeError `DRIVER_STEP` for a change that no plan of this driver holds.
   */
  encode(change: Change, at: DeviceObjects, device: InventoryDevice): readonly Command[];
}

/** A driver of any transport, for whoever only plans. */
export type AnyDriver = Driver<unknown, never, unknown>;

/** Why a driver does not fit a device. */
export interface DriverRefusal {
  readonly code: string;
  readonly message: string;
  readonly expected: string;
}

/** The driver of a device, by the name and the capabilities that the inventory gives. */
export function driverFor<Any extends { readonly manifest: DriverManifest }>(
  drivers: readonly Any[],
  device: InventoryDevice,
): Any | DriverRefusal {
  const driver = drivers.find(({ manifest }) => manifest.name === device.driver);
  if (driver === undefined)
    return {
      code: 'DRIVER_UNKNOWN',
      message: `cannot speak to ${device.id}: there is no driver ${device.driver}`,
      expected: `one of ${drivers.map(({ manifest }) => manifest.name).join(', ')}`,
    };
  const { access, capabilities, name } = driver.manifest;
  const more = (device.capability ?? []).find((each) => !capabilities.includes(each));
  if (more !== undefined)
    return {
      code: 'DRIVER_CAPABILITY',
      message: `cannot use ${name} for ${device.id}: it has no capability ${more}`,
      expected: capabilities.join(', '),
    };
  if (device.management?.[access] === undefined)
    return {
      code: 'DRIVER_ACCESS',
      message: `cannot use ${name} for ${device.id}: it reaches devices by ${access} only`,
      expected: `management/${access} in the inventory`,
    };
  return driver;
}

/**
 * SHA-256 of what was read, hexadecimal: the base of a plan. The order in which a device tells its objects decides
 * nothing.
 *
 * @param objects those of its tree, where they are at hand.
 * @throws KedgeError `DRIVER_NAME`
 */
export function baseOf(
  { tree, own }: Reading,
  sha256: Sha256,
  objects: DeviceObjects = objectsOf(tree),
): string {
  const lines: string[] = [];
  // The values of objects have their members in one order.
  for (const { path, value } of objects.values()) lines.push(`${path} ${JSON.stringify(value)}`);
  return sha256([...lines.sort(), ...own.toSorted()].join('\n'));
}

/**
 * The change that a step of a plan stands for.
 *
 * @throws KedgeError `DRIVER_STEP`
 */
export function changeOf({
  path,
  before,
  after,
  id,
}: Pick<Step, 'path' | 'before' | 'after' | 'id'>): Change {
  const side = (value: PlanValue): DeviceObject | undefined =>
    value === null ? undefined : objectAt(path, value);
  const change = { before: side(before), after: side(after) };
  if (change.before === undefined && change.after === undefined)
    throw new KedgeError({
      code: 'DRIVER_STEP',
      message: `cannot carry out the step ${id}: it changes nothing into nothing`,
      field: 'after',
      expected: 'a value before, a value after, or both',
    });
  return change;
}

/** The objects after a change. */
export function objectsAfter(objects: DeviceObjects, { before, after }: Change): Map<string, DeviceObject> {
  const next = new Map(objects);
  if (before !== undefined) next.delete(before.path);
  if (after !== undefined) next.set(after.path, after);
  return next;
}

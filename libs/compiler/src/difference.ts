/**
 * Where two states of a device differ: the lowest places that hold the whole difference.
 * It must not judge a difference, nor say how it is overcome.
 */
import type { PlanValue } from '@kedge/contracts';
import {
  compareNames,
  type DeviceObject,
  type DeviceObjects,
  interfacePath,
  treeOf,
} from '@kedge/driver-kit';

import { sameObject } from './transition.js';

/** One difference. */
export interface Difference {
  /** RFC 7951 instance identifier. */
  readonly path: string;
  /** What is meant to be there; null = nothing. */
  readonly intended: PlanValue;
  /** What was read there; null = nothing. */
  readonly actual: PlanValue;
}

/**
 * The differences, by path. What belongs to an interface, or to the port of a bridge, that is there on one side only
 * is one difference together with it.
 */
export function differencesBetween(intended: DeviceObjects, actual: DeviceObjects): Difference[] {
  const found: Difference[] = [];
  const wholes = [intended, actual].map((side, place) => wholesOf(side, place === 0 ? actual : intended));
  const [missing = new Map<string, PlanValue>(), extra = new Map<string, PlanValue>()] = wholes;
  const isBelow = (object: DeviceObject, tops: ReadonlyMap<string, unknown>): boolean => {
    const at = interfacePath(object.interface ?? '');
    return tops.has(at) || (object.path.startsWith(portPath(at)) && tops.has(portPath(at)));
  };
  for (const [path, value] of missing) found.push({ path, intended: value, actual: null });
  for (const [path, value] of extra) found.push({ path, intended: null, actual: value });
  for (const [path, is] of intended) {
    const was = actual.get(path);
    if (was !== undefined ? sameObject(is, was) : isBelow(is, missing)) continue;
    found.push({ path, intended: valueOf(is), actual: was === undefined ? null : valueOf(was) });
  }
  for (const [path, was] of actual)
    if (!intended.has(path) && !isBelow(was, extra))
      found.push({ path, intended: null, actual: valueOf(was) });
  return found.sort((a, b) => compareNames(a.path, b.path));
}

const portPath = (at: string): string => `${at}/kedge-bridging:bridge-port`;

function valueOf({ value }: DeviceObject): PlanValue {
  return value as unknown as PlanValue;
}

/** Interfaces, and ports of bridges, that only one side has, each with all that is below it. */
function wholesOf(side: DeviceObjects, other: DeviceObjects): Map<string, PlanValue> {
  const tops = new Map<string, PlanValue>();
  const owners = new Set<string>();
  for (const [path, { kind, interface: name = '' }] of side)
    if (!other.has(path) && (kind === 'interface' || kind === 'bridge-port')) owners.add(name);
  if (owners.size === 0) return tops;
  for (const name of owners) {
    const at = interfacePath(name);
    const own = [...side.values()].filter(
      ({ interface: owner, kind }) => owner === name && kind !== 'acl-attachment',
    );
    const whole = treeOf(own)['ietf-interfaces:interfaces']?.interface?.[0];
    const [path, value] = other.has(at) ? [portPath(at), whole?.['kedge-bridging:bridge-port']] : [at, whole];
    if (value !== undefined) tops.set(path, value as unknown as PlanValue);
  }
  return tops;
}

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
 * The differences, by path. An interface, or the port of a bridge, that is there on one side only or is another one
 * is one difference together with all that is below it.
 */
export function differencesBetween(intended: DeviceObjects, actual: DeviceObjects): Difference[] {
  const own: Difference[] = [];
  const tops = new Map<string, DeviceObject>();
  const look = (object: DeviceObject, other: DeviceObject | undefined, isIntended: boolean): void => {
    if (other !== undefined && (!isIntended || sameObject(object, other))) return;
    if (object.kind === 'interface' || object.kind === 'bridge-port') tops.set(object.path, object);
    else {
      const [value, there] = [valueOf(object), other === undefined ? null : valueOf(other)];
      own.push({
        path: object.path,
        intended: isIntended ? value : there,
        actual: isIntended ? there : value,
      });
    }
  };
  for (const object of intended.values()) look(object, actual.get(object.path), true);
  for (const object of actual.values()) look(object, intended.get(object.path), false);
  if (tops.size === 0) return own.sort(byPath);
  const isBelow = ({ path }: { readonly path: string }): boolean => {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1))
      if (tops.has(path.slice(0, end))) return true;
    return false;
  };
  const wholes = [...tops.values()]
    .filter((top) => !isBelow(top))
    .map((top) => ({ path: top.path, intended: wholeOf(top, intended), actual: wholeOf(top, actual) }));
  return [...own.filter((each) => !isBelow(each)), ...wholes].sort(byPath);
}

const byPath = (a: Difference, b: Difference): number => compareNames(a.path, b.path);

function valueOf({ value }: DeviceObject): PlanValue {
  return value as unknown as PlanValue;
}

/** An interface or the port of a bridge with all that one side has below it; null where that side has none. */
function wholeOf(top: DeviceObject, side: DeviceObjects): PlanValue {
  const name = top.interface ?? '';
  const at = interfacePath(name);
  if (!side.has(top.path)) return null;
  const below = [...side.values()].filter(({ path }) => path === at || path.startsWith(`${at}/`));
  const whole = treeOf(below)['ietf-interfaces:interfaces']?.interface?.[0];
  const value = top.kind === 'interface' ? whole : whole?.['kedge-bridging:bridge-port'];
  return (value ?? null) as unknown as PlanValue;
}

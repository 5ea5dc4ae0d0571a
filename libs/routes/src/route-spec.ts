/**
 * A route of Kedge's as its owner wants it, checked and in canonical form, and the level as a filter over such routes.
 * It must not know how the kernel holds them.
 */
import { type Tier, TIERS } from '@kedge/contracts';
import {
  allowsRoute,
  type OverlayAccord,
  type Prefix,
  prefixOf,
  ROUTE_MODES,
  ROUTE_PURPOSES,
  type RouteMode,
  type RoutePurpose,
} from '@kedge/posture';
import { KedgeError } from '@kedge/units';

/** A route of Kedge's. Two routes are the same one when {@link routeKey} says so. */
export interface RouteSpec {
  /** CIDR without bits behind the prefix length, IPv4 or IPv6; canonical text ({@link routeSpecOf} makes it so). */
  readonly destination: string;
  /** Next hop, an address of the same family; absent for a destination on the link. */
  readonly via?: string;
  /** Interface, at most 15 characters of [A-Za-z0-9._-]. */
  readonly dev: string;
  /** 1 to 2^32-1; 0 or absent = {@link DEFAULT_METRIC}. Lower is preferred. */
  readonly metric?: number;
  /** Through the mesh or in the physical network (OV-17). */
  readonly mode: RouteMode;
  readonly purpose: RoutePurpose;
  /** The tier of the pod or session that it serves. */
  readonly tier: Tier;
}

/**
 * The metric of a route that names none. No daemon uses it by default, so that a route of somebody else's to the
 * same destination is another route to the kernel and both live side by side.
 */
export const DEFAULT_METRIC = 18600;

/** The metric with which the kernel holds the route. */
export function metricOf({ metric }: Pick<RouteSpec, 'metric'>): number {
  return metric === undefined || metric === 0 ? DEFAULT_METRIC : metric;
}

/** What makes a route the same one: destination and metric. */
export function routeKey(route: Pick<RouteSpec, 'destination' | 'metric'>): string {
  return `${route.destination} ${String(metricOf(route))}`;
}

const ADDRESS_BITS = (address: string): number => (address.includes(':') ? 128 : 32);

/** An address in canonical text with its family, or undefined where it is none. */
export function addressOf(text: string): { readonly family: 4 | 6; readonly text: string } | undefined {
  const host = text.includes('/') ? undefined : prefixOf(`${text}/${String(ADDRESS_BITS(text))}`);
  return host === undefined
    ? undefined
    : { family: host.family, text: host.text.slice(0, host.text.indexOf('/')) };
}

/** A prefix without bits behind its length, or undefined. */
function exactPrefix(text: string): Prefix | undefined {
  const prefix = prefixOf(text);
  if (prefix === undefined) return undefined;
  const address = addressOf(text.slice(0, text.indexOf('/')));
  return address !== undefined && address.text === prefix.text.slice(0, prefix.text.indexOf('/'))
    ? prefix
    : undefined;
}

const DEVICE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;

function isOneOf<Word extends string>(words: readonly Word[], value: unknown): value is Word {
  return words.some((word) => word === value);
}

/**
 * A route from outside in canonical form, or what is wrong with it.
 *
 * @param value an object with the members of {@link RouteSpec}; others are not looked at.
 */
export function routeSpecFault(
  value: Readonly<Record<keyof RouteSpec, unknown>> | RouteSpec,
): RouteSpec | { readonly field: keyof RouteSpec; readonly expected: string } {
  const { destination, via, dev, metric, mode, purpose, tier } = value;
  const prefix = typeof destination === 'string' ? exactPrefix(destination) : undefined;
  if (prefix === undefined)
    return { field: 'destination', expected: 'a prefix such as 10.80.3.0/24 without bits behind its length' };
  const hop = typeof via === 'string' ? addressOf(via) : undefined;
  if (via !== undefined && (hop === undefined || hop.family !== prefix.family))
    return { field: 'via', expected: `an IPv${String(prefix.family)} address, as the destination is` };
  if (typeof dev !== 'string' || !DEVICE.test(dev))
    return { field: 'dev', expected: 'the name of an interface, at most 15 characters of [A-Za-z0-9._-]' };
  if (
    metric !== undefined &&
    !(typeof metric === 'number' && Number.isInteger(metric) && metric >= 0 && metric < 2 ** 32)
  )
    return { field: 'metric', expected: 'a whole number from 0 to 4294967295' };
  if (!isOneOf(ROUTE_MODES, mode)) return { field: 'mode', expected: ROUTE_MODES.join(' or ') };
  if (!isOneOf(ROUTE_PURPOSES, purpose)) return { field: 'purpose', expected: ROUTE_PURPOSES.join(', ') };
  if (!isOneOf(TIERS, tier)) return { field: 'tier', expected: TIERS.join(', ') };
  return {
    destination: prefix.text,
    ...(hop === undefined ? {} : { via: hop.text }),
    dev,
    ...(metric === undefined || metric === 0 ? {} : { metric }),
    mode,
    purpose,
    tier,
  };
}

/**
 * A route from outside in canonical form.
 *
 * @throws KedgeError `ROUTES_SPEC`, naming the field.
 */
export function routeSpecOf(
  value: Readonly<Record<keyof RouteSpec, unknown>> | RouteSpec,
  field = 'route',
): RouteSpec {
  const read = routeSpecFault(value);
  if (!('field' in read)) return read;
  throw new KedgeError({
    code: 'ROUTES_SPEC',
    message: `cannot use this as a route: ${read.field} is wrong`,
    field: `${field}.${read.field}`,
    expected: read.expected,
  });
}

/** The level as a filter (PO-18): the routes that it allows, in their order. Pure; nothing is ever forgotten. */
export function routesAllowed(
  desired: readonly RouteSpec[],
  accord: { readonly overlay: OverlayAccord },
): RouteSpec[] {
  return desired.filter((route) => allowsRoute(accord.overlay, route));
}

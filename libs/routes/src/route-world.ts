/**
 * What Kedge has in the kernel at a level: routes and policy rules, each as the arguments with which iproute2 adds
 * and deletes it.
 * It must not run anything; it says what is to be there.
 *
 * Routes stand in the main table, where longest prefixes of everybody decide. At a level that protects, the allowed
 * ones stand in a guard table too, and two rules ahead of all tables say: what the guard table knows goes there,
 * everything else is prohibited. So no route of a routing daemon or of DHCP opens a way round (OV-15), and the
 * number of rules does not grow with the number of routes. The appliance's own addresses are looked up before, by
 * the kernel's rule 0, and are never prohibited.
 */
import { type ExemptProtocol, type Family, type OverlayAccord, type RouteMode } from '@kedge/posture';

import { metricOf, type RouteSpec, routeKey, routesAllowed } from './route-spec.js';

/**
 * Kedge's own routing-protocol numbers, one per mode, so that each path withdraws its own routes alone. They are in
 * no list that we know: rtnetlink.h, iproute2's rt_protos, FRR and BIRD use others (186 to 189 are BGP, IS-IS, OSPF
 * and RIP).
 */
export const ROUTE_PROTOCOL: Readonly<Record<RouteMode, number>> = { overlay: 107, underlay: 108 };

/** The table of allowed routes at levels that protect. Both modes use it, each with its own protocol number. */
export const GUARD_TABLE = 10700;

/** Preferences of Kedge's rules, ahead of main (32766) and behind local (0); exempt protocols stand between. */
export const RULE_PREFERENCES: Readonly<
  Record<RouteMode, { readonly guard: number; readonly exempt: number; readonly prohibit: number }>
> = {
  overlay: { guard: 100, exempt: 110, prohibit: 149 },
  underlay: { guard: 150, exempt: 160, prohibit: 199 },
};

/** A route or rule of Kedge's in the kernel. */
export interface KernelEntry {
  readonly kind: 'route' | 'rule';
  readonly family: Family;
  /** Where a route stands; rules have none. */
  readonly table: 'main' | 'guard' | 'other' | undefined;
  /** What makes it the same one: table, destination and metric, or preference. */
  readonly key: string;
  /** Arguments of `ip route add` or `ip rule add`. Equal text is the same thing. */
  readonly text: string;
}

/** Everything of one mode in the kernel. */
export interface RouteWorld {
  readonly mode: RouteMode;
  readonly entries: readonly KernelEntry[];
  /** Rules of others that are asked before Kedge's prohibition and can open a way round it; only ever read. */
  readonly strangers: readonly string[];
}

/** The key of a route. `table` is its number. */
export function routeEntryKey(table: number, destination: string, metric: number): string {
  return `route ${String(table)} ${destination} ${String(metric)}`;
}

/** The key of a rule. */
export function ruleEntryKey(family: Family, preference: number): string {
  return `rule ${String(family)} ${String(preference)}`;
}

/** Number of the kernel's main table. */
export const MAIN_TABLE = 254;

function routeEntry(route: RouteSpec, table: number, protocol: number): KernelEntry {
  const metric = metricOf(route);
  return {
    kind: 'route',
    family: route.destination.includes(':') ? 6 : 4,
    table: table === MAIN_TABLE ? 'main' : 'guard',
    key: routeEntryKey(table, route.destination, metric),
    // onlink: the hop is reached by the interface named, whatever tables and rules say at that moment.
    text: `${route.destination}${route.via === undefined ? '' : ` via ${route.via}`} dev ${route.dev}${
      route.via === undefined ? '' : ' onlink'
    } table ${String(table)} metric ${String(metric)} proto ${String(protocol)}`,
  };
}

/** What the rules of an exempt protocol select, by family. */
const EXEMPT: Readonly<Record<ExemptProtocol, Readonly<Record<Family, readonly string[]>>>> = {
  bgp: {
    4: ['ipproto tcp dport 179', 'ipproto tcp sport 179'],
    6: ['ipproto tcp dport 179', 'ipproto tcp sport 179'],
  },
  bfd: {
    4: ['ipproto udp dport 3784-3785', 'ipproto udp dport 4784'],
    6: ['ipproto udp dport 3784-3785', 'ipproto udp dport 4784'],
  },
  dhcp: { 4: ['ipproto udp dport 67'], 6: ['ipproto udp dport 547'] },
};

/** The rules of a mode at a level; none where it does not protect. */
function rulesOf(routes: OverlayAccord['routes'], mode: RouteMode): KernelEntry[] {
  if (!routes.protect) return [];
  const { guard, exempt, prohibit } = RULE_PREFERENCES[mode];
  return ([4, 6] as const).flatMap((family) => {
    // Local output only: what passes through the appliance is no control protocol of its own.
    const selectors = routes.exempt.flatMap((protocol) => EXEMPT[protocol][family]);
    const bodies: [preference: number, body: string][] = [
      [guard, `lookup ${String(GUARD_TABLE)}`],
      ...selectors.map((selector, place): [number, string] => [
        exempt + place,
        `iif lo ${selector} lookup ${String(MAIN_TABLE)}`,
      ]),
      [prohibit, 'prohibit'],
    ];
    return bodies.map(([preference, body]): KernelEntry => ({
      kind: 'rule',
      family,
      table: undefined,
      key: ruleEntryKey(family, preference),
      text: `pref ${String(preference)} ${body} protocol ${String(ROUTE_PROTOCOL[mode])}`,
    }));
  });
}

/**
 * What is to be in the kernel of one mode. Pure: the desired set, the accord of the level, nothing else. Of two
 * routes with one key the first counts; whoever edits the set keeps them apart.
 */
export function desiredRoutes(
  desired: readonly RouteSpec[],
  accord: { readonly overlay: OverlayAccord },
  mode: RouteMode,
): RouteWorld {
  const { routes } = accord.overlay;
  const protocol = ROUTE_PROTOCOL[mode];
  const allowed = new Map<string, RouteSpec>();
  for (const route of routesAllowed(desired, accord)) {
    if (route.mode === mode && !allowed.has(routeKey(route))) allowed.set(routeKey(route), route);
  }
  const specs = [...allowed.values()];
  return {
    mode,
    entries: [
      ...rulesOf(routes, mode),
      ...(routes.protect ? specs.map((route) => routeEntry(route, GUARD_TABLE, protocol)) : []),
      ...specs.map((route) => routeEntry(route, MAIN_TABLE, protocol)),
    ],
    strangers: [],
  };
}

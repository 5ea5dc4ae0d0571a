/**
 * Seeds the desired sets of a lab with its routes, by the requests that anybody would make.
 * It must not write to the services' files or to the kernel.
 */
import type { OverlayClient, UnderlayClient } from '@kedge/bus';

import { KedgeError } from '@kedge/units';

import type { Wanted } from './kernel-routes.js';
import {
  type LabRoute,
  ROUTE_PURPOSES,
  type RouteMode,
  type RoutePurpose,
  type RouteTier,
  seedRoutes,
} from './route-topology.js';
import { TIERS } from './topology.js';

const CALL_MS = 10_000;
const AT_ONCE = 200;
const PRINCIPAL = 'service:lab';

/** A lab whose overlay and underlay can be asked. */
export interface Seedable {
  overlay(): OverlayClient;
  underlay(): UnderlayClient;
}

/** A route as the services take it. */
export function routeMessage({ destination, via, dev, metric, purpose, tier }: LabRoute) {
  return { destination, via, dev, metric, purpose, tier };
}

/** Puts routes into the desired set of a mode. */
export async function addRoutes(lab: Seedable, mode: RouteMode, routes: readonly LabRoute[]): Promise<void> {
  for (let at = 0; at < routes.length; at += AT_ONCE) {
    const part = routes.slice(at, at + AT_ONCE).map(routeMessage);
    if (mode === 'overlay') {
      await lab.overlay().addRoutes({ routes: part, principal: PRINCIPAL }, { deadlineMs: CALL_MS });
      continue;
    }
    const first = part[0]?.destination.replaceAll(/[^A-Za-z0-9]/g, '-') ?? '';
    const reply = await lab.underlay().execute(
      {
        id: `lab-seed-${first}`,
        principal: PRINCIPAL,
        kind: 'ordinary',
        what: 'change',
        change: { add: part, remove: [] },
      },
      { deadlineMs: CALL_MS },
    );
    if (reply.outcome === 'refusal') {
      throw new KedgeError({
        code: 'LAB_ROUTES',
        message: `cannot seed the underlay: ${reply.refusal.message} [${reply.refusal.code}]`,
      });
    }
  }
}

/**
 * Seeds a mode unless it is; undefined when all of it stands, otherwise what is missing. It goes in several requests,
 * and whoever takes them may be started anew in between: what is there already is asked for again and changes nothing.
 */
export async function seeded(lab: Seedable, mode: RouteMode): Promise<string | undefined> {
  const client = mode === 'overlay' ? lab.overlay() : lab.underlay();
  const health = await client.health({ deadlineMs: 2_000 });
  if (health !== 'SERVING') return `it says ${health}`;
  const routes = seedRoutes(mode);
  const before = await client.status({}, { deadlineMs: 2_000 });
  if (before.desired < routes.length) await addRoutes(lab, mode, routes);
  const { desired, allowed, lastOutcome, alarms } = await client.status({}, { deadlineMs: 2_000 });
  if (desired < routes.length) return `${desired} of ${routes.length} routes are wanted`;
  if (lastOutcome !== 'applied' && lastOutcome !== 'unchanged')
    return `its last round: ${lastOutcome}; ${alarms.join('; ')}`;
  return allowed > 0 ? undefined : 'no route is allowed';
}

const PAGE = 1_000;

/** Everything that is wanted of a mode, by its service's own account. What it is for a level to allow is not asked. */
async function wantedOf(lab: Seedable, mode: RouteMode): Promise<readonly LabRoute[]> {
  const client = mode === 'overlay' ? lab.overlay() : lab.underlay();
  const found: LabRoute[] = [];
  for (let total = 1; found.length < total;) {
    const page = await client.listRoutes({ limit: PAGE, offset: found.length }, { deadlineMs: CALL_MS });
    total = page.total;
    if (page.routes.length === 0) break;
    for (const { route } of page.routes) {
      const { destination, via, dev, metric } = route;
      const seed = seedRoutes(mode).find((each) => each.destination === destination);
      found.push({
        destination,
        via,
        dev,
        metric,
        family: destination.includes(':') ? 6 : 4,
        purpose: ROUTE_PURPOSES.find((each) => each === route.purpose) ?? ('?' as RoutePurpose),
        tier: TIERS.find((each) => each === route.tier) ?? ('?' as RouteTier),
        probe: seed?.probe ?? destination.slice(0, destination.indexOf('/')),
      });
    }
  }
  return found;
}

/** Everything that is wanted of both modes. */
export async function wantedRoutes(lab: Seedable): Promise<Wanted> {
  const [overlay, underlay] = await Promise.all([wantedOf(lab, 'overlay'), wantedOf(lab, 'underlay')]);
  return { overlay, underlay };
}

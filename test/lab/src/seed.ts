/**
 * Seeds the desired sets of a lab with its routes, by the requests that anybody would make.
 * It must not write to the services' files or to the kernel.
 */
import type { OverlayClient, UnderlayClient } from '@kedge/bus';

import { type RouteMode, type LabRoute, seedRoutes } from './route-topology.js';

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
    if (reply.outcome === 'refusal') throw new Error(`${reply.refusal.message} [${reply.refusal.code}]`);
  }
}

/** Seeds a mode unless it is; undefined when all of it stands, otherwise what is missing. */
export async function seeded(lab: Seedable, mode: RouteMode): Promise<string | undefined> {
  const client = mode === 'overlay' ? lab.overlay() : lab.underlay();
  const health = await client.health({ deadlineMs: 2_000 });
  if (health !== 'SERVING') return `it says ${health}`;
  const routes = seedRoutes(mode);
  const before = await client.status({}, { deadlineMs: 2_000 });
  if (before.desired === 0) await addRoutes(lab, mode, routes);
  const { desired, allowed, lastOutcome, alarms } = await client.status({}, { deadlineMs: 2_000 });
  if (desired < routes.length) return `${desired} of ${routes.length} routes are wanted`;
  if (lastOutcome !== 'applied' && lastOutcome !== 'unchanged')
    return `its last round: ${lastOutcome}; ${alarms.join('; ')}`;
  return allowed > 0 ? undefined : 'no route is allowed';
}

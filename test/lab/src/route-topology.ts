/**
 * The routes of the lab as literal data: two namespaces with their links, some hundred routes of Kedge's of every
 * mode, purpose, tier and family, and routes of others that Kedge must leave alone.
 * It must not say what a posture level does with any of it; expectations.ts does, in a table of its own.
 */
import { TIERS } from './topology.js';

/** The two ways a route can go (OV-17); each has a service, a path and a namespace of its own. */
export const ROUTE_MODES = ['overlay', 'underlay'] as const;
export type RouteMode = (typeof ROUTE_MODES)[number];

export const ROUTE_PURPOSES = ['ordinary', 'management', 'incident-response', 'monitoring'] as const;
export type RoutePurpose = (typeof ROUTE_PURPOSES)[number];
export type RouteTier = (typeof TIERS)[number];

/** A route as the lab wants it to be in the desired set. */
export interface LabRoute {
  readonly destination: string;
  readonly family: 4 | 6;
  readonly via: string;
  readonly dev: string;
  readonly metric: number;
  readonly purpose: RoutePurpose;
  readonly tier: RouteTier;
  /** An address inside of the destination, to ask the kernel about. */
  readonly probe: string;
}

/** One end of a veth pair; the other end, NAME-far, is up and silent in the same namespace. */
interface Link {
  readonly name: string;
  readonly ip4: string;
  readonly ip6: string;
  readonly via4: string;
  readonly via6: string;
}

const link = (name: string, number: number): Link => ({
  name,
  ip4: `10.254.${number}.1/24`,
  ip6: `fdfe:${number}::1/64`,
  via4: `10.254.${number}.2`,
  via6: `fdfe:${number}::2`,
});

export const ROUTE_NAMESPACES: Readonly<Record<RouteMode, string>> = {
  overlay: 'kedge-overlay',
  underlay: 'kedge-underlay',
};

const LINKS: Readonly<Record<RouteMode, readonly [Link, Link]>> = {
  overlay: [link('mesh-a', 1), link('mesh-b', 2)],
  underlay: [link('site-a', 3), link('site-b', 4)],
};
export const linksOf = (mode: RouteMode): readonly [Link, Link] => LINKS[mode];

/** First part of a mode's destinations, and how many there are of each purpose, tier and family. */
const PLAN = {
  overlay: { net4: 80, net6: 'fd80', each: 8 },
  underlay: { net4: 90, net6: 'fd90', each: 4 },
} as const;

/** What a lab is seeded with: 256 routes in overlay mode, 128 in underlay mode. */
export function seedRoutes(mode: RouteMode): readonly LabRoute[] {
  const { net4, net6, each } = PLAN[mode];
  return ROUTE_PURPOSES.flatMap((purpose, p) =>
    TIERS.flatMap((tier, t) =>
      Array.from({ length: each }, (_, n): readonly LabRoute[] => {
        const over = linksOf(mode)[n % 2 === 0 ? 0 : 1];
        const net = `10.${net4 + p}.${t * 16 + n}`;
        const six = `${net6}:${p + 1}:${t + 1}:${n + 1}`;
        const about = { dev: over.name, metric: 0, purpose, tier };
        return [
          { ...about, destination: `${net}.0/24`, family: 4, via: over.via4, probe: `${net}.9` },
          {
            ...about,
            destination: `${six}::/64`,
            family: 6,
            via: over.via6,
            metric: 1024,
            probe: `${six}::9`,
          },
        ];
      }).flat(),
    ),
  );
}

/** Routes of others, by the arguments of `ip route add`: a routing daemon's and somebody's own. Kedge leaves them. */
export function foreignRoutes(
  mode: RouteMode,
): readonly { readonly family: 4 | 6; readonly add: string; readonly probe: string }[] {
  const [first, second] = linksOf(mode);
  return [
    { family: 4, add: `10.99.1.0/24 via ${first.via4} dev ${first.name} proto ospf`, probe: '10.99.1.9' },
    { family: 4, add: `10.99.2.0/24 via ${second.via4} dev ${second.name} proto static`, probe: '10.99.2.9' },
    { family: 4, add: `10.99.3.0/24 via ${second.via4} dev ${second.name} proto bgp`, probe: '10.99.3.9' },
    { family: 6, add: `fd99:1::/64 via ${first.via6} dev ${first.name} proto static`, probe: 'fd99:1::9' },
    { family: 6, add: `fd99:2::/64 via ${second.via6} dev ${second.name} proto bgp`, probe: 'fd99:2::9' },
  ];
}

/** How `ip -j` prints the routing-protocol number of Kedge's routes. */
export const KEDGE_PROTOCOLS: Readonly<Record<RouteMode, string>> = { overlay: '107', underlay: '108' };

/** The metric of a route that was asked for with metric 0, as the kernel holds it. */
export const KEDGE_METRIC = 18_600;

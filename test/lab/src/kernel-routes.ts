/**
 * The routes of a lab as its kernel has them, read from outside with `ip`, and what should be there by
 * route-topology.ts and expectations.ts.
 * It must not use any code of Kedge that reads, filters or writes routes: it is what that code is held against.
 */
import { KedgeError, type Level } from '@kedge/units';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';

import { PROHIBITED_AT, ROUTES_EXPECTED } from './expectations.js';
import {
  foreignRoutes,
  KEDGE_METRIC,
  KEDGE_PROTOCOLS,
  type LabRoute,
  ROUTE_MODES,
  ROUTE_NAMESPACES,
  type RouteMode,
  seedRoutes,
} from './route-topology.js';

const run = promisify(execFile);
const WITHIN_MS = 10_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

/** Something whose namespaces can be entered: a lab. */
export interface Reachable {
  reach(path: string): string;
}

/** What the kernel says about one way to an address. */
export type Reachability = 'there' | 'prohibited' | 'unreachable';

function failure(mode: RouteMode, what: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'LAB_ROUTES',
    message: `cannot ${what} in the namespace ${ROUTE_NAMESPACES[mode]}`,
    help: 'is the lab up? try: kedge lab status',
    cause,
  });
}

async function inside(
  lab: Reachable,
  mode: RouteMode,
  what: string,
  command: readonly string[],
): Promise<Buffer> {
  const namespace = lab.reach(`/run/netns/${ROUTE_NAMESPACES[mode]}`);
  try {
    const { stdout } = await run('nsenter', [`--net=${namespace}`, '--', ...command], {
      encoding: 'buffer',
      timeout: WITHIN_MS,
      maxBuffer: MAX_OUTPUT,
    });
    return stdout;
  } catch (cause) {
    throw failure(mode, what, cause);
  }
}

interface RawRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly metric?: number;
  readonly protocol: string;
}

/** Everything that makes a route the route it is, in one line. */
function lineOf(route: RawRoute): string {
  return `${route.dst} via ${route.gateway ?? '-'} dev ${route.dev ?? '-'} metric ${route.metric ?? 0}`;
}

const isOwn = (mode: RouteMode, { protocol }: RawRoute): boolean => protocol === KEDGE_PROTOCOLS[mode];

/** The kernel's main tables: Kedge's routes, and everybody else's. Sorted. */
export interface KernelRoutes {
  readonly own: readonly string[];
  readonly others: readonly string[];
}

/**
 * Reads both families.
 *
 * @throws KedgeError `LAB_ROUTES`
 */
export async function kernelRoutes(lab: Reachable, mode: RouteMode): Promise<KernelRoutes> {
  const routes: RawRoute[] = [];
  for (const family of ['-4', '-6']) {
    const out = await inside(lab, mode, 'read routes', [
      'ip',
      family,
      '-j',
      'route',
      'show',
      'table',
      'main',
    ]);
    routes.push(...(JSON.parse(out.toString()) as RawRoute[]));
  }
  return {
    own: routes
      .filter((route) => isOwn(mode, route))
      .map(lineOf)
      .sort(),
    others: routes
      .filter((route) => !isOwn(mode, route))
      .map((route) => `${lineOf(route)} proto ${route.protocol}`)
      .sort(),
  };
}

/** What a level should leave of the routes that are wanted, as {@link kernelRoutes} would say it. */
export function expectedRoutes(
  mode: RouteMode,
  level: Level,
  wanted: readonly LabRoute[] = seedRoutes(mode),
): readonly string[] {
  return wanted
    .filter((route) => isExpected(mode, level, route))
    .map(({ destination, via, dev, metric }) =>
      lineOf({
        dst: destination,
        gateway: via,
        dev,
        metric: metric === 0 ? KEDGE_METRIC : metric,
        protocol: '',
      }),
    )
    .sort();
}

function isExpected(mode: RouteMode, level: Level, { purpose, tier }: LabRoute): boolean {
  const { tiers, purposes } = ROUTES_EXPECTED[mode][level];
  return tiers.includes(tier) && purposes.includes(purpose);
}

/** Whose is the same, has the same routes and rules, byte for byte as `ip` prints all it knows about them. */
export async function routesFingerprint(lab: Reachable, mode: RouteMode): Promise<string> {
  const script = [
    'ip -4 -d -j route show table all',
    'ip -6 -d -j route show table all',
    'ip -4 -d -j rule show',
    'ip -6 -d -j rule show',
  ].join(' && ');
  const out = await inside(lab, mode, 'save routes', ['sh', '-c', script]);
  return createHash('sha256').update(out).digest('hex');
}

/** {@link routesFingerprint} of every mode. */
export async function routesFingerprints(lab: Reachable): Promise<Readonly<Record<RouteMode, string>>> {
  const [overlay, underlay] = await Promise.all([
    routesFingerprint(lab, 'overlay'),
    routesFingerprint(lab, 'underlay'),
  ]);
  return { overlay, underlay };
}

/** How the kernel would reach each address. */
export async function reachability(
  lab: Reachable,
  mode: RouteMode,
  addresses: readonly string[],
): Promise<ReadonlyMap<string, Reachability>> {
  // One process for all of them: one each is a hundred a look, which a crowded machine takes seconds for.
  const questions = addresses.map((address) => `'route get ${address}'`).join(' ');
  const script = [
    'exec 3>&1',
    `complaints=$(printf '%s\\n' ${questions} | ip -o -force -batch - 2>&1 1>&3)`,
    `printf '=\\n%s\\n' "$complaints"`,
  ].join('\n');
  const out = (await inside(lab, mode, 'ask for routes', ['sh', '-c', script])).toString();
  const lines = out.split('\n');
  const answers = lines.indexOf('=');
  const refused = new Map<number, Reachability>();
  let said = '';
  for (const line of lines.slice(answers + 1)) {
    const place = /^Command failed -:(\d+)$/.exec(line)?.[1];
    if (place === undefined) said = line;
    else refused.set(Number(place) - 1, said.includes('denied') ? 'prohibited' : 'unreachable');
  }
  if (answers + refused.size !== addresses.length)
    throw failure(
      mode,
      `believe ${answers} answers and ${refused.size} refusals of ${addresses.length}`,
      out,
    );
  return new Map(
    addresses.map((address, at): readonly [string, Reachability] => [address, refused.get(at) ?? 'there']),
  );
}

/** One route of every purpose, tier and family, and every route of somebody else. */
function probes(
  mode: RouteMode,
  wanted: readonly LabRoute[],
): readonly { readonly address: string; readonly route?: LabRoute }[] {
  const seen = new Set<string>();
  const own = wanted.filter(({ purpose, tier, family }) => {
    const kind = `${purpose} ${tier} ${family}`;
    return !seen.has(kind) && seen.add(kind);
  });
  return [
    ...own.map((route) => ({ address: route.probe, route })),
    ...foreignRoutes(mode).map(({ probe }) => ({ address: probe })),
  ];
}

/** What was found of one mode at one level. */
export interface RoutesFound {
  readonly mode: RouteMode;
  readonly own: readonly string[];
  readonly others: readonly string[];
  /** Addresses that were asked about. */
  readonly asked: number;
  /** What is not as it should be, one sentence each. */
  readonly differences: readonly string[];
}

const SHOWN = 5;

function listed(what: string, lines: readonly string[]): readonly string[] {
  if (lines.length === 0) return [];
  const more = lines.length > SHOWN ? ` and ${lines.length - SHOWN} more` : '';
  return [`${lines.length} routes ${what}: ${lines.slice(0, SHOWN).join('; ')}${more}`];
}

/** Holds routes and rules of one mode against what the level should leave. */
export async function routesAt(
  lab: Reachable,
  mode: RouteMode,
  level: Level,
  wanted: readonly LabRoute[] = seedRoutes(mode),
): Promise<RoutesFound> {
  const expected = new Set(expectedRoutes(mode, level, wanted));
  const { own, others } = await kernelRoutes(lab, mode);
  const there = new Set(own);
  const asked = probes(mode, wanted);
  const answers = await reachability(
    lab,
    mode,
    asked.map(({ address }) => address),
  );
  const wrongWay = asked.flatMap(({ address, route }): string[] => {
    const allowed = route === undefined ? false : isExpected(mode, level, route);
    const prohibits = PROHIBITED_AT.includes(level);
    const other: Reachability =
      route === undefined && !prohibits ? 'there' : prohibits ? 'prohibited' : 'unreachable';
    const should = allowed ? 'there' : other;
    const is = answers.get(address);
    return is === should
      ? []
      : [`the way to ${address} is ${is ?? 'not known'} at level ${level}, it should be ${should}`];
  });
  return {
    mode,
    own,
    others,
    asked: asked.length,
    differences: [
      ...listed(
        `of Kedge's are missing in the ${mode} at level ${level}`,
        [...expected].filter((line) => !there.has(line)),
      ),
      ...listed(
        `of Kedge's are there in the ${mode} that level ${level} does not allow`,
        own.filter((line) => !expected.has(line)),
      ),
      ...wrongWay,
    ],
  };
}

/** What is wanted of each mode. */
export type Wanted = Readonly<Record<RouteMode, readonly LabRoute[]>>;

/** Every mode at once. */
export async function allRoutesAt(
  lab: Reachable,
  level: Level,
  wanted?: Wanted,
): Promise<readonly RoutesFound[]> {
  return Promise.all(ROUTE_MODES.map((mode) => routesAt(lab, mode, level, wanted?.[mode])));
}

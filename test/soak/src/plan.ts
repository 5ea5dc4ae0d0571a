/**
 * What a soak does, in what order and with what pauses: all of it follows from the seed.
 * It must not look at the lab: the same seed is the same plan.
 */
import { seeded } from '@kedge/faults';
import {
  type LabService,
  ROUTE_MODES,
  type RouteMode,
  SOCKET_DIRECTORIES,
  type SocketDirectory,
} from '@kedge/lab';
import { type Level, LEVELS } from '@kedge/units';

/** Services that are struck; the warden is only stopped, because the lab ends with it. */
export const STRUCK = [
  'posture-coordinator',
  'vpp-bridge',
  'forwarder',
  'overlay',
  'underlay',
] as const satisfies readonly LabService[];

export type PlannedAct = { readonly pauseMs: number } & (
  | { readonly act: 'order'; readonly way: SocketDirectory; readonly level: Level }
  | { readonly act: 'kill'; readonly service: (typeof STRUCK)[number] }
  | { readonly act: 'stop'; readonly service: (typeof STRUCK)[number]; readonly forMs: number }
  | { readonly act: 'stop-warden'; readonly forMs: number }
  | { readonly act: 'route-removed' | 'route-added'; readonly mode: RouteMode; readonly pick: number }
  | { readonly act: 'ip-fails'; readonly forMs: number }
  /** Everything goes on; the lab has to come to this level and be right. */
  | { readonly act: 'converge'; readonly level: Level }
);
export type ActName = PlannedAct['act'];

/** Acts between two convergences. */
const ROUND = 24;
const WEIGHTS: readonly (readonly [ActName, number])[] = [
  ['order', 12],
  ['kill', 4],
  ['stop', 3],
  ['stop-warden', 0.6],
  ['route-removed', 1.5],
  ['route-added', 1.5],
  ['ip-fails', 1],
];

/** The acts of a seed, without end. */
export function* actsOf(seed: number): Generator<PlannedAct, never, undefined> {
  const random = seeded(seed);
  const from = <T>(list: readonly T[]): T => {
    const found = list[Math.floor(random() * list.length)];
    if (found === undefined) throw new RangeError('nothing to choose from');
    return found;
  };
  const total = WEIGHTS.reduce((sum, [, weight]) => sum + weight, 0);
  for (let count = 1; ; count += 1) {
    const pauseMs = Math.round(random() ** 2 * 400);
    if (count % ROUND === 0) {
      yield { act: 'converge', pauseMs, level: from(LEVELS) };
      continue;
    }
    let left = random() * total;
    const [name = 'order'] = WEIGHTS.find(([, weight]) => (left -= weight) < 0) ?? [];
    const forMs = Math.round(20 + random() ** 2 * 1_500);
    switch (name) {
      case 'order':
        yield { act: name, pauseMs, way: from(SOCKET_DIRECTORIES), level: from(LEVELS) };
        break;
      case 'kill':
        yield { act: name, pauseMs, service: from(STRUCK) };
        break;
      case 'stop':
        yield { act: name, pauseMs, service: from(STRUCK), forMs };
        break;
      case 'stop-warden':
      case 'ip-fails':
        yield { act: name, pauseMs, forMs };
        break;
      case 'route-added':
      case 'route-removed':
        yield { act: name, pauseMs, mode: from(ROUTE_MODES), pick: random() };
        break;
      case 'converge':
        break;
    }
  }
}

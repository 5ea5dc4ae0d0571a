/**
 * How a lab is seeded by services that come and go.
 * Must not bring a lab up: whoever is asked is a set of routes in memory.
 */
import type { OverlayClient, UnderlayClient } from '@kedge/bus';
import { KedgeError } from '@kedge/units';
import { expect, it } from 'vitest';

import { seedRoutes } from './route-topology.js';
import { seeded } from './seed.js';

/** An overlay that keeps what it is given, and is away for one request. */
class Forgetful {
  readonly wanted = new Set<string>();
  requests = 0;

  constructor(private readonly awayAt: number) {}

  overlay(): OverlayClient {
    return {
      health: () => Promise.resolve('SERVING'),
      status: () =>
        Promise.resolve({
          desired: this.wanted.size,
          allowed: this.wanted.size,
          lastOutcome: 'applied',
          alarms: [],
        }),
      addRoutes: ({ routes }: { routes: readonly { destination: string; metric: number }[] }) => {
        this.requests += 1;
        if (this.requests === this.awayAt)
          return Promise.reject(new KedgeError({ code: 'BUS_UNAVAILABLE', message: 'nobody answers' }));
        for (const { destination, metric } of routes) this.wanted.add(`${destination} ${metric}`);
        return Promise.resolve({});
      },
    } as unknown as OverlayClient;
  }
  underlay(): UnderlayClient {
    throw new Error('nobody asks for it');
  }
}

it('a seed that was cut short between two requests is finished by the next look', async () => {
  const all = seedRoutes('overlay').length;
  const lab = new Forgetful(2);
  await expect(seeded(lab, 'overlay')).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
  expect(lab.wanted.size).toBeGreaterThan(0);
  expect(lab.wanted.size).toBeLessThan(all);
  expect(await seeded(lab, 'overlay')).toBe(undefined);
  expect(lab.wanted.size).toBe(all);
  const { requests } = lab;
  expect(await seeded(lab, 'overlay')).toBe(undefined);
  expect(lab.requests).toBe(requests);
});

/**
 * A set of routes over a disk that fails and a kernel in a namespace of its own.
 * Must not leave a namespace or a file.
 */
import { openDesiredStore } from '@kedge/bus';
import { routeKey, type RouteSpec } from '@kedge/routes';
import type { Epoch } from '@kedge/units';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readPathAccords, routeKind, RouteSet } from '../src/index.js';

const NETNS = `kedge-rs-${process.pid}`;
const DEFAULTS = join(import.meta.dirname, '../../../yang/defaults');
let directory: string;
let path: string;

const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' });
const inKernel = (): string => ip('-n', NETNS, 'route', 'show', 'table', 'all', 'proto', '107');

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-route-set-'));
  path = join(directory, 'routes.json');
  ip('netns', 'add', NETNS);
  ip('-n', NETNS, 'link', 'add', 'mesh0', 'type', 'veth', 'peer', 'name', 'far0');
  ip('-n', NETNS, 'addr', 'add', '10.7.0.1/24', 'dev', 'mesh0');
  ip('-n', NETNS, 'link', 'set', 'mesh0', 'up');
  ip('-n', NETNS, 'link', 'set', 'far0', 'up');
});
afterEach(() => {
  ip('netns', 'delete', NETNS);
  rmSync(directory, { recursive: true });
});

const route = (destination: string, via = '10.7.0.2'): RouteSpec => ({
  destination,
  via,
  dev: 'mesh0',
  mode: 'overlay',
  purpose: 'management',
  tier: 'site_owner',
});
const KEPT = route('10.120.1.0/24');
const WANTED = route('10.120.2.0/24');

async function routesOf() {
  const store = await openDesiredStore({ path, kind: routeKind('overlay') });
  const said: string[] = [];
  const log = (_fields: object, message: string): void => {
    said.push(message);
  };
  const routes = new RouteSet({
    mode: 'overlay',
    store,
    accords: readPathAccords({
      accords: join(DEFAULTS, 'accords.json'),
      zones: join(DEFAULTS, 'zones.json'),
    }),
    tools: { netns: NETNS, timeoutMs: 20_000 },
    log: { info: log, warn: log },
  });
  const participant = routes.participant('overlay');
  const { signal } = new AbortController();
  /** What every round does. */
  const round = async (): Promise<void> => {
    const plan = participant.plan(await participant.read(signal), 5, 1n as Epoch);
    if (plan.steps.length > 0) await participant.apply(plan, signal);
    expect(await participant.verify(5, signal)).toEqual({ ok: true, differences: [] });
  };
  const destinations = (): string[] => routes.desired.map(({ destination }) => destination);
  return { store, routes, round, destinations };
}

/** Takes the place of the next write, so that nothing can be saved. */
const breakDisk = (): void => {
  mkdirSync(`${path}.new`);
};
const mendDisk = (): void => {
  rmdirSync(`${path}.new`);
};

describe('an edit of routes', () => {
  it('PO-18 that the disk refused reaches the kernel neither at once nor with a later round', async () => {
    const { routes, round, destinations } = await routesOf();
    await routes.edit({ add: [KEPT], remove: [] }, 5);
    await round();
    breakDisk();
    const refused = expect(routes.edit({ add: [WANTED], remove: [routeKey(KEPT)] }, 5)).rejects.toMatchObject(
      { code: 'BUS_DESIRED_FAILED' },
    );
    // A round that falls between the edit and the disk's answer goes by what is durable.
    expect(destinations()).toEqual([KEPT.destination]);
    await refused;
    await round();
    expect(destinations()).toEqual([KEPT.destination]);
    expect(inKernel()).toContain(KEPT.destination);
    expect(inKernel()).not.toContain(WANTED.destination);
    // The next one is made from what stands, not from what was refused.
    mendDisk();
    expect(await routes.edit({ add: [WANTED], remove: [] }, 5)).toMatchObject({ changed: 1 });
    await round();
    expect(inKernel()).toContain(WANTED.destination);
    expect((await routesOf()).destinations()).toEqual([KEPT.destination, WANTED.destination]);
  });

  it('UN-14 that is taken back is in force nowhere, though the disk fails, and the file follows when it can', async () => {
    const { store, routes, round, destinations } = await routesOf();
    await routes.edit({ add: [KEPT], remove: [] }, 5);
    const moved = route(KEPT.destination, '10.7.0.9');
    const undo = routes.inverse({ add: [WANTED, moved], remove: [] });
    await routes.edit({ add: [WANTED, moved], remove: [] }, 5);
    breakDisk();
    await expect(routes.takeBack(undo, 5)).rejects.toMatchObject({ code: 'BUS_DESIRED_FAILED' });
    expect(destinations()).toEqual([KEPT.destination]);
    expect(routes.alarms).toEqual([
      expect.stringContaining('still stands in the file, and a start would bring it about: routes 2'),
    ]);
    await round();
    expect(inKernel()).toContain('via 10.7.0.2');
    expect(inKernel()).not.toContain(WANTED.destination);
    // The file says otherwise, as a start would find it.
    expect(store.durable.items).toHaveLength(2);
    mendDisk();
    await round();
    await expect.poll(() => routes.alarms).toEqual([]);
    expect(store.durable.items).toEqual([KEPT]);
    expect((await routesOf()).routes.desired).toEqual([KEPT]);
  });
});

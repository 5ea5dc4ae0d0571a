/**
 * Overlay and underlay of one lab: routes in its kernel, edits at every level, the gate by the sockets of each tier.
 * Must not measure, and must not trust what the services say of the kernel: it is asked by itself.
 */
import {
  addRoutes,
  expectedRoutes,
  kernelRoutes,
  type Lab,
  labDown,
  type LabRoute,
  labUp,
  linksOf,
  PATIENT_BUDGETS,
  ROUTE_MODES,
  ROUTE_NAMESPACES,
  type RouteMode,
  routesAt,
  routesFingerprint,
  seedRoutes,
  wantedRoutes,
} from '@kedge/lab';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { kedgeJson } from './run-command.js';

const NAME = 'paths';
const LAB = ['--lab', NAME];
const CALL = { deadlineMs: 10_000 };

let lab: Lab;

const set = (level: number): Promise<unknown> =>
  kedgeJson([
    'posture',
    'set',
    String(level),
    ...['--reason', 'a test', '--as', 'console', '--wait'],
    ...LAB,
  ]);

const inside = (mode: RouteMode, ...words: readonly string[]): string =>
  execFileSync(
    'nsenter',
    [`--net=${lab.reach(`/run/netns/${ROUTE_NAMESPACES[mode]}`)}`, '--', 'ip', ...words],
    {
      encoding: 'utf8',
    },
  );

/** A route beside the seed; `number` tells it from others. */
function extra(mode: RouteMode, number: number, about: Pick<LabRoute, 'purpose' | 'tier'>): LabRoute {
  const [link] = linksOf(mode);
  const net = `10.${mode === 'overlay' ? 120 : 121}.${number}`;
  return {
    ...about,
    destination: `${net}.0/24`,
    family: 4,
    via: link.via4,
    dev: link.name,
    metric: 0,
    probe: `${net}.9`,
  };
}

const message = ({ destination, via, dev, metric, purpose, tier }: LabRoute) => ({
  destination,
  via,
  dev,
  metric,
  purpose,
  tier,
});

async function own(mode: RouteMode): Promise<readonly string[]> {
  return (await kernelRoutes(lab, mode)).own;
}

const remove = (destination: string): Promise<unknown> =>
  lab.overlay().removeRoutes({ routes: [{ destination, metric: 0 }], principal: 'user:ada' }, CALL);

beforeAll(async () => {
  await labDown(NAME);
  lab = await labUp({ name: NAME, budgets: PATIENT_BUDGETS, foreground: true });
}, 120_000);

afterEach(async () => {
  await set(5);
});

afterAll(async () => {
  await lab.down();
});

describe('overlay and underlay', () => {
  it('PO-18 OV-13 the lab is seeded with routes of every mode, purpose, tier and family, and the kernel has them', async () => {
    const wanted = await wantedRoutes(lab);
    for (const mode of ROUTE_MODES) {
      const kinds = new Set(wanted[mode].map(({ purpose, tier, family }) => `${purpose} ${tier} ${family}`));
      expect(kinds.size).toBe(4 * 4 * 2);
      expect(expectedRoutes(mode, 5, wanted[mode])).toEqual(expectedRoutes(mode, 5));
      const found = await routesAt(lab, mode, 5);
      expect(found.differences).toEqual([]);
      expect(found.asked).toBeGreaterThan(32);
    }
  });

  it('OV-14 at 5 exactly the pre-escalation set is back, less what was removed, plus what was added meanwhile', async () => {
    const before = await routesFingerprint(lab, 'overlay');
    const ordinary = extra('overlay', 1, { purpose: 'ordinary', tier: 'master' });
    const management = extra('overlay', 2, { purpose: 'management', tier: 'apprentice' });
    const gone = seedRoutes('overlay').find(({ purpose }) => purpose === 'ordinary');
    if (gone === undefined) throw new Error('no ordinary route');
    await set(2);
    const added = await lab
      .overlay()
      .addRoutes({ routes: [message(ordinary), message(management)], principal: 'user:ada' }, CALL);
    expect(added).toMatchObject({ changed: 2, unchanged: 0, withheld: 1, level: 2, applied: true });
    expect(await remove(gone.destination)).toMatchObject({ changed: 1, applied: true });
    const wanted = [...seedRoutes('overlay'), ordinary, management].filter(
      ({ destination }) => destination !== gone.destination,
    );
    expect(await own('overlay')).toEqual(expectedRoutes('overlay', 2, wanted));
    expect((await own('overlay')).some((line) => line.startsWith(management.destination))).toBe(true);
    expect((await own('overlay')).some((line) => line.startsWith(ordinary.destination))).toBe(false);
    await set(1);
    expect(await own('overlay')).toEqual([]);
    await set(5);
    expect(await own('overlay')).toEqual(expectedRoutes('overlay', 5, wanted));
    // And with the edits taken back everything is byte for byte what it was.
    await remove(ordinary.destination);
    await remove(management.destination);
    await addRoutes(lab, 'overlay', [gone]);
    expect(await routesFingerprint(lab, 'overlay')).toBe(before);
  }, 60_000);

  it('PO-11 what was changed by hand underneath is repaired, and nothing that is right is touched', async () => {
    const before = await routesFingerprint(lab, 'overlay');
    const [first, second] = seedRoutes('overlay');
    inside('overlay', 'route', 'del', first?.destination ?? '', 'proto', '107');
    inside('overlay', '-6', 'route', 'del', second?.destination ?? '', 'proto', '107');
    inside('overlay', 'route', 'add', '10.120.99.0/24', 'dev', 'mesh-a', 'proto', '107');
    expect(await routesFingerprint(lab, 'overlay')).not.toBe(before);
    await expect.poll(() => routesFingerprint(lab, 'overlay'), { timeout: 15_000 }).toBe(before);
    // The next round finds everything right.
    await expect
      .poll(async () => (await lab.overlay().status({}, CALL)).lastOutcome, { timeout: 15_000 })
      .toBe('unchanged');
    await set(5);
    expect(await routesFingerprint(lab, 'overlay')).toBe(before);
  }, 40_000);

  it('PO-10 a tighter order during a transition takes its place; the routes are those of the tighter level', async () => {
    const key = (): string => randomUUID();
    const ask = (level: number) =>
      lab
        .posture('console')
        .set({ level, reason: 'a test', principal: 'user:ada', idempotencyKey: key() }, CALL);
    const first = await ask(3);
    const second = await ask(1);
    if (first.outcome !== 'decision' || second.outcome !== 'decision') throw new Error('refused');
    await expect
      .poll(
        async () => {
          const reply = await lab.posture('console').transition({ epoch: second.decision.epoch }, CALL);
          return reply.outcome === 'report' ? reply.report.outcome : '';
        },
        { timeout: 10_000 },
      )
      .toBe('completed');
    for (const mode of ROUTE_MODES) expect((await routesAt(lab, mode, 1)).differences).toEqual([]);
    const before = await lab.posture('console').transition({ epoch: first.decision.epoch }, CALL);
    // What was quick enough had ended before the second came.
    expect(['preempted', 'completed']).toContain(before.outcome === 'report' ? before.report.outcome : '');
  }, 30_000);

  it('PO-18 PO-19 a service that dies has its set and its routes again, and is at the posture before it serves', async () => {
    for (const mode of ROUTE_MODES) {
      await set(3);
      const [{ pid } = { pid: 0 }] = lab.serviceProcesses(mode);
      process.kill(pid, 'SIGKILL');
      const client = mode === 'overlay' ? lab.overlay() : lab.underlay();
      // By somebody else, and only then: however quick that was, or however slow.
      await expect
        .poll(
          async () => {
            const health = await client.health({ deadlineMs: 2_000 }).catch(() => 'away');
            return [health, ![undefined, pid].includes(lab.serviceProcesses(mode)[0]?.pid)];
          },
          { timeout: 20_000 },
        )
        .toEqual(['SERVING', true]);
      expect((await routesAt(lab, mode, 3)).differences).toEqual([]);
    }
  }, 60_000);

  it('OV-14 a request that is wrong in any part changes nothing and is told the field', async () => {
    const route = message(extra('overlay', 9, { purpose: 'ordinary', tier: 'master' }));
    const tooMany = Array.from({ length: 201 }, (_, n) => ({ ...route, metric: n + 1 }));
    const cases: readonly [readonly (typeof route)[], string, string][] = [
      [[], 'routes', 'ROUTE_SET_REQUEST'],
      [tooMany, 'routes', 'ROUTE_SET_REQUEST'],
      [[route, { ...route, tier: 'king' as never }], 'routes[1].tier', 'ROUTES_SPEC'],
      [[{ ...route, destination: '10.1.2.3/24' }], 'routes[0].destination', 'ROUTES_SPEC'],
      [[{ ...route, via: 'fd00::1' }], 'routes[0].via', 'ROUTES_SPEC'],
      [[{ ...route, dev: 'a b' }], 'routes[0].dev', 'ROUTES_SPEC'],
      [[{ ...route, purpose: '' as never }], 'routes[0].purpose', 'ROUTES_SPEC'],
      [[route, route], 'routes[1]', 'ROUTE_SET_REQUEST'],
    ];
    for (const [routes, field, code] of cases) {
      await expect(lab.overlay().addRoutes({ routes, principal: 'user:ada' }, CALL)).rejects.toMatchObject({
        code,
        field,
      });
    }
    await expect(lab.overlay().addRoutes({ routes: [route], principal: '' }, CALL)).rejects.toMatchObject({
      field: 'principal',
    });
    expect(await own('overlay')).toEqual(expectedRoutes('overlay', 5));
  });

  it('UN-14 who may not execute at 3 proposes; a master executes it; at 2 and 1 nothing is written', async () => {
    const route = extra('underlay', 1, { purpose: 'management', tier: 'site_owner' });
    const change = { add: [message(route)], remove: [] };
    const execute = (way: 'journeyman' | 'master' | 'site_owner', id: string) =>
      lab
        .underlay(`local/${way}`)
        .execute({ id, principal: `user:${way}`, kind: 'ordinary', what: 'change', change }, CALL);
    await set(3);
    expect(await execute('journeyman', 'scenario-1')).toMatchObject({
      outcome: 'refusal',
      refusal: { code: 'GATE_PROPOSED', level: 3 },
    });
    const proposed = await lab
      .underlay('local/apprentice')
      .propose({ id: 'scenario-2', principal: 'user:eve', reason: 'a pod moved', change }, CALL);
    expect(proposed).toMatchObject({
      outcome: 'proposal',
      proposal: { tier: 'apprentice', channel: 'local' },
    });
    const waiting = await lab.underlay().listProposals({}, CALL);
    expect(waiting.proposals.map(({ id }) => id)).toEqual(['scenario-1', 'scenario-2']);
    expect(await own('underlay')).toEqual(expectedRoutes('underlay', 3));

    for (const [level, code] of [
      [2, 'GATE_EMERGENCY_ONLY'],
      [1, 'GATE_FROZEN'],
    ] as const) {
      await set(level);
      expect(await execute('site_owner', `scenario-at-${level}`)).toMatchObject({
        outcome: 'refusal',
        refusal: { code, level },
      });
      expect(await own('underlay')).toEqual(expectedRoutes('underlay', level));
    }
    await set(3);
    const done = await lab.underlay('local/master').execute(
      {
        id: 'scenario-3',
        principal: 'user:mia',
        kind: 'ordinary',
        what: 'proposal',
        proposal: 'scenario-1',
      },
      CALL,
    );
    expect(done).toMatchObject({ outcome: 'done', done: { changed: 1, withheld: 0, applied: true } });
    expect(await own('underlay')).toEqual(expectedRoutes('underlay', 3, [...seedRoutes('underlay'), route]));
    await lab.underlay().withdraw({ id: 'scenario-2', principal: 'user:mia' }, CALL);
    expect((await lab.underlay().listProposals({}, CALL)).proposals).toEqual([]);
    await lab.underlay().execute(
      {
        id: 'scenario-4',
        principal: 'user:mia',
        kind: 'ordinary',
        what: 'change',
        change: { add: [], remove: [{ destination: route.destination, metric: 0 }] },
      },
      CALL,
    );
    expect(await own('underlay')).toEqual(expectedRoutes('underlay', 3));
  }, 60_000);

  it('UN-14 a change that a tightening overtakes is done whole or not at all, and its answer says which', async () => {
    let answered = 0;
    const done: string[] = [];
    const tightening = set(2);
    for (let number = 10; number < 60; number += 1) {
      const route = extra('underlay', number, { purpose: 'management', tier: 'site_owner' });
      const reply = await lab.underlay().execute(
        {
          id: `overtaken-${number}`,
          principal: 'user:mia',
          kind: 'ordinary',
          what: 'change',
          change: { add: [message(route)], remove: [] },
        },
        CALL,
      );
      answered += 1;
      if (reply.outcome === 'done') done.push(route.destination);
      else if (reply.refusal.code === 'GATE_EMERGENCY_ONLY') break;
    }
    await tightening;
    expect(answered).toBeGreaterThan(0);
    const lines = await own('underlay');
    const there = lines.flatMap((line) => (line.startsWith('10.121.') ? [line.split(' ')[0]] : []));
    expect(there.toSorted()).toEqual(done.toSorted());
    await set(5);
    for (const destination of done) {
      await lab.underlay().execute(
        {
          id: `taken-back-${destination.replaceAll(/[./]/g, '-')}`,
          principal: 'user:mia',
          kind: 'ordinary',
          what: 'change',
          change: { add: [], remove: [{ destination, metric: 0 }] },
        },
        CALL,
      );
    }
    expect(await own('underlay')).toEqual(expectedRoutes('underlay', 5));
  }, 60_000);
});

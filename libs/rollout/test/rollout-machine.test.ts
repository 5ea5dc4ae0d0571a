/**
 * One device, rule by rule: what is brought, what is tried again, what waits, what differs and what is done about it.
 * Must not take a decision from the code that makes it.
 */
import { objectsOf } from '@kedge/driver-kit';
import type { deviceTree, siteTree } from '@kedge/intent-model';
import { describe, expect, it } from 'vitest';

import {
  dueOf,
  emptyMemory,
  EVENT_KINDS,
  isPending,
  memoryText,
  parsedMemory,
  PHASES,
  REMEDIES_MOST,
  type RolloutEvent,
  standingOf,
  step,
  supersededBy,
} from '../src/index.js';
import { ADA, NOON, sha256, siteWith, underlayAt, World } from './world.js';

const BEN = { principal: 'user:ben', tier: 'site_owner', channel: 'console' } as const;

const port = (name: string, ...ips: readonly string[]): deviceTree.Interface => ({
  ...{ name, type: 'iana-if-type:ethernetCsmacd' },
  ...(ips.length === 0
    ? {}
    : { 'ietf-ip:ipv4': { address: ips.map((ip) => ({ ip, 'prefix-length': 24 })) } }),
});
const tree = (...list: readonly deviceTree.Interface[]): deviceTree.DeviceTree => ({
  'ietf-interfaces:interfaces': { interface: list },
});
const ONE = tree(port('port1', '10.1.1.1'));
const TWO = tree(port('port1', '10.1.1.1'), port('port2', '10.1.2.1'));
const addresses = (world: World): string[] =>
  [...world.objects.values()].flatMap((each) => (each.kind === 'address' ? [each.value.ip] : [])).sort();
const at = (ip: string, name = 'port1'): string =>
  `/ietf-interfaces:interfaces/interface[name='${name}']/ietf-ip:ipv4/address[ip='${ip}']`;
/** Takes an address away behind everybody's back. */
function take(world: World, ip: string): void {
  world.objects = new Map([...world.objects].filter(([path]) => !path.endsWith(`[ip='${ip}']`)));
}
const toldBy = (world: World): [string, string][] =>
  world.told.map(({ kind, drift }) => [kind, drift.remediation]);

async function brought(site?: siteTree.SiteTree): Promise<World> {
  const world = new World(site);
  world.intend(ONE);
  await world.settle();
  return world;
}
/** Until a plan is to be sent. */
async function planned(world: World): Promise<void> {
  while (world.outstanding.some((each) => each.do !== 'carryOut')) await world.run();
  expect(world.outstanding).toHaveLength(1);
}
/** Other accords are in force at the same level. */
function accord(world: World, remediation: World['remediation']): void {
  world.remediation = remediation;
  world.feed({ kind: 'posture', at: world.at(), posture: world.posture });
}
/** Until the next pass by itself, and what comes of it. */
async function next(world: World): Promise<void> {
  world.pass(300);
  await world.settle();
}

describe('a revision', () => {
  it('UN-3 is read, compiled, carried out in the name of whoever committed, and measured', async () => {
    const world = await brought();
    expect(addresses(world)).toEqual(['10.1.1.1']);
    expect(world.works.map(({ by }) => by)).toEqual([ADA]);
    expect(world.state.memory).toMatchObject({ carried: { revision: 1 }, attempt: null, uncertain: null });
    expect(standingOf(world.state)).toEqual({ state: 'accorded', why: '' });
    expect(world.told).toEqual([]);
  });

  it('UN-3 that means the same for the device is neither read nor compiled', async () => {
    const world = await brought();
    const { reads, writes } = world;
    world.intend({ ...ONE });
    await world.settle();
    expect([world.reads, world.writes]).toEqual([reads, writes]);
    expect(world.state.memory.carried?.revision).toBe(2);
  });

  it('UN-3 UN-14 that is only recalled is held against and never written for; said anew it is brought, and remedied', async () => {
    const world = await brought();
    world.remediation = 'automatic';
    world.feed({ kind: 'posture', at: world.at(), posture: world.posture });
    const intended = world.intended;
    if (intended === undefined) throw new Error('nothing is intended');
    const recalled = { ...intended, isRecalled: true };
    world.feed({ kind: 'intended', at: world.at(), intended: recalled });
    take(world, '10.1.1.1');
    await next(world);
    expect([addresses(world), world.works.length, standingOf(world.state).state]).toEqual([[], 1, 'drifted']);
    world.ask({ what: 'remedy', id: 'now', by: BEN, path: undefined });
    await world.settle();
    expect(world.answers.get('now')).toMatchObject({ code: 'ROLLOUT_FROZEN' });
    // Another one that was never brought waits.
    world.intend(TWO);
    const other = { ...(world.intended ?? intended), isRecalled: true };
    world.feed({ kind: 'intended', at: world.at(), intended: other });
    await next(world);
    expect([addresses(world), world.works.length, standingOf(world.state).state]).toEqual([[], 1, 'waiting']);
    world.feed({ kind: 'intended', at: world.at(), intended });
    await world.settle();
    expect([addresses(world), standingOf(world.state).state]).toEqual([['10.1.1.1'], 'accorded']);
  });

  it('UN-3 takes away what the one before spoke of and it does not, also after a restart', async () => {
    const world = await brought();
    world.intend(TWO);
    await world.settle();
    await world.restart(false);
    world.intend(tree(port('port1', '10.1.1.1')));
    await world.settle();
    expect(addresses(world)).toEqual(['10.1.1.1']);
  });

  it('UN-3 that is taken back is brought back, also when nobody knows how its plan ended', async () => {
    for (const how of ['lost', 'never', 'half', 'killed'] as const) {
      const world = await brought();
      world.intend(TWO);
      await world.run();
      await world.run();
      expect(world.outstanding.map((each) => each.do)).toEqual(['carryOut']);
      if (how === 'killed') await world.restart(true);
      else await world.run(how);
      world.intend(ONE);
      if (how !== 'half') expect(isPending(world.state)).toBe(true);
      await world.settle();
      world.pass(5);
      await world.settle();
      expect(addresses(world)).toEqual(['10.1.1.1']);
      expect(standingOf(world.state).state).toBe('accorded');
    }
  });

  it('UN-3 that is taken back before its plan is sent does not come, and what holds then is looked at at once', async () => {
    const world = await brought();
    world.intend(TWO);
    await planned(world);
    const { reads, writes } = world;
    expect(supersededBy(world.state, [])).toBeUndefined();
    world.intend(ONE);
    expect(supersededBy(world.state, [])).toMatchObject({ code: 'ROLLOUT_SUPERSEDED' });
    await world.run();
    expect([world.state.work.phase, world.state.trouble]).toEqual(['reading', undefined]);
    await world.settle();
    expect([world.reads - reads, world.writes - writes, addresses(world)]).toEqual([1, 0, ['10.1.1.1']]);
    expect(world.state.memory).toMatchObject({ attempt: null, uncertain: null });
    expect([standingOf(world.state), world.state.trouble]).toEqual([
      { state: 'accorded', why: '' },
      undefined,
    ]);
    // Another revision instead comes as soon.
    world.intend(TWO);
    await planned(world);
    world.intend(tree(port('port1', '10.1.9.1')));
    await world.settle();
    expect([world.writes - writes, addresses(world)]).toEqual([1, ['10.1.9.1']]);
  });

  it('UN-3 UN-14 is superseded by whatever has happened and was not taken yet', async () => {
    const world = await brought();
    world.intend(TWO);
    await planned(world);
    const { state } = world;
    const { intended, posture } = state;
    if (intended === undefined) throw new Error('nothing is intended');
    for (const coming of [
      { kind: 'intended', intended: undefined },
      { kind: 'intended', intended: { ...intended, key: sha256('another') } },
      { kind: 'intended', intended: { ...intended, isRecalled: true } },
      { kind: 'posture', posture: { ...posture, level: 4 } },
      { kind: 'posture', posture: { ...posture, epoch: (posture.epoch + 1n) as typeof posture.epoch } },
      { kind: 'posture', posture: { ...posture, underlay: underlayAt(5, 'none') } },
    ] as const)
      expect(supersededBy(state, [{ kind: 'tick' }, coming])).toMatchObject({ code: 'ROLLOUT_SUPERSEDED' });
    const same = { kind: 'intended', intended: { ...intended, revision: 9 } } as const;
    const alike = { kind: 'posture', posture: { ...posture, underlay: underlayAt(5) } } as const;
    expect(supersededBy(state, [{ kind: 'tick' }, same, alike])).toBeUndefined();
    await world.settle();
    expect(supersededBy(world.state, [])).toMatchObject({ code: 'ROLLOUT_SUPERSEDED' });
  });

  it('UN-3 with a name that no path can have is refused, nothing is written, and drift is what differs from the one before', async () => {
    const bad = tree(port('port1', '10.1.1.1'), port(`both ' and "`));
    for (const level of [5, 1] as const) {
      const world = await brought();
      world.intend(bad);
      await world.settle();
      world.move(level);
      await world.settle();
      expect(standingOf(world.state).state).toBe('refused');
      expect(world.state.refusals).toMatchObject([
        { code: 'DRIVER_NAME', path: "/kedge-inventory:devices/device[id='box']" },
      ]);
      take(world, '10.1.1.1');
      await next(world);
      expect(world.state.drifts.map(({ path }) => path)).toEqual([at('10.1.1.1')]);
      expect([world.works.length, world.told.length]).toEqual([1, 1]);
      world.move(5);
      world.intend(TWO);
      await world.settle();
      expect([addresses(world).length, standingOf(world.state).state]).toEqual([2, 'accorded']);
    }
    // One of which nothing is known has nothing that it differs from.
    const world = new World();
    world.intend(bad);
    await world.settle();
    expect([standingOf(world.state).state, world.state.drifts, world.works]).toEqual(['refused', [], []]);
  });

  it('UN-3 that a lost answer has brought is found by reading, also at 2, and nothing is written for it', async () => {
    const world = await brought();
    world.intend(TWO);
    await world.run();
    await world.run();
    await world.run('lost');
    world.move(2);
    const { writes } = world;
    await world.settle();
    expect(world.writes).toBe(writes);
    expect(world.state.memory).toMatchObject({ carried: { revision: 2 }, uncertain: null });
    expect(world.told).toEqual([]);
  });

  it('UN-3 is tried again after 1, 2, 4 … seconds, and after six failures alike at the next interval', async () => {
    const world = new World();
    world.intend(ONE);
    const waits: number[] = [];
    for (let turn = 0; turn < 7; turn += 1) {
      while (world.outstanding.length > 0)
        await world.run(world.outstanding[0]?.do === 'carryOut' ? 'fails' : 'well');
      const due = dueOf(world.state);
      waits.push(Number((due ?? 0n) - world.ns) / 1e9);
      world.ns = due ?? 0n;
      world.pass(0);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 300, 300]);
    expect(standingOf(world.state)).toMatchObject({ state: 'waiting', why: 'no [DRIVER_REFUSED]' });
    await world.settle();
    expect(standingOf(world.state).state).toBe('accorded');
  });

  it('UN-14 that the gate does not let through waits with the reason, and for another level; a proposal is one', async () => {
    const world = await brought();
    world.move(3);
    world.refusal = 'GATE_PROPOSED';
    world.intend(TWO);
    await world.settle();
    expect(standingOf(world.state)).toMatchObject({
      state: 'waiting',
      why: 'it was not let through [GATE_PROPOSED]',
    });
    await next(world);
    await next(world);
    expect(new Set(world.works.slice(1).map(({ id }) => id)).size).toBe(1);
    const { works } = world;
    const tried = works.length;
    world.pass(20);
    await world.settle();
    expect(works).toHaveLength(tried);
    world.refusal = undefined;
    world.move(4);
    await world.settle();
    expect(addresses(world)).toEqual(['10.1.1.1', '10.1.2.1']);
  });

  it('UN-6 UN-14 waits at 2 and 1 without a plan, and comes with the level', async () => {
    for (const level of [2, 1] as const) {
      const world = await brought();
      world.move(level);
      world.intend(TWO);
      await world.settle();
      expect(world.works).toHaveLength(1);
      expect(standingOf(world.state).why).toContain(`level ${String(level)}`);
      // It differs from what was carried out in nothing.
      await next(world);
      expect(world.told).toEqual([]);
      world.move(3);
      await world.settle();
      expect(addresses(world)).toHaveLength(2);
    }
  });

  it('UN-14 that was planned is not carried out when the level changed meanwhile', async () => {
    const world = await brought();
    world.intend(TWO);
    await world.run();
    world.move(1);
    await world.settle();
    expect(world.works).toHaveLength(1);
  });

  it('UN-3 for a device that is planned is compiled and not written; a retired one is left alone', async () => {
    const world = await brought(siteWith({ 'life-cycle': 'planned' }));
    expect([world.reads, world.works.length]).toEqual([1, 0]);
    expect(standingOf(world.state)).toEqual({ state: 'waiting', why: 'the inventory has it as planned' });
    world.site = siteWith({ 'life-cycle': 'retired' });
    world.intend(ONE);
    await next(world);
    expect([world.reads, standingOf(world.state).state, dueOf(world.state)]).toEqual([
      1,
      'retired',
      undefined,
    ]);
    world.ask({ what: 'check', id: 'a' });
    expect(world.answers.get('a')).toMatchObject({ code: 'ROLLOUT_UNTENDED' });
  });

  it('UN-3 that the compiler refuses is said, and drift is what differs from the one before', async () => {
    const world = await brought();
    world.intend(tree(port('port1', '10.1.1.1'), port('port9')));
    await world.settle();
    expect(standingOf(world.state).state).toBe('refused');
    expect(world.state.refusals).toMatchObject([{ code: 'COMPILER_INTERFACE' }]);
    world.remediation = 'proposed';
    world.move(5);
    take(world, '10.1.1.1');
    await next(world);
    expect(world.state.drifts.map(({ path }) => path)).toEqual([at('10.1.1.1')]);
  });
});

describe('drift', () => {
  it('UN-6 is measured at every level, with the interval of the level, and told once', async () => {
    for (const level of [5, 4, 3, 2, 1] as const) {
      const world = await brought();
      world.remediation = 'proposed';
      world.move(level);
      await world.settle();
      take(world, '10.1.1.1');
      world.pass(underlayAt(level).drift.interval - 2);
      await world.settle();
      expect(world.told).toEqual([]);
      world.pass(3);
      await world.settle();
      await next(world);
      expect(world.told).toMatchObject([
        {
          kind: 'appeared',
          drift: {
            ...{ path: at('10.1.1.1'), intended: { ip: '10.1.1.1' }, actual: null },
            ...{
              cause: 'unmanaged-change',
              severity: 'minor',
              remediation: level >= 3 ? 'proposed' : 'none',
            },
          },
        },
      ]);
      expect([world.works.length, standingOf(world.state).state]).toEqual([1, 'drifted']);
    }
  });

  it('UN-6 is not what a revision is about to change', async () => {
    const world = await brought();
    world.intend(TWO);
    while (world.outstanding.length > 0)
      await world.run(world.outstanding[0]?.do === 'carryOut' ? 'fails' : 'well');
    expect([world.told, world.state.drifts]).toEqual([[], []]);
    world.pass(1);
    await world.settle();
    expect([world.told, addresses(world).length]).toEqual([[], 2]);
  });

  it('UN-6 is told again when it could not be written down, and nothing says before that it was', async () => {
    const world = await brought();
    world.remediation = 'none';
    world.move(5);
    take(world, '10.1.1.1');
    world.pass(300);
    while (world.outstanding.length > 0)
      await world.run(world.outstanding[0]?.do === 'tell' ? 'never' : 'well');
    expect([world.told, world.state.memory.drifts]).toEqual([[], []]);
    await next(world);
    expect(toldBy(world)).toEqual([['appeared', 'none']]);
    expect(parsedMemory(world.kept ?? '', 'box', sha256).drifts).toHaveLength(1);
  });

  it('UN-6 is there no more where the device leaves the inventory or is retired, and that is told', async () => {
    for (const how of ['gone', 'retired', 'while it is told'] as const) {
      const world = await brought();
      world.remediation = 'none';
      world.move(5);
      take(world, '10.1.1.1');
      world.pass(300);
      if (how !== 'while it is told') await world.settle();
      else while (world.outstanding[0]?.do !== 'tell') await world.run();
      world.site = siteWith({ 'life-cycle': 'retired' });
      if (how === 'retired') world.intend(ONE);
      else world.feed({ kind: 'intended', at: world.at(), intended: undefined });
      await world.settle();
      expect(toldBy(world)).toEqual([
        ['appeared', 'none'],
        ['cleared', 'none'],
      ]);
      expect([world.state.drifts, world.state.memory.drifts, world.state.memory.perhaps]).toEqual([
        [],
        [],
        [],
      ]);
      expect(parsedMemory(world.kept ?? '', 'box', sha256).drifts).toEqual([]);
    }
  });

  it('UN-6 of a plan that could not be undone has that as its cause, and is an alarm', async () => {
    const world = await brought();
    world.remediation = 'none';
    world.move(5);
    world.pass(1);
    world.intend(TWO);
    for (let turn = 0; turn < 6; turn += 1) {
      await world.run();
      await world.run();
      const effect = world.outstanding.find((each) => each.do === 'carryOut');
      if (effect === undefined) throw new Error('no plan');
      world.outstanding.length = 0;
      const path = at('10.1.2.1', 'port2');
      const remaining = [{ path, intended: null, actual: { ip: '10.1.2.1', 'prefix-length': 24 } }];
      world.objects = objectsOf(TWO);
      take(world, '10.1.1.1');
      world.feed({
        ...{ kind: 'carried', at: world.at(), number: effect.number },
        result: {
          ...{ end: 'known', outcome: 'failed', rolledBack: false, remaining },
          failure: { code: 'DRIVER_WRITE', message: 'no' },
        },
      });
      if (turn < 5) world.pass(2 ** turn);
    }
    await world.settle();
    expect(world.alarms).toContain('rollback');
    expect(world.state.drifts.map(({ path, cause }) => [path, cause])).toContainEqual([
      at('10.1.2.1', 'port2'),
      'failed-commit',
    ]);
  });
});

describe('a remedy', () => {
  it('UN-7 comes by itself where the accord says so, in the name of the appliance, and is measured', async () => {
    const world = await brought();
    world.move(3);
    await world.settle();
    take(world, '10.1.1.1');
    await next(world);
    expect(addresses(world)).toEqual(['10.1.1.1']);
    expect(world.works[1]?.by).toEqual({ principal: 'kedge:intent', tier: 'master', channel: 'local' });
    expect(toldBy(world)).toEqual([
      ['appeared', 'automatic'],
      ['cleared', 'automatic'],
    ]);
  });

  it('UN-7 that is proposed comes when somebody asks, for the place and in their name', async () => {
    const world = new World();
    world.remediation = 'proposed';
    world.move(5);
    world.intend(TWO);
    await world.settle();
    take(world, '10.1.1.1');
    take(world, '10.1.2.1');
    await next(world);
    expect(world.works).toHaveLength(1);
    world.ask({
      what: 'remedy',
      id: 'a',
      by: BEN,
      path: "/ietf-interfaces:interfaces/interface[name='port2']",
    });
    await world.settle();
    expect([addresses(world), world.works[1]?.by]).toEqual([['10.1.2.1'], BEN]);
    expect(world.answers.get('a')).toEqual({ kind: 'done', remedied: 1 });
    world.refusal = 'GATE_TIER';
    world.ask({ what: 'remedy', id: 'b', by: ADA, path: undefined });
    await world.settle();
    expect(world.answers.get('b')).toMatchObject({ kind: 'refusal', code: 'GATE_TIER' });
  });

  it('UN-7 never comes where the accord says none, nor under an exception until its date', async () => {
    const world = await brought();
    world.remediation = 'none';
    world.move(5);
    take(world, '10.1.1.1');
    await next(world);
    world.ask({ what: 'remedy', id: 'a', by: ADA, path: undefined });
    await world.settle();
    expect([world.answers.get('a'), world.works.length]).toEqual([{ kind: 'done', remedied: 0 }, 1]);

    const until = new Date(NOON + 3_600_000).toISOString();
    const exception = {
      name: 'works',
      device: 'box',
      path: at('10.1.1.1'),
      reason: 'r',
      'granted-by': 'ada',
      until,
    };
    const excepted = await brought(siteWith({}, { exception: [exception] }));
    take(excepted, '10.1.1.1');
    await next(excepted);
    expect([excepted.works.length, excepted.state.drifts[0]?.exception]).toEqual([1, 'works']);
    // The clock is set back by a day: the exception ends all the same, and stays ended after a restart.
    excepted.wallMs -= 86_400_000;
    excepted.refusal = 'GATE_TIER';
    for (let turn = 0; turn < 12; turn += 1) await next(excepted);
    expect(excepted.state.drifts[0]?.exception).toBeUndefined();
    await excepted.restart(false);
    await excepted.settle();
    expect(excepted.state.drifts[0]?.exception).toBeUndefined();
    // One that ended while nothing differed is remembered as well.
    const quiet = await brought(siteWith({}, { exception: [exception] }));
    for (let turn = 0; turn < 13; turn += 1) await next(quiet);
    quiet.wallMs -= 86_400_000;
    await quiet.restart(false);
    quiet.refusal = 'GATE_TIER';
    take(quiet, '10.1.1.1');
    await next(quiet);
    expect(quiet.state.drifts).toMatchObject([{ path: at('10.1.1.1'), remediation: 'automatic' }]);
  });

  it('UN-7 of one place comes 5 times in an hour at most, whatever clock or process does', async () => {
    const world = await brought();
    for (let turn = 0; turn < 8; turn += 1) {
      take(world, '10.1.1.1');
      await next(world);
      world.wallMs -= 3_000_000;
      if (turn === 2) await world.restart(false);
    }
    expect([world.works.length, REMEDIES_MOST]).toEqual([6, 5]);
    expect([world.alarms, world.state.drifts[0]?.remediation]).toEqual([['remedies'], 'proposed']);
    expect(world.state.alarms.remedies).toContain(at('10.1.1.1'));
    for (let turn = 0; turn < 13; turn += 1) await next(world);
    expect(addresses(world)).toEqual(['10.1.1.1']);
    expect(world.state.alarms).toEqual({});
  });

  it('UN-7 that waits is not sent once other accords are in force at the same level, and does not count', async () => {
    const world = await brought();
    for (let turn = 0; turn < 7; turn += 1) {
      take(world, '10.1.1.1');
      world.pass(300);
      await planned(world);
      accord(world, 'none');
      await world.settle();
      expect([addresses(world), world.state.drifts[0]?.remediation]).toEqual([[], 'none']);
      accord(world, 'proposed');
      await world.settle();
      expect([addresses(world), world.state.drifts[0]?.remediation]).toEqual([[], 'proposed']);
      if (turn === 6) break;
      world.objects = objectsOf(ONE);
      await next(world);
      accord(world, 'automatic');
    }
    // At once, and not at the next interval.
    accord(world, 'automatic');
    await world.settle();
    expect([addresses(world), world.state.alarms]).toEqual([['10.1.1.1'], {}]);
  });

  it('UN-7 that was asked for is not sent once another revision holds, and who asked is told', async () => {
    const world = await brought();
    accord(world, 'proposed');
    take(world, '10.1.1.1');
    world.ask({ what: 'remedy', id: 'a', by: BEN, path: undefined });
    await planned(world);
    world.intend(TWO);
    await world.settle();
    expect(world.answers.get('a')).toMatchObject({ kind: 'refusal', code: 'ROLLOUT_SUPERSEDED' });
    expect([world.works[1]?.by, world.works[2]?.by, addresses(world).length]).toEqual([BEN, ADA, 2]);
  });

  it('UN-7 that was not let through does not count', async () => {
    const world = await brought();
    world.refusal = 'UNDERLAY_UNRECORDED';
    take(world, '10.1.1.1');
    for (let turn = 0; turn < 8; turn += 1) await next(world);
    world.refusal = undefined;
    await next(world);
    expect(addresses(world)).toEqual(['10.1.1.1']);
  });

  it('UN-14 does not come at 2 and 1; who asks is told at once', async () => {
    for (const level of [2, 1] as const) {
      const world = await brought();
      world.move(level);
      take(world, '10.1.1.1');
      await next(world);
      world.ask({ what: 'remedy', id: 'a', by: ADA, path: undefined });
      expect(world.answers.get('a')).toMatchObject({ code: 'ROLLOUT_FROZEN' });
      expect([world.works.length, toldBy(world)]).toEqual([1, [['appeared', 'none']]]);
    }
  });
});

describe('what is asked', () => {
  it('UN-6 is answered once, whatever happens to the device meanwhile', async () => {
    const world = await brought();
    world.ask({ what: 'check', id: 'read' });
    await world.run('fails');
    expect(world.answers.get('read')).toEqual({ kind: 'done', remedied: 0 });
    expect(standingOf(world.state)).toEqual({ state: 'unreachable', why: 'no answer [BUS_DEADLINE]' });
    world.ask({ what: 'check', id: 'gone' });
    world.ask({ what: 'remedy', id: 'later', by: ADA, path: undefined });
    world.feed({ kind: 'intended', at: world.at(), intended: undefined });
    await world.settle();
    for (const id of ['gone', 'later'])
      expect(world.answers.get(id)).toMatchObject({ code: 'ROLLOUT_UNTENDED' });
    world.intend(ONE);
    world.ask({ what: 'check', id: 'first' });
    for (let count = 0; count < 20; count += 1) world.ask({ what: 'check', id: `more-${String(count)}` });
    expect(world.answers.get('more-19')).toMatchObject({ code: 'ROLLOUT_BUSY' });
    await world.settle();
    expect(world.answers.size).toBe(24);
  });
});

describe('memory', () => {
  it('UN-6 comes back as it was kept, or not at all', async () => {
    const world = await brought();
    const kept = world.kept ?? '';
    expect(memoryText(parsedMemory(kept, 'box', sha256), sha256)).toBe(kept);
    let damaged = 0;
    for (let place = 0; place < kept.length; place += 7) {
      const other = kept.slice(0, place) + (kept[place] === 'x' ? 'y' : 'x') + kept.slice(place + 1);
      expect(() => parsedMemory(other, 'box', sha256)).toThrow(/remembered of box/);
      damaged += 1;
    }
    expect(damaged).toBeGreaterThan(70);
    expect(() => parsedMemory(kept, 'other', sha256)).toThrow(/ROLLOUT|remembered/);
    const strange = JSON.stringify({ ...emptyMemory('box'), more: 1 });
    expect(() => parsedMemory(`${sha256(strange)} ${strange}`, 'box', sha256)).toThrow();
  });

  it('UN-3 that is lost removes nothing: only what is intended is brought', async () => {
    const world = await brought();
    world.intend(TWO);
    await world.settle();
    world.intended = undefined;
    world.kept = undefined;
    await world.restart(false);
    world.intend(ONE);
    await world.settle();
    expect(addresses(world)).toEqual(['10.1.1.1', '10.1.2.1']);
  });
});

describe('the table', () => {
  it('UN-3 takes every event in every phase, and answers of yesterday change nothing', async () => {
    let visited = 0;
    for (const phase of PHASES) {
      const world = new World();
      world.intend(ONE);
      if (phase === 'idle') await world.settle();
      else for (let run = 0; run < PHASES.indexOf(phase) - 1; run += 1) await world.run();
      expect(world.state.work.phase).toBe(phase);
      const number = world.state.number - 1;
      const failure = { code: 'BUS_DEADLINE', message: 'no answer' };
      const events: RolloutEvent[] = [
        { kind: 'intended', at: world.at(), intended: world.intended },
        { kind: 'posture', at: world.at(), posture: world.state.posture },
        { kind: 'tick', at: world.at() },
        { kind: 'asked', at: world.at(), asked: { what: 'check', id: 'a' } },
        { kind: 'read', at: world.at(), number, reading: world.reading },
        { kind: 'unread', at: world.at(), number, failure },
        {
          ...{ kind: 'judged', at: world.at(), number },
          judgement: {
            ...{ isAccorded: true, known: undefined, refusals: [], dormant: [], drifts: [] },
            ...{ work: undefined, spent: [] },
          },
        },
        { kind: 'carried', at: world.at(), number, result: { end: 'unknown', failure } },
        { kind: 'told', at: world.at(), isDurable: true },
      ];
      expect(events.map(({ kind }) => kind)).toEqual(EVENT_KINDS);
      for (const event of events) {
        const { state, effects } = step(world.state, event, { sha256 });
        visited += 1;
        if (event.kind === 'asked') continue;
        expect([event.kind, state.work, effects]).toEqual([event.kind, world.state.work, []]);
      }
    }
    expect(visited).toBe(PHASES.length * EVENT_KINDS.length);
  });
});

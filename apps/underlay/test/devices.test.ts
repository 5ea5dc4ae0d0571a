/**
 * Devices through the process of the underlay, its socket and a kernel in a namespace of its own: what is read, carried
 * out, recorded and refused, and what becomes of a plan when the posture changes, its caller goes, or the process is killed.
 * Must not leave a namespace, a process or a file.
 */
import type { LedgerRecord, NetworkMutation } from '@kedge/contracts';
import { baseOf } from '@kedge/driver-kit';
import { sha256 } from '@kedge/bus';
import { afterEach, describe, expect, it } from 'vitest';

import { CALL, DEVICE, intentOf, planFor, Stage, until } from './stage.js';

let stage: Stage;
afterEach(async () => {
  await stage.remove();
});

const mutationsIn = (records: readonly LedgerRecord[], id: string): NetworkMutation[] =>
  records.filter(
    (record): record is NetworkMutation =>
      record.schema === 'kedge.network-mutation/1' && record.mutation === id,
  );

describe('devices behind the gate', { timeout: 240_000 }, () => {
  it('UN-13 a plan is carried out and read back, and recorded before that is said: who, under what, before and after', async () => {
    stage = new Stage();
    const child = await stage.serve();
    const before = await stage.read();
    expect(before.own).toEqual([]);
    const plan = planFor(intentOf(3), before);
    const became = await stage.carryOut(plan, { id: 'mutation-a' });
    // At once: nothing that is still to be written will be.
    await stage.end(child, 'SIGKILL');
    expect(became.carried).toMatchObject({ result: 'applied', remaining: [], wasRead: true });
    expect(became.carried?.done).toEqual(plan.steps.map(({ id }) => id));
    expect(became.reading?.own).toEqual(['br0']);
    expect(stage.kernel()).toMatch(/br0[^]*10\.7\.1\.1\/24[^]*10\.90\.2\.0\/24 via 10\.7\.1\.254 dev br0/);
    const records = await stage.records();
    const [mutation, ...more] = mutationsIn(records, 'mutation-a');
    expect(more).toEqual([]);
    expect(mutation).toMatchObject({
      ...{
        appliance: 'test',
        epoch: '1',
        level: 5,
        principal: 'user:mia',
        tier: 'master',
        channel: 'console',
      },
      ...{ target: 'device/appliance', base: plan.base, result: 'applied', failure: null, kind: 'ordinary' },
    });
    expect(mutation?.steps.map(({ step, before: was, after, done }) => ({ step, was, after, done }))).toEqual(
      plan.steps.map(({ id, before: was, after }) => ({ step: id, was, after, done: true })),
    );
    const permit = records.findIndex(
      (record) => record.schema === 'kedge.authorisation-decision/1' && record.allow,
    );
    expect(records[permit]).toMatchObject({
      ...{
        action: 'mutation.execute',
        resource: 'device/appliance',
        rule: 'gate-open',
        principal: 'user:mia',
      },
    });
    expect(permit).toBeLessThan(records.findIndex((record) => record === mutation));
  });

  it('UN-13 the same id is the same mutation, and another plan under it is refused', async () => {
    stage = new Stage();
    await stage.serve();
    const plan = planFor(intentOf(1), await stage.read());
    const [one, same] = await Promise.all([1, 2].map(() => stage.carryOut(plan, { id: 'mutation-a' })));
    expect(one?.carried?.result).toBe('applied');
    expect(same).toEqual(one);
    expect(await stage.carryOut(plan, { id: 'mutation-a' })).toEqual(one);
    const other = await stage.carryOut(plan, { id: 'mutation-a', principal: 'user:eve' });
    expect(other.refusal).toMatchObject({ code: 'UNDERLAY_ID_REUSED', field: 'id' });
  });

  it('UN-10 a plan over what is there no more changes nothing', async () => {
    stage = new Stage();
    await stage.serve();
    const plan = planFor(intentOf(1), await stage.read());
    stage.ip('address add 10.55.0.1/24 dev port1');
    const before = stage.kernel();
    const { carried } = await stage.carryOut(plan);
    expect(carried).toMatchObject({ result: 'failed', done: [], failure: { code: 'DRIVER_STALE' } });
    expect(stage.kernel()).toBe(before);
  });

  it('UN-14 a tightening in mid-plan stops it, takes it back, and is acknowledged when nothing is written any more', async () => {
    stage = new Stage();
    const child = await stage.serve();
    const underlay = stage.underlay();
    const before = await stage.read();
    const kernel = stage.kernel();
    stage.hold();
    const became = stage.carryOut(planFor(intentOf(150), before), { id: 'mutation-a' });
    await stage.held();
    expect(stage.kernel()).not.toBe(kernel);
    stage.tighten(2n, 5, 2);
    await until('the gate is at epoch 2', async () => (await underlay.status({}, CALL)).epoch === 2n);
    expect(await underlay.status({}, CALL)).toMatchObject({
      permitsOld: 1,
      appliedEpoch: 1n,
    });
    stage.release();
    const { carried, reading } = await became;
    expect(carried).toMatchObject({ result: 'cancelled', done: [], rolledBack: true, remaining: [] });
    expect(reading && baseOf(reading, sha256)).toBe(baseOf(before, sha256));
    expect(stage.kernel()).toBe(kernel);
    await until(
      'the path has acknowledged',
      async () => (await underlay.status({}, CALL)).appliedEpoch === 2n,
    );
    // Reading goes on.
    expect(baseOf(await stage.read(), sha256)).toBe(baseOf(before, sha256));
    await stage.end(child);
    expect(mutationsIn(await stage.records(), 'mutation-a')[0]).toMatchObject({
      ...{ epoch: '1', level: 2, result: 'cancelled', failure: null },
    });
  });

  it('UN-14 taking back ends inside the budget, then nothing is written, and what differs is told and recorded', async () => {
    stage = new Stage(4_000);
    const child = await stage.serve();
    const underlay = stage.underlay();
    const status = () => underlay.status({}, CALL);
    const before = await stage.read();
    stage.hold(true);
    const became = stage.carryOut(planFor(intentOf(150), before), { id: 'mutation-a' });
    await stage.held();
    const half = stage.kernel();
    stage.tighten(2n, 5, 2);
    await until('the path has acknowledged', async () => (await status()).appliedEpoch === 2n);
    expect(await status()).toMatchObject({ permits: 0 });
    const { carried } = await became;
    stage.release();
    expect(carried).toMatchObject({ rolledBack: false });
    expect(stage.kernel()).toBe(half);
    const remaining = carried?.remaining ?? [];
    const bridge = remaining.find(({ path }) => path.endsWith("interface[name='br0']"));
    expect(bridge).toMatchObject({ intended: 'null', actual: expect.stringContaining('10.7.1.1') as string });
    expect(remaining.filter(({ path }) => path.includes('10.90.')).length).toBe(
      half.match(/10\.90\.\d+\.0\/24/g)?.length,
    );
    expect((await status()).alarms.join()).toMatch(
      /device\/appliance is not as it was before mutation-a, which could not be rolled back: - .*interface\[name='br0'\]/,
    );
    // Somebody mends the device: the alarm ends with the reading that shows it.
    stage.ip('link delete br0');
    stage.ip('link set port1 down');
    await stage.read();
    expect((await status()).alarms.join()).not.toContain('device/appliance');
    await stage.end(child);
    const recorded = mutationsIn(await stage.records(), 'mutation-a');
    expect(recorded[0]).toMatchObject({ result: 'failed', failure: { code: 'UNDERLAY_NOT_ROLLED_BACK' } });
    expect(
      recorded
        .flatMap(({ steps }) => steps)
        .filter(({ kind }) => kind === 'remains')
        .map(({ path, after }) => ({ path, actual: after })),
    ).toEqual(remaining.map(({ path, actual }) => ({ path, actual: JSON.parse(actual) as unknown })));
  });

  it('UN-14 a stop in mid-plan ends writing in time, and what it could not take back is recorded before it is over', async () => {
    stage = new Stage();
    const child = await stage.serve();
    const before = await stage.read();
    stage.hold(true);
    const cut = stage.carryOut(planFor(intentOf(150), before), { id: 'mutation-a' }).catch(() => undefined);
    await stage.held();
    const half = stage.kernel();
    await stage.end(child);
    // Not as one that took too long to stop.
    expect(child.exitCode).toBe(0);
    await cut;
    expect(stage.kernel()).toBe(half);
    const recorded = mutationsIn(await stage.records(), 'mutation-a');
    expect(recorded[0]).toMatchObject({ result: 'failed', failure: { code: 'UNDERLAY_NOT_ROLLED_BACK' } });
    expect(recorded).toHaveLength(recorded[0]?.parts ?? 0);
    const remains = recorded.flatMap(({ steps }) => steps).filter(({ kind }) => kind === 'remains');
    expect(remains.filter(({ path }) => path.includes('10.90.')).length).toBe(
      half.match(/10\.90\.\d+\.0\/24/g)?.length,
    );
  });

  it('UN-14 at 3 the tier decides, at 2 and at 1 nothing is written; the rule is named; reading goes on', async () => {
    stage = new Stage();
    const child = await stage.serve();
    const underlay = stage.underlay();
    const kernel = stage.kernel();
    const told: string[] = [];
    for (const [epoch, from, to] of [
      [2n, 5, 3],
      [3n, 3, 2],
      [4n, 2, 1],
    ] as const) {
      stage.tighten(epoch, from, to);
      await until(
        'the path has acknowledged',
        async () => (await underlay.status({}, CALL)).appliedEpoch === epoch,
      );
      const plan = planFor(intentOf(1), await stage.read(), epoch);
      for (const [tier, kind] of [
        ['journeyman', 'ordinary'],
        ['site_owner', 'emergency'],
        ...(to === 3 ? [] : [['site_owner', 'ordinary']]),
      ]) {
        if (to === 3 && tier === 'site_owner') continue;
        const { refusal } = await stage.carryOut(plan, { tier: tier ?? '', kind: kind ?? '' });
        told.push(
          `${String(to)} ${tier ?? ''} ${kind ?? ''}: ${refusal?.code ?? 'granted'} by ${refusal?.rule ?? ''}`,
        );
      }
    }
    expect(told).toEqual([
      '3 journeyman ordinary: GATE_TIER by execute-tier',
      '2 journeyman ordinary: GATE_EMERGENCY_ONLY by emergency-only',
      '2 site_owner emergency: GATE_NOT_APPROVED by pre-approved-only',
      '2 site_owner ordinary: GATE_EMERGENCY_ONLY by emergency-only',
      '1 journeyman ordinary: GATE_FROZEN by frozen',
      '1 site_owner emergency: GATE_FROZEN by frozen',
      '1 site_owner ordinary: GATE_FROZEN by frozen',
    ]);
    expect(stage.kernel()).toBe(kernel);
    expect(await underlay.status({}, CALL)).toMatchObject({
      proposals: 0,
      permits: 0,
      devices: 1,
    });
    await stage.end(child);
    const records = await stage.records();
    expect(
      records.flatMap((record) =>
        record.schema === 'kedge.network-mutation/1' && record.target === 'device/appliance'
          ? [
              `${String(record.level)} ${record.result} ${record.failure?.code ?? ''} ${String(record.steps[0]?.done)}`,
            ]
          : [],
      ),
    ).toEqual(told.map((each) => `${each.slice(0, 1)} refused ${/GATE_\w+/.exec(each)?.[0] ?? ''} false`));
  });

  it('a plan of an older epoch, a device without a driver, and what is no plan are refused', async () => {
    stage = new Stage();
    await stage.serve();
    const plan = planFor(intentOf(1), await stage.read(), 0n);
    expect((await stage.carryOut(plan)).refusal).toMatchObject({ code: 'UNDERLAY_PLAN_OLD', field: 'plan' });
    const snmp = JSON.stringify({ ...DEVICE, driver: 'cisco' });
    expect((await stage.carryOut(plan, { device: snmp })).refusal).toMatchObject({ code: 'DRIVER_UNKNOWN' });
    await expect(stage.read({ ...DEVICE, driver: 'cisco' })).rejects.toMatchObject({
      code: 'DRIVER_UNKNOWN',
    });
    for (const more of [
      { plan: '{}' },
      { plan: '{' },
      { device: JSON.stringify({ ...DEVICE, id: 'another' }) },
      { id: 'short' },
      { tier: 'root' },
      { channel: 'pigeon' },
      { kind: 'quick' },
    ])
      await expect(stage.carryOut(plan, more)).rejects.toMatchObject({ code: 'UNDERLAY_REQUEST' });
  });

  it('PO-3 is served by the socket of the intent alone, whatever else can be opened', async () => {
    stage = new Stage();
    await stage.serve();
    const device = JSON.stringify(DEVICE);
    for (const way of [
      'internal/underlay.sock',
      'console/underlay/gate.sock',
      'local/master/underlay/gate.sock',
    ])
      await expect(async () => {
        for await (const part of stage.devices(way).read({ device }, { deadlineMs: 10_000 })) void part;
      }).rejects.toMatchObject({ code: 'BUS_UNIMPLEMENTED' });
    await expect(stage.devices('internal/devices.sock').health({ deadlineMs: 1_000 })).rejects.toMatchObject({
      code: 'BUS_UNREACHABLE',
    });
  });

  it('UN-12 two plans on one device go one after the other; one that waits for its turn may leave', async () => {
    stage = new Stage();
    await stage.serve();
    const before = await stage.read();
    stage.hold();
    const first = stage.carryOut(planFor(intentOf(1), before));
    await stage.held();
    const second = stage.carryOut(planFor(intentOf(1, 2), before));
    const third = stage.carryOut(planFor(intentOf(1, 3), before), {}, AbortSignal.timeout(500));
    await expect(third).rejects.toMatchObject({ code: 'BUS_CANCELLED' });
    const underlay = stage.underlay();
    expect(await underlay.status({}, CALL)).toMatchObject({ deviceCalls: 2, permits: 1 });
    stage.release();
    expect((await first).carried?.result).toBe('applied');
    // It was made over what stood there before the first.
    expect((await second).carried).toMatchObject({ result: 'failed', failure: { code: 'DRIVER_STALE' } });
    expect(stage.kernel()).toContain('10.7.1.1/24');
  });

  it('UN-10 whoever leaves in mid-plan has it undone; killed in mid-plan, the next reading shows where it stands', async () => {
    stage = new Stage();
    const child = await stage.serve();
    const before = await stage.read();
    const kernel = stage.kernel();
    const plan = planFor(intentOf(150), before);
    const leaving = new AbortController();
    stage.hold();
    const left = stage.carryOut(plan, {}, leaving.signal);
    await stage.held();
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'BUS_CANCELLED' });
    stage.release();
    // The reading has its turn after the work.
    await until('the caller is known to be gone', async () => {
      const now = await stage.read();
      return baseOf(now, sha256) === baseOf(before, sha256);
    });
    expect(stage.kernel()).toBe(kernel);

    stage.hold();
    const cut = stage.carryOut(plan).catch((error: unknown) => error);
    await stage.held();
    await stage.end(child, 'SIGKILL');
    expect(await cut).toMatchObject({ code: expect.stringMatching(/^BUS_/) as string });
    stage.release();
    await stage.serve();
    const now = await stage.read();
    expect(stage.kernel()).not.toBe(kernel);
    expect(now.own).toEqual(['br0']);
    const { carried } = await stage.carryOut(planFor(intentOf(150), now));
    expect(carried).toMatchObject({ result: 'applied' });
    expect(stage.kernel()).toContain('10.90.149.0/24');
  });
});

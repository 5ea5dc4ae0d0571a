/**
 * The underlay on a real board and a kernel in a namespace of its own: what becomes of mutations when the posture
 * changes under them.
 * Must not leave a namespace, a process or a file.
 */
import { PolicyKeeper } from '@kedge/authz';
import {
  type CarryOutRequest,
  type ExecuteReply,
  openDesiredStore,
  ParticipantSlot,
  PostureBoard,
  sha256,
} from '@kedge/bus';
import type { LedgerRecord, NetworkMutation, Tier } from '@kedge/contracts';
import type { Reading } from '@kedge/driver-kit';
import { planData } from '@kedge/intent-model';
import { openSpool } from '@kedge/ledger';
import { openOutbox } from '@kedge/ledger-link';
import { readPathAccords, routeKind } from '@kedge/route-set';
import type { RouteSpec } from '@kedge/routes';
import {
  createPostureSegment,
  createSegment,
  enums,
  layout,
  monotonicNs,
  type PostureWriter,
  type SegmentWriter,
} from '@kedge/shared-memory-ipc';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { configSchema } from '../src/config.js';
import { Devices } from '../src/devices.js';
import { GateKeeper } from '../src/gate-keeper.js';
import { proposalKind } from '../src/proposals.js';
import { Underlay } from '../src/underlay.js';
import { waysOf } from '../src/ways.js';
import { DEVICE, intentOf, planFor } from './stage.js';

const NETNS = `kedge-ul-${process.pid}`;
const DEFAULTS = join(import.meta.dirname, '../../../yang/defaults');
const DESTINATION = '10.121.7.0/24';
const uid = process.getuid?.() ?? 0;

let directory: string;
let closing: (() => void | Promise<void>)[];

const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' });
const inKernel = (): string => ip('-n', NETNS, 'route', 'show', 'table', 'all', 'proto', '107');

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-underlay-'));
  chmodSync(directory, 0o1775);
  closing = [];
  ip('netns', 'add', NETNS);
  ip('-n', NETNS, 'link', 'add', 'port0', 'type', 'veth', 'peer', 'name', 'far0');
  ip('-n', NETNS, 'addr', 'add', '10.7.0.1/24', 'dev', 'port0');
  ip('-n', NETNS, 'link', 'set', 'port0', 'up');
  ip('-n', NETNS, 'link', 'set', 'far0', 'up');
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  ip('netns', 'delete', NETNS);
  rmSync(directory, { recursive: true });
});

function keep<T extends { close(): void }>(thing: T): T {
  closing.push(() => {
    thing.close();
  });
  return thing;
}

/** Coordinator, warden and one data-plane worker, at level 5 of epoch 1. */
function neighbours(): { posture: PostureWriter; dataplane: SegmentWriter } {
  const posture = keep(createPostureSegment({ directory }));
  const warden = keep(createSegment({ directory, name: 'warden', kind: 'warden' }));
  for (const [path, ms] of [1n, 10_000n, 10_000n].entries())
    warden.store64(layout.warden.budgetNs + 8 * path, ms * 1_000_000n);
  warden.store64(layout.warden.staleNs, 10_000_000_000n);
  const dataplane = keep(createSegment({ directory, name: 'dataplane-reference', kind: 'dataplane' }));
  dataplane.store32(layout.dataplane.workers, 1);
  dataplane.store32(layout.dataplane.worker + layout.worker.live, 1);
  const beat = (): void => {
    for (const each of [posture, warden, dataplane]) each.beat(true);
  };
  beat();
  const timer = setInterval(beat, 50);
  closing.push(() => {
    clearInterval(timer);
  });
  posture.storeWord(1n, 5);
  return { posture, dataplane };
}

/** The underlay with an `ip` that waits while it is held. */
async function stand(
  before: (state: string) => void = () => undefined,
  policies = new PolicyKeeper({ policies: 'default' }),
  accordsFile = join(DEFAULTS, 'accords.json'),
) {
  const { posture, dataplane } = neighbours();
  const hold = join(directory, 'hold');
  const tools = join(directory, 'tools');
  mkdirSync(tools);
  writeFileSync(
    join(tools, 'ip'),
    `#!/bin/sh\nwhile [ -e ${hold} ]; do sleep 0.02; done\nexec /usr/sbin/ip "$@"\n`,
    { mode: 0o755 },
  );
  const config = configSchema.parse({
    appliance: 'test',
    board: { directory, owners: { posture: uid, warden: uid, 'dataplane-reference': uid } },
    sockets: directory,
    state: join(directory, 'state'),
    accords: accordsFile,
    zones: join(DEFAULTS, 'zones.json'),
    reconcileMs: 50,
  });
  before(config.state);
  const file = join(config.state, 'routes.json');
  const routes = await openDesiredStore({ path: file, kind: routeKind('underlay') });
  const nothing = (): void => undefined;
  const records = openOutbox({
    directory: join(config.state, 'records'),
    clock: { monotonicNs },
    log: { info: nothing, warn: nothing, error: nothing },
  });
  closing.push(() => records.close());
  const log = { info: nothing, warn: nothing, error: nothing };
  const clock = { monotonicNs, wallMs: () => Date.now() };
  const bootId = 'b0071234-0000';
  const board = keep(
    new PostureBoard({ directory, owners: config.board.owners, realtime: false, rescanMs: 20 }),
  );
  const accords = readPathAccords(config);
  const keeper = new GateKeeper({ config, board, accords, policies, records, bootId, clock });
  const devices = new Devices({
    config,
    keeper,
    wayTo: waysOf(sha256, () => ({ netns: NETNS, timeoutMs: 20_000, toolDirectory: tools })),
    records,
    bootId,
    clock,
    sha256,
    log,
  });
  const underlay = new Underlay({
    ...{ config, board, accords, keeper, devices, bootId, clock, log },
    slot: keep(ParticipantSlot.create({ directory, name: 'underlay', path: 'underlay' })),
    routes,
    proposals: await openDesiredStore({ path: join(config.state, 'proposals.json'), kind: proposalKind }),
    policies,
    records,
    tools: { netns: NETNS, timeoutMs: 20_000, toolDirectory: tools },
  });
  const close = async (): Promise<void> => {
    keeper.close();
    await devices.close();
    await underlay.close();
  };
  closing.push(close);
  await expect
    .poll(() => underlay.status(), { timeout: 10_000 })
    .toMatchObject({ gate: 'open', appliedEpoch: 1n });
  return {
    underlay,
    devices,
    /** How many records would survive a power cut now. */
    durable: (): bigint => records.status().spool?.durable ?? 0n,
    /** From now on no record is kept. */
    loseRecords: () => records.close(),
    /** Ends the underlay, and reads what it recorded. */
    records: async (): Promise<LedgerRecord[]> => {
      await close();
      await records.close();
      const spool = await openSpool({ directory: join(config.state, 'records') });
      const found: LedgerRecord[] = [];
      for await (const { record } of spool.drain()) found.push(record);
      await spool.close();
      return found;
    },
    routes,
    file,
    hold: () => {
      writeFileSync(hold, '');
      closing.push(() => {
        rmSync(hold, { force: true });
      });
    },
    release: () => {
      unlinkSync(hold);
    },
    tighten: (epoch: bigint, from: number, to: number) => {
      posture.tighten({ epoch, from, to, receivedAtNs: monotonicNs() });
      const now = monotonicNs();
      dataplane.writeAck(layout.dataplane.worker + layout.worker.ack, {
        epoch,
        startedAtNs: now - 10n,
        finishedAtNs: now,
        stage: enums.stage.TIGHTEN,
        outcome: enums.outcome.APPLIED,
        level: to,
        changes: 0,
      });
      dataplane.ring();
    },
    execute: (id: string, via: string, tier: Tier = 'site_owner'): Promise<ExecuteReply> =>
      underlay.execute(
        {
          id,
          principal: 'user:mia',
          kind: 'ordinary',
          what: 'change',
          change: {
            add: [
              {
                destination: DESTINATION,
                via,
                dev: 'port0',
                metric: 0,
                purpose: 'management',
                tier: 'site_owner',
              },
            ],
            remove: [],
          },
        },
        { tier, channel: 'local', signal: new AbortController().signal },
      ),
  };
}

const viaOf = (items: readonly RouteSpec[]): (string | undefined)[] => items.map(({ via }) => via);

describe('mutations that a tightening overtakes', () => {
  it('UN-14 of two of the same route nothing is kept, whichever is taken back first', async () => {
    const { underlay, routes, hold, release, tighten, execute } = await stand();
    hold();
    const replies = Promise.all([execute('mutation-a', '10.7.0.2'), execute('mutation-b', '10.7.0.3')]);
    // The first one stands in the file and waits for the kernel.
    await expect.poll(() => routes.durable.items.length, { timeout: 10_000 }).toBe(1);
    expect(underlay.status().permits).toBe(2);
    tighten(2n, 5, 2);
    for (const reply of await replies)
      expect(reply).toMatchObject({ outcome: 'refusal', refusal: { code: 'GATE_SHUT' } });
    release();
    await expect
      .poll(() => underlay.status(), { timeout: 10_000 })
      .toMatchObject({ appliedEpoch: 2n, permits: 0 });
    expect(viaOf(routes.durable.items)).toEqual([]);
    expect(inKernel()).not.toContain(DESTINATION);
  });

  it('UN-14 whose taking back the disk refuses are told so, and reach the kernel all the same not', async () => {
    const { underlay, routes, file, hold, release, tighten, execute } = await stand();
    hold();
    const reply = execute('mutation-a', '10.7.0.2');
    await expect.poll(() => routes.durable.items.length, { timeout: 10_000 }).toBe(1);
    mkdirSync(`${file}.new`);
    tighten(2n, 5, 2);
    expect(await reply).toMatchObject({
      outcome: 'refusal',
      refusal: { code: 'UNDERLAY_NOT_TAKEN_BACK', rule: 'one-epoch-per-permit' },
    });
    release();
    await expect
      .poll(() => underlay.status(), { timeout: 10_000 })
      .toMatchObject({ appliedEpoch: 2n, desired: 0 });
    expect(underlay.status().alarms).toEqual([
      expect.stringContaining('still stands in the file, and a start would bring it about: routes 1'),
    ]);
    expect(inKernel()).not.toContain(DESTINATION);
    rmdirSync(`${file}.new`);
    await expect.poll(() => viaOf(routes.durable.items), { timeout: 10_000 }).toEqual([]);
    await expect.poll(() => underlay.status().alarms).toEqual([]);
    expect(inKernel()).not.toContain(DESTINATION);
  });
});

const mutationsIn = (records: readonly LedgerRecord[], name: string) =>
  records.filter(
    (record) => record.schema === 'kedge.network-mutation/1' && record.mutation.startsWith(name),
  );

const neverLeft = () => ({ signal: new AbortController().signal });

/** A request for a plan over what a device has now, made with a port of its own. */
async function askedPlan(devices: Devices): Promise<CarryOutRequest> {
  ip('-n', NETNS, 'link', 'add', 'port1', 'type', 'veth', 'peer', 'name', 'far1');
  const device = JSON.stringify(DEVICE);
  const parts = [];
  for await (const part of devices.read({ device }, neverLeft())) parts.push(part);
  const tree = JSON.parse(Buffer.concat(parts.map((part) => part.tree)).toString()) as Reading['tree'];
  return {
    ...{ id: 'mutation-a', principal: 'user:mia', tier: 'master', channel: 'local', kind: 'ordinary' },
    device,
    plan: JSON.stringify(planData(planFor(intentOf(1), { tree, own: [] }))),
  };
}

describe('what the underlay records', () => {
  it('UN-13 of a change who, under what, before and after, before it is said to be done; and what the kernel got', async () => {
    const { execute, durable, records } = await stand();
    expect(await execute('mutation-a', '10.7.0.2')).toMatchObject({ outcome: 'done' });
    const durableThen = durable();
    expect(await execute('mutation-b', '10.7.0.3')).toMatchObject({ outcome: 'done' });
    const found = await records();
    const [first, second] = ['mutation-a', 'mutation-b'].map((id) => mutationsIn(found, id));
    expect(first).toMatchObject([
      {
        appliance: 'test',
        epoch: '1',
        level: 5,
        principal: 'user:mia',
        tier: 'site_owner',
        channel: 'local',
        target: 'routes/underlay',
        part: 1,
        parts: 1,
        result: 'applied',
        failure: null,
        steps: [{ kind: 'add', before: null, after: { via: '10.7.0.2' }, done: true }],
      },
    ]);
    expect(second).toMatchObject([
      {
        steps: [{ kind: 'change', before: { via: '10.7.0.2' }, after: { via: '10.7.0.3' }, done: true }],
      },
    ]);
    expect(found.findIndex((record) => record === first?.[0])).toBeLessThan(Number(durableThen));
    // The permit was on the disk before the change began.
    const permit = found.findIndex(
      (record) => record.schema === 'kedge.authorisation-decision/1' && record.allow,
    );
    expect(found[permit]).toMatchObject({
      action: 'mutation.execute',
      rule: 'gate-open',
      principal: 'user:mia',
      level: 5,
    });
    expect(permit).toBeLessThan(found.findIndex((record) => record === first?.[0]));
    expect(mutationsIn(found, 'pass-')).toMatchObject([
      { principal: 'service:underlay', result: 'applied', steps: [{ kind: 'add', done: true }] },
      { principal: 'service:underlay', result: 'applied', steps: [{ kind: 'change', done: true }] },
    ]);
  });

  it('UN-13 of a plan on a device is on the disk when the first word of its answer is said', async () => {
    const { devices, durable, records } = await stand();
    const replies = devices.carryOut(await askedPlan(devices), neverLeft());
    expect((await replies.next()).value).toMatchObject({
      outcome: 'carried',
      carried: { result: 'applied' },
    });
    const durableThen = durable();
    await replies.return(undefined);
    const found = await records();
    const [mutation] = mutationsIn(found, 'mutation-a');
    expect(mutation).toMatchObject({ result: 'applied', target: 'device/appliance' });
    expect(found.findIndex((record) => record === mutation)).toBeLessThan(Number(durableThen));
  });

  it('UN-13 of what was done cannot be recorded any more: that is the answer, and an alarm with its name', async () => {
    const { underlay, devices, durable, loseRecords, hold, release, execute } = await stand();
    const asked = await askedPlan(devices);
    const before = durable();
    hold();
    const route = execute('mutation-r', '10.7.0.2');
    const plan = devices.carryOut(asked, neverLeft());
    const first = plan.next();
    // Both permits are on the disk, and nothing is done yet.
    await expect.poll(durable, { timeout: 10_000 }).toBe(before + 2n);
    await loseRecords();
    release();
    expect(await route).toMatchObject({
      outcome: 'refusal',
      refusal: { code: 'UNDERLAY_OUTCOME_UNRECORDED', rule: 'no-record-no-word' },
    });
    expect((await first).value).toMatchObject({
      carried: { result: 'applied', failure: { code: 'UNDERLAY_OUTCOME_UNRECORDED' } },
    });
    await plan.return(undefined);
    expect(ip('-n', NETNS, '-br', 'link')).toContain('br0');
    expect(underlay.status().alarms.join()).toMatch(
      /what became of (mutation-r, mutation-a|mutation-a, mutation-r) is not recorded/,
    );
  });

  it('UN-13 of a plan that is refused again and again names it each time, with its steps the first time', async () => {
    const { underlay, devices, tighten, records } = await stand();
    const asked = await askedPlan(devices);
    tighten(2n, 5, 2);
    await expect.poll(() => underlay.status(), { timeout: 10_000 }).toMatchObject({ appliedEpoch: 2n });
    for (const more of [{}, {}, { principal: 'user:eve' }])
      for await (const reply of devices.carryOut({ ...asked, ...more }, neverLeft()))
        expect(reply).toMatchObject({ refusal: { code: 'GATE_EMERGENCY_ONLY' } });
    const found = mutationsIn(await records(), 'mutation-a') as NetworkMutation[];
    expect(found).toMatchObject(Array.from({ length: 3 }, () => ({ result: 'refused', parts: 1 })));
    expect(new Set(found.map(({ base }) => base)).size).toBe(1);
    expect(found.map(({ steps }) => steps.length > 0)).toEqual([true, false, true]);
  });

  it('UN-13 of a change that was not let in: the code, the rule, and what it was to be', async () => {
    const { underlay, tighten, execute, records } = await stand();
    tighten(2n, 5, 2);
    await expect
      .poll(() => underlay.status(), { timeout: 10_000 })
      .toMatchObject({ gate: 'emergency-only', appliedEpoch: 2n });
    expect(await execute('mutation-a', '10.7.0.2')).toMatchObject({ outcome: 'refusal' });
    const signal = new AbortController().signal;
    underlay.ask({ kind: 'ordinary' }, { tier: 'master', channel: 'console', signal });
    underlay.recordFault(
      'mutation.propose',
      { tier: 'apprentice', channel: 'local' },
      { code: 'UNDERLAY_REQUEST', message: 'two\nlines' },
    );
    const found = await records();
    expect(mutationsIn(found, 'mutation-a')).toMatchObject([
      {
        epoch: '2',
        level: 2,
        result: 'refused',
        failure: { code: 'GATE_EMERGENCY_ONLY' },
        steps: [{ kind: 'add', before: null, after: { via: '10.7.0.2' }, done: false }],
      },
    ]);
    expect(found.filter((record) => record.schema === 'kedge.authorisation-decision/1')).toMatchObject([
      { allow: false, rule: 'emergency-only', principal: 'user:mia', action: 'mutation.execute', level: 2 },
      { allow: false, rule: 'emergency-only', principal: 'ask', tier: 'master', channel: 'console' },
      { allow: false, rule: 'UNDERLAY_REQUEST', reason: 'two lines', tier: 'apprentice', principal: '' },
    ]);
  });

  it('UN-13 of a change that a tightening overtook, that nothing of it was kept', async () => {
    const { routes, hold, release, tighten, execute, records } = await stand();
    hold();
    const reply = execute('mutation-a', '10.7.0.2');
    await expect.poll(() => routes.durable.items.length, { timeout: 10_000 }).toBe(1);
    tighten(2n, 5, 2);
    expect(await reply).toMatchObject({ refusal: { code: 'GATE_SHUT' } });
    release();
    expect(mutationsIn(await records(), 'mutation-a')).toMatchObject([
      { epoch: '1', level: 2, result: 'cancelled', steps: [{ done: false }] },
    ]);
  });

  it('UN-13 and where it cannot, nothing is changed', async () => {
    const { underlay, routes, execute } = await stand((state) => {
      mkdirSync(state);
      writeFileSync(join(state, 'records'), 'no directory');
    });
    expect(await execute('mutation-a', '10.7.0.2')).toMatchObject({
      outcome: 'refusal',
      refusal: { code: 'UNDERLAY_UNRECORDED', rule: 'no-record-no-mutation' },
    });
    expect(routes.durable.items).toEqual([]);
    expect(underlay.status()).toMatchObject({ permits: 0 });
    expect(underlay.status().alarms).toContain('no records are kept: LEDGER_SPOOL_FAILED');
  });

  it('LE-5 and where the accord of the level lets it go on without, it does, and says that records are lost', async () => {
    const accords = JSON.parse(readFileSync(join(DEFAULTS, 'accords.json'), 'utf8')) as {
      'kedge-accords:accords': { level: { number: number; 'unrecorded-changes'?: boolean }[] };
    };
    for (const level of accords['kedge-accords:accords'].level)
      if (level.number >= 4) level['unrecorded-changes'] = true;
    const file = join(directory, 'accords.json');
    writeFileSync(file, JSON.stringify(accords));
    const { underlay, routes, tighten, execute } = await stand(
      (state) => {
        mkdirSync(state);
        writeFileSync(join(state, 'records'), 'no directory');
      },
      undefined,
      file,
    );
    expect(await execute('mutation-a', '10.7.0.2')).toMatchObject({ outcome: 'done' });
    expect(viaOf(routes.durable.items)).toEqual(['10.7.0.2']);
    await expect
      .poll(() => underlay.status().alarms.join())
      .toMatch(/no records are kept: LEDGER_SPOOL_FAILED.*records were lost: \d+/);
    tighten(2n, 5, 3);
    await expect.poll(() => underlay.status(), { timeout: 10_000 }).toMatchObject({ appliedEpoch: 2n });
    expect(await execute('mutation-b', '10.7.0.3')).toMatchObject({
      refusal: { code: 'UNDERLAY_UNRECORDED', rule: 'no-record-no-mutation' },
    });
  });

  it('LE-8 on the way to a lockdown what stood before it, and what was taken away', async () => {
    const { underlay, tighten, execute, records } = await stand();
    await execute('mutation-a', '10.7.0.2');
    expect(ip('-n', NETNS, 'route', 'show', 'table', 'all', 'proto', '108')).toContain(DESTINATION);
    tighten(2n, 5, 1);
    await expect.poll(() => underlay.status(), { timeout: 10_000 }).toMatchObject({ appliedEpoch: 2n });
    expect(ip('-n', NETNS, 'route', 'show', 'table', 'all', 'proto', '108')).not.toContain(DESTINATION);
    const found = await records();
    const parts = found.filter((record) => record.schema === 'kedge.posture-forensic-part/1');
    expect(parts).toMatchObject(
      ['routes', 'devices'].map((section) => ({
        section,
        source: 'underlay',
        snapshot: 'forensic-snapshot/test/2',
        epoch: '2',
        part: 1,
        parts: 1,
        reason: '',
      })),
    );
    expect(parts[0]?.items).toEqual([
      {
        name: expect.stringContaining(DESTINATION) as string,
        state: 'route',
        facts: expect.stringContaining('via 10.7.0.2') as string,
      },
    ]);
    expect(parts[1]?.items[0]).toMatchObject({ name: 'gate', state: 'frozen' });
    const [, withdrawn] = mutationsIn(found, 'pass-');
    expect(withdrawn).toMatchObject({ epoch: '2', level: 1, result: 'applied' });
    expect(BigInt(parts[0]?.takenAtNs ?? 0)).toBeLessThanOrEqual(
      BigInt((withdrawn as { startedAtNs: string }).startedAtNs),
    );
  });

  it('SE-2 says among its alarms what is wrong with the policies, as long as it is', async () => {
    const site = join(directory, 'policies');
    mkdirSync(site);
    writeFileSync(join(site, 'a.cedar'), 'permit (');
    const policies = new PolicyKeeper({ policies: site });
    closing.push(() => policies.close());
    const { underlay } = await stand(undefined, policies);
    await policies.startInTime();
    expect(underlay.status().alarms).toEqual([
      expect.stringMatching(/^no policies are in force, only tightening is allowed: cannot use the policies/),
    ]);
    writeFileSync(join(site, 'a.cedar'), '@id("all")\npermit (principal, action, resource);');
    await policies.reload();
    expect(underlay.status().alarms).toEqual([]);
    writeFileSync(join(site, 'a.cedar'), 'permit (');
    await policies.reload().catch(() => undefined);
    expect(underlay.status().alarms).toEqual([
      expect.stringMatching(/^the newest policies are not in force: cannot use the policies/),
    ]);
  });
});

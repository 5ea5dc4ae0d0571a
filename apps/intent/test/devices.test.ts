/**
 * The intent's calls about devices, as a process answers them: who may, what is shown, refused, and recorded.
 * Must not leave a process or a file.
 */
import type { IntentDevicesClient, IntentPlanPart } from '@kedge/bus';
import type { IntentChange } from '@kedge/contracts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { CALL, Stage, until } from './stage.js';

const PORT = "/ietf-interfaces:interfaces/interface[name='port3']";
const PLACES = {
  enabled: `${PORT}/enabled`,
  description: `${PORT}/description`,
  pvid: `${PORT}/kedge-bridging:bridge-port/pvid`,
};
const intended = { [PLACES.enabled]: false, [PLACES.description]: 'desk', [PLACES.pvid]: 10 };
const SHELF = {
  'access-1': {
    ...{ driver: 'linux', intended, candidate: { ...intended, [PLACES.pvid]: 20 } },
    actual: { [PLACES.enabled]: true, [PLACES.pvid]: 10 },
    severities: { [PLACES.enabled]: 'major' },
  },
  'access-2': { driver: 'linux', intended, candidate: intended, actual: intended },
  'core-1': { driver: 'linux', answers: false, intended: {}, candidate: {}, actual: {} },
};
const ADA = { principal: 'user:ada' };

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(async () => {
  await stage.remove();
});

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

const planned = (client: IntentDevicesClient, device: string, source: string): Promise<IntentPlanPart[]> =>
  all(client.plan({ device, source }, CALL));

describe('the devices of the intent', { timeout: 240_000 }, () => {
  it('UN-6 are listed, read on request, and shown with what differs on them', async () => {
    stage.put(5, SHELF);
    await stage.serve();
    const client = stage.devices('local/journeyman');
    const never = {
      state: 'new',
      revision: 0,
      readAtWallMs: 0n,
      nextAtWallMs: 0n,
      drifts: 0,
      complete: true,
    };
    expect(await all(client.listDevices({ device: '' }, CALL))).toMatchObject([
      { ...never, device: 'access-1', driver: 'linux' },
      { ...never, device: 'access-2' },
      { device: 'core-1', state: 'unreachable', why: 'it does not answer: DRIVER_READ' },
    ]);
    expect(await all(client.listDrifts({ device: '' }, CALL))).toEqual([]);
    const read = { revision: 2, readAtWallMs: 1_790_000_060_000n, nextAtWallMs: 1_790_000_120_000n };
    expect(await all(client.check({ device: 'access-1' }, CALL))).toMatchObject([
      { ...read, device: 'access-1', state: 'drifted', drifts: 2 },
    ]);
    const drift = {
      ...{ device: 'access-1', sinceWallMs: 1_790_000_000_000n, seenWallMs: 1_790_000_060_000n },
      ...{ cause: 'unmanaged-change', exception: '' },
    };
    expect(await all(client.listDrifts({ device: 'access-1' }, CALL))).toEqual([
      { ...drift, path: PLACES.description, intended: '"desk"', severity: 'minor', remediation: 'proposed' },
      {
        ...{ ...drift, path: PLACES.enabled, intended: 'false', actual: 'true' },
        ...{ severity: 'major', remediation: 'automatic' },
      },
    ]);
    expect((await all(client.check({ device: '' }, CALL))).map(({ state }) => state)).toEqual([
      'drifted',
      'accorded',
      'unreachable',
    ]);
    expect(await all(client.listDevices({ device: 'access-2' }, CALL))).toMatchObject([
      { state: 'accorded' },
    ]);
    for (const stream of [
      client.listDevices({ device: 'access-9' }, CALL),
      client.listDrifts({ device: 'access-9' }, CALL),
      client.check({ device: 'access-9' }, CALL),
      client.plan({ device: 'access-9', source: 'running' }, CALL),
    ])
      await expect(all<unknown>(stream)).rejects.toMatchObject({
        code: 'INTENT_DEVICE_UNKNOWN',
        field: 'device',
      });
  });

  it('UN-3 show the plan of what is running and of the candidate, as text and as data of kedge-plan, in pieces', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 2_000 }, (_, at) => [
        `/ietf-interfaces:interfaces/interface[name='port${at}']/description`,
        'a desk with a long name',
      ]),
    );
    stage.put(5, {
      ...SHELF,
      'core-1': { driver: 'linux', intended: {}, candidate: many, actual: {} },
    });
    await stage.serve();
    const client = stage.devices('local/journeyman');
    const [head, text, data, ...more] = await planned(client, 'access-1', 'candidate');
    expect(head).toMatchObject({
      part: 'head',
      head: { steps: 3, dormant: [{ why: 'the bridge below it is off' }], complete: true },
    });
    if (text?.part !== 'text' || data?.part !== 'data') throw new Error('no plan');
    expect(Buffer.from(text.text).toString()).toMatch(/^device\/access-1: 3 steps, epoch 7, over abab/);
    expect(JSON.parse(Buffer.from(data.data).toString())).toMatchObject({
      'kedge-plan:plans': {
        plan: [
          {
            ...{ target: 'device/access-1', epoch: '7' },
            step: expect.arrayContaining([
              expect.objectContaining({ path: PLACES.pvid, after: { 'kedge-bridging:pvid': 20 } }),
            ]) as unknown,
          },
        ],
      },
    });
    expect(more).toEqual([]);
    expect(await planned(client, 'access-2', 'running')).toEqual([
      { part: 'head', head: { steps: 0, dormant: [], complete: true } },
    ]);
    const parts = await planned(client, 'core-1', 'candidate');
    const pieces = parts.flatMap((part) => (part.part === 'data' ? [part.data] : []));
    expect(pieces.length).toBeGreaterThan(1);
    expect(JSON.parse(Buffer.concat(pieces).toString())).toHaveProperty(
      ['kedge-plan:plans', 'plan', 0, 'step', 'length'],
      2_000,
    );
    await expect(planned(client, 'access-1', '7')).rejects.toMatchObject({
      code: 'INTENT_REQUEST',
      field: 'source',
    });
  });

  it('UN-7 are remedied by whoever may, at a path or wholly; who may not is refused, and recorded', async () => {
    stage.put(5, SHELF);
    const { child } = await stage.serve();
    const [apprentice, journeyman, master] = ['apprentice', 'journeyman', 'master'].map((tier) =>
      stage.devices(`local/${tier}`),
    );
    if (apprentice === undefined || journeyman === undefined || master === undefined)
      throw new Error('no client');
    const request = { ...ADA, device: 'access-1', path: '' };
    expect(await apprentice.remedy(request, CALL)).toMatchObject({
      refusal: { code: 'INTENT_FORBIDDEN', rule: 'default-deny' },
    });
    // Looking is for everybody; having a device read is not.
    expect(await all(apprentice.listDevices({ device: '' }, CALL))).toHaveLength(3);
    expect(await all(apprentice.listDrifts({ device: '' }, CALL))).toEqual([]);
    await expect(all(apprentice.check({ device: '' }, CALL))).rejects.toMatchObject({
      code: 'INTENT_FORBIDDEN',
    });
    await expect(planned(apprentice, 'access-1', 'candidate')).rejects.toMatchObject({
      code: 'INTENT_FORBIDDEN',
    });
    expect(await journeyman.remedy({ ...request, path: PLACES.enabled }, CALL)).toMatchObject({
      outcome: 'remedied',
      remedied: { remedied: 1, device: { device: 'access-1', state: 'drifted', drifts: 1 } },
    });
    expect(await journeyman.remedy({ ...request, path: 'port3' }, CALL)).toMatchObject({
      refusal: { code: 'INTENT_REQUEST', field: 'path' },
    });
    expect(await journeyman.remedy({ ...request, device: 'access-9' }, CALL)).toMatchObject({
      refusal: { code: 'INTENT_DEVICE_UNKNOWN' },
    });
    expect(await journeyman.remedy({ ...request, principal: 'two\nlines' }, CALL)).toMatchObject({
      refusal: { code: 'INTENT_REQUEST', field: 'principal' },
    });
    stage.reach(2n, 5, 3);
    const intent = stage.client('local/master');
    await until('level 3 is seen', async () => (await intent.status({}, CALL)).level === 3);
    expect(await journeyman.remedy(request, CALL)).toMatchObject({ refusal: { code: 'INTENT_FORBIDDEN' } });
    expect(await master.remedy(request, CALL)).toMatchObject({
      remedied: { remedied: 2, device: { state: 'accorded' } },
    });
    await stage.end(child);
    const records = await stage.records();
    expect(
      records.flatMap((record) =>
        record.schema === 'kedge.authorisation-decision/1'
          ? [[record.action, record.tier, record.principal, record.level]]
          : [],
      ),
    ).toEqual([
      ['intent.remedy', 'apprentice', 'user:ada', 5],
      ['intent.remedy', 'journeyman', 'user:ada', 3],
    ]);
    const changes = records.filter(
      (record): record is IntentChange => record.schema === 'kedge.intent-change/1',
    );
    expect(
      changes.map(({ kind, request: what, comment, failure }) => [kind, what, comment, failure?.code]),
    ).toEqual([
      ['refused', 'remedy', 'access-1 port3', 'INTENT_REQUEST'],
      ['refused', 'remedy', 'access-9', 'INTENT_DEVICE_UNKNOWN'],
    ]);
  });

  it('UN-14 are neither planned for nor remedied where the level freezes it, and the rule is named', async () => {
    stage.put(2, SHELF);
    stage.reach(2n, 5, 2);
    const { child } = await stage.serve();
    const client = stage.devices('console');
    for (const source of ['running', 'candidate'])
      await expect(planned(client, 'access-1', source)).rejects.toMatchObject({
        code: 'INTENT_FROZEN',
        message: expect.stringContaining('rule compilation-frozen') as string,
        help: 'wait for level 3',
      });
    expect(await client.remedy({ ...ADA, device: 'access-1', path: '' }, CALL)).toMatchObject({
      refusal: {
        code: 'INTENT_FROZEN',
        message: expect.stringContaining('rule compilation-frozen') as string,
      },
    });
    // Drift is observed all the same.
    expect(await all(client.check({ device: 'access-1' }, CALL))).toMatchObject([{ drifts: 2 }]);
    await stage.end(child);
    expect((await stage.records()).map((record) => record.schema)).toEqual(['kedge.intent-change/1']);
  });

  it('UN-6 are none where nobody looks after devices, and that is said', async () => {
    await stage.serve();
    const client = stage.devices('local/master');
    for (const stream of [
      client.listDevices({ device: '' }, CALL),
      client.listDrifts({ device: 'access-1' }, CALL),
      client.check({ device: '' }, CALL),
      client.plan({ device: 'access-1', source: 'running' }, CALL),
    ])
      await expect(all<unknown>(stream)).rejects.toMatchObject({ code: 'INTENT_NO_DEVICES' });
    expect(await client.remedy({ ...ADA, device: 'access-1', path: '' }, CALL)).toMatchObject({
      refusal: { code: 'INTENT_NO_DEVICES' },
    });
  });
});

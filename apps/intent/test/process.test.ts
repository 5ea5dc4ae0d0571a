/**
 * The intent as a process: what it answers by which way in, what it does when the posture changes, when it is killed, and
 * what it records of all that.
 * Must not leave a process or a file.
 */
import { type IntentChangeMessage, type IntentClient, type IntentReply } from '@kedge/bus';
import type { IntentChange } from '@kedge/contracts';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { CALL, Stage, until } from './stage.js';

const ADA = { principal: 'user:ada' };
const TERMS = { ...ADA, comment: '', confirmSeconds: 0, ifRevision: 0 };
const LAN = '{ "site:name": "lan", "site:vlan": [ { "id": 10, "name": "guests" } ] }';

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(async () => {
  await stage.remove();
});

async function shown(client: IntentClient, source: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const { bytes } of client.show({ source }, CALL)) pieces.push(bytes);
  return Buffer.concat(pieces).toString();
}

async function compared(client: IntentClient, from: string, to: string): Promise<IntentChangeMessage[]> {
  const changes: IntentChangeMessage[] = [];
  for await (const change of client.compare({ from, to }, CALL)) changes.push(change);
  return changes;
}

const load = (client: IntentClient, document: string): Promise<IntentReply> =>
  client.load({ ...ADA, document }, CALL);
const commit = (client: IntentClient, more: object = {}): Promise<IntentReply> =>
  client.commit({ ...TERMS, ...more }, CALL);
const isChange = (record: { readonly schema: string }): record is IntentChange =>
  record.schema === 'kedge.intent-change/1';

describe('the intent', { timeout: 240_000 }, () => {
  it('UN-4 is edited, validated, compared, committed, taken back and shown over its sockets, and recorded', async () => {
    const { child } = await stage.serve();
    const client = stage.client('local/master');
    expect(await load(client, '{"site:vlan":[{"id":5000}]}')).toMatchObject({ outcome: 'candidate' });
    expect(await client.validate({ source: 'candidate' }, CALL)).toMatchObject({
      findings: [{ path: '/site:name', appTag: 'missing-instance' }, { path: "/site:vlan[id='5000']/id" }],
      complete: true,
    });
    expect(await commit(client)).toMatchObject({
      outcome: 'refusal',
      refusal: { code: 'INTENT_INVALID', findings: [{ path: '/site:name' }, {}] },
    });
    await load(client, LAN);
    const edits = [
      { kind: 'replace', path: "/site:vlan[id='10']/name", value: '"staff"' },
      { kind: 'create', path: "/site:vlan[id='20']", value: '{"id":20}' },
    ];
    expect(await client.edit({ ...ADA, edits }, CALL)).toMatchObject({ outcome: 'candidate' });
    const wrong = { kind: 'replace', path: '/site:name', value: 'lan' };
    expect(await client.edit({ ...ADA, edits: [wrong] }, CALL)).toMatchObject({
      refusal: { code: 'INTENT_REQUEST', field: 'edits[0].value' },
    });
    expect(await compared(client, 'running', 'candidate')).toEqual([
      { path: '/site:name', kind: 'create', after: '"lan"' },
      { path: '/site:vlan', kind: 'create', after: '[{"id":10,"name":"staff"},{"id":20}]' },
    ]);
    expect(await commit(client, { comment: 'first' })).toMatchObject({
      outcome: 'committed',
      committed: { revision: { number: 2, comment: 'first', by: { tier: 'master', channel: 'local' } } },
    });
    await load(client, '{"site:name":"wan"}');
    expect(await commit(client, { ifRevision: 1 })).toMatchObject({
      refusal: { code: 'INTENT_RACED', between: { number: 2 } },
    });
    await commit(client);
    expect(await client.rollback({ ...TERMS, to: 2 }, CALL)).toMatchObject({
      committed: { revision: { of: 2 } },
    });
    expect(await shown(client, 'running')).toBe(
      '{"site:name":"lan","site:vlan":[{"id":10,"name":"staff"},{"id":20}]}',
    );
    expect(await shown(client, '3')).toBe('{"site:name":"wan"}');
    await expect(shown(client, '9')).rejects.toMatchObject({ code: 'INTENT_REVISION_UNKNOWN' });
    const { revisions, total } = await client.history({ limit: 2, before: 4 }, CALL);
    expect([revisions.map(({ number }) => number), total]).toEqual([[3, 2], 4]);
    expect(await client.status({}, CALL)).toMatchObject({
      ...{ phase: 'settled', level: 5, frozen: false, running: 4, startup: 4, intended: 4, revisions: 4 },
      ...{ validity: 'valid', alarms: [] },
    });
    await until('its metrics say so', async () => (await stage.metric('kedge_intent_running')) === 4);
    await stage.end(child);
    const records = (await stage.records()).filter(isChange);
    expect(records.map(({ kind, request, revision, was, of }) => [kind, request, revision, was, of])).toEqual(
      [
        ['refused', 'commit', null, null, null],
        ['commit', null, 2, 1, null],
        ['refused', 'commit', null, null, null],
        ['commit', null, 3, 2, null],
        ['rollback', null, 4, 3, 2],
      ],
    );
    expect(records[1]).toMatchObject({
      principal: 'user:ada',
      tier: 'master',
      channel: 'local',
      comment: 'first',
      level: 5,
    });
  });

  it('UN-4 lets in by the policies, with channel and tier of the socket, and records whom it did not', async () => {
    const { child } = await stage.serve();
    const [apprentice, journeyman, console] = ['local/apprentice', 'local/journeyman', 'console'].map((way) =>
      stage.client(way),
    );
    if (apprentice === undefined || journeyman === undefined || console === undefined)
      throw new Error('no client');
    expect(await load(apprentice, LAN)).toMatchObject({ outcome: 'candidate' });
    expect(await commit(apprentice)).toMatchObject({
      refusal: { code: 'INTENT_FORBIDDEN', rule: 'default-deny' },
    });
    expect(await commit(journeyman)).toMatchObject({ outcome: 'committed' });
    stage.reach(2n, 5, 3);
    await until('level 3 is seen', async () => (await journeyman.status({}, CALL)).level === 3);
    await load(journeyman, '{"site:name":"x"}');
    expect(await commit(journeyman)).toMatchObject({ refusal: { code: 'INTENT_FORBIDDEN' } });
    await journeyman.lock({ ...ADA, comment: 'mine' }, CALL);
    expect(await commit(console)).toMatchObject({ refusal: { code: 'INTENT_LOCKED' } });
    expect(await console.unlock({ ...ADA, force: true }, CALL)).toMatchObject({
      unlocked: { by: { tier: 'journeyman' } },
    });
    expect(await commit(console, { principal: 'two\nlines' })).toMatchObject({
      refusal: { field: 'principal' },
    });
    await stage.end(child);
    const records = await stage.records();
    expect(
      records.flatMap((record) =>
        record.schema === 'kedge.authorisation-decision/1'
          ? [[record.action, record.tier, record.level]]
          : [],
      ),
    ).toEqual([
      ['intent.commit', 'apprentice', 5],
      ['intent.commit', 'journeyman', 3],
    ]);
    expect(records.filter(isChange).map(({ kind }) => kind)).toEqual(['commit', 'refused', 'lock-broken']);
  });

  it('PO-3 takes no change by the socket of the services, in whosever name: by it one looks', async () => {
    stage.put(5, {});
    const { child } = await stage.serve();
    const [inside, master] = [stage.client('internal'), stage.client('local/master')];
    await load(master, LAN);
    await commit(master);
    const refusal = { code: 'INTENT_WAY', rule: 'authority-by-the-way-in' };
    for (const reply of [
      load(inside, '{"site:name":"theirs"}'),
      inside.edit({ ...ADA, edits: [] }, CALL),
      inside.discard(ADA, CALL),
      inside.lock({ ...ADA, comment: '' }, CALL),
      inside.unlock({ ...ADA, force: true }, CALL),
      commit(inside),
      inside.rollback({ ...TERMS, to: 1 }, CALL),
      inside.confirm({ ...ADA, revision: 0 }, CALL),
      inside.cancel({ ...ADA, revision: 0 }, CALL),
      stage.devices('internal').remedy({ ...ADA, device: 'access-1', path: '' }, CALL),
    ])
      expect(await reply).toMatchObject({ outcome: 'refusal', refusal });
    const device = 'access-1';
    for (const stream of [
      stage.devices('internal').plan({ device, source: 'running' }, CALL),
      stage.devices('internal').check({ device }, CALL),
    ])
      await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'INTENT_WAY' });
    expect(await inside.status({}, CALL)).toMatchObject({ running: 2, candidate: { changed: false } });
    expect(await shown(inside, 'running')).toBe(await shown(master, 'candidate'));
    expect((await inside.history({ limit: 0, before: 0 }, CALL)).total).toBe(2);
    expect(await inside.validate({ source: 'running' }, CALL)).toMatchObject({ findings: [] });
    expect(await compared(inside, 'running', '1')).not.toEqual([]);
    for await (const each of stage.devices('internal').listDevices({ device: '' }, CALL))
      expect(each).toBeUndefined();
    await stage.end(child);
    const denied = (await stage.records()).flatMap((record) =>
      record.schema === 'kedge.authorisation-decision/1' ? [[record.allow, record.rule]] : [],
    );
    expect(denied).toEqual(Array.from({ length: 10 }, () => [false, 'authority-by-the-way-in']));
  });

  it('UN-4 puts back what was not confirmed, in time and after kill -9', async () => {
    const { child } = await stage.serve();
    const client = stage.client('local/master');
    await load(client, LAN);
    await commit(client);
    await load(client, '{"site:name":"short"}');
    expect(await commit(client, { confirmSeconds: 1 })).toMatchObject({
      committed: { revision: { number: 3 } },
    });
    await until('its time is over', async () => (await client.status({}, CALL)).phase === 'settled');
    expect(await client.confirm({ ...ADA, revision: 3 }, CALL)).toMatchObject({
      refusal: { code: 'INTENT_CONFIRM_LATE', between: { number: 4, cause: 'expired', of: 2 } },
    });
    await load(client, '{"site:name":"long"}');
    await commit(client, { confirmSeconds: 600 });
    await stage.end(child, 'SIGKILL');
    const second = await stage.serve();
    expect(await client.status({}, CALL)).toMatchObject({ phase: 'settled', running: 6, startup: 6 });
    expect(JSON.parse(await shown(client, 'running'))).toMatchObject({ 'site:name': 'lan' });
    await stage.end(second.child);
    const records = (await stage.records()).filter(isChange);
    expect(records.map(({ kind, revision }) => [kind, revision])).toEqual([
      ['commit', 2],
      ['commit', 3],
      ['expired', 4],
      ['refused', 3],
      // Said again at the start, to the letter: it is one record.
      ['commit', 5],
      ['restarted', 6],
    ]);
  });

  it('UN-14 is frozen from the moment in which a tightening to 2 is decided, and what is due waits and alarms', async () => {
    const { child, output } = await stage.serve();
    const client = stage.client('console');
    await load(client, LAN);
    await commit(client, { confirmSeconds: 1 });
    stage.tighten(2n, 5, 2);
    await until('it waits', async () => (await client.status({}, CALL)).phase === 'waiting');
    const waiting = await client.status({}, CALL);
    expect(waiting).toMatchObject({
      level: 2,
      frozen: true,
      running: 2,
      startup: 1,
      pending: { revision: 2, waiting: true },
    });
    expect(waiting.alarms).toEqual([expect.stringMatching(/^revision 2 was not confirmed/)]);
    await load(client, '{"site:name":"x"}');
    expect(await commit(client)).toMatchObject({ refusal: { code: 'INTENT_FROZEN' } });
    // Neither does a restart put it back meanwhile.
    await stage.end(child, 'SIGKILL');
    const second = await stage.serve();
    expect(await client.status({}, CALL)).toMatchObject({ phase: 'waiting', running: 2 });
    stage.reach(3n, 2, 3);
    await until('it is put back', async () => (await client.status({}, CALL)).running === 3);
    expect(await shown(client, 'running')).toBe('{}');
    expect(output() + second.output()).toContain('"fact":"waiting"');
    await stage.end(second.child);
    const kinds = (await stage.records()).filter(isChange).map(({ kind, level }) => `${kind} ${level}`);
    expect(kinds).toEqual(['commit 5', 'waiting 2', 'refused 2', 'waiting 2', 'restarted 3']);
  });

  it('UN-4 puts nothing in force that cannot be recorded, and goes on editing', async () => {
    mkdirSync(stage.state, { recursive: true });
    // Where the spool has to be stands something else.
    writeFileSync(join(stage.state, 'records'), '');
    await stage.serve();
    const client = stage.client('local/master');
    expect(await load(client, LAN)).toMatchObject({ outcome: 'candidate', candidate: { changed: true } });
    expect(await commit(client)).toMatchObject({ refusal: { code: 'INTENT_UNRECORDED' } });
    expect(await client.rollback({ ...TERMS, to: 1 }, CALL)).toMatchObject({
      refusal: { code: 'INTENT_UNRECORDED' },
    });
    expect(await client.status({}, CALL)).toMatchObject({ running: 1, candidate: { changed: true } });
  });

  it('UN-4 does not start on what is damaged, beside another, or with a configuration that it does not know', async () => {
    const { child } = await stage.serve();
    const other = stage.start({ sockets: join(stage.root, 'elsewhere') });
    await until('the other one ends', () => other.child.exitCode !== null);
    expect(other.output()).toMatch(/SEGMENT_BUSY|BUS_BUSY|LEDGER_SPOOL|INTENT_STORE_BUSY/);
    await stage.end(child);
    writeFileSync(join(stage.state, 'intent.db'), 'not a store');
    const damaged = stage.start();
    await until('it ends', () => damaged.child.exitCode !== null);
    expect(damaged.output()).toContain('INTENT_STORE_DAMAGED');
    const wrong = stage.start({ colour: 'red' });
    await until('it ends', () => wrong.child.exitCode !== null);
    expect(wrong.output()).toMatch(/CONFIG_.*colour/);
  });
});

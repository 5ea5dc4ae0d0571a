/**
 * The coordinator under policies of a directory: what they forbid, what they cannot, and what happens when they change.
 * Must not leave a process or a file.
 */
import type { AuthorisationDecision } from '@kedge/contracts';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Appliance, type Entrance, until } from './appliance.js';

const PERMIT = '@id("all-may")\npermit (principal, action, resource);\n';
const FORBID = '@id("none-may")\nforbid (principal, action, resource);\n';

let directory: string;
let box: Appliance;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-policies-'));
  box = new Appliance({ authorisation: { policies: directory } });
  box.startWarden();
});
afterEach(async () => {
  await box.close();
  rmSync(directory, { recursive: true });
});

function put(text: string): void {
  writeFileSync(join(directory, '.new'), text);
  renameSync(join(directory, '.new'), join(directory, 'site.cedar'));
}

const reload = (by: Entrance = 'local/site_owner', reason = 'a test wants it') =>
  box.client(by).reloadPolicies({ reason, principal: 'user:ada' }, { deadlineMs: 15_000 });
const alarms = async (): Promise<string> =>
  (await box.client().get({}, { deadlineMs: 5_000 })).alarms.join('\n');
const inForce = async (what: string): Promise<void> => {
  await until(what, () => (box.output.includes('other policies are in force') ? true : undefined), 20_000);
};

// Trials take their time where the machine has none.
describe('policies of a directory', { timeout: 120_000 }, () => {
  it('PO-22 that forbid everything: console and boot services tighten, nothing else goes, until they are corrected', async () => {
    put(FORBID);
    await box.start();
    await inForce('the policies');
    // Boot services ask by the socket of the site owner.
    expect(await box.set(4, { by: 'local/site_owner', principal: 'service:boot' })).toMatchObject({
      decision: { from: 5, to: 4 },
    });
    expect(await box.set(2, { by: 'console' })).toMatchObject({ decision: { to: 2 } });
    expect(await box.set(2, { by: 'local/journeyman' })).toMatchObject({ decision: { to: 2 } });
    expect(box.read().level).toBe(2);
    for (const by of ['console', 'local/site_owner', 'local/apprentice'] as const)
      expect(await box.set(5, { by })).toMatchObject({
        refusal: { code: 'POSTURE_NOT_AUTHORISED', rule: 'none-may' },
      });
    await expect(box.get()).rejects.toMatchObject({ code: 'POSTURE_NOT_AUTHORISED' });
    expect(await reload()).toMatchObject({ refusal: { code: 'POSTURE_NOT_AUTHORISED', rule: 'none-may' } });
    expect(box.read().level).toBe(2);
    put(PERMIT);
    // By the watch alone.
    await until('the corrected policies', async () => {
      const reply = await box.set(5, { by: 'console' });
      return reply.outcome === 'refusal' ? undefined : true;
    });
    await until('level 5', () => (box.read().level === 5 ? true : undefined));
  });

  it('SE-2 a broken set is refused with the reason, recorded and an alarm, and the one in force stays', async () => {
    put(PERMIT);
    await box.start();
    await inForce('the policies');
    put('@id("odd")\npermit (principal, action, resource) when { context.trust == "high" };\n');
    expect(await reload()).toMatchObject({
      outcome: 'refusal',
      refusal: { code: 'AUTHZ_SET_INVALID', field: 'odd', rule: 'valid-policies' },
    });
    expect(await alarms()).toContain('the newest policies are not in force');
    expect(await box.set(4)).toMatchObject({ decision: { to: 4 } });
    await box.ended();
    expect(await box.set(5, { by: 'local/apprentice' })).toMatchObject({ decision: { to: 5 } });
    await box.ended();
    put(`${PERMIT}${FORBID.replace('action,', 'action == Kedge::Action::"governance.plan",')}`);
    expect(await reload()).toMatchObject({
      outcome: 'inForce',
      inForce: { set: directory, policies: 2, changed: true },
    });
    expect(await reload()).toMatchObject({ inForce: { policies: 2, changed: false } });
    expect(await alarms()).not.toContain('policies');
    expect(await reload('local/master', '')).toMatchObject({
      refusal: { code: 'POSTURE_REASON', message: 'cannot reload the policies: the reason is missing' },
    });
    const decisions = (await box.records()).filter(
      (each): each is AuthorisationDecision => each.schema === 'kedge.authorisation-decision/1',
    );
    const reloads = decisions.filter(({ action }) => action === 'authorisation.reload');
    expect(reloads.map(({ allow, rule }) => [allow, rule])).toEqual([
      [true, 'all-may'],
      [false, 'valid-policies'],
      [true, 'all-may'],
      [true, 'all-may'],
      [false, 'well-formed'],
    ]);
    expect(decisions.find(({ tier, allow }) => tier === 'apprentice' && allow)).toMatchObject({
      rule: 'all-may',
      resource: 'posture/5',
    });
  });

  it('SE-2 that are broken at the start: only tightening, and an alarm, until they are right', async () => {
    mkdirSync(join(directory, 'site.cedar'));
    await box.start();
    await until('the trouble', () => (box.output.includes('the policies cannot be used') ? true : undefined));
    expect(await box.set(3, { by: 'local/journeyman' })).toMatchObject({ decision: { to: 3 } });
    await until('the end', () => (box.read().stage === -1 || box.read().level === 3 ? true : undefined));
    expect(await box.set(5, { by: 'console' })).toMatchObject({ refusal: { rule: 'policies-not-loaded' } });
    rmSync(join(directory, 'site.cedar'), { recursive: true });
    put(PERMIT);
    await inForce('the policies');
    expect(await box.set(5, { by: 'console' })).toMatchObject({ decision: { to: 5 } });
    expect(await alarms()).not.toContain('policies');
  });

  it('SE-2 that are broken at a restart: those that were in force decide, and an alarm says so, until they are right', async () => {
    put(PERMIT);
    await box.start();
    await inForce('the policies');
    await until('their copy', () => existsSync(join(box.state, 'policies.kept')) || undefined);
    await box.kill();
    put('permit (');
    await box.start();
    await until('the trouble', () => (box.output.includes('the policies cannot be used') ? true : undefined));
    await inForce('those of before');
    expect(await alarms()).toMatch(
      /the newest policies are not in force, those from before the start are: cannot use the policies of/,
    );
    expect(await box.set(4, { by: 'local/apprentice' })).toMatchObject({ decision: { to: 4 } });
    await box.ended();
    expect(await box.set(5, { by: 'local/apprentice' })).toMatchObject({ decision: { to: 5 } });
    put(FORBID);
    await until('the corrected policies', async () => {
      const reply = await box.set(4, { by: 'local/apprentice' });
      return reply.outcome === 'refusal' ? true : undefined;
    });
    const decisions = (await box.records()).filter(
      (each): each is AuthorisationDecision => each.schema === 'kedge.authorisation-decision/1',
    );
    expect(new Set(decisions.filter(({ allow }) => allow).map(({ rule }) => rule))).toEqual(
      new Set(['all-may']),
    );
  });
});

/** What lies in the engine's place: for the coordinator alone. */
const GONE: readonly [string, string][] = [
  ['its file is empty', '/dev/null'],
  ['its file is another', '/etc/passwd'],
];

describe('without an engine', { timeout: 120_000 }, () => {
  const engine = join(
    import.meta.dirname,
    '../../../node_modules/@cedar-policy/cedar-wasm/web/cedar_wasm_bg.wasm',
  );

  /** Console and boot services tighten; everything else is denied with the reason, and recorded. */
  async function expectTighteningOnly(appliance: Appliance, rule: string): Promise<void> {
    // Boot services ask by the socket of the site owner.
    expect(await appliance.set(4, { by: 'local/site_owner', principal: 'service:boot' })).toMatchObject({
      decision: { from: 5, to: 4 },
    });
    expect(await appliance.set(3, { by: 'console' })).toMatchObject({ decision: { to: 3 } });
    expect(await appliance.set(3, { by: 'local/journeyman' })).toMatchObject({ decision: { to: 3 } });
    expect(appliance.read().level).toBe(3);
    for (const by of ['console', 'local/site_owner', 'local/apprentice'] as const)
      expect(await appliance.set(5, { by })).toMatchObject({
        refusal: { code: 'POSTURE_NOT_AUTHORISED', rule, message: expect.stringMatching(/./) as string },
      });
    expect(await appliance.set(2, { by: 'local/apprentice' })).toMatchObject({ refusal: { rule } });
    await expect(appliance.get()).rejects.toMatchObject({ code: 'POSTURE_NOT_AUTHORISED' });
    await expect(
      appliance.client('local/site_owner').history({ limit: 1, beforeEpoch: 0n }, { deadlineMs: 5_000 }),
    ).rejects.toMatchObject({ code: 'POSTURE_NOT_AUTHORISED' });
    expect(
      await appliance
        .client('local/site_owner')
        .reloadPolicies({ reason: 'a test wants it', principal: 'user:ada' }, { deadlineMs: 15_000 }),
    ).toMatchObject({ refusal: { code: 'POSTURE_NOT_AUTHORISED', rule } });
    expect(await appliance.set(1, { by: 'console' })).toMatchObject({ decision: { to: 1 } });
    expect(appliance.read().level).toBe(1);
    const denied = (await appliance.records()).filter(
      (each): each is AuthorisationDecision =>
        each.schema === 'kedge.authorisation-decision/1' && !each.allow,
    );
    expect(denied.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['posture.set', 'authorisation.reload']),
    );
    const asked = denied.filter(
      ({ action }) => action === 'posture.set' || action === 'authorisation.reload',
    );
    expect(new Set(asked.map(({ rule: by }) => by))).toEqual(new Set([rule]));
  }

  it.each(GONE)(
    'PO-22 SE-2 console and boot services tighten, nothing else goes: %s',
    async (_what, instead) => {
      const appliance = new Appliance();
      appliance.under = ['unshare', '-m', 'sh', '-c', `mount --bind ${instead} "$0" && exec "$@"`, engine];
      appliance.startWarden();
      try {
        await appliance.start();
        // Before anybody has missed it, and after.
        await expect(appliance.get()).rejects.toMatchObject({ code: 'POSTURE_NOT_AUTHORISED' });
        await until('the trouble in the log', () => appliance.output.includes('AUTHZ_ENGINE') || undefined);
        await expectTighteningOnly(appliance, 'authoriser-failed');
      } finally {
        await appliance.close();
      }
    },
  );

  it('PO-22 SE-2 console and boot services tighten, nothing else goes: its thread dies of the policies', async () => {
    put(
      `@id("deep")\npermit (principal, action, resource) when { ${'!('.repeat(30_000)}true${')'.repeat(30_000)} };\n`,
    );
    await box.start();
    await until('the trouble', () => box.output.includes('the policies cannot be used') || undefined, 30_000);
    await expectTighteningOnly(box, 'policies-not-loaded');
  });
});

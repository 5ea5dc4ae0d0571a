/**
 * What is decided when the engine cannot be loaded, or breaks: nothing but tightening.
 * Must stay a file of its own: an engine that was loaded once in a process is there.
 */
import { ACTIONS, type AuthorisationRequest, CHANNELS, postureResource, TIERS } from '@kedge/contracts';
import { EPOCH_NONE, LEVELS, millisOf, nanosOf } from '@kedge/units';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { loadEngine, PolicyAuthoriser, PolicyKeeper } from '../src/index.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-authz-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const base: AuthorisationRequest = {
  principal: 'user:ada',
  tier: 'site_owner',
  channel: 'console',
  action: 'posture.set',
  resource: postureResource(5),
  level: 4,
  epoch: EPOCH_NONE,
  mfaAge: millisOf(0),
  address: undefined,
  at: nanosOf(0n),
  wallMs: undefined,
  breakGlass: false,
};

/** Everything that can be asked for of a level: only tightening from journeyman on is allowed, by the built-in rule. */
function expectTighteningOnly(authoriser: Pick<PolicyAuthoriser, 'decide'>, rule: string): void {
  let tightened = 0;
  for (const tier of TIERS)
    for (const channel of CHANNELS)
      for (const level of LEVELS)
        for (const to of LEVELS) {
          const answer = authoriser.decide({ ...base, tier, channel, level, resource: postureResource(to) });
          const tightens = to <= level && tier !== 'apprentice';
          expect(answer).toMatchObject(
            tightens ? { allow: true, rule: 'built-in-tightening' } : { allow: false, rule },
          );
          tightened += Number(tightens);
        }
  expect(tightened).toBe(3 * 6 * 15);
  for (const action of ACTIONS.filter((each) => each !== 'posture.set'))
    expect(authoriser.decide({ ...base, action })).toMatchObject({ allow: false, rule });
}

describe('without an engine', () => {
  it.each(['missing', 'garbage'])(
    'PO-22 tightening goes on, and nothing else does: its file is %s',
    async (what) => {
      const engine = join(directory, 'engine.wasm');
      if (what === 'garbage') writeFileSync(engine, 'this is no WebAssembly');
      const troubles: (string | undefined)[] = [];
      const keeper = new PolicyKeeper({
        policies: 'default',
        engine,
        onTrouble: (error) => troubles.push(error?.code),
      });
      expectTighteningOnly(keeper.authoriser, 'authoriser-failed');
      await keeper.start();
      expect(troubles).toEqual(['AUTHZ_ENGINE']);
      expectTighteningOnly(keeper.authoriser, 'authoriser-failed');
      await keeper.close();
    },
  );

  it('PO-22 a directory whose policies were not tried yet lets nothing but tightening through', () => {
    const keeper = new PolicyKeeper({ policies: directory });
    expectTighteningOnly(keeper.authoriser, 'policies-not-loaded');
  });

  it('PO-22 an engine that broke while it was at work denies, and tightening goes on', () => {
    loadEngine();
    const authoriser = new PolicyAuthoriser();
    authoriser.use({
      name: 'one',
      generation: '1',
      policies: [
        {
          id: 'all',
          effect: 'permit',
          reason: '',
          file: 'a.cedar',
          text: 'permit (principal, action, resource);',
        },
      ],
    });
    expect(authoriser.decide(base)).toEqual({ allow: true, rule: 'all' });
    // What a trial would have caught: so deep that the engine's stack ends in the middle of its work.
    const deep = `permit (principal, action, resource) when { ${'!('.repeat(30_000)}true${')'.repeat(30_000)} };`;
    expect(() =>
      authoriser.use({
        name: 'two',
        generation: '2',
        policies: [{ id: 'deep', effect: 'permit', reason: '', file: 'a.cedar', text: deep }],
      }),
    ).toThrow();
    expect(authoriser.set?.generation).toBe('1');
    const after = authoriser.decide({ ...base, channel: 'oob' });
    // It may have survived; if not, nobody is allowed anything by it.
    expect(
      after.allow ? after.rule : ['authoriser-failed', 'policy-failed'].includes(after.rule),
    ).toBeTruthy();
    expect(authoriser.decide({ ...base, resource: postureResource(1) })).toEqual({
      allow: true,
      rule: 'built-in-tightening',
    });
  });
});

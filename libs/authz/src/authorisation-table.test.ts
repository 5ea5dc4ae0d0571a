import {
  ACTIONS,
  type AuthorisationRequest,
  CHANNELS,
  type Channel,
  postureResource,
  type Tier,
  TIERS,
} from '@kedge/contracts';
import { EPOCH_NONE, type Level, LEVELS, millisOf, nanosOf } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DEFAULT_AUTHORITY, SECOND_FACTOR_MAX_AGE_MS, tableAuthoriser } from './index.js';

const authoriser = tableAuthoriser();

function ask(
  tier: Tier,
  channel: Channel,
  from: Level,
  to: Level,
  mfaAge: number | undefined = undefined,
): AuthorisationRequest {
  return {
    principal: 'user:ada',
    tier,
    channel,
    action: 'posture.set',
    resource: postureResource(to),
    level: from,
    epoch: EPOCH_NONE,
    mfaAge: mfaAge === undefined ? undefined : millisOf(mfaAge),
    address: undefined,
    at: nanosOf(1n),
  };
}
const allowed = (...args: Parameters<typeof ask>): boolean => authoriser.decide(ask(...args)).allow;

describe('the authorisation table', () => {
  it('PO-4 every source from journeyman on may tighten and re-apply, whatever the channel; an apprentice may not', () => {
    let visited = 0;
    for (const channel of CHANNELS)
      for (const from of LEVELS)
        for (const to of LEVELS.filter((level) => level <= from))
          for (const tier of TIERS) {
            expect(allowed(tier, channel, from, to)).toBe(tier !== 'apprentice');
            visited += 1;
          }
    expect(visited).toBe(6 * 15 * 4);
  });

  it('PO-4 loosening needs master to 5 and 4, site_owner to 3 and 2, as a literal table', () => {
    // Rows: from-to; columns: site_owner, master, journeyman, apprentice.
    const table: [Level, Level, string][] = [
      [4, 5, 'yy--'],
      [3, 4, 'yy--'],
      [3, 5, 'yy--'],
      [2, 3, 'y---'],
      [2, 4, 'y---'],
      [2, 5, 'y---'],
    ];
    for (const channel of ['console', 'fleet', 'local', 'oob'] as const)
      for (const [from, to, row] of table)
        expect(TIERS.map((tier) => (allowed(tier, channel, from, to) ? 'y' : '-')).join('')).toBe(row);
  });

  it('PO-4 machines never loosen: plugins and the BPF map tighten only', () => {
    for (const channel of ['plugin', 'bpf'] as const)
      expect(authoriser.decide(ask('site_owner', channel, 4, 5, 0))).toMatchObject({
        allow: false,
        rule: `${channel}-tightens-only`,
      });
  });

  it('PO-4 level 1 is left by the console or out of band, by site_owner, with a fresh second factor', () => {
    expect(authoriser.decide(ask('site_owner', 'console', 1, 2, 0))).toEqual({
      allow: true,
      rule: 'loosening-to-2',
    });
    expect(allowed('site_owner', 'oob', 1, 5, 0)).toBe(true);
    for (const channel of ['local', 'fleet'] as const)
      expect(authoriser.decide(ask('site_owner', channel, 1, 2, 0))).toMatchObject({
        allow: false,
        rule: 'leave-lockdown-channel',
      });
    for (const age of [undefined, -1, NaN, SECOND_FACTOR_MAX_AGE_MS + 1])
      expect(authoriser.decide(ask('site_owner', 'console', 1, 2, age))).toMatchObject({
        allow: false,
        rule: 'loosening-to-2-second-factor',
      });
    expect(allowed('master', 'console', 1, 2, 0)).toBe(false);
  });

  it('PO-9 a step over several levels is allowed exactly when every level between is', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...TIERS),
        fc.constantFrom(...CHANNELS),
        fc.constantFrom<Level>(1, 2, 3, 4),
        fc.constantFrom<Level>(2, 3, 4, 5),
        fc.constantFrom(undefined, 0),
        (tier, channel, from, to, age) => {
          if (to <= from) return;
          const stepwise = ([2, 3, 4, 5] as const)
            .filter((level) => level > from && level <= to)
            .every((level) => allowed(tier, channel, (level - 1) as Level, level, age));
          expect(allowed(tier, channel, from, to, age)).toBe(stepwise);
        },
      ),
    );
  });

  it('every action has a rule, an unknown one is denied, and a table that fails denies instead of throwing', () => {
    expect(
      ACTIONS.map((action) => authoriser.decide({ ...ask('site_owner', 'console', 5, 4), action }).allow),
    ).toEqual(ACTIONS.map(() => true));
    expect(
      authoriser.decide({ ...ask('site_owner', 'console', 5, 4), action: 'posture.sing' as never }),
    ).toMatchObject({
      allow: false,
      rule: 'unknown-action',
    });
    expect(authoriser.decide({ ...ask('site_owner', 'console', 5, 4), resource: 'posture/6' })).toMatchObject(
      {
        allow: false,
        rule: 'unknown-resource',
      },
    );
    expect(authoriser.decide(ask('nobody' as Tier, 'console', 5, 4)).allow).toBe(false);
    const broken = tableAuthoriser(() => {
      throw new Error('no accords');
    });
    expect(broken.decide(ask('site_owner', 'console', 4, 5))).toMatchObject({
      allow: false,
      rule: 'authoriser-failed',
    });
    expect(broken.decide(ask('journeyman', 'local', 5, 1)).allow).toBe(true);
  });

  it('an accord may ask for more than the default', () => {
    const strict = tableAuthoriser({
      ...DEFAULT_AUTHORITY,
      5: { deescalationTier: 'site_owner', secondFactor: true },
    });
    expect(strict.decide(ask('master', 'local', 4, 5)).allow).toBe(false);
    expect(strict.decide(ask('site_owner', 'local', 4, 5)).allow).toBe(false);
    expect(strict.decide(ask('site_owner', 'local', 4, 5, 10)).allow).toBe(true);
  });
});

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

import { type DeescalationAuthority, PolicyKeeper } from './index.js';
import { DEFAULT_AUTHORITY } from './deescalation.js';

const authoriserOf = (policies = 'default', authority?: () => DeescalationAuthority) =>
  new PolicyKeeper({ policies, ...(authority === undefined ? {} : { authority }) }).authoriser;
const authoriser = authoriserOf();

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
    wallMs: undefined,
    breakGlass: false,
  };
}
const allowed = (...args: Parameters<typeof ask>): boolean => authoriser.decide(ask(...args)).allow;
const FRESH_MS = 300_000;

describe('the default policies', () => {
  it('PO-4 every source from journeyman on may tighten and re-apply, whatever the channel; an apprentice may not', () => {
    let visited = 0;
    for (const channel of CHANNELS)
      for (const from of LEVELS)
        for (const to of LEVELS.filter((level) => level <= from))
          for (const tier of TIERS) {
            const apprentice = tier === 'apprentice';
            expect(authoriser.decide(ask(tier, channel, from, to))).toMatchObject({
              allow: !apprentice,
              rule: apprentice ? 'apprentice-looks-only' : 'built-in-tightening',
            });
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
      expect(authoriser.decide(ask('site_owner', channel, 4, 5, 0))).toEqual({
        allow: false,
        rule: 'machines-tighten-only',
        reason: `the channel ${channel} may only tighten the posture`,
      });
  });

  it('PO-4 level 1 is left by the console or out of band, by site_owner, with a fresh second factor', () => {
    expect(authoriser.decide(ask('site_owner', 'console', 1, 2, 0))).toEqual({
      allow: true,
      rule: 'loosening-by-the-accords',
    });
    expect(allowed('site_owner', 'oob', 1, 5, 0)).toBe(true);
    for (const channel of ['local', 'fleet'] as const)
      expect(authoriser.decide(ask('site_owner', channel, 1, 2, 0))).toEqual({
        allow: false,
        rule: 'leave-lockdown-channel',
        reason: `level 1 is left by console, re-attestation, oob only, not by ${channel}`,
      });
    expect(allowed('site_owner', 'console', 1, 2, FRESH_MS)).toBe(true);
    for (const age of [undefined, -60_000, NaN, Infinity, FRESH_MS + 1])
      expect(authoriser.decide(ask('site_owner', 'console', 1, 2, age))).toMatchObject({
        allow: false,
        rule: 'loosening-second-factor',
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

  it('SE-2 every action is permitted to somebody, and to nobody whom no policy names', () => {
    const console = ACTIONS.map((action) =>
      authoriser.decide({ ...ask('site_owner', 'console', 5, 4), action }),
    );
    expect(console.map(({ allow }) => allow)).toEqual(ACTIONS.map(() => true));
    const denied = ACTIONS.filter(
      (action) => !authoriser.decide({ ...ask('apprentice', 'local', 5, 4), action }).allow,
    );
    expect(denied).toEqual([
      'posture.set',
      'governance.flows',
      'governance.reload',
      'authorisation.reload',
      'mutation.execute',
      'intent.check',
      'intent.break-lock',
      'intent.commit',
      'intent.rollback',
      'intent.remedy',
      'ledger.read',
      'ledger.export',
      'ledger.erase',
    ]);
    expect(authoriser.decide({ ...ask('apprentice', 'local', 5, 4), action: 'mutation.execute' })).toEqual({
      allow: false,
      rule: 'default-deny',
      reason: 'no policy lets the tier apprentice do mutation.execute by the channel local',
    });
  });

  it('SE-2 what is unknown or of a wrong type is denied with the reason, and never throws', () => {
    const good = { ...ask('site_owner', 'local', 4, 5), mfaAge: millisOf(0) };
    expect(authoriser.decide(good).allow).toBe(true);
    const wrong: [object, string, string][] = [
      [{ tier: 'nobody' }, 'unknown-principal', 'nobody is known by the tier nobody'],
      [{ tier: undefined }, 'unknown-principal', 'nobody is known by the tier (undefined)'],
      [{ channel: 'carrier-pigeon' }, 'unknown-channel', 'no way in is known by the name carrier-pigeon'],
      [{ action: 'posture.sing' }, 'unknown-action', 'nobody may posture.sing: no policy knows it'],
      [{ action: 7 }, 'unknown-action', 'nobody may (number): no policy knows it'],
      [{ resource: 'posture/6' }, 'unknown-resource', 'posture/6 names no posture level'],
      [{ resource: 5 }, 'unknown-resource', 'the resource is no name of 1 to 128 characters'],
      [{ resource: 'a\nb' }, 'unknown-resource', 'the resource is no name of 1 to 128 characters'],
      [{ resource: 'x'.repeat(129) }, 'unknown-resource', 'the resource is no name of 1 to 128 characters'],
      [{ level: '4' }, 'malformed-request', 'the level in force is 4, expected 1 to 5'],
      [{ level: 4.5 }, 'malformed-request', 'the level in force is (number), expected 1 to 5'],
      [{ mfaAge: '0' }, 'malformed-request', 'the age of the second factor is no number'],
      [{ address: 'home' }, 'malformed-request', 'the address home is none'],
      [{ address: '::ffff:10.0.0.1' }, 'malformed-request', 'the address ::ffff:10.0.0.1 is none'],
      [{ address: 10 }, 'malformed-request', 'the address (number) is none'],
      [{ wallMs: new Date(0) }, 'malformed-request', 'the time of day is no number'],
      [{ breakGlass: 'no' }, 'malformed-request', 'break-glass is neither true nor false'],
    ];
    for (const [field, rule, reason] of wrong)
      expect(authoriser.decide({ ...good, ...field })).toEqual({
        allow: false,
        rule,
        reason,
      });
    for (const nothing of [null, undefined, 5, {}])
      expect(authoriser.decide(nothing as AuthorisationRequest).allow).toBe(false);
  });

  it('SE-2 accords that cannot be asked deny what loosens, and nothing that tightens', () => {
    const broken = authoriserOf('default', () => {
      throw new Error('no accords');
    });
    expect(broken.decide(ask('site_owner', 'console', 4, 5))).toMatchObject({
      allow: false,
      rule: 'authoriser-failed',
    });
    expect(broken.decide(ask('journeyman', 'local', 5, 1)).allow).toBe(true);
  });

  it('PO-4 an accord may ask for more than the default, and counts at once', () => {
    let authority = DEFAULT_AUTHORITY;
    const strict = authoriserOf('default', () => authority);
    expect(strict.decide(ask('master', 'local', 4, 5)).allow).toBe(true);
    authority = { ...authority, 5: { deescalationTier: 'site_owner', secondFactor: true } };
    expect(strict.decide(ask('master', 'local', 4, 5)).allow).toBe(false);
    expect(strict.decide(ask('site_owner', 'local', 4, 5)).allow).toBe(false);
    expect(strict.decide(ask('site_owner', 'local', 4, 5, 10)).allow).toBe(true);
    authority = { ...authority, 5: { deescalationTier: 'king' as Tier, secondFactor: false } };
    expect(strict.decide(ask('site_owner', 'local', 4, 5, 10)).allow).toBe(false);
  });
});

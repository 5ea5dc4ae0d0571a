import { ACTIONS, type AuthorisationRequest, CHANNELS, postureResource, TIERS } from '@kedge/contracts';
import { EPOCH_NONE, LEVELS, millisOf, nanosOf } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { engineRequest } from './cedar.js';
import { needsOf } from './deescalation.js';
import { decisionKey, slimmed, type SlimRequest } from './slim-request.js';

const authority = fc.record({
  deescalationTier: fc.constantFrom(...TIERS),
  secondFactor: fc.boolean(),
});
const request = fc.record({
  principal: fc.constant('user:ada'),
  tier: fc.constantFrom(...TIERS),
  channel: fc.constantFrom(...CHANNELS),
  action: fc.constantFrom(...ACTIONS, 'posture.set' as const, 'posture.set' as const),
  resource: fc.constantFrom(...LEVELS.map(postureResource)),
  level: fc.constantFrom(...LEVELS),
  epoch: fc.constant(EPOCH_NONE),
  mfaAge: fc.option(fc.integer({ min: 0, max: 100_000 }).map(millisOf), { nil: undefined }),
  address: fc.option(fc.constantFrom('10.0.0.1', '10.0.0.11', 'fd00::1'), { nil: undefined }),
  at: fc.constant(nanosOf(0n)),
  wallMs: fc.option(fc.integer({ min: 0, max: 3 * 86_400_000 }), { nil: undefined }),
  breakGlass: fc.constant(false),
});
const accords = fc.record({
  2: authority,
  3: authority,
  4: authority,
  5: authority,
  leaveLockdownChannels: fc.constantFrom([], ['console'] as const, ['console', 'oob'] as const),
});

function slimOf(asked: AuthorisationRequest, by: Parameters<typeof needsOf>[0]): SlimRequest {
  const made = slimmed(asked, (level, target) => needsOf(by, level, target));
  if ('denial' in made) throw new Error(made.denial.reason);
  return made.slim;
}

describe('the key of a decision', () => {
  it('SE-2 is the same exactly for requests that are alike to every policy', () => {
    let alike = 0;
    fc.assert(
      fc.property(request, accords, request, accords, fc.nat(4095), (a, byA, other, byB, mask) => {
        // The other request differs in some fields only, so that pairs that are alike come up as well.
        const b = Object.fromEntries(
          Object.entries(a).map(([name, value], i) => [
            name,
            (mask >> i) & 1 ? value : other[name as keyof typeof other],
          ]),
        ) as unknown as AuthorisationRequest;
        const [x, y] = [slimOf(a, byA), slimOf(b, mask & 1 ? byA : byB)];
        const same = JSON.stringify(engineRequest(x)) === JSON.stringify(engineRequest(y));
        if (same) alike += 1;
        expect(decisionKey(x) === decisionKey(y)).toBe(same);
      }),
      { numRuns: 5_000 },
    );
    expect(alike).toBeGreaterThan(50);
  });

  it('SE-2 is none under break-glass: such a decision is made anew each time', () => {
    const [asked] = fc.sample(request, 1);
    const [by] = fc.sample(accords, 1);
    if (asked === undefined || by === undefined) throw new Error('nothing was sampled');
    expect(decisionKey(slimOf(asked, by))).not.toBeUndefined();
    expect(decisionKey(slimOf({ ...asked, breakGlass: true }, by))).toBeUndefined();
  });

  it('rounds ages up and times down, so that no limit is passed by rounding', () => {
    const base: AuthorisationRequest = {
      principal: '',
      tier: 'master',
      channel: 'local',
      action: 'posture.get',
      resource: 'posture',
      level: 5,
      epoch: EPOCH_NONE,
      mfaAge: undefined,
      address: undefined,
      at: nanosOf(0n),
      wallMs: undefined,
      breakGlass: false,
    };
    const ageOf = (ms: number) => slimOf({ ...base, mfaAge: millisOf(ms) }, {} as never).secondFactorAge;
    expect([0, 1, 30_000, 30_001, 300_000, 300_001, 86_400_000].map(ageOf)).toEqual([
      0, 30, 30, 60, 300, 330, 86_400,
    ]);
    expect([-30_001, Number.NaN, Infinity, 86_400_001].map(ageOf)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    const timeOf = (text: string) => {
      const { minute, weekday } = slimOf({ ...base, wallMs: Date.parse(text) }, {} as never);
      return [minute, weekday];
    };
    expect(timeOf('2026-03-02T08:14:59Z')).toEqual([480, 1]);
    expect(timeOf('2026-03-01T23:59:59Z')).toEqual([1425, 7]);
  });
});

import { describe, expect, it } from 'vitest';

import { routeKey, routeSpecFault, routeSpecOf } from './route-spec.js';

const good = {
  destination: '10.80.3.0/24',
  via: '10.7.0.2',
  dev: 'wg0',
  metric: 50,
  mode: 'overlay',
  purpose: 'management',
  tier: 'master',
} as const;

describe('a route specification', () => {
  it('comes out in canonical form', () => {
    expect(routeSpecOf(good)).toEqual(good);
    const six = routeSpecOf({ ...good, destination: 'FD80:0:0::/32', via: 'FE80::0:2', metric: 0 });
    expect(six).toEqual({
      destination: 'fd80::/32',
      via: 'fe80::2',
      dev: 'wg0',
      mode: 'overlay',
      purpose: 'management',
      tier: 'master',
    });
    expect(routeKey(six)).toBe('fd80::/32 18600');
  });

  it('is refused by the field that is wrong', () => {
    const wrong: [string, unknown][] = [
      ['destination', '10.80.3.1/24'],
      ['destination', '10.80.3.0'],
      ['destination', 'fd80::1/32'],
      ['destination', '10.80.3.0/24 table 255'],
      ['destination', 7],
      ['via', 'fe80::1'],
      ['via', '10.7.0.2/32'],
      ['via', ''],
      ['dev', 'wg0\nroute flush table all'],
      ['dev', '-force'],
      ['dev', 'sixteen-letters-'],
      ['metric', -1],
      ['metric', 2 ** 32],
      ['metric', 1.5],
      ['mode', 'both'],
      ['purpose', 'games'],
      ['tier', 'visitor'],
    ];
    for (const [field, value] of wrong) {
      expect([field, routeSpecFault({ ...good, [field]: value })]).toEqual([
        field,
        { field, expected: expect.any(String) },
      ]);
      expect(() => routeSpecOf({ ...good, [field]: value }, 'routes[3]')).toThrow(
        expect.objectContaining({ code: 'ROUTES_SPEC', field: `routes[3].${field}` }),
      );
    }
  });
});

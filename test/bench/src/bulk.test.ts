import { seedRoutes } from '@kedge/lab';
import { describe, expect, it } from 'vitest';

import { bulkDestinations } from './bulk.js';

describe('the many routes of the benches', () => {
  it('are as many as were asked for, all different, none of them one of the lab', () => {
    const all = bulkDestinations(10_000);
    expect(new Set(all).size).toBe(10_000);
    const own = new Set(seedRoutes('overlay').map(({ destination }) => destination.split('.')[1]));
    expect(own.size).toBeGreaterThan(3);
    for (const destination of all) {
      expect(destination).toMatch(/^10\.1\d\d\.(\d{1,3})\.(\d{1,3})\/28$/);
      expect(own.has(destination.split('.')[1])).toBe(false);
    }
  });
});

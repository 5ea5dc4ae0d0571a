import { expect, it } from 'vitest';

import { throughputOf, type Trial } from './throughput.js';

const LIMITS = { loss: 0.001, precision: 0.02, trials: 20, again: 1 };

/** A device that carries so much and loses the rest, behind a source that can offer so much. */
function device(capacity: number, most = 1_000_000): (rate: number) => Promise<Trial> {
  return (rate) => {
    const offered = rate === 0 ? most : Math.min(rate, most);
    return Promise.resolve({ offered, lost: Math.max(0, 1 - capacity / offered) });
  };
}

it('finds what a device carries to within its precision, and never more', async () => {
  let asked = 0;
  for (const capacity of [999_000, 700_000, 250_000, 60_000, 5_000]) {
    const { rate, above, trials } = await throughputOf(device(capacity), LIMITS);
    expect(rate).toBeLessThanOrEqual(capacity * 1.0011);
    expect(rate).toBeGreaterThan(capacity * 0.96);
    expect(above).toBeGreaterThanOrEqual(capacity);
    expect(trials).toBeLessThanOrEqual(LIMITS.trials);
    asked += 1;
  }
  expect(asked).toBe(5);
});

it('says what was offered where the device carries all of it', async () => {
  const found = await throughputOf(device(5_000_000), LIMITS);
  expect(found).toEqual({ rate: 1_000_000, above: Number.POSITIVE_INFINITY, trials: 1 });
});

it('believes one loss less than two', async () => {
  let disturbed = 0;
  const calm = device(500_000);
  const found = await throughputOf(async (rate) => {
    const trial = await calm(rate);
    // The first good trial is spoilt from outside.
    return trial.lost === 0 && rate !== 0 && disturbed++ === 0 ? { ...trial, lost: 0.5 } : trial;
  }, LIMITS);
  expect(disturbed).toBeGreaterThan(1);
  expect(found.rate).toBeGreaterThan(480_000);
});

it('ends without a rate where nothing comes through', async () => {
  const found = await throughputOf((rate) => Promise.resolve({ offered: rate || 1_000, lost: 1 }), LIMITS);
  expect(found).toMatchObject({ rate: 0, trials: LIMITS.trials });
});

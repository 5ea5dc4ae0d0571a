/**
 * The answer to a plan: what of it is kept, what that weighs, and its parts put together again.
 * It must not know who remembers it.
 */
import type { CarriedOut } from '@kedge/driver-host';
import type { Reading } from '@kedge/driver-kit';
import { describe, expect, it } from 'vitest';

import { carriedAnswer, lighter, repliesOf, weightOf } from './plan-answer.js';

const reading: Reading = {
  tree: {
    'ietf-interfaces:interfaces': {
      interface: Array.from({ length: 4_000 }, (_, index) => ({
        name: `port${String(index)}`,
        type: 'iana-if-type:ethernetCsmacd' as const,
        description: 'x'.repeat(100),
      })),
    },
  },
  own: Array.from({ length: 1_100 }, (_, index) => `port${String(index)}`),
};
const carried: CarriedOut = {
  applied: { outcome: 'failed', done: [], failure: { code: 'DRIVER_WRITE', message: 'no', step: 'step-1' } },
  rolledBack: false,
  remaining: Array.from({ length: 700 }, (_, index) => ({
    path: `/ietf-interfaces:interfaces/interface[name='port${String(index)}']`,
    intended: null,
    actual: { description: 'y'.repeat(100) },
  })),
  reading,
};

/** Bytes of all texts and buffers in something, however deep. */
function bytesIn(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Buffer.isBuffer(value)) return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce<number>((sum, each) => sum + bytesIn(each), 0);
}

describe('the answer to a plan', () => {
  it('weighs at least what is kept of it, and nothing is kept that is not sent', () => {
    const answer = carriedAnswer(carried);
    const sent = [...repliesOf(answer)].map(bytesIn).reduce((sum, each) => sum + each, 0);
    const kept = bytesIn(answer);
    expect(kept).toBeGreaterThan(Buffer.byteLength(JSON.stringify(reading.tree)));
    expect(kept).toBeLessThan(sent);
    expect(weightOf(answer)).toBeGreaterThanOrEqual(kept);
    expect(weightOf(answer)).toBeLessThan(2 * kept);
    const light = lighter(answer);
    expect(weightOf(light)).toBeGreaterThanOrEqual(bytesIn(light));
    expect(weightOf(light)).toBeLessThan(weightOf(answer) - bytesIn(reading.own));
  });

  it('goes out in parts that are it again, without the reading once that is forgotten', () => {
    const parts = [...repliesOf(carriedAnswer(carried))];
    const told = parts.flatMap((each) => (each.outcome === 'carried' ? [each.carried] : []));
    const read = parts.flatMap((each) => (each.outcome === 'reading' ? [each.reading] : []));
    expect(told).toHaveLength(2);
    expect(
      told.every(({ wasRead, result, rolledBack }) => wasRead && result === 'failed' && !rolledBack),
    ).toBe(true);
    expect(told.flatMap(({ remaining }) => remaining.map(({ path }) => path))).toEqual(
      carried.remaining.map(({ path }) => path),
    );
    expect(JSON.parse(Buffer.concat(read.map(({ tree }) => tree)).toString())).toEqual(reading.tree);
    expect(read.flatMap(({ own }) => own)).toEqual(reading.own);
    const light = [...repliesOf(lighter(carriedAnswer(carried)))];
    expect(light.map((each) => each.outcome === 'carried' && each.carried.wasRead)).toEqual([false, false]);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { anyWalFrameAfter, walFrameAt, walFrameOf } from './wal-frame.js';

const bytes = (maxLength: number) =>
  fc.uint8Array({ minLength: 1, maxLength }).map((each) => Buffer.from(each));
const groups = fc.record({
  first: fc.maxSafeNat(),
  entries: fc.array(bytes(300), { maxLength: 12 }),
  note: fc.record({
    checkpoint: fc.string({ unit: 'grapheme-ascii', maxLength: 120 }),
    cursors: fc
      .array(fc.tuple(fc.stringMatching(/^[a-z]{1,8}\n[a-z]{1,8}$/), fc.bigInt(0n, 2n ** 64n - 1n)), {
        maxLength: 4,
      })
      .map((pairs) => new Map(pairs)),
    keys: fc.record({ file: fc.nat(), rows: fc.nat() }),
  }),
});

describe('a write-ahead frame', () => {
  it('LE-5 comes back as it was, wherever it lies', () => {
    fc.assert(
      fc.property(groups, bytes(40), ({ first, entries, note }, before) => {
        const frame = walFrameOf(first, entries, note);
        const read = walFrameAt(Buffer.concat([before, frame, before]), before.length);
        expect(read).toEqual({ first, entries, ...note, end: before.length + frame.length });
      }),
    );
  });

  it('LE-5 with any bit changed, or cut anywhere, it is no frame', () => {
    fc.assert(
      fc.property(groups, fc.nat(), fc.integer({ min: 0, max: 7 }), ({ first, entries, note }, at, bit) => {
        const frame = walFrameOf(first, entries, note);
        const place = at % frame.length;
        const flipped = Buffer.from(frame);
        flipped[place] = (flipped[place] ?? 0) ^ (1 << bit);
        expect(walFrameAt(flipped, 0)).toBeUndefined();
        expect(walFrameAt(frame.subarray(0, place), 0)).toBeUndefined();
      }),
      { numRuns: 400 },
    );
  });

  it('is found behind anything', () => {
    fc.assert(
      fc.property(groups, bytes(60), ({ first, entries, note }, before) => {
        const frame = walFrameOf(first, entries, note);
        expect(anyWalFrameAfter(Buffer.concat([before, frame]), 0)).toBe(true);
        expect(anyWalFrameAfter(Buffer.concat([before, frame.subarray(0, -1)]), 0)).toBe(false);
      }),
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  directionOf,
  EPOCH_MAX,
  epochOf,
  hasCode,
  isLevel,
  isLooser,
  isTighter,
  KedgeError,
  levelOf,
  LEVELS,
  looserOf,
  millisFromNanos,
  millisOf,
  nanosFromMillis,
  nextEpoch,
  tighterOf,
} from './index.js';

const level = fc.constantFrom(...LEVELS);

describe('levels and epochs', () => {
  it('PO-1 there are exactly five levels, and nothing else is one', () => {
    expect(LEVELS).toEqual([5, 4, 3, 2, 1]);
    for (const each of LEVELS) expect(levelOf(each)).toBe(each);
    for (const other of [0, 6, 7, -1, 1.5, NaN, '3', 3n, null, undefined, true, [3]]) {
      expect(isLevel(other)).toBe(false);
      expect(() => levelOf(other)).toThrow(expect.objectContaining({ code: 'UNITS_LEVEL', field: 'level' }));
    }
  });

  it('tighter and looser are one order, seen from both ends', () => {
    fc.assert(
      fc.property(level, level, (a, b) => {
        expect(tighterOf(a, b)).toBe(Math.min(a, b));
        expect(looserOf(a, b)).toBe(Math.max(a, b));
        expect(isTighter(a, b)).toBe(isLooser(b, a));
        expect(directionOf(a, b)).toBe(a === b ? 'stay' : isTighter(b, a) ? 'escalate' : 'deescalate');
      }),
    );
  });

  it('an epoch has 48 bits, is a decimal string in JSON, and ends', () => {
    expect(epochOf('281474976710655')).toBe(EPOCH_MAX);
    for (const other of ['', '01', '-1', '1.0', ' 1', '281474976710656', 1, -1n, 1n << 48n, null]) {
      expect(() => epochOf(other)).toThrow(expect.objectContaining({ code: 'UNITS_EPOCH' }));
    }
    expect(() => nextEpoch(EPOCH_MAX)).toThrow(expect.objectContaining({ code: 'UNITS_EPOCH' }));
  });

  it('durations change their unit without losing anything', () => {
    fc.assert(
      fc.property(fc.nat(8_640_000), (ms) => {
        expect(millisFromNanos(nanosFromMillis(millisOf(ms)))).toBe(ms);
      }),
    );
  });
});

describe('errors', () => {
  it('carry code and fields, show no cause in JSON, and are known by their code', () => {
    const error = new KedgeError({ code: 'A_B', message: 'cannot', field: 'f', cause: new Error('secret') });
    expect(JSON.parse(JSON.stringify(error))).toEqual({ code: 'A_B', message: 'cannot', field: 'f' });
    expect(error.cause).toBeInstanceOf(Error);
    expect('expected' in error && error.expected !== undefined).toBe(false);
    expect(hasCode(error, 'A_B')).toBe(true);
    expect(hasCode(new Error('A_B'), 'A_B')).toBe(false);
  });
});

/**
 * The judge on traces made by hand: what was allowed when, and which spans are closed.
 * Must not need a lab.
 */
import type { Level } from '@kedge/units';
import { describe, expect, it } from 'vitest';

import type { BoardState } from './board-watch.js';
import { EXPECTED } from './expectations.js';
import { allowances, closedSpans } from './judge.js';
import { CLASS_NAMES } from './topology.js';

const GRACE = 51_000_000n;

interface Sketch {
  readonly at: number;
  readonly epoch: number;
  readonly level: Level;
  readonly decidedAt?: number;
  readonly storedAt: number;
  readonly stage?: number;
  readonly stageAt?: number;
  readonly acks: readonly { epoch: number; level: Level; finishedAt: number; live?: boolean }[];
}

/** Milliseconds to nanoseconds. */
const ns = (ms: number): bigint => BigInt(Math.round(ms * 1e6));

function state(sketch: Sketch): BoardState {
  return {
    atNs: ns(sketch.at),
    word: { epoch: BigInt(sketch.epoch), level: sketch.level, storedAtNs: ns(sketch.storedAt) },
    line: {
      epoch: BigInt(sketch.epoch),
      from: 5,
      to: sketch.level,
      stage: sketch.stage ?? 1,
      receivedAtNs: 0n,
      decidedAtNs: ns(sketch.decidedAt ?? sketch.storedAt),
      stageAtNs: ns(sketch.stageAt ?? sketch.storedAt),
    },
    failClosed: [],
    violations: 0n,
    participants: [],
    safeLevel: 0,
    workers: sketch.acks.map(({ epoch, level, finishedAt, live = true }) => ({
      live,
      generation: 1n,
      epoch: BigInt(epoch),
      level,
      startedAtNs: ns(finishedAt),
      finishedAtNs: ns(finishedAt),
    })),
    incarnations: { posture: 1n, warden: 1n, dataplane: 1n },
  };
}

const normal = state({
  at: 0,
  epoch: 1,
  level: 5,
  storedAt: -100,
  acks: [{ epoch: 1, level: 5, finishedAt: -99 }],
});

describe('what was allowed when', () => {
  it('a tightening binds from the acknowledgement of the last live worker', () => {
    const trace = [
      normal,
      state({
        at: 10.1,
        epoch: 2,
        level: 2,
        storedAt: 10,
        acks: [
          { epoch: 1, level: 5, finishedAt: -99 },
          { epoch: 1, level: 5, finishedAt: -99 },
        ],
      }),
      state({
        at: 10.3,
        epoch: 2,
        level: 2,
        storedAt: 10,
        acks: [
          { epoch: 2, level: 2, finishedAt: 10.2 },
          { epoch: 1, level: 5, finishedAt: -99 },
        ],
      }),
      state({
        at: 10.6,
        epoch: 2,
        level: 2,
        storedAt: 10,
        acks: [
          { epoch: 2, level: 2, finishedAt: 10.2 },
          { epoch: 2, level: 2, finishedAt: 10.5 },
        ],
      }),
    ];
    expect(allowances(trace, GRACE).at(-1)).toEqual({
      fromNs: ns(10.5),
      level: 2,
      because: 'acknowledged',
      epoch: 2n,
    });
  });

  it('a worker that is not live is not waited for', () => {
    const trace = [
      normal,
      state({
        at: 10.3,
        epoch: 2,
        level: 2,
        storedAt: 10,
        acks: [
          { epoch: 2, level: 2, finishedAt: 10.2 },
          { epoch: 1, level: 5, finishedAt: -99, live: false },
        ],
      }),
    ];
    expect(allowances(trace, GRACE).at(-1)?.fromNs).toBe(ns(10.2));
  });

  it('a tightening that nobody acknowledges in time binds from its deadline', () => {
    const late = [
      normal,
      state({
        at: 10.1,
        epoch: 2,
        level: 2,
        decidedAt: 9.9,
        storedAt: 10,
        acks: [{ epoch: 1, level: 5, finishedAt: -99 }],
      }),
      state({
        at: 90,
        epoch: 2,
        level: 2,
        decidedAt: 9.9,
        storedAt: 10,
        acks: [{ epoch: 2, level: 2, finishedAt: 89 }],
      }),
    ];
    expect(allowances(late, GRACE).at(-1)).toEqual({
      fromNs: ns(60.9),
      level: 2,
      because: 'deadline',
      epoch: 2n,
    });
  });

  it('an acknowledgement of the same epoch at a looser level does not count', () => {
    const trace = [
      normal,
      state({ at: 10.1, epoch: 1, level: 2, storedAt: 10, acks: [{ epoch: 1, level: 5, finishedAt: -99 }] }),
    ];
    expect(allowances(trace, GRACE).at(-1)).toMatchObject({ fromNs: ns(61), because: 'deadline' });
  });

  it('a loosening frees from the release of its stage, not from its decision', () => {
    const tight = state({
      at: 0,
      epoch: 5,
      level: 2,
      storedAt: -1,
      acks: [{ epoch: 5, level: 2, finishedAt: -1 }],
    });
    const loosened = state({
      at: 30,
      epoch: 6,
      level: 5,
      decidedAt: 10,
      stage: 5,
      stageAt: 29.8,
      storedAt: 29.9,
      acks: [{ epoch: 6, level: 5, finishedAt: 30 }],
    });
    expect(allowances([tight, loosened], GRACE).at(-1)).toEqual({
      fromNs: ns(29.8),
      level: 5,
      because: 'loosened',
      epoch: 6n,
    });
  });
});

describe('closed spans', () => {
  it('a class is closed from the level that drops it to the one that opens it, and neighbours are one span', () => {
    const spans = closedSpans(
      [
        { fromNs: 0n, level: 5, because: 'start', epoch: 1n },
        { fromNs: 10n, level: 2, because: 'acknowledged', epoch: 2n },
        { fromNs: 20n, level: 1, because: 'acknowledged', epoch: 3n },
        { fromNs: 30n, level: 2, because: 'loosened', epoch: 4n },
        { fromNs: 40n, level: 5, because: 'loosened', epoch: 5n },
      ],
      50n,
    );
    expect(spans.map(({ class: name, afterNs, beforeNs }) => [name, afterNs, beforeNs])).toEqual([
      ['critical', 20n, 30n],
      ['ordinary', 10n, 40n],
      ['unapproved', 10n, 40n],
    ]);
  });

  it('what is still closed at the end is closed up to then', () => {
    const spans = closedSpans([{ fromNs: 5n, level: 1, because: 'start', epoch: 1n }], 50n);
    expect(spans.map(({ class: name }) => name)).toEqual(['critical', 'ordinary', 'unapproved']);
    expect(spans.every(({ afterNs, beforeNs }) => afterNs === 5n && beforeNs === 50n)).toBe(true);
  });
});

describe('the table of expectations', () => {
  it('never lets a class through at a tighter level that a looser one holds back', () => {
    const tightness = { pass: 0, deprioritise: 1, drop: 2 };
    let compared = 0;
    for (const name of CLASS_NAMES) {
      for (const [looser, tighter] of [
        [5, 4],
        [4, 3],
        [3, 2],
        [2, 1],
      ] as const) {
        expect(tightness[EXPECTED[name][tighter]]).toBeGreaterThanOrEqual(tightness[EXPECTED[name][looser]]);
        compared += 1;
      }
    }
    expect(compared).toBe(16);
  });
});

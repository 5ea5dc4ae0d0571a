import { KedgeError } from '@kedge/units';
import { describe, expect, it } from 'vitest';

import type { LoopReason, RunOutcome } from './loop.js';
import { Reconciliation } from './reconciliation.js';

/** A clock that is turned by hand, with its timers. */
function handClock() {
  let now = 0;
  let next: { readonly at: number; readonly call: () => void } | undefined;
  const settle = async () => {
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };
  return {
    nowNs: () => BigInt(now) * 1_000_000n,
    timers: {
      after: (ms: number, call: () => void) => {
        const mine = { at: now + ms, call };
        next = mine;
        return () => {
          if (next === mine) next = undefined;
        };
      },
    },
    settle,
    async turn(ms: number) {
      const until = now + ms;
      while (next !== undefined && next.at <= until) {
        const { at, call } = next;
        now = at;
        next = undefined;
        call();
        await settle();
      }
      now = until;
    },
    armed: () => next !== undefined,
  };
}

function loopOf(run: (because: LoopReason, signal: AbortSignal) => Promise<RunOutcome>, everyMs = 1000) {
  const clock = handClock();
  const told: string[] = [];
  const loop = new Reconciliation({
    run,
    ...clock,
    everyMs,
    backoff: { firstMs: 10, mostMs: 40 },
    onStatus: ({ state }) => {
      told.push(state);
      if (told.length % 3 === 0) throw new Error('a bad listener');
    },
  });
  loop.unblock();
  return { loop, clock, told };
}

describe('the loop at work', () => {
  it('PO-11 cannot be ended by what a run throws: it is tried again, and is well after the first good run', async () => {
    let left = 4;
    const reasons: LoopReason[] = [];
    const { loop, clock } = loopOf((because) => {
      reasons.push(because);
      left -= 1;
      if (left === 3) throw new Error('at once');
      if (left === 2) return Promise.reject(new KedgeError({ code: 'ROUTES_X', message: 'later' }));
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      if (left === 1) return Promise.reject('no error at all');
      return Promise.resolve({ outcome: 'applied', changes: 1 });
    });
    loop.want('start');
    await clock.settle();
    expect(loop.last).toMatchObject({
      outcome: 'failed',
      failure: { code: 'RECONCILE_RUN_FAILED', message: 'at once' },
    });
    await clock.turn(10);
    expect(loop.last).toMatchObject({ failure: { code: 'ROUTES_X', message: 'later' } });
    await clock.turn(20);
    expect(loop.last).toMatchObject({ failure: { message: 'no error at all' } });
    expect(loop.failures).toBe(3);
    await clock.turn(40);
    expect(loop.last).toMatchObject({ outcome: 'applied' });
    expect(loop.failures).toBe(0);
    await clock.turn(1000);
    expect(reasons).toEqual(['start', 'retry', 'retry', 'retry', 'interval']);
  });

  it('PO-10 gives the reason of a pre-emption to what runs, and runs again when that has ended', async () => {
    const signals: AbortSignal[] = [];
    let end: (() => void) | undefined;
    const { loop, clock } = loopOf(async (_because, signal) => {
      signals.push(signal);
      await new Promise<void>((resolve) => (end = resolve));
      return { outcome: signal.aborted ? 'cancelled' : 'applied', changes: 0 };
    });
    loop.want('posture');
    await clock.settle();
    const reason = new KedgeError({ code: 'RECONCILE_PREEMPTED', message: 'tighter' });
    loop.preempt('posture', reason);
    expect(signals[0]?.reason).toBe(reason);
    expect(signals).toHaveLength(1);
    end?.();
    await clock.settle();
    expect(signals).toHaveLength(2);
    expect(signals[1]?.aborted).toBe(false);
    end?.();
    await clock.settle();
    expect(loop.last).toMatchObject({ outcome: 'applied' });
  });

  it('closes by stopping what runs and waiting for it; nothing runs afterwards', async () => {
    let runs = 0;
    const { loop, clock } = loopOf(async (_because, signal) => {
      runs += 1;
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          resolve();
        });
      });
      return { outcome: 'cancelled', changes: 0 };
    });
    loop.want('start');
    await clock.settle();
    await loop.close();
    loop.want('request');
    loop.unblock();
    await clock.turn(10_000);
    expect(runs).toBe(1);
    expect(loop.status).toMatchObject({ state: 'inert', why: 'closed' });
    expect(clock.armed()).toBe(false);
  });
});

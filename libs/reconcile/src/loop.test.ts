import { type Nanos, nanosOf } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  backoffNs,
  LOOP_REASONS,
  type LoopEffect,
  type LoopEvent,
  loopOf,
  type LoopSettings,
  type LoopState,
  type RunOutcome,
  step,
} from './loop.js';

const ns = (value: number): Nanos => nanosOf(BigInt(value));
const settings: LoopSettings = { everyNs: ns(1000), backoffFirstNs: ns(10), backoffMostNs: ns(200) };

/** A loop that is told what happens, one event after the other. */
function loopIn(state = loopOf(settings, ns(0))) {
  const effects: LoopEffect[] = [];
  return {
    get state() {
      return state;
    },
    effects,
    tell(event: LoopEvent): LoopEffect[] {
      const result = step(state, event);
      if (result.kind === 'refused') return [];
      state = result.state;
      effects.push(...result.effects);
      return [...result.effects];
    },
  };
}
const good: RunOutcome = { outcome: 'unchanged', changes: 0 };
const bad: RunOutcome = { outcome: 'failed', changes: 0, failure: { code: 'A_B', message: 'no' } };

const reason = fc.constantFrom(...LOOP_REASONS);
const happening = fc.oneof(
  reason.map((because) => ({ kind: 'want' as const, because })),
  reason.map((because) => ({ kind: 'preempt' as const, because })),
  fc.constant({ kind: 'tick' as const }),
  fc.constant({ kind: 'block' as const, why: 'because' }),
  fc.constant({ kind: 'unblock' as const }),
  fc
    .tuple(fc.nat(2), fc.constantFrom<RunOutcome>(good, bad, { outcome: 'cancelled', changes: 1 }))
    .map(([back, result]) => ({ kind: 'ended' as const, back, result })),
);
const history = fc.array(fc.tuple(happening, fc.nat(300)), { maxLength: 60 });

/** Plays a history; every state on the way, with what was to be done. */
function played(
  events: readonly (readonly [
    (typeof history extends fc.Arbitrary<infer H> ? H : never)[number][0],
    number,
  ])[],
) {
  const loop = loopIn();
  let at = 0;
  const seen: { state: LoopState; effects: LoopEffect[]; event: LoopEvent; before: LoopState }[] = [];
  for (const [what, wait] of events) {
    at += wait;
    const event: LoopEvent =
      what.kind === 'ended'
        ? { kind: 'ended', run: loop.state.run - what.back, result: what.result, at: ns(at) }
        : { ...what, at: ns(at) };
    const before = loop.state;
    seen.push({ before, event, effects: loop.tell(event), state: loop.state });
  }
  return { seen, end: loop, at };
}

describe('the reconciliation loop', () => {
  it('PO-11 begins inert, runs when it may, rests, and runs again by itself', () => {
    const loop = loopIn();
    loop.tell({ kind: 'want', because: 'start', at: ns(1) });
    expect(loop.state.status).toEqual({ state: 'inert', why: 'not started', since: 0n });
    expect(loop.tell({ kind: 'unblock', at: ns(2) })).toEqual([{ do: 'start', run: 1, because: 'start' }]);
    expect(loop.state.status).toEqual({ state: 'running', since: 2n, because: 'start' });
    loop.tell({ kind: 'ended', run: 1, result: { outcome: 'applied', changes: 3 }, at: ns(5) });
    expect(loop.state.status).toEqual({ state: 'idle', next: 1005n, nextBecause: 'interval' });
    expect(loop.state.last).toEqual({
      outcome: 'applied',
      changes: 3,
      because: 'start',
      startedAt: 2n,
      finishedAt: 5n,
    });
    expect(loop.tell({ kind: 'tick', at: ns(1004) })).toEqual([]);
    expect(loop.tell({ kind: 'tick', at: ns(1005) })).toEqual([{ do: 'start', run: 2, because: 'interval' }]);
  });

  it('PO-11 however often it is asked while it runs, one more run follows, for the most urgent reason', () => {
    fc.assert(
      fc.property(fc.array(reason, { minLength: 1 }), (reasons) => {
        const loop = loopIn();
        loop.tell({ kind: 'unblock', at: ns(0) });
        loop.tell({ kind: 'want', because: 'request', at: ns(0) });
        for (const because of reasons) loop.tell({ kind: 'want', because, at: ns(1) });
        const urgent = LOOP_REASONS.find((each) => reasons.includes(each));
        expect(loop.tell({ kind: 'ended', run: 1, result: good, at: ns(2) })).toEqual([
          { do: 'start', run: 2, because: urgent },
        ]);
        expect(loop.state.coalesced).toBe(BigInt(reasons.length - 1));
        loop.tell({ kind: 'ended', run: 2, result: good, at: ns(3) });
        expect(loop.state.status.state).toBe('idle');
      }),
    );
  });

  it('PO-10 what is pre-empted is told to stop once, and the next run waits until it has', () => {
    const loop = loopIn();
    loop.tell({ kind: 'unblock', at: ns(0) });
    loop.tell({ kind: 'want', because: 'posture', at: ns(0) });
    expect(loop.tell({ kind: 'preempt', because: 'posture', at: ns(1) })).toEqual([{ do: 'abort', run: 1 }]);
    expect(loop.tell({ kind: 'preempt', because: 'posture', at: ns(2) })).toEqual([]);
    loop.tell({ kind: 'block', why: 'the data plane tightens first', at: ns(2) });
    loop.tell({ kind: 'ended', run: 1, result: { outcome: 'cancelled', changes: 0 }, at: ns(3) });
    expect(loop.state.status).toEqual({ state: 'inert', why: 'the data plane tightens first', since: 3n });
    expect(loop.tell({ kind: 'unblock', at: ns(4) })).toEqual([{ do: 'start', run: 2, because: 'posture' }]);
  });

  it('waits longer after each failure, never longer than the most, and not at all after a good run', () => {
    const loop = loopIn();
    loop.tell({ kind: 'unblock', at: ns(0) });
    loop.tell({ kind: 'want', because: 'start', at: ns(0) });
    const waits: bigint[] = [];
    let at = 0n;
    for (let run = 1; run <= 8; run++) {
      loop.tell({ kind: 'ended', run, result: bad, at: nanosOf(at) });
      const { status } = loop.state;
      if (status.state !== 'idle' || status.next === undefined) throw new Error('expected a rest');
      expect(status.nextBecause).toBe('retry');
      waits.push(status.next - at);
      at = status.next;
      loop.tell({ kind: 'tick', at: nanosOf(at) });
    }
    expect(waits).toEqual([10n, 20n, 40n, 80n, 160n, 200n, 200n, 200n]);
    loop.tell({ kind: 'ended', run: 9, result: good, at: nanosOf(at) });
    expect(loop.state.failures).toBe(0);
    fc.assert(
      fc.property(fc.nat(1_000_000), (failures) => {
        expect(backoffNs(settings, failures)).toBeLessThanOrEqual(settings.backoffMostNs);
      }),
    );
  });

  it('whatever happens: one run at a time, each told to stop at most once, and nothing starts that is blocked', () => {
    fc.assert(
      fc.property(history, (events) => {
        let running: number | undefined;
        let blocked = true;
        const aborts = new Set<number>();
        for (const { event, effects, state, before } of played(events).seen) {
          if (event.kind === 'block') blocked = true;
          if (event.kind === 'unblock') blocked = false;
          if (event.kind === 'ended' && before.status.state === 'running' && event.run === running)
            running = undefined;
          for (const effect of effects) {
            if (effect.do === 'start') {
              expect(running).toBeUndefined();
              expect(blocked).toBe(false);
              expect(effect.run).toBe(before.run + 1);
              running = effect.run;
            } else {
              expect(effect.run).toBe(running);
              expect(aborts.has(effect.run)).toBe(false);
              aborts.add(effect.run);
            }
          }
          expect(state.status.state === 'running').toBe(running !== undefined);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('whatever happened: it is never dead, a run that is wanted comes as soon as it may', () => {
    fc.assert(
      fc.property(history, (events) => {
        const { end, at } = played(events);
        end.tell({ kind: 'want', because: 'request', at: ns(at) });
        end.tell({ kind: 'unblock', at: ns(at) });
        if (end.state.pending !== undefined)
          end.tell({ kind: 'ended', run: end.state.run, result: bad, at: ns(at) });
        expect(end.state.status.state).toBe('running');
        const { run } = end.state;
        end.tell({ kind: 'ended', run, result: bad, at: ns(at) });
        // It failed, and is tried again by itself.
        end.tell({ kind: 'tick', at: ns(at + 200) });
        expect(end.state.run).toBe(run + 1);
      }),
      { numRuns: 500 },
    );
  });
});

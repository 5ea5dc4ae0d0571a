/**
 * Any sequence of events: what has to hold after each of them, and that storage alone brings back what was.
 */
import { canonicalText } from '@kedge/reconcile';
import { LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type DatastoresEvent, headsOf, isSameHolder } from '../src/index.js';
import { ADA, AROUND, at, BEN, Driven, EPOCH, MODULES, opened, sha256 } from './material.js';

/** Mostly such at which something can happen. */
const level = fc.constantFrom(...LEVELS, 5, 4, 3, 5, 4, 3 as const);
const who = fc.constantFrom(ADA, BEN);
const texts = fc.constantFrom(
  '{}',
  ...[1, 2, 3, 4, 5].map((n) => JSON.stringify({ 'site:name': 'x'.repeat(n * 700) })),
);
const seconds = fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined });
const number = fc.integer({ min: 1, max: 40 });

/** What happens, with how many seconds pass before it. */
const happening = fc.record({
  after: fc.integer({ min: 0, max: 12 }),
  by: who,
  what: fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('load' as const), text: texts }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('discard' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('lock' as const), comment: fc.constant('') }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('unlock' as const), force: fc.boolean() }) },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('commit' as const),
        comment: fc.constant(''),
        confirmSeconds: seconds,
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('rollback' as const),
        comment: fc.constant(''),
        to: number,
        confirmSeconds: seconds,
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('confirm' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('level' as const), level, epoch: fc.constant(EPOCH) }),
    },
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant('answer' as const),
        which: fc.nat(7),
        isAccepted: fc.nat(3).map((n) => n > 0),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('restart' as const), level }),
    },
  ),
});

/** What has to hold whatever happened. */
function expectSound(driven: Driven): void {
  const state = driven.open;
  if (state.phase === 'failed') throw new Error('nothing has failed');
  const { running, startup, intended, candidate, history, keeping } = { ...state, keeping: driven.keeping };
  expect(history.at(-1)).toEqual(running.revision);
  expect(startup.revision.number === running.revision.number).toBe(state.phase === 'settled');
  for (const held of [running, startup, ...(intended === undefined ? [] : [intended])]) {
    expect(sha256(held.text)).toBe(held.revision.hash);
    expect(history.some(({ number }) => number === held.revision.number)).toBe(true);
  }
  expect(sha256(candidate.text)).toBe(candidate.hash);
  const protectedOnes = new Set([running, startup, intended].map((held) => held?.revision.number)).size;
  expect(history.length).toBeLessThanOrEqual(Math.max(AROUND.history.revisions, protectedOnes));
  // Storage has what memory has, neither more nor less.
  const kept = keeping.kept();
  const { step: _, ...heads } = kept.heads;
  expect(canonicalText(heads)).toBe(canonicalText(headsOf(state)));
  expect(kept.revisions).toEqual(history);
  expect(kept.heads.step).toBe(state.step);
}

describe('datastores, whatever happens', () => {
  it('UN-4 UN-14 stay sound, keep what they say, and come back from storage as they were', () => {
    let [commits, backs, waits, restarts, drops] = [0, 0, 0, 0, 0];
    fc.assert(
      fc.property(fc.array(happening, { minLength: 1, maxLength: 150, size: 'max' }), (all) => {
        let driven = opened();
        let now = 0;
        for (const { after, by, what } of all) {
          now += after;
          const before = driven.open;
          const moment = at(now);
          const id = driven.id();
          const isDue = before.phase === 'confirming' && moment.ns >= before.deadline;
          switch (what.kind) {
            case 'answer': {
              const check = before.checks[what.which % Math.max(before.checks.length, 1)];
              if (check === undefined) continue;
              const findings = what.isAccepted ? [] : [{ path: '/x', message: 'no' }];
              driven.take({ kind: 'validated', at: moment, id: check.id, findings, complete: true });
              break;
            }
            case 'restart':
              driven = opened(driven.keeping, what.level, now);
              restarts += 1;
              break;
            case 'rollback': {
              const hash = before.history.find(({ number: each }) => each === what.to)?.hash ?? '';
              driven.take({
                ...what,
                at: moment,
                id,
                by,
                text: driven.keeping.documents.get(hash),
              } as DatastoresEvent);
              break;
            }
            default:
              driven.take({ ...what, at: moment, id, by } as DatastoresEvent);
          }
          expectSound(driven);
          const state = driven.open;
          const isMoved = state.running.revision.number !== before.running.revision.number;
          const { cause } = state.running.revision;
          if (isMoved) {
            // Nothing is compiled at 2 and 1, by nobody: neither before the event nor after it.
            expect(state.level).toBeGreaterThan(2);
            // A lock keeps everybody else from it; the end of a time is nobody's doing.
            const { by: hand } = state.running.revision;
            const isForced = what.kind === 'unlock' && what.force;
            if (before.lock !== null && hand !== null && !isForced)
              expect(isSameHolder(before.lock.by, hand)).toBe(true);
            if (cause === 'expired' || cause === 'restarted') backs += 1;
            else commits += 1;
          }
          if (state.phase === 'waiting') {
            expect(state.level).toBeLessThanOrEqual(2);
            waits += 1;
          }
          // Nobody confirms what is over.
          if (isDue && what.kind !== 'restart') expect(state.phase).not.toBe('confirming');
          if (before.history[0]?.number === 1 && state.history[0]?.number !== 1) drops += 1;
        }
        // At the end everything is read once more, by a process that knows nothing.
        const again = opened(driven.keeping, 1, now + 1, MODULES);
        expect(again.open.running.revision).toEqual(driven.open.running.revision);
      }),
      { numRuns: 120 },
    );
    // The sequences went where it matters.
    for (const count of [commits, backs, waits, restarts, drops]) expect(count).toBeGreaterThanOrEqual(10);
  }, 60_000);
});

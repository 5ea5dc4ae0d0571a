import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import * as posture from '../../src/index.js';
import { type Mutant, withMutant } from './mutant.js';
import { Contradiction } from './reference-model.js';
import { type Judged, play, story } from './world.js';

/** How many short stories may be told before a broken machine has to be noticed. */
const STORIES = 1_000;

/** What the model says about the code; undefined = nothing is wrong. */
function firstContradiction(code: Judged, seed: number): string | undefined {
  const { counterexample, errorInstance } = fc.check(
    fc.property(story(0, 120), (each) => {
      play(code, each);
    }),
    { seed, numRuns: STORIES, endOnFailure: true },
  );
  if (counterexample === null) return undefined;
  // Anything but a contradiction would be a fault of the test.
  expect(errorInstance).toBeInstanceOf(Contradiction);
  return (errorInstance as Contradiction).message;
}

const MUTANTS: readonly (Mutant & { readonly title: string; readonly says: RegExp })[] = [
  {
    title: 'PO-7 a planted bug in the order: a loosening is released before it is durable',
    file: 'transition-machine.ts',
    find: 'if (!transition.durable || !state.wardenFresh) return moved(state);',
    replace: 'if (!state.wardenFresh) return moved(state);',
    says: /before the decision was durable/,
  },
  {
    title: 'PO-7 a planted bug in the order: sessions do not wait for the paths',
    file: 'transition-machine.ts',
    find: "if (!state.wardenFresh || !settled(state, 'path')) return moved(state);",
    replace: 'if (!state.wardenFresh) return moved(state);',
    says: /sessions released before/,
  },
  {
    title: 'PO-10 a planted bug in pre-emption: the new target instead of the stricter of both',
    file: 'transition-machine.ts',
    find: 'const to = tighterOf(stored, request.level);',
    replace: 'const to = request.level;',
    says: /was stored where|took the word from/,
  },
  {
    title: 'PO-10 a planted bug in pre-emption: what waited survives a tighter request',
    file: 'transition-machine.ts',
    find: 'waiting: isLooser(request.level, to) ? [{ request: followUpOf(request), authorised: false }] : [],',
    replace: 'waiting: state.waiting,',
    says: /does not wait|still waits|nobody asked for|it is not at/,
  },
  {
    title: 'PO-4 a planted bug in precedence: a turn that comes is not held by a higher authority',
    file: 'transition-machine.ts',
    find: `    (request.accord === undefined
      ? holdAgainst(state.holds, request.source.channel, request.level)
      : undefined) ?? loosenObstacle(state);`,
    replace: '    loosenObstacle(state);',
    says: /over a higher authority/,
  },
  {
    title: 'PO-17 a planted bug in recovery: the target of an open decision instead of the stricter level',
    file: 'recovery.ts',
    find: 'completed ? decision.to : tighterOf(decision.from, decision.to);',
    replace: 'decision.to;',
    says: /./,
  },
  {
    title: 'PO-17 a planted bug in recovery: epochs go on from the last one that was journaled',
    file: 'recovery.ts',
    find: 'laterOf(journal?.reservedUpTo ?? EPOCH_NONE, word?.epoch ?? EPOCH_NONE)',
    replace: 'laterOf(journaled?.epoch ?? EPOCH_NONE, word?.epoch ?? EPOCH_NONE)',
    says: /issued twice|goes back/,
  },
  {
    title: 'PO-17 a planted bug in recovery: the journal is believed where the word is newer',
    file: 'recovery.ts',
    find: 'word !== undefined && word.epoch > (journaled?.epoch ?? EPOCH_NONE) ? word : undefined;',
    replace: 'word !== undefined && journaled === undefined ? word : undefined;',
    says: /./,
  },
  {
    title: 'PO-17 a planted bug in recovery: who asked for a word that no journal knows holds nothing',
    file: 'recovery.ts',
    find: '    holds = holdsOfUnknown(holds, newer.level);',
    replace: '',
    says: /a restart forgot it|held:/,
  },
  {
    title:
      'PO-4 a planted bug in durability: who stands behind a hold is answered before its record is durable',
    file: 'transition-machine.ts',
    find: 'const behind = keeps ? request.id :',
    replace: 'const behind =',
    says: /a restart forgot it/,
  },
];

describe('the machine beside a plain model of it', () => {
  it('PO-10 whatever happens in whatever order: never looser than the model, no epoch twice, it converges', () => {
    const seen = { orders: 0, crashes: 0, promised: 0 };
    fc.assert(
      fc.property(story(0, 120), (each) => {
        const { orders, crashes, promised } = play(posture, each);
        seen.orders += orders;
        seen.crashes += crashes;
        seen.promised += promised.length;
      }),
      { numRuns: STORIES },
    );
    // It would be no test if nothing happened in it.
    expect(seen.orders).toBeGreaterThan(STORIES);
    expect(seen.crashes).toBeGreaterThan(STORIES / 10);
    expect(seen.promised).toBeGreaterThan(STORIES);
  });

  it('PO-4 1,000 conflicting orders from all sources at once end where the model says', () => {
    fc.assert(
      fc.property(story(3_600, 3_600), (each) => {
        expect(play(posture, each).orders).toBeGreaterThanOrEqual(1_000);
      }),
      // A story that fails is as long to make shorter as all of them are to tell.
      { numRuns: 12, endOnFailure: true },
    );
  });
});

describe('the model notices', () => {
  for (const { title, says, ...mutant } of MUTANTS) {
    it(title, async () => {
      await withMutant(mutant, (code) => {
        expect(firstContradiction(code, 1)).toMatch(says);
      });
    });
  }
});

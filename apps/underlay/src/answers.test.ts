/**
 * Answers that are remembered, within their bounds.
 * It must not know devices.
 */
import { describe, expect, it } from 'vitest';

import { Answers } from './answers.js';

interface Weighty {
  readonly round: number;
  readonly weight: number;
}

/** Answers of which the lighter half is kept where there is too much; `rounds` of work are counted by id. */
function remembering(bounds: { count: number; weight: number }) {
  const rounds = new Map<string, number>();
  const answers = new Answers<Weighty>({
    bounds,
    isFinal: () => true,
    weightOf: ({ weight }) => weight,
    lighter: (answer) => ({ ...answer, weight: answer.weight / 2 }),
  });
  return async (id: string, weight: number): Promise<Weighty> =>
    answers.of(id, 'content', new AbortController().signal, () => {
      rounds.set(id, (rounds.get(id) ?? 0) + 1);
      return Promise.resolve({ round: rounds.get(id) ?? 0, weight });
    });
}

describe('answers that are remembered', () => {
  it('UN-13 get lighter where they weigh too much together, the oldest first, and are answers still', async () => {
    const ask = remembering({ count: 10, weight: 100 });
    await ask('a', 60);
    await ask('b', 60);
    expect(await ask('a', 60)).toEqual({ round: 1, weight: 30 });
    expect(await ask('b', 60)).toEqual({ round: 1, weight: 60 });
  });

  it('UN-13 are forgotten, the oldest first, where they weigh too much at their lightest', async () => {
    const ask = remembering({ count: 10, weight: 100 });
    for (const id of ['a', 'b', 'c', 'd']) await ask(id, 60);
    // Three at 30; the fourth was one too many.
    expect(await ask('d', 60)).toEqual({ round: 1, weight: 30 });
    expect(await ask('b', 60)).toEqual({ round: 1, weight: 30 });
    expect(await ask('a', 60)).toMatchObject({ round: 2 });
  });

  it('UN-13 are forgotten, the oldest first, where there are too many', async () => {
    const ask = remembering({ count: 2, weight: 100 });
    for (const id of ['a', 'b', 'c']) await ask(id, 1);
    expect(await ask('b', 1)).toMatchObject({ round: 1 });
    expect(await ask('a', 1)).toMatchObject({ round: 2 });
  });

  it('is not remembered where it alone weighs too much', async () => {
    const ask = remembering({ count: 2, weight: 100 });
    expect(await ask('a', 300)).toEqual({ round: 1, weight: 300 });
    expect(await ask('a', 1)).toMatchObject({ round: 2 });
  });
});

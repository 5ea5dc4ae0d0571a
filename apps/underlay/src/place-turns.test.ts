import { describe, expect, it } from 'vitest';

import { MOST_WAITING, PlaceTurns } from './place-turns.js';

const never = (): AbortSignal => new AbortController().signal;

/** Work that ends when it is told to. */
function work(name: string, log: string[]) {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return {
    end,
    run: async (): Promise<string> => {
      log.push(name);
      await ended;
      return name;
    },
  };
}
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('turns', () => {
  it('UN-12 one thing at a time at one place, in the order of asking; a place that hangs holds up no other', async () => {
    const turns = new PlaceTurns();
    const log: string[] = [];
    const [hangs, next, last, other] = [
      work('hangs', log),
      work('next', log),
      work('last', log),
      work('other', log),
    ];
    const all = [hangs, next, last].map(({ run }) => turns.take('sw1', never(), run));
    const away = turns.take('sw2', never(), other.run);
    await settled();
    expect(log).toEqual(['hangs', 'other']);
    other.end();
    expect(await away).toBe('other');
    expect(turns.count).toBe(3);
    hangs.end();
    await settled();
    expect(log).toEqual(['hangs', 'other', 'next']);
    next.end();
    last.end();
    expect(await Promise.all(all)).toEqual(['hangs', 'next', 'last']);
    expect(turns.count).toBe(0);
  });

  it('whoever leaves while waiting is passed over, a failure passes the turn on, and the queue is bounded', async () => {
    const turns = new PlaceTurns();
    const log: string[] = [];
    const first = work('first', log);
    const failing = turns.take('sw1', never(), async () => {
      await first.run();
      throw new Error('broken');
    });
    const leaving = new AbortController();
    const left = turns.take('sw1', leaving.signal, () => Promise.resolve('left'));
    const waiting = Array.from({ length: MOST_WAITING - 1 }, (_, index) =>
      turns.take('sw1', never(), () => Promise.resolve(index)),
    );
    await expect(turns.take('sw1', never(), () => Promise.resolve())).rejects.toMatchObject({
      code: 'UNDERLAY_BUSY',
    });
    leaving.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    first.end();
    await expect(failing).rejects.toThrow('broken');
    expect(await Promise.all(waiting)).toEqual(waiting.map((_, index) => index));
    expect(turns.count).toBe(0);
  });
});

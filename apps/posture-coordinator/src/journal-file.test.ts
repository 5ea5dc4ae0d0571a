import type { Channel } from '@kedge/contracts';
import type { JournalRecord } from '@kedge/posture';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { fairlyKept } from './journal-file.js';

const record = (channel: Channel, sequence: number) =>
  ({ channel, tier: 'master', sequence: BigInt(sequence) }) as JournalRecord;

describe('keys that are carried into a new file', () => {
  it('PO-5 a flood of one way in does not put out the keys of another', () => {
    const flood = Array.from({ length: 500 }, (_, index) => record('local', 10 + index));
    const kept = fairlyKept([record('console', 1), record('fleet', 2), ...flood], 64);
    expect(kept).toHaveLength(64);
    expect(kept.slice(0, 2).map(({ channel }) => channel)).toEqual(['console', 'fleet']);
    expect(kept.at(-1)?.sequence).toBe(509n);
  });

  it('PO-5 what is kept is in its order, and as much as there is room for', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom<Channel>('console', 'local', 'fleet')),
        fc.nat(20),
        (channels, most) => {
          const records = channels.map((channel, index) => record(channel, index));
          const kept = fairlyKept(records, most);
          expect(kept).toHaveLength(Math.min(most, records.length));
          expect(kept).toEqual(records.filter((each) => kept.includes(each)));
        },
      ),
    );
  });
});

import { createHash } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { canonicalJson } from './canonical-json.js';
import { encodeRecord, MAX_RECORD_BYTES } from './canonical.js';
import { type ForensicItem, forensicRecords, mutationRecords, type RecordedStep } from './parts.js';

const facts = {
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '7',
  mutation: 'mutation-7',
  principal: 'user:ada',
  tier: 'master',
  channel: 'local',
  kind: 'ordinary',
  level: 2,
  target: 'routes/overlay',
  planId: 'routes/overlay/7',
  base: 'ab'.repeat(32),
  result: 'applied',
  failure: null,
  startedAtNs: '1',
  finishedAtNs: '2',
} as const;

const stepOf = (number: number, text = 'via 10.7.0.2 dev mesh0 onlink'): RecordedStep => ({
  step: `route 254 10.${number >> 8}.${number & 255}.0/24 107`,
  kind: 'remove',
  path: `/kedge-routes:routes/route[table='254'][destination='10.${number}.0.0/24'][metric='107']`,
  before: text,
  after: null,
  done: true,
});

const sha256 = (value: unknown): string => createHash('sha256').update(canonicalJson(value)).digest('hex');

describe('a long mutation', () => {
  it('LE-1 of any steps is as many records as it takes, each whole, in order and provable as one', () => {
    const text = fc
      .string({ unit: 'binary', maxLength: 400, size: 'max' })
      .filter((each) => !/\p{Cs}/u.test(each));
    fc.assert(
      fc.property(fc.array(text, { maxLength: 700, size: 'max' }), (texts) => {
        const steps = texts.map((each, number) => stepOf(number, each));
        const records = [...mutationRecords('network-mutation/box/7', facts, steps)].filter(
          (record) => record !== undefined,
        );
        for (const [index, record] of records.entries()) {
          expect(encodeRecord(record).bytes.length).toBeLessThanOrEqual(MAX_RECORD_BYTES);
          expect(record).toMatchObject({
            id: `network-mutation/box/7/${index + 1}`,
            part: index + 1,
            parts: records.length,
            stepsSha256: sha256(steps),
          });
        }
        expect(records.flatMap((record) => record.steps)).toEqual(steps);
        expect(records.length).toBeGreaterThanOrEqual(1);
      }),
      // Nothing is made smaller: that would take longer than anybody waits, and one record tells enough.
      { numRuns: 20, endOnFailure: true },
    );
  });

  it('gives everybody else their turn: no more than 256 steps are looked at between two pauses', () => {
    let looked = 0;
    let most = 0;
    function* steps(): Generator<RecordedStep> {
      for (let number = 0; number < 10_000; number++) {
        looked += 1;
        yield stepOf(number);
      }
    }
    let records = 0;
    for (const record of mutationRecords('network-mutation/box/7', facts, steps())) {
      most = Math.max(most, looked);
      looked = 0;
      if (record !== undefined) records += 1;
    }
    expect(most).toBe(256);
    expect(records).toBeGreaterThanOrEqual(40);
    expect(records).toBeLessThan(60);
  });

  it('tells a value that no record can hold by its hash', () => {
    const long = 'x'.repeat(100_000);
    const [record] = [...mutationRecords('network-mutation/box/7', facts, [stepOf(1, long)])];
    expect(record?.steps[0]).toMatchObject({ before: { sha256: sha256(long) }, after: null });
    expect(encodeRecord(record).bytes.length).toBeLessThan(2_000);
  });
});

describe('a section of a forensic snapshot', () => {
  const part = {
    appliance: 'box',
    at: '2026-11-22T18:00:00.000Z',
    epoch: '7',
    snapshot: 'forensic-snapshot/box/7',
    section: 'routes',
    source: 'overlay',
    takenAtNs: '7',
    reason: '',
  } as const;
  const itemOf = (number: number): ForensicItem => ({ name: `route ${number}`, state: 'route', facts: null });

  it('LE-8 is as many records as its items take, and one that says so where there are none', () => {
    const items = Array.from({ length: 9_000 }, (_, number) => itemOf(number));
    const records = [...forensicRecords('forensic-part/box/7', part, items)].filter(
      (record) => record !== undefined,
    );
    for (const [index, record] of records.entries()) {
      expect(encodeRecord(record).record).toMatchObject({ part: index + 1, parts: records.length });
      expect(record.items.length).toBeLessThanOrEqual(4_096);
    }
    expect(records.flatMap((record) => record.items)).toEqual(items);
    const none = [...forensicRecords('forensic-part/box/7', part, [])];
    expect(none).toMatchObject([{ part: 1, parts: 1, items: [] }]);
    expect(encodeRecord(none[0]).record).toEqual(none[0]);
  });
});

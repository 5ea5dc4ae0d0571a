/**
 * The forms of records take nothing that the schema refuses, and all that there is much of.
 * Must not look at what is together in a log.
 */
import type { LedgerRecord } from '@kedge/contracts';
import { canonicalJson, pseudonymised } from '@kedge/ledger';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { hashId } from '../src/id-hash.js';
import { IdTable } from '../src/id-table.js';
import { FormReader } from '../src/record-form.js';
import {
  decisionOf,
  entryOf,
  head,
  mutationOf,
  snapshotOf,
  transitionOf,
  transitOf,
} from './sample-ledger.js';

const reader = new FormReader();
const isTaken = (entry: Buffer): boolean => reader.recognised(entry, 0, entry.length) !== undefined;
const isRecord = (entry: Buffer): boolean => {
  try {
    pseudonymised(entry);
    return true;
  } catch {
    return false;
  }
};

const report = {
  ...{ path: 'dataplane', budgetNs: '1000000', startNs: '2', endNs: '9', outcome: 'applied' },
  participants: [
    { name: 'reference/0', startedAtNs: '3', finishedAtNs: '8', outcome: 'applied', level: 2, changes: 40 },
  ],
};
const frames = { headers: ['00ff', '0a'], omitted: '0', payloadSha256: 'ab'.repeat(32) };

const RECORDS: Readonly<Record<string, object>> = {
  decision: decisionOf(1),
  'decision about nobody': { ...decisionOf(2), principal: '' },
  transit: transitOf(3),
  'transit with frames': transitOf(4, { frames, tier: null, reason: 'cut' }),
  transition: { ...transitionOf(5, 5), paths: [report, { ...report, path: 'overlay' }] },
  mutation: mutationOf(6, 1)[0] ?? {},
  'mutation that failed': {
    ...mutationOf(7, 1)[0],
    failure: { code: 'SNMP_TIMEOUT', message: 'no answer' },
  },
  violation: {
    ...{ schema: 'kedge.budget-violation/1', ...head('violation', 8), kind: 'budget', path: null },
    ...{ subject: 'overlay', seenAtNs: '5', deadlineNs: '4', actedAtNs: '6', level: 2, outcome: -1 },
  },
  event: {
    ...{ schema: 'kedge.dataplane-event/1', ...head('event', 9), dataplane: 'reference', worker: 15 },
    ...{ kind: 'posture', oldLevel: null, newLevel: 2, value: '3', seenAtNs: '4', toldAtNs: '5' },
    ...{ droppedByPair: '9', droppedByEntry: '0', gap: '1' },
  },
  drift: {
    ...{ schema: 'kedge.drift-event/1', ...head('drift', 10), device: 'sw1', kind: 'changed', path: '/a/b' },
    ...{ intended: { a: [1, -2, null, true], 'a-b': {}, ab: 'x', b: { c: [[]] } }, actual: 'up' },
    ...{ severity: 'major', cause: 'unknown', remediation: 'none', level: 4, sinceNs: '1', seenAtNs: '2' },
  },
  'intent that was changed': {
    ...{ schema: 'kedge.intent-change/1', ...head('intent', 12), kind: 'rollback', request: null },
    ...{ principal: '', tier: 'master', channel: 'local', level: 5, revision: 7, was: 6, of: 3 },
    ...{ revisionId: 'ab'.repeat(32), documentSha256: 'cd'.repeat(32), confirmSeconds: 600, comment: '' },
    ...{ failure: null, happenedAtNs: '7' },
  },
  'intent that was not changed': {
    ...{ schema: 'kedge.intent-change/1', ...head('intent', 13), kind: 'refused', request: 'commit' },
    ...{ principal: '', tier: null, channel: null, level: 1, revision: null, was: null, of: null },
    ...{ revisionId: null, documentSha256: null, confirmSeconds: null, comment: '' },
    ...{ failure: { code: 'INTENT_FROZEN', message: 'frozen' }, happenedAtNs: '7' },
  },
};

/** What a wrong value of a field looks like, and a right one at its bounds; text as it stands in JSON. */
const VALUES = [
  ...['null', 'true', 'false', '0', '1', '5', '6', '15', '16', '100', '101', '-0', '-1', '01', '1.5', '1e3'],
  ...['65535', '65536', '4294967295', '4294967296', '-2147483648', '-2147483649', '2147483648'],
  ...['999999999999999', '9007199254740993', '[]', '{}', '[1,]', '[ ]', '{"a":1,"a":2}', '{"b":1,"a":2}'],
  ...['{"a":1,"b":2}', '{"":1,"a":2}', '{"a":1,"":2}', '[[[[[[[[]]]]]]]]', '[[[[[[[[[]]]]]]]]]'],
  ...['""', '"a"', '" "', '"a b"', '"0"', '"01"', '"00"', '"-1"', '"281474976710655"', '"281474976710656"'],
  ...['"18446744073709551615"', '"18446744073709551616"', '"9999999999999999999"', '"99999999999999"'],
  ...[63, 64, 65, 128, 129, 199, 200, 201, 512, 513].map((length) => `"${'x'.repeat(length)}"`),
  ...[63, 64, 65].map((length) => `"${'a'.repeat(length)}"`),
  ...['"\u00e4"', '"\u0085"', '"\\n"', '"\\u0041"', '"\\""', '"\u007f"', '"x/y"', '"-abcdefgh"', '"abcdefg"'],
  ...['"2026-02-28T23:59:59.999Z"', '"2026-02-29T00:00:00.000Z"', '"2024-02-29T00:00:00.000Z"'],
  ...['"2026-04-31T00:00:00.000Z"', '"2026-12-31T24:00:00.000Z"', '"2026-00-10T00:00:00.000Z"'],
  ...['"2026-10-00T00:00:00.000Z"', '"2026-10-10T00:60:00.000Z"', '"2026-10-10T00:00:60.000Z"'],
  ...['"2026-10-10T00:00:00.00Z"', '"2026-10-10 00:00:00.000Z"', '"2026-13-10T00:00:00.000Z"'],
  ...['running', 'completed', 'recovered', 'applied', 'cut', 'console', 'master', 'nobody'].map(
    (word) => `"${word}"`,
  ),
  ...['AAA=', 'AAB=', 'AA==', 'AB==', 'AAAA', 'AAAAA', 'A===', '', 'AA=', 'A-AA'].map(
    (data) => `{"sealed":{"data":"${data}","key":"0123456789abcdef"}}`,
  ),
  '{"sealed":{"data":"AAAA","key":"0123456789abcdeF"}}',
  '{"sealed":{"data":"AAAA","key":"0123456789abcde"}}',
  '{"sealed":{"data":"AAAA"}}',
];

/** Places of all values in a text of JSON, from the outermost. */
function valuesIn(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null
    ? [value, ...Object.values(value).flatMap(valuesIn)]
    : [value];
}

describe('the forms of records', () => {
  it('LE-2 take a record of each kind of which there are many, and leave the others to the schema', () => {
    for (const [name, record] of Object.entries(RECORDS)) expect(isTaken(entryOf(record)), name).toBe(true);
    const taken = new Set(
      Object.values(RECORDS).map((record) => reader.recognised(entryOf(record), 0, entryOf(record).length)),
    );
    expect(taken.size).toBe(reader.forms.length);
    for (const record of snapshotOf(11)) expect(isTaken(entryOf(record))).toBe(false);
  });

  it('LE-2 take nothing that the schema refuses, whatever stands in the place of a value', () => {
    let [visited, taken, refused] = [0, 0, 0];
    for (const record of Object.values(RECORDS)) {
      const text = entryOf(record).toString();
      for (const value of new Set(valuesIn(JSON.parse(text)).map((each) => canonicalJson(each)))) {
        for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) {
          for (const other of VALUES) {
            const entry = Buffer.from(text.slice(0, at) + other + text.slice(at + value.length));
            visited += 1;
            if (!isTaken(entry)) refused += 1;
            else {
              taken += 1;
              expect(isRecord(entry), entry.toString()).toBe(true);
            }
          }
        }
      }
    }
    expect(visited).toBeGreaterThan(20_000);
    expect(taken).toBeGreaterThan(500);
    expect(refused).toBeGreaterThan(10_000);
  }, 60_000);

  it('LE-2 take no bytes that were changed, cut, moved or doubled unless they are a record again', () => {
    const entries = Object.values(RECORDS).map(entryOf);
    fc.assert(
      fc.property(
        fc.constantFrom(...entries),
        fc.nat(),
        fc.nat(40),
        fc.uint8Array({ maxLength: 3 }),
        (entry, place, length, bytes) => {
          const at = place % entry.length;
          for (const other of [
            Buffer.concat([entry.subarray(0, at), bytes, entry.subarray(at + bytes.length)]),
            Buffer.concat([entry.subarray(0, at), entry.subarray(at + length)]),
            Buffer.concat([entry.subarray(0, at + length), entry.subarray(at)]),
          ])
            if (isTaken(other)) expect(isRecord(other), other.toString('latin1')).toBe(true);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('say where the members stand, also of one entry among others', () => {
    const bundle = Buffer.concat([entryOf(transitOf(12)), entryOf(transitOf(13)), entryOf(decisionOf(14))]);
    const from = entryOf(transitOf(12)).length;
    const to = from + entryOf(transitOf(13)).length;
    const form = reader.recognised(bundle, from, to);
    const at = form?.place('session') ?? -1;
    expect(form?.schema satisfies LedgerRecord['schema'] | undefined).toBe('kedge.session-transit/1');
    expect(bundle.toString('latin1', reader.places[at], reader.places[at + 1])).toBe(
      JSON.stringify(transitOf(13).session),
    );
    expect(reader.recognised(bundle, from, to + 1)).toBe(undefined);
    expect(reader.recognised(bundle, from, bundle.length)).toBe(undefined);
  });
});

describe('ids in a table', () => {
  it('are hashed as the authors of HalfSipHash print it', () => {
    // Key 00 to 07 and messages of so many bytes, from the reference's vectors.
    const printed = { 0: '218d1f59b9b83cc8', 1: 'be552412f8387315', 2: '064f39ef7c50eb57' };
    for (const [length, hash] of Object.entries(printed)) {
      const into = new Uint32Array(2);
      const message = Uint8Array.from({ length: Number(length) }, (_, at) => at);
      hashId(message, 0, message.length, [0x0302_0100, 0x0706_0504], into, 0);
      expect(Buffer.from(into.buffer).toString('hex')).toBe(hash);
    }
  });

  it('are found again behind others with the same hash, also after the table has grown', () => {
    const table = new IdTable();
    const ids = Array.from({ length: 10_000 }, (_, at) => `id-${at}`);
    const add = (at: number): number | undefined => {
      const id = ids[at % ids.length];
      // Every 16 ids have one hash.
      return table.add(7, Math.floor((at % ids.length) / 16), at, (place) => ids[place % ids.length] === id);
    };
    for (let at = 0; at < ids.length; at++) expect(add(at)).toBe(undefined);
    for (let at = 0; at < ids.length; at++) expect(add(at + ids.length)).toBe(at);
  });
});

/**
 * Journals as a coordinator leaves them, and every way in which they are damaged here.
 * It must not say what any of them means.
 */
import {
  encodeJournalRecord,
  JOURNAL_RECORD_BYTES,
  type JournalRecord,
  NOTHING_DECIDED,
} from '@kedge/posture';
import { EPOCH_NONE, type Epoch, type Level, LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { crc32 } from 'node:zlib';

const BASE: JournalRecord = {
  ...NOTHING_DECIDED,
  kind: 'reserve',
  sequence: 1n,
  reservedUpTo: 1n as Epoch,
  decidedAtNs: 5n,
  decidedAtWallMs: 6,
  bootId: new Uint8Array(16).fill(7),
};

/** One thing that a coordinator writes down. */
export type Entry =
  | { readonly is: 'reserve'; readonly more: number }
  | { readonly is: 'decide'; readonly to: Level; readonly skip: number }
  | { readonly is: 'complete' }
  | { readonly is: 'anew' };

/** The bytes of a journal with these entries, `spare` untouched records behind them; older ones do not say how long they are. */
export function journalOf(entries: readonly Entry[], spare = 3, saysLength = true): Uint8Array {
  let records: JournalRecord[] = [];
  let reserved = 0n;
  let epoch = 0n;
  let level: Level = 5;
  let last: { epoch: Epoch; from: Level; to: Level; completed: boolean } | undefined;
  let sequence = 100n;
  const add = (record: Partial<JournalRecord>): void => {
    sequence += 1n;
    records.push({ ...BASE, sequence, reservedUpTo: reserved as Epoch, ...record });
  };
  const reserve = (more: bigint): void => {
    reserved += more;
    add({ kind: 'reserve' });
  };
  reserve(4n);
  for (const entry of entries) {
    switch (entry.is) {
      case 'reserve':
        reserve(BigInt(entry.more));
        break;
      case 'decide':
        epoch += 1n + BigInt(entry.skip);
        if (epoch > reserved) reserve(epoch - reserved + 3n);
        last = { epoch: epoch as Epoch, from: level, to: entry.to, completed: false };
        level = entry.to;
        add({ kind: 'decision', epoch: last.epoch, from: last.from, to: last.to, requested: last.to });
        break;
      case 'complete':
        if (last === undefined) break;
        last = { ...last, completed: true };
        add({ kind: 'completed', epoch: last.epoch, from: last.from, to: last.to, requested: last.to });
        break;
      case 'anew': {
        const carried = records.filter(({ kind }) => kind === 'decision').slice(-2);
        records = [];
        for (const record of carried)
          add({ ...record, sequence: sequence + 1n, carried: true, reservedUpTo: reserved as Epoch });
        add({
          kind: 'checkpoint',
          epoch: last?.epoch ?? EPOCH_NONE,
          from: last?.from,
          to: last?.to,
          requested: last?.to,
          completed: last?.completed ?? false,
        });
        break;
      }
    }
  }
  const fileRecords = saysLength ? records.length + spare : 0;
  const bytes = new Uint8Array((records.length + spare) * JOURNAL_RECORD_BYTES);
  records.forEach((record, index) => {
    bytes.set(encodeJournalRecord({ ...record, fileRecords }), index * JOURNAL_RECORD_BYTES);
  });
  return bytes;
}

/** Anything that a coordinator may have written, in any order that its rules allow. */
export const entries: fc.Arbitrary<Entry[]> = fc.array(
  fc.oneof(
    fc.record({ is: fc.constant('reserve' as const), more: fc.integer({ min: 1, max: 50 }) }),
    {
      weight: 4,
      arbitrary: fc.record({
        is: fc.constant('decide' as const),
        to: fc.constantFrom(...LEVELS),
        skip: fc.integer({ min: 0, max: 3 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ is: fc.constant('complete' as const) }) },
    fc.record({ is: fc.constant('anew' as const) }),
  ),
  { maxLength: 9 },
);

/** Puts the checksums right again, so that a change reaches what lies behind them. */
export function sealed(journal: Uint8Array): Uint8Array {
  const bytes = journal.slice();
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + JOURNAL_RECORD_BYTES <= bytes.length; at += JOURNAL_RECORD_BYTES) {
    const record = bytes.subarray(at, at + JOURNAL_RECORD_BYTES - 4);
    if (record.some((byte) => byte !== 0)) view.setUint32(at + JOURNAL_RECORD_BYTES - 4, crc32(record), true);
  }
  return bytes;
}

function changed(journal: Uint8Array, at: number, to: (byte: number) => number): Uint8Array {
  const bytes = journal.slice();
  bytes[at] = to(bytes[at] ?? 0);
  return bytes;
}

/** The journal cut at every byte. */
export function* cuts(journal: Uint8Array): Generator<Uint8Array> {
  for (let length = 0; length <= journal.length; length += 1) yield journal.slice(0, length);
}

/** Every bit flipped alone, and every byte of every record set to values that may mean something. */
export function* flips(journal: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < journal.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) yield changed(journal, at, (byte) => byte ^ (1 << bit));
    for (const value of [0, 1, 2, 3, 4, 5, 6, 255]) yield sealed(changed(journal, at, () => value));
  }
}

/** Records left out, doubled, exchanged, wiped; alone and with whole checksums everywhere. */
export function* shuffles(journal: Uint8Array): Generator<Uint8Array> {
  const size = JOURNAL_RECORD_BYTES;
  const records = Array.from({ length: journal.length / size }, (_, index) =>
    journal.subarray(index * size, (index + 1) * size),
  );
  for (let one = 0; one < records.length; one += 1) {
    const record = records[one] ?? new Uint8Array(size);
    yield Buffer.concat(records.filter((_, index) => index !== one));
    yield Buffer.concat([...records.slice(0, one), record, ...records.slice(one)]);
    yield Buffer.concat(records.map((each, index) => (index === one ? new Uint8Array(size) : each)));
    for (let other = 0; other < one; other += 1) {
      yield Buffer.concat(
        records.map((each, index) =>
          index === one ? (records[other] ?? each) : index === other ? record : each,
        ),
      );
    }
  }
}

import { CHANNELS, TIERS } from '@kedge/contracts';
import {
  encodeJournalRecord,
  JOURNAL_KINDS,
  JOURNAL_RECORD_BYTES,
  NOTHING_DECIDED,
  type JournalRecord,
  decodeJournalRecord,
  recoverJournal,
} from '@kedge/posture';
import { EPOCH_NONE, type Epoch, LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const here = fileURLToPath(new URL('.', import.meta.url));
const include = fileURLToPath(new URL('../../shared-memory-ipc/include', import.meta.url));
let directory: string;
let program: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-journal-'));
  program = join(directory, 'journal-header');
  execFileSync('gcc', [
    ...[
      '-std=c11',
      '-Wall',
      '-Wextra',
      '-Werror',
      '-pedantic',
      '-O1',
      '-fsanitize=undefined,address',
      `-I${include}`,
    ],
    ...[join(here, 'journal-header.c'), '-o', program],
  ]);
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** What boot makes of these bytes. */
function bootReads(bytes: Uint8Array): unknown {
  const path = join(directory, 'journal');
  writeFileSync(path, bytes);
  return JSON.parse(execFileSync(program, ['read', path], { encoding: 'utf8' }));
}

function codecReads(bytes: Uint8Array): unknown {
  const { damage, last, reservedUpTo, tail } = recoverJournal(bytes);
  return {
    damaged: damage !== undefined,
    decided: last !== undefined,
    completed: last?.completed ?? false,
    // Behind damage only the codec looks, to issue no epoch twice.
    ...(damage === undefined ? { reservedUpTo: reservedUpTo.toString() } : {}),
    tail,
    epoch: (last?.epoch ?? EPOCH_NONE).toString(),
    from: last?.from ?? 0,
    to: last?.to ?? 0,
  };
}

function comparable(read: unknown): unknown {
  const { reservedUpTo, ...rest } = read as { damaged: boolean; reservedUpTo: string };
  return rest.damaged ? rest : { ...rest, reservedUpTo };
}

const level = fc.constantFrom(...LEVELS);
const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const keyed = fc.option(fc.tuple(bytesOf(16), bytesOf(8)), { nil: undefined });

/** Journals as the coordinator writes them: reservations, decisions that rise, completions, checkpoints. */
const journal = fc
  .array(
    fc.record({
      kind: fc.constantFrom(...(['reserve', 'decision', 'decision', 'completed', 'checkpoint'] as const)),
      rise: fc.bigInt({ min: 1n, max: 5n }),
      from: level,
      to: level,
      requested: level,
      channel: fc.option(fc.constantFrom(...CHANNELS), { nil: undefined }),
      tier: fc.option(fc.constantFrom(...TIERS), { nil: undefined }),
      flags: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean()),
      boot: bytesOf(16),
      keyed,
      ns: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      ms: fc.nat(),
      holds: fc.dictionary(fc.constantFrom(...CHANNELS), level),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((drafts): JournalRecord[] => {
    let epoch = 0n;
    let reservedUpTo = 100n;
    let decided = false;
    return drafts.map((draft, index) => {
      const kind = draft.kind === 'completed' && !decided ? 'reserve' : draft.kind;
      const [completed, carriedOver, recovered, accord] = draft.flags;
      // What is carried into a new file stands before its checkpoint and decides nothing.
      const carried = kind === 'decision' && carriedOver && !decided;
      if (kind === 'reserve') reservedUpTo += draft.rise;
      if (kind === 'decision' || (kind === 'checkpoint' && !decided)) epoch += draft.rise;
      if (kind !== 'reserve' && !carried) decided = true;
      const key = draft.keyed?.[0].some((byte) => byte !== 0) === true ? draft.keyed : undefined;
      return {
        kind,
        sequence: BigInt(index + 9),
        epoch: (kind === 'reserve' ? 0n : epoch) as Epoch,
        reservedUpTo: reservedUpTo as Epoch,
        decidedAtNs: draft.ns,
        decidedAtWallMs: draft.ms,
        bootId: draft.boot,
        keyHash: key?.[0],
        contentHash: key?.[1],
        from: kind === 'reserve' ? undefined : draft.from,
        to: kind === 'reserve' ? undefined : draft.to,
        requested: kind === 'reserve' ? undefined : draft.requested,
        channel: draft.channel,
        tier: draft.tier,
        completed,
        carried,
        recovered,
        accord,
        holds: draft.holds,
      };
    });
  });

function bytesWith(records: readonly JournalRecord[], untouched: number): Uint8Array {
  const bytes = new Uint8Array((records.length + untouched) * JOURNAL_RECORD_BYTES);
  records.forEach((record, index) => {
    bytes.set(encodeJournalRecord(record), index * JOURNAL_RECORD_BYTES);
  });
  return bytes;
}

describe('the journal in C and in TypeScript', () => {
  it('PO-17 what the C header writes the codec reads, field by field', () => {
    const path = join(directory, 'written');
    execFileSync(program, ['write', path]);
    const bytes = new Uint8Array(readFileSync(path));
    expect(bytes.length).toBe(2 * JOURNAL_RECORD_BYTES);
    const second = decodeJournalRecord(bytes.subarray(JOURNAL_RECORD_BYTES));
    expect(second).toEqual({
      place: 'record',
      record: {
        kind: 'decision',
        sequence: 42n,
        epoch: 77n,
        reservedUpTo: 5000n,
        decidedAtNs: 1234567890123456789n,
        decidedAtWallMs: 1700000000123,
        bootId: Uint8Array.from({ length: 16 }, (_, i) => i + 1),
        keyHash: Uint8Array.from({ length: 16 }, (_, i) => 0x80 + i),
        contentHash: Uint8Array.from({ length: 8 }, (_, i) => 0x40 + i),
        from: 5,
        to: 2,
        requested: 3,
        channel: 'fleet',
        tier: 'master',
        completed: false,
        carried: false,
        recovered: false,
        accord: true,
        holds: { console: 3, plugin: 2 },
      },
    });
    if (second.place === 'record') {
      expect(encodeJournalRecord(second.record)).toEqual(bytes.slice(JOURNAL_RECORD_BYTES));
    }
  });

  it('PO-17 every record survives the way into bytes and back', () => {
    const kinds = new Set<string>();
    fc.assert(
      fc.property(journal, (records) => {
        for (const record of records) {
          kinds.add(record.kind);
          expect(decodeJournalRecord(encodeJournalRecord(record))).toEqual({ place: 'record', record });
        }
      }),
    );
    expect([...kinds].sort()).toEqual(Object.keys(JOURNAL_KINDS).sort());
  });

  it('PO-17 boot and coordinator read every journal alike', () => {
    fc.assert(
      fc.property(journal, fc.nat(3), (records, untouched) => {
        const bytes = bytesWith(records, untouched);
        expect(recoverJournal(bytes).damage).toBeUndefined();
        expect(bootReads(bytes)).toEqual(codecReads(bytes));
      }),
      { numRuns: 25 },
    );
  });

  it('PO-17 any bit that flips, any torn end, any stray byte is damage, for both', () => {
    fc.assert(
      fc.property(
        journal,
        fc.nat(),
        fc.nat(7),
        fc.integer({ min: 1, max: 127 }),
        (records, place, bit, cut) => {
          const whole = bytesWith(records, 2);
          const flipped = Uint8Array.from(whole);
          const at = place % whole.length;
          flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
          const torn = Uint8Array.from(whole);
          torn.fill(
            0,
            (records.length - 1) * JOURNAL_RECORD_BYTES + cut,
            records.length * JOURNAL_RECORD_BYTES,
          );
          for (const bytes of [flipped, whole.subarray(0, whole.length - cut)]) {
            expect(recoverJournal(bytes).damage).toBeDefined();
            expect(comparable(bootReads(bytes))).toEqual(codecReads(bytes));
          }
          // A cut inside a record's trailing zeros leaves a checksum that no longer holds.
          expect(recoverJournal(torn).damage).toBeDefined();
          expect(comparable(bootReads(torn))).toEqual(codecReads(torn));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('PO-17 a checkpoint without a decision says of nothing that it is finished, for both', () => {
    const bytes = bytesWith(
      [
        {
          ...NOTHING_DECIDED,
          kind: 'checkpoint',
          sequence: 9n,
          reservedUpTo: 7n as Epoch,
          bootId: new Uint8Array(16),
          decidedAtNs: 1n,
          decidedAtWallMs: 1,
          completed: true,
        },
      ],
      1,
    );
    expect(recoverJournal(bytes).damage).toBeUndefined();
    expect(bootReads(bytes)).toMatchObject({ damaged: false, decided: false, completed: false });
    expect(bootReads(bytes)).toEqual(codecReads(bytes));
  });

  it('PO-17 an empty file and a wholly untouched one are damaged: a journal begins with a record', () => {
    for (const bytes of [new Uint8Array(0), new Uint8Array(1024)]) {
      expect(recoverJournal(bytes).damage?.why).toBe('it has no first record');
      expect(bootReads(bytes)).toMatchObject({ damaged: true, decided: false });
    }
  });

  it('PO-17 reservations behind the damage are never issued again', () => {
    fc.assert(
      fc.property(journal, fc.nat(), (records, place) => {
        const bytes = bytesWith(records, 1);
        const at = place % (records.length * JOURNAL_RECORD_BYTES);
        bytes[at] = (bytes[at] ?? 0) ^ 0xff;
        const rest = records.filter((_, index) => index !== Math.floor(at / JOURNAL_RECORD_BYTES));
        const highest = rest.reduce(
          (most, { reservedUpTo }) => (reservedUpTo > most ? reservedUpTo : most),
          0n,
        );
        expect(recoverJournal(bytes).reservedUpTo).toBeGreaterThanOrEqual(highest);
      }),
    );
  });
});

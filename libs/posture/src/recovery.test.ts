import { type Epoch, type Level, LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  encodeJournalRecord,
  type Holds,
  type JournalRecord,
  NOTHING_DECIDED,
  recoverJournal,
  type RecoveryFindings,
  recoveryOf,
} from './index.js';

const base: JournalRecord = {
  ...NOTHING_DECIDED,
  kind: 'reserve',
  sequence: 1n,
  reservedUpTo: 1000n as Epoch,
  decidedAtNs: 1n,
  decidedAtWallMs: 2,
  bootId: new Uint8Array(16).fill(7),
};

/** A whole journal: reservation, a decision, and perhaps its completion. */
function journalOf(
  epoch: bigint,
  from: Level,
  to: Level,
  completed: boolean,
  break_ = false,
  holds: Holds = {},
) {
  const records: JournalRecord[] = [
    base,
    { ...base, kind: 'decision', sequence: 2n, epoch: epoch as Epoch, from, to, requested: to, holds },
  ];
  if (completed) {
    records.push({
      ...base,
      kind: 'completed',
      sequence: 3n,
      epoch: epoch as Epoch,
      from,
      to,
      requested: to,
      holds,
    });
  }
  const bytes = new Uint8Array(128 * 8);
  records.forEach((record, index) => {
    bytes.set(encodeJournalRecord(record), index * 128);
  });
  if (break_) bytes[128 * records.length + 5] = 1;
  return recoverJournal(bytes);
}

const nothing: RecoveryFindings = {
  journal: undefined,
  provisioned: false,
  provisioningLevel: 5,
  word: undefined,
  line: undefined,
  wordDoubt: undefined,
};
const word = (epoch: bigint, level: Level) => ({ epoch: epoch as Epoch, level });

describe('recovery', () => {
  it('PO-17 first boot takes the provisioning level, a provisioned box without a journal level 2 and an alarm', () => {
    expect(recoveryOf(nothing)).toMatchObject({ action: 'restore', level: 5, alarms: [] });
    const gone = recoveryOf({ ...nothing, provisioned: true });
    expect(gone).toMatchObject({ action: 'restore', level: 2, resumeTo: undefined });
    expect(gone.alarms).toHaveLength(1);
  });

  it('PO-17 a damaged journal means level 2 or stricter, an alarm, and epochs that were surely never used', () => {
    for (const [level, expected] of [
      [5, 2],
      [3, 2],
      [2, 2],
      [1, 1],
    ] as const) {
      const journal = journalOf(9n, 5, level, true, true);
      expect(journal.damage).toBeDefined();
      const plan = recoveryOf({ ...nothing, provisioned: true, journal });
      expect(plan).toMatchObject({ action: 'restore', level: expected, resumeTo: undefined });
      expect(plan.alarms).toHaveLength(1);
      expect(plan.above).toBeGreaterThan(1_000n + 1_000_000n);
    }
    expect(
      recoveryOf({ ...nothing, journal: journalOf(9n, 5, 4, true, true), word: word(12n, 1) }).level,
    ).toBe(1);
  });

  it('PO-17 the higher epoch of journal and word decides; a newer word is journaled first', () => {
    const journal = journalOf(9n, 5, 4, true);
    const line = { epoch: 10n as Epoch, from: 4, to: 2 } as const;
    expect(recoveryOf({ ...nothing, journal, word: word(10n, 2), line })).toMatchObject({
      decision: { epoch: 10n, from: 4, to: 2 },
      journalFirst: { epoch: 10n, from: 4, to: 2 },
      action: 'continue',
      level: 2,
    });
    expect(recoveryOf({ ...nothing, journal, word: word(9n, 4) })).toMatchObject({
      journalFirst: undefined,
      action: 'hold',
      level: 4,
    });
    // After a power cut no word is left: what was decided is stored again.
    expect(recoveryOf({ ...nothing, journal })).toMatchObject({ action: 'restore', level: 4 });
  });

  it('PO-4 of a word that was not journaled nobody knows who asked: only the console loosens it', () => {
    const journal = journalOf(9n, 5, 4, true, false, { fleet: 4, local: 3 });
    const lost = recoveryOf({ ...nothing, journal, word: word(10n, 2) });
    expect(lost.holds).toEqual({ fleet: 4, local: 3, console: 2 });
    expect(lost.alarms).toEqual([expect.stringContaining('level 2 of epoch 10')]);
    // What the journal knows holds as it stands there.
    for (const known of [word(9n, 4), word(8n, 5), undefined]) {
      expect(recoveryOf({ ...nothing, journal, word: known })).toMatchObject({
        holds: { fleet: 4, local: 3 },
        alarms: [],
      });
    }
    const tighter = journalOf(9n, 5, 2, true, false, { console: 1 });
    expect(recoveryOf({ ...nothing, journal: tighter, word: word(10n, 2) }).holds).toEqual({ console: 1 });
  });

  it('PO-4 a level that was taken in doubt is loosened by the console only', () => {
    const damaged = journalOf(9n, 5, 4, true, true, { local: 4 });
    for (const findings of [
      { provisioned: true },
      { provisioned: true, journal: damaged },
      { provisioned: true, journal: damaged, word: word(12n, 4) },
      { provisioned: true, word: word(12n, 1) },
      { provisioned: true, journal: journalOf(9n, 5, 4, true), wordDoubt: 'checksum' },
    ]) {
      const plan = recoveryOf({ ...nothing, ...findings });
      expect(plan.holds).toEqual({ ...findings.journal?.holds, console: plan.level });
    }
  });

  it('PO-17 until its transition is completed the stricter of the two levels is in force, then it goes on', () => {
    const journal = journalOf(9n, 2, 5, false);
    // Interrupted before the word: it goes on under its own epoch.
    expect(recoveryOf({ ...nothing, journal, word: word(8n, 2) })).toMatchObject({
      action: 'continue',
      level: 2,
      resumeTo: 5,
    });
    // Interrupted after the word, or by a power cut: first the stricter level, then the way up again.
    for (const survived of [word(9n, 5), undefined]) {
      expect(recoveryOf({ ...nothing, journal, word: survived })).toMatchObject({
        action: 'restore',
        level: 2,
        resumeTo: 5,
      });
    }
  });

  it('PO-17 shared memory that was not to be believed counts as doubt', () => {
    const plan = recoveryOf({ ...nothing, journal: journalOf(9n, 5, 4, true), wordDoubt: 'checksum' });
    expect(plan).toMatchObject({ level: 2, action: 'restore' });
    expect(plan.alarms).toHaveLength(1);
  });

  it('PO-17 the level of a doubt is what is journaled first, so that a second crash does not forget the doubt', () => {
    const damaged = journalOf(9n, 5, 4, true, true);
    for (const [findings, level] of [
      [{ provisioned: true, journal: damaged }, 2],
      [{ provisioned: true, journal: damaged, word: word(12n, 4) }, 2],
      [{ provisioned: true, word: word(12n, 1) }, 1],
      [{ provisioned: true, journal: journalOf(9n, 5, 4, true), wordDoubt: 'checksum' }, 2],
    ] as const) {
      const plan = recoveryOf({ ...nothing, ...findings });
      const first = plan.journalFirst;
      expect(first).toMatchObject({ from: level, to: level });
      expect(first?.epoch).toBe(plan.above);
      expect(plan.above).toBeGreaterThan(plan.word.epoch);
      // The next start finds a whole journal that ends with it, and perhaps the old word, or none.
      const journal = journalOf(500n, level, level, false);
      for (const survived of ['word' in findings ? findings.word : undefined, undefined]) {
        const again = recoveryOf({ ...nothing, provisioned: true, journal, word: survived });
        expect(again).toMatchObject({ level, resumeTo: undefined });
      }
    }
  });

  it('PO-17 whatever is found: never looser than what is known, and no epoch twice', () => {
    const level = fc.constantFrom(...LEVELS);
    const epoch = fc.bigInt({ min: 1n, max: 900n });
    fc.assert(
      fc.property(
        fc.option(fc.tuple(epoch, level, level, fc.boolean(), fc.boolean()), { nil: undefined }),
        fc.option(fc.tuple(epoch, level), { nil: undefined }),
        fc.boolean(),
        fc.boolean(),
        (journaled, stored, provisioned, doubted) => {
          const plan = recoveryOf({
            ...nothing,
            provisioned,
            journal: journaled === undefined ? undefined : journalOf(...journaled),
            word: stored === undefined ? undefined : word(...stored),
            wordDoubt: doubted ? 'size' : undefined,
          });
          expect(plan.above).toBeGreaterThanOrEqual(stored?.[0] ?? 0n);
          if (journaled !== undefined) expect(plan.above).toBeGreaterThanOrEqual(1_000n);
          const doubt =
            doubted ||
            journaled?.[4] === true ||
            (journaled === undefined && (provisioned || stored !== undefined));
          if (doubt) {
            expect(plan.level).toBeLessThanOrEqual(2);
            expect(plan.resumeTo).toBeUndefined();
            expect(plan.alarms.length).toBeGreaterThan(0);
          }
          const [newest, to] = [journaled?.[0] ?? 0n, journaled?.[2]];
          if (stored !== undefined && stored[0] > newest) expect(plan.level).toBeLessThanOrEqual(stored[1]);
          else if (to !== undefined) expect(plan.level).toBeLessThanOrEqual(to);
          if (plan.resumeTo !== undefined) expect(plan.resumeTo).toBeGreaterThan(plan.level);
        },
      ),
    );
  });
});

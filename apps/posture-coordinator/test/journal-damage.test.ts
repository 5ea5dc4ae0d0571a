/**
 * A journal that was cut anywhere, or in which anything was flipped: level 2 or stricter, and an alarm.
 */
import { BOOT_BINARY } from '@kedge/boot';
import {
  JOURNAL_RECORD_BYTES,
  NOTHING_DECIDED,
  recoverJournal,
  recoveryOf,
  type RecoveryPlan,
} from '@kedge/posture';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { type Epoch, type Level } from '@kedge/units';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type JournalDraft, JournalFile } from '../src/journal-file.js';
import { inside } from './inside.js';

const CAPACITY = 64;
const RESERVED = 1_000n as Epoch;
const COURSE: readonly Level[] = [5, 4, 2, 5, 1, 3, 4];
/** In force at the end: 4, which was loosened to and completed. Whatever is lost of it was tighter or looser. */
const IN_FORCE: Level = 4;

let work = '';
let whole: Buffer;
let records = 0;
let made = 0;

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'kedge-damage-'));
  const path = join(work, 'decisions.journal');
  const clock = { monotonicNs, wallMs: () => Date.now() };
  const journal = await JournalFile.open(
    { path, capacity: CAPACITY, bootId: Buffer.alloc(16, 7), clock },
    undefined,
  );
  const draft: JournalDraft = {
    ...NOTHING_DECIDED,
    kind: 'reserve',
    decidedAtNs: 1n,
    decidedAtWallMs: 2,
  };
  await journal.append({ ...draft, reservedUpTo: RESERVED });
  for (const [index, to] of COURSE.entries()) {
    const decision = {
      ...draft,
      epoch: BigInt(index + 1) as Epoch,
      from: COURSE[index - 1] ?? 5,
      to,
      requested: to,
    };
    await journal.append({
      ...decision,
      kind: 'decision',
      keyHash: Buffer.alloc(16, index + 1),
      contentHash: Buffer.alloc(8, 1),
    });
    await journal.append({ ...decision, kind: 'completed' });
  }
  await journal.close();
  whole = readFileSync(path);
  records = recoverJournal(whole).tail / JOURNAL_RECORD_BYTES;
});
afterAll(() => {
  rmSync(work, { recursive: true, force: true });
});

const planOf = (bytes: Uint8Array): RecoveryPlan =>
  recoveryOf({
    journal: recoverJournal(bytes),
    provisioned: true,
    provisioningLevel: 5,
    word: undefined,
    line: undefined,
    wordDoubt: undefined,
  });
/** Level 2 or stricter, said aloud, nothing taken up again, and no epoch that may have been issued. */
function inDoubt(plan: RecoveryPlan): boolean {
  return plan.level <= 2 && plan.alarms.length > 0 && plan.resumeTo === undefined && plan.above > RESERVED;
}
const flipped = (at: number, bits: number): Buffer => {
  const bytes = Buffer.from(whole);
  bytes[at] = (bytes[at] ?? 0) ^ bits;
  return bytes;
};
const recordAt = (bytes: Buffer, index: number): Buffer =>
  bytes.subarray(index * JOURNAL_RECORD_BYTES, (index + 1) * JOURNAL_RECORD_BYTES);

/** The same through the code that the service starts with, and through kedge-boot. */
async function started(
  bytes: Buffer,
): Promise<{ readonly level: number; readonly alarms: number; readonly boot: number }> {
  const state = join(work, `state-${(made += 1)}`);
  const board = join(work, `board-${made}`);
  for (const directory of [state, board]) mkdirSync(directory, { mode: 0o700 });
  writeFileSync(join(state, 'decisions.journal'), bytes, { mode: 0o600 });
  writeFileSync(join(state, 'provisioned'), '');
  const said = spawnSync(BOOT_BINARY, ['--board', board, '--state', state, '--uid', '0', '--gid', '0'], {
    encoding: 'utf8',
  });
  rmSync(join(board, 'posture'));
  const coordinator = await inside(board, state);
  try {
    return {
      level: coordinator.obeyed().level,
      alarms: coordinator.driver.alarms.length,
      boot: (JSON.parse(said.stdout) as { level: number }).level,
    };
  } finally {
    await coordinator.close();
  }
}

describe('a damaged journal', () => {
  it('PO-17 the journal that is damaged below says level 4, and raises no alarm', async () => {
    expect(planOf(whole)).toMatchObject({ level: IN_FORCE, alarms: [], resumeTo: undefined });
    expect(records).toBeGreaterThan(COURSE.length * 2);
    expect(await started(whole)).toEqual({ level: IN_FORCE, alarms: 0, boot: IN_FORCE });
  });

  it('PO-17 cut at every byte: level 2 or stricter and an alarm', async () => {
    let visited = 0;
    for (let length = 0; length < whole.length; length += 1) {
      const plan = planOf(whole.subarray(0, length));
      if (plan.level > 2 || plan.alarms.length === 0 || plan.resumeTo !== undefined) {
        throw new Error(`cut at byte ${length}: level ${plan.level}, ${plan.alarms.length} alarms`);
      }
      visited += 1;
    }
    expect(visited).toBe(CAPACITY * JOURNAL_RECORD_BYTES);
    for (const length of [
      0,
      1,
      127,
      128,
      129,
      5 * 128,
      5 * 128 + 64,
      records * 128,
      whole.length - 128,
      whole.length - 1,
    ]) {
      const { level, alarms, boot } = await started(whole.subarray(0, length));
      expect([level <= 2, alarms > 0, boot <= 2], `cut at ${length}`).toEqual([true, true, true]);
    }
  });

  it('PO-17 a bit of every byte flipped, in records and in the untouched space: level 2 or stricter and an alarm', async () => {
    let visited = 0;
    const flip = (at: number, bits: number): void => {
      visited += 1;
      if (!inDoubt(planOf(flipped(at, bits)))) throw new Error(`flip ${bits} of byte ${at} went unnoticed`);
    };
    for (let at = 0; at < whole.length; at += 1) flip(at, 1 << ((at * 5) % 8));
    // All bits of one record; the property test of the format flips all bits of any.
    for (let at = 2 * JOURNAL_RECORD_BYTES; at < 3 * JOURNAL_RECORD_BYTES; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) flip(at, 1 << bit);
    }
    expect(visited).toBe(whole.length + JOURNAL_RECORD_BYTES * 8);
    for (let index = 0; index < records; index += 3) {
      const { level, alarms, boot } = await started(
        flipped(index * JOURNAL_RECORD_BYTES + ((index * 37) % 128), 0x10),
      );
      expect([level <= 2, alarms > 0, boot <= 2], `record ${index}`).toEqual([true, true, true]);
    }
  });

  it('PO-17 every record lost, filled, repeated or exchanged: level 2 or stricter and an alarm', () => {
    const wrongs: Record<string, (bytes: Buffer, index: number) => void> = {
      // The last one lost is a write that never happened, and cannot be told from it.
      lost: (bytes, index) =>
        index === records - 1
          ? bytes.fill(0, (index - 1) * 128, index * 128)
          : recordAt(bytes, index).fill(0),
      filled: (bytes, index) => recordAt(bytes, index).fill(0xff),
      repeated: (bytes, index) => recordAt(whole, index).copy(bytes, (index + 1) * 128),
      exchanged: (bytes, index) => {
        recordAt(whole, (index + 1) % records).copy(bytes, index * 128);
        recordAt(whole, index).copy(bytes, ((index + 1) % records) * 128);
      },
    };
    let visited = 0;
    for (const [name, wrong] of Object.entries(wrongs)) {
      for (let index = 0; index < records; index += 1) {
        const bytes = Buffer.from(whole);
        wrong(bytes, index);
        expect(inDoubt(planOf(bytes)), `${name} ${index}`).toBe(true);
        visited += 1;
      }
    }
    expect(visited).toBe(records * 4);
  });
});

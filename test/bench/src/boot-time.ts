/** How long kedge-boot takes, as a process from start to end, over a journal that is full. Must not judge what it stores. */
import { BOOT_BINARY } from '@kedge/boot';
import { encodeJournalRecord, JOURNAL_RECORD_BYTES, NOTHING_DECIDED } from '@kedge/posture';
import type { Epoch } from '@kedge/units';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** As many records as a coordinator keeps by default. */
const RECORDS = 8_192;

/** A full journal: as much to read as there ever is. */
function fullJournal(): Uint8Array {
  const bytes = new Uint8Array(RECORDS * JOURNAL_RECORD_BYTES);
  for (let n = 0; n < RECORDS; n += 1) {
    const completed = n % 2 === 1;
    const record = encodeJournalRecord({
      ...NOTHING_DECIDED,
      kind: completed ? 'completed' : 'decision',
      sequence: BigInt(n + 1),
      epoch: BigInt(1 + (n >> 1)) as Epoch,
      reservedUpTo: BigInt(RECORDS) as Epoch,
      decidedAtNs: 1n,
      decidedAtWallMs: 1,
      bootId: new Uint8Array(16).fill(1),
      from: (n >> 1) % 2 === 0 ? 5 : 4,
      to: (n >> 1) % 2 === 0 ? 4 : 5,
      requested: (n >> 1) % 2 === 0 ? 4 : 5,
    });
    bytes.set(record, n * JOURNAL_RECORD_BYTES);
  }
  return bytes;
}

/** Nanoseconds each, a board without a posture each time. */
export function bootTimes(samples: number): number[] {
  const scratch = mkdtempSync(join(tmpdir(), 'kedge-bench-boot-'));
  try {
    const state = join(scratch, 'state');
    mkdirSync(state, { mode: 0o700 });
    writeFileSync(join(state, 'decisions.journal'), fullJournal(), { mode: 0o600 });
    return Array.from({ length: samples }, (_, n) => {
      const board = join(scratch, String(n));
      mkdirSync(board, { mode: 0o755 });
      const begun = process.hrtime.bigint();
      const { status, stdout, stderr } = spawnSync(
        BOOT_BINARY,
        ['--board', board, '--state', state, '--uid', '0', '--gid', '0'],
        { encoding: 'utf8' },
      );
      const took = Number(process.hrtime.bigint() - begun);
      if (status !== 0 || !stdout.includes('"because":"decision"'))
        throw new Error(`bench: kedge-boot ended with ${String(status)}: ${stdout}${stderr}`);
      return took;
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * The posture that the intent obeys, on a real board.
 * Must not leave a file.
 */
import { gateViewOf, PostureBoard } from '@kedge/bus';
import { createPostureSegment, createSegment, layout, monotonicNs } from '@kedge/shared-memory-ipc';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { postureOf } from '../src/authority.js';

it('UN-14 has the epoch that the gate gives permits of, also while a loosening runs', () => {
  const directory = mkdtempSync(join(tmpdir(), 'kedge-posture-'));
  chmodSync(directory, 0o1775);
  const posture = createPostureSegment({ directory });
  const warden = createSegment({ directory, name: 'warden', kind: 'warden' });
  warden.store64(layout.warden.staleNs, 3_600_000_000_000n);
  const owner = process.getuid?.() ?? 0;
  const owners = { posture: owner, warden: owner };
  const look = () => {
    warden.beat(true);
    posture.beat(true);
    const board = new PostureBoard({ directory, owners, realtime: false });
    try {
      return { obeyed: postureOf(board), gate: gateViewOf(board.snapshot(), 'underlay') };
    } finally {
      board.close();
    }
  };
  try {
    posture.storeWord(1n, 3);
    expect(look()).toEqual({ obeyed: { level: 3, epoch: 1n }, gate: { level: 3, epoch: 1n } });
    const [receivedAtNs, decidedAtNs, stageAtNs] = [monotonicNs(), monotonicNs(), monotonicNs()];
    posture.writeTransition({
      ...{ epoch: 2n, from: 3, to: 5, stage: layout.enums.stage.LOOSEN_PATHS, flags: 0 },
      ...{ receivedAtNs, decidedAtNs, stageAtNs, budgetNs: [0n, 0n, 0n] },
    });
    expect(look()).toEqual({ obeyed: { level: 3, epoch: 2n }, gate: { level: 3, epoch: 2n } });
  } finally {
    posture.close();
    warden.close();
    rmSync(directory, { recursive: true });
  }
});

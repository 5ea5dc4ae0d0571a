/**
 * The wall clock of a coordinator steps a year forth and back while transitions run.
 */
import { recoverJournal } from '@kedge/posture';
import { layout, monotonicNs } from '@kedge/shared-memory-ipc';
import type { FaultLayer } from '@kedge/faults';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Appliance, until } from './appliance.js';

const STAGE = layout.enums.stage;
const YEAR_MS = 365 * 86_400_000;

describe('a wall clock that steps a year', () => {
  let box: Appliance;
  let faults: FaultLayer;
  beforeAll(async () => {
    box = new Appliance({ journalRecords: 64 });
    faults = box.faults();
    box.startWarden();
    await box.start();
    await box.ended();
  });
  afterAll(() => box.close());

  it.each([
    ['forth', YEAR_MS],
    ['back', -YEAR_MS],
  ])(
    'PO-14 PO-25 %s within a loosening and within a tightening: reports in time, by the monotonic clock',
    async (_way, step) => {
      const mesh = box.participant('mesh', 'overlay');
      await until('the participant', async () =>
        (await box.get()).services.some(({ name, pid }) => name === 'participant-mesh' && pid > 0)
          ? true
          : undefined,
      );
      const begun = monotonicNs();
      const applied = async (epoch: bigint, level: 2 | 5, stage: 'tighten' | 'loosen-paths') => {
        const now = monotonicNs();
        mesh.acknowledge({
          epoch,
          stage,
          outcome: 'applied',
          level,
          startedAtNs: now,
          finishedAtNs: now,
          changes: 1,
        });
        return await box.ended(epoch);
      };
      const tightening = await box.set(2);
      if (tightening.outcome !== 'decision') throw new Error('refused');
      faults.stepWallClock(step);
      const tightened = await applied(tightening.decision.epoch, 2, 'tighten');
      const loosening = await box.set(5);
      if (loosening.outcome !== 'decision') throw new Error('refused');
      await until('the release', () => (box.read().stage === STAGE.LOOSEN_PATHS ? true : undefined));
      faults.stepWallClock(0);
      const loosened = await applied(loosening.decision.epoch, 5, 'loosen-paths');
      for (const report of [tightened, loosened]) {
        expect(report).toMatchObject({ outcome: 'completed', durable: true });
        for (const at of [
          report.decidedAtNs,
          report.storedAtNs,
          report.journaledAtNs,
          report.completedAtNs,
        ]) {
          expect(at > begun && at < monotonicNs()).toBe(true);
        }
        for (const { path, startNs, endNs, budgetNs } of report.paths) {
          expect(endNs - startNs < budgetNs, path).toBe(true);
        }
      }
      // The wall clock says what it says; it is shown and decides nothing.
      expect(Math.abs(Number(loosened.decidedAtWallMs) - Date.now() - step)).toBeLessThan(60_000);
      expect(box.read().level).toBe(5);
      expect(recoverJournal(readFileSync(box.journalPath)).damage).toBeUndefined();
      mesh.close();
      rmSync(join(box.board, 'participant-mesh'));
      await box.kill('SIGTERM');
      await box.start();
    },
  );

  it('PO-25 a key is known for its day whatever the wall clock does, also over a restart and a new journal file', async () => {
    const idempotencyKey = 'known-for-a-day';
    const isCarried = (): boolean =>
      recoverJournal(readFileSync(box.journalPath)).keyed.some(({ carried }) => carried);
    const first = await box.set(3, { idempotencyKey });
    if (first.outcome !== 'decision') throw new Error('refused');
    await box.set(5);
    await box.ended();
    for (const step of [YEAR_MS, -YEAR_MS]) {
      faults.stepWallClock(step);
      expect(await box.set(3, { idempotencyKey })).toMatchObject({
        decision: { epoch: first.decision.epoch },
      });
      for (let round = 0; round < 40 && !isCarried(); round += 1) {
        await box.set(4);
        await box.ended();
        await box.set(5);
        await box.ended();
      }
      await box.kill();
      await box.start();
      expect(await box.set(3, { idempotencyKey })).toMatchObject({
        decision: { epoch: first.decision.epoch, to: 3, durable: true },
      });
      expect(await box.set(2, { idempotencyKey })).toMatchObject({ refusal: { code: 'POSTURE_REPLAYED' } });
      expect(box.read().level).toBe(5);
    }
    expect(isCarried()).toBe(true);
    faults.stepWallClock(0);
  });

  it('PO-4 PO-25 what the console holds is held over a step of the clock and a restart', async () => {
    await box.set(3, { by: 'console' });
    await box.ended();
    faults.stepWallClock(YEAR_MS);
    for (const restarted of [false, true]) {
      expect(await box.set(5, { by: 'local/site_owner' }), String(restarted)).toMatchObject({
        outcome: 'refusal',
      });
      expect(box.read().level).toBe(3);
      await box.kill();
      await box.start();
    }
    expect(await box.set(5, { by: 'console' })).toMatchObject({ decision: { to: 5 } });
    expect(faults.wallReadings()).toBeGreaterThan(50);
  });
});

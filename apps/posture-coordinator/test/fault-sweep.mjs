/**
 * Runs short lives of the coordinator's recovery and driver, one after the other, in a process that was started
 * under the fault layer: a message in starts one, a message out says how it went.
 * It must not know which fault is played.
 */
import { readWord } from '@kedge/bus';
import { createLogger } from '@kedge/runtime';
import { createPostureSegment, createSegment, layout, monotonicNs } from '@kedge/shared-memory-ipc';
import { mkdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

import { configSchema } from '../dist/config.js';
import { recoverCoordinator } from '../dist/coordinator.js';
import { identityOf } from '../dist/idempotency.js';

async function life({ name, board, state, config, course }) {
  for (const directory of [board, state]) mkdirSync(directory, { mode: 0o700 });
  const posture = createPostureSegment({ directory: board });
  const warden = createSegment({ directory: board, name: 'warden', kind: 'warden' });
  warden.store64(layout.warden.staleNs, 60_000_000_000n);
  warden.beat(true);
  const coordinator = await recoverCoordinator({
    settings: configSchema.parse(config),
    logger: createLogger({ name: 'sweep', level: 'error', destination: { write: () => undefined } }),
    clock: { monotonicNs, wallMs: () => Date.now() },
    posture,
  });
  const { driver } = coordinator;
  const settled = async () => {
    for (let wait = 0; wait < 400 && driver.machine.phase !== 'steady'; wait += 1) await pause(2);
  };
  const obeyed = () => readWord(posture.word()).level;
  const answers = [];
  try {
    await settled();
    for (const [index, level] of course.entries()) {
      const source = { channel: 'console', tier: 'site_owner', principal: 'user:ada', reason: 'a sweep' };
      const before = obeyed();
      const asked = driver.request(
        { source, level, receivedAtNs: monotonicNs() },
        identityOf('console', 'site_owner', { ...source, idempotencyKey: `${name}-${index}`, level }),
      );
      const atOnce = obeyed();
      const reply = await asked;
      await settled();
      answers.push({
        level,
        before,
        atOnce,
        after: obeyed(),
        kind: reply.kind,
        durable: reply.durable === true,
        code: reply.code ?? '',
        epoch: String(reply.epoch ?? 0n),
      });
    }
    const { alarms } = driver;
    return { answers, alarms, nextEpoch: String(driver.machine.nextEpoch), obeyed: obeyed() };
  } finally {
    await coordinator.close();
    posture.close();
    warden.close();
  }
}

process.on('message', (order) => {
  life(order).then(
    (told) => process.send(told),
    (error) => process.send({ failed: String(error?.stack ?? error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send('ready');

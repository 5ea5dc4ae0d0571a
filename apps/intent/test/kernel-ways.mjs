/**
 * A way to a device that is a network namespace of this machine, by the real driver and tools, and a schema that accepts
 * everything: for tests alone.
 * It must not hold a gate: what is let through is said by whoever makes it.
 */
import { createHash } from 'node:crypto';

import { carryOut, readDevice, toolCarrier } from '@kedge/driver-host';
import { DRIVERS, linuxDriver } from '@kedge/drivers';

const sha256 = (text) => createHash('sha256').update(text, 'utf8').digest('hex');

/** Accepts every document. */
export const ANYTHING = {
  modules: sha256('anything'),
  validate: async () => ({ findings: [], complete: true }),
  diff: async () => [],
};

/**
 * @param netns the namespace.
 * @param hooks `before(work)` is awaited before a plan, and may throw; `write(commands, write)` stands for a write.
 */
export function kernelWays(netns, hooks = {}) {
  const carrier = toolCarrier({ netns, timeoutMs: 20_000 });
  const write = hooks.write;
  const targetOf = (device) => ({
    ...{ driver: linuxDriver, device, sha256 },
    carrier:
      write === undefined
        ? carrier
        : {
            ask: carrier.ask,
            write: (commands, signal) => write(commands, (some) => carrier.write(some, signal)),
          },
  });
  let turn = Promise.resolve();
  /** One thing at a time. */
  const inTurn = (work) => {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  };
  return {
    drivers: DRIVERS,
    reach: {
      read: (device, signal) => inTurn(() => readDevice(targetOf(device), signal)),
      carryOut: (work, signal) =>
        inTurn(async () => {
          await hooks.before?.(work, signal);
          return carryOut(targetOf(work.device), work.plan, { signal });
        }),
    },
    close: () => turn,
  };
}

/**
 * The coordinator's recovery without its doors, in this process: the same code that the service starts with, fast
 * enough to be started from thousands of states.
 * It must not replace any part of it.
 */
import { ParticipantSlot, readWord } from '@kedge/bus';
import { createLogger } from '@kedge/runtime';
import { createPostureSegment, createSegment, layout, monotonicNs } from '@kedge/shared-memory-ipc';
import { fileURLToPath } from 'node:url';

import { configSchema } from '../src/config.js';
import { type Coordinator, recoverCoordinator } from '../src/coordinator.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Configuration of a coordinator on these directories. */
export function insideConfig(board: string, state: string, more: Record<string, unknown> = {}) {
  return {
    appliance: 'test',
    board: { directory: board, owners: { warden: 0, 'participant-mesh': 0 } },
    sockets: '/nowhere',
    state,
    accords: `${root}yang/defaults/accords.json`,
    zones: `${root}yang/defaults/zones.json`,
    provisioningLevel: 5,
    verifyMs: 600,
    journalRecords: 64,
    ...more,
  };
}

/** A coordinator in this process. */
export interface Inside extends Coordinator {
  /** What packets obey now. */
  obeyed(): { readonly epoch: bigint; readonly level: number };
}

/** Recovers from what lies in the two directories. `close` ends it as a kill would find it idle. */
export async function inside(
  board: string,
  state: string,
  more: Record<string, unknown> = {},
): Promise<Inside> {
  const posture = createPostureSegment({ directory: board });
  // A warden that has just beaten: without one nothing may be brought up beyond lockdown.
  const warden = createSegment({ directory: board, name: 'warden', kind: 'warden' });
  warden.store64(layout.warden.staleNs, 10_000_000_000n);
  warden.beat(true);
  // Somebody whom every loosening has to wait for, and who does nothing: what is obeyed is what recovery says.
  const mesh = ParticipantSlot.create({ directory: board, name: 'mesh', path: 'overlay' });
  mesh.beat(true);
  const release = (): void => {
    posture.close();
    warden.close();
    mesh.close();
  };
  try {
    const coordinator = await recoverCoordinator({
      settings: configSchema.parse(insideConfig(board, state, more)),
      logger: createLogger({ name: 'inside', level: 'error', destination: { write: () => undefined } }),
      clock: { monotonicNs, wallMs: () => Date.now() },
      posture,
    });
    return {
      ...coordinator,
      obeyed: () => {
        const { epoch, level } = readWord(posture.word());
        return { epoch, level };
      },
      close: async () => {
        await coordinator.close();
        release();
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * The ways by which machines ask for a level: the BPF map and the posture-source plugins, as configured.
 * It must hold wiring only; what one of them does stays its own.
 */
import type { Logger } from '@kedge/runtime';
import { readFileSync } from 'node:fs';

import { startBpfSource } from './bpf-source.js';
import { startPlugins } from './plugin-sources.js';
import type { CoordinatorConfig } from './config.js';
import type { CoordinatorParts } from './posture.controller.js';

export function startSources(
  settings: CoordinatorConfig,
  { desk, driver, clock }: CoordinatorParts,
  logger: Logger,
): { close(): Promise<void> } {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  const bpf =
    settings.bpf === undefined
      ? undefined
      : startBpfSource({ pins: settings.bpf, boot, desk, driver, clock, logger });
  if (bpf === undefined) logger.info('no BPF maps are configured: no requests come that way');
  const plugins =
    settings.plugins === undefined
      ? undefined
      : startPlugins({ plugins: settings.plugins, desk, clock, logger });
  return {
    close: async () => {
      bpf?.close();
      await plugins?.close();
    },
  };
}

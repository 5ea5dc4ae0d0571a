/**
 * Posture-source plugins as configured: loaded, their requests taken to the desk, their troubles shown (PO-3).
 * It must not judge a request; the desk does, and what comes this way may only tighten.
 */
import type { LoadedPlugin, Tier } from '@kedge/contracts';
import { type HostAnswer, postureSourceLoader, readManifest } from '@kedge/plugin-host';
import type { Logger } from '@kedge/runtime';
import type { Clock, KedgeError } from '@kedge/units';

import type { CoordinatorConfig } from './config.js';
import type { RequestDesk } from './request-desk.js';

export interface PluginSourcesParts {
  readonly plugins: NonNullable<CoordinatorConfig['plugins']>;
  readonly desk: RequestDesk;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The least that may tighten: a plugin is no person with a tier. */
const TIER: Tier = 'journeyman';

/** Starts; a plugin that cannot be loaded is said and stops nothing. */
export function startPlugins(parts: PluginSourcesParts): { close(): Promise<void> } {
  const { plugins, desk, clock, logger } = parts;
  const closing = new AbortController();
  const loaded: Promise<LoadedPlugin | undefined>[] = plugins.sources.map(async (source) => {
    const { folder, granted, files, settings } = source;
    try {
      const manifest = readManifest(folder);
      const load = postureSourceLoader({
        ...{ folder, files, settings },
        ...{ confine: plugins.confine, runner: plugins.runner, readable: plugins.readable },
        onRequest: ({ plugin, level, reason, key }) => ask(plugin, level, reason, key),
        onViolation: (plugin, error) => {
          logger.warn({ err: error, plugin }, 'a plugin broke its contract');
          desk.refuse({ principal: principalOf(plugin), level: 0 }, way(), refusalOf(error));
        },
        onStatus: (plugin, status) => {
          if (status.state === 'waiting') logger.warn({ plugin, ...status }, 'a plugin is not running');
          desk.trouble(
            `plugin-${plugin}`,
            status.state === 'waiting'
              ? `posture source ${plugin} is not running, started ${status.restarts} times again: ${status.because}`
              : status.state === 'running' && status.problem !== undefined
                ? `posture source ${plugin}: ${status.problem}`
                : undefined,
          );
        },
      });
      const plugin = await load(manifest, granted, closing.signal);
      logger.info({ plugin: manifest.name, version: manifest.version, granted }, 'a plugin is loaded');
      return plugin;
    } catch (error) {
      if (closing.signal.aborted) return undefined;
      logger.error({ err: error, folder }, 'a plugin cannot be loaded');
      desk.trouble(
        `plugin-${folder}`,
        `a posture source is not loaded: ${error instanceof Error ? error.message : 'unknown'}`,
      );
      return undefined;
    }
  });
  const way = () => ({ channel: 'plugin', tier: TIER, receivedAtNs: clock.monotonicNs() }) as const;

  async function ask(plugin: string, level: number, reason: string, key: string): Promise<HostAnswer> {
    const reply = await desk.ask(
      { level, reason, principal: principalOf(plugin), idempotencyKey: `${plugin}:${key}` },
      way(),
    );
    switch (reply.kind) {
      case 'decision':
        return { outcome: 'applied', epoch: reply.epoch.toString(), level: reply.to };
      case 'refusal':
        return { outcome: 'refused', code: reply.code, message: reply.message };
      case 'waiting':
        // Only what loosens waits, and no plugin may.
        return { outcome: 'refused', code: 'POSTURE_NOT_AUTHORISED', message: 'a plugin may only tighten' };
    }
  }
  return {
    close: async () => {
      closing.abort(new Error('the coordinator stops'));
      for (const plugin of await Promise.all(loaded)) await plugin?.unload();
    },
  };
}

const principalOf = (plugin: string): string => `plugin:${plugin}`;

const refusalOf = ({ code, message }: KedgeError) =>
  ({ kind: 'refusal', code, message: message.slice(0, 512), rule: 'plugin-contract' }) as const;

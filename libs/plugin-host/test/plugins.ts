/**
 * Plugins made for a test: a folder with a sealed manifest, and a host around it that notes everything.
 * It must not know what a test wants to show.
 */
import type { LoadedPlugin, PluginCapability } from '@kedge/contracts';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import {
  contentHashOf,
  type HostAnswer,
  type PluginGround,
  type PluginRequest,
  type PluginStatus,
  postureSourceLoader,
  readManifest,
} from '../src/index.js';

const at = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

/** What a plugin is started with in a checkout. */
export const PROGRAMS = {
  confine: at('libs/plugin-host/build/kedge-confine'),
  runner: at('libs/plugin-host/dist/child.js'),
  readable: [at('libs/plugin-host'), at('libs/posture-source-kit'), at('node_modules/@kedge')],
};

export async function until<T>(what: string, look: () => T | undefined | false, ms = 15_000): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(5);
  }
}

/** A temporary place with plugins in it. */
export class Bench {
  readonly directory = mkdtempSync(join(tmpdir(), 'kedge-plugins-'));
  readonly requests: PluginRequest[] = [];
  readonly violations: { readonly code: string; readonly message: string }[] = [];
  readonly statuses: PluginStatus[] = [];
  answer: (request: PluginRequest) => HostAnswer = ({ level }) => ({ outcome: 'applied', epoch: '7', level });
  readonly #loaded: LoadedPlugin[] = [];

  /** Writes a plugin whose `run` has this body. @param change of the manifest after it was sealed. */
  write(body: string, change: Record<string, unknown> = {}): string {
    const folder = join(this.directory, `plugin-${this.#loaded.length}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(
      join(folder, 'index.js'),
      `export default ({ definePostureSource }) => definePostureSource({ async run(context) { ${body} } });\n`,
    );
    const manifest = {
      schema: 'kedge.plugin/1',
      name: 'made-for-a-test',
      version: '1.2.3',
      kind: 'posture-source',
      description: 'A plugin that a test has made.',
      entry: 'index.js',
      capabilities: ['posture.tighten'],
      api: { min: '1.0.0', max: '1.0.0' },
      contentHash: contentHashOf(folder),
      ...change,
    };
    writeFileSync(join(folder, 'plugin.json'), JSON.stringify(manifest));
    return folder;
  }

  async load(
    folder: string,
    granted: readonly PluginCapability[] = ['posture.tighten'],
    more: Partial<PluginGround> = {},
  ): Promise<LoadedPlugin> {
    const load = postureSourceLoader({
      ...PROGRAMS,
      folder,
      settings: {},
      files: {},
      onRequest: async (request) => {
        this.requests.push(request);
        return this.answer(request);
      },
      onViolation: (_plugin, { code, message }) => this.violations.push({ code, message }),
      onStatus: (_plugin, status) => this.statuses.push(status),
      ...more,
    });
    const plugin = await load(readManifest(folder), granted, new AbortController().signal);
    this.#loaded.push(plugin);
    return plugin;
  }

  get status(): PluginStatus | undefined {
    return this.statuses.at(-1);
  }

  async close(): Promise<void> {
    for (const plugin of this.#loaded) await plugin.unload();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

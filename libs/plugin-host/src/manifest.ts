/**
 * Reads and checks the manifest of a plugin against its schema, its content and the grants.
 * It must not start anything.
 */
import { type PluginCapability, type PluginManifest, pluginManifestSchema } from '@kedge/contracts';
import { POSTURE_SOURCE_API } from '@kedge/posture-source-kit';
import { KedgeError } from '@kedge/units';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { contentHashOf } from './content.js';

const MANIFEST_BYTES_MAX = 16_384;
/** What a posture source can be granted. */
const GRANTABLE: readonly PluginCapability[] = ['posture.tighten'];

/**
 * The manifest in a plugin's folder.
 *
 * @throws KedgeError `PLUGIN_MANIFEST` naming the field.
 */
export function readManifest(folder: string): PluginManifest {
  const path = join(folder, 'plugin.json');
  const refuse = (why: string, field: string, cause?: unknown): never => {
    throw new KedgeError({
      code: 'PLUGIN_MANIFEST',
      message: `cannot take the plugin in ${folder}: ${why}`,
      field,
      expected: 'a plugin.json of schema kedge.plugin/1',
      ...(cause === undefined ? {} : { cause }),
    });
  };
  let content: unknown;
  try {
    if (statSync(path).size > MANIFEST_BYTES_MAX) refuse('its manifest is too large', 'plugin.json');
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    if (cause instanceof KedgeError) throw cause;
    refuse('its manifest cannot be read', 'plugin.json', cause);
  }
  const parsed = pluginManifestSchema.safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  return refuse(`its manifest is wrong: ${issue?.message ?? 'unknown'}`, issue?.path.join('.') ?? '');
}

/**
 * Checks everything about a plugin that can be checked without starting it.
 *
 * @throws KedgeError `PLUGIN_KIND`, `PLUGIN_API`, `PLUGIN_SIGNATURE`, `PLUGIN_GRANT`, `PLUGIN_CONTENT`
 */
export function checkPlugin(
  folder: string,
  { name, kind, api, capabilities, contentHash, signature }: PluginManifest,
  granted: readonly PluginCapability[],
): void {
  const refuse = (code: string, field: string, why: string, expected: string): never => {
    throw new KedgeError({ code, message: `cannot load the plugin ${name}: ${why}`, field, expected });
  };
  if (kind !== 'posture-source') refuse('PLUGIN_KIND', 'kind', `it is a ${kind}`, 'a posture-source');
  if (!within(api)) {
    refuse(
      'PLUGIN_API',
      'api',
      `it works with ${api.min} to ${api.max}`,
      `a range with ${POSTURE_SOURCE_API}`,
    );
  }
  if (signature !== undefined) {
    refuse(
      'PLUGIN_SIGNATURE',
      'signature',
      'no key is configured to check its signature',
      'a built-in plugin',
    );
  }
  for (const capability of granted) {
    if (!capabilities.includes(capability) || !GRANTABLE.includes(capability)) {
      const why = capabilities.includes(capability) ? 'no posture source is given' : 'it does not ask for';
      refuse('PLUGIN_GRANT', 'granted', `${why} ${capability}`, 'a part of what it asks for');
    }
  }
  const found = contentHashOf(folder);
  if (found !== contentHash) {
    refuse('PLUGIN_CONTENT', 'contentHash', `its content has the hash ${found}`, contentHash);
  }
}

function within({ min, max }: PluginManifest['api']): boolean {
  // Each part has at most nine digits.
  const number = (version: string): bigint =>
    version.split('.').reduce((sum, part) => sum * 1_000_000_000n + BigInt(part), 0n);
  const own = number(POSTURE_SOURCE_API);
  return number(min) <= own && own <= number(max);
}

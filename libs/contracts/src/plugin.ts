/**
 * What a plugin says about itself and how one is loaded (FW-4).
 * It must not load anything; the loader comes with its first user.
 */
import { z } from 'zod';

/** Kinds of plugins; each is handed only the kit of its kind. */
export const PLUGIN_KINDS = [
  'device-driver',
  'overlay-provider',
  'posture-source',
  'key-backend',
  'edge-provider',
  'out-of-band',
] as const;
/** See {@link PLUGIN_KINDS}. */
export type PluginKind = (typeof PLUGIN_KINDS)[number];

/** What a plugin can ask for. What is not asked for and granted is not there for it. */
export const PLUGIN_CAPABILITIES = [
  'posture.read',
  'posture.tighten',
  'network.connect',
  'device.read',
  'device.write',
  'secret.use',
] as const;
/** See {@link PLUGIN_CAPABILITIES}. */
export type PluginCapability = (typeof PLUGIN_CAPABILITIES)[number];

const semver = /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/;
const version = z.string().regex(semver, 'expected MAJOR.MINOR.PATCH');

function newer(a: string, b: string): boolean {
  const [x, y] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (const place of [0, 1, 2]) {
    const difference = (x[place] ?? 0) - (y[place] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** `plugin.json` in a plugin's folder. */
export const pluginManifestSchema = z.strictObject({
  schema: z.literal('kedge.plugin/1'),
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,30}$/, 'expected [a-z0-9-], at most 31 characters, a letter first'),
  version,
  kind: z.enum(PLUGIN_KINDS),
  /** One sentence for `kedge plugin list`. */
  description: z.string().min(1).max(200),
  /** Module that is loaded, relative to the manifest, inside the plugin's folder. */
  entry: z
    .string()
    .regex(
      /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/,
      'expected a path inside the folder',
    ),
  capabilities: z
    .array(z.enum(PLUGIN_CAPABILITIES))
    .max(PLUGIN_CAPABILITIES.length)
    .refine((all) => new Set(all).size === all.length, 'expected every capability once'),
  /** The plugin API that it works with, both ends included. */
  api: z
    .strictObject({ min: version, max: version })
    .refine(({ min, max }) => !newer(min, max), 'expected min not newer than max'),
  /** SHA-256 of the folder's content without the manifest, lower-case hexadecimal. */
  contentHash: z.string().regex(/^[0-9a-f]{64}$/, 'expected SHA-256 in lower-case hexadecimal'),
  /** Ed25519 over the canonical manifest without this field, base64; absent only in development. */
  signature: z
    .string()
    .regex(/^[A-Za-z0-9+/]{86}==$/, 'expected 64 bytes in base64')
    .optional(),
});

/** See {@link pluginManifestSchema}. */
export type PluginManifest = z.infer<typeof pluginManifestSchema>;

/** A plugin that runs. A crash or hang of it is contained, and its participant counts as failed. */
export interface LoadedPlugin {
  readonly manifest: PluginManifest;
  /** What it was granted: a subset of what it asked for. */
  readonly granted: readonly PluginCapability[];
  /** Ends it; resolves when nothing of it runs any more. */
  unload(): Promise<void>;
}

/**
 * Verifies and starts a plugin with only the capabilities granted.
 *
 * @throws KedgeError when the manifest breaks its schema, the content hash or signature does not hold, the API
 *   range does not fit, or a capability was granted that was not asked for.
 */
export type LoadPlugin = (
  manifest: PluginManifest,
  granted: readonly PluginCapability[],
  signal: AbortSignal,
) => Promise<LoadedPlugin>;

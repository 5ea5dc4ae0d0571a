/**
 * Where the programs and files of the checkout are that the lab starts or reads.
 * It must hold places only.
 */
import { BOOT_BINARY } from '@kedge/boot';
import { WARDEN_BINARY } from '@kedge/warden';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const at = (path: string): string => `${root}${path}`;

/** The checkout, with a slash at its end. */
export const ROOT = root;

export const PROGRAMS = {
  warden: WARDEN_BINARY,
  boot: BOOT_BINARY,
  forwarder: at('plugins/dataplane/build/kedge-forwarder'),
  traffic: at('test/lab/build/kedge-traffic'),
  boardWatch: at('test/lab/build/kedge-board-watch'),
  coordinator: at('apps/posture-coordinator/bundle/main.js'),
  bridge: at('apps/vpp-bridge/bundle/main.js'),
  overlay: at('apps/overlay/bundle/main.js'),
  underlay: at('apps/underlay/bundle/main.js'),
  quartermaster: at('apps/quartermaster/bundle/main.js'),
  intent: at('apps/intent/bundle/main.js'),
  prepare: at('test/lab/dist/prepare.js'),
  names: at('test/lab/dist/names-program.js'),
  confine: at('libs/plugin-host/build/kedge-confine'),
  pluginRunner: at('libs/plugin-host/dist/child.js'),
} as const;

export const FILES = {
  accords: at('yang/defaults/accords.json'),
  zones: at('yang/defaults/zones.json'),
} as const;

/** What a plugin's process is started from, and the plugins that the lab has. */
export const PLUGINS = {
  readable: ['libs/plugin-host', 'libs/posture-source-kit', 'node_modules/@kedge'].map(at),
  indicatorFile: at('plugins/sources/indicator-file'),
} as const;

/**
 * Node's own flags for the quartermaster. Records live until they are durable, with thousands of others: in a young
 * generation of the usual size the collector copies them again and again.
 */
export const QUARTERMASTER_FLAGS: readonly string[] = ['--max-semi-space-size=32'];

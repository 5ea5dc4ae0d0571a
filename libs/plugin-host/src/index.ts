/**
 * The front door of the plugin host.
 * It must not decide about the posture; it hands on what a plugin may ask for.
 */
export { contentHashOf } from './content.js';
export { type PluginGround, type PluginRequest, type PluginStatus, postureSourceLoader } from './host.js';
export { readManifest } from './manifest.js';
export { type HostAnswer } from './messages.js';

/**
 * The pinned BPF maps `posture_level` and `posture_in_force`: layout, preparation, watching, publishing.
 * It must not decide what a level that is asked for leads to.
 */
export * from './in-force.js';
export * from './level-request.js';
export * from './level-watch.js';
export * from './prepare.js';

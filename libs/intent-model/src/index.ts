/**
 * Front door of the intent model: the trees of yang/trees.json as namespaces of types, and plans as data.
 * It must not hold code of its own.
 */
export type * as accordsTree from './accords-tree.js';
export type * as deviceTree from './device-tree.js';
export type * as deviceStateTree from './device-state-tree.js';
export type * as intentTree from './intent-tree.js';
export type * as operationsTree from './operations-tree.js';
export type * as siteTree from './site-tree.js';
export type * from './identities.js';
export * from './intent-trees.js';
export { planData, planFrom } from './plan-data.js';

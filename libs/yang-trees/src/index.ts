/**
 * Front door of the trees.
 * It must not hold code of its own.
 */
export { moduleFiles, PROJECT_MODULES, STANDARD_MODULES, type Tree, treesOf } from './trees.js';
export { OpenTrees, openTrees } from './open-trees.js';

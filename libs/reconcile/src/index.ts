/**
 * Plans as data: whether they hold together, and how they are undone.
 * It must stay pure; whoever applies a plan lives with the thing it changes.
 */
export { checkPlan, inverseOf } from './plan.js';

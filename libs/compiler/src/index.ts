/**
 * From intent and inventory to an ordered plan per device (UN-3), and the differences between two states of one.
 * It must not read a device, apply a plan or judge a difference.
 */
export {
  aimAt,
  type Aim,
  compile,
  type CompileOptions,
  type CompileRefusal,
  type DeviceCompilation,
  type DeviceInput,
  type Dormant,
  mayCompile,
} from './compile.js';
export { type Difference, differencesBetween } from './difference.js';
export { differencesText, planText } from './plan-text.js';
export { stepsBetween, type TransitionRules } from './transition.js';

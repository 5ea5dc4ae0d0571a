/**
 * The front door: contexts, trees, diffs, their values and their error.
 * It must not export handles of the addon.
 */
import { addon } from './addon.js';

/**
 * The library behind: the version of its interface (Debian 12's 2.1.30 says 2.29.2), and whether validation gives every
 * error or stops at the first.
 */
export const libyang: { readonly interface: string; readonly everyError: boolean } = Object.freeze({
  ...addon.library,
});

export {
  Context,
  type ContextOptions,
  type MessageOptions,
  type ModuleOptions,
  type ParseOptions,
  type YangDocument,
} from './context.js';
export type {
  DataFormat,
  DataTree,
  FindOptions,
  JobOptions,
  PrintOptions,
  TreeKind,
  ValidateOptions,
} from './data-tree.js';
export type { Change, Diff } from './diff.js';
export type { Limits } from './limits.js';
export { yangPath } from './paths.js';
export {
  type Interval,
  type Module,
  type ModuleSchema,
  type SchemaNode,
  type TypeInfo,
  walkSchema,
} from './schema.js';
export type { BaseType, DataKind, Settable, YangNode, YangValue } from './values.js';
export { type ProblemKind, YangError, type YangErrorJson, type YangProblem } from './yang-error.js';

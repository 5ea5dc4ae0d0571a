/**
 * The native addon: its calls and what they take.
 * Must not be exported: its functions check only what memory safety hangs on.
 */
import { KedgeError } from '@kedge/units';
import { createRequire } from 'node:module';

declare const brand: unique symbol;

/** A context of the addon; it works only in the thread that made it. */
export interface ContextHandle {
  readonly [brand]: 'context';
}

/** A tree, or a diff, of the addon. */
export interface RawTree {
  readonly [brand]: 'tree';
}

/** Changes that a job found, to be taken in pieces. */
export interface RawChanges {
  readonly [brand]: 'changes';
}

export interface RawNode {
  readonly path: string;
  readonly kind: string;
  readonly isDefault: boolean;
  /** Of leaves and entries of leaf-lists: the canonical value, and the place of its type in `types`. */
  readonly value?: string;
  readonly type?: number;
}

export interface RawChange extends RawNode {
  readonly op: 'create' | 'delete' | 'replace' | 'move';
  readonly before?: RawNode;
  readonly after?: RawNode;
  readonly behindBefore?: string;
  readonly behindAfter?: string;
}

export interface RawProblem {
  readonly message: string;
  readonly location: string;
  readonly path: string;
  readonly schemaPath: string;
  readonly appTag: string;
  readonly line: number;
  readonly kind: number;
}

/** Numbers that stand for words in the calls. */
export const FORMATS = { json: 0, xml: 1 } as const;
export const KINDS = { configuration: 0, operational: 1, rpc: 2, reply: 3, notification: 4 } as const;
export const CHECKS = { all: 0, present: 1, none: 2 } as const;
export const DEFAULTS = { explicit: 0, trim: 1, all: 2, tagged: 3 } as const;

type Document = string | Uint8Array;

export interface Addon {
  readonly library: { readonly interface: string; readonly everyError: boolean };
  readonly types: readonly string[];
  newContext(directories: readonly string[], options: number): ContextHandle;
  closeContext(context: ContextHandle): void;
  loadModule(
    context: ContextHandle,
    name: string,
    revision: string | undefined,
    features: readonly string[] | undefined,
  ): unknown;
  parseModule(
    context: ContextHandle,
    text: string,
    yin: boolean,
    features: readonly string[] | undefined,
  ): unknown;
  modules(context: ContextHandle): readonly unknown[];
  schema(context: ContextHandle, module: string): unknown;
  schemaAt(context: ContextHandle, path: string, output: boolean): unknown;
  parse(
    context: ContextHandle,
    document: Document,
    format: number,
    kind: number,
    check: number,
    depth: number,
  ): Promise<RawTree>;
  parseMessage(
    context: ContextHandle,
    document: Document,
    format: number,
    kind: number,
    depth: number,
    reference: RawTree | undefined,
  ): Promise<RawTree>;
  emptyTree(context: ContextHandle, kind: number): RawTree;
  closeTree(tree: RawTree): void;
  validate(tree: RawTree, check: number, reference: RawTree | undefined): Promise<void>;
  print(
    tree: RawTree,
    format: number,
    pretty: boolean,
    defaults: number,
    emptyContainers: boolean,
  ): Promise<string>;
  find(tree: RawTree, xpath: string, limit: number): Promise<readonly RawNode[]>;
  get(tree: RawTree, path: string): RawNode | undefined;
  set(tree: RawTree, path: string, value: string | undefined): boolean;
  remove(tree: RawTree, path: string): boolean;
  move(tree: RawTree, path: string, beside: string, before: boolean): void;
  duplicate(tree: RawTree): Promise<RawTree>;
  merge(into: RawTree, from: RawTree): Promise<void>;
  diff(before: RawTree, after: RawTree): Promise<RawTree>;
  apply(diff: RawTree, to: RawTree): Promise<void>;
  reverse(diff: RawTree): Promise<RawTree>;
  readChanges(diff: RawTree): Promise<{ readonly count: number; readonly handle: RawChanges }>;
  takeChanges(changes: RawChanges, from: number, count: number): readonly RawChange[];
}

function load(): Addon {
  try {
    return createRequire(import.meta.url)('../build/yang.node') as Addon;
  } catch (cause) {
    throw new KedgeError({
      code: 'YANG_ADDON',
      message: 'cannot load the native addon of @kedge/libyang-ts: it is not built for this machine',
      field: 'addon',
      expected: 'build/yang.node, and the libyang that it was built with',
      help: 'run make in the package’s directory (needs make, a C++17 compiler, libyang and PCRE2 with headers)',
      cause,
    });
  }
}

/** Loaded once. @throws KedgeError `YANG_ADDON` */
export const addon: Addon = load();

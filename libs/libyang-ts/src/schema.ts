/**
 * Modules and their schema, as plain values.
 * Must not point into a context: what was read once stays as it was.
 */
import type { BaseType, DataKind } from './values.js';

/** A module of a context. */
export interface Module {
  readonly name: string;
  /** `2018-02-20`; undefined where the module has none. */
  readonly revision?: string;
  readonly namespace: string;
  readonly prefix: string;
  /** Its data can be used; otherwise it was only imported. */
  readonly implemented: boolean;
  readonly features: readonly { readonly name: string; readonly enabled: boolean }[];
  /** Names of the modules that it imports. */
  readonly imports: readonly string[];
  /** Names of the identities that it defines. */
  readonly identities: readonly string[];
  /** The file it was read from, where it was one. */
  readonly file?: string;
  readonly organization?: string;
  readonly contact?: string;
  readonly description?: string;
}

/** Bounds as YANG writes them: text, since 64 bits do not fit a number. */
export interface Interval {
  readonly min: string;
  readonly max: string;
}

/** A type with everything that restricts it. */
export interface TypeInfo {
  readonly base: BaseType;
  readonly range?: readonly Interval[];
  readonly length?: readonly Interval[];
  readonly patterns?: readonly { readonly expression: string; readonly inverted: boolean }[];
  readonly enums?: readonly { readonly name: string; readonly value: number }[];
  readonly bits?: readonly { readonly name: string; readonly position: number }[];
  readonly fractionDigits?: number;
  /** Of an identityref: what values are derived from, and every value that there is. */
  readonly bases?: readonly string[];
  readonly identities?: readonly string[];
  /** Of a leafref: its path as the module writes it, and the type of what it leads to. */
  readonly path?: string;
  readonly target?: TypeInfo;
  readonly requireInstance?: boolean;
  /** Of a union. */
  readonly types?: readonly TypeInfo[];
}

/** A node of the schema with everything below it. */
export interface SchemaNode {
  readonly kind: DataKind | 'choice' | 'case' | 'input' | 'output';
  readonly name: string;
  readonly module: string;
  /** With choices and cases, inputs and outputs. */
  readonly schemaPath: string;
  /** As data has it; undefined for what data does not show. */
  readonly path?: string;
  /** False for state; undefined in operations and notifications. */
  readonly config?: boolean;
  readonly mandatory: boolean;
  readonly status: 'current' | 'deprecated' | 'obsolete';
  readonly description?: string;
  readonly reference?: string;
  /** Of containers: being there means something. */
  readonly presence?: boolean;
  /** Of leaves and leaf-lists. */
  readonly type?: TypeInfo;
  readonly units?: string;
  readonly defaults?: readonly string[];
  /** The leaf is a key of its list. */
  readonly key?: boolean;
  /** Of lists and leaf-lists. */
  readonly orderedBy?: 'user' | 'system';
  readonly minElements?: number;
  /** Undefined for any number. */
  readonly maxElements?: number;
  /** Of lists; empty where it has none. */
  readonly keys?: readonly string[];
  readonly musts: readonly {
    readonly condition: string;
    readonly message?: string;
    readonly appTag?: string;
  }[];
  readonly whens: readonly string[];
  readonly children: readonly SchemaNode[];
}

/** What an implemented module has at its top, augmentations of others included. */
export interface ModuleSchema {
  readonly data: readonly SchemaNode[];
  readonly rpcs: readonly SchemaNode[];
  readonly notifications: readonly SchemaNode[];
}

/** Every node below and with the given ones, each before its children. */
export function* walkSchema(nodes: readonly SchemaNode[]): Generator<SchemaNode, void, undefined> {
  for (const node of nodes) {
    yield node;
    yield* walkSchema(node.children);
  }
}

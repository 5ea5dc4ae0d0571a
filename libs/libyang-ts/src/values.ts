/**
 * Values as TypeScript sees them: RFC 7951's types, of what libyang keeps as canonical text.
 * Must not lose a digit: what does not fit a number of JavaScript stays text.
 */
import { addon, type RawNode } from './addon.js';
import { wrongArgument } from './yang-error.js';

/** YANG's built-in types. Unions and leafrefs show as what a value really is. */
export type BaseType =
  | 'binary'
  | 'bits'
  | 'boolean'
  | 'decimal64'
  | 'empty'
  | 'enumeration'
  | 'identityref'
  | 'instance-identifier'
  | 'int8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'leafref'
  | 'string'
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'uint64'
  | 'union';

/** Data nodes by their statement. */
export type DataKind =
  'container' | 'leaf' | 'leaf-list' | 'list' | 'anydata' | 'anyxml' | 'rpc' | 'action' | 'notification';

/**
 * A value as RFC 7951 writes it: integers of up to 32 bits are numbers, of 64 bits and decimals text, `empty` is
 * `[null]`, identities carry their module (`iana-if-type:ethernetCsmacd`).
 */
export type YangValue = string | number | boolean | readonly [null];

/** A node of a tree, as it stood when it was asked for. */
export interface YangNode {
  /** Absolute, with the keys of all list entries. */
  readonly path: string;
  readonly kind: DataKind;
  /** Of leaves and entries of leaf-lists. */
  readonly value?: YangValue;
  /** The type that the value has. */
  readonly type?: BaseType;
  /** It stands there only because its module says so. */
  readonly isDefault: boolean;
}

function valueOf(type: BaseType, text: string): YangValue {
  switch (type) {
    case 'int8':
    case 'int16':
    case 'int32':
    case 'uint8':
    case 'uint16':
    case 'uint32':
      return Number(text);
    case 'boolean':
      return text === 'true';
    case 'empty':
      return [null];
    default:
      return text;
  }
}

/** A node of the addon with its value typed. */
export function nodeOf(raw: RawNode): YangNode {
  const node = { path: raw.path, kind: raw.kind as DataKind, isDefault: raw.isDefault };
  if (raw.value === undefined || raw.type === undefined) return node;
  const type = addon.types[raw.type] as BaseType;
  return { ...node, value: valueOf(type, raw.value), type };
}

/** What may be set: a value, a bigint, or nothing (containers, entries, `empty`). */
export type Settable = YangValue | bigint | null | undefined;

/** The text that libyang takes for a value. @throws YangError `YANG_ARGUMENT` */
export function textOf(operation: string, value: Settable): string | undefined {
  if (
    value === undefined ||
    value === null ||
    (Array.isArray(value) && value.length === 1 && value[0] === null)
  )
    return undefined;
  if (typeof value === 'number' && !Number.isFinite(value))
    throw wrongArgument(operation, 'value', 'a finite number');
  if (['string', 'number', 'boolean', 'bigint'].includes(typeof value)) {
    const text = String(value);
    if (!text.includes('\0')) return text;
  }
  throw wrongArgument(
    operation,
    'value',
    'text without NUL, a number, a bigint, a boolean, [null], or nothing',
  );
}

/**
 * The compiled schema of a tree as plain data: every node with its module, type and whether it has to be there.
 * It must not be asked about groupings, typedefs or augmentations; in a compiled schema there are none left.
 */
import { KedgeError } from '@kedge/units';
import type { Tree } from '@kedge/yang-trees';

import { argumentOf, childOf, type Statement, statementsOf } from './statements.js';
import { compiled } from './yanglint.js';

/** The type of a leaf or leaf-list, with typedefs followed and leafrefs replaced by what they point at. */
export type SchemaType =
  | { readonly kind: 'string' | 'boolean' | 'empty' | 'binary' | 'bits' | 'instance-identifier' }
  | {
      /** `int8` to `uint32` are JSON numbers, 64-bit ones and decimal64 are JSON strings (RFC 7951 §6.1). */
      readonly kind: 'number' | 'number-as-string';
      readonly yang: string;
      /** As in the module; absent where the whole type is allowed. */
      readonly range?: string;
    }
  | { readonly kind: 'enumeration'; readonly values: readonly string[] }
  | {
      readonly kind: 'identityref';
      /** `module:name` of what the identities derive from. */
      readonly base: string;
      /** `module:name` of each, in order of name. */
      readonly values: readonly string[];
    }
  | { readonly kind: 'union'; readonly members: readonly SchemaType[] };

/** A data node. Choices and cases are no data nodes; what is in them stands where they stand. */
export interface SchemaNode {
  readonly kind: 'container' | 'list' | 'leaf' | 'leaf-list' | 'anydata';
  readonly name: string;
  /** The module whose namespace it is in. */
  readonly module: string;
  readonly description: string;
  readonly units?: string;
  readonly default?: string;
  /** False for state. */
  readonly config: boolean;
  /** True where every instance of its parent has it: no `when`, not within a choice, and mandatory by itself. */
  readonly required: boolean;
  /** Of a leaf or leaf-list. */
  readonly type?: SchemaType;
  /** Of a list. */
  readonly keys?: readonly string[];
  readonly children: readonly SchemaNode[];
}

/** The compiled schema of a tree: its top-level nodes, in the order of its modules. */
export interface Schema {
  readonly tree: Tree;
  readonly nodes: readonly SchemaNode[];
}

const DATA = ['container', 'list', 'leaf', 'leaf-list', 'anydata', 'anyxml', 'choice', 'case'] as const;
const NUMBERS: Readonly<Record<string, 'number' | 'number-as-string'>> = {
  int8: 'number',
  int16: 'number',
  int32: 'number',
  int64: 'number-as-string',
  uint8: 'number',
  uint16: 'number',
  uint32: 'number',
  uint64: 'number-as-string',
  decimal64: 'number-as-string',
};

/** A line of yanglint's tree: which module a node is of is said there and nowhere in its other format. */
interface Line {
  readonly name: string;
  readonly prefix?: string;
  readonly children: Line[];
}

/**
 * Reads the schema of a tree.
 *
 * @throws KedgeError `SCHEMA_REFUSED` when its modules do not compile, `SCHEMA_UNAVAILABLE` without yanglint,
 *   `SCHEMA_SYNTAX` when yanglint prints what is not understood here
 */
export async function schemaOf(tree: Tree): Promise<Schema> {
  const [info, lines] = await Promise.all([compiled(tree, 'info'), compiled(tree, 'tree')]);
  return schemaFrom(tree, info, lines);
}

/** The schema of what yanglint printed in its formats `info` and `tree`. */
export function schemaFrom(tree: Tree, info: string, lines: string): Schema {
  // libyang 2.1 leaves the closing quote of `unique` out.
  const whole = info.replace(/^(\s*unique "[^"\n]*);$/gm, '$1";');
  const modules = statementsOf(whole, `the schema of ${tree.name}`);
  const prefixes = new Map(modules.map((module) => [argumentOf(module, 'prefix') ?? '', nameOf(module)]));
  const printed = linesOf(lines);
  const identities = identitiesOf(modules, prefixes);
  const named = new Set(tree.modules.map(({ name }) => name));
  const nodes = modules
    .filter((module) => named.has(nameOf(module)))
    .flatMap((module) =>
      nodesOf(module, printed.get(nameOf(module)) ?? [], {
        prefixes,
        identities,
        module: nameOf(module),
        top: nameOf(module),
      }),
    );
  return { tree, nodes };
}

interface Surroundings {
  readonly prefixes: ReadonlyMap<string, string>;
  readonly identities: ReadonlyMap<string, readonly string[]>;
  /** The module of the parent node. */
  readonly module: string;
  /** The module whose tree is printed: its nodes have no prefix there. */
  readonly top: string;
  /** True below a choice: no node of it is required by itself. */
  readonly chosen?: boolean;
}

function nodesOf(parent: Statement, lines: readonly Line[], around: Surroundings): SchemaNode[] {
  const statements = parent.children.filter(({ keyword }) => (DATA as readonly string[]).includes(keyword));
  if (statements.length !== lines.length) throw puzzled(parent, 'another number of nodes in its tree');
  return statements.flatMap((statement, index): SchemaNode[] => {
    const line = lines[index];
    if (line?.name !== nameOf(statement)) throw puzzled(statement, 'another name in its tree');
    const module = line.prefix === undefined ? around.top : around.prefixes.get(line.prefix);
    if (module === undefined) throw puzzled(statement, `a prefix ${line.prefix ?? ''} of no module`);
    const inside = { ...around, module };
    if (statement.keyword === 'choice' || statement.keyword === 'case')
      return nodesOf(statement, line.children, { ...inside, chosen: true });
    return [nodeOf(statement, line, inside, around.chosen === true)];
  });
}

function nodeOf(statement: Statement, line: Line, around: Surroundings, chosen: boolean): SchemaNode {
  const kind = statement.keyword === 'anyxml' ? 'anydata' : (statement.keyword as SchemaNode['kind']);
  const children = nodesOf(statement, line.children, { ...around, chosen: false });
  const units = argumentOf(statement, 'units');
  const preset = argumentOf(statement, 'default');
  const type = childOf(statement, 'type');
  const keys = statement.keyword === 'list' ? keysOf(statement, children) : undefined;
  return {
    kind,
    name: nameOf(statement),
    module: around.module,
    description: argumentOf(statement, 'description') ?? '',
    ...(units === undefined ? {} : { units }),
    ...(preset === undefined ? {} : { default: preset }),
    config: argumentOf(statement, 'config') !== 'false',
    required: !chosen && childOf(statement, 'when') === undefined && isNeeded(statement, children),
    ...(type === undefined ? {} : { type: typeOf(type, around) }),
    ...(keys === undefined ? {} : { keys }),
    children: children.map((child) =>
      keys?.includes(child.name) === true && child.module === around.module
        ? { ...child, required: true }
        : child,
    ),
  };
}

/**
 * The keys of a list, which are its first leaves. libyang 2.1 prints them without anything between them, and behind a
 * comma where the list has a `must`.
 */
function keysOf(statement: Statement, children: readonly SchemaNode[]): string[] | undefined {
  const text = argumentOf(statement, 'key');
  if (text === undefined) return undefined;
  let rest = text.replace(/[\s,]/g, '');
  const keys: string[] = [];
  for (const { name } of children) {
    if (rest === '' || !rest.startsWith(name)) break;
    keys.push(name);
    rest = rest.slice(name.length);
  }
  if (rest !== '') throw puzzled(statement, `keys ${text}`);
  return keys;
}

function isNeeded(statement: Statement, children: readonly SchemaNode[]): boolean {
  if (statement.keyword === 'container') {
    if (childOf(statement, 'presence') !== undefined) return false;
    const config = argumentOf(statement, 'config') !== 'false';
    return (
      children.some((child) => child.required && child.config === config) ||
      statement.children.some(
        (child) => child.keyword === 'choice' && childOf(child, 'when') === undefined && isNeeded(child, []),
      )
    );
  }
  return (
    argumentOf(statement, 'mandatory') === 'true' || Number(argumentOf(statement, 'min-elements') ?? '0') > 0
  );
}

function typeOf(type: Statement, around: Surroundings): SchemaType {
  const name = nameOf(type);
  const number = NUMBERS[name];
  if (number !== undefined) {
    const range = argumentOf(type, 'range');
    return { kind: number, yang: name, ...(range === undefined ? {} : { range }) };
  }
  switch (name) {
    case 'string':
    case 'boolean':
    case 'empty':
    case 'binary':
    case 'bits':
    case 'instance-identifier':
      return { kind: name };
    case 'enumeration':
      return {
        kind: 'enumeration',
        values: type.children.filter(({ keyword }) => keyword === 'enum').map(nameOf),
      };
    case 'identityref': {
      const bases = type.children.filter(({ keyword }) => keyword === 'base').map(nameOf);
      const [base = '', ...more] = bases.map((text) => identityOf(text, around));
      if (more.length > 0) throw puzzled(type, 'several bases');
      return { kind: 'identityref', base, values: around.identities.get(base) ?? [] };
    }
    case 'leafref': {
      const real = childOf(type, 'type');
      if (real === undefined) throw puzzled(type, 'no type of what it points at');
      return typeOf(real, around);
    }
    case 'union':
      return {
        kind: 'union',
        members: type.children.filter(({ keyword }) => keyword === 'type').map((one) => typeOf(one, around)),
      };
    default:
      throw puzzled(type, 'a type that is none of RFC 7950');
  }
}

/** A base is printed without a prefix even where it is of another module than the node. */
function identityOf(text: string, { prefixes, identities, module }: Surroundings): string {
  const [prefix, name] = text.includes(':') ? text.split(':') : [undefined, text];
  if (prefix !== undefined) return `${prefixes.get(prefix) ?? prefix}:${name ?? ''}`;
  if (identities.has(`${module}:${text}`)) return `${module}:${text}`;
  const others = [...identities.keys()].filter((key) => key.endsWith(`:${text}`));
  return others.length === 1 ? (others[0] ?? text) : `${module}:${text}`;
}

/** For each identity what derives from it, however far, in order of name. */
function identitiesOf(
  modules: readonly Statement[],
  prefixes: ReadonlyMap<string, string>,
): ReadonlyMap<string, readonly string[]> {
  const direct = new Map<string, string[]>();
  for (const module of modules)
    for (const identity of module.children.filter(({ keyword }) => keyword === 'identity')) {
      const derived = identity.children
        .filter(({ keyword }) => keyword === 'derived')
        .map((child) => {
          const [first = '', second] = nameOf(child).split(':');
          return second === undefined
            ? `${nameOf(module)}:${first}`
            : `${prefixes.get(first) ?? first}:${second}`;
        });
      direct.set(`${nameOf(module)}:${nameOf(identity)}`, derived);
    }
  const below = (name: string): string[] =>
    (direct.get(name) ?? []).flatMap((derived) => [derived, ...below(derived)]);
  return new Map([...direct.keys()].map((name) => [name, [...new Set(below(name))].sort()]));
}

/** The trees of yanglint's format `tree`, by module: data nodes, choices and cases, nothing else. */
function linesOf(text: string): ReadonlyMap<string, Line[]> {
  const found = new Map<string, Line[]>();
  let open: { depth: number; children: Line[] }[] = [];
  for (const row of text.split('\n')) {
    const module = /^module: (\S+)$/.exec(row)?.[1];
    if (module !== undefined) {
      const children: Line[] = [];
      found.set(module, children);
      open = [{ depth: -1, children }];
      continue;
    }
    // An empty line or a heading ends the data of a module; augmentations, calls and notifications follow.
    if (row.trim() === '' || /^ {2}\S.*:$/.test(row)) open = [];
    const chosen = /^([ |]*)[+xo]--:\(([^)]+)\)/.exec(row);
    const [, before, flags = '', name = ''] = chosen
      ? [chosen[0], chosen[1], '', chosen[2]]
      : (/^([ |]*)[+xo]--(rw|ro|-[a-z-]) \(?([^\s()?*!{]+)/.exec(row) ?? []);
    if (before === undefined || open.length === 0) continue;
    const depth = before.length;
    while ((open.at(-1)?.depth ?? -1) >= depth) open.pop();
    const [first = '', second] = name.split(':');
    const line: Line = {
      name: second ?? first,
      ...(second === undefined ? {} : { prefix: first }),
      children: [],
    };
    // Actions and notifications within data take their lines with them.
    if (!flags.startsWith('-')) open.at(-1)?.children.push(line);
    open.push({ depth, children: line.children });
  }
  return found;
}

function nameOf(statement: Statement): string {
  return statement.argument ?? '';
}

function puzzled(statement: Statement, what: string): KedgeError {
  return new KedgeError({
    code: 'SCHEMA_SYNTAX',
    message: `cannot understand the compiled schema at ${statement.keyword} ${nameOf(statement)}: ${what}`,
    field: nameOf(statement),
  });
}

/**
 * Writes the TypeScript types of a tree's data in JSON (RFC 7951): an interface for each container and list.
 * It must not repeat what others wrote: of nodes of standard modules only range, unit and default are told.
 */
import { KedgeError } from '@kedge/units';

import type { Schema, SchemaNode, SchemaType } from './schema.js';

/** The column at which the formatter breaks lines. */
const WIDTH = 110;

/** What {@link typesOf} wrote. */
export interface WrittenTypes {
  /** One source file for each tree, by the tree's name. */
  readonly trees: ReadonlyMap<string, string>;
  /** The source file with the names of identities, which the trees share. */
  readonly identities: string;
}

/**
 * The types of several trees. What they mean: a member is named as RFC 7951 §4 says (with its module where that is
 * another one than around it); 64-bit numbers and decimals are strings; `empty` is `[null]`; identities and enums are
 * unions; lists and leaf-lists are arrays; a leafref is what it points at; what stands in a choice stands in its
 * parent, optional. In trees of intent there are no state nodes.
 *
 * @throws KedgeError `SCHEMA_NAMES` when two nodes of a tree, or two identities, would have one name
 */
export function typesOf(schemas: readonly Schema[]): WrittenTypes {
  const identities = new Map<string, { base: string; values: readonly string[] }>();
  const trees = new Map(schemas.map((schema) => [schema.tree.name, treeTypes(schema, identities)]));
  const unions = [...identities.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, { base, values }]) =>
        `/** What derives from the identity \`${base}\`. */\n${declared(`export type ${name} =`, values.map(quoted), '')}`,
    );
  return {
    trees,
    identities: [
      head(
        'The names of identities in the trees, as RFC 7951 §6.8 writes them.',
        'the modules of yang/trees.json',
      ),
      ...unions,
    ].join('\n\n'),
  };
}

function head(what: string, source: string): string {
  return `/**\n * ${what}\n * Written by \`npm run yang:types\` from ${source}; it must not be changed by hand.\n */`;
}

type Identities = Map<string, { base: string; values: readonly string[] }>;

function treeTypes({ tree, nodes }: Schema, identities: Identities): string {
  const wanted = (node: SchemaNode): boolean => tree.nodes === 'all' || node.config;
  const interfaces: string[] = [];
  const taken = new Map<string, string>();
  const used = new Set<string>();

  const textOf = (type: SchemaType): string[] => {
    switch (type.kind) {
      case 'string':
      case 'binary':
      case 'bits':
      case 'instance-identifier':
      case 'number-as-string':
        return ['string'];
      case 'boolean':
      case 'number':
        return [type.kind];
      case 'empty':
        return ['readonly [null]'];
      case 'enumeration':
        return type.values.map(quoted);
      case 'union':
        return [...new Set(type.members.flatMap(textOf))];
      case 'identityref': {
        const name = pascal(type.base.slice(type.base.indexOf(':') + 1));
        const other = identities.get(name);
        if (other !== undefined && other.base !== type.base)
          throw clash(name, `identity ${type.base}`, `identity ${other.base}`);
        // A tree that loads more modules knows more identities; the type holds them all.
        const values = [...new Set([...(other?.values ?? []), ...type.values])].sort();
        identities.set(name, { base: type.base, values });
        used.add(name);
        return [name];
      }
    }
  };

  const member = (node: SchemaNode, parent: SchemaNode | undefined, path: readonly SchemaNode[]): string => {
    const name = node.module === parent?.module ? node.name : `${node.module}:${node.name}`;
    const key = `readonly ${/^[a-z][A-Za-z0-9]*$/.test(name) ? name : quoted(name)}${node.required ? '' : '?'}:`;
    const many = node.kind === 'list' || node.kind === 'leaf-list';
    const parts =
      node.kind === 'anydata'
        ? ['Readonly<Record<string, unknown>>']
        : node.type === undefined
          ? [written(node, path)]
          : textOf(node.type);
    const comment = commentOf(node);
    const lines = many ? arrayOf(`  ${key}`, parts) : declared(`  ${key}`, parts, '  ');
    return `${comment}${lines}`;
  };

  const written = (node: SchemaNode, path: readonly SchemaNode[]): string => {
    const name = interfaceName([...path, node]);
    const place = `/${[...path, node].map((step) => step.name).join('/')}`;
    const other = taken.get(name);
    if (other !== undefined) throw clash(name, place, other);
    taken.set(name, place);
    const slot = interfaces.push('') - 1;
    const members = node.children.filter(wanted).map((child) => member(child, node, [...path, node]));
    const description = sentences(node);
    interfaces[slot] = [
      ...(description === '' ? [`/** \`${place}\` */`] : comment('', [`${description} \`${place}\``])),
      members.length === 0
        ? `export type ${name} = Readonly<Record<string, never>>;`
        : `export interface ${name} {\n${members.join('\n')}\n}`,
    ].join('\n');
    return name;
  };

  const root = pascal(`${tree.name}-tree`);
  taken.set(root, 'the tree itself');
  const members = nodes.filter(wanted).map((node) => member(node, undefined, []));
  const title = `The tree \`${tree.name}\`: ${tree.what}.`;
  const imports = [...used].sort();
  return [
    head(title, 'the modules that yang/trees.json names for it'),
    ...(imports.length === 0 ? [] : [imported(imports)]),
    `/** A whole document of the tree. */\nexport interface ${root} {\n${members.join('\n')}\n}`,
    ...interfaces,
    '',
  ]
    .join('\n\n')
    .replace(/\n+$/, '\n');
}

function imported(names: readonly string[]): string {
  const line = `import type { ${names.join(', ')} } from './identities.js';`;
  return line.length <= WIDTH
    ? line
    : `import type {\n${names.map((name) => `  ${name},`).join('\n')}\n} from './identities.js';`;
}

/** `start` and a union, on one line or broken as the formatter breaks it. */
function declared(start: string, parts: readonly string[], indent: string): string {
  const line = `${start} ${parts.length === 0 ? 'never' : parts.join(' | ')};`;
  if (line.length <= WIDTH || parts.length < 2) return line;
  const next = `${indent}  ${parts.join(' | ')};`;
  if (next.length <= WIDTH) return `${start}\n${next}`;
  return `${start}\n${parts.map((part) => `${indent}  | ${part}`).join('\n')};`;
}

function arrayOf(start: string, parts: readonly string[]): string {
  const only = parts.length === 1 ? (parts[0] ?? '') : undefined;
  if (only !== undefined) return `${start} readonly ${only.includes(' ') ? `(${only})` : only}[];`;
  const line = `${start} readonly (${parts.join(' | ')})[];`;
  if (line.length <= WIDTH) return line;
  return `${start} readonly (\n${parts.map((part) => `    | ${part}`).join('\n')}\n  )[];`;
}

/**
 * A list in a container of its plural gives its own name alone (`devices/device` is `Device`), everything else the
 * names of all that it stands in.
 */
function interfaceName(path: readonly SchemaNode[]): string {
  const words = path.flatMap((node, index) => {
    const inner = path[index + 1];
    return inner?.kind === 'list' && `${inner.name}s` === node.name ? [] : [node.name];
  });
  return pascal(words.join('-'));
}

function pascal(words: string): string {
  return words
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
}

/** The description of one of our own nodes, in one line. */
function sentences(node: SchemaNode): string {
  if (!node.module.startsWith('kedge-')) return '';
  return node.description.replace(/\s+/g, ' ').replaceAll('*/', '* /').trim();
}

function commentOf(node: SchemaNode): string {
  const facts = [
    ...(node.type === undefined ? [] : rangeOf(node.type)),
    ...(node.units === undefined ? [] : [`in ${node.units}`]),
    ...(node.default === undefined ? [] : [`default ${node.default}`]),
    ...(node.keys === undefined ? [] : [`keyed by ${node.keys.join(' and ')}`]),
    ...(node.config ? [] : ['state']),
  ].join(', ');
  // The comment of a container or list says again what its interface says: here it is only what differs.
  const text = node.kind === 'container' || node.kind === 'list' ? '' : sentences(node);
  const tail = facts === '' ? '' : `${facts.charAt(0).toUpperCase()}${facts.slice(1)}.`;
  const lines = [text, tail].filter((part) => part !== '');
  return lines.length === 0 ? '' : `${comment('  ', [lines.join(' ')]).join('\n')}\n`;
}

function rangeOf(type: SchemaType): string[] {
  if (type.kind === 'number') return [type.range === undefined ? type.yang : `range ${type.range}`];
  if (type.kind === 'number-as-string')
    return [`${type.yang} as text${type.range === undefined ? '' : `, range ${type.range}`}`];
  return [];
}

function comment(indent: string, paragraphs: readonly string[]): string[] {
  const [only = ''] = paragraphs;
  const line = `${indent}/** ${only} */`;
  if (line.length <= WIDTH) return [line];
  const rows: string[] = [];
  let row = `${indent} *`;
  for (const word of only.split(' ')) {
    if (row.length + 1 + word.length > WIDTH) {
      rows.push(row);
      row = `${indent} *`;
    }
    row += ` ${word}`;
  }
  return [`${indent}/**`, ...rows, row, `${indent} */`];
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function clash(name: string, one: string, other: string): KedgeError {
  return new KedgeError({
    code: 'SCHEMA_NAMES',
    message: `cannot name the types of the trees: ${one} and ${other} would both be ${name}`,
    field: name,
  });
}

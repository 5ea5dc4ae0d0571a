/**
 * The shape of one tree: where its lists are and by what they are keyed, and what stands where in its schema.
 * It must not look at data.
 */
import type { SchemaNode } from '@kedge/libyang-ts';

/** A list, or a leaf-list, of a tree. */
export interface ListShape {
  /** Names of its keys, in the order of the module; of a leaf-list `.` alone. */
  readonly keys: readonly string[];
  /** Its user orders it: the order of its entries means something. */
  readonly isOrdered: boolean;
}

/** What is known of a tree without its data. Paths are data paths without keys, as a document names the nodes. */
export class TreeShape {
  /** Names of the nodes at the top, with their modules. */
  readonly top: ReadonlySet<string>;
  readonly #lists = new Map<string, ListShape>();
  readonly #places = new Map<string, string>();
  readonly #choices = new Map<string, readonly string[]>();

  constructor(top: readonly SchemaNode[]) {
    this.top = new Set(top.map(nameAtTop));
    for (const node of top) this.#take(node, '', undefined);
  }

  /** The list at a path. */
  listAt(path: string): ListShape | undefined {
    return this.#lists.get(path);
  }

  /** The data path of a node of the schema; of a choice, its name behind what it stands in. */
  placeOf(schemaPath: string): string | undefined {
    return this.#places.get(schemaPath);
  }

  /** The nodes of a choice, of which one has to be there; undefined for every other node. */
  choiceAt(path: string): readonly string[] | undefined {
    return this.#choices.get(path);
  }

  /** @param within module of the data node that it stands in. */
  #take(node: SchemaNode, parent: string, within: string | undefined): void {
    const isData = node.path !== undefined;
    const name = node.module === within ? node.name : nameAtTop(node);
    const path = node.kind === 'case' ? parent : `${parent}/${name}`;
    this.#places.set(node.schemaPath, path);
    if (node.kind === 'choice') this.#choices.set(path, [...namesBelow(node, within)]);
    const isOrdered = node.orderedBy === 'user';
    if (node.kind === 'list') this.#lists.set(path, { keys: node.keys ?? [], isOrdered });
    if (node.kind === 'leaf-list') this.#lists.set(path, { keys: ['.'], isOrdered });
    for (const child of node.children)
      this.#take(child, isData ? path : parent, isData ? node.module : within);
  }
}

/** Data nodes of a choice, through its cases and the choices within. */
function* namesBelow(node: SchemaNode, within: string | undefined): Generator<string> {
  for (const child of node.children) {
    if (child.path === undefined) yield* namesBelow(child, within);
    else yield child.module === within ? child.name : nameAtTop(child);
  }
}

function nameAtTop({ module, name }: Pick<SchemaNode, 'module' | 'name'>): string {
  return `${module}:${name}`;
}

/**
 * YANG contexts, one for each tree: what its modules define, and data by them.
 * It must not read or judge data; whoever has a context does.
 */
import { Context, type Module, type ModuleSchema } from '@kedge/libyang-ts';
import { KedgeError } from '@kedge/units';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { type Tree, treesOf } from './trees.js';

/** Trees that are open. Loading modules takes tens of milliseconds of the thread: each tree is opened once. */
export class OpenTrees implements Disposable {
  readonly #trees: ReadonlyMap<string, Tree>;
  readonly #contexts = new Map<string, Context>();

  /** Made by {@link openTrees}. */
  constructor(trees: ReadonlyMap<string, Tree>) {
    this.#trees = trees;
  }

  /** What yang/trees.json says of a tree. @throws KedgeError `SCHEMA_TREES` where it names no such tree. */
  tree(name: string): Tree {
    const tree = this.#trees.get(name);
    if (tree !== undefined) return tree;
    throw new KedgeError({
      code: 'SCHEMA_TREES',
      message: `cannot open the tree ${name}: there is none of this name`,
      field: 'name',
      expected: [...this.#trees.keys()].join(', '),
    });
  }

  /**
   * The context of a tree, with every feature of its modules; the same one each time. It is opened when it is asked for
   * first, unless it was named before.
   *
   * @throws KedgeError `SCHEMA_TREES`; YangError `YANG_MODULE` where libyang does not take a module.
   */
  context(name: string): Context {
    const known = this.#contexts.get(name);
    if (known !== undefined) return known;
    const { modules, path } = this.tree(name);
    const context = new Context({ searchDirectories: path });
    try {
      for (const module of modules) context.load(module.name, { features: 'all' });
    } catch (error) {
      context.dispose();
      throw error;
    }
    this.#contexts.set(name, context);
    return context;
  }

  /** What the modules of a tree have at its top, state and operations left out. @throws as {@link context} */
  top(name: string): ModuleSchema['data'] {
    const context = this.context(name);
    return this.tree(name)
      .modules.flatMap((module) => context.schema(module.name).data)
      .filter(({ config }) => config === true);
  }

  /**
   * Whose data these trees take, in one hash: SHA-256 over their modules with revision, features and text, also of those
   * that were only imported. Modules that libyang brings itself are known by their revision.
   *
   * @throws as {@link context}; what reading a module's file throws.
   */
  fingerprint(names: readonly string[]): string {
    const hash = createHash('sha256');
    const texts = new Map<string, string>();
    const textHash = (file: string): string => {
      const known = texts.get(file) ?? createHash('sha256').update(readFileSync(file)).digest('hex');
      texts.set(file, known);
      return known;
    };
    for (const name of names) {
      const modules = this.context(name)
        .modules()
        .map((module) => lineOf(module, textHash))
        .sort();
      hash.update(`${[`tree ${name}`, ...modules].join('\n')}\n`);
    }
    return hash.digest('hex');
  }

  /** Lets go of every context; trees of data keep theirs as long as they live. */
  dispose(): void {
    for (const context of this.#contexts.values()) context.dispose();
    this.#contexts.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function lineOf(
  { name, revision = '', implemented, features, file }: Module,
  textHash: (file: string) => string,
): string {
  const enabled = features.filter((feature) => feature.enabled).map((feature) => feature.name);
  const text = file === undefined ? '' : textHash(file);
  return [name, revision, implemented ? 'implemented' : 'imported', enabled.sort().join(','), text].join(' ');
}

/**
 * Opens trees. Other trees of the directory are opened when they are asked for.
 *
 * @param names trees that are opened now, so that nobody waits for them later.
 * @param directory as {@link treesOf} takes it.
 * @throws as {@link OpenTrees.context}
 */
export function openTrees(names: readonly string[] = [], directory?: string): OpenTrees {
  const trees = new OpenTrees(treesOf(directory));
  try {
    for (const name of names) trees.context(name);
  } catch (error) {
    trees.dispose();
    throw error;
  }
  return trees;
}

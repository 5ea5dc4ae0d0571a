/**
 * Places in data: entries of lists as paths name them, and what stands at a path.
 * It must not change data.
 */
import type { PlanValue } from '@kedge/contracts';
import type { Container } from '@kedge/datastores';

import type { TreeShape } from './tree-shape.js';

export const isContainer = (value: unknown): value is Container =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
export const isList = (value: unknown): value is readonly PlanValue[] => Array.isArray(value);

/** A member of an object, and never what every object has by itself. */
export function memberOf(container: Container, name: string): PlanValue | undefined {
  return Object.hasOwn(container, name) ? container[name] : undefined;
}

const isPlain = (value: unknown): value is string | number | boolean =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';

/** The text of a key as paths have it. */
function literal(value: string | number | boolean): string {
  const text = String(value);
  return text.includes("'") ? `"${text.replaceAll('"', '')}"` : `'${text}'`;
}

/**
 * The predicates by which a path names an entry of a list.
 *
 * @param keys of the list, `.` alone for a leaf-list.
 * @param position of the entry, from 0: names it where its keys cannot be read, counted from 1.
 */
export function predicatesOf(entry: unknown, keys: readonly string[], position: number): string {
  const parts: string[] = [];
  for (const key of keys) {
    const value = key === '.' ? entry : isContainer(entry) ? memberOf(entry, key) : undefined;
    if (!isPlain(value)) return `[${position + 1}]`;
    parts.push(`[${key}=${literal(value)}]`);
  }
  return parts.length === 0 ? `[${position + 1}]` : parts.join('');
}

/** One step of a path: its name, its predicates as they stand there, and the path up to it. */
interface Step {
  readonly name: string;
  readonly predicates: string;
  readonly upTo: string;
}

const STEP = /\/([^/[]+)((?:\[(?:[^\]'"]|'[^']*'|"[^"]*")*\])*)/g;

/** The steps of a path that libyang wrote. */
export function stepsIn(path: string): readonly Step[] {
  return [...path.matchAll(STEP)].map((found) => ({
    name: found[1] ?? '',
    predicates: found[2] ?? '',
    upTo: path.slice(0, found.index + found[0].length),
  }));
}

/** Looks values up by their paths; of each list it remembers where its entries are. */
export class Lookup {
  readonly #tree: Container;
  readonly #shape: TreeShape;
  readonly #entries = new WeakMap<readonly PlanValue[], ReadonlyMap<string, PlanValue>>();

  /** @param tree in libyang's own form: values canonical, as its paths have them. */
  constructor(tree: Container, shape: TreeShape) {
    this.#tree = tree;
    this.#shape = shape;
  }

  /** The value at a path of libyang; undefined where nothing stands. */
  at(path: string): PlanValue | undefined {
    let here: PlanValue | undefined = this.#tree;
    let bare = '';
    for (const { name, predicates } of stepsIn(path)) {
      if (!isContainer(here)) return undefined;
      bare += `/${name}`;
      here = memberOf(here, name);
      if (predicates === '') continue;
      if (!isList(here)) return undefined;
      here = this.#entriesOf(here, bare).get(predicates);
    }
    return here;
  }

  #entriesOf(list: readonly PlanValue[], path: string): ReadonlyMap<string, PlanValue> {
    const known = this.#entries.get(list);
    if (known !== undefined) return known;
    const keys = this.#shape.listAt(path)?.keys ?? [];
    const entries = new Map(list.map((entry, at) => [predicatesOf(entry, keys, at), entry]));
    this.#entries.set(list, entries);
    return entries;
  }
}

/**
 * Where a finding is: libyang says of what is missing only which node of the schema it is, and of what is there twice a
 * path that may begin in the middle. Here both become data paths.
 * It must not find faults of its own.
 */
import type { Container } from '@kedge/datastores';
import type { YangProblem } from '@kedge/libyang-ts';

import { isContainer, isList, memberOf, predicatesOf, stepsIn } from './data-place.js';
import type { TreeShape } from './tree-shape.js';

/** The data path of what libyang has against a tree; empty where it names no place. */
export function placeOf(
  { path, schemaPath, message }: YangProblem,
  tree: Container,
  shape: TreeShape,
): string {
  const [, key] = /^List instance is missing its key "([^"]+)"/.exec(message) ?? [];
  if (path !== undefined && key !== undefined)
    return missingAt(`${unkeyed(path)}/${key}`, tree, shape).slice(0, -`/${key}`.length);
  if (path !== undefined) return /^Duplicate instance/.test(message) ? wholePath(path, tree, shape) : path;
  if (schemaPath === undefined) return '';
  const place = shape.placeOf(schemaPath);
  return place === undefined ? schemaPath : missingAt(place, tree, shape);
}

interface Candidate {
  readonly path: string;
  /** How many steps of it are there. */
  readonly depth: number;
}

/** Where the node is that has to be there and is not: the first place of which most is there. */
function missingAt(place: string, tree: Container, shape: TreeShape): string {
  const names = place.split('/').slice(1);
  const choice = shape.choiceAt(place);
  const found: Candidate[] = [];
  const look = (here: Container, depth: number, path: string, bare: string): void => {
    const [name = ''] = names.slice(depth);
    const isLast = depth === names.length - 1;
    const rest = `${path}/${names.slice(depth).join('/')}`;
    const alternatives = isLast && choice !== undefined ? choice : [name];
    if (alternatives.every((each) => memberOf(here, each) === undefined)) {
      found.push({ path: rest, depth });
      return;
    }
    if (isLast) return;
    const below = memberOf(here, name);
    const next = `${bare}/${name}`;
    if (isContainer(below)) look(below, depth + 1, `${path}/${name}`, next);
    if (!isList(below)) return;
    const keys = shape.listAt(next)?.keys ?? [];
    for (const [at, entry] of below.entries())
      if (isContainer(entry)) look(entry, depth + 1, `${path}/${name}${predicatesOf(entry, keys, at)}`, next);
  };
  look(tree, 0, '', '');
  const most = Math.max(...found.map(({ depth }) => depth));
  // What is there and too few of is named by its schema alone.
  return found.find(({ depth }) => depth === most)?.path ?? place;
}

/** The whole path of an entry that is there twice. */
function wholePath(path: string, tree: Container, shape: TreeShape): string {
  const last = stepsIn(path).at(-1);
  if (last === undefined) return path;
  const list = path.slice(0, path.length - last.predicates.length);
  let other: string | undefined;
  for (const entry of entriesIn(tree, '', '', shape)) {
    if (!plain(entry.list).endsWith(plain(list))) continue;
    if (entry.isAgain && entry.predicates === last.predicates) return `${entry.list}${entry.predicates}`;
    // A key may be written in another way than libyang's.
    other ??= `${entry.list}${last.predicates}`;
  }
  return other ?? path;
}

function unkeyed(path: string): string {
  return stepsIn(path)
    .map(({ name }) => `/${name}`)
    .join('');
}

/** A path without modules: the first step of one that begins in the middle names another module than data do. */
function plain(path: string): string {
  return stepsIn(path)
    .map(({ name, predicates }) => `/${name.replace(/^.*:/, '')}${predicates}`)
    .join('');
}

/** An entry of a list. */
export interface Entry {
  readonly value: unknown;
  /** The path of the list. */
  readonly list: string;
  /** Its place in it, from 0. */
  readonly position: number;
  readonly keys: readonly string[];
  readonly predicates: string;
  /** One of the same keys stands before it. */
  readonly isAgain: boolean;
}

/** Every entry of every list. */
export function* entriesIn(here: Container, path: string, bare: string, shape: TreeShape): Generator<Entry> {
  for (const [name, value] of Object.entries(here)) {
    const [list, next] = [`${path}/${name}`, `${bare}/${name}`];
    if (isContainer(value)) yield* entriesIn(value, list, next, shape);
    if (!isList(value)) continue;
    const keys = shape.listAt(next)?.keys ?? [];
    const seen = new Set<string>();
    for (const [position, entry] of value.entries()) {
      const predicates = predicatesOf(entry, keys, position);
      yield { value: entry, list, position, keys, predicates, isAgain: seen.has(predicates) };
      seen.add(predicates);
      if (isContainer(entry)) yield* entriesIn(entry, `${list}${predicates}`, next, shape);
    }
  }
}

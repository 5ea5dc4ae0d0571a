/**
 * The changes from one tree to another, in the form of the datastores: made one after the other as edits they lead there.
 * It must not judge either tree; one that libyang cannot read is compared member by member.
 */
import type { PlanValue } from '@kedge/contracts';
import type { Change, Container } from '@kedge/datastores';
import { type Change as YangChange, type Context, type DataTree, YangError } from '@kedge/libyang-ts';

import { isAlike, withoutAlike } from './alike.js';
import { Lookup, memberOf, stepsIn } from './data-place.js';
import type { TreeShape } from './tree-shape.js';

/** What trees are compared by. */
export interface CompareRules {
  readonly context: Context;
  readonly shape: TreeShape;
}

/** Changes of members of an object, each as a whole. */
export function memberChanges(before: Container, after: Container): readonly Change[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((name): Change[] => {
    const [was, is] = [memberOf(before, name), memberOf(after, name)];
    return isAlike(was, is) ? [] : [changeOf(`/${name}`, was, is)];
  });
}

/** One change; at least one of the values is there. */
export function changeOf(path: string, before: PlanValue | undefined, after: PlanValue | undefined): Change {
  if (before === undefined) return { path, kind: 'create', ...(after === undefined ? {} : { after }) };
  return after === undefined ? { path, kind: 'delete', before } : { path, kind: 'replace', before, after };
}

/** The changes between two trees, paths from their top. @throws YangError where libyang could not be asked. */
export async function treeChanges(
  before: Container,
  after: Container,
  { context, shape }: CompareRules,
): Promise<readonly Change[]> {
  const [left, right] = withoutAlike(before, after, shape);
  const trees: DataTree[] = [];
  try {
    for (const tree of [left, right])
      trees.push(await context.parseConfiguration(JSON.stringify(tree), { validate: 'none' }));
    const [a, b] = trees;
    if (a === undefined || b === undefined) return [];
    const diff = await context.diff(a, b);
    try {
      const changes: YangChange[] = [];
      for await (const change of diff) changes.push(change);
      if (changes.length === 0) return [];
      const lookup = async (tree: DataTree): Promise<Lookup> =>
        new Lookup(JSON.parse(await tree.print()) as Container, shape);
      return collected(changes, await lookup(a), await lookup(b));
    } finally {
      diff.dispose();
    }
  } catch (error) {
    if (!(error instanceof YangError) || !UNREADABLE.includes(error.code)) throw error;
    return memberChanges(before, after);
  } finally {
    for (const tree of trees) tree.dispose();
  }
}

/** A tree that is none by its modules, or one that no path can lead through. */
const UNREADABLE = ['YANG_INVALID', 'YANG_MALFORMED', 'YANG_TOO_DEEP', 'YANG_ENCODING'];

/** Whether one of these paths leads to something that the path stands in. */
function isWithin(path: string, paths: ReadonlySet<string>): boolean {
  return stepsIn(path).some(({ upTo }) => upTo !== path && paths.has(upTo));
}

/** libyang's changes, node by node, as changes of what was made or taken away as a whole. */
function collected(changes: readonly YangChange[], before: Lookup, after: Lookup): readonly Change[] {
  // Where an entry stands among others cannot be said by an edit: the list is.
  const reordered = new Set<string>();
  for (const { op, path, position } of changes)
    if (position !== undefined && op !== 'delete') reordered.add(listOf(path));
  const pathsOf = (op: YangChange['op']): ReadonlySet<string> =>
    new Set(changes.flatMap((change) => (change.op === op ? [change.path] : [])));
  const [created, deleted] = [pathsOf('create'), pathsOf('delete')];
  const result: Change[] = [];
  const told = new Set<string>();
  for (const { op, path, kind, before: was, after: is } of changes) {
    if (isWithin(path, created) || isWithin(path, deleted)) continue;
    const list = reordered.has(listOf(path)) ? listOf(path) : undefined;
    if (list !== undefined || isWithinList(path, reordered)) {
      const whole = list ?? outermost(path, reordered);
      if (told.has(whole)) continue;
      told.add(whole);
      result.push(changeOf(whole, before.at(whole), after.at(whole)));
      continue;
    }
    const isLeaf = kind === 'leaf' || kind === 'leaf-list';
    const values = isLeaf ? [was, is] : [before.at(path), after.at(path)];
    const [one, other] = op === 'create' ? [undefined, values[1]] : op === 'delete' ? [values[0]] : values;
    // A container that says nothing by being there.
    if (one === undefined && other === undefined) continue;
    result.push(changeOf(path, one, other));
  }
  return result;
}

/** The list of an entry: its path without its own predicates. */
function listOf(path: string): string {
  const last = stepsIn(path).at(-1);
  return last === undefined ? path : path.slice(0, path.length - last.predicates.length);
}

function outermost(path: string, lists: ReadonlySet<string>): string {
  return (
    stepsIn(path)
      .map(({ upTo }) => listOf(upTo))
      .find((list) => lists.has(list)) ?? path
  );
}

/** Whether the path stands within an entry of one of these lists. */
function isWithinList(path: string, lists: ReadonlySet<string>): boolean {
  return lists.size > 0 && lists.has(outermost(path, lists));
}

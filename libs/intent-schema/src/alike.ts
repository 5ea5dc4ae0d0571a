/**
 * What two documents have in common, so that libyang is shown only what differs.
 * It must not decide what a difference is: values that are written differently are left in.
 */
import type { PlanValue } from '@kedge/contracts';
import type { Container } from '@kedge/datastores';

import { isContainer, isList, memberOf, predicatesOf } from './data-place.js';
import type { TreeShape } from './tree-shape.js';

/** Whether two values are written alike. */
export function isAlike(a: PlanValue | undefined, b: PlanValue | undefined): boolean {
  if (a === b) return true;
  if (isList(a) && isList(b)) return a.length === b.length && a.every((each, at) => isAlike(each, b[at]));
  if (!isContainer(a) || !isContainer(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && isAlike(a[name], b[name]))
  );
}

/** Two trees of one shape without what is alike in both: members, and entries of lists that no user orders. */
export function withoutAlike(a: Container, b: Container, shape: TreeShape): readonly [Container, Container] {
  return different(a, b, shape, '', []);
}

/** @param keep names of members that stay: keys of the entry that this is. */
function different(
  a: Container,
  b: Container,
  shape: TreeShape,
  path: string,
  keep: readonly string[],
): readonly [Container, Container] {
  const left: [string, PlanValue][] = [];
  const right: [string, PlanValue][] = [];
  for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [one, other] = [memberOf(a, name), memberOf(b, name)];
    const place = `${path}/${name}`;
    let pair: readonly [PlanValue | undefined, PlanValue | undefined] = [one, other];
    if (isContainer(one) && isContainer(other)) {
      // A container that is alike says nothing; that it is there does.
      pair = different(one, other, shape, place, []);
    } else if (isList(one) && isList(other)) {
      pair = differentEntries(one, other, shape, place);
    } else if (!keep.includes(name) && isAlike(one, other)) {
      continue;
    }
    if (pair[0] !== undefined) left.push([name, pair[0]]);
    if (pair[1] !== undefined) right.push([name, pair[1]]);
  }
  return [Object.fromEntries(left), Object.fromEntries(right)];
}

function differentEntries(
  a: readonly PlanValue[],
  b: readonly PlanValue[],
  shape: TreeShape,
  path: string,
): readonly [readonly PlanValue[], readonly PlanValue[]] {
  const list = shape.listAt(path);
  if (list === undefined || list.isOrdered || list.keys.length === 0) return [a, b];
  const placeIn = (all: readonly PlanValue[]): Map<string, number> =>
    new Map(all.map((entry, at) => [predicatesOf(entry, list.keys, at), at]));
  const places = placeIn(b);
  // An entry that stands twice is for libyang to refuse: neither of the two may be left out.
  if (places.size !== b.length || placeIn(a).size !== a.length) return [a, b];
  const left: PlanValue[] = [];
  const right: (PlanValue | undefined)[] = [...b];
  for (const [at, entry] of a.entries()) {
    const place = places.get(predicatesOf(entry, list.keys, at));
    const other = place === undefined ? undefined : b[place];
    if (place === undefined || other === undefined) {
      left.push(entry);
    } else if (isContainer(entry) && isContainer(other)) {
      if (isAlike(entry, other)) {
        right[place] = undefined;
      } else {
        const [one, two] = different(entry, other, shape, path, list.keys);
        left.push(one);
        right[place] = two;
      }
    } else if (isAlike(entry, other)) {
      right[place] = undefined;
    } else {
      left.push(entry);
    }
  }
  return [left, right.filter((entry) => entry !== undefined)];
}

/**
 * Entries of lists that no data path can name: such a path knows no escape, and a key with quotation marks of both kinds
 * cannot be written into one. Whatever is said, compared or planned of an entry is said by its path.
 * It must not judge what the modules do.
 */
import type { Container, Finding } from '@kedge/datastores';

import { isContainer, memberOf } from './data-place.js';
import { entriesIn } from './finding-place.js';
import type { TreeShape } from './tree-shape.js';

/** @param text of the tree: where it has no such marks, nothing is looked through. */
export function namelessFindings(text: string, tree: Container, shape: TreeShape): readonly Finding[] {
  if (!text.includes("'") || !text.includes('\\"')) return [];
  return [...entriesIn(tree, '', '', shape)].flatMap(({ value, list, position, keys }): Finding[] => {
    const key = keys.find((each) => isNameless(isContainer(value) ? memberOf(value, each) : undefined));
    if (key === undefined) return [];
    const message = `its ${key} has quotation marks of both kinds: no path can name it`;
    return [{ path: `${list}[${position + 1}]`, message, appTag: 'DRIVER_NAME' }];
  });
}

function isNameless(key: unknown): boolean {
  return typeof key === 'string' && key.includes("'") && key.includes('"');
}

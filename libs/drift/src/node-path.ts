/**
 * Places in the tree of a device as rules and exceptions name them, and whether one lies within another.
 * It must not know what stands at a place.
 */

interface PathNode {
  /** With its module, whether it was written or not. */
  readonly name: string;
  readonly keys: ReadonlyMap<string, string>;
}

const NODE = /\/(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)((?:\[[^\]'"]*(?:'[^']*'|"[^"]*")\])*)/y;
const KEY = /\[\s*(?:[A-Za-z_][\w.-]*:)?([A-Za-z_.][\w.-]*)\s*=\s*(?:'([^']*)'|"([^"]*)")\]/g;

/** What was read before: the same few paths are asked for again and again. */
const KNOWN = new Map<string, readonly PathNode[] | undefined>();
const MOST = 20_000;

/** The nodes of a path; undefined where it is none. */
function nodesOf(path: string): readonly PathNode[] | undefined {
  if (KNOWN.has(path)) return KNOWN.get(path);
  const nodes: PathNode[] = [];
  let module = '';
  let isPath = path !== '';
  NODE.lastIndex = 0;
  while (isPath && NODE.lastIndex < path.length) {
    const match = NODE.exec(path);
    if (match === null) {
      isPath = false;
      break;
    }
    const [, prefix, name = '', predicates = ''] = match;
    module = prefix ?? module;
    const keys = new Map(
      [...predicates.matchAll(KEY)].map(([, key = '', single, double]) => [key, single ?? double ?? '']),
    );
    nodes.push({ name: `${module}:${name}`, keys });
  }
  if (KNOWN.size >= MOST) KNOWN.clear();
  KNOWN.set(path, isPath ? nodes : undefined);
  return isPath ? nodes : undefined;
}

/** True for an instance identifier in the form of JSON (RFC 7951 section 6.11). */
export function isNodePath(path: string): boolean {
  return nodesOf(path) !== undefined;
}

/** True when `path` is `place` or below it. A list entry of `place` without its keys means every entry. */
export function isAtOrBelow(path: string, place: string): boolean {
  const [nodes, outer] = [nodesOf(path), nodesOf(place)];
  if (nodes === undefined || outer === undefined || outer.length > nodes.length) return false;
  return outer.every(({ name, keys }, index) => {
    const node = nodes[index];
    return node?.name === name && [...keys].every(([key, value]) => node.keys.get(key) === value);
  });
}

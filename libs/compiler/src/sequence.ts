/**
 * Orders things that depend on each other: circles, connected parts, and the one order that follows from ranks.
 * It must not know what is ordered.
 */

/** Numbered nodes; an edge says that one comes before the other. */
export class Graph {
  readonly size: number;
  readonly after: number[][];
  readonly before: number[][];

  constructor(size: number) {
    this.size = size;
    this.after = Array.from({ length: size }, () => []);
    this.before = Array.from({ length: size }, () => []);
  }

  edge(first: number, then: number): void {
    if (first === then) return;
    this.after[first]?.push(then);
    this.before[then]?.push(first);
  }
}

/** The circles of a graph: sets of at least two nodes each of which comes before itself. */
export function circlesOf(graph: Graph): number[][] {
  const index = new Int32Array(graph.size).fill(-1);
  const low = new Int32Array(graph.size);
  const onStack = new Uint8Array(graph.size);
  const stack: number[] = [];
  const circles: number[][] = [];
  let next = 0;
  const open = (node: number): void => {
    index[node] = low[node] = next;
    next += 1;
    stack.push(node);
    onStack[node] = 1;
  };
  for (let root = 0; root < graph.size; root += 1) {
    if (index[root] !== -1) continue;
    // Depth first without recursion: a chain may be longer than the stack of calls.
    const work: { readonly node: number; child: number }[] = [{ node: root, child: 0 }];
    open(root);
    for (let top = work.at(-1); top !== undefined; top = work.at(-1)) {
      const { node } = top;
      const child = graph.after[node]?.[top.child];
      if (child !== undefined) {
        top.child += 1;
        if (index[child] === -1) {
          open(child);
          work.push({ node: child, child: 0 });
        } else if (onStack[child] === 1) low[node] = Math.min(low[node] ?? 0, index[child] ?? 0);
        continue;
      }
      work.pop();
      const parent = work.at(-1);
      if (parent !== undefined) low[parent.node] = Math.min(low[parent.node] ?? 0, low[node] ?? 0);
      if (low[node] !== index[node]) continue;
      const circle: number[] = [];
      for (;;) {
        const member = stack.pop() ?? node;
        onStack[member] = 0;
        circle.push(member);
        if (member === node) break;
      }
      if (circle.length > 1) circles.push(circle);
    }
  }
  return circles;
}

/**
 * Nodes in an order that keeps every edge. Connected parts stand one after the other, so that work on one is over
 * before the next begins; within a part the lowest rank that can come comes.
 *
 * @param compare a total order of the nodes; it decides wherever edges do not.
 */
export function sequenceOf(graph: Graph, compare: (a: number, b: number) => number): number[] {
  const parts = partsOf(graph);
  const best = parts.map((part) => part.reduce((least, node) => (compare(node, least) < 0 ? node : least)));
  const order = parts.map((_, place) => place).sort((a, b) => compare(best[a] ?? 0, best[b] ?? 0));
  const sequence: number[] = [];
  const missing = graph.before.map((before) => before.length);
  for (const place of order) {
    const ready = new Heap(compare);
    for (const node of parts[place] ?? []) if (missing[node] === 0) ready.push(node);
    for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
      sequence.push(node);
      for (const then of graph.after[node] ?? []) {
        missing[then] = (missing[then] ?? 0) - 1;
        if (missing[then] === 0) ready.push(then);
      }
    }
  }
  return sequence;
}

/** Nodes that are connected, whichever way the edges lead. */
function partsOf(graph: Graph): number[][] {
  const seen = new Uint8Array(graph.size);
  const parts: number[][] = [];
  for (let root = 0; root < graph.size; root += 1) {
    if (seen[root] === 1) continue;
    seen[root] = 1;
    const part = [root];
    for (let place = 0; place < part.length; place += 1) {
      const node = part[place] ?? root;
      for (const next of [graph.after[node] ?? [], graph.before[node] ?? []].flat()) {
        if (seen[next] === 1) continue;
        seen[next] = 1;
        part.push(next);
      }
    }
    parts.push(part);
  }
  return parts;
}

/** The least of many, again and again. */
class Heap {
  readonly #items: number[] = [];
  readonly #compare: (a: number, b: number) => number;

  constructor(compare: (a: number, b: number) => number) {
    this.#compare = compare;
  }

  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (this.#compare(items[at] ?? 0, items[up] ?? 0) >= 0) return;
      this.#swap(at, up);
      at = up;
    }
  }

  pop(): number | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    items[0] = last;
    for (let at = 0; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < items.length && this.#compare(items[child] ?? 0, items[least] ?? 0) < 0) least = child;
      if (least === at) return first;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    [this.#items[a], this.#items[b]] = [this.#items[b] ?? 0, this.#items[a] ?? 0];
  }
}

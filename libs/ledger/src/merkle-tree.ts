/**
 * The Merkle tree of RFC 6962: hashes of leaves and nodes, the growing tree, proofs and their verification.
 * It must not know what the leaves say, nor where hashes are kept.
 *
 * Indices and sizes are whole numbers of at most 2^53 - 1. A node is named by its height (0 = leaf) and its index
 * among the nodes of that height; only nodes over 2^height leaves have names, the ragged right edge has none.
 */
import { hash } from 'node:crypto';

/** Bytes of a hash: SHA-256. */
export const HASH_BYTES = 32;

/** The root of the tree without leaves: the hash of nothing. */
export const EMPTY_ROOT: Buffer = hash('sha256', Buffer.alloc(0), 'buffer');

/** Gives the hash of a node over 2^height leaves. */
export type NodeHashes = (height: number, index: number) => Buffer;

/** True for a size of a tree, or an index in one. */
export function isTreeSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** The hash of an entry as a leaf; other than that of a node, so that neither can pass for the other. */
export function leafHash(entry: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(1 + entry.length);
  bytes[0] = 0;
  bytes.set(entry, 1);
  return hash('sha256', bytes, 'buffer');
}

// Hashing is synchronous and keeps nothing of what it was given.
const pair = Buffer.alloc(1 + 2 * HASH_BYTES, 1);

/** The hash of a node over the hashes of its two children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  pair.set(left, 1);
  pair.set(right, 1 + HASH_BYTES);
  return hash('sha256', pair, 'buffer');
}

/** Makes the hash of a node out of those of its children: {@link nodeHash}, or another way to the same bytes. */
export type PairHash = (left: Uint8Array, right: Uint8Array) => Buffer;

/** Called for each node that is whole, in the order in which they become so: leaves before what stands on them. */
export type NodeWatcher = (height: number, index: number, hash: Buffer) => void;

/**
 * A tree that grows at its right edge and keeps of itself only that edge: one hash for each bit of its size (a compact
 * range that begins at 0). It owns the hashes that it is given.
 */
export class GrowingTree {
  readonly #onNode: NodeWatcher | undefined;
  readonly #pairHash: PairHash;
  /** Nodes over ever fewer leaves, as many as the size has bits. */
  readonly #edge: Buffer[];
  #size: number;

  /**
   * @param edge what {@link edgeOf} says of a tree of this size.
   * @throws RangeError when it has another number of hashes.
   */
  constructor(size = 0, edge: readonly Buffer[] = [], onNode?: NodeWatcher, pairHash: PairHash = nodeHash) {
    if (edge.length !== piecesOf(0, size).length) throw new RangeError(`no edge of a tree of ${size} leaves`);
    this.#size = size;
    this.#edge = [...edge];
    this.#onNode = onNode;
    this.#pairHash = pairHash;
  }

  /** Leaves in it. */
  get size(): number {
    return this.#size;
  }

  /** Adds a leaf by its hash. */
  append(leaf: Buffer): void {
    let node = leaf;
    let height = 0;
    let index = this.#size;
    this.#onNode?.(height, index, node);
    // A left child waits for its sibling at the edge; a right one finds it there.
    while (index % 2 === 1) {
      const left = this.#edge.pop();
      if (left === undefined) break;
      node = this.#pairHash(left, node);
      height += 1;
      index = (index - 1) / 2;
      this.#onNode?.(height, index, node);
    }
    this.#edge.push(node);
    this.#size += 1;
  }

  /** The root of what it holds now. */
  root(): Buffer {
    return rootOverEdge(this.#edge, this.#pairHash);
  }
}

function rootOverEdge(edge: readonly Buffer[], pairHash: PairHash = nodeHash): Buffer {
  return edge.length === 0 ? EMPTY_ROOT : edge.reduceRight((right, left) => pairHash(left, right));
}

/** The nodes at the right edge of a tree of a size, from the largest. */
export function edgeOf(size: number, nodes: NodeHashes): Buffer[] {
  return piecesOf(0, size).map(({ height, index }) => nodes(height, index));
}

/** The root of a tree of a size. */
export function rootOf(size: number, nodes: NodeHashes): Buffer {
  return rootOverEdge(edgeOf(size, nodes));
}

/**
 * The audit path of a leaf (RFC 6962, 2.1.1), from its sibling to the child of the root.
 *
 * @param index below `size`.
 */
export function inclusionProof(index: number, size: number, nodes: NodeHashes): Buffer[] {
  const proof: Buffer[] = [];
  let [from, to] = [0, size];
  // Down from the root; the sibling of each step stands nearer to the leaf than the one before.
  while (to - from > 1) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      proof.unshift(rangeHash(middle, to, nodes));
      to = middle;
    } else {
      proof.unshift(rangeHash(from, middle, nodes));
      from = middle;
    }
  }
  return proof;
}

/**
 * The proof that the tree of size `second` begins with the tree of size `first` (RFC 6962, 2.1.2). Nothing has to be
 * shown where they are of one size, or the first is empty: the proof has no hashes then.
 *
 * @param first at most `second`.
 */
export function consistencyProof(first: number, second: number, nodes: NodeHashes): Buffer[] {
  if (first === 0 || first === second) return [];
  const proof: Buffer[] = [];
  let [from, to] = [0, second];
  while (first !== to) {
    const middle = from + splitOf(to - from);
    if (first <= middle) {
      proof.unshift(rangeHash(middle, to, nodes));
      to = middle;
    } else {
      proof.unshift(rangeHash(from, middle, nodes));
      from = middle;
    }
  }
  // The verifier knows the first tree itself when it is one whole node, and no other.
  if (from > 0) proof.unshift(rangeHash(from, to, nodes));
  return proof;
}

/** A claim that an entry stands in a tree. */
export interface InclusionClaim {
  readonly leaf: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** True when a proof shows that the leaf stands at its index in the tree of that size and root (RFC 9162, 2.1.3.2). */
export function isIncluded({ leaf, index, size, root, proof }: InclusionClaim): boolean {
  if (!isTreeSize(index) || !isTreeSize(size) || index >= size || !areHashes([leaf, root, ...proof]))
    return false;
  let node = leaf;
  let at = index;
  let last = size - 1;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      node = nodeHash(sibling, node);
      // At the ragged edge levels without a sibling are passed over.
      while (at % 2 === 0 && at !== 0) {
        at /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      node = nodeHash(node, sibling);
    }
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && isSame(node, root);
}

/** A claim that a tree grew out of another. */
export interface ConsistencyClaim {
  readonly first: number;
  readonly firstRoot: Uint8Array;
  readonly second: number;
  readonly secondRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** True when a proof shows that the second tree begins with the whole of the first (RFC 9162, 2.1.4.2). */
export function isConsistent({ first, firstRoot, second, secondRoot, proof }: ConsistencyClaim): boolean {
  if (!isTreeSize(first) || !isTreeSize(second) || first > second) return false;
  if (!areHashes([firstRoot, secondRoot, ...proof])) return false;
  if (first === 0) {
    const isEmpty = isSame(firstRoot, EMPTY_ROOT);
    return proof.length === 0 && isEmpty && (second > 0 || isSame(secondRoot, EMPTY_ROOT));
  }
  if (first === second) return proof.length === 0 && isSame(firstRoot, secondRoot);
  let at = first - 1;
  let last = second - 1;
  while (at % 2 === 1) {
    at = (at - 1) / 2;
    last = Math.floor(last / 2);
  }
  // Where the first tree is one whole node the proof leaves it out.
  const path = at === 0 ? [firstRoot, ...proof] : proof;
  const [seed, ...siblings] = path;
  if (seed === undefined) return false;
  let [older, newer] = [seed, seed];
  for (const sibling of siblings) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      older = nodeHash(sibling, older);
      newer = nodeHash(sibling, newer);
      while (at % 2 === 0 && at !== 0) {
        at /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      newer = nodeHash(newer, sibling);
    }
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && isSame(older, firstRoot) && isSame(newer, secondRoot);
}

/** The hashes of the leaves that are given, and of all that stands on them, for trees that fit into memory. */
export function nodesOver(leaves: readonly Buffer[]): NodeHashes {
  const levels: (readonly Buffer[])[] = [leaves];
  for (let below = leaves; below.length > 1;) {
    const level: Buffer[] = [];
    for (let at = 0; at + 1 < below.length; at += 2) {
      const [left, right] = [below[at], below[at + 1]];
      if (left !== undefined && right !== undefined) level.push(nodeHash(left, right));
    }
    levels.push(level);
    below = level;
  }
  return (height, index) => {
    const node = levels[height]?.[index];
    if (node === undefined) throw new RangeError(`no node ${index} at height ${height}`);
    return node;
  };
}

/** Largest power of two below a number of leaves above 1: where RFC 6962 splits them. */
function splitOf(leaves: number): number {
  let split = 1;
  while (split * 2 < leaves) split *= 2;
  return split;
}

/** The nodes that make up a range which begins where one of at least its size may begin. */
function piecesOf(from: number, to: number): { height: number; index: number }[] {
  const pieces: { height: number; index: number }[] = [];
  let at = from;
  while (at < to) {
    let [height, leaves] = [0, 1];
    while (leaves * 2 <= to - at) {
      height += 1;
      leaves *= 2;
    }
    pieces.push({ height, index: at / leaves });
    at += leaves;
  }
  return pieces;
}

function rangeHash(from: number, to: number, nodes: NodeHashes): Buffer {
  return rootOverEdge(piecesOf(from, to).map(({ height, index }) => nodes(height, index)));
}

function areHashes(hashes: readonly Uint8Array[]): boolean {
  return hashes.every(({ length }) => length === HASH_BYTES);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

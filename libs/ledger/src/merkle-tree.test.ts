/**
 * The Merkle tree, against known roots, the example of RFC 6962, and a definition read word for word.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  consistencyProof,
  edgeOf,
  EMPTY_ROOT,
  GrowingTree,
  inclusionProof,
  isConsistent,
  isIncluded,
  leafHash,
  nodeHash,
  nodesOver,
  rootOf,
} from './merkle-tree.js';

/** Leaves and roots that the implementations of Certificate Transparency are tested with. */
const LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

const leavesOf = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, at) => leafHash(Buffer.from(`${at}`)));

/** MTH of RFC 6962, 2.1, as it stands there. */
function mth(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return EMPTY_ROOT;
  if (leaves.length === 1) return only;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(mth(leaves.slice(0, split)), mth(leaves.slice(split)));
}

const sized = fc.integer({ min: 1, max: 600 });
/** What is done to a hash, a proof or a number to make it another. */
const flipped = (hash: Uint8Array, bit: number): Buffer => {
  const other = Buffer.from(hash);
  other.writeUInt8(other.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return other;
};

describe('the Merkle tree', () => {
  it('LE-2 has the known roots', () => {
    const leaves = LEAVES.map((entry) => leafHash(Buffer.from(entry, 'hex')));
    const tree = new GrowingTree();
    const roots = [tree.root().toString('hex')];
    for (const leaf of leaves) {
      tree.append(leaf);
      roots.push(tree.root().toString('hex'));
    }
    expect(roots).toEqual(ROOTS);
    expect(ROOTS.map((_, size) => rootOf(size, nodesOver(leaves.slice(0, size))).toString('hex'))).toEqual(
      ROOTS,
    );
  });

  it('LE-2 proves what RFC 6962, 2.1.3, shows for seven leaves', () => {
    const leaves = leavesOf(7);
    const nodes = nodesOver(leaves);
    const [a, b, c, d, e, f, j] = leaves as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];
    const [g, h, i] = [nodeHash(a, b), nodeHash(c, d), nodeHash(e, f)];
    const [k, l] = [nodeHash(g, h), nodeHash(i, j)];
    expect(inclusionProof(0, 7, nodes)).toEqual([b, h, l]);
    expect(inclusionProof(3, 7, nodes)).toEqual([c, g, l]);
    expect(inclusionProof(4, 7, nodes)).toEqual([f, j, k]);
    expect(inclusionProof(6, 7, nodes)).toEqual([i, k]);
    expect(consistencyProof(3, 7, nodes)).toEqual([c, d, g, l]);
    expect(consistencyProof(4, 7, nodes)).toEqual([l]);
    expect(consistencyProof(6, 7, nodes)).toEqual([i, j, k]);
  });

  it('LE-2 is at each size what its definition says, however it got there', () => {
    fc.assert(
      fc.property(sized, sized, (a, b) => {
        const [first, second] = a < b ? [a, b] : [b, a];
        const leaves = leavesOf(second);
        const nodes = nodesOver(leaves);
        const tree = new GrowingTree(first, edgeOf(first, nodes));
        expect(tree.root()).toEqual(mth(leaves.slice(0, first)));
        for (const leaf of leaves.slice(first)) tree.append(leaf);
        expect(tree.size).toBe(second);
        expect(tree.root()).toEqual(mth(leaves));
      }),
    );
  });

  it('LE-2 every leaf of every small tree is proven, and at no other index, size or root', () => {
    let visited = 0;
    for (let size = 1; size <= 40; size++) {
      const leaves = leavesOf(size);
      const nodes = nodesOver(leaves);
      const root = rootOf(size, nodes);
      leaves.forEach((leaf, index) => {
        const proof = inclusionProof(index, size, nodes);
        const claim = { leaf, index, size, root, proof };
        expect(isIncluded(claim)).toBe(true);
        for (let other = 0; other < size; other++) {
          if (other !== index) expect(isIncluded({ ...claim, index: other })).toBe(false);
        }
        expect(isIncluded({ ...claim, root: EMPTY_ROOT })).toBe(false);
        expect(isIncluded({ ...claim, index: size })).toBe(false);
        visited += 1;
      });
    }
    expect(visited).toBe((40 * 41) / 2);
  });

  it('LE-2 every pair of small sizes is consistent, and with no other root', () => {
    let visited = 0;
    const nodes = nodesOver(leavesOf(40));
    for (let second = 0; second <= 40; second++) {
      for (let first = 0; first <= second; first++) {
        const proof = consistencyProof(first, second, nodes);
        const [firstRoot, secondRoot] = [rootOf(first, nodes), rootOf(second, nodes)];
        const claim = { first, firstRoot, second, secondRoot, proof };
        expect(isConsistent(claim)).toBe(true);
        expect(isConsistent({ ...claim, firstRoot: flipped(firstRoot, 9) })).toBe(false);
        if (first > 0) expect(isConsistent({ ...claim, secondRoot: flipped(secondRoot, 9) })).toBe(false);
        if (first < second) expect(isConsistent({ ...claim, first: second, second: first })).toBe(false);
        visited += 1;
      }
    }
    expect(visited).toBe((41 * 42) / 2);
  });

  it('LE-2 every tampering with a proof is found', () => {
    const change = fc.record({ at: fc.nat(), bit: fc.integer({ min: 0, max: 255 }), other: fc.nat() });
    fc.assert(
      fc.property(sized, fc.nat(), change, (size, number, { at, bit, other }) => {
        const leaves = leavesOf(size);
        const nodes = nodesOver(leaves);
        const root = rootOf(size, nodes);
        const index = number % size;
        const [leaf = EMPTY_ROOT] = leaves.slice(index);
        const proof = inclusionProof(index, size, nodes);
        const inclusion = { leaf, index, size, root, proof };
        const first = 1 + (other % size);
        const grown = consistencyProof(first, size, nodes);
        const consistency = {
          first,
          firstRoot: rootOf(first, nodes),
          second: size,
          secondRoot: root,
          proof: grown,
        };
        expect([isIncluded(inclusion), isConsistent(consistency)]).toEqual([true, true]);
        for (const [held, isTrue] of [
          [proof, (changed: Buffer[]) => isIncluded({ ...inclusion, proof: changed })],
          [grown, (changed: Buffer[]) => isConsistent({ ...consistency, proof: changed })],
        ] as const) {
          const place = at % Math.max(held.length, 1);
          const [hash] = held.slice(place);
          expect(isTrue([...held, EMPTY_ROOT])).toBe(false);
          if (hash === undefined) continue;
          expect(isTrue(held.with(place, flipped(hash, bit)))).toBe(false);
          expect(isTrue(held.with(place, hash.subarray(1)))).toBe(false);
          expect(isTrue(held.toSpliced(place, 1))).toBe(false);
          if (held.length > 1) expect(isTrue(held.toReversed())).toBe(false);
        }
        expect(isIncluded({ ...inclusion, leaf: flipped(leaf, bit) })).toBe(false);
        expect(isIncluded({ ...inclusion, root: flipped(root, bit) })).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it('tells leaf and node apart, and takes no number that is none', () => {
    const [a, b] = leavesOf(2) as [Buffer, Buffer];
    expect(leafHash(Buffer.concat([a, b]))).not.toEqual(nodeHash(a, b));
    for (const wrong of [-1, 0.5, NaN, 2 ** 53, Infinity]) {
      expect(isIncluded({ leaf: a, index: wrong, size: 1, root: a, proof: [] })).toBe(false);
      expect(isIncluded({ leaf: a, index: 0, size: wrong, root: a, proof: [] })).toBe(false);
      expect(isConsistent({ first: wrong, firstRoot: a, second: 1, secondRoot: a, proof: [] })).toBe(false);
      expect(isConsistent({ first: 1, firstRoot: a, second: wrong, secondRoot: a, proof: [] })).toBe(false);
    }
    expect(() => new GrowingTree(3, [a])).toThrow(RangeError);
  });

  it('LE-2 proves in trees of any size: only the sizes count, not what stands beside the path', () => {
    // Every node of the same height is the same: a tree of 2^50 equal leaves has 50 of them.
    const levels = [leafHash(Buffer.from('x'))];
    for (let height = 1; height <= 53; height++) {
      const below = levels[height - 1] ?? EMPTY_ROOT;
      levels.push(nodeHash(below, below));
    }
    const nodes = (height: number): Buffer => levels[height] ?? EMPTY_ROOT;
    const large = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 1 });
    fc.assert(
      fc.property(large, large, (a, b) => {
        const [index, size] = a < b ? [a, b] : [b, a + 1];
        const root = rootOf(size, nodes);
        const proof = inclusionProof(index, size, nodes);
        expect(isIncluded({ leaf: nodes(0), index, size, root, proof })).toBe(true);
        const grown = consistencyProof(index, size, nodes);
        const firstRoot = rootOf(index, nodes);
        expect(isConsistent({ first: index, firstRoot, second: size, secondRoot: root, proof: grown })).toBe(
          true,
        );
      }),
    );
  });
});

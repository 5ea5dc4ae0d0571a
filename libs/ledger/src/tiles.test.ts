/**
 * Tiles and bundles: where they lie, what they hold, how a log grows into them, and what a look at them finds.
 */
import type { KedgeError } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { checkLog, type LogFault } from './log-check.js';
import {
  consistencyProof,
  inclusionProof,
  isConsistent,
  isIncluded,
  leafHash,
  nodesOver,
  rootOf,
} from './merkle-tree.js';
import { TiledLog } from './tiled-log.js';
import { bundleOf, entriesOf, hashesAt, nodesInTiles, placeAt, tilePath, tilesOf } from './tiles.js';

type Files = Map<string, Buffer>;

const entry = (index: number): Buffer => Buffer.from(`entry ${index} ${'x'.repeat(index % 40)}`);
const entries = (from: number, to: number): Buffer[] =>
  Array.from({ length: to - from }, (_, at) => entry(from + at));

/** Lets a log grow to each of some sizes, its files taken at each. */
function filesOf(...sizes: readonly number[]): { files: Files; log: TiledLog } {
  const files: Files = new Map();
  const log = TiledLog.open();
  for (const size of sizes) {
    for (const each of entries(log.size, size)) log.append(each);
    for (const { path, bytes } of log.takeFiles()) files.set(path, bytes);
  }
  return { files, log };
}

const reader = (files: Files) => (path: string) => files.get(path);
const faultsOf = (files: Files, size: number, root: Buffer): readonly LogFault[] =>
  checkLog({ size, root, read: reader(files) }).faults;
const changed = (bytes: Buffer, at: number): Buffer => {
  const other = Buffer.from(bytes);
  const place = at % other.length;
  other.writeUInt8(other.readUInt8(place) ^ 1, place);
  return other;
};

describe('tiles', () => {
  it('LE-2 lie where tlog-tiles says, and no other text names their place', () => {
    expect(tilePath({ level: 0, index: 1_234_067, width: 256 })).toBe('tile/0/x001/x234/067');
    expect(tilePath({ level: 'entries', index: 0, width: 255 })).toBe('tile/entries/000.p/255');
    const place = fc.record({
      level: fc.oneof(fc.constant('entries' as const), fc.integer({ min: 0, max: 63 })),
      index: fc.oneof(fc.maxSafeNat(), fc.nat(2_000)),
      width: fc.integer({ min: 1, max: 256 }),
    });
    fc.assert(
      fc.property(place, (each) => {
        expect(placeAt(tilePath(each))).toEqual(each);
      }),
    );
    const wrong = [
      ...['tile/0/1', 'tile/00/001', 'tile/64/001', 'tile/0/001.p/0', 'tile/0/001.p/256', 'tile/0/001.p/01'],
      ...['tile/0/x000/001', 'tile/0/x01/001', 'tile/0/001/x001', '/tile/0/001', 'tile/0/001/', 'tile/x/001'],
      ...['tile/entries/001 ', 'tile/0/x999/x999/x999/x999/x999/999', 'tile/-1/001', ''],
    ];
    for (const each of wrong) expect(placeAt(each), each).toBeUndefined();
    expect(wrong).toHaveLength(16);
  });

  it('LE-2 of a tree of 70,000 and of 256 are those of the specification', () => {
    const tiles = [...tilesOf(70_000)];
    expect(tiles.slice(0, 273).every(({ level, width }) => level === 0 && width === 256)).toBe(true);
    expect(tiles.slice(273).map(({ level, width }) => [level, width])).toEqual([
      [0, 112],
      [1, 256],
      [1, 17],
      [2, 1],
    ]);
    expect([...tilesOf(256)].map(tilePath)).toEqual(['tile/0/000', 'tile/1/000.p/1']);
    expect([...tilesOf(0)]).toEqual([]);
  });

  it('bundles give back their entries, and nothing else passes for one', () => {
    const some = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(some, fc.integer({ min: 1, max: 9 }), (given, more) => {
        const bundle = bundleOf(given);
        expect(entriesOf(bundle, given.length)?.map((each) => [...each])).toEqual(
          given.map((each) => [...each]),
        );
        expect(entriesOf(bundle, given.length + 1)).toBeUndefined();
        expect(entriesOf(bundle, given.length - 1)).toBeUndefined();
        expect(entriesOf(bundle.subarray(0, -1), given.length)).toBeUndefined();
        expect(entriesOf(Buffer.concat([bundle, Buffer.alloc(more)]), given.length)).toBeUndefined();
      }),
    );
    expect(() => bundleOf([Buffer.alloc(65_536)])).toThrow(
      expect.objectContaining({ code: 'LEDGER_ENTRY_SIZE' }),
    );
  });
});

describe('a log in tiles', () => {
  it('LE-2 proves from its tiles what the whole tree proves, also over three levels', () => {
    const size = 66_000;
    const { files, log } = filesOf(1, 255, 256, 257, size);
    const leaves = entries(0, size).map(leafHash);
    const whole = nodesOver(leaves);
    const tiles = nodesInTiles(size, reader(files));
    const root = log.root();
    expect(root).toEqual(rootOf(size, whole));
    expect(rootOf(size, tiles)).toEqual(root);
    const index = fc.nat(size - 1);
    fc.assert(
      fc.property(index, index, (at, first) => {
        const proof = inclusionProof(at, size, tiles);
        expect(proof).toEqual(inclusionProof(at, size, whole));
        expect(isIncluded({ leaf: leafHash(entry(at)), index: at, size, root, proof })).toBe(true);
        const grown = consistencyProof(first, size, tiles);
        const firstRoot = rootOf(first, whole);
        expect(isConsistent({ first, firstRoot, second: size, secondRoot: root, proof: grown })).toBe(true);
      }),
    );
  });

  it('LE-2 is the same files whatever was taken between, and goes on from any of its sizes', () => {
    const size = fc.integer({ min: 0, max: 1_200 });
    fc.assert(
      fc.property(fc.array(size, { minLength: 1, maxLength: 5 }), (given) => {
        const sizes = given.toSorted((a, b) => a - b);
        const last = sizes.at(-1) ?? 0;
        const { files, log } = filesOf(...sizes);
        const once = filesOf(last);
        for (const [path, bytes] of once.files) expect(files.get(path)?.equals(bytes), path).toBe(true);
        expect(log.takeFiles()).toEqual([]);
        const [middle = 0] = sizes;
        const again = TiledLog.open(middle, reader(files));
        for (const each of entries(middle, last)) again.append(each);
        expect(again.root()).toEqual(once.log.root());
        for (const { path, bytes } of again.takeFiles()) {
          expect(once.files.get(path)?.equals(bytes), path).toBe(true);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('takes a full tile for a partial one that is gone, and says which file is missing or damaged', () => {
    const { files } = filesOf(400, 700);
    for (const path of ['tile/0/001.p/144', 'tile/entries/001.p/144']) expect(files.delete(path)).toBe(true);
    expect(TiledLog.open(400, reader(files)).root()).toEqual(filesOf(400).log.root());
    files.delete('tile/0/002.p/188');
    expect(() => TiledLog.open(700, reader(files))).toThrow(
      expect.objectContaining({ code: 'LEDGER_TILE_MISSING' }),
    );
    files.set('tile/0/002.p/188', Buffer.alloc(5));
    let found: unknown;
    try {
      TiledLog.open(700, reader(files));
    } catch (error) {
      found = error;
    }
    expect((found as KedgeError).code).toBe('LEDGER_TILE_DAMAGED');
    expect((found as KedgeError).message).toContain('tile/0/002.p/188');
  });
});

describe('a look at a log', () => {
  it('LE-2 finds nothing in a log that is whole, and counts what it read', () => {
    for (const size of [0, 1, 255, 256, 257, 3_000]) {
      const { files, log } = filesOf(size);
      const seen: number[] = [];
      const verdict = checkLog({
        size,
        root: log.root(),
        read: reader(files),
        onEntry: (index, bytes) => seen.push(entry(index).equals(bytes) ? index : -1),
      });
      expect(verdict).toEqual({ faults: [], entries: size, pruned: 0 });
      expect(seen).toEqual(Array.from({ length: size }, (_, at) => at));
    }
  });

  it('LE-2 finds every file that was changed or removed', () => {
    const size = 2_000;
    const { files, log } = filesOf(size);
    const root = log.root();
    const paths = [...files.keys()];
    // 8 bundles, 8 tiles of level 0, one of level 1.
    expect(paths).toHaveLength(17);
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.nat(), (path, at) => {
        const bytes = files.get(path) ?? Buffer.alloc(0);
        for (const other of [changed(bytes, at), bytes.subarray(1), Buffer.concat([bytes, bytes])]) {
          expect(faultsOf(new Map([...files, [path, other]]), size, root).length).toBeGreaterThan(0);
        }
        const without = new Map(files);
        without.delete(path);
        expect(faultsOf(without, size, root)).toContainEqual(
          expect.objectContaining({ path, what: 'missing' }),
        );
      }),
      { numRuns: 60 },
    );
  });

  it('LE-2 finds records that were changed, removed or put in another order, also where all hashes were made anew', () => {
    const size = fc.integer({ min: 2, max: 700 });
    fc.assert(
      fc.property(size, fc.nat(), fc.nat(), (count, a, b) => {
        const root = filesOf(count).log.root();
        const all = entries(0, count);
        const first = a % count;
        const second = (first + 1 + (b % (count - 1))) % count;
        const [one = Buffer.alloc(0), other = Buffer.alloc(0)] = [all[first], all[second]];
        for (const forged of [
          all.with(first, changed(one, b)),
          all.with(first, other).with(second, one),
          all.toSpliced(first, 1, other),
        ]) {
          const log = TiledLog.open();
          for (const each of forged) log.append(each);
          const files = new Map(log.takeFiles().map(({ path, bytes }) => [path, bytes]));
          expect(faultsOf(files, count, root)).toEqual([
            { path: 'checkpoint', what: 'other-root', entry: undefined },
          ]);
        }
        const shorter = filesOf(count - 1).files;
        expect(faultsOf(shorter, count, root).length).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });

  it('LE-2 finds a log that is whole but older than a checkpoint kept elsewhere, or another than it', () => {
    const { files, log } = filesOf(700, 900);
    const kept = (size: number, root: Buffer) => [{ origin: 'kedge.example/box-7', size, root }];
    const old = filesOf(700);
    const whatOf = (size: number, root: Buffer, found: Files, of: ReturnType<typeof kept>): unknown =>
      checkLog({ size, root, read: reader(found), kept: of }).faults.map(({ what }) => what);
    expect(whatOf(900, log.root(), files, kept(700, old.log.root()))).toEqual([]);
    expect(whatOf(700, old.log.root(), old.files, kept(900, log.root()))).toEqual(['older-than-kept']);
    expect(whatOf(900, log.root(), files, kept(700, filesOf(699).log.root()))).toEqual(['other-than-kept']);
    expect(whatOf(900, log.root(), files, kept(900, old.log.root()))).toEqual(['other-than-kept']);
  });

  it('LE-6 bundles that retention took leave every hash to be checked', () => {
    const size = 1_000;
    const { files, log } = filesOf(size);
    files.delete('tile/entries/000');
    files.delete('tile/entries/001');
    const check = { size, root: log.root(), read: reader(files) };
    expect(checkLog({ ...check, keptFrom: 600 })).toEqual({ faults: [], entries: 488, pruned: 512 });
    expect(checkLog({ ...check, keptFrom: 511 }).faults).toEqual([
      { path: 'tile/entries/001', what: 'missing', entry: 256 },
    ]);
    files.set('tile/0/000', changed(files.get('tile/0/000') ?? Buffer.alloc(1), 77));
    expect(checkLog({ ...check, keptFrom: 600 }).faults).toEqual([
      { path: 'tile/1/000.p/3', what: 'other-hash', entry: 0 },
    ]);
  });

  it('names the first entry that is another, and stops when it has found enough', () => {
    const { files, log } = filesOf(2_000);
    const bundle = entriesOf(files.get('tile/entries/003') ?? Buffer.alloc(0), 256) ?? [];
    files.set('tile/entries/003', bundleOf(bundle.with(9, Buffer.from('forged'))));
    const read = reader(files);
    const { faults } = checkLog({ size: 2_000, root: log.root(), read });
    expect(faults[0]).toEqual({ path: 'tile/0/003', what: 'other-hash', entry: 3 * 256 + 9 });
    const nothing = checkLog({ size: 2_000, root: log.root(), read: () => undefined, faultsMax: 3 });
    expect(nothing.faults).toHaveLength(3);
    expect(hashesAt(1, 2_000)).toBe(7);
  });
});

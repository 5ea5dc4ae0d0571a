/**
 * Sealing and hashing by machine code, against what node:crypto makes.
 */
import { leafHash, nodeHash, sealValue, subjectKeyOf } from '@kedge/ledger';
import fc from 'fast-check';
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { Worker } from 'node:worker_threads';

import { leafHashNatively, nodeHashNatively, sealNatively } from './seals.js';

const PATH = createRequire(import.meta.url).resolve('../build/ledger_store.node');
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 600 }),
  // Around what the addon has room for, with characters of one to four bytes at the edge.
  fc
    .tuple(fc.integer({ min: 1_000, max: 4_200 }), fc.constantFrom('a', 'ö', '€', '😀'))
    .map(([count, last]) => {
      return 'x'.repeat(count) + last;
    }),
);

describe('machine code that seals and hashes', () => {
  it('LE-9 seals what node:crypto seals, of any length', () => {
    let visited = 0;
    fc.assert(
      fc.property(text, bytes(32), text, (value, secret, place) => {
        const key = subjectKeyOf(secret);
        expect(sealNatively(value, key, place)).toBe(sealValue(value, key, place));
        visited += 1;
      }),
      { numRuns: 400 },
    );
    for (let length = 0; length < 4_200; length += 1) {
      const key = subjectKeyOf(Buffer.alloc(32, length));
      const value = 'é'.repeat(length % 7) + 'x'.repeat(length);
      expect(sealNatively(value, key, 'p')).toBe(sealValue(value, key, 'p'));
      visited += 1;
    }
    expect(visited).toBe(4_600);
  });

  it('LE-2 hashes leaves and nodes as the tree does', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 2_000 }), bytes(32), (entry, other) => {
        const leaf = leafHashNatively(entry);
        expect(leaf).toEqual(leafHash(entry));
        expect(nodeHashNatively(leaf, other)).toEqual(nodeHash(leaf, other));
        expect(leaf).toEqual(leafHash(entry));
      }),
      { numRuns: 400 },
    );
  });

  it('refuses what it was not made for, and is none the worse for it', () => {
    const addon = createRequire(import.meta.url)(PATH) as Record<string, (...given: unknown[]) => unknown>;
    const wrong: readonly (readonly [string, readonly unknown[]])[] = [
      ['seal', []],
      ['seal', ['a', new Uint8Array(63), 'p']],
      ['seal', ['a', new Uint16Array(32), 'p']],
      ['seal', [1, new Uint8Array(64), 'p']],
      ['seal', ['a', new Uint8Array(64), {}]],
      ['hashLeaf', [new Uint8Array(1)]],
      ['hashLeaf', ['a', new Uint8Array(32)]],
      ['hashLeaf', [new Uint8Array(1), new Uint8Array(31)]],
      ['hashPair', [new Uint8Array(31), new Uint8Array(32), new Uint8Array(32)]],
      ['hashPair', [new Uint8Array(32), new Uint8Array(32), new Uint8Array(33)]],
    ];
    for (const [name, given] of wrong) {
      expect(() => addon[name]?.(...given), name).toThrow(expect.objectContaining({ code: 'LEDGER_ADDON' }));
    }
    const key = subjectKeyOf(Buffer.alloc(32, 1));
    expect(sealNatively('a', key, 'p')).toBe(sealValue('a', key, 'p'));
  });

  it('works in worker threads that come and go', async () => {
    const source = `
      const { parentPort } = require('node:worker_threads');
      const out = new Uint8Array(32);
      require(${JSON.stringify(PATH)}).hashLeaf(Buffer.from('entry'), out);
      parentPort.postMessage(Buffer.from(out).toString('hex'));`;
    const hashes = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const worker = new Worker(source, { eval: true });
        return await new Promise<unknown>((resolve, reject) =>
          worker.on('message', resolve).on('error', reject),
        );
      }),
    );
    expect(new Set(hashes)).toEqual(new Set([leafHash(Buffer.from('entry')).toString('hex')]));
  });
});

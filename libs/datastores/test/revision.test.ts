/**
 * Revisions and heads as text, and which revisions a bounded history lets go of.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  checkKept,
  documentFrom,
  dropped,
  headsText,
  isRefusal,
  type Kept,
  parsedHeads,
  parsedRevision,
  type Revision,
  revisionText,
  utf8Bytes,
} from '../src/index.js';
import { ADA, AROUND, at, opened, sha256 } from './material.js';

/** Three revisions, the last one to be confirmed. */
function some(): Kept {
  const driven = opened();
  for (const [index, confirmSeconds] of [undefined, 60].entries()) {
    const id = driven.id();
    driven.take({ kind: 'load', at: at(1), id: driven.id(), by: ADA, text: `{"site:name":"${index}"}` });
    driven.take({
      kind: 'commit',
      at: at(2),
      id,
      by: ADA,
      comment: 'ä "comment"',
      ...(confirmSeconds === undefined ? {} : { confirmSeconds }),
    });
    driven.take({ kind: 'validated', at: at(3), id, findings: [], complete: true });
  }
  return driven.keeping.kept();
}

describe('a revision and heads as text', () => {
  it('UN-4 come back as they were, and with any character changed not at all', () => {
    const kept = some();
    const [revision] = kept.revisions.slice(-1);
    if (revision === undefined) throw new Error('no revision');
    const texts = [
      {
        text: revisionText(revision),
        parse: (text: string) => parsedRevision(text, sha256),
        value: revision,
      },
      {
        text: headsText(kept.heads, sha256),
        parse: (text: string) => parsedHeads(text, sha256),
        value: kept.heads,
      },
    ];
    let visited = 0;
    for (const { text, parse, value } of texts) {
      expect(parse(text)).toEqual(value);
      for (let index = 0; index < text.length; index++) {
        const other = text[index] === '1' ? '2' : '1';
        for (const wrong of [text.slice(0, index) + other + text.slice(index + 1), text.slice(0, index)]) {
          expect(() => parse(wrong), wrong).toThrow(
            expect.objectContaining({ code: 'INTENT_STORE_DAMAGED' }),
          );
          visited += 1;
        }
      }
    }
    expect(visited).toBe(2 * texts.reduce((sum, { text }) => sum + text.length, 0));
  });

  it('UN-4 that do not belong together are told apart from those that do', () => {
    const kept = some();
    checkKept(kept, sha256);
    const [first, second, third] = kept.revisions as [Revision, Revision, Revision];
    const { heads, documents } = kept;
    const wrong: Kept[] = [
      { ...kept, revisions: [first, second] },
      { ...kept, revisions: [first, third, second] },
      { ...kept, revisions: [first, { ...second, comment: 'another', id: sha256('another') }, third] },
      { ...kept, revisions: [] },
      { ...kept, revisions: [{ ...first, parent: second.id }, second, third] },
      { ...kept, heads: { ...heads, startup: 1, intended: 9 } },
      { ...kept, heads: { ...heads, pending: null } },
      { ...kept, heads: { ...heads, candidate: { ...heads.candidate, hash: sha256('x') } } },
      { ...kept, documents: new Map([...documents].slice(1)) },
      { ...kept, documents: new Map([...documents].map(([hash]) => [hash, '{}'])) },
    ];
    for (const each of wrong) {
      expect(() => checkKept(each, sha256)).toThrow(
        expect.objectContaining({ code: 'INTENT_STORE_DAMAGED' }),
      );
    }
    // What was dropped in between cannot be asked, and need not be there.
    checkKept({ ...kept, revisions: [second, third] }, sha256);
  });
});

describe('a bounded history', () => {
  it('UN-4 lets go of the oldest first, of no more than it has to, and of none that is in force', () => {
    const revision = fc.record({ document: fc.nat(5), isInForce: fc.boolean() });
    const bound = fc.record({
      revisions: fc.integer({ min: 2, max: 12 }),
      bytes: fc.integer({ min: 10, max: 4000 }),
    });
    let gone = 0;
    fc.assert(
      fc.property(fc.array(revision, { maxLength: 20 }), bound, (list, bounds) => {
        const history = list.map(
          ({ document }, index) =>
            ({ number: index + 1, hash: String(document), bytes: 100 * document + 10 }) as Revision,
        );
        const inForce = new Set(list.flatMap(({ isInForce }, index) => (isInForce ? [index + 1] : [])));
        const drop = dropped(history, inForce, bounds);
        gone += drop.length;
        const sizeOf = (revisions: readonly Revision[]): number =>
          [...new Map(revisions.map(({ hash, bytes }) => [hash, bytes])).values()].reduce(
            (sum, each) => sum + each,
            0,
          );
        const isInside = (revisions: readonly Revision[]): boolean =>
          revisions.length <= bounds.revisions && sizeOf(revisions) <= bounds.bytes;
        const left = history.filter((each) => !drop.includes(each));
        expect(drop.filter(({ number }) => inForce.has(number))).toEqual([]);
        // Either it is inside its bounds, or only what is in force is left.
        expect(isInside(left) || left.every(({ number }) => inForce.has(number))).toBe(true);
        expect(drop).toEqual(history.filter(({ number }) => !inForce.has(number)).slice(0, drop.length));
        // One fewer would not have been enough.
        if (drop.length > 0)
          expect(isInside(history.filter((each) => !drop.slice(0, -1).includes(each)))).toBe(false);
      }),
      { numRuns: 500 },
    );
    expect(gone).toBeGreaterThan(500);
  });
});

describe('a document', () => {
  it('UN-4 is the same text and hash however it was written', () => {
    const written = [
      '{"b":[1,2],"a":"\\u00e4"}',
      ' { "a" : "ä" , "b" : [ 1 , 2.0 ] } ',
      '{"a":"ä","b":[1,2e0]}',
    ];
    const documents = written.map((text) => documentFrom(text, AROUND));
    for (const each of documents)
      expect(each).toEqual({ text: '{"a":"ä","b":[1,2]}', hash: sha256('{"a":"ä","b":[1,2]}'), bytes: 20 });
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(utf8Bytes(text)).toBe(Buffer.byteLength(text));
        const document = documentFrom(JSON.stringify({ [text]: text }), AROUND);
        expect(isRefusal(document)).toBe(/\p{Cs}/u.test(text));
      }),
    );
  });
});

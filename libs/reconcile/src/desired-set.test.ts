import { createHash } from 'node:crypto';

import type { PlanValue } from '@kedge/contracts';
import { type Epoch, EPOCH_MAX, KedgeError, type Level, LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  allowedAt,
  canonicalText,
  desiredCodec,
  type DesiredKind,
  desiredSet,
  sameValue,
} from './desired-set.js';

interface Thing {
  readonly key: string;
  readonly value: PlanValue;
}
const kind: DesiredKind<Thing> = {
  schema: 'kedge.things/1',
  keyOf: ({ key }) => key,
  parse: (value) => {
    const thing = value as Thing;
    if (typeof thing !== 'object' || typeof thing.key !== 'string' || !('value' in thing)) {
      throw new KedgeError({ code: 'UNITS_LEVEL', message: 'no thing' });
    }
    return thing;
  },
};
const sha256 = (text: string) => createHash('sha256').update(text, 'utf8').digest('hex');
const codec = desiredCodec(kind, sha256);

// JSON knows no negative zero: RFC 8785 writes it as 0.
const value = fc.jsonValue().map((each) => JSON.parse(JSON.stringify(each)) as PlanValue);
const epoch = fc.bigInt({ min: 0n, max: EPOCH_MAX }).map((each) => each as Epoch);
const things = fc.uniqueArray(fc.record({ key: fc.string({ unit: 'binary' }), value }), {
  selector: ({ key }) => key,
  maxLength: 12,
});
const sets = fc.tuple(epoch, things).map(([at, items]) => desiredSet(kind, at, items));
const damaged = (field?: string) =>
  expect.objectContaining({
    code: 'RECONCILE_DESIRED_DAMAGED',
    ...(field === undefined ? {} : { field }),
  }) as Error;

describe('the file of a desired set', () => {
  it('PO-18 is one text, which a network engineer can read', () => {
    const set = desiredSet(kind, 7n as Epoch, [
      { key: 'b', value: { metric: 20, dev: 'wg0' } },
      { key: 'a', value: null },
    ]);
    const body =
      '{"epochTaken":"7","items":[{"key":"a","value":null},{"key":"b","value":{"dev":"wg0","metric":20}}],' +
      '"schema":"kedge.things/1"';
    expect(codec.encode(set)).toBe(`${body},"sha256":"${sha256(`${body}}`)}"}\n`.replace('}"}', '"}'));
  });

  it('PO-18 gives back the set that was written, and the same set is the same bytes', () => {
    fc.assert(
      fc.property(sets, fc.infiniteStream(fc.nat()), (set, order) => {
        const text = codec.encode(set);
        expect(codec.decode(text)).toEqual(set);
        const ranks = new Map(set.items.map(({ key }) => [key, order.next().value as number]));
        const shuffled = [...set.items].sort((a, b) => (ranks.get(a.key) ?? 0) - (ranks.get(b.key) ?? 0));
        expect(codec.encode({ ...set, items: shuffled })).toBe(text);
      }),
    );
  });

  it('PO-18 is refused when it was cut at any place', () => {
    fc.assert(
      fc.property(sets, fc.nat(), (set, place) => {
        const text = codec.encode(set);
        expect(() => codec.decode(text.slice(0, place % text.length))).toThrow(damaged());
      }),
    );
  });

  it('PO-18 is refused when any of its characters is another one, or something was added', () => {
    fc.assert(
      fc.property(
        sets,
        fc.nat(),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
        (set, place, other) => {
          const text = codec.encode(set);
          const at = place % text.length;
          if (text[at] !== other) {
            expect(() => codec.decode(text.slice(0, at) + other + text.slice(at + 1))).toThrow(damaged());
          }
          expect(() => codec.decode(text.slice(0, at) + other + text.slice(at))).toThrow(damaged());
        },
      ),
      { numRuns: 400 },
    );
  });

  it('PO-18 says what is wrong with it', () => {
    const sealed = (fields: Record<string, unknown>) => {
      const body = canonicalText({ epochTaken: '7', items: [], schema: kind.schema, ...fields });
      return `${body.slice(0, -1)},"sha256":"${sha256(body)}"}\n`;
    };
    expect(codec.decode(sealed({}))).toEqual({ epochTaken: 7n, items: [] });
    const two = { key: 'a', value: 1 };
    const wrong: [string, string][] = [
      ['', 'end'],
      ['{"epochTaken":"7"', 'end'],
      ['{"epochTaken":}\n', 'json'],
      ['[{}\n', 'json'],
      [sealed({ schema: 'kedge.things/2' }), 'schema'],
      [sealed({}).replace(/[0-9a-f]"}\n$/, 'x"}\n'), 'sha256'],
      [sealed({ epochTaken: 7 }), 'epochTaken'],
      [sealed({ epochTaken: String(EPOCH_MAX + 1n) }), 'epochTaken'],
      [sealed({ items: {} }), 'items'],
      [sealed({ items: [two, 5] }), 'items[1]'],
      [sealed({ items: [two, two] }), 'items'],
      [sealed({ items: [{ key: 'b', value: 1 }, two] }), 'form'],
      [sealed({ another: true }), 'form'],
      [sealed({}).replace('{"epochTaken"', '{ "epochTaken"'), 'sha256'],
    ];
    for (const [text, field] of wrong) expect(() => codec.decode(text), field).toThrow(damaged(field));
  });

  it('is not written for two items with one key, nor for what JSON cannot hold', () => {
    const invalid = expect.objectContaining({ code: 'RECONCILE_DESIRED_INVALID' }) as Error;
    const twice = {
      epochTaken: 0n as Epoch,
      items: [
        { key: 'a', value: 1 },
        { key: 'a', value: 2 },
      ],
    };
    expect(() => codec.encode(twice)).toThrow(invalid);
    for (const value of [NaN, Infinity, 1n, Symbol('x'), () => 1, new Date(0), new Map()]) {
      expect(() =>
        codec.encode({ epochTaken: 0n as Epoch, items: [{ key: 'a', value: value as never }] }),
      ).toThrow(invalid);
    }
  });
});

describe('a level', () => {
  const allows = ({ key }: Thing, level: Level) => key.length % 5 < level;

  it('PO-18 is a pure filter: in the order of the set, and applied twice it is applied once', () => {
    fc.assert(
      fc.property(sets, fc.constantFrom(...LEVELS), (set, level) => {
        const left = allowedAt(set, level, allows);
        expect(left).toEqual(set.items.filter((item) => allows(item, level)));
        expect(allowedAt({ ...set, items: left }, level, allows)).toEqual(left);
      }),
    );
  });

  it('PO-9 skipping levels leaves what stepping through them leaves', () => {
    fc.assert(
      fc.property(sets, fc.constantFrom(...LEVELS), (set, to) => {
        let stepped = set;
        for (const level of LEVELS) {
          if (level >= to) stepped = { ...stepped, items: allowedAt(stepped, level, allows) };
        }
        expect(stepped.items).toEqual(allowedAt(set, to, allows));
      }),
    );
  });
});

describe('values', () => {
  it('are the same whatever the order of their fields, and nothing else is', () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        const turned = JSON.parse(JSON.stringify(a), (_key, each: unknown) =>
          typeof each === 'object' && each !== null && !Array.isArray(each)
            ? Object.fromEntries(Object.entries(each).reverse())
            : each,
        ) as PlanValue;
        expect(sameValue(a, turned)).toBe(true);
        expect(sameValue(a, b)).toBe(canonicalText(a) === canonicalText(b));
        expect(JSON.parse(canonicalText(a))).toEqual(a);
      }),
    );
  });
});

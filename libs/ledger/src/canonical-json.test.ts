/**
 * Canonical JSON, against what RFC 8785 prints and against another implementation.
 */
import * as library from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { canonicalJson, JSON_LEVELS_MAX, parseCanonicalJson } from './canonical-json.js';

// CommonJS whose types speak of a default export that is the module itself.
const peer = library.default as unknown as (value: unknown) => string | undefined;

const code = (name: string): unknown => expect.objectContaining({ code: name });
const nested = (levels: number): unknown => (levels === 0 ? 0 : [nested(levels - 1)]);

/** RFC 8785, appendix B: a double by its bits, and its text; undefined = has none. */
const NUMBERS: readonly (readonly [string, string | undefined])[] = [
  ['0000000000000000', '0'],
  ['8000000000000000', '0'],
  ['0000000000000001', '5e-324'],
  ['8000000000000001', '-5e-324'],
  ['7fefffffffffffff', '1.7976931348623157e+308'],
  ['ffefffffffffffff', '-1.7976931348623157e+308'],
  ['4340000000000000', '9007199254740992'],
  ['c340000000000000', '-9007199254740992'],
  ['4430000000000000', '295147905179352830000'],
  ['7fffffffffffffff', undefined],
  ['7ff0000000000000', undefined],
  ['44b52d02c7e14af5', '9.999999999999997e+22'],
  ['44b52d02c7e14af6', '1e+23'],
  ['44b52d02c7e14af7', '1.0000000000000001e+23'],
  ['444b1ae4d6e2ef4e', '999999999999999700000'],
  ['444b1ae4d6e2ef4f', '999999999999999900000'],
  ['444b1ae4d6e2ef50', '1e+21'],
  ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
  ['3eb0c6f7a0b5ed8d', '0.000001'],
  ['41b3de4355555553', '333333333.3333332'],
  ['41b3de4355555554', '333333333.33333325'],
  ['41b3de4355555555', '333333333.3333333'],
  ['41b3de4355555556', '333333333.3333334'],
  ['41b3de4355555557', '333333333.33333343'],
  ['becbf647612f3696', '-0.0000033333333333333333'],
  ['43143ff3c1cb0959', '1424953923781206.2'],
];

describe('canonical JSON', () => {
  it('LE-1 writes the object of RFC 8785, 3.2.2, as the bytes of 3.2.4', () => {
    const object: unknown = JSON.parse(
      '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],' +
        '"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}',
    );
    const bytes = Buffer.from(canonicalJson(object));
    expect(bytes.toString('hex')).toBe(
      '7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b3333333333333333332e' +
        '333333333333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac245c753030306' +
        '65c6e4127425c225c5c5c5c5c222f227d',
    );
    expect(parseCanonicalJson(bytes)).toEqual(object);
  });

  it('LE-1 sorts the members of RFC 8785, 3.2.3, by UTF-16 code units', () => {
    const object = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    };
    const order = [...canonicalJson(object).matchAll(/:"([^"]*)"/g)].map(([, name]) => name);
    expect(order).toEqual([
      'Carriage Return',
      'One',
      'Control',
      'Latin Small Letter O With Diaeresis',
      'Euro Sign',
      'Emoji: Grinning Face',
      'Hebrew Letter Dalet With Dagesh',
    ]);
  });

  it('LE-1 writes the numbers of RFC 8785, appendix B, and refuses those that have no text', () => {
    let visited = 0;
    for (const [bits, text] of NUMBERS) {
      const number = Buffer.from(bits, 'hex').readDoubleBE(0);
      if (text === undefined) expect(() => canonicalJson(number)).toThrow(code('LEDGER_JSON_VALUE'));
      else expect(canonicalJson(number)).toBe(text);
      visited += 1;
    }
    expect(visited).toBe(26);
  });

  it('LE-1 any value comes back, is written as another implementation writes it, whatever the order it came in', () => {
    const value = fc.jsonValue({ maxDepth: 5 }).filter((each) => !/\\ud[89a-f]/i.test(JSON.stringify(each)));
    fc.assert(
      fc.property(value, (each) => {
        const text = canonicalJson(each);
        expect(text).toBe(peer(each));
        expect(canonicalJson(parseCanonicalJson(Buffer.from(text)))).toBe(text);
        expect(canonicalJson(backwards(each))).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  it('LE-1 any number comes back as it was', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
        expect(Number(canonicalJson(number))).toBe(number + 0);
        expect(parseCanonicalJson(Buffer.from(canonicalJson(number)))).toBe(Number(canonicalJson(number)));
      }),
      { numRuns: 1_000 },
    );
  });

  it('refuses what JSON cannot say, half characters, holes, and what is too deep', () => {
    const wrong: readonly unknown[] = [
      ...[undefined, NaN, Infinity, 1n, Symbol('s'), () => 1, new Date(0), new Map(), Buffer.from('x')],
      ...[
        { a: undefined },
        [undefined],
        new Array(2),
        '\ud800',
        { '\udc00': 1 },
        nested(JSON_LEVELS_MAX + 1),
      ],
    ];
    for (const each of wrong) expect(() => canonicalJson(each)).toThrow(code('LEDGER_JSON_VALUE'));
    expect(canonicalJson(nested(JSON_LEVELS_MAX))).toHaveLength(2 * JSON_LEVELS_MAX + 1);
    expect(wrong).toHaveLength(15);
  });

  it('LE-1 takes no bytes but the canonical ones', () => {
    const wrong = [
      ...[
        '',
        '{',
        '{} ',
        ' {}',
        '[1, 2]',
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a":1,"a":2}',
        '1.0',
        '1e0',
        '-0',
      ],
      ...[
        '"\\u0041"',
        '"\\/"',
        '"\\u000A"',
        '"\\u20AC"',
        '"\\ud800"',
        '1e999',
        '\ufeff{}',
        'nul',
        "'a'",
        '01',
      ],
      ...[`${'['.repeat(65)}${']'.repeat(65)}`],
    ].map((text) => Buffer.from(text));
    wrong.push(
      Buffer.from('22ff22', 'hex'),
      Buffer.from('22eda08022', 'hex'),
      Buffer.from('22c08022', 'hex'),
    );
    for (const bytes of wrong) {
      expect(() => parseCanonicalJson(bytes), bytes.toString()).toThrow(code('LEDGER_JSON_BYTES'));
    }
    expect(wrong).toHaveLength(25);
    expect(parseCanonicalJson(Buffer.from('"\u20ac\ufffd"'))).toBe('\u20ac\ufffd');
  });
});

/** The same value, its members put in from the last. */
function backwards(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(backwards);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, part]) => [name, backwards(part)]),
  );
}

/**
 * The YANG modules and the TypeScript schema hold the same documents for right: every example, and hundreds of
 * mutations of the right ones, by yanglint's verdict and ours.
 * Must not test lexical forms of JSON (5.0, duplicate members, trailing text): yanglint's parsers differ there.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { accordsTree } from '@kedge/intent-model';
import type { Tier } from '@kedge/contracts';
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest';

import { compileAccords, type LockdownExit, parseAccords, validateAccords, type Verdict } from './accords.js';
import type { DriftSeverity, ExemptProtocol, GateMode, Remediation, RoutePurpose } from './accords-paths.js';
import type { Protocol } from './zones.js';

const YANG = join(import.meta.dirname, '../../../yang');
/** Where each invalid example is wrong, by yanglint; keys of lists left out. */
const EXPECTED = JSON.parse(readFileSync(join(YANG, 'examples/expected/accords.json'), 'utf8')) as Record<
  string,
  { readonly path: string }
>;
const MODULES = ['kedge-zones.yang', 'kedge-accords.yang'].map((name) => join(YANG, name));
const scratch = mkdtempSync(join(tmpdir(), 'kedge-yang-'));
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/**
 * yanglint's verdict on a document: undefined when it is right, otherwise what it said first. 3.12 falls over after
 * it has refused a list entry with two keys of which one is missing; what it said by then counts.
 */
function yanglint(file: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    execFile('yanglint', ['-t', 'config', '-p', YANG, ...MODULES, file], (error, _out, complaint) => {
      if (error === null) resolve(undefined);
      else if (complaint.startsWith('libyang err')) resolve(complaint.split('\n')[0]);
      else reject(new Error(`cannot run yanglint: ${complaint}`, { cause: error }));
    });
  });
}

/** An example holds both modules' data in one document, as yanglint takes them; the product keeps two files. */
function parts(document: Json): [accords: unknown, zones: unknown] {
  const members = Object.entries(document as Record<string, Json>);
  const zones = members.filter(([name]) => name.startsWith('kedge-zones:'));
  const accords = members.filter(([name]) => !name.startsWith('kedge-zones:'));
  return [Object.fromEntries(accords), Object.fromEntries(zones)];
}

function ours(document: Json): string | undefined {
  const reading = validateAccords(...parts(document));
  return reading.valid ? undefined : `${reading.faults[0].path}: ${reading.faults[0].message}`;
}

function examples(kind: 'valid' | 'invalid' | 'refused'): { name: string; file: string; document: Json }[] {
  return readdirSync(join(YANG, 'examples', kind, 'accords')).map((name) => {
    const file = join(YANG, 'examples', kind, 'accords', name);
    return { name, file, document: JSON.parse(readFileSync(file, 'utf8')) as Json };
  });
}

/** Runs `work` over all items, four at a time. */
async function each<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

/** A small generator with a seed (xorshift), so that a failure can be repeated. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const STRANGE: readonly Json[] = [
  null,
  true,
  false,
  0,
  1,
  5,
  16,
  255,
  256,
  65536,
  -1,
  2.5,
  '',
  '1',
  'pass',
  'master',
  'tiers',
  'monitoring',
  'management',
  'inside',
  'Inside',
  '10.0.0.0/8',
  'fd00::/64',
  '::ffff:10.0.0.0/100',
  '1::2::3/5',
  '10.0.0/8',
  '::/08',
  'é',
  [],
  [null],
  [1],
  ['x'],
  {},
  { name: 'x' },
];

interface Place {
  readonly holder: Json[] | { [name: string]: Json };
  readonly key: string | number;
}

function places(node: Json): Place[] {
  if (typeof node !== 'object' || node === null) return [];
  if (Array.isArray(node)) return node.flatMap((child, key) => [{ holder: node, key }, ...places(child)]);
  return Object.entries(node).flatMap(([key, child]) => [{ holder: node, key }, ...places(child)]);
}

function at({ holder, key }: Place): Json {
  return (holder as Record<string | number, Json>)[key] ?? null;
}

function put({ holder, key }: Place, value: Json): void {
  (holder as Record<string | number, Json>)[key] = value;
}

/** Changes one thing. What comes out may well be right again. */
function mutate(document: Json, next: (below: number) => number): Json {
  const copy = structuredClone(document);
  const all = places(copy);
  const pick = (): Place => all[next(all.length)] as Place;
  const place = pick();
  const value = at(place);
  switch (next(8)) {
    case 0:
      if (Array.isArray(place.holder)) place.holder.splice(Number(place.key), 1);
      else Reflect.deleteProperty(place.holder, place.key);
      break;
    case 1:
      put(place, STRANGE[next(STRANGE.length)] as Json);
      break;
    case 2:
      put(place, structuredClone(at(pick())));
      break;
    case 3:
      if (Array.isArray(value)) value.push(structuredClone(value[next(value.length || 1)] ?? null));
      else put(place, [structuredClone(value)]);
      break;
    case 4:
      if (typeof value === 'number') put(place, value + ([-1, 1, 10, 0.5][next(4)] ?? 0));
      else if (typeof value === 'string')
        put(place, value.slice(0, next(value.length + 1)) + (['', '-', '0', 'A', ':', '/'][next(6)] ?? ''));
      else if (typeof value === 'boolean') put(place, !value);
      else put(place, {});
      break;
    case 5:
      if (typeof value === 'string') put(place, value.toUpperCase());
      else put(place, typeof value === 'number' ? String(value) : value);
      break;
    case 6: {
      // The same member somewhere else in the tree.
      const other = pick();
      if (!Array.isArray(other.holder) && typeof place.key === 'string')
        put({ holder: other.holder, key: place.key }, structuredClone(value));
      break;
    }
    default: {
      const texts = all.filter((one) => typeof at(one) === 'string');
      const from = texts[next(texts.length)];
      const to = texts[next(texts.length)];
      if (from !== undefined && to !== undefined) put(to, at(from));
    }
  }
  return copy;
}

describe('yang examples', () => {
  it('PO-2 yanglint and the schema hold every valid example for right', async () => {
    const all = examples('valid');
    let visited = 0;
    await each(all, async ({ name, file, document }) => {
      expect([name, await yanglint(file), ours(document)]).toEqual([name, undefined, undefined]);
      expect(() => parseAccords(...parts(document))).not.toThrow();
      visited++;
    });
    expect(visited).toBe(22);
  });

  it('PO-2 yanglint and the schema refuse every invalid example, and we say where', async () => {
    const all = examples('invalid');
    let visited = 0;
    await each(all, async ({ name, file, document }) => {
      expect([name, await yanglint(file)]).not.toEqual([name, undefined]);
      const reading = validateAccords(...parts(document));
      expect([name, reading.valid]).toEqual([name, false]);
      // The schema may name what encloses a missing node, or a part of what yanglint refuses as a whole.
      const expected = EXPECTED[name.replace('.json', '')]?.path ?? 'no place';
      const places = reading.valid ? [] : reading.faults.map(({ path }) => path.replace(/\[[^/]*\]/g, ''));
      const agreed = places.some((path) => expected.startsWith(path) || path.startsWith(expected));
      expect([name, places, agreed]).toEqual([name, places, true]);
      expect(() => parseAccords(...parts(document))).toThrow(
        expect.objectContaining({ code: 'ACCORD_INVALID', field: expect.stringMatching(/^\/kedge-/) }),
      );
      visited++;
    });
    expect(visited).toBe(100);
  });

  it('PO-2 what is right by YANG alone is refused with the code in its name', async () => {
    const all = examples('refused');
    let visited = 0;
    await each(all, async ({ name, file, document }) => {
      expect([name, await yanglint(file), ours(document)]).toEqual([name, undefined, undefined]);
      const code = name.split('.')[1];
      expect(() => {
        const { accords, zones } = parseAccords(...parts(document));
        compileAccords(accords, zones);
      }).toThrow(expect.objectContaining({ code, field: expect.stringMatching(/^\/kedge-/) }));
      visited++;
    });
    expect(visited).toBe(17);
  });

  it(
    'PO-2 yanglint and the schema agree on 400 mutations of the valid examples',
    { timeout: 60_000 },
    async () => {
      const seeds = examples('valid').filter(({ name }) => !/^fifteen|letters|^defaults/.test(name));
      const next = random(20261122);
      const seen = new Set<string>();
      const mutations: { text: string; document: Json }[] = [];
      while (mutations.length < 400) {
        const seed = seeds[mutations.length % seeds.length];
        if (seed === undefined) break;
        const document = mutate(seed.document, next);
        const text = JSON.stringify(document);
        if (seen.has(text)) continue;
        seen.add(text);
        mutations.push({ text, document });
      }
      const counts = { right: 0, wrong: 0 };
      const disagreements: unknown[] = [];
      await each(
        mutations.map((mutation, number) => ({ ...mutation, number })),
        async ({ text, document, number }) => {
          const file = join(scratch, `${String(number)}.json`);
          writeFileSync(file, text);
          const [theirs, mine] = [await yanglint(file), ours(document)];
          if ((theirs === undefined) !== (mine === undefined)) disagreements.push({ theirs, mine, text });
          else counts[mine === undefined ? 'right' : 'wrong']++;
          rmSync(file);
        },
      );
      expect(disagreements).toEqual([]);
      expect(counts.right + counts.wrong).toBe(400);
      // A generator that only makes right (or only wrong) documents would prove nothing.
      expect(Math.min(counts.right, counts.wrong)).toBeGreaterThan(40);
    },
  );
});

describe('the words of the accords', () => {
  it('UN-2 are those of the module, one by one; another one does not compile', () => {
    type Level = accordsTree.AccordsLevel;
    type Scope = accordsTree.AccordsLevelOverlayRoutesOverlayMode;
    type Remedy = accordsTree.AccordsLevelUnderlayDriftRemedy;
    expectTypeOf<Verdict>().toEqualTypeOf<Level['default-verdict']>();
    expectTypeOf<Tier>().toEqualTypeOf<NonNullable<Scope['minimum-tier']>>();
    expectTypeOf<RoutePurpose>().toEqualTypeOf<NonNullable<Scope['purpose']>[number]>();
    expectTypeOf<ExemptProtocol>().toEqualTypeOf<
      NonNullable<accordsTree.AccordsLevelOverlayRoutes['exempt']>[number]
    >();
    expectTypeOf<GateMode>().toEqualTypeOf<accordsTree.AccordsLevelUnderlayGate['mode']>();
    expectTypeOf<DriftSeverity>().toEqualTypeOf<Remedy['severity']>();
    expectTypeOf<Remediation>().toEqualTypeOf<Remedy['remediation']>();
    expectTypeOf<LockdownExit>().toEqualTypeOf<accordsTree.AccordsLockdownExit['channel'][number]>();
    expectTypeOf<Protocol>().toEqualTypeOf<NonNullable<accordsTree.AllowlistEntry['protocol']>>();
    // What was compared above is gone when this runs; that there is a document of the type is not.
    const zones: accordsTree.Zones = { zone: [{ name: 'management', id: 1 }] };
    expect(validateAccords({}, { 'kedge-zones:zones': zones }).valid).toBe(false);
  });
});

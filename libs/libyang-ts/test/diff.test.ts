/**
 * Diffs: what they say, and that applying and reverting them does what they say.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Change, Context, type DataTree, type Diff, YangError } from '../src/index.js';
import { everything, interfaces, interfacesDocument } from './material.js';

let context: Context;
beforeAll(() => {
  context = everything();
});
afterAll(() => context.dispose());

const parse = (all: object): Promise<DataTree> =>
  context.parseConfiguration(JSON.stringify({ 'everything:all': all }));

async function changesOf(diff: Diff): Promise<Change[]> {
  const changes: Change[] = [];
  for await (const change of diff) changes.push(change);
  return changes;
}

/** The changes from one tree to another, and nothing left of both. */
async function between(before: object, after: object): Promise<Change[]> {
  const [a, b] = [await parse(before), await parse(after)];
  const diff = await context.diff(a, b);
  const changes = await changesOf(diff);
  for (const each of [diff, a, b]) each.dispose();
  return changes;
}

const at = (name: string): string => `/everything:all/${name}`;

describe('the changes of a diff', () => {
  it('UN-1 say what was created, deleted and replaced, with typed values before and after', async () => {
    expect(
      await between({ i8: 1, s: 'a', u: 80, e: [null] }, { i8: 2, b: true, u: 'auto', e: [null] }),
    ).toEqual([
      { op: 'replace', path: at('i8'), kind: 'leaf', before: 1, after: 2 },
      { op: 'delete', path: at('s'), kind: 'leaf', before: 'a' },
      { op: 'create', path: at('b'), kind: 'leaf', after: true },
      { op: 'replace', path: at('u'), kind: 'leaf', before: 80, after: 'auto' },
    ]);
    expect(await between({ i64: '-5' }, { i64: '9007199254740993' })).toEqual([
      { op: 'replace', path: at('i64'), kind: 'leaf', before: '-5', after: '9007199254740993' },
    ]);
  });

  it('UN-1 come in an order in which they can be done: down when created, up when deleted', async () => {
    const peer = { host: 'a', port: 1, label: 'x', weight: 7 };
    const entry = at("peer[host='a'][port='1']");
    expect(await between({}, { peer: [peer], loud: {} })).toEqual([
      { op: 'create', path: at('loud'), kind: 'container' },
      { op: 'create', path: entry, kind: 'list' },
      { op: 'create', path: `${entry}/label`, kind: 'leaf', after: 'x' },
      { op: 'create', path: `${entry}/weight`, kind: 'leaf', after: 7 },
    ]);
    expect(await between({ peer: [peer] }, {})).toEqual([
      { op: 'delete', path: `${entry}/label`, kind: 'leaf', before: 'x' },
      { op: 'delete', path: `${entry}/weight`, kind: 'leaf', before: 7 },
      { op: 'delete', path: entry, kind: 'list' },
    ]);
  });

  it('UN-1 leave out defaults that stand there only by the module', async () => {
    expect(await between({}, { peer: [{ host: 'a', port: 1 }], loud: {} })).toHaveLength(2);
    expect(await between({ share: 60 }, {})).toEqual([
      { op: 'delete', path: at('share'), kind: 'leaf', before: 60 },
    ]);
    expect(await between({}, {})).toEqual([]);
  });

  it('UN-1 keep the order that users gave to lists and leaf-lists', async () => {
    const rules = (...names: string[]): object => ({ rule: names.map((name) => ({ name })) });
    const rule = (name: string): string => at(`rule[name='${name}']`);
    expect(await between(rules('a', 'b', 'c'), rules('c', 'a', 'b'))).toEqual([
      { op: 'move', path: rule('c'), kind: 'list', position: { before: rule('b'), after: null } },
    ]);
    expect(await between(rules('a', 'b'), rules('a', 'x', 'b'))).toEqual([
      { op: 'create', path: rule('x'), kind: 'list', position: { after: rule('a') } },
    ]);
    expect(await between({ order: ['a', 'b'] }, { order: ['b', "it's"] })).toEqual([
      { op: 'delete', path: at("order[.='a']"), kind: 'leaf-list', before: 'a' },
      {
        ...{ op: 'create', path: at('order[.="it\'s"]'), kind: 'leaf-list', after: "it's" },
        position: { after: at("order[.='b']") },
      },
    ]);
  });

  it('UN-1 of ten thousand entries are read in pieces, none lost and none twice', async () => {
    const many = (from: number): object => ({
      'leaf-list': undefined,
      tags: Array.from({ length: 10_000 }, (_, i) => `t${from + i}`),
    });
    const changes = await between(many(0), many(5_000));
    expect(changes.filter(({ op }) => op === 'create')).toHaveLength(5_000);
    expect(changes.filter(({ op }) => op === 'delete')).toHaveLength(5_000);
    expect(new Set(changes.map(({ path }) => path)).size).toBe(10_000);
  });
});

/** Does the changes one by one, as whoever programs a device would. */
async function follow(tree: DataTree, changes: readonly Change[]): Promise<void> {
  for (const { op, path, after, position } of changes) {
    if (op === 'delete') tree.remove(path);
    else if (op !== 'move') tree.set(path, path.endsWith(']') ? undefined : after);
    if (position?.after === undefined) continue;
    if (position.after !== null) {
      tree.move(path, { behind: position.after });
      continue;
    }
    const [first] = await tree.find(path.replace(/\[[^[]*\]$/, ''));
    tree.move(path, { before: first?.path ?? path });
  }
}

/** A printed tree without the order that means nothing. */
async function meaningOf(tree: DataTree, options: object = {}): Promise<unknown> {
  const { 'everything:all': all = {} } = JSON.parse(await tree.print(options)) as Record<
    string,
    Record<string, unknown>
  >;
  for (const name of ['tags', 'peer']) {
    const list = all[name];
    if (Array.isArray(list)) list.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  return all;
}

describe('applying and reverting', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const some = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(of, { nil: undefined });
  const step = fc.record({ at: fc.nat(4), what: some(name) }, { requiredKeys: ['at'] });
  const content = fc.record({
    i8: some(fc.integer({ min: -128, max: 127 })),
    u: some(fc.oneof(fc.integer({ min: 0, max: 9 }), fc.constant('auto'))),
    share: some(fc.constantFrom(50, 60)),
    tags: fc.uniqueArray(name),
    order: fc.uniqueArray(name),
    quiet: some(fc.record({ inner: some(fc.constantFrom('still', 'not')) })),
    loud: some(fc.record({ volume: some(fc.constantFrom(3, 4)) })),
    way: fc.constantFrom({}, { name: 'n' }, { number: 1 }, { number: 2, prefix: 'p' }),
    peer: fc.uniqueArray(fc.record({ host: name, port: fc.nat(2), weight: some(fc.constantFrom(1, 2)) }), {
      selector: ({ host, port }) => `${host} ${port}`,
      maxLength: 6,
    }),
    rule: fc.uniqueArray(
      fc.record({ name, verdict: some(name), step: fc.uniqueArray(step, { selector: (each) => each.at }) }),
      { selector: (each) => each.name },
    ),
  });
  const documentOf = ({ way, ...rest }: object & { way: object }): string =>
    JSON.stringify({ 'everything:all': { ...rest, ...way } });

  it('UN-1 print and parse are the inverse of each other, in both formats', async () => {
    await fc.assert(
      fc.asyncProperty(content, async (made) => {
        const tree = await context.parseConfiguration(documentOf(made));
        for (const format of ['json', 'xml'] as const) {
          for (const defaults of ['explicit', 'all'] as const) {
            const printed = await tree.print({ format, defaults });
            const again = await context.parseConfiguration(printed, { format });
            expect(await again.print({ format, defaults })).toBe(printed);
            again.dispose();
          }
        }
        tree.dispose();
      }),
      { numRuns: 60 },
    );
  });

  it('UN-1 what a diff says makes the second tree of the first, and reverted the first of the second', async () => {
    let visited = 0;
    await fc.assert(
      fc.asyncProperty(content, content, async (first, second) => {
        const [a, b] = await Promise.all(
          [first, second].map((made) => context.parseConfiguration(documentOf(made))),
        );
        if (a === undefined || b === undefined) throw new Error('nothing was parsed');
        const [before, after] = [await meaningOf(a), await meaningOf(b)];
        const diff = await context.diff(a, b);
        const made = await a.duplicate();
        await diff.applyTo(made);
        expect(await meaningOf(made)).toEqual(after);
        await made.validate();
        expect(await meaningOf(made, { defaults: 'all' })).toEqual(await meaningOf(b, { defaults: 'all' }));
        const back = await diff.reverted();
        await back.applyTo(made);
        expect(await meaningOf(made)).toEqual(before);
        // Neither tree has changed, and a tree has no difference to itself.
        expect([await meaningOf(a), await meaningOf(b)]).toEqual([before, after]);
        const none = await context.diff(b, b);
        expect(await changesOf(none)).toEqual([]);
        for (const each of [none, back, made, diff, a, b]) each.dispose();
        visited += 1;
      }),
      { numRuns: 150 },
    );
    expect(visited).toBeGreaterThanOrEqual(150);
  });

  it('UN-1 the changes, done one by one in their order, make the second tree of the first', async () => {
    await fc.assert(
      fc.asyncProperty(content, content, async (first, second) => {
        const [a, b] = await Promise.all(
          [first, second].map((made) => context.parseConfiguration(documentOf(made))),
        );
        if (a === undefined || b === undefined) throw new Error('nothing was parsed');
        const diff = await context.diff(a, b);
        const changes = await changesOf(diff);
        await follow(a, changes);
        await a.validate();
        const rest = await context.diff(a, b);
        expect(await changesOf(rest)).toEqual([]);
        for (const each of [rest, diff, a, b]) each.dispose();
      }),
      { numRuns: 100 },
    );
  });

  it('UN-1 a diff leaves no default of the module beside what it creates', async () => {
    const [a, b] = [await parse({}), await parse({ share: 60, quiet: { inner: 'not' } })];
    const diff = await context.diff(a, b);
    await diff.applyTo(a);
    for (const name of ['share', 'quiet', 'quiet/inner'])
      expect(await a.find(at(name)), name).toHaveLength(1);
    expect(a.get(at('share'))).toMatchObject({ value: 60, isDefault: false });
    const back = await diff.reverted();
    await back.applyTo(a);
    expect(a.get(at('share'))).toMatchObject({ value: 50, isDefault: true });
    for (const each of [back, diff, a, b]) each.dispose();
  });

  it('UN-1 a diff that does not fit leaves the tree as it was', async () => {
    const [a, b, other] = [
      await parse({ i8: 1, s: 'x' }),
      await parse({ s: 'y', b: true }),
      await parse({ s: 'z' }),
    ];
    const diff = await context.diff(a, b);
    const error: unknown = await diff.applyTo(other).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(YangError);
    expect(error).toMatchObject({ code: 'YANG_DIFF' });
    expect(await other.print()).toBe('{"everything:all":{"s":"z"}}');
    for (const each of [diff, a, b, other]) each.dispose();
  });

  it('UN-1 a diff is printed as libyang annotates it, and outlives its trees', async () => {
    const own = interfaces();
    const a = await own.parseConfiguration(interfacesDocument(2));
    const b = await own.parseConfiguration(interfacesDocument(3));
    const diff = await own.diff(a, b);
    for (const each of [a, b, own]) each.dispose();
    expect(await diff.print()).toContain('yang:operation="create"');
    expect(await changesOf(diff)).toHaveLength(8);
    diff.dispose();
  });
});

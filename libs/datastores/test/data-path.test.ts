/**
 * Edits of a tree at data paths.
 */
import type { PlanValue } from '@kedge/contracts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type Container, EDIT_KINDS, type EditKind, edited, isRefusal, stepsOf } from '../src/index.js';

const TREE: Container = {
  'site:name': 'lan',
  'site:tags': ['a', 'b'],
  'site:vlan': [
    { id: 10, name: 'guests', ports: { untagged: ['p1'] } },
    { id: 20, name: 'staff' },
  ],
};

const LISTS: Readonly<Record<string, readonly string[]>> = {
  '/site:tags': ['.'],
  '/site:vlan': ['id'],
  '/site:vlan/ports/untagged': ['.'],
};
const keysOf = (path: string) => LISTS[path];

const one = (kind: EditKind, path: string, value?: PlanValue) =>
  edited(TREE, [{ kind, path, ...(value === undefined ? {} : { value }) }], keysOf);
const codeOf = (result: ReturnType<typeof edited>): string | undefined =>
  isRefusal<Container>(result) ? result.code : undefined;

describe('a data path', () => {
  it('UN-4 is read into its steps, qualified names and predicates included', () => {
    expect(stepsOf(`/site:vlan[id='10'][name="it's"]/ip:address/.`)).toMatchObject({ code: 'INTENT_PATH' });
    expect(stepsOf(`/site:vlan[id='10'][ name = "it's" ]/ip:address`)).toEqual([
      {
        name: 'site:vlan',
        where: [
          { leaf: 'id', value: '10' },
          { leaf: 'name', value: "it's" },
        ],
      },
      { name: 'ip:address', where: [] },
    ]);
    let visited = 0;
    for (const wrong of [
      '',
      '/',
      'a',
      '//a',
      '/a/',
      '/a[',
      '/a[b]',
      "/a[b='c]",
      '/1',
      '/a b',
      '/a:b:c',
      '/a'.repeat(33),
    ]) {
      expect(stepsOf(wrong), wrong).toMatchObject({ code: 'INTENT_PATH', field: 'path' });
      visited += 1;
    }
    expect(visited).toBe(12);
  });
});

describe('an edit', () => {
  it('UN-4 puts, replaces and takes away leafs, containers and entries of lists', () => {
    expect(one('replace', '/site:name', 'wan')).toEqual({ ...TREE, 'site:name': 'wan' });
    expect(one('create', '/site:mtu', 1500)).toEqual({ ...TREE, 'site:mtu': 1500 });
    expect(one('create', '/site:a/b/c', true)).toEqual({ ...TREE, 'site:a': { b: { c: true } } });
    expect(one('delete', '/site:name')).toEqual({
      'site:tags': TREE['site:tags'],
      'site:vlan': TREE['site:vlan'],
    });
    expect(one('replace', "/site:vlan[id='10']/name", 'iot')).toMatchObject({
      'site:vlan': [{ id: 10, name: 'iot', ports: { untagged: ['p1'] } }, { id: 20 }],
    });
    expect(one('create', "/site:vlan[id='30']", { id: 30 })).toMatchObject({
      'site:vlan': [{ id: 10 }, { id: 20 }, { id: 30 }],
    });
    // An entry that is replaced keeps its place: the order may be its user's.
    expect(one('replace', "/site:vlan[id='10']", { id: 10 })).toMatchObject({
      'site:vlan': [{ id: 10 }, { id: 20 }],
    });
    expect(one('delete', "/site:vlan[id='10'][name='guests']")).toMatchObject({ 'site:vlan': [{ id: 20 }] });
    expect(one('delete', "/site:tags[.='a']")).toMatchObject({ 'site:tags': ['b'] });
    expect(one('create', "/site:tags[.='c']", 'c')).toMatchObject({ 'site:tags': ['a', 'b', 'c'] });
    // The last entry takes the list with it.
    expect(one('delete', "/site:vlan[id='10']/ports/untagged[.='p1']")).toMatchObject({
      'site:vlan': [{ id: 10, ports: {} }, { id: 20 }],
    });
  });

  it('UN-4 refuses what is there already, what is not there, and what is of another kind', () => {
    expect(codeOf(one('create', '/site:name', 'x'))).toBe('INTENT_PATH_EXISTS');
    expect(codeOf(one('create', "/site:vlan[id='10']", { id: 10 }))).toBe('INTENT_PATH_EXISTS');
    expect(codeOf(one('delete', '/site:none'))).toBe('INTENT_PATH_MISSING');
    expect(codeOf(one('delete', "/site:vlan[id='99']"))).toBe('INTENT_PATH_MISSING');
    expect(codeOf(one('delete', '/site:none/deeper'))).toBe('INTENT_PATH_MISSING');
    expect(codeOf(one('replace', "/site:vlan[id='99']/name", 'x'))).toBe('INTENT_PATH_MISSING');
    expect(codeOf(one('replace', '/site:name/deeper', 'x'))).toBe('INTENT_PATH');
    expect(codeOf(one('replace', '/site:vlan/id', 1))).toBe('INTENT_PATH');
    expect(codeOf(one('replace', "/site:name[x='1']", { x: '1' }))).toBe('INTENT_PATH');
    expect(codeOf(one('create', "/site:vlan[id='30']", { id: 31 }))).toBe('INTENT_PATH');
    expect(codeOf(one('create', "/site:vlan[id='30']", 30))).toBe('INTENT_PATH');
    expect(codeOf(one('create', '/site:mtu', 1.5))).toBe('INTENT_DOCUMENT');
    expect(codeOf(one('create', '/site:mtu'))).toBe('INTENT_REQUEST');
    expect(codeOf(one('delete', '/site:name', 'x'))).toBe('INTENT_REQUEST');
    expect(codeOf(edited(TREE, [], keysOf))).toBe('INTENT_REQUEST');
  });

  it('UN-4 that removes is content with nothing', () => {
    let visited = 0;
    for (const path of [
      '/site:none',
      '/site:none/deeper',
      "/site:vlan[id='99']",
      "/site:vlan[id='99']/name",
    ]) {
      expect(one('remove', path)).toEqual(TREE);
      visited += 1;
    }
    expect(visited).toBe(4);
    expect(one('remove', '/site:name')).not.toHaveProperty(['site:name']);
  });

  it('UN-4 that merges leaves what stands beside the value, and keeps every order', () => {
    expect(one('merge', '/site:name', 'wan')).toEqual({ ...TREE, 'site:name': 'wan' });
    expect(one('merge', '/site:tags', ['b', 'c', 'a'])).toEqual({ ...TREE, 'site:tags': ['a', 'b', 'c'] });
    const vlans = [
      { id: 30, name: 'lab' },
      { id: 10, ports: { untagged: ['p2', 'p1'], tagged: 'p3' } },
      { id: 30, mtu: 1400 },
    ];
    const after = {
      ...TREE,
      'site:vlan': [
        { id: 10, name: 'guests', ports: { untagged: ['p1', 'p2'], tagged: 'p3' } },
        { id: 20, name: 'staff' },
        { id: 30, name: 'lab', mtu: 1400 },
      ],
    };
    expect(one('merge', '/site:vlan', vlans)).toEqual(after);
    expect(one('merge', "/site:vlan[id='20']", { id: 20, mtu: 9000 })).toMatchObject({
      'site:vlan': [{ id: 10 }, { id: 20, name: 'staff', mtu: 9000 }],
    });
    expect(one('merge', "/site:vlan[id='40']", { id: 40 })).toMatchObject({
      'site:vlan': [{ id: 10 }, { id: 20 }, { id: 40 }],
    });
    expect(one('merge', '/site:made/on/the/way', { x: 1 })).toMatchObject({
      'site:made': { on: { the: { way: { x: 1 } } } },
    });
    // The empty type is a value in brackets.
    const flagged = edited({ flag: [null] }, [{ kind: 'merge', path: '/flag', value: [null] }], keysOf);
    expect(flagged).toEqual({ flag: [null] });
  });

  it('UN-4 that merges is refused where lists are unknown, entries have no keys, and kinds differ', () => {
    let visited = 0;
    for (const [path, value] of [
      ['/site:vlan', [{ name: 'no key' }]],
      ['/site:vlan', { id: 10 }],
      ['/site:vlan', 5],
      ['/site:name', { of: 'what' }],
      ['/site:tags', [{ id: 1 }]],
      ["/site:vlan[id='10']", { id: 11 }],
      ["/site:vlan[id='10']/ports", 'p1'],
      ["/site:vlan[id='99']/ports", {}],
    ] as const) {
      expect([path, codeOf(one('merge', path, value))]).toEqual([
        path,
        expect.stringMatching(/^INTENT_PATH/),
      ]);
      visited += 1;
    }
    expect(visited).toBe(8);
    const unknown = edited(
      { list: [{ id: 1 }] },
      [{ kind: 'merge', path: '/list', value: [{ id: 2 }] }],
      keysOf,
    );
    expect(unknown).toMatchObject({ code: 'INTENT_PATH', message: expect.stringContaining('modules') });
    expect(codeOf(one('merge', '/site:name'))).toBe('INTENT_REQUEST');
  });

  it('UN-4 does not know names that objects have by themselves', () => {
    let visited = 0;
    for (const name of ['__proto__', 'constructor', 'toString']) {
      const tree = one('create', `/${name}/x`, 1);
      expect(JSON.stringify(tree)).toContain(`"${name}":{"x":1}`);
      expect(codeOf(one('delete', `/${name}`))).toBe('INTENT_PATH_MISSING');
      visited += 1;
    }
    expect(visited).toBe(3);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it('UN-4 leaves the tree that it was given alone, and is there after a put and gone after a take', () => {
    const name = fc.constantFrom('a:b', 'c', 'd');
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => `/${names.join('/')}`);
    const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean(), fc.constant(null));
    fc.assert(
      fc.property(
        fc.array(fc.record({ kind: fc.constantFrom(...EDIT_KINDS), path, value }), { maxLength: 12 }),
        (edits) => {
          let tree: Container = {};
          for (const { kind, path: at, value: put } of edits) {
            const before = JSON.stringify(tree);
            const puts = kind === 'merge' || kind === 'replace' || kind === 'create';
            const result = edited(tree, [{ kind, path: at, ...(puts ? { value: put } : {}) }], keysOf);
            expect(JSON.stringify(tree)).toBe(before);
            if (isRefusal<Container>(result)) continue;
            tree = result;
            const found = at
              .slice(1)
              .split('/')
              .reduce<PlanValue | undefined>((here, each) => (here as Container | undefined)?.[each], tree);
            expect(found).toEqual(puts ? put : undefined);
          }
        },
      ),
    );
  });
});

/**
 * Contexts: which modules they take, what they say of those, and what they refuse.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Context, libyang, type SchemaNode, walkSchema, YangError } from '../src/index.js';
import { everything, EVERYTHING, IETF, interfaces } from './material.js';

/** What a call throws. */
export function thrown(call: () => unknown): YangError {
  try {
    call();
  } catch (error) {
    if (error instanceof YangError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('modules of the IETF', () => {
  const names = [
    ...['ietf-interfaces', 'ietf-ip', 'iana-if-type', 'ietf-routing', 'ietf-ipv4-unicast-routing'],
    ...['ietf-ipv6-unicast-routing', 'ietf-hardware', 'iana-hardware', 'ietf-system', 'ietf-netconf-acm'],
    ...['ietf-network', 'ietf-network-topology', 'ietf-alarms'],
  ];

  it('UN-1 load with all their features, say their revision, and can be walked to the last node', () => {
    const context = new Context({ searchDirectories: IETF });
    const loaded = names.map((name) => context.load(name, { features: 'all' }));
    expect(loaded.map(({ name }) => name)).toEqual(names);
    expect(loaded.every(({ implemented }) => implemented)).toBe(true);
    expect(loaded.flatMap(({ features }) => features).every(({ enabled }) => enabled)).toBe(true);
    const { revision, namespace, prefix, imports } = context.load('ietf-interfaces', { features: 'all' });
    expect({ revision, namespace, prefix, imports }).toEqual({
      revision: '2018-02-20',
      namespace: 'urn:ietf:params:xml:ns:yang:ietf-interfaces',
      prefix: 'if',
      imports: ['ietf-yang-types'],
    });
    const nodes = names.flatMap((name) => {
      const { data, rpcs, notifications } = context.schema(name);
      return [...walkSchema([...data, ...rpcs, ...notifications])];
    });
    expect(nodes.length).toBeGreaterThan(500);
    const paths = new Set(nodes.map(({ schemaPath }) => schemaPath));
    expect(paths.size).toBe(nodes.length);
    // Every path of data leads back to its node.
    const seen = nodes.flatMap(({ path, kind, schemaPath }) =>
      path === undefined ? [] : [{ path, kind, output: schemaPath.includes('/output/') }],
    );
    for (const { path, kind, output } of seen) expect(context.schemaAt(path, { output }).kind).toBe(kind);
    expect(seen.length).toBeGreaterThan(400);
    context.dispose();
  });

  it('UN-1 are the revision that was asked for, with the features that were asked for', () => {
    const context = new Context({ searchDirectories: IETF });
    const { revision, features } = context.load('ietf-interfaces', {
      revision: '2014-05-08',
      features: ['if-mib'],
    });
    expect(revision).toBe('2014-05-08');
    expect(Object.fromEntries(features.map(({ name, enabled }) => [name, enabled]))).toEqual({
      'arbitrary-names': false,
      'pre-provisioning': false,
      'if-mib': true,
    });
    expect(context.module('ietf-yang-types')).toMatchObject({ implemented: false, identities: [] });
    const { identities } = context.load('iana-if-type');
    expect(identities.slice(0, 2)).toEqual(['iana-interface-type', 'other']);
    expect(identities.length).toBeGreaterThan(200);
    expect(context.module('ietf-nothing')).toBeUndefined();
    context.dispose();
  });

  it('UN-1 are implemented with what they refer to where that is wanted', () => {
    const implemented = (implement: 'loaded' | 'all'): (string | undefined)[] => {
      const context = new Context({ searchDirectories: IETF, implement });
      context.load('ietf-interfaces');
      const names = context.modules().flatMap((module) => (module.implemented ? [module.name] : []));
      context.dispose();
      return names;
    };
    expect(implemented('loaded')).not.toContain('ietf-yang-types');
    expect(implemented('all')).toContain('ietf-yang-types');
  });
});

describe('the schema', () => {
  let context: Context;
  let all: SchemaNode;
  beforeAll(() => {
    context = everything();
    all = context.schemaAt('/everything:all');
  });
  afterAll(() => context.dispose());
  const child = (name: string): SchemaNode => {
    const found = all.children.find((node) => node.name === name);
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found;
  };

  it('UN-1 says of every type what restricts it', () => {
    expect(child('u32').type).toEqual({
      base: 'uint32',
      range: [
        { min: '1', max: '10' },
        { min: '20', max: '30' },
      ],
    });
    expect(child('d').type).toEqual({
      base: 'decimal64',
      fractionDigits: 2,
      range: [{ min: '-1.5', max: '99.75' }],
    });
    expect(child('s').type).toEqual({
      base: 'string',
      length: [{ min: '1', max: '8' }],
      patterns: [{ expression: '[a-z]*', inverted: false }],
    });
    expect(child('colour').type?.enums).toEqual([
      { name: 'red', value: 0 },
      { name: 'green', value: 7 },
    ]);
    expect(child('bits').type?.bits?.map(({ position }) => position)).toEqual([0, 1, 2]);
    expect(child('animal').type).toEqual({
      base: 'identityref',
      bases: ['everything:animal'],
      identities: ['everything:dog', 'everything:poodle'],
    });
    expect(child('u').type?.types?.map(({ base }) => base)).toEqual(['uint16', 'enumeration', 'string']);
    expect(child('favourite').type).toEqual({
      base: 'leafref',
      path: '../peer/host',
      requireInstance: true,
      target: { base: 'string' },
    });
  });

  it('UN-1 says defaults, units, order, keys, conditions, state and what belongs to a choice', () => {
    expect(child('share')).toMatchObject({ defaults: ['50'], units: 'percent', config: true });
    expect(child('rule')).toMatchObject({ orderedBy: 'user', keys: ['name'], minElements: 0 });
    expect(child('rule').maxElements).toBeUndefined();
    expect(child('peer').keys).toEqual(['host', 'port']);
    expect(
      child('peer')
        .children.map(({ kind }) => kind)
        .slice(-2),
    ).toEqual(['action', 'notification']);
    expect(child('uptime')).toMatchObject({ config: false, mandatory: true });
    expect(child('log').keys).toEqual([]);
    expect(child('high').musts).toEqual([
      { condition: '. >= ../low', message: 'high is below low', appTag: 'too-low' },
    ]);
    expect(child('loud').presence).toBe(true);
    const way = child('way');
    expect(way.path).toBeUndefined();
    expect(
      way.children.map(({ kind, name, children }) => [kind, name, children.map((each) => each.name)]),
    ).toEqual([
      ['case', 'by-name', ['name']],
      ['case', 'by-number', ['number', 'prefix']],
    ]);
    expect(all.children.map(({ name }) => name)).not.toContain('extra');
    const { rpcs, notifications } = context.schema('everything');
    expect(rpcs.map(({ children }) => children.map(({ kind }) => kind))).toEqual([['input', 'output']]);
    expect(notifications.map(({ name }) => name)).toEqual(['started']);
    expect(context.schemaAt('/everything:ping/lost', { output: true }).type?.base).toBe('uint8');
  });

  it('UN-1 follows features: what they bring is there when they are on', () => {
    const more = everything({}, ['extras']);
    expect(more.schemaAt('/everything:all/extra').kind).toBe('leaf');
    expect(more.schemaAt('/everything:all/animal').type?.identities).toContain('everything:cat');
    more.dispose();
  });
});

describe('bad modules', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'kedge-yang-'));
    const put = (name: string, body: string): void =>
      writeFileSync(
        join(directory, `${name}.yang`),
        `module ${name} { namespace "urn:test:${name}"; prefix ${name}; ${body} }`,
      );
    put('broken', 'container a {');
    put('lonely', 'import not-there { prefix n; }');
    put('one', 'import two { prefix t; }');
    put('two', 'import one { prefix o; }');
    put('twice', 'leaf a { type string; } leaf a { type string; }');
    put('untyped', 'leaf a { type nothing; }');
    put('good', 'leaf a { type string; }');
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.each([
    ['broken', /broken|EOF|end/i],
    ['lonely', /not-there/],
    ['one', /circular/i],
    ['twice', /duplicate|identifier/i],
    ['untyped', /nothing/],
    ['absent', /absent/],
  ])('UN-1 %s is refused with the reason, and the context goes on', (name, reason) => {
    const context = new Context({ searchDirectories: [directory] });
    const error = thrown(() => context.load(name));
    expect(error.code).toBe('YANG_MODULE');
    expect(error.problems.map(({ message }) => message).join('\n')).toMatch(reason);
    expect(error.message).toContain(`cannot load the module ${name}: `);
    expect(context.load('good').implemented).toBe(true);
    context.dispose();
  });

  it('UN-1 of a text too, with the line', () => {
    const context = new Context();
    const error = thrown(() =>
      context.loadText('module a {\n  namespace "urn:a";\n  prefix a;\n  leaf x { tpye string; }\n}'),
    );
    expect(error.code).toBe('YANG_MODULE');
    expect(error.problems[0]).toMatchObject({ kind: 'syntax', line: 4 });
    expect(thrown(() => context.loadText('')).code).toBe('YANG_MODULE');
    expect(thrown(() => context.loadText('module a { \ud800 }')).code).toBe('YANG_ENCODING');
    context.dispose();
  });

  it('UN-1 features and revisions that are not there are refused', () => {
    const context = new Context({ searchDirectories: IETF });
    expect(thrown(() => context.load('ietf-interfaces', { features: ['colours'] })).code).toBe('YANG_MODULE');
    expect(thrown(() => context.load('ietf-interfaces', { revision: '2001-01-01' })).code).toBe(
      'YANG_MODULE',
    );
    expect(thrown(() => context.load('ietf-interfaces', { revision: 'newest' }))).toMatchObject({
      code: 'YANG_ARGUMENT',
      field: 'revision',
    });
    context.dispose();
  });
});

describe('a context', () => {
  it('UN-1 says which libyang it is by, and whether that gives every error', () => {
    const [major = 0, minor = 0] = libyang.interface.split('.').map(Number);
    expect(major).toBeGreaterThanOrEqual(2);
    // 2.1.30, of Debian 12, has interface 2.29; validation of every error came later.
    expect(libyang.everyError).toBe(major > 2 || minor > 29);
  });

  it('UN-1 searches no directory but those that were named', () => {
    const context = new Context();
    expect(thrown(() => context.load('ietf-interfaces')).code).toBe('YANG_MODULE');
    context.dispose();
    expect(thrown(() => new Context({ searchDirectories: ['/nowhere'] })).code).toBe('YANG_DIRECTORY');
  });

  it('UN-1 has bounds that can be moved, and knows no others', () => {
    const context = new Context({ limits: { depth: 3 } });
    expect(context.limits).toMatchObject({ depth: 3, documentBytes: 16 * 2 ** 20 });
    context.dispose();
    for (const limits of [{ depth: 0 }, { depth: 501 }, { documentBytes: 1.5 }, { depht: 3 } as object])
      expect(thrown(() => new Context({ limits })).code).toBe('YANG_ARGUMENT');
    const small = new Context({ limits: { moduleBytes: 100 } });
    expect(thrown(() => small.loadText(EVERYTHING)).code).toBe('YANG_TOO_LARGE');
    small.dispose();
  });

  it('UN-1 takes no module while a tree of it is alive, since its nodes would point at nothing', async () => {
    const context = interfaces();
    const tree = await context.parseConfiguration('{}');
    const error = thrown(() => context.load('ietf-hardware'));
    expect(error.code).toBe('YANG_CONTEXT_IN_USE');
    expect(error.message).toContain('1 trees and 0 jobs');
    const parsing = context.parseConfiguration('{}');
    tree.dispose();
    expect(thrown(() => context.load('ietf-hardware')).code).toBe('YANG_CONTEXT_IN_USE');
    (await parsing).dispose();
    expect(context.load('ietf-hardware').implemented).toBe(true);
    context.dispose();
  });
});

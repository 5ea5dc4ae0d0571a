/**
 * Trees of data: read, asked, changed, held against their modules, and written again.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Context, type DataTree, libyang, type Settable, YangError, yangPath } from '../src/index.js';
import { everything, interfaces, interfacesDocument } from './material.js';

/** What a promise is rejected with. */
async function rejection(promise: Promise<unknown>): Promise<YangError> {
  const error: unknown = await promise.then(
    () => new Error('it was not rejected'),
    (reason: unknown) => reason,
  );
  if (error instanceof YangError) return error;
  throw error;
}

/** What a call throws. */
function thrown(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof YangError) return error.code;
    throw error;
  }
  return 'nothing';
}

const ETH0 = "/ietf-interfaces:interfaces/interface[name='eth0']";

describe('configuration and operational data', () => {
  let context: Context;
  beforeAll(() => {
    context = interfaces();
  });
  afterAll(() => context.dispose());

  const state = JSON.stringify({
    'ietf-interfaces:interfaces': {
      interface: [
        {
          name: 'eth0',
          type: 'iana-if-type:ethernetCsmacd',
          'admin-status': 'up',
          'oper-status': 'up',
          'if-index': 7,
          statistics: { 'discontinuity-time': '2026-11-01T00:00:00Z', 'in-octets': '18446744073709551615' },
        },
      ],
    },
  });

  it('UN-1 are read by two methods: state is refused in one and asked for in the other', async () => {
    const refused = await rejection(context.parseConfiguration(state));
    expect(refused.code).toBe('YANG_INVALID');
    expect(refused.problems[0]?.message).toContain('admin-status');
    const operational = await context.parseOperational(state);
    expect(operational.kind).toBe('operational');
    expect(operational.get(`${ETH0}/statistics/in-octets`)).toMatchObject({
      value: '18446744073709551615',
      type: 'uint64',
    });
    const configuration = await context.parseConfiguration(interfacesDocument(1));
    // if-index, which is mandatory state, was not asked for; as operational data the same lacks it.
    const lacking = await rejection(context.parseOperational(interfacesDocument(1)));
    expect(lacking.problems.map(({ message }) => message).join()).toMatch(/mandatory/i);
    expect(thrown(() => configuration.set(`${ETH0}/if-index`, 3))).toBe('YANG_STATE');
    expect(operational.set(`${ETH0}/if-index`, 3)).toBe(true);
    operational.dispose();
    configuration.dispose();
  });

  it('UN-1 can be read without being held against the modules, and held against them later', async () => {
    const half = JSON.stringify({ 'ietf-interfaces:interfaces': { interface: [{ name: 'eth0' }] } });
    expect((await rejection(context.parseConfiguration(half))).problems[0]?.message).toMatch(/"type"/);
    const tree = await context.parseConfiguration(half, { validate: 'none' });
    const error = await rejection(tree.validate());
    expect(error.problems[0]?.kind).toBe('data');
    // What is missing has no path of its own: 2.1 gives that of the schema.
    expect(error.problems[0]?.path ?? error.problems[0]?.schemaPath).toMatch(/\/type$|eth0/);
    expect(await tree.print()).toBe(half);
    tree.set(`${ETH0}/type`, 'iana-if-type:ethernetCsmacd');
    await tree.validate();
    expect(tree.get(`${ETH0}/enabled`)).toMatchObject({ value: true, isDefault: true });
    tree.dispose();
  });

  it('UN-1 come as text or bytes, as JSON or XML, and say the same', async () => {
    const first = await context.parseConfiguration(interfacesDocument(3));
    const xml = await first.print({ format: 'xml' });
    const second = await context.parseConfiguration(new TextEncoder().encode(xml), { format: 'xml' });
    expect(await second.print()).toBe(await first.print());
    expect(JSON.parse(await second.print())).toEqual(JSON.parse(interfacesDocument(3)));
    first.dispose();
    second.dispose();
  });

  it('UN-1 may be empty', async () => {
    for (const [document, format] of [
      ['{}', 'json'],
      ['', 'xml'],
      [' \n', 'xml'],
    ] as const) {
      const tree = await context.parseConfiguration(document, { format });
      expect(await tree.print()).toBe('{}');
      expect(await tree.print({ format: 'xml' })).toBe('');
      expect(await tree.find('/ietf-interfaces:interfaces/interface')).toEqual([]);
      expect(tree.get(ETH0)).toBeUndefined();
      tree.dispose();
    }
    const tree = context.emptyTree('configuration');
    expect(thrown(() => tree.get('/ietf-interfaces:nothing'))).toBe('YANG_PATH');
    expect((await rejection(tree.find('/nowhere:at'))).code).toBe('YANG_PATH');
    expect(tree.set(`${ETH0}/type`, 'iana-if-type:ethernetCsmacd')).toBe(true);
    expect(JSON.parse(await tree.print())).toEqual({
      'ietf-interfaces:interfaces': { interface: [{ name: 'eth0', type: 'iana-if-type:ethernetCsmacd' }] },
    });
    tree.dispose();
  });
});

describe('what is not taken', () => {
  let context: Context;
  beforeAll(() => {
    context = interfaces({ limits: { documentBytes: 20 * 2 ** 20 } });
  });
  afterAll(() => context.dispose());

  it('UN-1 a document of 50 MB is refused before anything looks at it', async () => {
    const error = await rejection(context.parseConfiguration('x'.repeat(50_000_000)));
    expect(error).toMatchObject({
      code: 'YANG_TOO_LARGE',
      field: 'document',
      expected: 'at most 20971520 bytes',
    });
    expect((await rejection(context.parseConfiguration(new Uint8Array(50_000_000)))).code).toBe(
      'YANG_TOO_LARGE',
    );
  });

  it('UN-1 a document that is nested 10,000 times is refused, at the byte where it is too deep', async () => {
    const error = await rejection(context.parseConfiguration('{"a":'.repeat(10_000) + '}'.repeat(10_000)));
    expect(error.code).toBe('YANG_TOO_DEEP');
    expect(error.message).toContain('at byte 640');
    const xml = '<a>'.repeat(10_000) + '</a>'.repeat(10_000);
    expect((await rejection(context.parseConfiguration(xml, { format: 'xml' }))).code).toBe('YANG_TOO_DEEP');
    const lists = `{"a":${'['.repeat(200)}${']'.repeat(200)}}`;
    expect((await rejection(context.parseConfiguration(lists))).code).toBe('YANG_TOO_DEEP');
    // Nothing that only looks like nesting counts.
    const quiet = `<!-- ${'<a>'.repeat(300)} --><?x ${'<a>'.repeat(300)} ?>`;
    (await context.parseConfiguration(quiet, { format: 'xml' })).dispose();
  });

  it('UN-1 neither is what is not UTF-8, in bytes or in text', async () => {
    const bad = [
      [0xff],
      [0xc0, 0xaf],
      [0xed, 0xa0, 0x80],
      [0xf5, 0x80, 0x80, 0x80],
      [0xe2, 0x82],
      [0x00],
      [0xf0, 0x80, 0x80, 0xaf],
      [0x80],
    ];
    for (const bytes of bad) {
      const document = Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')]);
      const error = await rejection(context.parseConfiguration(document));
      expect(error.code, bytes.join()).toBe('YANG_ENCODING');
      expect(error.message).toContain('at byte 6');
    }
    expect((await rejection(context.parseConfiguration('{"\ud800":1}'))).code).toBe('YANG_ENCODING');
    expect(bad).toHaveLength(8);
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        const error = await rejection(context.parseConfiguration(JSON.stringify({ [text]: 1 })));
        expect(error.code).not.toBe('YANG_ENCODING');
      }),
    );
  });

  it('UN-1 JSON is taken exactly where JSON.parse takes it, but for escaped NUL and halves of pairs', async () => {
    const piece = fc.constantFrom(
      ...['{', '}', '[', ']', ',', ':', '"a"', '"\\u00e9"', '"\\ud83d\\ude00"', '"\\x"', '"\t"', '""'],
      ...[
        '0',
        '-1.5e+3',
        '01',
        '1.',
        '-',
        '.5',
        '1e',
        'true',
        'false',
        'null',
        'nul',
        ' ',
        '\n',
        '"',
        "'a'",
        '\\',
      ],
    );
    const made = fc.oneof(
      fc.array(piece, { maxLength: 12 }).map((all) => all.join('')),
      fc.json().map((text) => `{"a":${text}}`),
      fc.tuple(fc.json(), fc.nat(), fc.string({ maxLength: 1 })).map(([text, at, more]) => {
        const whole = `{"a":${text}}`;
        return whole.slice(0, at % whole.length) + more + whole.slice((at % whole.length) + 1);
      }),
    );
    const parses = (text: string): boolean => {
      try {
        const value: unknown = JSON.parse(text);
        return typeof value === 'object' && value !== null && !Array.isArray(value);
      } catch {
        return false;
      }
    };
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(made, async (text) => {
        fc.pre(
          !text.includes('\0') && !/\\u0000|\\u[dD][89a-fA-F]/.test(text.replaceAll('\\ud83d\\ude00', '')),
        );
        const error: unknown = await context.parseConfiguration(text, { validate: 'none' }).then(
          (tree) => tree.dispose(),
          (reason: unknown) => reason,
        );
        const refused = error instanceof YangError && error.code === 'YANG_MALFORMED';
        expect(refused, text).toBe(!parses(text));
        taken += refused ? 0 : 1;
      }),
      { numRuns: 2000 },
    );
    expect(taken).toBeGreaterThan(200);
    for (const text of ['{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"a":"\\udc00\\ud800"}'])
      expect((await rejection(context.parseConfiguration(text))).code).toBe('YANG_MALFORMED');
  });

  it('UN-1 nor JSON that is cut off, followed by something, or no object', async () => {
    const whole = interfacesDocument(1);
    for (const document of [
      '',
      '[]',
      '"a"',
      '1',
      whole.slice(0, -1),
      `${whole}x`,
      `${whole}{}`,
      '{]',
      '{"a":[}',
    ]) {
      expect((await rejection(context.parseConfiguration(document))).code, document).toBe('YANG_MALFORMED');
    }
    (await context.parseConfiguration(`\n ${whole} \n`)).dispose();
  });

  it('UN-1 nor a wrong namespace, an unknown node or module, each named', async () => {
    const told = async (document: string, format: 'json' | 'xml'): Promise<string> => {
      const error = await rejection(context.parseConfiguration(document, { format }));
      expect(error.code).toBe('YANG_INVALID');
      expect(error.problems.length).toBeGreaterThan(0);
      return error.problems.map(({ message }) => message).join();
    };
    expect(await told('<interfaces xmlns="urn:wrong"/>', 'xml')).toContain('urn:wrong');
    expect(await told('{"wrong:interfaces":{}}', 'json')).toContain('wrong');
    expect(await told('{"ietf-interfaces:interfaces":{"speed":1}}', 'json')).toContain('speed');
    expect(await told('<interfaces/>', 'xml')).toContain('namespace');
    expect(
      await told('{"ietf-interfaces:interfaces":{"interface":[{"name":"a","type":"b"', 'json').catch(
        () => 'cut',
      ),
    ).toBe('cut');
  });

  it('UN-1 nor what is no document, no format and no check', async () => {
    const parse = (document: unknown, options: object = {}): Promise<unknown> =>
      context.parseConfiguration(document as string, options);
    expect((await rejection(parse(7))).field).toBe('document');
    expect((await rejection(parse('{}', { format: 'lyb' }))).field).toBe('format');
    expect((await rejection(parse('{}', { validate: 'toString' }))).field).toBe('validate');
  });
});

describe('errors', () => {
  let context: Context;
  beforeAll(() => {
    context = everything();
  });
  afterAll(() => context.dispose());
  const problems = async (all: object): Promise<YangError> =>
    rejection(context.parseConfiguration(JSON.stringify({ 'everything:all': all }, undefined, 1)));

  it('UN-1 carry message, path, line and app-tag, and are one exception', async () => {
    const typed = await problems({ i8: 200 });
    expect(typed.problems[0]).toMatchObject({ kind: 'data', path: '/everything:all/i8' });
    // Where libyang stood when it saw the value: on its line, or on the next.
    expect([3, 4]).toContain(typed.problems[0]?.line);
    const must = await problems({ low: 5, high: 4 });
    expect(must.problems[0]).toMatchObject({
      message: 'high is below low',
      appTag: 'too-low',
      path: '/everything:all/high',
    });
    expect(must.message).toBe(
      'cannot parse the configuration: the document does not hold: high is below low at /everything:all/high',
    );
    const unique = await problems({
      peer: [
        { host: 'a', port: 1, label: 'x' },
        { host: 'b', port: 1, label: 'x' },
      ],
    });
    expect(unique.problems[0]?.appTag).toBe('data-not-unique');
    const reference = await problems({ favourite: 'nobody' });
    expect(reference.problems[0]).toMatchObject({
      appTag: 'instance-required',
      path: '/everything:all/favourite',
    });
    expect(JSON.parse(JSON.stringify(must))).toMatchObject({
      code: 'YANG_INVALID',
      problems: [{ appTag: 'too-low' }],
    });
  });

  it('UN-1 are all there where the library gives all, and say so where it gives the first', async () => {
    const error = await problems({ favourite: 'nobody', low: 5, high: 4, s: 'UPPER', colour: 'blue' });
    const paths = new Set(error.problems.map(({ path }) => path));
    if (libyang.everyError) {
      expect(error.complete).toBe(true);
      for (const name of ['favourite', 'high', 's', 'colour'])
        expect(paths).toContain(`/everything:all/${name}`);
    } else {
      expect(error.complete).toBe(false);
      expect(error.problems).toHaveLength(1);
    }
    expect(new Set(error.problems.map((problem) => JSON.stringify(problem))).size).toBe(
      error.problems.length,
    );
  });

  it('UN-1 of one call are not those of another', async () => {
    await problems({ i8: 200 });
    const tree = await context.parseConfiguration('{}');
    expect(thrown(() => tree.get('/everything:nothing'))).toBe('YANG_PATH');
    const error = await problems({ s: 'UPPER' });
    expect(error.problems.every(({ path }) => path === '/everything:all/s')).toBe(true);
    tree.dispose();
  });
});

describe('a tree', () => {
  let context: Context;
  let tree: DataTree;
  beforeAll(async () => {
    context = everything();
    tree = await context.parseConfiguration('{}');
  });
  afterAll(() => {
    tree.dispose();
    context.dispose();
  });
  const at = (name: string): string => `/everything:all/${name}`;

  it('UN-1 gives back each value as RFC 7951 writes it', () => {
    const values: readonly (readonly [string, Settable, unknown, string])[] = [
      ['i8', -128, -128, 'int8'],
      ['i64', -9_223_372_036_854_775_808n, '-9223372036854775808', 'int64'],
      ['u32', 30, 30, 'uint32'],
      ['u64', '18446744073709551615', '18446744073709551615', 'uint64'],
      ['d', '1.50', '1.5', 'decimal64'],
      ['s', '', '', 'nothing'],
      ['b', true, true, 'boolean'],
      ['e', [null], [null], 'empty'],
      ['bin', 'AAE=', 'AAE=', 'binary'],
      ['bits', 'four one', 'one four', 'bits'],
      ['colour', 'green', 'green', 'enumeration'],
      ['animal', 'everything:poodle', 'everything:poodle', 'identityref'],
      ['u', '80', 80, 'uint16'],
      ['u', 'auto', 'auto', 'enumeration'],
      ['u', 'other', 'other', 'string'],
      ['share', 100, 100, 'uint8'],
    ];
    for (const [name, given, value, type] of values) {
      if (type === 'nothing') {
        expect(thrown(() => tree.set(at(name), given))).toBe('YANG_INVALID');
        continue;
      }
      expect(tree.set(at(name), given), name).toBe(true);
      expect(tree.set(at(name), given), name).toBe(false);
      expect(tree.get(at(name))).toEqual({ path: at(name), kind: 'leaf', value, type, isDefault: false });
    }
    expect(values).toHaveLength(16);
  });

  it('UN-1 makes what a node stands in, and takes it away with everything below', async () => {
    const peer = yangPath`/everything:all/peer[host=${"it's"}][port=${80}]`;
    expect(peer).toBe("/everything:all/peer[host=\"it's\"][port='80']");
    expect(tree.set(`${peer}/label`, 'x')).toBe(true);
    expect(tree.get(peer)).toEqual({ path: peer, kind: 'list', isDefault: false });
    expect(tree.get(`${peer}/port`)?.value).toBe(80);
    expect(thrown(() => tree.set(`${peer}/port`, 81))).toBe('YANG_KEY');
    expect(thrown(() => tree.remove(`${peer}/port`))).toBe('YANG_KEY');
    expect(tree.remove(peer)).toBe(true);
    expect(tree.remove(peer)).toBe(false);
    expect(tree.get(`${peer}/label`)).toBeUndefined();
    expect(tree.set(at("tags[.='a b']"))).toBe(true);
    expect((await tree.find(at('tags'))).map(({ path, value }) => [path, value])).toEqual([
      [at("tags[.='a b']"), 'a b'],
    ]);
    expect(() => yangPath`/a[b=${`"'`}]`).toThrow(YangError);
  });

  it('UN-1 refuses paths and values that are none', () => {
    for (const path of [
      '',
      'everything:all',
      '/everything:all/nothing',
      '/everything:all/peer[host=1',
      '/x:y',
      '/a\0b',
    ])
      expect(['YANG_PATH', 'YANG_ARGUMENT'], path).toContain(thrown(() => tree.get(path)));
    for (const [name, value] of [
      ['i8', 128],
      ['b', 'maybe'],
      ['colour', 'blue'],
      ['animal', 'everything:cat'],
      ['u32', 15],
    ] as const)
      expect(
        thrown(() => tree.set(at(name), value)),
        name,
      ).toBe('YANG_INVALID');
    for (const value of [Number.NaN, {}, 'a\0b', [1]] as unknown as Settable[])
      expect(thrown(() => tree.set(at('s'), value))).toBe('YANG_ARGUMENT');
    expect(thrown(() => tree.get(`/everything:all/${'a'.repeat(70_000)}`))).toBe('YANG_TOO_LARGE');
    expect(thrown(() => tree.set(at('s'), 'a'.repeat(70_000)))).toBe('YANG_TOO_LARGE');
  });

  it('UN-1 is asked by XPath, which may be wrong, select too much, or be nested too deeply', async () => {
    for (let port = 1; port <= 20; port += 1)
      tree.set(yangPath`/everything:all/peer[host='h'][port=${port}]/weight`, port);
    const heavy = await tree.find("/everything:all/peer[host='h' and weight > 18]/weight");
    expect(heavy.map(({ value }) => value)).toEqual([19, 20]);
    expect(await tree.find('//everything:weight[. mod 10 = 0]')).toHaveLength(2);
    expect(await tree.find("/everything:all/peer[host='nobody']")).toEqual([]);
    expect((await rejection(tree.find('//everything:weight', { limit: 10 }))).code).toBe('YANG_TOO_MANY');
    for (const xpath of [
      '/everything:all/peer[',
      'count(//everything:weight)',
      '/nowhere:at',
      '1 +',
      'f(',
      "'",
    ]) {
      expect((await rejection(tree.find(xpath))).code, xpath).toBe('YANG_PATH');
    }
    expect((await rejection(tree.find(`${'('.repeat(5000)}/everything:all${')'.repeat(5000)}`))).code).toBe(
      'YANG_PATH',
    );
    tree.remove(at("peer[host='h'][port='1']"));
  });

  it('UN-1 keeps the order that its user gave, and changes it', async () => {
    for (const name of ['a', 'b', 'c']) tree.set(yangPath`/everything:all/rule[name=${name}]`);
    const order = async (): Promise<unknown[]> =>
      (await tree.find('/everything:all/rule/name')).map(({ value }) => value);
    const rule = (name: string): string => yangPath`/everything:all/rule[name=${name}]`;
    tree.move(rule('c'), { before: rule('a') });
    expect(await order()).toEqual(['c', 'a', 'b']);
    tree.move(rule('c'), { behind: rule('b') });
    expect(await order()).toEqual(['a', 'b', 'c']);
    tree.move(rule('a'), { behind: rule('a') });
    expect(thrown(() => tree.move(rule('a'), { before: rule('d') }))).toBe('YANG_NOT_FOUND');
    expect(thrown(() => tree.move(rule('a'), { before: at('b') }))).toBe('YANG_ORDER');
    expect(await order()).toEqual(['a', 'b', 'c']);
  });
});

describe('printing', () => {
  it('UN-1 shows defaults as RFC 6243 has them, and empty containers, when asked', async () => {
    const context = everything();
    const tree = await context.parseConfiguration('{"everything:all":{"share":50,"loud":{}}}');
    const printed = async (options: object): Promise<unknown> => JSON.parse(await tree.print(options));
    expect(await printed({})).toEqual({ 'everything:all': { share: 50, loud: {} } });
    expect(await printed({ defaults: 'trim' })).toEqual({ 'everything:all': { loud: {} } });
    const all = { share: 50, quiet: { inner: 'still' }, loud: { volume: 3 } };
    expect(await printed({ defaults: 'all' })).toEqual({ 'everything:all': all });
    expect((await rejection(tree.print({ defaults: 'tagged' }))).code).toBe('YANG_NOT_FOUND');
    expect(await printed({ emptyContainers: true })).toEqual({
      'everything:all': { share: 50, quiet: {}, loud: {} },
    });
    expect(await tree.print({ pretty: true })).toContain('\n  "everything:all": {\n');
    expect(await tree.print({ format: 'xml' })).toBe(
      '<all xmlns="urn:test:everything"><share>50</share><loud/></all>',
    );
    tree.dispose();
    context.dispose();
  });
});

it('UN-1 marks defaults where the module of the mark is loaded', async () => {
  const context = interfaces();
  context.load('ietf-netconf-with-defaults');
  const tree = await context.parseConfiguration(interfacesDocument(2));
  expect(await tree.print({ defaults: 'tagged' })).toContain('"ietf-netconf-with-defaults:default":true');
  expect(await tree.print({ defaults: 'tagged', format: 'xml' })).toContain(':default="true">true</enabled>');
  tree.dispose();
  context.dispose();
});

describe('merging and duplicating', () => {
  it('UN-1 add one tree to another or make a second, and nothing is shared', async () => {
    const context = everything();
    const parse = (all: object): Promise<DataTree> =>
      context.parseConfiguration(JSON.stringify({ 'everything:all': all }));
    const into = await parse({ i8: 1, s: 'kept', peer: [{ host: 'a', port: 1, weight: 1 }] });
    const from = await parse({
      i8: 2,
      peer: [
        { host: 'a', port: 1, weight: 9 },
        { host: 'b', port: 2 },
      ],
    });
    const copy = await into.duplicate();
    await into.merge(from);
    from.dispose();
    expect(JSON.parse(await into.print())).toEqual({
      'everything:all': {
        i8: 2,
        s: 'kept',
        peer: [
          { host: 'a', port: 1, weight: 9 },
          { host: 'b', port: 2 },
        ],
      },
    });
    expect(copy.get('/everything:all/i8')?.value).toBe(1);
    await copy.merge(copy);
    const empty = context.emptyTree('configuration');
    await empty.merge(copy);
    expect(await empty.print()).toBe(await copy.print());
    for (const each of [into, copy, empty]) each.dispose();
    context.dispose();
  });
});

describe('messages', () => {
  let context: Context;
  beforeAll(() => {
    context = everything();
  });
  afterAll(() => context.dispose());

  it('UN-1 requests, replies and notifications are read, held against their operation, and written', async () => {
    const request = await context.parseRequest('{"everything:ping":{"host":"a"}}');
    expect(request.get('/everything:ping/count')).toMatchObject({ value: 4, isDefault: true });
    expect(await request.print()).toBe('{"everything:ping":{"host":"a"}}');
    const reply = await context.parseReply('<ping xmlns="urn:test:everything"><lost>3</lost></ping>', {
      format: 'xml',
    });
    expect(reply.get('/everything:ping/lost')?.value).toBe(3);
    expect(reply.set('/everything:ping/lost', 4)).toBe(true);
    expect(await reply.print()).toBe('{"everything:ping":{"lost":4}}');
    const notification = await context.parseNotification('{"everything:started":{"at":"noon"}}');
    expect(notification.kind).toBe('notification');
    await notification.validate();
    for (const each of [request, reply, notification]) each.dispose();
  });

  it('UN-1 actions and notifications of list entries need the entry in the data they refer to', async () => {
    const data = await context.parseConfiguration('{"everything:all":{"peer":[{"host":"a","port":1}]}}');
    const before = await data.print({ defaults: 'all' });
    const action = (host: string, reset: object): string =>
      JSON.stringify({ 'everything:all': { peer: [{ host, port: 1, reset }] } });
    const good = await context.parseRequest(action('a', { hard: true }), { against: data });
    expect(await good.find('//everything:hard')).toMatchObject([{ value: true }]);
    expect((await rejection(context.parseRequest(action('b', { hard: true }), { against: data }))).code).toBe(
      'YANG_INVALID',
    );
    expect(
      (await rejection(context.parseRequest(action('a', {}), { against: data }))).problems[0]?.message,
    ).toMatch(/hard/);
    const lost = JSON.stringify({
      'everything:all': { peer: [{ host: 'a', port: 1, lost: { why: 'cable' } }] },
    });
    const notification = await context.parseNotification(lost, { against: data });
    await notification.validate({ against: data });
    expect(await data.print({ defaults: 'all' })).toBe(before);
    for (const each of [data, good, notification]) each.dispose();
  });

  it('UN-1 what is no operation, or not this kind of one, is refused', async () => {
    for (const document of [
      '{}',
      '{"everything:all":{}}',
      '{"everything:started":{"at":"noon"}}',
      '{"everything:ping":{}}',
    ])
      expect((await rejection(context.parseRequest(document))).code, document).toBe('YANG_INVALID');
    expect((await rejection(context.parseNotification('{"everything:started":{}}'))).code).toBe(
      'YANG_INVALID',
    );
    expect((await rejection(context.parseReply('{"everything:ping":{"host":"a"}}'))).code).toBe(
      'YANG_INVALID',
    );
  });
});

/**
 * Holds the changes between documents: made as edits they lead from one to the other, whatever the two are.
 * Must not compare by anything but the schema and the datastores.
 */
import { type Change, type Container, edited, type IntentEdit, isRefusal } from '@kedge/datastores';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

import { openIntentSchema } from '../src/index.js';
import { changedAt, filesIn, interfaces, read, SWITCH, textOf, whole } from './material.js';

const schema = openIntentSchema();
afterAll(() => {
  schema.dispose();
});
const diff = (from: Container, to: Container): Promise<readonly Change[]> =>
  schema.diff(textOf(from), textOf(to));

/** A document after changes, made one after the other as edits. */
function made(document: Container, changes: readonly Change[]): Container {
  let result = document;
  for (const { path, kind, after } of changes) {
    const edit: IntentEdit = { path, kind, ...(after === undefined ? {} : { value: after }) };
    const next = edited(result, [edit], schema.keysOf);
    if (isRefusal<Container>(next)) throw new Error(`${kind} ${path}: ${next.message}`);
    result = next;
  }
  return result;
}

const ETH = "/kedge-intent:device[id='switch-1']/ietf-interfaces:interfaces/interface";

describe('changes between documents', { timeout: 120_000 }, () => {
  it('UN-4 have data paths, values and the size of what was changed', async () => {
    const was = whole({ 'switch-1': SWITCH, appliance: {} });
    const place = ['ietf-interfaces:interfaces', 'interface'] as const;
    const port = 'kedge-bridging:bridge-port';
    let tree = changedAt(SWITCH, [...place, 3, 'enabled'], true);
    tree = changedAt(tree, [...place, 1, port, 'pvid'], undefined);
    tree = changedAt(tree, [...place, 0, 'kedge-bridging:bridge', 'vlan', 3], { id: 30, name: 'lab' });
    tree = changedAt(tree, [...place, 2], undefined);
    const is = changedAt(
      whole({ 'switch-1': tree, 'switch-2': SWITCH }, { 'kedge-drift:drift': {} }),
      ['kedge-site:site', 'description'],
      'Second floor',
    );
    const changes = await diff(was, is);
    const [, , port2] = (SWITCH['ietf-interfaces:interfaces'] as Container)['interface'] as Container[];
    expect(Object.fromEntries(changes.map(({ path, ...change }) => [path, change]))).toEqual({
      '/kedge-drift:drift': { kind: 'create', after: {} },
      '/kedge-site:site/description': {
        ...{ kind: 'replace', before: 'Branch office, first floor', after: 'Second floor' },
      },
      [`${ETH}[name='br0']/kedge-bridging:bridge/vlan[id='30']`]: {
        ...{ kind: 'create', after: { id: 30, name: 'lab' } },
      },
      [`${ETH}[name='port1']/${port}/pvid`]: { kind: 'delete', before: 10 },
      [`${ETH}[name='port2']`]: { kind: 'delete', before: port2 },
      [`${ETH}[name='port3']/enabled`]: { kind: 'replace', before: false, after: true },
      "/kedge-intent:device[id='appliance']": { kind: 'delete', before: { id: 'appliance' } },
      "/kedge-intent:device[id='switch-2']": { kind: 'create', after: { id: 'switch-2', ...SWITCH } },
    });
    expect(textOf(made(was, changes))).toBe(textOf(is));
    expect(await diff(is, is)).toEqual([]);
  });

  it('UN-4 tell zones once, and nothing of what is written in another way', async () => {
    const document = { ...read('defaults/accords.json'), ...read('defaults/zones.json') };
    const zone = ['kedge-zones:zones', 'zone', 1, 'description'] as const;
    const level = ['kedge-accords:accords', 'level', 0, 'description'] as const;
    const changed = changedAt(changedAt(document, zone, 'Others'), level, 'Another');
    expect((await diff(document, changed)).map(({ path }) => path)).toEqual([
      expect.stringMatching(/^\/kedge-accords:accords\/level\[number='\d'\]\/description$/),
      "/kedge-zones:zones/zone[name='branch']/description",
    ]);
    const [upper, lower] = ['FD00::1', 'fd00::1'].map((ip) =>
      whole({
        appliance: {
          'ietf-interfaces:interfaces': {
            interface: [
              {
                name: 'lan0',
                type: 'iana-if-type:ethernetCsmacd',
                'ietf-ip:ipv6': { address: [{ ip, 'prefix-length': 64 }] },
              },
            ],
          },
        },
      }),
    );
    if (upper === undefined || lower === undefined) throw new Error('no documents');
    expect(await diff(upper, lower)).toEqual([]);
  });

  it('UN-4 give a list that its user orders as a whole where its order changes', async () => {
    const drift = read('examples/valid/site/judging-drift.json');
    const place = ['kedge-drift:drift', 'classification', 'rule'] as const;
    const rules = ((drift['kedge-drift:drift'] as Container)['classification'] as Container)[
      'rule'
    ] as Container[];
    expect(rules.length).toBeGreaterThan(1);
    const turned = changedAt(drift, place, [...rules].reverse());
    expect(await diff(drift, turned)).toEqual([
      {
        path: '/kedge-drift:drift/classification/rule',
        kind: 'replace',
        before: rules,
        after: [...rules].reverse(),
      },
    ]);
    const [first = {}] = rules;
    const more = changedAt(drift, place, [{ ...first, name: 'first-of-all' }, ...rules]);
    const changes = await diff(drift, more);
    expect(textOf(made(drift, changes))).toBe(textOf(more));
    const fewer = changedAt(drift, place, rules.slice(1));
    expect(textOf(made(drift, await diff(drift, fewer)))).toBe(textOf(fewer));
  });

  it('UN-4 are found for what the modules do not accept, too', async () => {
    const valid = whole({ 'switch-1': SWITCH });
    const [place] = [['kedge-intent:device', 0, 'ietf-interfaces:interfaces', 'interface', 0, 'type']];
    const wrongs: Container[] = [
      changedAt(valid, place ?? [], 7),
      { ...valid, 'kedge-garden:tree': { height: 3 } },
      changedAt(valid, ['kedge-intent:device', 0, 'colour'], 'red'),
      { ...valid, 'kedge-intent:device': 'none' },
      { ...valid, 'kedge-intent:device': [{ id: 'switch-1' }, { id: 'switch-1' }] },
      { ...valid, 'kedge-intent:device': [{}] },
      { ...valid, 'kedge-site:site': [] },
      {},
    ];
    let visited = 0;
    for (const wrong of wrongs) {
      for (const [from, to] of [
        [valid, wrong],
        [wrong, valid],
      ] as const) {
        const changes = await diff(from, to);
        expect(changes.length).toBeGreaterThan(0);
        expect(textOf(made(from, changes))).toBe(textOf(to));
        visited += 1;
      }
    }
    expect(visited).toBe(16);
  });

  it('UN-4 lead from any example to any other of its tree', async () => {
    let visited = 0;
    for (const tree of ['site', 'device', 'accords']) {
      const all = filesIn(`examples/valid/${tree}`).map((name) => {
        const example = read(`examples/valid/${tree}/${name}`);
        return tree === 'device' ? whole({ 'switch-1': example }) : example;
      });
      const few = all.slice(0, 8);
      for (const from of few)
        for (const to of few) {
          const reached = made(from, await diff(from, to));
          expect(await diff(reached, to)).toEqual([]);
          visited += 1;
        }
    }
    expect(visited).toBe(36 + 25 + 64);
  });

  it('UN-4 lead from any device to any other (property)', async () => {
    const address = fc.record({
      ip: fc.constantFrom('192.0.2.1', '192.0.2.2', '198.51.100.3'),
      'prefix-length': fc.integer({ min: 8, max: 30 }),
    });
    const one = fc.record(
      {
        name: fc.constantFrom('a', 'b', "o'c", 'd-1', 'e.2'),
        type: fc.constantFrom('iana-if-type:ethernetCsmacd', 'iana-if-type:bridge'),
        description: fc.constantFrom('', 'x', 'y'),
        enabled: fc.boolean(),
        'ietf-ip:ipv4': fc.record({
          address: fc.uniqueArray(address, { selector: ({ ip }) => ip, maxLength: 3 }),
        }),
      },
      { requiredKeys: ['name', 'type'] },
    );
    const device = fc
      .uniqueArray(one, { selector: ({ name }) => name, maxLength: 5 })
      .map((list) => whole({ 'switch-1': { 'ietf-interfaces:interfaces': { interface: list } } }));
    await fc.assert(
      fc.asyncProperty(device, device, async (from, to) => {
        const reached = made(from, await diff(from, to));
        expect(await diff(reached, to)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('UN-8 of ten thousand interfaces are those hundred that changed, and the event loop goes on', async () => {
    const [from, to] = [interfaces(10_000), interfaces(10_000, 100)].map((tree) =>
      textOf(whole({ 'switch-1': tree })),
    );
    let turns = 0;
    let done = false;
    const compared = schema.diff(from ?? '', to ?? '').finally(() => {
      done = true;
    });
    while (!done) {
      await new Promise((resolve) => setImmediate(resolve));
      turns += 1;
    }
    const changes = await compared;
    expect(changes.length).toBe(100);
    expect(changes[0]).toEqual({
      path: `${ETH}[name='eth99']/description`,
      kind: 'replace',
      before: 'access port 99',
      after: 'moved port 99',
    });
    expect(turns).toBeGreaterThan(3);
  });
});

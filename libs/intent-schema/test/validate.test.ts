/**
 * Holds documents of intent against the real modules: what is right, what is wrong, where, and that nothing is missed.
 * Must not repeat what the examples say.
 */
import type { Container, Validation } from '@kedge/datastores';
import { libyang } from '@kedge/libyang-ts';
import { openTrees } from '@kedge/yang-trees';
import { afterAll, describe, expect, it } from 'vitest';

import { openIntentSchema } from '../src/index.js';
import { TreeJudge } from '../src/tree-judge.js';
import { TreeShape } from '../src/tree-shape.js';
import { changedAt, filesIn, read, SITE, SWITCH, textOf, whole } from './material.js';

const schema = openIntentSchema();
afterAll(() => {
  schema.dispose();
});
const validate = (document: Container): Promise<Validation> => schema.validate(textOf(document));
const pathsOf = async (document: Container): Promise<string[]> =>
  (await validate(document)).findings.map(({ path }) => path);

const ACCEPTED = { findings: [], complete: true };
const DEVICE = "/kedge-intent:device[id='switch-1']";
/** A path without the device that it is of, and without keys. */
const bare = (path: string): string =>
  path.replace(DEVICE, '').replace(/\[(?:[^\]'"]|'[^']*'|"[^"]*")*\]/g, '');
/** An example as a whole document. */
const asDocument = (tree: string, example: Container): Container =>
  tree === 'device' ? whole({ 'switch-1': example }) : example;

interface Expected {
  readonly path: string;
}

describe('a document of intent', { timeout: 60_000 }, () => {
  it('UN-4 UN-5 is right where every tree of it is, also where there is none', async () => {
    expect(await validate({})).toEqual(ACCEPTED);
    let visited = 0;
    for (const tree of ['accords', 'site', 'device', 'intent'])
      for (const name of filesIn(`examples/valid/${tree}`)) {
        const example = read(`examples/valid/${tree}/${name}`);
        const document = tree === 'intent' ? { ...SITE, ...example } : asDocument(tree, example);
        expect([name, await validate(document)]).toEqual([name, ACCEPTED]);
        visited += 1;
      }
    expect(visited).toBe(35);
    const accords = read('defaults/accords.json');
    const { 'kedge-zones:zones': zones, ...site } = SITE;
    expect(await validate({ ...accords, ...read('defaults/zones.json'), ...site })).toEqual(ACCEPTED);
    expect(zones).toBeDefined();
    const defaults = { ...accords, ...read('defaults/zones.json'), ...read('defaults/site.json') };
    expect(await validate(defaults)).toEqual(ACCEPTED);
  });

  it('UN-4 UN-5 is refused for every invalid example, at the place that the example says', async () => {
    // What the whole document says otherwise: a member of no tree has a name, and accords need not be there.
    const otherwise: Readonly<Record<string, readonly string[]>> = {
      'accords-missing': [],
      'member-unknown-at-top': ['/kedge-zones:rooms'],
      'module-unknown': ['/kedge-accord:accords'],
    };
    let visited = 0;
    for (const tree of ['accords', 'site', 'device']) {
      const expected = read(`examples/expected/${tree}.json`) as unknown as Record<string, Expected>;
      for (const [name, { path }] of Object.entries(expected)) {
        const document = asDocument(tree, read(`examples/invalid/${tree}/${name}.json`));
        const { findings } = await validate(document);
        const paths = findings.map((finding) => bare(finding.path));
        if (Object.hasOwn(otherwise, name)) expect([name, paths]).toEqual([name, otherwise[name]]);
        else expect([name, paths]).toEqual([name, expect.arrayContaining([path])]);
        if (tree === 'device')
          expect(findings.every((finding) => finding.path.startsWith(DEVICE))).toBe(true);
        visited += 1;
      }
    }
    expect(visited).toBe(194);
  });

  it('UN-4 names entries by their keys, also of what is missing and of what stands there twice', async () => {
    const type = ['ietf-interfaces:interfaces', 'interface', 2, 'type'] as const;
    const document = whole({ 'switch-1': changedAt(SWITCH, type, undefined) });
    expect(await pathsOf(document)).toContain(
      `${DEVICE}/ietf-interfaces:interfaces/interface[name='port2']/type`,
    );
    const devices = changedAt(
      SITE,
      ['kedge-inventory:devices', 'device', 1, 'management', 'snmp'],
      undefined,
    );
    expect(await pathsOf(devices)).toContain(
      "/kedge-inventory:devices/device[id='switch-1']/management/access",
    );
    const [vlan, port] = [{ id: 10 }, 'kedge-bridging:bridge-port'];
    const place = ['ietf-interfaces:interfaces', 'interface', 4, port, 'vlan'] as const;
    expect(await pathsOf(whole({ 'switch-1': changedAt(SWITCH, place, [vlan, vlan]) }))).toContain(
      `${DEVICE}/ietf-interfaces:interfaces/interface[name='port4']/${port}/vlan[id='10']`,
    );
    const number = ['ietf-interfaces:interfaces', 'interface', 0, 'kedge-bridging:bridge', 'vlan', 0, 'id'];
    const [range] = (await validate(whole({ 'switch-1': changedAt(SWITCH, number, 5000) }))).findings;
    expect(bare(range?.path ?? '')).toBe(
      '/ietf-interfaces:interfaces/interface/kedge-bridging:bridge/vlan/id',
    );
  });

  it('UN-4 has no device twice, none that the inventory does not have, and no member that belongs to no tree', async () => {
    const document = whole({ 'switch-1': SWITCH, 'switch-9': {} }, { 'kedge-garden:tree': 1 });
    const list = document['kedge-intent:device'] as Container[];
    const doubled = {
      ...document,
      'kedge-intent:device': [...list, { id: 'switch-1' }, { id: 'appliance', colour: 'red' }, {}],
    };
    const { findings, complete } = await validate(doubled);
    expect(findings.map(({ path }) => path)).toEqual([
      '/kedge-garden:tree',
      "/kedge-intent:device[id='appliance']/colour",
      DEVICE,
      '/kedge-intent:device[4]',
      "/kedge-intent:device[id='switch-9']",
    ]);
    // libyang judged the one list of ids, and may have stopped there.
    expect(complete).toBe(libyang.everyError);
    expect(await pathsOf({ 'kedge-intent:device': [{ id: 'appliance' }] })).toEqual([
      "/kedge-intent:device[id='appliance']",
    ]);
    for (const wrong of [5, 'text', [5], [null], {}, [[]]] as const)
      expect((await validate({ ...SITE, 'kedge-intent:device': wrong })).findings.length).toBeGreaterThan(0);
  });

  it('UN-4 has the findings of all its trees: libyang stops within one, not between them', async () => {
    const vlan = ['kedge-site:site', 'network', 0, 'vlan-id'] as const;
    const type = ['ietf-interfaces:interfaces', 'interface', 1, 'type'] as const;
    const broken = changedAt(SWITCH, type, 'iana-if-type:teapot');
    const document = {
      ...changedAt(SITE, vlan, 0),
      'kedge-intent:device': [
        { id: 'switch-1', ...broken },
        { id: 'appliance', ...broken },
      ],
    };
    const { findings, complete } = await validate(document);
    expect(new Set(findings.map(({ path }) => path.split('/')[1]))).toEqual(
      new Set([
        'kedge-site:site',
        "kedge-intent:device[id='switch-1']",
        "kedge-intent:device[id='appliance']",
      ]),
    );
    expect(complete).toBe(libyang.everyError);
  });

  it('PO-2 is refused where the coordinator would refuse its accords, with path and reason', async () => {
    let visited = 0;
    for (const name of filesIn('examples/refused/accords')) {
      const [, code = ''] = name.split('.');
      const { findings, complete } = await validate(read(`examples/refused/accords/${name}`));
      expect([name, findings[0]?.appTag, complete]).toEqual([name, code, true]);
      for (const { path, message } of findings) {
        expect(path).toMatch(/^\/kedge-(accords|zones):/);
        expect(message).not.toContain(path);
      }
      visited += 1;
    }
    expect(visited).toBe(17);
  });

  it('UN-4 has no entry that no path can name: a key with quotation marks of both kinds', async () => {
    const named = (name: string): Container =>
      whole({ 'switch-1': changedAt(SWITCH, ['ietf-interfaces:interfaces', 'interface', 2, 'name'], name) });
    for (const name of [`it's`, `the "third"`])
      expect((await validate(named(name))).findings.filter(({ appTag }) => appTag === 'DRIVER_NAME')).toEqual(
        [],
      );
    expect((await validate(named(`it's "third"`))).findings).toEqual([
      {
        path: `${DEVICE}/ietf-interfaces:interfaces/interface[3]`,
        message: 'its name has quotation marks of both kinds: no path can name it',
        appTag: 'DRIVER_NAME',
      },
    ]);
    // What is no key may have both.
    const place = ['ietf-interfaces:interfaces', 'interface', 2, 'description'] as const;
    expect(await validate(whole({ 'switch-1': changedAt(SWITCH, place, `it's "third"`) }))).toEqual(ACCEPTED);
  });

  it('UN-4 is told that it may have more findings than were looked for', async () => {
    const wrong = changedAt(SWITCH, ['ietf-interfaces:interfaces', 'interface', 0, 'type'], 'x:y');
    const site = changedAt(SITE, ['kedge-inventory:devices', 'device'], []);
    const devices = Array.from({ length: 1200 }, (_, at) => ({
      id: `switch-${at}`,
      ...changedAt(wrong, ['ietf-interfaces:interfaces', 'interface', 0, 'description'], `number ${at}`),
    }));
    const { findings, complete } = await validate({ ...site, 'kedge-intent:device': devices });
    expect([findings.length, complete]).toEqual([1000, false]);
  });
});

describe('the keys of lists', () => {
  it('UN-4 are those of the modules, through the whole document', () => {
    let visited = 0;
    for (const [path, keys] of [
      ['/kedge-intent:device', ['id']],
      ['/kedge-intent:device/ietf-interfaces:interfaces/interface', ['name']],
      ['/kedge-intent:device/ietf-interfaces:interfaces/interface/ietf-ip:ipv4/address', ['ip']],
      ['/kedge-intent:device/kedge-acl:acls/attachment', ['interface', 'direction', 'family']],
      ['/kedge-accords:accords/level/zone-pair', ['from-zone', 'to-zone']],
      ['/kedge-site:site/network/prefix', ['.']],
      ['/kedge-zones:zones/zone', ['name']],
      ['/kedge-site:site', undefined],
      ['/ietf-interfaces:interfaces/interface', undefined],
    ] as const) {
      expect([path, schema.keysOf(path)]).toEqual([path, keys]);
      visited += 1;
    }
    expect(visited).toBe(9);
  });
});

describe('the schema', { timeout: 60_000 }, () => {
  it('UN-4 judges anew only what has changed, and forgets what was asked for longest ago', async () => {
    using trees = openTrees(['device']);
    let judged = 0;
    const rules = {
      context: trees.context('device'),
      shape: new TreeShape(trees.top('device')),
      beyond: () => {
        judged += 1;
        return [];
      },
    };
    const judge = new TreeJudge(2);
    const [one, two, three] = ['one', 'two', 'three'].map((what) => largeSwitch(what, 10));
    if (one === undefined || two === undefined || three === undefined) throw new Error('no trees');
    const counts: number[] = [];
    for (const tree of [one, one, two, one, three, one, two]) {
      expect(await judge.judge('device', structuredClone(tree), rules)).toEqual(ACCEPTED);
      counts.push(judged);
    }
    expect(counts).toEqual([1, 1, 2, 2, 3, 3, 4]);
    // What another tree says of the same text was not asked.
    await judge.judge('other', two, rules);
    expect(judged).toBe(5);
  });

  it('UN-4 takes so many calls at a time, answers each, and says so to one more', async () => {
    const text = textOf(whole({ 'switch-1': SWITCH }));
    const calls = Array.from({ length: 40 }, () => schema.validate(text));
    const results = await Promise.allSettled(calls);
    const refused = results.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
    expect(refused.length).toBe(8);
    for (const error of refused) expect(error).toMatchObject({ code: 'INTENT_BUSY' });
    for (const each of results) if (each.status === 'fulfilled') expect(each.value).toEqual(ACCEPTED);
    expect(await schema.validate(text)).toEqual(ACCEPTED);
  });

  it('UN-4 lets the event loop go on while a large tree is judged', async () => {
    const text = textOf(whole({ 'switch-1': largeSwitch('many', 2000) }));
    let turns = 0;
    let done = false;
    const judged = schema.validate(text).finally(() => {
      done = true;
    });
    while (!done) {
      await new Promise((resolve) => setImmediate(resolve));
      turns += 1;
    }
    expect(await judged).toEqual(ACCEPTED);
    expect(turns).toBeGreaterThan(100);
  });
});

function largeSwitch(what: string, count: number): Container {
  const list = Array.from({ length: count }, (_, at) => ({
    name: `eth${at}`,
    type: 'iana-if-type:ethernetCsmacd',
    description: `${what} ${at}`,
  }));
  return { 'ietf-interfaces:interfaces': { interface: list } };
}

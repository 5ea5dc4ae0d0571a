/**
 * What every driver keeps, over recorded walks and made-up intents; and what the Linux driver says, as text to be read.
 * Must not need a device.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { stepsBetween } from '@kedge/compiler';
import { runsOf } from '@kedge/driver-host';
import {
  changeOf,
  conformanceOf,
  type DeviceObjects,
  type Driver,
  madeTree,
  type MadeFeatures,
  objectsAfter,
  objectsOf,
  picksFrom,
  type Specimen,
  type ToolWords,
  treeOf,
} from '@kedge/driver-kit';
import type { deviceTree } from '@kedge/intent-model';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DRIVERS, linuxDriver } from '../src/index.js';
import { linuxDevice, possible } from './bench-device.js';

const HERE = import.meta.dirname;
const FEATURES: MadeFeatures = {
  ports: ['port1', 'port2', 'port3'],
  bridges: 2,
  vlans: true,
  routes: true,
  tunnels: ['gre', 'ip-in-ip', 'vxlan'],
  filters: true,
  details: true,
};
interface Recording {
  readonly name: string;
  readonly device: Specimen<string>['device'];
  readonly answers: readonly string[];
}
const recordings = (name: string): Recording[] =>
  JSON.parse(readFileSync(join(HERE, `../recordings/${name}.json`), 'utf8')) as Recording[];
const intents = Array.from({ length: 20 }, (_, seed) => objectsOf(madeTree(picksFrom(seed), FEATURES)));

describe('every driver', () => {
  it('UN-11 asks little, lifts and shapes alike every time, and encodes whatever it holds', () => {
    let [drivers, specimens, lifted, shaped, encoded] = [0, 0, 0, 0, 0];
    for (const driver of DRIVERS) {
      const { visited, faults } = conformanceOf(
        driver,
        recordings(driver.manifest.name).map((each) => ({ ...each, intents })),
      );
      expect(faults).toEqual([]);
      drivers += 1;
      specimens += visited.specimens;
      lifted += visited.lifted;
      shaped += visited.shaped;
      encoded += visited.encoded;
    }
    expect([drivers, specimens]).toEqual([DRIVERS.length, 2]);
    expect(lifted).toBeGreaterThan(80);
    expect(shaped).toBeGreaterThan(1000);
    expect(encoded).toBeGreaterThan(1000);
  });

  it('UN-11 is found out where it asks too much, changes its mind, or does nothing', () => {
    const [recording] = recordings('linux');
    if (recording === undefined) throw new Error('nothing was recorded');
    const faultsOf = (change: Partial<Driver<ToolWords, string, ToolWords>>): string[] => [
      ...conformanceOf({ ...linuxDriver, ...change }, [{ ...recording, intents: intents.slice(0, 3) }])
        .faults,
    ];
    let turn = 0;
    const other = { tree: {}, own: ['nothing'] };
    expect(faultsOf({})).toEqual([]);
    expect(faultsOf({ questions: () => Array<ToolWords>(17).fill({ tool: 'ip', words: [] }) })).toContain(
      'linux, appliance-1: it asks 17 questions',
    );
    expect(faultsOf({ lift: () => other })[0]).toContain('calls nothing its own');
    expect(
      faultsOf({ lift: (...given) => ((turn += 1) % 2 === 0 ? other : linuxDriver.lift(...given)) })[0],
    ).toContain('two trees');
    expect(faultsOf({ encode: () => [] })[0]).toContain('does nothing to add');
    expect(faultsOf({ encode: () => [{ tool: 'ip', words: [String((turn += 1))] }] })[0]).toContain(
      'otherwise the second time',
    );
    expect(faultsOf({ shape: () => ({ as: 'refused', why: '' }) })[0]).toContain('says no reason');
  });
});

/** Every command between two states, as a person would type it. */
function script(before: DeviceObjects, after: DeviceObjects, device: Specimen<string>['device']): string {
  let state = before;
  return stepsBetween(before, after, linuxDriver)
    .map((step) => {
      const change = changeOf(step);
      const lines = linuxDriver
        .encode(change, state, device)
        .map(({ tool, words }) => `  ${tool} ${words.join(' ')}\n`);
      state = objectsAfter(state, change);
      return `${step.id}\n${lines.join('')}`;
    })
    .join('');
}

/** The objects of a tree as Linux shows them. */
function shaped(tree: deviceTree.DeviceTree, device: Specimen<string>['device']): DeviceObjects {
  const wanted = objectsOf(tree);
  return new Map(
    [...wanted].flatMap(([path, object]) => {
      const as = linuxDriver.shape(object, wanted, device);
      return as.as === 'held' ? [[path, as.object] as const] : [];
    }),
  );
}

describe('the Linux driver', () => {
  it('UN-3 says this to a host that comes into being, changes and goes', async () => {
    const device = linuxDevice(FEATURES.ports, true);
    const ports = treeOf([]);
    const [one, two] = [5, 12].map((seed) =>
      shaped(possible(madeTree(picksFrom(seed), FEATURES), device), device),
    );
    if (one === undefined || two === undefined) throw new Error('no states');
    const bare = new Map([
      ...objectsOf(ports),
      ...[...one, ...two].filter(
        ([, { kind, value }]) => kind === 'interface' && value.type === 'iana-if-type:ethernetCsmacd',
      ),
    ]);
    await expect(`${script(bare, one, device)}\n${script(one, two, device)}`).toMatchFileSnapshot(
      'golden/linux-host.txt',
    );
  });

  it('UN-6 lifts recorded walks to these trees', async () => {
    const trees = recordings('linux').map(({ answers, device }) => linuxDriver.lift(answers, device));
    await expect(`${JSON.stringify(trees, null, 2)}\n`).toMatchFileSnapshot('golden/linux-lifted.txt');
  });

  it('UN-6 believes no answer that is not as it should be, and never breaks on one', () => {
    const [recording] = recordings('linux');
    if (recording === undefined) throw new Error('nothing was recorded');
    const { answers, device } = recording;
    const lift = (changed: readonly string[]): unknown => {
      try {
        linuxDriver.lift(changed, device);
        return undefined;
      } catch (error) {
        return error;
      }
    };
    const unbelievable = expect.objectContaining({ code: 'DRIVER_ANSWER' }) as unknown;
    for (const text of ['x', '{}', '[1]', '[{"ifname":1}]', '[{"ifname":"a","link_type":"ether","flags":1}]'])
      expect(lift([text, ...answers.slice(1)]), text).toEqual(unbelievable);
    expect(lift(['', '', '', ''])).toBeUndefined();
    const leaves = [null, 7, 'x', true, [], {}, [[]], [{}]];
    let refused = 0;
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.constantFrom(...leaves), (which, where, leaf) => {
        const place = which % answers.length;
        let total = 0;
        JSON.parse(answers[place] ?? '[]', (_key, value: unknown) => {
          total += 1;
          return value;
        });
        let at = 0;
        const changed = JSON.stringify(JSON.parse(answers[place] ?? '[]'), (_key, value: unknown) =>
          (at += 1) === 1 + (where % total) ? leaf : value,
        );
        const error = lift(answers.map((each, index) => (index === place ? changed : each)));
        if (error === undefined) return;
        refused += 1;
        expect(error).toEqual(unbelievable);
      }),
      { numRuns: 400 },
    );
    expect(refused).toBeGreaterThan(20);
  });

  it('UN-3 is told no step that no plan of its own holds', () => {
    const device = linuxDevice(FEATURES.ports, true);
    const refused = expect.objectContaining({ code: 'DRIVER_STEP' }) as Error;
    const acl = objectsOf({ 'kedge-acl:acls': { acl: [{ family: 'ipv4', name: 'guests' }] } });
    const port = objectsOf({
      'ietf-interfaces:interfaces': { interface: [{ name: 'port1', type: 'iana-if-type:ethernetCsmacd' }] },
    });
    for (const object of [...acl.values(), ...port.values()].filter(
      ({ kind }) => kind === 'acl' || kind === 'interface',
    ))
      expect(() => linuxDriver.encode({ before: undefined, after: object }, new Map(), device)).toThrow(
        refused,
      );
    const step = { id: 'x', before: null, after: null, path: '/a:b' };
    for (const wrong of [
      { ...step, after: 1 },
      { ...step, path: "/ietf-interfaces:interfaces/interface[name='a']/enabled" },
      { ...step, path: "/ietf-interfaces:interfaces/interface[name='a']/enabled", after: 'yes' },
      { ...step, path: "/ietf-interfaces:interfaces/interface[name='a']", after: { name: 'b', type: 'x' } },
    ])
      expect(() => changeOf(wrong)).toThrow(refused);
  });

  it('joins words to batches that mean the same words, and lets the others have a run of their own', () => {
    const words = (...list: readonly string[]): ToolWords => ({ tool: 'ip', words: list });
    const batches = (...list: readonly ToolWords[]) => runsOf(list).map(({ tool, batch }) => [tool, batch]);
    expect(batches(words('a', ''), words('b c', "it's"), { tool: 'bridge', words: ['d'] })).toEqual([
      ['ip', `a ''\n'b c' "it's"\n`],
      ['bridge', 'd\n'],
    ]);
    expect(batches(words('a'), words('#'), words('\\'), words(`'"`), words('a\nb'))).toEqual([
      ['ip', 'a\n'],
      ['ip', undefined],
      ['ip', "'\\'\n"],
      ['ip', undefined],
      ['ip', undefined],
    ]);
    expect(batches(words(...Array<string>(91).fill('a')))).toEqual([['ip', undefined]]);
  });
});

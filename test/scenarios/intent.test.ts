/**
 * The intent of a lab as people work with it: an edit becomes a bridge, an address and a route in the kernel, what others
 * change there is found, levels freeze it, and nothing of that is lost when a service is killed in the middle.
 * Must not look into the services; it asks them by the command, and the kernel.
 */
import { type Lab, labDown, type LabService, labUp, PATIENT_BUDGETS, ROUTE_NAMESPACES } from '@kedge/lab';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { kedge, kedgeError, kedgeJson } from './run-command.js';

const NAME = 'intended';
const LAB = ['--lab', NAME];
const CONSOLE = ['--as', 'console'];
const ROOT = join(import.meta.dirname, '../..');

const DEVICE = "/kedge-intent:device[id='appliance']";
const ROUTES = `${DEVICE}/ietf-routing:routing/control-plane-protocols/control-plane-protocol[type='ietf-routing:static'][name='site']/static-routes/ietf-ipv4-unicast-routing:ipv4/route`;
const FAR = `${ROUTES}[destination-prefix='10.77.0.0/16']`;

const interfaceOf = (address: string) => ({
  name: 'br-lab',
  type: 'iana-if-type:bridge',
  'kedge-bridging:bridge': {},
  'ietf-ip:ipv4': { address: [{ ip: address, 'prefix-length': 24 }] },
});
const routeTo = (destination: string) => ({
  'destination-prefix': destination,
  'next-hop': { 'next-hop-address': '10.66.0.254' },
});
const deviceOf = (destinations: readonly string[]) => ({
  id: 'appliance',
  'ietf-interfaces:interfaces': { interface: [interfaceOf('10.66.0.1')] },
  'ietf-routing:routing': {
    'control-plane-protocols': {
      'control-plane-protocol': [
        {
          type: 'ietf-routing:static',
          name: 'site',
          'static-routes': { 'ietf-ipv4-unicast-routing:ipv4': { route: destinations.map(routeTo) } },
        },
      ],
    },
  },
});

interface LevelJson {
  readonly number: number;
  readonly underlay: { drift: { interval?: number; remedy?: { severity: string; remediation: string }[] } };
}
type Document = Record<string, unknown> & {
  'kedge-accords:accords': { level: LevelJson[] };
  'kedge-drift:drift'?: unknown;
  'kedge-intent:device'?: unknown[];
};
interface Device {
  readonly device: string;
  readonly state: string;
  readonly why: string;
  readonly revision: number;
  readonly drifts: number;
}
interface Drift {
  readonly device: string;
  readonly path: string;
  readonly severity: string;
  readonly cause: string;
  readonly remediation: string;
}
interface Committed {
  readonly committed: { readonly revision: { readonly number: number } };
}

let lab: Lab;
let place: string;

beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), 'kedge-intent-'));
  lab = await labUp({ name: NAME, budgets: PATIENT_BUDGETS, foreground: false, out: () => undefined });
}, 60_000);
afterAll(async () => {
  lab.close();
  await labDown(NAME);
  rmSync(place, { recursive: true, force: true });
});

async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
  const end = Date.now() + ms;
  let why: unknown;
  for (;;) {
    try {
      if (await holds()) return;
    } catch (error) {
      why = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`, { cause: why });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** What `ip` prints in the namespace of the underlay. */
const ip = (...words: readonly string[]): string =>
  execFileSync('nsenter', [`--net=${lab.reach(`/run/netns/${ROUTE_NAMESPACES.underlay}`)}`, 'ip', ...words], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
/** The routes over the lab's bridge, by their destinations. */
function routes(): readonly string[] {
  const shown = JSON.parse(ip('-j', '-4', 'route', 'show', 'proto', '109')) as { dst: string }[];
  return shown.map(({ dst }) => dst).sort();
}
function addresses(): readonly string[] {
  try {
    const [link] = JSON.parse(ip('-j', '-4', 'address', 'show', 'dev', 'br-lab')) as {
      addr_info: { local: string }[];
    }[];
    return (link?.addr_info ?? []).map(({ local }) => local);
  } catch {
    return [];
  }
}

const intent = (...args: readonly string[]) => kedgeJson<unknown>(['intent', ...args, ...LAB]);
const edit = (...args: readonly string[]) => intent('edit', ...args);
async function commit(...more: readonly string[]): Promise<number> {
  const { committed } = (await intent('commit', ...more)) as Committed;
  return committed.revision.number;
}
function load(name: string, document: unknown): Promise<unknown> {
  const path = join(place, name);
  writeFileSync(path, JSON.stringify(document));
  return intent('load', path);
}
const running = () => kedgeJson<Document>(['intent', 'show', 'running', ...LAB]);
async function device(): Promise<Device> {
  const { devices } = (await intent('devices')) as { devices: Device[] };
  const [first] = devices.filter((each) => each.device === 'appliance');
  if (first === undefined) throw new Error('no such device');
  return first;
}
async function drifts(): Promise<readonly Drift[]> {
  const { out } = await kedge(['intent', 'drift', '--json', ...LAB]);
  return (JSON.parse(out) as { drifts: Drift[] }).drifts;
}
const settled = (revision: number) =>
  until(`revision ${revision} on the device`, async () => {
    const seen = await device();
    return seen.revision === revision && seen.state === 'accorded';
  });
async function level(to: number): Promise<void> {
  await kedgeJson(['posture', 'set', String(to), '--reason', 'a test', ...CONSOLE, '--wait', ...LAB]);
}

/** Has the service killed by the name it bears, and waits for the next one. */
async function killed(service: LabService): Promise<void> {
  const [{ pid } = { pid: 0 }] = lab.serviceProcesses(service);
  process.kill(pid, 'SIGKILL');
  await until(`${service} again`, () => {
    const now = lab.serviceProcesses(service)[0]?.pid;
    return now !== undefined && now !== pid;
  });
}
const answers = () =>
  until('the intent answers', async () => (await lab.intent().health({ deadlineMs: 2_000 })) === 'SERVING');

/** What the defaults say of accords, zones and site, changed. */
function defaults(change: (document: Document) => void = () => undefined): Document {
  const document = Object.assign(
    {},
    ...['accords', 'zones', 'site'].map(
      (name) => JSON.parse(readFileSync(join(ROOT, `yang/defaults/${name}.json`), 'utf8')) as object,
    ),
  ) as Document;
  change(document);
  return document;
}
/** Differences of routes are critical; what is done about those at levels 5 to 3. */
function remedied(document: Document, remediation: string): void {
  document['kedge-drift:drift'] = {
    classification: {
      rule: [{ name: 'routes', path: '/ietf-routing:routing', severity: 'critical' }],
    },
  };
  for (const { number, underlay } of document['kedge-accords:accords'].level) {
    underlay.drift.interval = 10;
    if (number >= 3) underlay.drift.remedy = [{ severity: 'critical', remediation }];
  }
}

describe('the intent of a lab', { timeout: 180_000 }, () => {
  it('PO-2 UN-4 accords come into force by a commit, as a transition from the level to itself', async () => {
    const before = await kedgeJson<{ epoch: string }>(['posture', 'get', ...LAB]);
    await load(
      'first.json',
      defaults((document) => remedied(document, 'automatic')),
    );
    expect(await kedgeJson(['intent', 'validate', ...LAB])).toMatchObject({ valid: true });
    const revision = await commit('--comment', 'the site', ...CONSOLE);
    await until('other accords in force', async () => {
      const { transitions } = await kedgeJson<{
        transitions: {
          epoch: string;
          from: number;
          to: number;
          outcome: string;
          source: { reason: string };
        }[];
      }>(['posture', 'history', '--limit', '3', ...LAB]);
      return transitions.some(
        ({ epoch, from, to, outcome, source }) =>
          BigInt(epoch) > BigInt(before.epoch) &&
          from === 5 &&
          to === 5 &&
          outcome === 'completed' &&
          source.reason.includes(String(revision)),
      );
    });
    await settled(revision);
  });

  it('UN-3 UN-13 an edit that adds a bridge, an address and a route is planned, and appears in the namespace', async () => {
    await edit('create', `${DEVICE}`, JSON.stringify(deviceOf(['10.77.0.0/16'])));
    const { out } = await kedge(['intent', 'plan', 'appliance', '--candidate', ...LAB]);
    expect(out).toContain('br-lab');
    expect(out).toContain('10.77.0.0/16');
    expect(routes()).toEqual([]);
    const revision = await commit('--comment', 'a bridge');
    await settled(revision);
    expect([addresses(), routes()]).toEqual([['10.66.0.1'], ['10.77.0.0/16']]);
    expect(await drifts()).toEqual([]);
    // The plan of what is there is empty.
    expect((await kedge(['intent', 'plan', 'appliance', ...LAB])).out).not.toContain('br-lab');
    await until('the mutation in the ledger', async () => {
      const { out: found } = await kedge(['ledger', 'query', '--kind', 'network-mutation', '--json', ...LAB]);
      return found.includes('device/appliance') && found.includes('"applied"');
    });
  });

  it('UN-6 UN-7 a route that somebody takes away is found with its cause, and put back where the accord says so', async () => {
    ip('route', 'del', '10.77.0.0/16', 'proto', '109');
    expect(routes()).toEqual([]);
    await intent('check', 'appliance').catch(() => undefined);
    await until('the route again', () => routes().includes('10.77.0.0/16'));
    await until('no drift any more', async () => (await drifts()).length === 0);
    await until('both in the ledger', async () => {
      const { out } = await kedge(['ledger', 'query', '--kind', 'drift-event', '--json', ...LAB]);
      return ['"appeared"', '"cleared"', '"unmanaged-change"', '"critical"', '10.77.0.0/16'].every((word) =>
        out.includes(word),
      );
    });
  });

  it('UN-7 where the accord says none it is only told; where it says proposed somebody may have it remedied', async () => {
    for (const remediation of ['none', 'proposed']) {
      const document = await running();
      remedied(document, remediation);
      await load(`${remediation}.json`, document);
      await settled(await commit(...CONSOLE));
      ip('route', 'del', '10.77.0.0/16', 'proto', '109');
      await kedge(['intent', 'check', 'appliance', ...LAB]);
      await until(`a drift with ${remediation}`, async () =>
        (await drifts()).some(
          (each) =>
            each.path === FAR.slice(DEVICE.length) &&
            each.severity === 'critical' &&
            each.cause === 'unmanaged-change' &&
            each.remediation === remediation,
        ),
      );
      expect(routes()).toEqual([]);
      if (remediation === 'none') {
        ip('route', 'add', '10.77.0.0/16', 'via', '10.66.0.254', 'proto', '109', 'metric', '0');
        await kedge(['intent', 'check', 'appliance', ...LAB]);
        await until('no drift any more', async () => (await drifts()).length === 0);
      } else {
        await intent('remedy', 'appliance');
        expect(routes()).toEqual(['10.77.0.0/16']);
        expect(await drifts()).toEqual([]);
      }
    }
  });

  it('UN-4 UN-14 a commit that nobody confirms is put back by itself, on the device and over kill -9 too', async () => {
    const before = (await device()).revision;
    await edit(
      'create',
      `${ROUTES}[destination-prefix='10.78.0.0/16']`,
      JSON.stringify(routeTo('10.78.0.0/16')),
    );
    const tried = await commit('--confirmed', '5');
    await until('the route that is tried', () => routes().includes('10.78.0.0/16'));
    await until(
      'put back',
      async () => !routes().includes('10.78.0.0/16') && (await device()).revision > tried,
    );
    expect(routes()).toEqual(['10.77.0.0/16']);

    await edit(
      'create',
      `${ROUTES}[destination-prefix='10.79.0.0/16']`,
      JSON.stringify(routeTo('10.79.0.0/16')),
    );
    await commit('--confirmed', '600');
    await until('the route that is tried', () => routes().includes('10.79.0.0/16'));
    await killed('intent');
    await answers();
    await until('put back by the start', async () => {
      const { state } = await device();
      return !routes().includes('10.79.0.0/16') && state === 'accorded';
    });
    const { revisions } = (await intent('history')) as { revisions: { number: number; cause: string }[] };
    expect(revisions.filter(({ number }) => number > before).map(({ cause }) => cause)).toEqual([
      'restarted',
      'commit',
      'expired',
      'commit',
    ]);
  });

  it('UN-3 UN-6 UN-14 at 2 and 1 nothing comes into force, is compiled or remedied; what differs is still told', async () => {
    try {
      await edit(
        'create',
        `${ROUTES}[destination-prefix='10.80.0.0/16']`,
        JSON.stringify(routeTo('10.80.0.0/16')),
      );
      for (const to of [2, 1]) {
        await level(to);
        for (const args of [
          ['commit', ...CONSOLE],
          ['rollback', '1', ...CONSOLE],
          ['remedy', 'appliance', ...CONSOLE],
          ['plan', 'appliance', '--candidate', ...CONSOLE],
        ]) {
          const refused = await kedgeError(['intent', ...args, ...LAB]);
          expect(refused.status, args[0]).toBe(3);
          expect(refused.message, args[0]).toMatch(new RegExp(`level ${to}|frozen|emergency-only`));
        }
        if (to === 2) ip('route', 'del', '10.77.0.0/16', 'proto', '109');
        await kedge(['intent', 'check', 'appliance', ...LAB]);
        expect(await drifts()).toMatchObject([{ cause: 'unmanaged-change', remediation: 'none' }]);
        expect(routes()).toEqual([]);
      }
    } finally {
      await level(5);
    }
    await intent('discard');
    await kedge(['intent', 'check', 'appliance', ...LAB]);
    await intent('remedy', 'appliance');
    expect(routes()).toEqual(['10.77.0.0/16']);
  });

  it('UN-4 UN-10 kill -9 of intent and of underlay in the middle of six hundred routes: they are all there in the end', async () => {
    const many = Array.from(
      { length: 600 },
      (_, n) => `10.${100 + Math.floor(n / 200)}.${n % 200}.0/24`,
    ).sort();
    await edit('replace', DEVICE, JSON.stringify(deviceOf(many)));
    await commit();
    await until('some of them', () => routes().length > 1);
    await killed('intent');
    await answers();
    await killed('underlay');
    await until('all of them', () => JSON.stringify(routes()) === JSON.stringify(many), 90_000);
    await until('as intended', async () => (await device()).state === 'accorded', 60_000);
    expect(await drifts()).toEqual([]);
    // And away again: what is no longer intended goes.
    await load('site.json', defaults());
    const last = await commit(...CONSOLE);
    await until('nothing of it', () => routes().length === 0 && addresses().length === 0, 90_000);
    await settled(last);
  });
});

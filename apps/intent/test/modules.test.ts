/**
 * The intent as it is shipped, with the project's modules: whole documents in, findings out, revisions that other modules
 * accepted.
 * Must not leave a process or a file.
 */
import type { IntentClient, IntentReply } from '@kedge/bus';
import { bundledService } from '@kedge/lab';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { CALL, Stage } from './stage.js';

const YANG = join(import.meta.dirname, '../../../yang');
const TERMS = { principal: 'user:ada', comment: '', confirmSeconds: 0, ifRevision: 0 };
const read = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(YANG, path), 'utf8')) as Record<string, unknown>;
const SITE = read('examples/valid/site/branch-office.json');
const SWITCH = read('examples/valid/device/access-switch.json');
const whole = (device: object, site: object = SITE): string =>
  JSON.stringify({ ...site, 'kedge-intent:device': [{ id: 'switch-1', ...device }] });

let stage: Stage;
beforeEach(() => {
  stage = new Stage(bundledService('intent'));
});
afterEach(async () => {
  await stage.remove();
});

const load = (client: IntentClient, document: string): Promise<IntentReply> =>
  client.load({ principal: 'user:ada', document }, CALL);
const commit = (client: IntentClient): Promise<IntentReply> => client.commit(TERMS, CALL);

describe('the intent with its modules', { timeout: 60_000 }, () => {
  it('UN-4 UN-5 takes a site and its devices as one document, and is edited, compared and taken back by paths', async () => {
    await stage.serve();
    const client = stage.client('local/master');
    expect(await load(client, whole(SWITCH))).toMatchObject({ outcome: 'candidate' });
    expect(await client.validate({ source: 'candidate' }, CALL)).toEqual({ findings: [], complete: true });
    expect(await commit(client)).toMatchObject({ committed: { revision: { number: 2 } } });
    const port = "/kedge-intent:device[id='switch-1']/ietf-interfaces:interfaces/interface[name='port3']";
    const edits = [{ kind: 'replace', path: `${port}/enabled`, value: 'true' }];
    expect(await client.edit({ principal: 'user:ada', edits }, CALL)).toMatchObject({ outcome: 'candidate' });
    const changes = [];
    for await (const change of client.compare({ from: 'running', to: 'candidate' }, CALL))
      changes.push(change);
    expect(changes).toEqual([{ path: `${port}/enabled`, kind: 'replace', before: 'false', after: 'true' }]);
    expect(await commit(client)).toMatchObject({ committed: { revision: { number: 3 } } });
    expect(await client.rollback({ ...TERMS, to: 2 }, CALL)).toMatchObject({
      committed: { revision: { number: 4, of: 2 } },
    });
    const { revisions } = await client.history({ limit: 0, before: 0 }, CALL);
    expect(revisions.map(({ number, modules }) => [number, modules === ''])).toEqual([
      [4, false],
      [3, false],
      [2, false],
      [1, true],
    ]);
    expect(new Set(revisions.slice(0, 3).map(({ modules }) => modules)).size).toBe(1);
  });

  it('UN-4 UN-5 refuses to commit what its modules do not accept, with the path of the node at fault', async () => {
    await stage.serve();
    const client = stage.client('local/master');
    const device = read('examples/invalid/device/port-of-unknown-bridge.json');
    await load(client, whole(device));
    const at = expect.stringMatching(
      /^\/kedge-intent:device\[id='switch-1'\]\/ietf-interfaces:interfaces\/interface\[name='port1'\]\/kedge-bridging:bridge-port\/bridge$/,
    ) as string;
    expect(await client.validate({ source: 'candidate' }, CALL)).toMatchObject({
      findings: [{ path: at, appTag: 'instance-required' }],
    });
    expect(await commit(client)).toMatchObject({
      refusal: { code: 'INTENT_INVALID', findings: [{ path: at }] },
    });
    // PO-2: accords that loosen are no part of an intent either.
    await load(client, JSON.stringify(read('examples/refused/accords/loosens-by-arp.ACCORD_LOOSENS.json')));
    expect(await commit(client)).toMatchObject({
      refusal: { code: 'INTENT_INVALID', findings: [{ appTag: 'ACCORD_LOOSENS' }] },
    });
    expect(await client.status({}, CALL)).toMatchObject({ running: 1, validity: 'valid' });
  });

  it('UN-4 asks the modules in use about a revision that others accepted, before it is in force again', async () => {
    const { child } = await stage.serve();
    const client = stage.client('local/master');
    await load(client, whole(SWITCH));
    await commit(client);
    const other = { ...SITE, 'kedge-site:site': { ...(SITE['kedge-site:site'] as object), name: 'porto' } };
    await load(client, whole(SWITCH, other));
    await commit(client);
    const { modules } = await client.status({}, CALL);
    await stage.end(child);
    // An update of the modules comes: the names of sites are longer now.
    const directory = join(stage.root, 'yang');
    cpSync(YANG, directory, { recursive: true, filter: (path) => !path.includes('/examples') });
    const file = join(directory, 'kedge-site.yang');
    const text = readFileSync(file, 'utf8');
    const name = '      type name;\n      mandatory true;\n';
    expect(text.split(name).length).toBe(2);
    const longer = "      type name {\n        pattern 'porto';\n      }\n      mandatory true;\n";
    writeFileSync(file, text.replace(name, longer));
    const second = await stage.serve({ modules: directory });
    const status = await client.status({}, CALL);
    expect(status).toMatchObject({ running: 3 });
    expect(status.modules).not.toBe(modules);
    expect(await client.rollback({ ...TERMS, to: 2 }, CALL)).toMatchObject({
      refusal: { code: 'INTENT_INVALID', findings: [{ path: '/kedge-site:site/name' }] },
    });
    expect(await client.status({}, CALL)).toMatchObject({ running: 3, validity: 'valid' });
    await stage.end(second.child);
    await stage.serve();
    expect(await client.rollback({ ...TERMS, to: 2 }, CALL)).toMatchObject({
      committed: { revision: { number: 4, of: 2, modules } },
    });
  });

  it('UN-5 does not start with modules that libyang does not take', async () => {
    const directory = join(stage.root, 'yang');
    cpSync(YANG, directory, { recursive: true, filter: (path) => !path.includes('/examples') });
    writeFileSync(join(directory, 'kedge-acl.yang'), 'module kedge-acl { nonsense; }');
    await expect(stage.serve({ modules: directory })).rejects.toThrow(/YANG_MODULE/);
  });
});

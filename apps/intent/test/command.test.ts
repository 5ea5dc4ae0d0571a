/**
 * `kedge intent` against the process: what a person types, sees, and is told by the exit status.
 * Must not leave a process or a file.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Stage } from './stage.js';

const KEDGE = join(import.meta.dirname, '../../cli/bin/kedge.js');

let stage: Stage;
beforeAll(async () => {
  stage = new Stage();
  await stage.serve();
}, 120_000);
afterAll(async () => {
  await stage.remove();
});

interface Said {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

function kedge(words: readonly string[], { as = 'master', input = '' } = {}): Said {
  const args = ['intent', ...words, '--socket', stage.sockets, '--as', as];
  const { status, stdout, stderr } = spawnSync(process.execPath, [KEDGE, ...args], {
    encoding: 'utf8',
    input,
  });
  return { status, out: stdout, err: stderr };
}

describe('kedge intent', { timeout: 240_000 }, () => {
  it('UN-4 edits, validates, compares and commits, and says by its exit status what came of it', () => {
    const file = join(stage.root, 'site.json');
    writeFileSync(file, '{"site:vlan":[{"id":10,"name":"guests"}]}');
    expect(kedge(['load', file])).toMatchObject({
      status: 0,
      out: 'the candidate differs from revision 1\n',
    });
    expect(kedge(['validate'])).toMatchObject({
      status: 6,
      out: '/site:name: mandatory node is missing [missing-instance]\n1 findings\n',
    });
    expect(kedge(['commit'])).toMatchObject({
      status: 3,
      out: '',
      err: expect.stringContaining('[INTENT_INVALID]') as string,
    });
    expect(kedge(['edit', 'create', '/site:name', 'lan'])).toMatchObject({ status: 0 });
    expect(kedge(['edit', 'create', '/site:name', 'lan'])).toMatchObject({ status: 3 });
    expect(kedge(['edit', 'create', '/site:'])).toMatchObject({ status: 2 });
    const edits = [
      { kind: 'replace', path: "/site:vlan[id='10']/name", value: 'staff' },
      { kind: 'create', path: "/site:vlan[id='20']", value: { id: 20 } },
    ];
    expect(kedge(['edit', '--file', '-'], { input: JSON.stringify(edits) })).toMatchObject({ status: 0 });
    expect(kedge(['compare']).out).toBe(
      '+ /site:name "lan"\n+ /site:vlan [{"id":10,"name":"staff"},{"id":20}]\n',
    );
    expect(kedge(['validate'])).toMatchObject({ status: 0, out: 'valid\n' });
    const committed = kedge([
      'commit',
      '--comment',
      'two VLANs',
      '--principal',
      'user:ada',
      '--confirmed',
      '600',
    ]);
    expect(committed).toMatchObject({ status: 0 });
    expect(committed.out).toMatch(
      /^revision 2, commit, .*Z, by user:ada \(local\/master\): two VLANs\nconfirm it before .*: kedge intent confirm 2\n$/,
    );
    expect(kedge(['status']).out).toMatch(
      /^confirming, at .*\nrunning 2 \(valid\) {2}startup 1 {2}intended 2\n/,
    );
    expect(kedge(['confirm', '3'])).toMatchObject({
      status: 3,
      err: expect.stringContaining('INTENT_CONFIRM_OTHER') as string,
    });
    expect(kedge(['confirm', '2']).out).toMatch(/^confirmed: revision 2/);
    expect(JSON.parse(kedge(['show', 'startup']).out)).toEqual({
      'site:name': 'lan',
      'site:vlan': [{ id: 10, name: 'staff' }, { id: 20 }],
    });
    expect(kedge(['rollback', '1'])).toMatchObject({ status: 3 });
    kedge(['edit', 'replace', '/site:name', 'wan']);
    expect(kedge(['commit', '--if-revision', '1', '--json'])).toMatchObject({ status: 3, out: '' });
    expect(JSON.parse(kedge(['commit', '--json']).out)).toMatchObject({
      outcome: 'committed',
      committed: { revision: { number: 3 } },
    });
    expect(kedge(['rollback', '2', '--comment', 'back']).out).toMatch(/^revision 4, rollback of 2, /);
    const history = kedge(['history']).out.split('\n');
    expect(history.slice(1, 5).map((line) => line.trim().split(/ {2,}/).slice(0, 3))).toEqual([
      ['4', expect.any(String), 'rollback of 2'],
      ['3', expect.any(String), 'commit'],
      ['2', expect.any(String), 'commit'],
      ['1', expect.any(String), 'initial'],
    ]);
    expect(history[5]).toBe('4 of 4 revisions');
  });

  it('UN-4 tells who has the lock, breaks it for who may, and what is denied', () => {
    expect(kedge(['lock', '--comment', 'mine', '--principal', 'user:ada']).out).toMatch(
      /^locked by user:ada \(local\/master\)/,
    );
    const other = kedge(['discard'], { as: 'journeyman' });
    expect(other).toMatchObject({ status: 3, out: '' });
    expect(other.err).toMatch(/user:ada \(master, local\) has locked it since .* \[INTENT_LOCKED\]/);
    const denied = kedge(['unlock', '--force', '--json'], { as: 'journeyman' });
    expect(denied.status).toBe(3);
    expect(JSON.parse(denied.err)).toMatchObject({ error: { code: 'INTENT_FORBIDDEN' } });
    expect(kedge(['unlock', '--force'], { as: 'site_owner' }).out).toMatch(
      /^unlocked; it was locked by user:ada/,
    );
    expect(kedge(['unlock'])).toMatchObject({
      status: 3,
      err: expect.stringContaining('INTENT_NOT_LOCKED') as string,
    });
    expect(kedge(['cancel'])).toMatchObject({
      status: 3,
      err: expect.stringContaining('INTENT_NOTHING_PENDING') as string,
    });
    expect(kedge(['load', '/nowhere'])).toMatchObject({
      status: 2,
      err: expect.stringContaining('CLI_USAGE') as string,
    });
    const parts = ['name', 'vlans', 'list'].map((name) => join(stage.root, `${name}.json`));
    const [name = '', vlans = '', list = ''] = parts;
    writeFileSync(name, '{"site:name":"lan"}');
    writeFileSync(vlans, '{"site:vlan":[{"id":10}]}');
    writeFileSync(list, '[]');
    for (const [files, why] of [
      [[name, vlans, name], `site:name stands in ${name} and in a file before it`],
      [[name, list], `${list} holds no JSON object`],
    ] as const)
      expect(kedge(['load', ...files])).toMatchObject({
        status: 2,
        err: expect.stringContaining(why) as string,
      });
    expect(kedge(['load', name, vlans])).toMatchObject({ status: 0 });
    expect(JSON.parse(kedge(['show', 'candidate']).out)).toEqual({
      'site:name': 'lan',
      'site:vlan': [{ id: 10 }],
    });
    expect(kedge(['edit', '--file', '-'], { input: '[]' })).toMatchObject({ status: 2 });
    expect(kedge(['show', '99'])).toMatchObject({
      status: 3,
      err: expect.stringContaining('INTENT_REVISION_UNKNOWN') as string,
    });
  });
});

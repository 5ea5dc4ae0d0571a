/**
 * `kedge intent devices`, `drift`, `plan`, `remedy` and `check` against the process: what a person sees, and is told by
 * the exit status.
 * Must not leave a process or a file.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Stage } from './stage.js';

const KEDGE = join(import.meta.dirname, '../../cli/bin/kedge.js');
const PORT = "/ietf-interfaces:interfaces/interface[name='port3']";
const ENABLED = `${PORT}/enabled`;
const DESCRIPTION = `${PORT}/description`;

const intended = { [ENABLED]: false, [DESCRIPTION]: 'desk' };
const apart = {
  ...{ driver: 'linux', intended, candidate: { ...intended, [DESCRIPTION]: 'door' } },
  ...{ actual: { [ENABLED]: true }, severities: { [ENABLED]: 'major' } },
};
const right = { driver: 'linux', intended, candidate: intended, actual: intended };

let stage: Stage;
beforeAll(async () => {
  stage = new Stage();
  stage.put(5, { 'access-1': apart, 'access-2': right });
  await stage.serve();
}, 120_000);
afterAll(async () => {
  await stage.remove();
});

function kedge(words: readonly string[], as = 'master') {
  const args = ['intent', ...words, '--socket', stage.sockets, '--as', as];
  const { status, stdout, stderr } = spawnSync(process.execPath, [KEDGE, ...args], { encoding: 'utf8' });
  return { status, out: stdout, err: stderr };
}

describe('kedge intent about devices', { timeout: 240_000 }, () => {
  it('UN-6 shows how devices stand and what differs, and ends with 6 where something does', () => {
    // What was never read is not known to be as intended.
    expect(kedge(['drift'])).toEqual({
      status: 6,
      out: 'no difference\nnot as intended: access-1 is new\nnot as intended: access-2 is new\n',
      err: '',
    });
    expect(kedge(['check', 'access-2'])).toEqual({
      status: 0,
      out:
        'access-2: accorded\ndriver linux, revision 2 was carried out last\n' +
        'read 2026-09-21T14:14:20Z, looked at next 2026-09-21T14:15:20Z\n',
      err: '',
    });
    const differences = [
      'DEVICE    SEVERITY  SINCE                 CAUSE             WHAT IS DONE',
      'access-1  minor     2026-09-21T14:13:20Z  unmanaged-change  waits for remedy',
      `  ${DESCRIPTION}`,
      '  "desk" → nothing',
      'access-1  major     2026-09-21T14:13:20Z  unmanaged-change  remedied by itself',
      `  ${ENABLED}`,
      '  false → true',
      '2 differences on 1 device, 0 tolerated; intended → actual',
      'to remedy what waits: kedge intent remedy access-1',
      '',
    ].join('\n');
    const devices = [
      'DEVICE    STATE     REVISION  DRIFTS  READ                  WHY',
      'access-1  drifted          2       2  2026-09-21T14:14:20Z',
      'access-2  accorded         2       0  2026-09-21T14:14:20Z',
      '2 devices: 1 drifted, 1 accorded',
      '',
    ].join('\n');
    expect(kedge(['check'])).toEqual({ status: 6, out: `${devices}\n${differences}`, err: '' });
    expect(kedge(['devices'])).toEqual({ status: 0, out: devices, err: '' });
    expect(kedge(['drift'])).toEqual({ status: 6, out: differences, err: '' });
    expect(kedge(['drift', 'access-2'])).toEqual({ status: 0, out: 'no difference\n', err: '' });
    const json = kedge(['drift', 'access-1', '--json']);
    expect(json.status).toBe(6);
    expect(JSON.parse(json.out)).toMatchObject({
      asIntended: false,
      devices: [{ device: 'access-1', state: 'drifted' }],
      drifts: [
        { path: DESCRIPTION, intended: 'desk', sinceWallMs: '1790000000000' },
        { path: ENABLED, intended: false, actual: true },
      ],
    });
    for (const words of [
      ['devices', 'access-9'],
      ['drift', 'access-9'],
      ['check', 'access-9'],
    ])
      expect(kedge(words)).toMatchObject({
        status: 3,
        out: '',
        err: expect.stringContaining('[INTENT_DEVICE_UNKNOWN]') as string,
      });
  });

  it('UN-6 tells of a device that was not read, or is refused, and does not count what is tolerated', () => {
    const refusals = [
      { code: 'COMPILER_VLAN', path: '/a:b', message: 'VLAN 20 is none of the site', expected: 'a network' },
    ];
    stage.put(5, {
      'access-1': { ...right, actual: { ...intended, [ENABLED]: true }, severities: { [ENABLED]: 'info' } },
    });
    expect(kedge(['check'])).toMatchObject({
      status: 0,
      out: expect.stringContaining('tolerated (old-cabling)') as string,
    });
    stage.put(5, { 'access-1': { ...right, answers: false }, 'access-2': { ...right, refusals } });
    expect(kedge(['check', '--json']).status).toBe(6);
    expect(kedge(['drift', 'access-2']).out).toContain(
      'not as intended: access-2 is refused: VLAN 20 is none of the site\n',
    );
    expect(kedge(['devices', 'access-2'])).toMatchObject({
      status: 0,
      out: expect.stringContaining(
        'refused: VLAN 20 is none of the site [COMPILER_VLAN]\n  /a:b; expected: a network\n',
      ) as string,
    });
    expect(kedge(['devices']).out).toMatch(/^access-1 {2}unreachable .* it does not answer: DRIVER_READ$/m);
  });

  it('UN-3 UN-7 plans and remedies, and says what was refused to whom', () => {
    stage.put(5, { 'access-1': apart, 'access-2': right });
    const plan = kedge(['plan', 'access-1', '--candidate']);
    expect(plan).toMatchObject({ status: 0, err: '' });
    expect(plan.out.split('\n')).toEqual([
      expect.stringMatching(/^device\/access-1: 2 steps, epoch 7, over abab/),
      expect.stringMatching(/^\. [+~] /),
      expect.stringMatching(/^\. [+~] /),
      "not in force: /ietf-interfaces:interfaces/interface[name='vlan20']: the bridge below it is off",
      '',
    ]);
    expect(JSON.parse(kedge(['plan', 'access-1', '--json']).out)).toMatchObject({
      'kedge-plan:plans': { plan: [{ target: 'device/access-1', step: [{}, {}] }] },
    });
    expect(kedge(['plan', 'access-2'])).toEqual({
      status: 0,
      out: 'nothing to do: access-2 is as the running intent has it\n',
      err: '',
    });
    expect(JSON.parse(kedge(['plan', 'access-2', '--json']).out)).toEqual({ 'kedge-plan:plans': {} });
    expect(kedge(['plan', 'access-1'], 'apprentice')).toMatchObject({
      status: 3,
      err: expect.stringContaining('[INTENT_FORBIDDEN]') as string,
    });
    const denied = kedge(['remedy', 'access-1', '--json'], 'apprentice');
    expect(denied).toMatchObject({ status: 3, out: '' });
    expect(JSON.parse(denied.err)).toMatchObject({ error: { code: 'INTENT_FORBIDDEN' } });
    expect(kedge(['remedy', 'access-1', '--path', 'port3'])).toMatchObject({ status: 2, out: '' });
    const one = kedge(['remedy', 'access-1', '--path', ENABLED]);
    expect(one).toMatchObject({ status: 0, err: '' });
    expect(one.out).toMatch(/^1 difference remedied on access-1\naccess-1: drifted\n/);
    expect(one.out).toMatch(/\n1 difference: kedge intent drift access-1\n$/);
    const rest = kedge(['remedy', 'access-1', '--json']);
    expect(JSON.parse(rest.out)).toMatchObject({ remedied: 2, device: { state: 'accorded' } });
    expect(kedge(['remedy', 'access-2']).out).toMatch(/^nothing was remedied on access-2/);
    stage.put(2, { 'access-1': apart, 'access-2': right });
    for (const words of [
      ['plan', 'access-1'],
      ['remedy', 'access-1'],
    ])
      expect(kedge(words)).toMatchObject({
        status: 3,
        out: '',
        err: expect.stringMatching(
          /rule compilation-frozen.*\[INTENT_FROZEN\]\n {2}wait for level 3/,
        ) as string,
      });
  });
});

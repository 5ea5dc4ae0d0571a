/**
 * The command line given wrongly, without any appliance: code, field, exit status, and nothing on stdout.
 * Must not need a lab.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

import { kedge, kedgeError } from './run-command.js';

const NOWHERE = ['--lab', 'not-there'];

const WRONG: readonly (readonly [args: readonly string[], code: string, status: number, field?: string])[] = [
  [['posture', 'set', '0', '--reason', 'x'], 'CLI_USAGE', 2, 'level'],
  [['posture', 'set', '6', '--reason', 'x'], 'CLI_USAGE', 2, 'level'],
  [['posture', 'set', '5.0', '--reason', 'x'], 'CLI_USAGE', 2, 'level'],
  [['posture', 'set', 'normal', '--reason', 'x'], 'CLI_USAGE', 2, 'level'],
  [['posture', 'set', '--reason', 'x'], 'CLI_USAGE', 2, 'level'],
  [['posture', 'set', '2'], 'CLI_USAGE', 2, '--reason'],
  [['posture', 'set', '2', '--reason', ' '], 'CLI_USAGE', 2, '--reason'],
  [['posture', 'set', '2', '--reason', 'x'.repeat(513)], 'CLI_USAGE', 2, '--reason'],
  [['posture', 'set', '2', '--reason', 'x', '--if-epoch', '-1'], 'CLI_USAGE', 2, '--if-epoch'],
  [['posture', 'set', '2', '--reason', 'x', '--timeout', '0'], 'CLI_USAGE', 2, '--timeout'],
  [['posture', 'set', '2', '--reason', 'x', '--as', 'local/king'], 'CLI_USAGE', 2, '--as'],
  [['posture', 'get', '--bogus'], 'CLI_USAGE', 2, '--bogus'],
  [['posture', 'get', 'extra'], 'CLI_USAGE', 2],
  [['posture', 'history', '--limit', '1001'], 'CLI_USAGE', 2, '--limit'],
  [['posture', 'plan', '9'], 'CLI_USAGE', 2, 'level'],
  [['posture', 'plan', '2', '--window', '0'], 'CLI_USAGE', 2, '--window'],
  [['transition', 'show', 'last'], 'CLI_USAGE', 2, 'epoch'],
  [['drill', '--dwell', '10'], 'CLI_USAGE', 2, '--dwell'],
  [['drill', '--level', '5'], 'CLI_USAGE', 2, '--level'],
  [['drill', '--report', '/not/there/x.html', ...NOWHERE], 'CLI_OUTPUT', 3, '--report'],
  [['top', '--interval', '0.1'], 'CLI_USAGE', 2, '--interval'],
  [['top', '--interval', '61'], 'CLI_USAGE', 2, '--interval'],
  [['top', '--interval', '1s'], 'CLI_USAGE', 2, '--interval'],
  [['top', '--count', '0'], 'CLI_USAGE', 2, '--count'],
  [['top', '--as', 'king'], 'CLI_USAGE', 2, '--as'],
  [['top', ...NOWHERE], 'LAB_NOT_UP', 4],
  [['history', '--since', 'yesterday'], 'CLI_USAGE', 2, '--since'],
  [['history', '--since', '2026-13-40'], 'CLI_USAGE', 2, '--since'],
  [['history', '--level', '6'], 'CLI_USAGE', 2, '--level'],
  [['history', '--source', ' '], 'CLI_USAGE', 2, '--source'],
  [['history', '--limit', '0'], 'CLI_USAGE', 2, '--limit'],
  [['doctor', '--bogus'], 'CLI_USAGE', 2, '--bogus'],
  [['doctor', '--as', 'king'], 'CLI_USAGE', 2, '--as'],
  [['support'], 'CLI_USAGE', 2],
  [['support', 'bundle', 'extra'], 'CLI_USAGE', 2],
  [['support', 'bundle', '--output', '/not/there/x.tar.gz', ...NOWHERE], 'CLI_OUTPUT', 3, '--output'],
  [['doctor', ...NOWHERE], 'LAB_NOT_UP', 4],
  [['history', ...NOWHERE], 'LAB_NOT_UP', 4],
  [['authz', 'explain', '--as', 'local/king', '--level', '4', '--to', '5'], 'CLI_USAGE', 2, 'tier'],
  [['authz', 'explain', '--as', 'console', '--level', '4'], 'CLI_USAGE', 2, 'action'],
  [['authz', 'explain', '--as', 'console', '--level', '4', '--to', '6'], 'CLI_USAGE', 2, '--to'],
  [['authz', 'check', '/nowhere'], 'AUTHZ_SET_UNREADABLE', 3, '/nowhere'],
  [['authz', 'test', 'default'], 'AUTHZ_TESTS', 2],
  [['authz', 'reload', '--reason', 'x', ...NOWHERE], 'LAB_NOT_UP', 4],
  [['bogus'], 'CLI_USAGE', 2],
  [['posture'], 'CLI_USAGE', 2],
  [[], 'CLI_USAGE', 2],
  [['lab', 'up', '--name', 'No Name'], 'LAB_NAME', 2, 'name'],
  [['lab', 'down', '--name', '../x'], 'LAB_NAME', 2, 'name'],
  [['drill', ...NOWHERE], 'LAB_NOT_UP', 4],
  [['drill', '--chaos', ...NOWHERE], 'LAB_NOT_UP', 4],
  [['posture', 'get', ...NOWHERE], 'LAB_NOT_UP', 4],
  [['governance', 'show', ...NOWHERE], 'LAB_NOT_UP', 4],
];

describe('the command given wrongly', () => {
  it.for(WRONG)('%j is answered with %s and ends with %i', async ([args, code, status, field]) => {
    const error = await kedgeError(args);
    expect(error).toMatchObject({ code, status, ...(field === undefined ? {} : { field }) });
    expect(error.message.length).toBeGreaterThan(5);
  });

  it('sockets that nobody serves are not reachable, at every command that asks', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'kedge-sockets-'));
    try {
      for (const args of [
        ['posture', 'get'],
        ['posture', 'history'],
        ['history'],
        ['transition', 'show'],
        ['governance', 'show'],
        ['top'],
        ['posture', 'plan', '2'],
        ['posture', 'set', '2', '--reason', 'x'],
        ['accords', 'reload', '--reason', 'x'],
        ['authz', 'reload', '--reason', 'x'],
        ['intent', 'status'],
        ['intent', 'commit'],
      ]) {
        expect(await kedgeError([...args, '--socket', directory]), args.join(' ')).toMatchObject({
          code: 'BUS_UNREACHABLE',
          status: 4,
        });
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('PO-2 accords are checked without an appliance: every fault by its path, and 6 where they would be refused', async () => {
    const at = (name: string): string =>
      fileURLToPath(new URL(`../../yang/defaults/${name}.json`, import.meta.url));
    const check = ['accords', 'check', '--json'];
    expect(await kedge([...check, at('accords'), at('zones')])).toMatchObject({ status: 0, err: '' });
    const { status, out } = await kedge([...check, at('zones'), at('zones')]);
    expect(status).toBe(6);
    expect(JSON.parse(out)).toMatchObject({
      valid: false,
      faults: expect.arrayContaining([expect.objectContaining({ path: '/kedge-accords:accords' })]),
    });
    expect(await kedgeError(['accords', 'check', '/nowhere', at('zones')])).toMatchObject({
      code: 'ACCORD_UNREADABLE',
      status: 3,
    });
  });

  it('an appliance that does not answer at all is a diagnosis, not an error', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'kedge-sockets-'));
    try {
      const { status, out, err } = await kedge(['doctor', '--json', '--socket', join(directory, 'sock')]);
      expect({ status, err }).toEqual({ status: 6, err: '' });
      const { findings, posture } = JSON.parse(out) as { findings: { id: string }[]; posture?: unknown };
      expect(posture).toBeUndefined();
      expect(findings.map(({ id }) => id)).toEqual(
        expect.arrayContaining(['coordinator-unreachable', 'bridge-unreachable', 'board-unreadable']),
      );
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('without --json a failure is told in plain words, with its code, on stderr alone', async () => {
    expect(await kedge(['posture', 'set', '7', '--reason', 'x'])).toEqual({
      status: 2,
      out: '',
      err: "kedge: value '7' is invalid for argument 'level' [CLI_USAGE]\n  field: level; expected: a posture level, 1 (lockdown) to 5 (normal); kedge --help, and --help after any command, tell what is expected\n",
    });
  });

  it('a lab without root says what it needs and ends with 4', async () => {
    const { status, out, err } = await kedge(['lab', 'up', '--json'], 20_000, 65_534);
    expect({ status, out }).toEqual({ status: 4, out: '' });
    const { error } = JSON.parse(err) as { error: { code: string; message: string } };
    expect(error.code).toBe('LAB_NOT_ROOT');
    for (const need of ['root', 'namespaces', 'CAP_NET_RAW']) expect(error.message).toContain(need);
  });

  it('--help of every command has examples and exit statuses', async () => {
    const commands = [
      'posture get',
      'posture set',
      'posture watch',
      'posture history',
      'posture plan',
      'transition show',
      'governance show',
      'accords reload',
      'accords check',
      'authz check',
      'authz explain',
      'authz test',
      'authz reload',
      ...[
        'status',
        'show',
        'load',
        'edit',
        'validate',
        'compare',
        'commit',
        'confirm',
        'cancel',
        'rollback',
      ].map((name) => `intent ${name}`),
      ...['history', 'discard', 'lock', 'unlock'].map((name) => `intent ${name}`),
      'history',
      'doctor',
      'support bundle',
      'drill',
      'lab up',
      'lab down',
      'lab status',
    ];
    let seen = 0;
    for (const command of commands) {
      const { status, out } = await kedge([...command.split(' '), '--help']);
      expect(status, command).toBe(0);
      expect(out, command).toContain(`  kedge ${command}`);
      expect(out, command).toContain('Exit status:');
      seen += 1;
    }
    expect(seen).toBe(34);
  });

  it('a lab that is not up is a status, not an error', async () => {
    const { status, out, err } = await kedge(['lab', 'status', '--name', 'not-there', '--json']);
    expect({ status, err, said: JSON.parse(out) as unknown }).toEqual({
      status: 4,
      err: '',
      said: { name: 'not-there', state: 'down' },
    });
  });
});

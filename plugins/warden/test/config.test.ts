/**
 * The configuration: what is accepted, what is refused with which sentence, and that no text ends the parser.
 * It must not start the watch.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { millisOf } from '@kedge/units';
import { violationKindOf, WARDEN_BINARY, wardenConfigText, type WardenConfig } from '../src/index.js';
import { BUILD, buildTests } from './stage.js';

const SANITIZED = join(BUILD, 'kedge-warden-sanitized');
const directory = mkdtempSync(join(tmpdir(), 'kedge-warden-config-'));
const file = join(directory, 'warden.conf');

beforeAll(() => buildTests(), 120_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const VALID = `# a comment
board = /run/kedge/board
budget.dataplane = 1ms
budget.overlay = 5s
budget.underlay = 10s
silence-kill = 50ms
beat.stale = 1s
cpu-latency = 0us
dataplanes = dataplane-reference           # segments watched for acknowledgements
owner.posture = 64701
owner.dataplane-reference = 64703
owner.participant-overlay = 64704
participants.overlay = participant-overlay
fail-closed.overlay = /usr/sbin/cut "with blanks" "and \\"quotes\\" \\\\"

[oneshot network]
exec = /usr/bin/node /x.js
environment = PATH=/usr/sbin:/usr/bin:/sbin:/bin NAME="a value"
[service posture-coordinator]
exec = /usr/bin/node /main.js --config /coordinator.json
uid = 64701
gid = 64700
group = 64701
capabilities = CAP_SYS_NICE CAP_IPC_LOCK
netns = kz-branch
segment = posture
beat.stale = 1s
start-grace = 10s
restart.min = 20ms
restart.max = 2s
output = /run/kedge/log/posture-coordinator.log
[watch tables]
segment = dataplane-reference
`;

/** The number of the line that holds `text`, in VALID. */
function lineOf(text: string): number {
  return VALID.slice(0, VALID.indexOf(text)).split('\n').length;
}

function check(text: string | Buffer, binary = SANITIZED): { status: number | null; error: string } {
  writeFileSync(file, text, { mode: 0o644 });
  const { status, stderr } = spawnSync(binary, ['--check-config', file], {
    encoding: 'utf8',
    env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' },
  });
  return { status, error: stderr.replaceAll(file, 'FILE').trimEnd() };
}

function replaced(from: string, to: string): string {
  if (!VALID.includes(from)) throw new Error(`not in the valid text: ${from}`);
  return VALID.replace(from, to);
}

describe('the configuration file', () => {
  it('accepts the documented form', () => {
    expect(check(VALID)).toEqual({ status: 0, error: '' });
  });

  // prettier-ignore
  const wrong: readonly (readonly [string, string, string | undefined, string])[] = [
    // what, text, where (undefined: the whole file), the rest of the line
    ['an unknown key', replaced('silence-kill', 'silence-kil'), 'silence-kill', 'silence-kil: expected a key that is known before the first section, such as "silence-kill"'],
    ['a key of another section', replaced('uid = 64701', 'board = /x'), 'uid = 64701', 'board: expected a key that is known in a [service] section'],
    ['a key of many bytes that are no ASCII', replaced('silence-kill', `silence-kill${'\u00e9'.repeat(300)}`), 'silence-kill', `silence-kill${'?'.repeat(52)}...: expected a key that is known before the first section`],
    ['an unknown section', replaced('[watch tables]', '[wach tables]'), '[watch tables]', 'section: expected [oneshot NAME], [service NAME] or [watch NAME], got "[wach]"'],
    ['a section without a name', replaced('[watch tables]', '[watch]'), '[watch tables]', 'watch: expected a name of at most 31 of a-z, 0-9 and -, got ""'],
    ['a section that is not closed', replaced('[watch tables]', '[watch tables'), '[watch tables]', 'section: expected [oneshot NAME], [service NAME] or [watch NAME], got "[watch tables"'],
    ['a section twice', replaced('[watch tables]', '[watch posture-coordinator]'), '[watch tables]', `watch: expected each name once, "posture-coordinator" was given in line ${lineOf('[service')}`],
    ['a key twice', replaced('budget.overlay = 5s', 'budget.dataplane = 5s'), 'budget.overlay', 'budget.dataplane: expected each key once, this one was given before'],
    ['an owner twice', replaced('owner.participant-overlay', 'owner.posture'), 'owner.participant', 'owner.posture: expected each key once, this one was given before'],
    ['a bad duration', replaced('= 50ms', '= fast'), 'silence-kill', 'silence-kill: expected a duration from 1us to 60min such as 1ms or 5s, got "fast"'],
    ['a duration without unit', replaced('= 50ms', '= 50'), 'silence-kill', 'silence-kill: expected a duration from 1us to 60min such as 1ms or 5s, got "50"'],
    ['a duration of nothing', replaced('= 50ms', '= 0ms'), 'silence-kill', 'silence-kill: expected a duration from 1us to 60min such as 1ms or 5s, got "0ms"'],
    ['a duration too long', replaced('= 50ms', '= 99999999999999999999s'), 'silence-kill', 'silence-kill: expected a duration from 1us to 60min such as 1ms or 5s, got "99999999999999999999s"'],
    ['a latency too long', replaced('= 0us', '= 2s'), 'cpu-latency', 'cpu-latency: expected a duration from 0us to 1s such as 0us or 10us, got "2s"'],
    ['a relative program', replaced('exec = /usr/bin/node /x.js', 'exec = node x.js'), 'exec = /usr/bin/node /x', 'exec: expected the absolute path of a program, got "node"'],
    ['a relative board', replaced('/run/kedge/board', 'board'), 'board =', 'board: expected one absolute path, got "board"'],
    ['an unknown capability', replaced('CAP_IPC_LOCK', 'CAP_EVERYTHING'), 'capabilities', 'capabilities: expected "none" or names such as CAP_NET_RAW, got "CAP_EVERYTHING"'],
    ['a user that is no number', replaced('uid = 64701', 'uid = kedge'), 'uid =', 'uid: expected a number from 0 to 4294967294, got "kedge"'],
    ['a user number too large', replaced('uid = 64701', 'uid = 4294967295'), 'uid =', 'uid: expected a number from 0 to 4294967294, got "4294967295"'],
    ['a network namespace with a slash', replaced('kz-branch', '../x'), 'netns', 'netns: expected the name of a network namespace, got "../x"'],
    ['an unknown segment', replaced('segment = posture', 'segment = post'), 'segment = posture', 'segment: expected posture, tables, participant-NAME or dataplane-NAME, got "post"'],
    ['a data plane by another name', replaced('dataplanes = dataplane-reference', 'dataplanes = reference'), 'dataplanes', 'dataplanes: expected names such as dataplane-reference, got "reference"'],
    ['an owner of nothing known', replaced('owner.participant-overlay', 'owner.overlay'), 'owner.participant', 'owner.overlay: expected owner.SEGMENT, a segment being posture, tables, participant-NAME or dataplane-NAME'],
    ['a variable without value', replaced('NAME="a value"', 'NAME'), 'environment', 'environment: expected NAME=VALUE, got "NAME"'],
    ['an open quote', replaced('node /x.js', 'node "/x.js'), 'exec = /usr/bin/node /x', 'exec: expected a closing double quote'],
    ['no value', replaced('= 50ms', '='), 'silence-kill', 'silence-kill: expected a value'],
    ['no key', replaced('silence-kill =', '='), 'silence-kill', 'line: expected a key before "="'],
    ['no equals sign', replaced('silence-kill = 50ms', 'silence-kill 50ms'), 'silence-kill', 'line: expected "key = value", got "silence-kill 50ms"'],
    ['a control character', replaced('= 50ms', '= 50ms\u0007'), 'silence-kill', 'line: expected text, got the control character 0x07'],
    ['a missing key', replaced('silence-kill = 50ms\n', ''), undefined, 'silence-kill: expected this key before the first section, it is missing'],
    ['a missing program', replaced('exec = /usr/bin/node /x.js\n', ''), '[oneshot', 'exec: expected this key in a [oneshot] section, it is missing'],
    ['a group missing beside a user', replaced('gid = 64700\n', ''), '[service', 'gid: expected this key beside uid, it is missing'],
    ['a back-off that shrinks', replaced('restart.max = 2s', 'restart.max = 1ms'), '[service', 'restart.max: expected no less than restart.min'],
    ['a data plane without owner', replaced('owner.dataplane-reference = 64703\n', ''), undefined, 'owner.dataplane-reference: expected this key, it is missing'],
    ['a path without its command', VALID.replace(/^fail-closed.*\n/m, ''), undefined, 'fail-closed.overlay: expected this key beside the path\'s participants, it is missing'],
  ];

  it('refuses each field wrong once, with file, line, field and what was expected', () => {
    let visited = 0;
    for (const [what, text, where, rest] of wrong) {
      const place = where === undefined ? 'FILE' : `FILE:${lineOf(where)}`;
      expect({ what, ...check(text) }).toEqual({ what, status: 2, error: `kedge-warden: ${place}: ${rest}` });
      visited++;
    }
    expect(visited).toBe(35);
  });

  it('refuses a file that others may write or that is not root’s', () => {
    expect(check(VALID).status).toBe(0);
    for (const spoil of [
      () => chmodSync(file, 0o666),
      () => chmodSync(file, 0o664),
      () => {
        chmodSync(file, 0o644);
        chownSync(file, 64701, 64700);
      },
    ]) {
      spoil();
      const { status, stderr } = spawnSync(WARDEN_BINARY, ['--check-config', file], { encoding: 'utf8' });
      expect(status).toBe(3);
      expect(stderr).toContain('expected a regular file that belongs to root and that only root may write');
    }
    chownSync(file, 0, 0);
    expect(spawnSync(WARDEN_BINARY, ['--check-config', join(directory, 'none')]).status).toBe(4);
    expect(spawnSync(WARDEN_BINARY, ['--check-config', directory]).status).toBe(3);
  });

  it('survives mutations of a valid file, each refused in one line or accepted', () => {
    writeFileSync(file, VALID);
    let accepted = 0;
    let refused = 0;
    for (const seed of [1, 2, 3]) {
      const told = execFileSync(join(BUILD, 'fuzz-config'), [file, '3000', String(seed)], {
        encoding: 'utf8',
      });
      const [good = 0, bad = 0] = told.trim().split(' ').map(Number);
      accepted += good;
      refused += bad;
    }
    expect(accepted + refused).toBe(9000);
    expect(accepted).toBeGreaterThan(100);
    expect(refused).toBeGreaterThan(1000);
  });
});

describe('wardenConfigText', () => {
  const config: WardenConfig = {
    board: '/run/kedge/board',
    budgets: { dataplane: millisOf(1), overlay: millisOf(5000), underlay: millisOf(10_000) },
    silenceKill: millisOf(50),
    beatStale: millisOf(1000),
    cpuLatency: millisOf(0),
    dataplanes: ['dataplane-reference'],
    owners: { posture: 64701, 'dataplane-reference': 64703, 'participant-overlay': 64704 },
    participants: { overlay: ['participant-overlay'] },
    failClosed: { overlay: ['/usr/sbin/cut', 'with blanks', 'and "quotes" \\'] },
    oneshots: [
      { name: 'network', exec: ['/usr/bin/node', '/x.js'], environment: { PATH: '/bin', NAME: 'a value' } },
    ],
    services: [
      {
        name: 'posture-coordinator',
        exec: ['/usr/bin/node', '/my code/main.js'],
        uid: 64701,
        gid: 64700,
        group: 64701,
        capabilities: ['CAP_SYS_NICE', 'CAP_IPC_LOCK'],
        netns: 'kz-branch',
        segment: 'posture',
        beatStale: millisOf(0.5),
        startGrace: millisOf(1500),
        restartMin: millisOf(20),
        restartMax: millisOf(2000),
        output: '/run/kedge/log/posture-coordinator.log',
      },
      { name: 'plain', exec: ['/bin/true'], capabilities: [] },
    ],
    watches: [{ name: 'reference', segment: 'dataplane-reference' }],
  };

  it('writes what the warden accepts', () => {
    const text = wardenConfigText(config);
    expect(check(text)).toEqual({ status: 0, error: '' });
    expect(text).toMatchInlineSnapshot(`
      "board = /run/kedge/board
      budget.dataplane = 1ms
      budget.overlay = 5s
      budget.underlay = 10s
      silence-kill = 50ms
      beat.stale = 1s
      cpu-latency = 0us
      dataplanes = dataplane-reference
      owner.posture = 64701
      owner.dataplane-reference = 64703
      owner.participant-overlay = 64704
      participants.overlay = participant-overlay
      fail-closed.overlay = /usr/sbin/cut "with blanks" "and \\"quotes\\" \\\\"

      [oneshot network]
      exec = /usr/bin/node /x.js
      environment = PATH=/bin "NAME=a value"

      [service posture-coordinator]
      exec = /usr/bin/node "/my code/main.js"
      uid = 64701
      gid = 64700
      group = 64701
      capabilities = CAP_SYS_NICE CAP_IPC_LOCK
      netns = kz-branch
      output = /run/kedge/log/posture-coordinator.log
      segment = posture
      beat.stale = 500us
      start-grace = 1500ms
      restart.min = 20ms
      restart.max = 2s

      [service plain]
      exec = /bin/true
      capabilities = none

      [watch reference]
      segment = dataplane-reference
      "
    `);
  });

  it('refuses what the format cannot carry', () => {
    const refused: readonly Partial<WardenConfig>[] = [
      { board: '/a\nb = c' },
      { silenceKill: millisOf(0) },
      { silenceKill: millisOf(0.0001) },
      { silenceKill: millisOf(Number.NaN) },
      { beatStale: millisOf(4_000_000) },
      { cpuLatency: millisOf(-1) },
      { owners: { posture: -1 } },
      { oneshots: [{ name: 'Bad Name', exec: ['/bin/true'] }] },
      { oneshots: [{ name: 'x', exec: ['/bin/echo', 'a #b'] }] },
    ];
    for (const change of refused) {
      expect(() => wardenConfigText({ ...config, ...change })).toThrow(
        expect.objectContaining({ code: 'WARDEN_CONFIG' }),
      );
    }
  });
});

describe('the command line', () => {
  it('tells its manual and its version, and refuses what it does not know', () => {
    const run = (...args: string[]) => spawnSync(WARDEN_BINARY, args, { encoding: 'utf8' });
    expect(run('--help').stdout).toContain('EXIT STATUS');
    expect(run('--version').stdout).toMatch(/^kedge-warden \d+\.\d+\.\d+ \(layout 2\)\n$/);
    for (const args of [
      [],
      ['--confg'],
      ['--config'],
      ['--check-config', file, '--init'],
      ['--config', file, '--config', file],
    ]) {
      expect(run(...args).status).toBe(2);
    }
  });

  it('PO-13 names every kind of event', () => {
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8].map(violationKindOf)).toEqual([
      undefined,
      'budget',
      'late-loosening',
      'stale-service',
      'dataplane-killed',
      'service-died',
      'alarm',
      'fail-closed-cleared',
      undefined,
    ]);
  });
});

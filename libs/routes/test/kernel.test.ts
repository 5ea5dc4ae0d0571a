/**
 * Routes and rules in real network namespaces: ten thousand routes out and back, other people's hands and routes,
 * tools that fail, the warden's cut, flows that end.
 * Must not leave a namespace, a process or a file.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Applied } from '@kedge/contracts';
import { type Accords, parseAccords, type RouteMode } from '@kedge/posture';
import { inverseOf } from '@kedge/reconcile';
import { type Epoch, type Level, LEVELS } from '@kedge/units';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import {
  applyPlan,
  carryOut,
  CUT_BINARY,
  desiredRoutes,
  endFlows,
  failClosedCommand,
  planOf,
  readRoutes,
  routesAllowed,
  type RouteSpec,
  type ToolOptions,
  worldDifferences,
} from '../src/index.js';

const EPOCH = 9n as Epoch;
const NETNS = `kedge-rt-${String(process.pid)}`;
const FAR = `${NETNS}-far`;
const scratch = mkdtempSync(join(tmpdir(), 'kedge-routes-'));
const here: ToolOptions = { netns: NETNS, timeoutMs: 20_000 };

const run = (file: string, ...args: string[]): string =>
  execFileSync(file, args, { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] });
const ip = (...words: string[]): string => run('ip', '-n', NETNS, ...words.flatMap((one) => one.split(' ')));
const batch = (lines: readonly string[], netns = NETNS): void => {
  execFileSync('ip', ['-n', netns, '-batch', '-'], { input: `${lines.join('\n')}\n` });
};

let accords: Accords;
beforeAll(() => {
  execFileSync('make', ['-s', '-C', join(import.meta.dirname, '..'), 'tests']);
  const file = (name: string): unknown =>
    JSON.parse(readFileSync(join(import.meta.dirname, '../../../yang/defaults', name), 'utf8'));
  ({ accords } = parseAccords(file('accords.json'), file('zones.json')));
});
beforeEach(() => {
  run('ip', 'netns', 'add', NETNS);
  run('ip', 'netns', 'add', FAR);
  run(
    'ip',
    '-n',
    NETNS,
    'link',
    'add',
    'name',
    'mesh0',
    'type',
    'veth',
    'peer',
    'name',
    'far0',
    'netns',
    FAR,
  );
  batch([
    'link set lo up',
    'link set mesh0 addrgenmode none',
    'link set mesh0 up',
    'addr add 10.7.0.1/24 dev mesh0',
    'addr add fd07::1/64 dev mesh0 nodad',
  ]);
  batch(
    [
      'link set lo up',
      'link set far0 addrgenmode none',
      'link set far0 up',
      'addr add 10.7.0.2/24 dev far0',
      'addr add fd07::2/64 dev far0 nodad',
    ],
    FAR,
  );
});
afterEach(() => {
  for (const name of [NETNS, FAR]) run('ip', 'netns', 'delete', name);
});
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

const route = (destination: string, more: Partial<RouteSpec> = {}): RouteSpec => ({
  destination,
  via: destination.includes(':') ? 'fd07::2' : '10.7.0.2',
  dev: 'mesh0',
  mode: 'overlay',
  purpose: 'ordinary',
  tier: 'apprentice',
  ...more,
});

/** Routes of both families, one in ten of them for management. */
const manyRoutes = (count: number): RouteSpec[] =>
  Array.from({ length: count }, (_, index) =>
    route(
      index % 2 === 0
        ? `10.${String(100 + (index >> 9))}.${String((index >> 1) & 255)}.0/24`
        : `fd80:${(index + 1).toString(16)}::/32`,
      { purpose: index % 10 < 2 ? 'management' : 'ordinary' },
    ),
  );

async function bring(
  specs: readonly RouteSpec[],
  level: Level,
  mode: RouteMode = 'overlay',
  options = here,
): Promise<Applied> {
  const desired = desiredRoutes(specs, accords.levels[level], mode);
  const applied = await applyPlan(planOf(await readRoutes(mode, options), desired, EPOCH), options);
  return applied;
}

async function differences(
  specs: readonly RouteSpec[],
  level: Level,
  mode: RouteMode = 'overlay',
): Promise<string[]> {
  return worldDifferences(await readRoutes(mode, here), desiredRoutes(specs, accords.levels[level], mode));
}

/** Everything that the kernel holds, of everybody. */
const everything = (): string =>
  ['-4', '-6']
    .map((family) => ip(`${family} -N -d route show table all`) + ip(`${family} -N -d rule show`))
    .join('');

/** Where a packet to `address` goes: a device, or why not. */
function way(address: string, more = ''): string {
  try {
    return / dev (\S+)/.exec(ip(`route get ${address}${more}`))?.[1] ?? '';
  } catch (error) {
    return (
      /Permission denied|unreachable/.exec(String((error as { stderr?: string }).stderr))?.[0] ?? 'error'
    );
  }
}

const FOREIGN = [
  // The same prefix as one of Kedge's, with another metric; one with a metric like Kedge's; what daemons bring.
  'route add 10.100.0.0/24 dev mesh0 metric 50 proto static',
  'route add 10.100.1.0/24 dev mesh0 proto 186',
  'route add 192.0.2.0/24 dev mesh0 metric 18600 proto 11',
  'route add default via 10.7.0.2 proto dhcp',
  'route add fd80:2::/32 dev mesh0 metric 50 proto bird',
  'route add default via fd07::2 dev mesh0 proto ra',
  'route add 198.51.100.0/24 dev mesh0 table 77 proto 186',
];

describe('routes in the kernel', () => {
  it('OV-13 removes 10,000 routes and restores them byte for byte, beside routes of others', async () => {
    const specs = manyRoutes(10_000);
    batch(FOREIGN);
    const untouched = everything();
    expect(await bring(specs, 5)).toMatchObject({ outcome: 'applied' });
    const before = everything();
    expect(await differences(specs, 5)).toEqual([]);

    const cut = await bring(specs, 1);
    expect([cut.outcome, cut.done.length]).toEqual(['applied', 10_004]);
    expect(await differences(specs, 1)).toEqual([]);
    expect(
      everything()
        .split('\n')
        .filter((line) => !line.includes('107'))
        .join('\n'),
    ).toBe(untouched);

    expect(await bring(specs, 5)).toMatchObject({ outcome: 'applied' });
    // Compared as a whole: a difference of ten thousand lines helps nobody.
    expect(everything() === before).toBe(true);
    expect(await bring(specs, 5)).toEqual({ outcome: 'unchanged', done: [] });
  });

  it('OV-13 repairs what hands changed underneath, and nothing else', async () => {
    const specs = manyRoutes(40);
    batch(FOREIGN);
    await bring(specs, 5);
    const right = everything();
    batch([
      'route del 10.100.2.0/24 proto 107',
      'route del fd80:4::/32 proto 107 metric 18600',
      'route del 10.100.3.0/24 proto 107',
      'route add 10.100.3.0/24 dev mesh0 metric 18600 proto 107',
      'route add 10.222.0.0/16 dev mesh0 proto 107',
      'route add blackhole 10.223.0.0/16 proto 107',
      'route add 10.224.0.0/16 proto 107 nexthop via 10.7.0.2 dev mesh0 nexthop via 10.7.0.9 dev mesh0',
      'route add 10.225.0.0/16 via inet6 fd07::2 dev mesh0 proto 107 mtu 1300',
      'route add 10.226.0.0/16 dev mesh0 tos 0x10 proto 107',
      'route add 10.227.0.0/16 dev mesh0 table 99 proto 107',
      'rule add pref 120 fwmark 7 lookup main protocol 107',
      'rule add pref 149 prohibit protocol 107',
    ]);
    expect(await differences(specs, 5)).toHaveLength(11);
    expect(await bring(specs, 5)).toMatchObject({ outcome: 'applied' });
    expect(everything()).toBe(right);
  });

  it('OV-13 leaves a route of somebody else alone that stands exactly where one of its own should, and says so', async () => {
    batch(['route add 10.100.0.0/24 dev mesh0 metric 18600 proto static']);
    const before = everything();
    const applied = await bring([route('10.100.0.0/24'), route('10.100.1.0/24')], 5);
    expect(applied).toMatchObject({
      outcome: 'failed',
      done: ['route 254 10.100.1.0/24 18600'],
      failure: {
        code: 'ROUTES_STEP',
        step: 'route 254 10.100.0.0/24 18600',
        message:
          'cannot apply `route add 10.100.0.0/24 via 10.7.0.2 dev mesh0 onlink table 254 metric 18600 proto 107` (line 1 of its batch): RTNETLINK answers: File exists',
      },
    });
    await bring([], 5);
    expect(everything()).toBe(before);
  });

  it('OV-13 each mode has routes of its own and never touches the other', async () => {
    const specs = [
      ...manyRoutes(20),
      route('10.9.0.0/16', { mode: 'underlay', purpose: 'monitoring', tier: 'master' }),
    ];
    await bring(specs, 1, 'underlay');
    const underlay = await readRoutes('underlay', here);
    for (const level of LEVELS) {
      await bring(specs, level);
      expect(await readRoutes('underlay', here)).toEqual(underlay);
      expect(await differences(specs, level)).toEqual([]);
    }
    expect(way('10.9.0.1')).toBe('mesh0');
  });

  it('OV-14 restores the set as it was before, less what was deleted and plus what was added and is allowed', async () => {
    const before = manyRoutes(400);
    await bring(before, 5);
    await bring(before, 1);
    const added = [
      route('10.250.0.0/16', { purpose: 'management' }),
      route('10.251.0.0/16', { mode: 'underlay' }),
      route('fd99::/16', { purpose: 'incident-response' }),
    ];
    // While everything is withheld some are deleted and some are added.
    const after = [...before.slice(50), ...added];
    await bring(after, 1);
    const mine = (): string[] =>
      ['-4', '-6'].flatMap((family) =>
        ip(`${family} route show proto 107`)
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => line.split(' ')[0] ?? ''),
      );
    expect(mine()).toEqual([]);
    for (const level of [2, 5, 1, 3] as const) {
      await bring(after, level);
      expect(mine().sort()).toEqual(
        routesAllowed(after, accords.levels[level])
          .filter(({ mode }) => mode === 'overlay')
          .map(({ destination }) => destination)
          .sort(),
      );
    }
  });

  it('OV-13 empties its tables at once where nothing is left, just as line by line', async () => {
    const specs = manyRoutes(60);
    const odd = [
      'route add 10.222.0.0/16 dev mesh0 proto 107',
      'route add blackhole 10.223.0.0/16 proto 107',
      'route add 10.224.0.0/16 proto 107 nexthop via 10.7.0.2 dev mesh0 onlink nexthop via 10.7.0.9 dev mesh0 onlink',
      'route add fd99::/32 proto 107 nexthop via fd07::2 dev mesh0 onlink nexthop via fd07::9 dev mesh0 onlink',
      'route add 10.226.0.0/16 dev mesh0 tos 0x10 proto 107',
      'route add 10.227.0.0/16 dev mesh0 table 99 proto 107',
      'route add default via 10.7.0.2 dev mesh0 onlink metric 7 proto 107',
    ];
    batch(FOREIGN);
    await bring(
      [route('10.9.0.0/16', { mode: 'underlay', purpose: 'monitoring', tier: 'master' })],
      5,
      'underlay',
    );
    const ends = [];
    for (const from of [5, 2] as const)
      for (const atOnce of [true, false]) {
        await bring(specs, from);
        batch(odd);
        const world = await readRoutes('overlay', here);
        const plan = planOf(world, desiredRoutes(specs, accords.levels[1], 'overlay'), EPOCH);
        const { applied, world: after } = await carryOut(
          atOnce ? plan : { ...plan, steps: [...plan.steps] },
          here,
        );
        expect(applied).toEqual({ outcome: 'applied', done: plan.steps.map(({ id }) => id) });
        expect(after).toEqual(await readRoutes('overlay', here));
        ends.push(everything());
      }
    expect(new Set(ends).size).toBe(1);
    expect(ip('route show table all proto 107')).toBe('');
  });

  it('OV-15 at 2 and 1 no route of a daemon opens a way round, and what is allowed, local or exempt goes on', async () => {
    const specs = [
      route('10.100.0.0/24', { purpose: 'management' }),
      route('10.101.0.0/24'),
      route('fd80::/32', { purpose: 'incident-response' }),
    ];
    batch(FOREIGN);
    await bring(specs, 5);
    const open = ['10.100.0.1', '10.101.0.1', '203.0.113.1', '192.0.2.1', 'fd80::1', 'fd55::1', '10.7.0.2'];
    const ways = (): Record<string, string> =>
      Object.fromEntries(open.map((address) => [address, way(address)]));
    expect(new Set(Object.values(ways()))).toEqual(new Set(['mesh0']));
    await bring(specs, 2);
    const closed = {
      '10.100.0.1': 'mesh0',
      '10.101.0.1': 'Permission denied',
      '203.0.113.1': 'Permission denied',
      '192.0.2.1': 'Permission denied',
      'fd80::1': 'mesh0',
      'fd55::1': 'Permission denied',
      '10.7.0.2': 'Permission denied',
    };
    expect(ways()).toEqual(closed);
    // A daemon that learns something now changes nothing.
    batch(['route add 10.101.0.1/32 dev mesh0 proto bird', 'route add fd55::/64 dev mesh0 proto ra']);
    expect(ways()).toEqual(closed);
    expect([way('127.0.0.1'), way('10.7.0.1'), way('::1')]).toEqual(['lo', 'lo', 'lo']);
    // DHCP is exempt at level 2, from the appliance itself only.
    expect(way('203.0.113.1', ' ipproto udp dport 67')).toBe('mesh0');
    expect(way('203.0.113.1', ' ipproto udp dport 67 from 10.7.0.9 iif mesh0')).not.toBe('mesh0');
    expect(await differences(specs, 2)).toEqual([]);
    batch(['rule add pref 10 to 203.0.113.0/24 lookup main']);
    expect(await differences(specs, 2)).toEqual([
      "a rule of somebody else's is asked first: ipv4 pref 10 with a selector lookup 254",
    ]);
    batch(['rule del pref 10']);

    await bring(specs, 1);
    expect(new Set(Object.values(ways()))).toEqual(new Set(['Permission denied']));
    expect(way('203.0.113.1', ' ipproto udp dport 67')).toBe('Permission denied');
    expect(way('127.0.0.1')).toBe('lo');
    await bring(specs, 5);
    expect(new Set(Object.values(ways()))).toEqual(new Set(['mesh0']));
  });
});

describe('tools that fail', () => {
  /** A directory with an `ip` of ours in front of the real one. */
  const fake = (name: string, script: string): ToolOptions => {
    const directory = join(scratch, name);
    execFileSync('mkdir', ['-p', directory]);
    writeFileSync(join(directory, 'ip'), `#!/bin/sh\n${script}\n`);
    chmodSync(join(directory, 'ip'), 0o755);
    return { ...here, toolDirectory: directory };
  };

  it('OV-13 ip that ends half-way leaves a report of exactly what is in the kernel', async () => {
    const specs = manyRoutes(200);
    const half = fake(
      'half',
      'case "$*" in *force*) head -n 70 | exec /usr/sbin/ip "$@";; *) exec /usr/sbin/ip "$@";; esac',
    );
    const applied = await bring(specs, 5, 'overlay', half);
    // Of each family as many.
    expect(applied.done).toHaveLength(140);
    expect(applied).toMatchObject({
      outcome: 'failed',
      failure: { code: 'ROUTES_STEP', message: expect.stringContaining('it is not there when read back') },
    });
    const there = await readRoutes('overlay', here);
    expect(new Set(there.entries.map(({ key }) => key))).toEqual(new Set(applied.done));
    // The same again with a tool that works.
    expect(await bring(specs, 5)).toMatchObject({ outcome: 'applied' });
    expect(await differences(specs, 5)).toEqual([]);
  });

  const isGone = (pid: number): boolean => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  };
  const pidsIn = (file: string): number[] =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
  };

  it('OV-14 an abort kills ip in the middle; what was done until then is found, and its inverse brings all back', async () => {
    const specs = manyRoutes(300);
    await bring(specs, 1);
    const before = everything();
    const pids = join(scratch, 'aborted-pids');
    const hanging = fake(
      'stops',
      `case "$*" in *force*) head -n 70 | /usr/sbin/ip "$@"; echo $$ >> ${pids}; exec sleep 30;; *) exec /usr/sbin/ip "$@";; esac`,
    );
    const plan = planOf(
      await readRoutes('overlay', here),
      desiredRoutes(specs, accords.levels[5], 'overlay'),
      EPOCH,
    );
    const stop = new AbortController();
    const applying = applyPlan(plan, { ...hanging, timeoutMs: 20_000, signal: stop.signal });
    await until(() => existsSync(pids) && pidsIn(pids).length === 2);
    stop.abort();
    expect(await applying).toEqual({ outcome: 'cancelled', done: [] });
    expect(pidsIn(pids).map(isGone)).toEqual([true, true]);
    const left = await readRoutes('overlay', here);
    const texts = new Set(left.entries.map(({ text }) => text));
    const held = plan.steps.filter(({ after }) => typeof after === 'string' && texts.has(after));
    expect(held).toHaveLength(140);
    const undone = await applyPlan(inverseOf(plan, new Set(held.map(({ id }) => id))), here);
    expect(undone.outcome).toBe('applied');
    expect(everything()).toBe(before);
  });

  it('a reading that hangs ends with its signal, and so does what it runs', async () => {
    const pids = join(scratch, 'reading-pids');
    const hanging = fake('reads', `echo $$ >> ${pids}; exec sleep 30`);
    const stop = new AbortController();
    const reading = readRoutes('overlay', { ...hanging, timeoutMs: 20_000, signal: stop.signal });
    await until(() => existsSync(pids) && pidsIn(pids).length === 2);
    const why = new Error('a tighter epoch');
    stop.abort(why);
    await expect(reading).rejects.toBe(why);
    await until(() => pidsIn(pids).every(isGone));
    await expect(readRoutes('overlay', { ...here, signal: stop.signal })).rejects.toBe(why);
  });

  it('PO-10 a tool that has ended is waited for no longer than its signal and its time, whoever still holds its output', async () => {
    const pids = join(scratch, 'held-pids');
    // What it leaves behind holds the pipes open: between its end and that of its output is all the time of the world.
    const held = fake('holds', `sleep 60 & echo "$$ $!" >> ${pids}; exit 0`);
    const lines = (): string[] => readFileSync(pids, 'utf8').trim().split('\n');
    const tools = (): number[] => lines().map((line) => Number(line.split(' ')[0]));
    try {
      const stop = new AbortController();
      const reading = readRoutes('overlay', { ...held, timeoutMs: 60_000, signal: stop.signal });
      await until(() => existsSync(pids) && lines().length === 2 && tools().every(isGone));
      const why = new Error('a tighter epoch');
      stop.abort(why);
      await expect(reading).rejects.toBe(why);
      await expect(readRoutes('overlay', { ...held, timeoutMs: 300 })).rejects.toThrow(
        expect.objectContaining({ code: 'ROUTES_TIMEOUT' }),
      );
    } finally {
      for (const line of lines()) process.kill(Number(line.split(' ')[1]), 'SIGKILL');
    }
  });

  it('garbage, silence, absence and a namespace that is gone each have an error of their own', async () => {
    const cases: [ToolOptions, string][] = [
      [fake('garbage', 'echo "[{\\"dst\\": 7}]"'), 'ROUTES_OUTPUT'],
      [fake('broken', 'echo "Segmentation fault" >&2; exit 139'), 'ROUTES_READ'],
      [{ ...fake('hangs', 'exec sleep 30'), timeoutMs: 200 }, 'ROUTES_TIMEOUT'],
      [{ ...here, netns: `${NETNS}-gone` }, 'ROUTES_NAMESPACE'],
      [{ ...here, netns: '../../proc/1/ns/net' }, 'ROUTES_NAMESPACE'],
    ];
    const desired = desiredRoutes(manyRoutes(4), accords.levels[5], 'overlay');
    const plan = planOf({ mode: 'overlay', entries: [], strangers: [] }, desired, EPOCH);
    for (const [options, code] of cases) {
      await expect(readRoutes('overlay', options)).rejects.toThrow(expect.objectContaining({ code }));
      // An applier does not throw; it reports.
      expect(await applyPlan(plan, options)).toMatchObject({
        outcome: 'failed',
        done: [],
        failure: { code },
      });
    }
  });

  it('a device that is gone fails its routes by line, and the others are there', async () => {
    const specs = [route('10.100.0.0/24', { dev: 'gone0' }), ...manyRoutes(20).slice(1)];
    const applied = await bring(specs, 5);
    expect(applied).toMatchObject({
      outcome: 'failed',
      failure: { code: 'ROUTES_STEP', message: expect.stringContaining('Cannot find device "gone0"') },
    });
    expect(applied.done).toHaveLength(19);
    ip('link set mesh0 down');
    expect((await bring(specs, 5)).failure?.message).toMatch(/Cannot find device|not up|Network is down/);
    ip('link set mesh0 up');
    expect((await bring(specs, 5)).done.length).toBeGreaterThan(0);
    expect(await differences(specs, 5)).toEqual([
      'missing: 10.100.0.0/24 via 10.7.0.2 dev gone0 onlink table 254 metric 18600 proto 107',
    ]);
  });
});

describe('the cut of the warden', () => {
  it.each(['kedge-cut', 'kedge-cut-sanitized'])(
    'OV-13 %s withdraws 10,000 routes with no service, again and again the same, and leaves others alone',
    async (name) => {
      const specs = [
        ...manyRoutes(10_000),
        route('10.9.0.0/16', { mode: 'underlay', purpose: 'monitoring', tier: 'master' }),
      ];
      batch(FOREIGN);
      const untouched = everything();
      await bring(specs, 5);
      await bring(specs, 1, 'underlay');
      const command = failClosedCommand('overlay', `/run/netns/${NETNS}`).split(' ');
      expect(command[0]).toBe(CUT_BINARY);
      const cut = (): string => run(join(CUT_BINARY, '..', name), ...command.slice(1));
      cut();
      const after = everything();
      expect(ip('route show table all proto 107')).toBe('');
      expect(
        after
          .split('\n')
          .filter((line) => !/ proto(col)? 10[78]|table 10700| prohibit/.test(line))
          .join('\n'),
      ).toBe(untouched);
      // Monitoring of the underlay, which stands in the guard table, goes on; nothing else does.
      expect([way('10.9.0.1'), way('10.100.0.1'), way('203.0.113.1'), way('127.0.0.1')]).toEqual([
        'mesh0',
        'Permission denied',
        'Permission denied',
        'lo',
      ]);
      cut();
      expect(everything()).toBe(after);
      // The rules are the ones that the planner knows: at level 1 nothing is left to do, from there all comes back.
      expect(await differences(specs, 1)).toEqual([]);
      expect(await bring(specs, 5)).toMatchObject({ outcome: 'applied' });
      expect(await differences(specs, 5)).toEqual([]);
    },
  );

  it('is refused when it is called wrongly, and fails where it cannot enter', () => {
    const status = (...args: string[]): number => {
      try {
        run(CUT_BINARY, ...args);
        return 0;
      } catch (error) {
        return (error as { status: number }).status;
      }
    };
    expect([status(), status('mesh'), status('overlay', 'relative'), status('overlay', '/a', '/b')]).toEqual([
      2, 2, 2, 2,
    ]);
    expect(status('overlay', '/run/netns/kedge-nowhere')).toBe(1);
  });
});

describe('established flows', () => {
  let peers: ChildProcess[] = [];
  afterEach(async () => {
    await Promise.all(
      peers.map(
        (peer) =>
          new Promise((resolve) => {
            if (peer.exitCode !== null || peer.signalCode !== null) resolve(undefined);
            peer.once('exit', resolve);
            peer.kill('SIGKILL');
          }),
      ),
    );
    peers = [];
  });

  /** Starts a script in a namespace and waits for its first line. */
  const inside = (netns: string, script: string): Promise<ChildProcess> =>
    new Promise((resolve, reject) => {
      const child = spawn('ip', ['netns', 'exec', netns, process.execPath, '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      peers.push(child);
      child.once('exit', () => {
        reject(new Error('the peer ended'));
      });
      child.stdout?.once('data', () => {
        resolve(child);
      });
    });

  const sockets = (): string[] =>
    run('ip', 'netns', 'exec', NETNS, 'ss', '-H', '-n', '-t', '-u', '-O', 'state', 'connected')
      .split('\n')
      .flatMap((line) => /(\S+):7000\s*$/.exec(line)?.[1] ?? [])
      .sort();
  const tracked = (): string[] =>
    run('ip', 'netns', 'exec', NETNS, 'conntrack', '-L')
      .split('\n')
      .flatMap((line) => /dst=(\S+) sport=\d+ dport=7000/.exec(line)?.[1] ?? [])
      .sort();

  it('OV-15 those towards what is prohibited end, those towards what is allowed and local ones live', async () => {
    const far = ['10.100.0.1', '10.101.0.1', 'fd80::1', 'fd81::1'];
    batch(
      far.map((address) => `addr add ${address}/${address.includes(':') ? '128 nodad' : '32'} dev lo`),
      FAR,
    );
    const specs = [
      route('10.100.0.0/24', { purpose: 'management' }),
      route('10.101.0.0/24'),
      route('fd80::/32', { purpose: 'management' }),
      route('fd81::/32'),
    ];
    await bring(specs, 5);
    // Connection tracking begins with a rule that asks for it.
    run(
      'ip',
      'netns',
      'exec',
      NETNS,
      'nft',
      'add table inet t; add chain inet t c { type filter hook output priority 0; }; add rule inet t c ct state new accept',
    );
    const listen =
      "const s=require('net').createServer((c)=>c.on('error',()=>{})).listen(7000,'::',()=>console.log('up'));";
    await inside(FAR, listen);
    await inside(NETNS, listen);
    const all = [...far, '127.0.0.1'];
    await inside(
      NETNS,
      `let n=0; for (const h of ${JSON.stringify(all)}) { const c=require('net').connect(7000,h,()=>{ if(++n===${String(all.length)}) console.log('up'); }); c.on('error',()=>{}); }
       const u=require('dgram').createSocket('udp4'); u.on('error',()=>{}); u.connect(7000,'10.101.0.1'); setInterval(()=>{},1e6);`,
    );
    expect(sockets()).toEqual(
      expect.arrayContaining(['10.100.0.1', '10.101.0.1', '127.0.0.1', '[fd80::1]', '[fd81::1]']),
    );
    expect(tracked()).toEqual(expect.arrayContaining(all));

    const at = (level: Level) => desiredRoutes(specs, accords.levels[level], 'overlay');
    expect(await endFlows(at(5), here)).toMatchObject({ sockets: { ended: 0 }, tracked: { ended: 0 } });
    await bring(specs, 2);
    const ended = await endFlows(at(2), here);
    expect(ended).toMatchObject({
      sockets: { supported: true, left: 0 },
      tracked: { supported: true, left: 0 },
      remarks: [],
    });
    expect(ended.sockets.ended).toBeGreaterThanOrEqual(2);
    expect(ended.tracked.ended).toBeGreaterThanOrEqual(2);
    expect(sockets()).toEqual(['10.100.0.1', '127.0.0.1', '[fd80::1]']);
    expect(tracked()).toEqual(['10.100.0.1', '127.0.0.1', 'fd80::1']);

    await bring(specs, 1);
    await endFlows(at(1), here);
    expect(sockets()).toEqual(['127.0.0.1']);
    expect(tracked()).toEqual(['127.0.0.1']);
  });

  it('OV-15 what a system cannot end is said', async () => {
    batch(['addr add 10.101.0.1/32 dev lo'], FAR);
    await bring([route('10.101.0.0/24')], 5);
    await inside(FAR, "require('net').createServer().listen(7000,'::',()=>console.log('up'));");
    await inside(
      NETNS,
      "require('net').connect(7000,'10.101.0.1',()=>console.log('up')).on('error',()=>{});",
    );
    await bring([], 1);
    const directory = join(scratch, 'poor');
    execFileSync('mkdir', ['-p', directory]);
    // Ends nothing and tracks nothing, as a kernel without the two would.
    writeFileSync(
      join(directory, 'ss'),
      '#!/bin/sh\ncase "$*" in *-K*) exit 0;; *) exec /usr/bin/ss "$@";; esac\n',
    );
    writeFileSync(join(directory, 'conntrack'), '#!/bin/sh\nexit 1\n');
    for (const tool of ['ss', 'conntrack']) chmodSync(join(directory, tool), 0o755);
    const ended = await endFlows(desiredRoutes([], accords.levels[1], 'overlay'), {
      ...here,
      toolDirectory: directory,
    });
    expect(ended).toEqual({
      sockets: { supported: false, ended: 0, left: 1 },
      tracked: { supported: false, ended: 0, left: 0 },
      remarks: [
        'sockets towards what is prohibited cannot be ended here: ss -K ends none',
        'connection tracking cannot be cleared here: conntrack is not installed or not in the kernel',
      ],
    });
  });
});

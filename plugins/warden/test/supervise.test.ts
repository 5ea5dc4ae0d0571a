/**
 * Services and heartbeats, and the private tree of --init of which nothing may be left.
 * It must not judge deadlines of paths.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { millisOf } from '@kedge/units';
import { wardenConfigText, WARDEN_BINARY, type WardenConfig } from '../src/index.js';
import { ACTOR, baseConfig, buildTests, KIND, Stage, until, type Line } from './stage.js';

let stage: Stage;
beforeAll(() => buildTests(), 120_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

/** The lines of a unit's output; none while it has said nothing, though its file is there already. */
function lines(name: string): string[] {
  const file = join(stage.board, name);
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
}

function status(pid: number | string, field: string): string {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return new RegExp(`^${field}:[ \\t]*(.*)$`, 'm').exec(text)?.[1] ?? '';
}

function shell(script: string): [string, ...string[]] {
  return ['/bin/sh', '-c', script];
}

/** What everybody together asks of the kernel, microseconds. */
function cpuLatency(): number {
  return readFileSync('/dev/cpu_dma_latency').readInt32LE();
}

describe('processors', () => {
  it('are kept out of idle states that take too long to leave, until the warden is gone by whatever', async () => {
    const before = cpuLatency();
    expect(before).toBeGreaterThan(7);
    const warden = await stage.warden({ cpuLatency: millisOf(0.007) });
    expect(cpuLatency()).toBe(7);
    warden.kill('SIGKILL');
    await warden.end();
    expect(cpuLatency()).toBe(before);
    await stage.warden();
    expect(cpuLatency()).toBe(before);
  });

  it('are left alone where the kernel does not take the request, and it is said', async () => {
    const file = stage.write(
      'warden.conf',
      wardenConfigText(baseConfig(stage.board, { cpuLatency: millisOf(0) })),
    );
    const script = 'mount --bind /dev/full /dev/cpu_dma_latency && exec "$0" --config "$1"';
    const warden = stage.run('unshare', ['-m', 'sh', '-c', script, WARDEN_BINARY, file]);
    await warden.line();
    expect(warden.log).toContain('cpu-latency is not kept: /dev/cpu_dma_latency: No space left on device');
  });
});

describe('services', () => {
  it('PO-19 a service that dies is started again, with a back-off that doubles up to its limit', async () => {
    await stage.warden({
      services: [
        {
          name: 'mortal',
          exec: shell('cat /proc/uptime; exit 7'),
          restartMin: millisOf(100),
          restartMax: millisOf(400),
          output: join(stage.board, 'out'),
        },
      ],
    });
    await until('five lives', () => lines('out').length >= 5);
    const births = lines('out').map((line) => Number(line.split(' ')[0]) * 1000);
    const gaps = births.slice(1).map((at, i) => at - (births[i] ?? 0));
    [100, 200, 400, 400].forEach((least, i) => expect(gaps[i]).toBeGreaterThanOrEqual(least - 10));
    const died = await stage.violations(KIND.SERVICE_DIED, 4);
    expect(died[0]).toMatchObject({ subject: 'mortal', outcome: 7, path: 0xffff_ffff });
  });

  it('PO-12 PO-19 a service whose heartbeat is stale is killed and started again, not before its grace is over', async () => {
    const began = Date.now();
    await stage.warden({
      owners: { posture: 0, 'participant-o': 0 },
      dataplanes: [],
      services: [
        {
          name: 'sleepy',
          exec: [ACTOR, 'participant', stage.board, 'o', '1', '1500'],
          segment: 'participant-o',
          beatStale: millisOf(1_000),
          startGrace: millisOf(1_500),
          output: join(stage.board, 'out'),
        },
      ],
    });
    const [stale] = await stage.violations(KIND.STALE_SERVICE);
    expect(stale).toMatchObject({ subject: 'sleepy', outcome: 0 });
    expect(stale?.actedAtNs).toBeGreaterThanOrEqual(stale?.deadlineNs ?? 0n);
    expect(Date.now() - began).toBeGreaterThanOrEqual(1_500);
    await until('the second life', () => lines('out').length >= 2);
    const [first, second] = lines('out').map(Number);
    expect(second).not.toBe(first);
    await stage.violations(KIND.STALE_SERVICE, 2);
    // Its end was the warden's doing: not told twice.
    expect(stage.show().violations.filter((v) => v.kind === KIND.SERVICE_DIED)).toEqual([]);
  });

  it('PO-12 a stopped service is stale, a service that never made its segment too', async () => {
    await stage.warden({
      owners: { posture: 0, 'participant-o': 0, 'participant-u': 0 },
      dataplanes: [],
      services: [
        {
          name: 'never',
          exec: ['/bin/sleep', '1000'],
          segment: 'participant-u',
          beatStale: millisOf(200),
          startGrace: millisOf(300),
        },
        {
          name: 'stopped',
          exec: [ACTOR, 'participant', stage.board, 'o', '1'],
          segment: 'participant-o',
          beatStale: millisOf(1_000),
          startGrace: millisOf(1_500),
          output: join(stage.board, 'out'),
        },
      ],
    });
    await until('its pid', () => lines('out').length >= 1);
    process.kill(Number(lines('out')[0]), 'SIGSTOP');
    await until('the verdict on the stopped one', () =>
      stage.show().violations.find((v) => v.kind === KIND.STALE_SERVICE && v.subject === 'stopped'),
    );
    const never = (await stage.violations(KIND.STALE_SERVICE, 2)).filter((v) => v.subject === 'never');
    expect(never.length).toBeGreaterThanOrEqual(1);
  });

  it('PO-12 a stopped warden does not take the silence of its own absence for others’', async () => {
    const warden = await stage.warden({
      owners: { posture: 0, 'participant-o': 0 },
      dataplanes: [],
      services: [
        {
          name: 'both',
          exec: [ACTOR, 'participant', stage.board, 'o', '1'],
          segment: 'participant-o',
          beatStale: millisOf(2_000),
          startGrace: millisOf(2_000),
          output: join(stage.board, 'out'),
        },
      ],
    });
    await until('its pid', () => lines('out').length >= 1);
    const pid = Number(lines('out')[0]);
    process.kill(pid, 'SIGSTOP');
    await warden.stop();
    // Both longer than its limit and its grace.
    await sleep(2_500);
    const { beats } = stage.show();
    process.kill(pid, 'SIGCONT');
    warden.kill('SIGCONT');
    // It looks again, several times, and finds nobody silent.
    await until('its looks', () => stage.show().beats >= beats + 5n);
    expect(stage.show().violations).toEqual([]);
  });

  it('PO-12 a watched service is killed by the pid of its segment and left to whoever starts it', async () => {
    await stage.warden({
      dataplanes: [],
      watches: [
        {
          name: 'foreign',
          segment: 'participant-o',
          beatStale: millisOf(1_000),
          startGrace: millisOf(1_000),
        },
      ],
    });
    const foreign = await stage.actor('participant', 'o', 1);
    await sleep(1_500);
    expect(foreign.status).toBeUndefined();
    await foreign.tell('beat', 0);
    expect(await foreign.end()).toBe('SIGKILL');
    expect((await stage.violations(KIND.STALE_SERVICE))[0]).toMatchObject({ subject: 'foreign', outcome: 0 });
  });

  it('SIGTERM stops the services in reverse order, the stubborn ones by SIGKILL, and ends with 0', async () => {
    const say = (name: string): string =>
      `trap 'echo ${name} >> ${stage.board}/order; exit 0' TERM; echo up; while :; do sleep 0.05; done`;
    const unit = (name: string, script: string) => ({
      name,
      exec: shell(script),
      output: join(stage.board, name),
    });
    const warden = await stage.warden({
      services: [
        unit('one', say('one')),
        unit('two', say('two')),
        unit('deaf', 'trap "" TERM; echo up; while :; do sleep 0.05; done'),
      ],
    });
    await until('all up', () => ['one', 'two', 'deaf'].every((name) => lines(name).includes('up')));
    const began = Date.now();
    warden.kill('SIGTERM');
    expect(await warden.end()).toBe(0);
    expect(lines('order')).toEqual(['two', 'one']);
    expect(Date.now() - began).toBeGreaterThanOrEqual(1_990);
    expect(stage.show()).toMatchObject({ serving: 0, violations: [] });
  });

  it('runs oneshots in order; one that fails ends the start, with its output and status', async () => {
    const file = (config: Partial<WardenConfig>): string =>
      stage.write('warden.conf', wardenConfigText(baseConfig(stage.board, config)));
    const warden = stage.run(WARDEN_BINARY, [
      '--config',
      file({
        oneshots: [
          { name: 'first', exec: shell(`echo 1 >> ${stage.board}/order`) },
          { name: 'second', exec: shell(`echo 2 >> ${stage.board}/order; echo it was me; exit 9`) },
          { name: 'third', exec: shell(`echo 3 >> ${stage.board}/order`) },
        ],
        services: [{ name: 'never', exec: shell(`echo 4 >> ${stage.board}/order`) }],
      }),
    ]);
    expect(await warden.end()).toBe(1);
    expect(warden.log).toContain('oneshot second ended with status 9; its last output:\nit was me\n');
    expect(lines('order')).toEqual(['1', '2']);
    expect(warden.lines).toEqual([]);
    const missing = stage.run(WARDEN_BINARY, [
      '--config',
      file({ services: [{ name: 'none', exec: ['/nonexistent'] }] }),
    ]);
    expect(await missing.end()).toBe(1);
    expect(missing.log).toContain('cannot start service none: /nonexistent: exec: No such file or directory');
  });
});

it('PO-12 a oneshot that fails ends the start though nobody reads what the warden says', async () => {
  const fifo = join(stage.board, 'full');
  const config = stage.write(
    'warden.conf',
    wardenConfigText(
      baseConfig(stage.board, { oneshots: [{ name: 'fails', exec: shell('echo no; exit 9') }] }),
    ),
  );
  // Standard error is a pipe that is full, and that is never read.
  const full = `mkfifo ${fifo}; exec 3<>${fifo}; dd if=/dev/zero of=${fifo} bs=4096 oflag=nonblock 2>/dev/null`;
  const warden = stage.run('/bin/sh', [
    '-c',
    `${full}; exec "$0" --config ${config} 2>&3 3>&-`,
    WARDEN_BINARY,
  ]);
  expect(await warden.end()).toBe(1);
});

/* Needs root, and a kernel with namespaces: what the lab needs anyway. */
describe('--init', () => {
  interface Tree {
    readonly outer: Line;
    readonly first: number;
  }

  async function tree(config: Partial<WardenConfig> = {}): Promise<Tree> {
    const text = wardenConfigText(baseConfig('/run/kedge/board', config));
    const outer = stage.run(WARDEN_BINARY, ['--config', stage.write('warden.conf', text), '--init']);
    const ready = JSON.parse(await outer.line()) as { ready: boolean; pid: number; startTime: number };
    expect(ready).toMatchObject({ ready: true });
    const stat = readFileSync(`/proc/${ready.pid}/stat`, 'utf8');
    expect(Number(stat.slice(stat.lastIndexOf(')')).split(' ')[20])).toBe(ready.startTime);
    return { outer, first: ready.pid };
  }

  /** Everything that lives in the process namespace of the tree. */
  function members(namespace: string): string[] {
    return readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/ns/pid`) === namespace;
      } catch {
        return false;
      }
    });
  }

  function inside(first: number, ...command: string[]): string {
    return execFileSync('nsenter', ['-t', String(first), '-p', '-m', '-n', '-u', '-i', '-r', ...command], {
      encoding: 'utf8',
    });
  }

  const BUSY: Partial<WardenConfig> = {
    services: [
      { name: 'plain', exec: ['/bin/sleep', '1000'] },
      { name: 'forks', exec: shell('setsid sleep 1000 & sleep 1000 & wait') },
      { name: 'other', exec: ['/bin/sleep', '1000'], uid: 64701, gid: 64700 },
    ],
  };

  for (const [what, victim] of [
    ['the starter', (t: Tree) => t.outer.pid],
    ['process 1 of the tree', (t: Tree) => t.first],
  ] as const) {
    it(`nothing is left after SIGKILL of ${what}`, async () => {
      const t = await tree(BUSY);
      const namespace = readlinkSync(`/proc/${t.first}/ns/pid`);
      await until('all members', () => members(namespace).length >= 6);
      process.kill(victim(t), 'SIGKILL');
      await t.outer.end();
      if (t.outer.status !== 'SIGKILL') expect(t.outer.status).toBe(128 + 9);
      await until('the end of the tree', () => members(namespace).length === 0);
    });
  }

  it('nothing is left after SIGINT, and the status is 0', async () => {
    const t = await tree(BUSY);
    const namespace = readlinkSync(`/proc/${t.first}/ns/pid`);
    t.outer.kill('SIGINT');
    expect(await t.outer.end()).toBe(0);
    await until('the end of the tree', () => members(namespace).length === 0);
  });

  it('gives the tree its own /run, /proc, loopback and board', async () => {
    const { first } = await tree();
    for (const namespace of ['pid', 'mnt', 'net', 'uts', 'ipc']) {
      expect(readlinkSync(`/proc/${first}/ns/${namespace}`)).not.toBe(
        readlinkSync(`/proc/self/ns/${namespace}`),
      );
    }
    const board = statSync(`/proc/${first}/root/run/kedge/board`);
    expect([board.uid, board.gid, (board.mode & 0o7777).toString(8)]).toEqual([0, 64700, '1775']);
    expect(existsSync('/run/kedge/board/warden')).toBe(false);
    expect(inside(first, 'ip', '-o', 'link', 'show', 'lo')).toContain('LOOPBACK,UP');
    expect(inside(first, 'sh', '-c', 'tr "\\0" " " < /proc/1/cmdline')).toContain('kedge-warden');
  });

  it('reaps what is left behind inside the tree', async () => {
    const { first } = await tree({
      services: [
        {
          name: 'orphans',
          exec: shell('for i in 1 2 3 4 5; do (setsid sleep 0.2 &) ; done; exec sleep 1000'),
        },
      ],
    });
    const namespace = readlinkSync(`/proc/${first}/ns/pid`);
    await until('the orphans', () => members(namespace).length >= 5);
    await until('their end', () => members(namespace).length === 2);
  });

  it('PO-16 services get their user, ambient capabilities, namespace, environment and output, and nothing else', async () => {
    const { first } = await tree({
      oneshots: [
        {
          name: 'network',
          exec: shell(
            'ip netns add kw-test && ip netns exec kw-test ip link add kw0 type veth peer name kw1',
          ),
        },
      ],
      services: [
        {
          name: 'poor',
          exec: shell(
            'env; ls /proc/self/fd | tr "\\n" " "; echo; cat /sys/class/net/*/ifindex >/dev/null; ip -o link; exec sleep 1000',
          ),
          environment: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', GREETING: 'good day' },
          uid: 64701,
          gid: 64700,
          group: 64711,
          capabilities: ['CAP_NET_RAW', 'CAP_SYS_NICE'],
          netns: 'kw-test',
          output: '/run/kedge/log/poor.log',
        },
        { name: 'none', exec: ['/bin/sleep', '1001'], uid: 64702, gid: 64700 },
      ],
    });
    const namespace = readlinkSync(`/proc/${first}/ns/pid`);
    const argument = (pid: string): string | undefined => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1];
      } catch {
        return undefined; // ended meanwhile
      }
    };
    const find = (wanted: string) =>
      until(`the process with ${wanted}`, () => members(namespace).find((pid) => argument(pid) === wanted));
    const poor = await find('1000');
    const capabilities = '0000000000802000';
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect([set, status(poor, set)]).toEqual([set, capabilities]);
    expect(status(poor, 'Uid')).toBe('64701\t64701\t64701\t64701');
    expect(status(poor, 'Gid')).toBe('64700\t64700\t64700\t64700');
    expect(status(poor, 'Groups').trim()).toBe('64711');
    expect(status(poor, 'NoNewPrivs')).toBe('1');
    expect(status(poor, 'SigBlk')).toBe('0000000000000000');
    const none = await find('1001');
    for (const set of ['CapPrm', 'CapEff', 'CapAmb'])
      expect([set, status(none, set)]).toEqual([set, '0000000000000000']);
    expect(readlinkSync(`/proc/${poor}/ns/net`)).not.toBe(readlinkSync(`/proc/${first}/ns/net`));
    const log = `/proc/${first}/root/run/kedge/log/poor.log`;
    const output = readFileSync(log, 'utf8');
    expect(output).toContain('GREETING=good day\n');
    expect(output).not.toContain('HOME=');
    expect(output).toContain('\n0 1 2 3 \n'); // 3 is the directory that ls reads
    expect(output).toContain('kw0');
    expect(statSync(log).uid).toBe(64701);
  });

  it('PO-19 a service that is killed inside the tree is started again', async () => {
    const { first } = await tree({ services: [{ name: 'plain', exec: ['/bin/sleep', '1000'] }] });
    const namespace = readlinkSync(`/proc/${first}/ns/pid`);
    const service = () => members(namespace).find((pid) => Number(pid) !== first);
    const before = await until('the service', service);
    process.kill(Number(before), 'SIGKILL');
    const after = await until('its next life', () => {
      const now = service();
      return now !== undefined && now !== before && now;
    });
    expect(after).not.toBe(before);
  });

  it('a oneshot that fails ends the tree with its output and status', async () => {
    const text = wardenConfigText(
      baseConfig('/run/kedge/board', {
        oneshots: [{ name: 'network', exec: shell('echo no such device; exit 3') }],
      }),
    );
    const outer = stage.run(WARDEN_BINARY, ['--config', stage.write('warden.conf', text), '--init']);
    expect(await outer.end()).toBe(1);
    expect(outer.log).toContain('oneshot network ended with status 3; its last output:\nno such device\n');
  });

  it('says what is needed where namespaces are not to be had', async () => {
    const text = wardenConfigText(baseConfig('/run/kedge/board'));
    const outer = stage.run('setpriv', [
      '--bounding-set=-sys_admin',
      WARDEN_BINARY,
      '--config',
      stage.write('warden.conf', text),
      '--init',
    ]);
    expect(await outer.end()).toBe(4);
    expect(outer.log).toContain('--init needs root with CAP_SYS_ADMIN');
  });

  it('dies with its parent when asked to', async () => {
    const text = wardenConfigText(baseConfig('/run/kedge/board', BUSY));
    const file = stage.write('warden.conf', text);
    const parent = stage.run('/bin/sh', [
      '-c',
      `"$0" --config ${file} --init --with-parent; exit 0`,
      WARDEN_BINARY,
    ]);
    const { pid } = JSON.parse(await parent.line()) as { pid: number };
    const namespace = readlinkSync(`/proc/${pid}/ns/pid`);
    parent.kill('SIGKILL');
    await until('the end of the tree', () => members(namespace).length === 0);
  });
});

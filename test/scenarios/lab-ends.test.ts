/**
 * How labs end: asked to, by SIGKILL of whoever started them, by a start that fails. Nothing may be left.
 * Must not look at anything but this machine's processes, namespaces and files.
 */
import { BOARD, labDown, labStatus, labUp, PROGRAMS, processesWith } from '@kedge/lab';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

import { kedge, kedgeJson } from './run-command.js';

const NAME = 'ending';
const COMMAND = fileURLToPath(new URL('../../apps/cli/bin/kedge.js', import.meta.url));

/** Everything of a lab that this machine can see: processes of its pid namespace, and its network namespaces. */
function traces(pid: number): { pidNamespace: string; pids: readonly number[]; nets: ReadonlySet<string> } {
  const pids = processesWith(pid).map((seen) => seen.pid);
  return {
    pidNamespace: readlinkSync(`/proc/${pid}/ns/pid`),
    pids,
    nets: new Set(pids.map((seen) => readlinkSync(`/proc/${seen}/ns/net`))),
  };
}

function namespacesInUse(kind: 'pid' | 'net' | 'mnt'): ReadonlySet<string> {
  return new Set(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          return [readlinkSync(`/proc/${name}/ns/${kind}`)];
        } catch {
          return [];
        }
      }),
  );
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = performance.now() + 8_000; !(await holds());) {
    if (performance.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface Foreground {
  readonly child: ChildProcessByStdio<null, Readable, null>;
  /** Everything that it has printed. */
  readonly out: () => string;
}

/**
 * A lab in the foreground, once `said` stands in what its command prints. How long that may take is the command's own
 * business: it gives up by itself when the lab does not become ready, and then this rejects.
 */
async function foreground(said: string): Promise<Foreground> {
  const child = spawn(process.execPath, [COMMAND, 'lab', 'up', '--foreground', '--name', NAME], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  await new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk;
      if (out.includes(said)) resolve();
    });
    child.once('close', (status) => {
      reject(new Error(`the command ended with ${String(status)} before it said "${said}": ${out}`));
    });
  });
  return { child, out: () => out };
}

/** Nothing of the lab is left anywhere. The remains of killed processes linger for a moment. */
async function expectNothingLeft({ pidNamespace, pids, nets }: ReturnType<typeof traces>): Promise<void> {
  expect(pids.length).toBeGreaterThan(7);
  expect(nets.size).toBeGreaterThan(5);
  await until(() => !namespacesInUse('pid').has(pidNamespace), 'its processes are gone');
  const left = namespacesInUse('net');
  expect([...nets].filter((net) => left.has(net) && net !== readlinkSync('/proc/self/ns/net'))).toEqual([]);
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toMatch(/kz-|kedge-fwd/);
  expect(existsSync(BOARD)).toBe(false);
}

afterEach(async () => {
  await labDown(NAME);
});

describe('the end of a lab', () => {
  it('lab down leaves no process, namespace, segment or socket', async () => {
    await kedgeJson(['lab', 'up', '--name', NAME]);
    const { pid } = await kedgeJson<{ pid: number }>(['lab', 'status', '--name', NAME]);
    const before = traces(pid);
    expect(await kedgeJson(['lab', 'down', '--name', NAME])).toEqual({ name: NAME, ended: true });
    await expectNothingLeft(before);
    expect(labStatus(NAME).state).toBe('down');
    expect(await kedgeJson(['lab', 'down', '--name', NAME])).toEqual({ name: NAME, ended: false });
  });

  it('SIGKILL of the process in the foreground takes everything with it, and the next start tidies up', async () => {
    const { child } = await foreground('Ctrl-C ends the lab.');
    const { pid } = labStatus(NAME);
    expect(pid).toBeGreaterThan(0);
    const before = traces(pid ?? 0);
    child.kill('SIGKILL');
    await expectNothingLeft(before);
    expect(labStatus(NAME).state).toBe('stale');
    expect((await kedge(['posture', 'get', '--lab', NAME])).status).toBe(4);
    const lab = await labUp({ name: NAME, foreground: true });
    await lab.down();
  }, 180_000);

  it('Ctrl-C ends a lab in the foreground with status 0', async () => {
    const { child, out } = await foreground('management ✓');
    expect(out()).toContain('npx kedge posture set 2');
    const before = traces(labStatus(NAME).pid ?? 0);
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    await expectNothingLeft(before);
    expect(labStatus(NAME).state).toBe('down');
  }, 120_000);

  it('a note of a process that is another one by now is stale, and nobody is signalled', async () => {
    mkdirSync(`/run/kedge-lab/${NAME}`, { recursive: true });
    const bystander = spawn('/bin/sleep', ['60']);
    writeFileSync(
      `/run/kedge-lab/${NAME}/lab.json`,
      JSON.stringify({ name: NAME, pid: bystander.pid, startTime: '1', starterPid: 1, settings: {} }),
    );
    expect(labStatus(NAME).state).toBe('stale');
    expect(await labDown(NAME)).toBe(false);
    expect(bystander.exitCode).toBe(null);
    expect(existsSync(`/run/kedge-lab/${NAME}`)).toBe(false);
    bystander.kill();
  });

  it('a lab whose forwarder cannot run is not called up, and says which part is missing', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'kedge-broken-'));
    const broken = join(directory, 'forwarder');
    writeFileSync(broken, '#!/bin/sh\necho no forwarder today >&2\nexit 1\n');
    chmodSync(broken, 0o755);
    chmodSync(directory, 0o755);
    try {
      await expect(
        // What comes before the forwarder, the network and the first word, has to be done within this.
        labUp({ name: NAME, foreground: true, forwarder: broken, readyWithinMs: 12_000 }),
      ).rejects.toMatchObject({
        code: 'LAB_NOT_READY',
        message: expect.stringContaining('acknowledgements of the data plane') as string,
        help: expect.stringContaining('no forwarder today') as string,
      });
      expect(labStatus(NAME).state).toBe('down');
      expect(PROGRAMS.forwarder).not.toBe(broken);
    } finally {
      rmSync(directory, { recursive: true });
    }
  }, 120_000);

  it('DP-7 a killed forwarder passes nothing, and the lab brings it back at the posture in force', async () => {
    const lab = await labUp({ name: NAME, foreground: true });
    try {
      const traffic = lab.traffic();
      await traffic.rate('critical', 500);
      const [forwarder] = lab.serviceProcesses('forwarder');
      process.kill(forwarder?.pid ?? 0, 'SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 30));
      const from = process.hrtime.bigint();
      await new Promise((resolve) => setTimeout(resolve, 300));
      const until_ = process.hrtime.bigint();
      process.kill(forwarder?.pid ?? 0, 'SIGKILL');
      // What was offered while nobody forwarded never arrives: the kernel does not go around.
      await until(
        () => lab.serviceProcesses('forwarder').some(({ pid }) => pid !== forwarder?.pid),
        'it is started again',
      );
      const again = process.hrtime.bigint();
      await until(
        async () => (await traffic.received('critical', again, process.hrtime.bigint())).packets > 0,
        'it passes what the posture lets through',
      );
      // Whatever waited anywhere for the forwarder to come back has come out by now.
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      expect((await traffic.sent('critical', from, until_)).packets).toBeGreaterThan(200);
      expect((await traffic.received('critical', from, until_)).packets).toBe(0);
    } finally {
      await lab.down();
    }
  }, 120_000);
});

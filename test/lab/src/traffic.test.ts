/**
 * The traffic tool as two real processes on the loopback interface.
 * Must not use ports or files that another run could use at the same time.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { PROGRAMS } from './paths.js';
import { trafficSocket } from './topology.js';
import { Traffic } from './traffic.js';

const PORT = 21_717;
let directory: string;
let children: ChildProcess[];

/** Sends the sockets of the lab's zones into the test's own directory. */
const reach = (path: string): string => join(directory, path.slice(path.lastIndexOf('/') + 1));

async function start(args: readonly string[], socket: string): Promise<ChildProcess> {
  const child = spawn(PROGRAMS.traffic, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  for (const until = performance.now() + 5_000; !existsSync(socket) && performance.now() < until;) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return child;
}

async function ending(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  return new Promise((resolve) => child.once('close', resolve));
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-traffic-'));
  children = [];
});

afterEach(async () => {
  for (const child of children) {
    child.kill('SIGKILL');
    await ending(child);
  }
  rmSync(directory, { recursive: true, force: true });
});

async function pair(rate: number, log = 65_536): Promise<Traffic> {
  const servers = reach(trafficSocket('servers'));
  const branch = reach(trafficSocket('branch'));
  await start(
    ['receive', '--control', servers, '--log', String(log), '--listen', `class=critical,port=${PORT}`],
    servers,
  );
  await start(
    [
      'send',
      '--control',
      branch,
      ...['127.0.0.1', '::1'].flatMap((to) => [
        '--flow',
        `class=critical,to=${to},port=${PORT},rate=${rate}`,
      ]),
    ],
    branch,
  );
  return new Traffic(reach);
}

describe('kedge-traffic', () => {
  it('counts every packet of both families at both ends, by the time at which it was sent', async () => {
    const traffic = await pair(1_000);
    try {
      await sleep(300);
      const from = process.hrtime.bigint();
      await sleep(300);
      const to = process.hrtime.bigint();
      await traffic.rate('critical', 0);
      await sleep(100);
      const sent = await traffic.sent('critical', from, to);
      const received = await traffic.received('critical', from, to);
      expect(sent.complete && received.complete).toBe(true);
      expect(sent.packets).toBeGreaterThan(300);
      expect(received.packets).toBe(sent.packets);
      expect(received.le).toBe(0);
      // Halves meet: the span is open at its start and closed at its end.
      const middle = (from + to) / 2n;
      const halves = await Promise.all([
        traffic.received('critical', from, middle),
        traffic.received('critical', middle, to),
      ]);
      expect(halves.reduce((sum, half) => sum + half.packets, 0)).toBe(received.packets);
    } finally {
      traffic.close();
    }
  });

  it('tells exactly what was sent after one moment and received before another', async () => {
    const traffic = await pair(500);
    try {
      await sleep(200);
      const moment = process.hrtime.bigint();
      await sleep(200);
      const end = process.hrtime.bigint();
      const all = await traffic.forbidden('critical', moment, end);
      expect(all.packets).toBeGreaterThan(50);
      expect(all.complete).toBe(true);
      expect(all.first?.sentAtNs).toBeGreaterThan(moment);
      expect(all.last?.receivedAtNs).toBeLessThan(end);
      expect(await traffic.forbidden('critical', end, moment)).toEqual({ packets: 0, complete: true });
    } finally {
      traffic.close();
    }
  });

  it('says when its log no longer reaches back', async () => {
    const traffic = await pair(2_000, 64);
    try {
      const from = process.hrtime.bigint();
      await sleep(300);
      expect((await traffic.received('critical', from, process.hrtime.bigint())).complete).toBe(false);
    } finally {
      traffic.close();
    }
  });

  it('sends at the rate that it is given', async () => {
    const traffic = await pair(0);
    try {
      await sleep(100);
      const silent = process.hrtime.bigint();
      expect((await traffic.sent('critical', 0n, silent)).packets).toBe(0);
      await traffic.rate('critical', 1_000);
      await sleep(500);
      const { packets } = await traffic.sent('critical', silent, process.hrtime.bigint());
      expect(packets).toBeGreaterThan(500);
      expect(packets).toBeLessThan(1_500);
    } finally {
      traffic.close();
    }
  });

  it('refuses a command line and requests that it does not understand', async () => {
    const socket = join(directory, 'x.sock');
    for (const args of [
      [],
      ['send'],
      ['send', '--control', socket],
      ['send', '--control', socket, '--flow', 'class=critical,to=nowhere,port=5,rate=1'],
      ['send', '--control', socket, '--flow', 'class=critical,to=127.0.0.1,port=0,rate=1'],
      ['send', '--control', socket, '--flow', 'class=Critical,to=127.0.0.1,port=5,rate=1'],
      ['send', '--control', socket, '--flow', 'class=critical,to=127.0.0.1,port=5,rate=1000000'],
      ['send', '--control', socket, '--listen', 'class=critical,port=5'],
      ['receive', '--control', socket, '--listen', 'class=critical'],
      ['receive', '--control', socket, '--listen'],
      ['receive', '--control', socket, '--listen', 'class=critical,port=5', '--log', '1'],
    ]) {
      expect(await ending(await start(args, directory)), args.join(' ')).toBe(2);
    }
    const traffic = await pair(10);
    try {
      await expect(traffic.received('unapproved', 0n, 1n)).rejects.toMatchObject({ code: 'LAB_TRAFFIC' });
    } finally {
      traffic.close();
    }
  });
});

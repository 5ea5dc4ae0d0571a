/**
 * The rig with real frames: what the shipped forwarder, a bridge and nothing at all let through, and that nothing of
 * it outlives whoever built it. Must not take a figure.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LEVELS } from '@kedge/units';
import { afterAll, beforeAll, expect, it } from 'vitest';

import type { Packets } from './packets.js';
import { allowedAt, RIG_CLASSES, type RigClass } from './rig-rules.js';
import { Rig } from './rig.js';

const NAMES = Object.keys(RIG_CLASSES) as RigClass[];
const JOB = {
  // Who shares a processor with others may take its time.
  ...{ size: 60, rate: 4_000, ms: 100, silentMs: 1_000 },
  classes: NAMES.map((name) => ({ port: RIG_CLASSES[name].port, share: 1 })),
};

let rig: Rig;
let packets: Packets;

beforeAll(async () => {
  rig = await Rig.build();
  packets = await rig.through();
});

afterAll(() => {
  rig.end();
});

/** Of each class, whether all came or none did. */
async function passed(): Promise<Record<string, boolean>> {
  const { classes } = await packets.run(JOB);
  return Object.fromEntries(
    NAMES.map((name, i) => {
      const { sent = 0, lost = 0 } = classes[i] ?? {};
      expect(sent).toBeGreaterThan(10);
      expect([0, sent]).toContain(lost);
      return [name, lost === 0];
    }),
  );
}

const each = (of: (name: RigClass) => boolean): Record<string, boolean> =>
  Object.fromEntries(NAMES.map((name) => [name, of(name)]));

it('lets nothing through where nothing is between the wires, and everything where a bridge is', async () => {
  expect(await passed()).toEqual(each(() => false));
  rig.bridge(true);
  expect(await passed()).toEqual(each(() => true));
  rig.bridge(false);
  expect(await passed()).toEqual(each(() => false));
});

it('lets through the shipped forwarder what its level allows, and acknowledges each level', async () => {
  await rig.forward('sleeping');
  let asked = 0;
  for (const level of LEVELS) {
    const decided = await rig.decide(level);
    expect(decided.to).toBe(level);
    expect(decided.acknowledgedNs).toBeGreaterThan(decided.decidedNs);
    expect([level, await passed()]).toEqual([level, each((name) => allowedAt(name, level))]);
    asked += 1;
  }
  expect(asked).toBe(5);
  await rig.stop();
  expect(await passed()).toEqual(each(() => false));
});

/** Processes that were started under this mark. */
function marked(mark: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark);
    } catch {
      return false; // it ended meanwhile
    }
  });
}

it.each(['SIGINT', 'SIGKILL'] as const)('is gone with everything in it after %s', async (signal) => {
  const mark = randomUUID();
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const bench = spawn(process.execPath, [main, 'blocked-time'], {
    env: { ...process.env, BENCH_MARK: mark },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise((resolve) => bench.once('exit', resolve));
  // It says what it does when everything stands.
  await new Promise((resolve) => bench.stderr.once('data', resolve));
  expect(marked(mark).length).toBeGreaterThan(4);
  bench.kill(signal);
  await ended;
  for (let i = 0; i < 500 && marked(mark).length > 0; i += 1)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(marked(mark)).toEqual([]);
});

/**
 * A lab whose port to the servers is too narrow for what is sent there: who yields, and what a tighter level does
 * to what waits.
 * Must not look into the forwarder; it asks senders, receivers and the governance bridge.
 */
import type { QueueReport } from '@kedge/bus';
import { CLASSES, type ClassName, GENTLE_RATE, type Lab, labDown, labUp, nowNs } from '@kedge/lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { kedgeJson } from './run-command.js';

const NAME = 'congested';
const LAB = ['--lab', NAME];
const CALL = { deadlineMs: 5_000 };

/** On the wire: 128 bytes of payload, UDP, IP of either family, Ethernet, and 24 bytes that no frame shows. */
const BITS_IP4 = (128 + 8 + 20 + 14 + 24) * 8;
const BITS_IP6 = BITS_IP4 + 20 * 8;
const bitsOf = (packetsPerFlow: number): number => packetsPerFlow * (BITS_IP4 + BITS_IP6);

/** Packets per second and flow; what goes to the servers is twice what their port takes. */
const OFFERED = { critical: 150, management: GENTLE_RATE, unapproved: 450 } as const;
const RATE = Math.ceil(Object.values(OFFERED).reduce((sum, rate) => sum + bitsOf(rate), 0) / 2);
const ESSENTIAL = ['critical', 'management'] as const satisfies readonly ClassName[];

let lab: Lab;

beforeAll(async () => {
  await labDown(NAME);
  lab = await labUp({ name: NAME, foreground: true, portRates: { servers: RATE } });
}, 120_000);
afterAll(async () => {
  await lab.down();
});

const set = (level: number): Promise<unknown> =>
  kedgeJson([
    'posture',
    'set',
    String(level),
    ...['--reason', 'a test', '--as', 'console', '--wait'],
    ...LAB,
  ]);

async function queue(name: string): Promise<QueueReport> {
  const { dataplanes } = await lab.governance().show({}, CALL);
  const found = dataplanes[0]?.workers[0]?.queues[name];
  if (found === undefined) throw new Error(`no queue ${name}`);
  return found;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(50);
  }
}

/** Packets of a class that the servers have seen, ever. */
async function arrived(name: ClassName): Promise<number> {
  const flows = (await lab.traffic().report()).get('servers')?.flows ?? [];
  return flows.filter((flow) => flow.class === name).reduce((sum, { packets }) => sum + packets, 0);
}

async function offer(rates: Partial<Record<ClassName, number>>): Promise<void> {
  for (const { name } of CLASSES) await lab.traffic().rate(name, rates[name] ?? GENTLE_RATE);
}

describe('a port that is too narrow', { timeout: 60_000 }, () => {
  it('DP-11 at level 3 and 2:1 what is essential loses nothing, and what is deprioritised yields', async () => {
    await set(3);
    const before = { ordinary: await queue('ordinary'), lower: await queue('deprioritised') };
    await offer(OFFERED);
    const from = nowNs();
    await pause(2_500);
    const to = nowNs();
    await offer({});
    await until('queues that are empty again', async () => (await queue('deprioritised')).waiting === 0n);
    // What left last is on its way for a moment.
    await pause(100);
    let looked = 0;
    for (const name of ESSENTIAL) {
      const sent = await lab.traffic().sent(name, from, to);
      const received = await lab.traffic().received(name, from, to);
      expect(sent.packets).toBeGreaterThan(GENTLE_RATE);
      expect([name, received]).toEqual([name, { ...sent, le: 0, otherMarks: 0, complete: true }]);
      looked++;
    }
    expect(looked).toBe(2);
    const sent = await lab.traffic().sent('unapproved', from, to);
    const received = await lab.traffic().received('unapproved', from, to);
    expect(received).toMatchObject({ le: received.packets, otherMarks: 0, complete: true });
    expect(received.packets).toBeGreaterThan(0);
    const lost = sent.packets - received.packets;
    expect(lost).toBeGreaterThan(sent.packets / 10);
    const ordinary = await queue('ordinary');
    const lower = await queue('deprioritised');
    expect(ordinary.lost - before.ordinary.lost).toBe(0n);
    expect(lower.lost - before.lower.lost).toBeGreaterThanOrEqual(BigInt(lost));
    expect(lower.waited - before.lower.waited).toBeGreaterThan(0n);
  });

  it('DP-3 a tighter level takes out what waits', async () => {
    await set(3);
    const before = await queue('deprioritised');
    await offer(OFFERED);
    await until('frames that wait', async () => (await queue('deprioritised')).waiting > 100n);
    await set(2);
    const after = await queue('deprioritised');
    expect(after.waiting).toBe(0n);
    expect(after.withdrawn - before.withdrawn).toBeGreaterThan(50n);
    const received = await arrived('unapproved');
    await pause(300);
    expect(await arrived('unapproved')).toBe(received);
    await offer({});
    await set(5);
  });
});

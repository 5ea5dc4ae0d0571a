/**
 * Generator, sink and account on a real wire: two interfaces of a namespace, and faults that the generator makes.
 * Must not take a figure.
 */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Namespace } from './namespace.js';
import { type ClassAccount, type Job, Packets, PACKETS_PROGRAM, whyInvalid } from './packets.js';

function accountOf(lines: readonly string[]): ClassAccount {
  const output = execFileSync(PACKETS_PROGRAM, ['account'], {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
  });
  return JSON.parse(output) as ClassAccount;
}

describe('the account of a class', () => {
  it('counts what came, what is missing and between which moments of sending', () => {
    const account = accountOf(['0 100 110', '1 101 111', '5 105 115', '6 106 116', 'end 9 200']);
    expect(account).toMatchObject({ sent: 9, received: 4, lost: 5, reordered: 0, duplicates: 0, stale: 0 });
    expect(account.gaps).toEqual([
      [101, 105, 3, 0, 0],
      [106, 200, 2, 0, 0],
    ]);
  });

  it('takes a frame that was overtaken for reordered, not for lost', () => {
    const account = accountOf(['0 10 20', '3 13 23', '1 11 24', 'end 4 50']);
    expect(account).toMatchObject({ received: 3, lost: 1, reordered: 1, gaps: [[10, 13, 1, 0, 0]] });
  });

  it('counts a frame that comes again as a duplicate, in order or not', () => {
    const account = accountOf(['0 1 2', '0 1 2', '2 3 4', '1 2 5', '1 2 6', '2 3 7', 'end 3 9']);
    expect(account).toMatchObject({ received: 3, lost: 0, reordered: 1, duplicates: 3, gaps: [] });
  });

  it('does not guess whether a frame is new that is further behind than it remembers', () => {
    const account = accountOf(['0 1 2', '70000 3 4', '1 2 5', 'end 70001 9']);
    expect(account).toMatchObject({ received: 2, lost: 69_999, stale: 1, gaps: [[1, 3, 69_999, 0, 0]] });
  });

  it('says percentiles by nearest rank, at most a thirty-second too high, and the maximum exactly', () => {
    const lines = Array.from({ length: 1_000 }, (_, i) => `${i} 1000 ${1_000 + (i + 1) * 1_000}`);
    const { latencyNs } = accountOf([...lines, 'end 1000 0']);
    for (const [found, exact] of [
      [latencyNs.p50, 500_000],
      [latencyNs.p99, 990_000],
      [latencyNs.p999, 999_000],
    ] as const) {
      expect(found).toBeGreaterThanOrEqual(exact);
      expect(found).toBeLessThanOrEqual(exact * (33 / 32));
    }
    expect(latencyNs.max).toBe(1_000_000);
  });

  it('takes a frame that came before it was sent, by clocks a little apart, for one that took no time', () => {
    expect(accountOf(['0 100 90', 'end 1 200']).latencyNs).toEqual({ p50: 0, p99: 0, p999: 0, max: 0 });
  });
});

describe('frames on a wire', () => {
  const JOB: Job = { size: 60, rate: 20_000, ms: 200, classes: [{ port: 9, share: 1 }] };
  let namespace: Namespace;
  let packets: Packets;

  beforeAll(async () => {
    namespace = await Namespace.start();
    namespace.set('ipv6.conf.default.disable_ipv6', 1);
    namespace.ip('link add name left type veth peer name right');
    for (const name of ['left', 'right']) namespace.ip(`link set dev ${name} up`);
    const { network } = namespace;
    packets = await Packets.start({
      from: { network, name: 'left' },
      to: { network, name: 'right' },
      cpu: 0,
    });
  });

  afterAll(() => {
    packets.end();
    namespace.end();
  });

  async function run(job: Partial<Job>): Promise<ClassAccount> {
    const report = await packets.run({ ...JOB, ...job });
    expect(whyInvalid(report)).toBeUndefined();
    expect(report).toMatchObject({ refused: 0, strange: 0 });
    const [account] = report.classes;
    if (account === undefined) throw new Error('no class was counted');
    expect(account.sent).toBeGreaterThan(100);
    return account;
  }

  it.each([60, 1_396])('come as they were sent, %i bytes each', async (size) => {
    const account = await run({ size });
    expect(account).toMatchObject({ lost: 0, reordered: 0, duplicates: 0, stale: 0, gaps: [] });
    expect(account.latencyNs.max).toBeGreaterThan(0);
  });

  it('are missed one by one, each between its neighbours', async () => {
    const account = await run({ lose: 7 });
    const lost = Math.floor(account.sent / 7);
    expect(account).toMatchObject({ lost, received: account.sent - lost, reordered: 0, duplicates: 0 });
    expect(account.gaps.map(([, , missing]) => missing)).toEqual(Array<number>(lost).fill(1));
    for (const [after, before] of account.gaps) expect(before).toBeGreaterThan(after);
  });

  it('are seen to have been overtaken', async () => {
    const account = await run({ swap: 10 });
    // The last of all has nothing that could overtake it.
    const swapped = Math.floor(account.sent / 10) - (account.sent % 10 === 0 ? 1 : 0);
    expect(account).toMatchObject({ lost: 0, reordered: swapped, duplicates: 0 });
  });

  it('are seen to have come twice', async () => {
    const account = await run({ repeat: 9 });
    expect(account).toMatchObject({ lost: 0, reordered: 0, duplicates: Math.floor(account.sent / 9) });
  });

  it('are shared out among classes and counted for each', async () => {
    const classes = [
      { port: 9, share: 1 },
      { port: 10, share: 3 },
    ];
    const report = await packets.run({ ...JOB, classes, lose: 8 });
    const [few, many] = report.classes;
    expect((few?.sent ?? 0) + (many?.sent ?? 0)).toBe(report.sent);
    expect(Math.abs((many?.sent ?? 0) - 3 * (few?.sent ?? 0))).toBeLessThanOrEqual(4);
    expect((few?.lost ?? 0) + (many?.lost ?? 0)).toBe(Math.floor(report.sent / 8));
  });

  it('are put into time, where they are missing, by a class that comes', async () => {
    const classes = [
      { port: 9, share: 1 },
      { port: 10, share: 1 },
    ];
    // Every tenth frame is one of the second class.
    const { classes: accounts } = await packets.run({ ...JOB, classes, clock: 0, lose: 10 });
    const [clock, other] = accounts;
    expect(clock?.lost).toBe(0);
    // Where the clock's own frames came late there is nothing to tell the time by.
    const timed = (other?.gaps ?? []).filter(([, , , from, until]) => from !== 0 && until !== 0);
    expect(timed.length).toBeGreaterThan(10);
    for (const [after, before, , from, until] of timed) {
      // Between one frame of the clock and the next.
      expect(until).toBeGreaterThan(after);
      expect(from).toBeGreaterThan(until);
      expect(until).toBeLessThan(before + (clock?.latencyNs.max ?? 0));
    }
    await expect(packets.run({ ...JOB, clock: 1 })).rejects.toThrow('clock is not understood');
  });

  it('end when they are told to', async () => {
    await packets.begin({ ...JOB, ms: 600_000 });
    const report = await packets.finish();
    expect(report.classes[0]).toMatchObject({ lost: 0, received: report.sent });
  });

  it('are refused where the job is not understood', async () => {
    await expect(packets.run({ ...JOB, size: 59 })).rejects.toThrow('size is not understood');
    await expect(packets.run({ ...JOB, classes: [] })).rejects.toThrow('class is not understood');
    await run({});
  });
});

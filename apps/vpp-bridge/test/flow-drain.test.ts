/**
 * Flow rings drained from a real writer: what is whole and in its range comes through, the rest is counted.
 */
import { layout, monotonicNs } from '@kedge/shared-memory-ipc';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { DataPlanes } from '../src/data-planes.js';
import { FlowDrain } from '../src/flow-drain.js';
import { addressText, flowReportOf } from '../src/flow-report.js';
import { BATCH_MAX, FlowWatch, QUEUE_MAX, WATCHERS_MAX } from '../src/flow-watch.js';
import { type Actor, Place } from './actor.js';
import { flowBytes, type FlowSpec, NO_ENTRY } from './flow-bytes.js';

let place: Place;
let dataplanes: DataPlanes;
let actor: Actor;
let drain: FlowDrain;

beforeEach(async () => {
  place = new Place();
  actor = await place.actor();
  dataplanes = new DataPlanes(place.board, new Map([['reference', process.getuid?.() ?? 0]]));
  dataplanes.refresh();
  drain = new FlowDrain(monotonicNs);
});
afterEach(async () => {
  dataplanes.close();
  await place.remove();
});

const flowAt = (over: Partial<FlowSpec> = {}): string => {
  const now = monotonicNs();
  return flowBytes({ firstAtNs: now - 2_000n, lastAtNs: now - 1_000n, ...over });
};

const drained = () => drain.drain(dataplanes.open()).map(({ flow }) => flow);

describe('flow rings', () => {
  it('DP-12 a record comes through with every field as the data plane wrote it', async () => {
    const now = monotonicNs();
    await actor.tell(
      'flow',
      3,
      flowBytes({
        firstAtNs: now - 9n,
        lastAtNs: now,
        packets: 2n ** 40n,
        bytes: 2n ** 50n,
        epoch: 2n ** 48n - 1n,
        family: 1,
        source: [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10],
        destination: Array.from({ length: 16 }, () => 0xff),
        sourcePort: 65_535,
        destinationPort: 1,
        protocol: 255,
        fromZone: 15,
        toZone: 0,
        entry: layout.limits.maxEntries - 1,
        level: 1,
        verdict: 2,
        reason: 7,
        application: 9,
        end: 5,
        tcpFlags: 255,
        dscp: 63,
        name: '!'.padEnd(layout.limits.flowNameBytes, '~'),
        nameCut: 1,
      }),
    );
    const [only] = drain.drain(dataplanes.open());
    expect(only).toMatchObject({ dataplane: 'reference', worker: 3, generations: [0n] });
    expect(only?.flow).toMatchObject({
      firstAtNs: now - 9n,
      lastAtNs: now,
      packets: 2n ** 40n,
      bytes: 2n ** 50n,
      epoch: 2n ** 48n - 1n,
      sourcePort: 65_535,
      destinationPort: 1,
      protocol: 255,
      fromZone: 15,
      toZone: 0,
      entry: layout.limits.maxEntries - 1,
      level: 1,
      verdict: 'deprioritise',
      reason: 'zone',
      application: 'quic',
      end: 'resources',
      tcpFlags: 255,
      dscp: 63,
      name: '!'.padEnd(layout.limits.flowNameBytes, '~'),
      nameCut: true,
      number: 0n,
      gap: 0n,
    });
    if (only === undefined) throw new Error('no flow');
    expect(
      flowReportOf(
        only,
        () => undefined,
        () => 'zone',
      ),
    ).toMatchObject({
      source: 'fd77::10',
      destination: Array.from({ length: 8 }, () => 'ffff').join(':'),
      entry: '',
      name: `…${'!'.padEnd(layout.limits.flowNameBytes, '~')}`,
    });
  });

  const wrong: Readonly<Record<string, Partial<FlowSpec>>> = {
    'ends before it begins': { firstAtNs: 10n, lastAtNs: 9n },
    'ends in the future': { lastAtNs: 2n ** 63n },
    'has no packets': { packets: 0n },
    'has fewer bytes than packets': { packets: 4_000n },
    'has no epoch': { epoch: 2n ** 48n },
    'is of no family': { family: 2 },
    'has too long an IPv4 source': { source: [1, 2, 3, 4, 5] },
    'has too long an IPv4 destination': { destination: [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] },
    'comes from no zone': { fromZone: 16 },
    'goes to no zone': { toZone: 16 },
    'was judged by no entry that can be': { entry: layout.limits.maxEntries },
    'nearly names no entry': { entry: NO_ENTRY - 1 },
    'has level 0': { level: 0 },
    'has level 6': { level: 6 },
    'has verdict 0': { verdict: 0 },
    'has verdict 4': { verdict: 4 },
    'has no reason': { reason: layout.limits.reasons },
    'has no application': { application: layout.limits.applications },
    'has end 0': { end: 0 },
    'has end 6': { end: 6 },
    'has no DSCP': { dscp: 64 },
    'has too long a name': { nameBytes: layout.limits.flowNameBytes + 1 },
    'has a blank in its name': { name: 'a b' },
    'has a control character in its name': { name: 'a\u001b[2J' },
    'has a byte above ASCII in its name': { name: 'ä' },
    'has a zero in its name': { name: 'ab', nameBytes: 3 },
    'has a cut that is none': { name: 'a', nameCut: 2 },
    'has a cut and no name': { nameCut: 1 },
  };

  it('DP-12 a record with one field out of its range is left out and counted, and stops no other', async () => {
    const bad = Object.values(wrong);
    await actor.tell('flow', 0, ...bad.flatMap((over) => [flowAt(over), flowAt()]));
    const flows = drained();
    expect(flows).toHaveLength(bad.length);
    expect(flows.map(({ gap }) => gap)).toEqual(bad.map(() => 1n));
    expect(drain.gaps('reference')).toBe(BigInt(bad.length));
    expect(bad.length).toBeGreaterThanOrEqual(28);
  });

  it('DP-12 what was overwritten or is torn is counted, and a counter that lies brings no record twice', async () => {
    await actor.tell('flow', 0, ...Array.from({ length: layout.limits.flowSlots + 5 }, () => flowAt()));
    expect(drained()).toHaveLength(layout.limits.flowSlots);
    expect(drain.gaps('reference')).toBe(5n);
    await actor.tell('flow', 0, flowAt());
    await actor.tell('tearFlow', 0);
    expect(drained()).toEqual([]);
    expect(drain.gaps('reference')).toBe(6n);
    await actor.tell('flowsWritten', 0, String(2n ** 64n - 1n));
    expect(drained()).toEqual([]);
    await actor.tell('flowsWritten', 0, String(2n ** 64n - 1n));
    expect(drained()).toEqual([]);
    expect(drain.gaps('reference')).toBeLessThan(2n ** 64n);
  });

  it('DP-12 a data plane that was started anew is read from its first record', async () => {
    await actor.tell('flow', 0, flowAt(), flowAt());
    expect(drained()).toHaveLength(2);
    await actor.kill();
    rmSync(join(place.board, 'dataplane-reference'));
    actor = await place.actor();
    await actor.tell('flow', 0, flowAt(), flowAt(), flowAt());
    dataplanes.refresh();
    expect(drained()).toHaveLength(3);
    expect(drain.gaps('reference')).toBe(0n);
  });

  it('an entry is named only where all tables agree by which it may have been judged', async () => {
    const labels = (name: string) => ({
      labels: [{ name, family: 4 as const, mirror: false, fromZone: 'a', toZone: 'b' }],
      zoneIds: new Map<string, number>(),
    });
    const known = new Map([
      [1n, labels('web')],
      [2n, labels('mail')],
      [3n, labels('mail')],
    ]);
    const names = async (generation: number): Promise<string[]> => {
      await actor.tell('flow', 0, flowAt({ entry: 0, reason: 1 }));
      await actor.tell('generation', 0, generation);
      return drain.drain(dataplanes.open()).map(
        (each) =>
          flowReportOf(
            each,
            (which) => known.get(which),
            () => '',
          ).entry,
      );
    };
    await actor.tell('generation', 0, 1);
    expect(drained()).toEqual([]);
    expect(await names(1)).toEqual(['web']);
    expect(await names(2)).toEqual(['']);
    expect(await names(2)).toEqual(['mail']);
    expect(await names(3)).toEqual(['mail']);
    expect(await names(9)).toEqual(['']);
  });

  it('addresses are written as RFC 5952 has them', () => {
    const text = (...groups: number[]): string =>
      addressText(Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])));
    expect(addressText(Uint8Array.of(192, 0, 2, 255))).toBe('192.0.2.255');
    expect(text(0, 0, 0, 0, 0, 0, 0, 0)).toBe('::');
    expect(text(0, 0, 0, 0, 0, 0, 0, 1)).toBe('::1');
    expect(text(0xfe80, 0, 0, 0, 0, 0, 0, 0)).toBe('fe80::');
    expect(text(0x2001, 0xdb8, 0, 0, 1, 0, 0, 1)).toBe('2001:db8::1:0:0:1');
    expect(text(0x2001, 0xdb8, 0, 1, 1, 1, 1, 1)).toBe('2001:db8:0:1:1:1:1:1');
    expect(text(0x2001, 0, 0, 1, 0, 0, 0, 1)).toBe('2001:0:0:1::1');
  });
});

describe('those who watch', () => {
  const report = flowReportOf(
    {
      dataplane: 'reference',
      worker: 0,
      generations: [],
      flow: { source: new Uint8Array(4), destination: new Uint8Array(4) } as never,
    },
    () => undefined,
    () => '',
  );
  const reports = (count: number) => Array.from({ length: count }, () => report);

  it('DP-12 one who does not read is not waited for, loses what is too much, and is told how much', async () => {
    const watch = new FlowWatch();
    const leave = new AbortController();
    const batches = watch.watch(leave.signal);
    expect((await batches.next()).value).toEqual({ flows: [], lost: 0n });
    watch.tell(reports(QUEUE_MAX - 1));
    watch.tell(reports(12));
    watch.tell(reports(3));
    let flows = 0;
    let lost = 0n;
    for (let count = 0; count < QUEUE_MAX / BATCH_MAX; count += 1) {
      const { value } = await batches.next();
      if (value === undefined) throw new Error('the stream ended');
      expect(value.flows.length).toBeLessThanOrEqual(BATCH_MAX);
      flows += value.flows.length;
      lost += value.lost;
    }
    expect([flows, lost]).toEqual([QUEUE_MAX, 14n]);
    leave.abort();
    expect((await batches.next()).done).toBe(true);
    expect(watch.watched).toBe(false);
  });

  it('DP-12 there is room for so many and no more, and a place that becomes free is taken again', async () => {
    const watch = new FlowWatch();
    const leave = new AbortController();
    const all = Array.from({ length: WATCHERS_MAX }, () => watch.watch(new AbortController().signal));
    for (const each of all) await each.next();
    await expect(watch.watch(leave.signal).next()).rejects.toMatchObject({ code: 'GOVERNANCE_WATCHERS' });
    await all[0]?.return();
    expect((await watch.watch(leave.signal).next()).done).toBe(false);
  });
});

/**
 * Telemetry rings drained from a real writer, and the traffic history made of its counters.
 */
import { ledgerRecordSchema, type LedgerRecord, type RecordSink } from '@kedge/contracts';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { KedgeError } from '@kedge/units';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { DataPlanes } from '../src/data-planes.js';
import { HitHistory, type WorkerCounters } from '../src/hit-history.js';
import { readRing, TelemetryDrain } from '../src/telemetry-drain.js';
import { type Actor, Place } from './actor.js';

let place: Place;
let dataplanes: DataPlanes;
let actor: Actor;
const records: LedgerRecord[] = [];
const sink: RecordSink = {
  append: (record) => {
    records.push(record);
    return Promise.resolve({ id: record.id, sequence: BigInt(records.length), duplicate: false });
  },
};

beforeEach(async () => {
  place = new Place();
  records.length = 0;
  actor = await place.actor();
  dataplanes = new DataPlanes(place.board, new Map([['reference', process.getuid?.() ?? 0]]));
  dataplanes.refresh();
});
afterEach(async () => {
  dataplanes.close();
  await place.remove();
});

function drainTo(where: RecordSink, complaints: unknown[] = []): TelemetryDrain {
  return new TelemetryDrain({
    appliance: 'test',
    sink: where,
    clock: { monotonicNs, wallMs: () => Date.now() },
    onUnkept: (error) => complaints.push(error),
  });
}

describe('telemetry', () => {
  it('DP-8 every event of a worker becomes one record, in order and within its schema', async () => {
    const drain = drainTo(sink);
    await actor.tell('tell', 0, 3);
    await drain.drain(dataplanes.open());
    await actor.tell('tell', 0, 2);
    await drain.drain(dataplanes.open());
    await drain.drain(dataplanes.open());
    expect(records.map(({ epoch }) => epoch)).toEqual(['1', '2', '3', '4', '5']);
    for (const record of records) {
      expect(ledgerRecordSchema.safeParse(record).error).toBeUndefined();
      expect(record).toMatchObject({
        dataplane: 'reference',
        worker: 0,
        kind: 'posture',
        oldLevel: 5,
        newLevel: 4,
        gap: '0',
      });
    }
    expect(new Set(records.map(({ id }) => id)).size).toBe(5);
    expect(drain.gaps('reference')).toBe(0n);
  });

  it('DP-8 what was overwritten before it was read is counted and stands beside the next event', async () => {
    const drain = drainTo(sink);
    await actor.tell('tell', 0, 10);
    await drain.drain(dataplanes.open());
    await actor.tell('tell', 0, 1024 + 77);
    await drain.drain(dataplanes.open());
    expect(drain.gaps('reference')).toBe(77n);
    expect(records).toHaveLength(10 + 1024);
    expect(records[10]).toMatchObject({ gap: '77', epoch: '88' });
    expect(records.slice(11).every((record) => 'gap' in record && record.gap === '0')).toBe(true);
  });

  it('DP-8 an event that is torn counts as a gap and stops nothing', async () => {
    await actor.tell('tell', 0, 4);
    await actor.tell('tear', 0);
    await actor.tell('tell', 0, 1);
    const [dataplane] = dataplanes.open();
    if (dataplane === undefined) throw new Error('no data plane');
    const { records: events, next, gaps } = readRing(dataplane.reader, 0, 0n);
    expect(events.map(({ number, gap }) => [number, gap])).toEqual([
      [0n, 0n],
      [1n, 0n],
      [2n, 0n],
      [4n, 1n],
    ]);
    expect([next, gaps]).toEqual([5n, 1n]);
  });

  it('DP-8 rings of all workers are read, and a ring that was made anew is read from its start', async () => {
    const drain = drainTo(sink);
    await actor.tell('tell', 15, 2);
    await actor.tell('tell', 0, 1);
    await drain.drain(dataplanes.open());
    expect(records.map((record) => 'worker' in record && record.worker)).toEqual([0, 15, 15]);
    const [dataplane] = dataplanes.open();
    if (dataplane === undefined) throw new Error('no data plane');
    expect(readRing(dataplane.reader, 15, 9n).records).toHaveLength(2);
  });

  it('DP-8 a file that was made anew is read from its start, also when it holds more than the old one did', async () => {
    const drain = drainTo(sink);
    await actor.tell('tell', 0, 2);
    await drain.drain(dataplanes.open());
    await actor.kill();
    rmSync(join(place.board, 'dataplane-reference'));
    actor = await place.actor();
    await actor.tell('tell', 0, 5);
    dataplanes.refresh();
    await drain.drain(dataplanes.open());
    expect(records).toHaveLength(2 + 5);
    expect(drain.gaps('reference')).toBe(0n);
  });

  it('DP-8 while the sink is slow nothing more is taken: it waits in the ring, which counts what it loses', async () => {
    let goOn: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => (goOn = resolve));
    const drain = drainTo({
      append: async (record) => {
        const receipt = await sink.append(record);
        await slow;
        return receipt;
      },
    });
    await actor.tell('tell', 0, 3);
    const first = drain.drain(dataplanes.open());
    await actor.tell('tell', 0, 1030);
    const second = drain.drain(dataplanes.open());
    expect(records).toHaveLength(3);
    goOn();
    await Promise.all([first, second]);
    expect(records).toHaveLength(3);
    await drain.drain(dataplanes.open());
    expect(records).toHaveLength(3 + 1024);
    expect(drain.gaps('reference')).toBe(6n);
  });

  it('a sink that refuses costs the record, not the drain; one that knows the record already is content', async () => {
    const complaints: unknown[] = [];
    const codes = ['LEDGER_SPOOL_FULL', 'LEDGER_ID_REUSED', 'LEDGER_SPOOL_FAILED'];
    const drain = drainTo(
      {
        append: () =>
          Promise.reject(new KedgeError({ code: codes.shift() ?? 'LEDGER_SPOOL_FAILED', message: 'no' })),
      },
      complaints,
    );
    await actor.tell('tell', 0, 3);
    await drain.drain(dataplanes.open());
    expect(drain.unkept).toBe(2);
    expect(complaints).toHaveLength(2);
  });
});

describe('hit history', () => {
  const label = { name: 'web', family: 4 as const, mirror: false, fromZone: 'inside', toZone: 'outside' };
  const meaning = {
    labels: [label],
    zoneIds: new Map([
      ['inside', 2],
      ['outside', 3],
    ]),
  };
  const counters = (generation: bigint, pair: bigint, hit: bigint): WorkerCounters => ({
    key: 'reference/0',
    generation,
    pairs: Array.from({ length: 256 }, (_, index) => (index === 2 * 16 + 3 ? pair : 0n)),
    hits: [hit],
  });
  const second = 1_000_000_000n;

  it('PO-23 counts what came since the last sample, and only inside the window', () => {
    const history = new HitHistory();
    for (const [at, pair, hit] of [
      [1n, 100n, 7n],
      [2n, 110n, 7n],
      [3n, 110n, 12n],
      [4n, 111n, 12n],
    ] as const)
      history.sample(at * second, [counters(1n, pair, hit)], () => meaning);
    const all = history.window(4n * second, 300);
    expect(all).toEqual({
      coveredS: 3,
      counted: [
        { fromZone: 2, toZone: 3, entry: '', packets: 11n },
        { fromZone: 2, toZone: 3, entry: 'web', packets: 5n },
      ],
    });
    expect(history.window(4n * second, 1).counted).toEqual([
      { fromZone: 2, toZone: 3, entry: '', packets: 1n },
    ]);
  });

  it('PO-23 what was counted across a change of generation belongs to neither', () => {
    const history = new HitHistory();
    history.sample(1n * second, [counters(1n, 0n, 0n)], () => meaning);
    history.sample(2n * second, [counters(2n, 50n, 50n)], () => meaning);
    history.sample(3n * second, [counters(2n, 51n, 52n)], () => meaning);
    expect(history.window(3n * second, 300).counted.map(({ packets }) => packets)).toEqual([1n, 2n]);
    history.sample(4n * second, [counters(2n, 99n, 99n)], () => undefined);
    expect(history.window(4n * second, 1).counted).toEqual([]);
  });

  it('a counter that was started anew counts from zero', () => {
    const history = new HitHistory();
    history.sample(1n * second, [counters(1n, 900n, 900n)], () => meaning);
    history.sample(2n * second, [counters(1n, 3n, 4n)], () => meaning);
    expect(history.window(2n * second, 10).counted.map(({ packets }) => packets)).toEqual([3n, 4n]);
  });

  it('PO-23 holds an hour and no more', () => {
    const history = new HitHistory();
    for (let at = 0n; at <= 4_000n; at++) history.sample(at * second, [counters(1n, at, 0n)], () => meaning);
    const { coveredS, counted } = history.window(4_000n * second, 3_600);
    expect(coveredS).toBe(3_600);
    expect(counted).toEqual([{ fromZone: 2, toZone: 3, entry: '', packets: 3_600n }]);
  });
});

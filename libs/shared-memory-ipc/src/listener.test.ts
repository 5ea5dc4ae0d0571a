import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createPostureSegment,
  createSegment,
  listen,
  openSegment,
  type Listener,
  type PostureWriter,
  type SegmentReader,
  type SegmentWriter,
} from './index.js';

const owner = process.getuid?.() ?? 0;
let directory = '';
let posture: PostureWriter;
let participant: SegmentWriter;
let readers: SegmentReader[] = [];
let listener: Listener | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-listener-'));
  posture = createPostureSegment({ directory });
  participant = createSegment({ directory, name: 'participant-a', kind: 'participant' });
  readers = [
    openSegment({ directory, name: 'posture', kind: 'posture', owner }),
    openSegment({ directory, name: 'participant-a', kind: 'participant', owner }),
  ];
});

afterEach(() => {
  listener?.close();
  listener = undefined;
  for (const segment of [posture, participant, ...readers]) segment.close();
  rmSync(directory, { recursive: true, force: true });
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i++) await sleep(2);
  expect(condition()).toBe(true);
}

describe('the listener', () => {
  it('PO-15 tells which segments rang', async () => {
    const heard: number[][] = [];
    listener = listen({ segments: readers, onRing: (changed) => heard.push([...changed]) });
    participant.ring();
    await until(() => heard.length === 1);
    posture.tighten({ epoch: 1n, from: 5, to: 2, receivedAtNs: 0n });
    await until(() => heard.length === 2);
    expect(heard).toEqual([[1], [0]]);
  });

  it('PO-15 loses no ring: every one is delivered or counted as delivered together with another', async () => {
    let epoch = 0n;
    listener = listen({
      segments: readers,
      onRing: (changed) => {
        if (changed.includes(0)) epoch = readers[0]?.transition()?.epoch ?? 0n;
      },
    });
    for (let i = 1n; i <= 500n; i++) {
      posture.tighten({ epoch: i, from: 5, to: 2, receivedAtNs: 0n });
      if (i % 100n === 0n) await sleep(1);
    }
    await until(() => listener?.counts().rings === 500 && listener.counts().pending === 0);
    const { rings, delivered, coalesced } = listener.counts();
    expect(delivered + coalesced).toBe(rings);
    expect(delivered).toBeGreaterThan(0);
    expect(epoch).toBe(500n);
  });

  it('delivers what rang while JavaScript was busy in one call', async () => {
    const heard: number[][] = [];
    listener = listen({ segments: readers, onRing: (changed) => heard.push([...changed]) });
    posture.ring();
    await until(() => heard.length === 1);
    for (let i = 0; i < 50; i++) posture.ring();
    participant.ring();
    const end = process.hrtime.bigint() + 50_000_000n;
    while (process.hrtime.bigint() < end);
    await until(() => listener?.counts().rings === 52 && listener.counts().pending === 0);
    expect(heard.length).toBeLessThanOrEqual(3);
    expect(new Set(heard.slice(1).flat())).toEqual(new Set([0, 1]));
    expect(listener.counts().coalesced).toBeGreaterThanOrEqual(49);
  });

  it('hears a ring that comes between listening and the thread’s first look', async () => {
    for (let i = 0; i < 50; i++) {
      let heard = 0;
      const own = listen({ segments: readers, onRing: () => heard++ });
      posture.ring();
      await until(() => heard === 1);
      own.close();
    }
  });

  it('calls with nothing when nothing rang for the time asked for', async () => {
    const heard: number[][] = [];
    listener = listen({ segments: readers, onRing: (changed) => heard.push([...changed]), timeoutMs: 5 });
    await until(() => heard.length >= 3);
    expect(heard.slice(0, 3)).toEqual([[], [], []]);
    expect(listener.counts()).toEqual({ rings: 0, delivered: 0, coalesced: 0, pending: 0 });
    posture.ring();
    await until(() => heard.some((changed) => changed.length > 0));
  });

  it('goes on when a segment is closed under it, and stops for good when it is closed itself', async () => {
    let heard = 0;
    listener = listen({ segments: readers, onRing: () => heard++ });
    for (const segment of readers) segment.close();
    posture.ring();
    await until(() => heard === 1);
    posture.ring();
    listener.close();
    listener.close();
    const after = heard;
    posture.ring();
    await sleep(20);
    expect(heard).toBe(after);
    expect(listener.counts().delivered).toBe(after);
    listener.ref();
    listener.unref();
  });

  it('may be closed from within its own callback', async () => {
    let heard = 0;
    const own = listen({
      segments: readers,
      onRing: () => {
        heard++;
        own.close();
      },
    });
    posture.ring();
    await until(() => heard === 1);
    posture.ring();
    await sleep(20);
    expect(heard).toBe(1);
  });

  it('gives a writer’s lock back though a listener still maps its file', () => {
    listener = listen({ segments: [posture], onRing: () => undefined });
    posture.close();
    posture = createPostureSegment({ directory });
    expect(posture.header.incarnation).toBe(2n);
  });

  it('says whether it got real-time priority', async () => {
    let heard = 0;
    listener = listen({ segments: readers, onRing: () => heard++, realtime: true });
    expect(typeof listener.realtime).toBe('boolean');
    posture.ring();
    await until(() => heard === 1);
    const ordinary = listen({ segments: readers, onRing: () => undefined });
    expect(ordinary.realtime).toBe(false);
    ordinary.close();
  });

  it('refuses what it cannot listen to', () => {
    const onRing = () => undefined;
    const loose = (value: unknown) => value as never;
    const cases: [field: string, code: string, options: Parameters<typeof listen>[0]][] = [
      ['segments', 'SEGMENT_ARGUMENT', { segments: [], onRing }],
      ['segments', 'SEGMENT_ARGUMENT', { segments: loose(undefined), onRing }],
      ['segments', 'SEGMENT_ARGUMENT', { segments: loose([{}]), onRing }],
      ['segments', 'SEGMENT_ARGUMENT', { segments: new Array<SegmentReader>(64).fill(posture), onRing }],
      ['onRing', 'SEGMENT_ARGUMENT', { segments: readers, onRing: loose('call') }],
      ['timeoutMs', 'SEGMENT_ARGUMENT', { segments: readers, onRing, timeoutMs: 0 }],
      ['timeoutMs', 'SEGMENT_ARGUMENT', { segments: readers, onRing, timeoutMs: NaN }],
    ];
    for (const [field, code, options] of cases)
      expect(() => listen(options)).toThrow(expect.objectContaining({ field, code }) as Error);
    readers[0]?.close();
    expect(() => listen({ segments: readers, onRing })).toThrow(
      expect.objectContaining({ code: 'SEGMENT_CLOSED' }) as Error,
    );
  });
});

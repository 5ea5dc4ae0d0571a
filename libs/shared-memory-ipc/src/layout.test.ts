import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { layoutDifference } from './addon.js';
import { enums, layout, SegmentError, segmentKinds } from './index.js';
import { refusalError, refusalName } from './segment-error.js';

const native = createRequire(import.meta.url)('../build/shared_memory_ipc.node') as { layout: object };

describe('the layout', () => {
  it('DP-1 is in TypeScript what the compiler found in the header, number by number', () => {
    expect(native.layout).toEqual(layout);
    let numbers = 0;
    const count = (value: unknown): void => {
      if (typeof value === 'number') numbers++;
      else for (const inner of Object.values(value as object)) count(inner);
    };
    count(native.layout);
    expect(numbers).toBeGreaterThan(200);
  });

  it('DP-1 has the sizes and places that every release shares', () => {
    expect({
      header: layout.header.size,
      beat: layout.beat.size,
      posture: layout.posture.size,
      transition: layout.transition.size,
      participant: layout.participant.size,
      ack: layout.ack.size,
      failClosed: layout.failClosed.size,
      violation: layout.violation.size,
      entry: layout.entry.size,
      flowKey: layout.flowKey.size,
      shape: layout.shape.size,
      telemetry: layout.telemetry.size,
      flowRecord: layout.flowRecord.size,
      flowSlot: layout.flowSlot.size,
      queueCounters: layout.queueCounters.size,
      word: layout.posture.word,
      bell: layout.posture.beat + layout.beat.bell,
      checksum: layout.header.checksum,
    }).toEqual({
      header: 128,
      beat: 64,
      posture: 384,
      transition: 128,
      participant: 320,
      ack: 64,
      failClosed: 64,
      violation: 128,
      entry: 48,
      flowKey: 40,
      shape: 8,
      telemetry: 64,
      flowRecord: 256,
      flowSlot: 320,
      queueCounters: 64,
      word: 192,
      bell: 144,
      checksum: 96,
    });
    for (const kind of segmentKinds) expect([layout[kind].header, layout[kind].beat]).toEqual([0, 128]);
    expect(layout.tables.size).toBe(layout.tables.bank + layout.limits.banks * layout.bank.size);
    expect(layout.bank.size).toBe(layout.bank.level + layout.limits.levels * layout.levelTable.size);
    expect(layout.dataplane.size).toBe(
      layout.dataplane.worker + layout.limits.maxWorkers * layout.worker.size,
    );
    expect(layout.worker.size % layout.limits.cacheLine).toBe(0);
  });

  it('names the first place where the addon differs, in either direction', () => {
    const copy = (): Record<string, Record<string, number>> => JSON.parse(JSON.stringify(layout)) as never;
    expect(layoutDifference(copy(), layout)).toBeUndefined();
    const moved = copy();
    moved['posture'] = { ...moved['posture'], word: 200 };
    expect(layoutDifference(moved, layout)).toBe('layout.posture.word');
    const more = copy();
    more['ack'] = { ...more['ack'], extra: 1 };
    expect(layoutDifference(more, layout)).toBe('layout.ack.extra');
    const less = copy();
    delete less['worker'];
    expect(layoutDifference(less, layout)).toBe('layout.worker');
    expect(layoutDifference(undefined, layout)).toBe('layout');
  });
});

describe('refusals', () => {
  it('have a code, a sentence and a way out, each of them', () => {
    const codes = new Set<string>();
    for (const [name, refusal] of Object.entries(enums.refusal)) {
      if (name === 'NONE') continue;
      const error = refusalError('open segment', '/x/y', {
        refusal,
        errno: name === 'SYSTEM' ? 28 : 0,
        text: 'why',
      });
      expect(error).toBeInstanceOf(SegmentError);
      expect(error.code).toBe(`SEGMENT_${name}`);
      expect(error.message).toMatch(/^cannot open segment \/x\/y: why.*; expected .+/);
      expect(error.help?.length).toBeGreaterThan(10);
      expect(refusalName(refusal)).toBe(name.toLowerCase().replace('_', '-'));
      if (name === 'SYSTEM') expect(error.message).toContain('(errno 28, ENOSPC)');
      codes.add(error.code);
    }
    expect(codes.size).toBe(15);
    expect(refusalName(0)).toBeUndefined();
  });
});

/**
 * Whatever a data plane's segment holds behind its header, the bridge's readers end soon and say nothing out of range.
 */
import {
  createSegment,
  layout,
  openSegment,
  type SegmentReader,
  type SegmentWriter,
} from '@kedge/shared-memory-ipc';
import { isEpoch, isLevel } from '@kedge/units';
import fc from 'fast-check';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { readRing } from '../src/telemetry-drain.js';
import { safeLevelOf, workerOffset, workerReport, workersOf } from '../src/worker-report.js';

const SLOTS = BigInt(layout.limits.telemetrySlots);
let board: string;
let writer: SegmentWriter;
let reader: SegmentReader;

beforeAll(() => {
  board = mkdtempSync(join(tmpdir(), 'kedge-hostile-'));
  chmodSync(board, 0o700);
  writer = createSegment({ directory: board, name: 'dataplane-hostile', kind: 'dataplane' });
  reader = openSegment({
    directory: board,
    name: 'dataplane-hostile',
    kind: 'dataplane',
    owner: process.getuid?.() ?? 0,
  });
});
afterAll(() => {
  reader.close();
  writer.close();
  rmSync(board, { recursive: true, force: true });
});

/** Mostly small numbers and those at the ends: others are equal to a reader. */
const word = fc.oneof(
  fc.bigInt({ min: 0n, max: 3000n }),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.constantFrom((1n << 64n) - 1n, 1n << 63n, 1n << 48n),
);
const at = workerOffset(0);

it('DP-8 reads of any bytes in a ring only whole events, in order, and counts all others as lost', () => {
  let whole = 0;
  fc.assert(
    fc.property(
      word,
      word,
      fc.array(fc.tuple(fc.nat(1023), fc.boolean(), fc.uint8Array({ minLength: 64, maxLength: 64 })), {
        maxLength: 12,
      }),
      (written, from, slots) => {
        writer.store64(at + layout.worker.telemetryWritten, written);
        for (const [slot, named, bytes] of slots) {
          const offset = at + layout.worker.telemetry + slot * layout.telemetry.size;
          writer.write(offset, bytes);
          // The newest event that can stand there: half of them look whole.
          const number = written - 1n - ((((written - 1n - BigInt(slot)) % SLOTS) + SLOTS) % SLOTS);
          if (named && number >= 0n) {
            writer.store64(offset + layout.telemetry.sequence, (2n * number + 2n) & ((1n << 64n) - 1n));
            writer.store64(offset + layout.telemetry.epoch, BigInt(bytes[20] ?? 0));
            writer.store32(offset + layout.telemetry.kind, (bytes[48] ?? 0) % 6);
          }
        }
        const { events, next, gaps } = readRing(reader, 0, from);
        whole += events.length;
        expect(next).toBe(written);
        expect(BigInt(events.length) + gaps).toBe(written - (from > written ? 0n : from));
        for (const [i, event] of events.entries()) {
          expect(event.number).toBeGreaterThan(events[i - 1]?.number ?? -1n);
          expect(event.number).toBeLessThan(written);
          expect(isEpoch(event.epoch)).toBe(true);
          for (const level of [event.oldLevel, event.newLevel])
            expect(level === undefined || isLevel(level)).toBe(true);
        }
      },
    ),
    { numRuns: 300 },
  );
  expect(whole).toBeGreaterThan(50);
});

it('DP-1 tells of any bytes in a worker a report within every limit', () => {
  const size = 4096;
  fc.assert(
    fc.property(
      fc.nat(0xffff_ffff),
      fc.nat(7),
      fc.nat(layout.worker.size - size),
      fc.uint8Array({ minLength: size, maxLength: size }),
      (workers, safe, offset, bytes) => {
        writer.store32(layout.dataplane.workers, workers);
        writer.write(at + offset, bytes);
        writer.write(at, bytes.subarray(0, 192));
        expect(workersOf(reader).length).toBe(workers <= layout.limits.maxWorkers ? workers : 0);
        expect(isLevel(safeLevelOf(safe)) || safe === 0).toBe(true);
        const report = workerReport(reader, 0);
        expect(report.level === 0 || isLevel(report.level)).toBe(true);
        expect(isEpoch(report.epoch)).toBe(true);
        expect(report.pairs.length).toBeLessThanOrEqual(layout.limits.maxZones ** 2 * 3);
        for (const { fromZone, toZone } of report.pairs)
          expect(Math.max(fromZone, toZone)).toBeLessThan(layout.limits.maxZones);
      },
    ),
    { numRuns: 300 },
  );
});

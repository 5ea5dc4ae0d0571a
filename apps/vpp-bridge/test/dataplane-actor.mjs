/**
 * Plays a data-plane process for tests: a real writer of a real data-plane segment that does what its standard
 * input says, one JSON array a line, and answers each with a line.
 * Must not interpret tables, nor know what a test wants to prove.
 */
import { createSegment, layout, monotonicNs } from '@kedge/shared-memory-ipc';
import { createInterface } from 'node:readline';

const [directory, name] = process.argv.slice(2);
const segment = createSegment({ directory, name: `dataplane-${name}`, kind: 'dataplane' });
const workerAt = (worker) => layout.dataplane.worker + worker * layout.worker.size;
const bump = (offset, by) => segment.store64(offset, segment.load64(offset) + BigInt(by));

const commands = {
  workers: (count) => segment.store32(layout.dataplane.workers, count),
  generation: (worker, generation) =>
    segment.store64(workerAt(worker) + layout.worker.generation, BigInt(generation)),
  hit: (worker, id, packets) =>
    bump(workerAt(worker) + layout.worker.counters + layout.workerCounters.hit + id * 8, packets),
  pair: (worker, from, to, verdict, packets) =>
    bump(
      workerAt(worker) +
        layout.worker.counters +
        layout.workerCounters.pair +
        ((from * layout.limits.maxZones + to) * 4 + verdict) * 8,
      packets,
    ),
  reason: (worker, reason, verdict, packets) =>
    bump(
      workerAt(worker) + layout.worker.counters + layout.workerCounters.reason + (reason * 4 + verdict) * 8,
      packets,
    ),
  /** Writes events as the governance core does: odd sequence, fields, even sequence, counter. */
  tell: (worker, events) => {
    const counter = workerAt(worker) + layout.worker.telemetryWritten;
    for (let count = 0; count < events; count++) {
      const n = segment.load64(counter);
      const slot =
        workerAt(worker) +
        layout.worker.telemetry +
        Number(n % BigInt(layout.limits.telemetrySlots)) * layout.telemetry.size;
      segment.store64(slot + layout.telemetry.sequence, 2n * n + 1n);
      segment.store64(slot + layout.telemetry.atNs, monotonicNs());
      segment.store64(slot + layout.telemetry.epoch, n + 1n);
      segment.store64(slot + layout.telemetry.value, 7n);
      segment.store64(slot + layout.telemetry.droppedPair, n);
      segment.store64(slot + layout.telemetry.droppedEntry, 0n);
      segment.store32(slot + layout.telemetry.kind, layout.enums.telemetryKind.POSTURE);
      segment.store32(slot + layout.telemetry.oldLevel, 5 | (4 << 16));
      segment.store64(slot + layout.telemetry.seenAtNs, monotonicNs());
      segment.store64(slot + layout.telemetry.sequence, 2n * n + 2n);
      segment.store64(counter, n + 1n);
    }
  },
  /** Writes flow records as a data plane does; each is the hexadecimal text of a struct kedge_flow_record. */
  flow: (worker, ...records) => {
    const counter = workerAt(worker) + layout.worker.flowsWritten;
    for (const record of records) {
      const n = segment.load64(counter);
      const slot =
        workerAt(worker) +
        layout.worker.flow +
        Number(n % BigInt(layout.limits.flowSlots)) * layout.flowSlot.size;
      segment.store64(slot + layout.flowSlot.sequence, 2n * n + 1n);
      const bytes = Buffer.from(record, 'hex');
      for (let at = 0; at < bytes.length; at += 8)
        segment.store64(slot + layout.flowSlot.record + at, bytes.readBigUInt64LE(at));
      segment.store64(slot + layout.flowSlot.sequence, 2n * n + 2n);
      segment.store64(counter, n + 1n);
    }
  },
  /** Leaves the newest flow record torn. */
  tearFlow: (worker) => {
    const n = segment.load64(workerAt(worker) + layout.worker.flowsWritten) - 1n;
    const slot =
      workerAt(worker) +
      layout.worker.flow +
      Number(n % BigInt(layout.limits.flowSlots)) * layout.flowSlot.size;
    segment.store64(slot + layout.flowSlot.sequence, 2n * n + 1n);
  },
  /** A counter that says anything. */
  flowsWritten: (worker, count) =>
    segment.store64(workerAt(worker) + layout.worker.flowsWritten, BigInt(count)),
  /** Leaves the newest event torn, as a worker that is stopped in the middle of writing it does. */
  tear: (worker) => {
    const n = segment.load64(workerAt(worker) + layout.worker.telemetryWritten) - 1n;
    const slot =
      workerAt(worker) +
      layout.worker.telemetry +
      Number(n % BigInt(layout.limits.telemetrySlots)) * layout.telemetry.size;
    segment.store64(slot + layout.telemetry.sequence, 2n * n + 1n);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...parameters] = JSON.parse(line);
  commands[command](...parameters);
  process.stdout.write('done\n');
}
segment.close();

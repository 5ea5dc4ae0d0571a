/**
 * Takes events from the telemetry rings of the data planes and hands them to the ledger's spool (DP-8).
 * It must never hold up a writer: rings are only read, and what was overwritten is counted.
 */
import { DATAPLANE_EVENT_KINDS, type DataplaneEvent, type RecordSink } from '@kedge/contracts';
import { layout, type SegmentReader } from '@kedge/shared-memory-ipc';
import { hasCode, isEpoch, isLevel, type Level } from '@kedge/units';

import type { OpenDataPlane } from './data-planes.js';
import { type Reading, readSlots, RingProgress } from './ring.js';
import { workerOffset } from './worker-report.js';

/** An event as it stood in a ring. */
export interface TelemetryEvent {
  /** Its number, from 0. */
  readonly number: bigint;
  /** Events overwritten unread directly before it. */
  readonly gap: bigint;
  readonly kind: (typeof DATAPLANE_EVENT_KINDS)[number];
  readonly epoch: bigint;
  readonly oldLevel: Level | undefined;
  readonly newLevel: Level | undefined;
  readonly value: bigint;
  readonly seenAtNs: bigint;
  readonly toldAtNs: bigint;
  readonly droppedByPair: bigint;
  readonly droppedByEntry: bigint;
}

/** What was read of one ring. */
export type RingReading = Reading<Omit<TelemetryEvent, 'number' | 'gap'>>;

/** Reads a worker's ring from event `from` on. */
export function readRing(reader: SegmentReader, worker: number, from: bigint): RingReading {
  const at = workerOffset(worker);
  return readSlots(
    reader,
    {
      written: at + layout.worker.telemetryWritten,
      slots: at + layout.worker.telemetry,
      slotSize: layout.telemetry.size,
      slotCount: layout.limits.telemetrySlots,
      sequence: layout.telemetry.sequence,
    },
    from,
    (slot) => readEvent(reader, slot),
  );
}

function readEvent(reader: SegmentReader, slot: number): Omit<TelemetryEvent, 'number' | 'gap'> | undefined {
  const place = layout.telemetry;
  const kind = DATAPLANE_EVENT_KINDS[reader.load32(slot + place.kind) - 1];
  // Two 16-bit fields in one word; read together.
  const levels = reader.load32(slot + place.oldLevel);
  const epoch = reader.load64(slot + place.epoch);
  const [oldLevel, newLevel] = [levels & 0xffff, levels >>> 16];
  if (kind === undefined || !isEpoch(epoch)) return undefined;
  return {
    kind,
    epoch,
    oldLevel: isLevel(oldLevel) ? oldLevel : undefined,
    newLevel: isLevel(newLevel) ? newLevel : undefined,
    value: reader.load64(slot + place.value),
    toldAtNs: reader.load64(slot + place.atNs),
    seenAtNs: reader.load64(slot + place.seenAtNs),
    droppedByPair: reader.load64(slot + place.droppedPair),
    droppedByEntry: reader.load64(slot + place.droppedEntry),
  };
}

/** Where to take events from and where to put them. */
export interface DrainOptions {
  readonly appliance: string;
  readonly sink: RecordSink;
  /** Both clocks, to tell people when an event was. */
  readonly clock: { readonly monotonicNs: () => bigint; readonly wallMs: () => number };
  /** Told when a record could not be kept; the drain goes on. */
  readonly onUnkept: (error: unknown, record: DataplaneEvent) => void;
}

/** The readers' side of all rings. */
export class TelemetryDrain {
  readonly #options: DrainOptions;
  readonly #progress = new RingProgress();
  #unkept = 0;
  #keeping: Promise<unknown> | undefined;

  constructor(options: DrainOptions) {
    this.#options = options;
  }

  /** Events of a data plane that nobody read before they were overwritten. */
  gaps(name: string): bigint {
    return this.#progress.gaps(name);
  }

  /** Records that the sink did not take. */
  get unkept(): number {
    return this.#unkept;
  }

  /**
   * Takes what is new. Resolves when all of it is kept, or was refused by the sink. While an earlier call waits for
   * the sink nothing is taken: it stays in the rings, which are bounded and count what they lose.
   */
  async drain(dataplanes: readonly OpenDataPlane[]): Promise<void> {
    if (this.#keeping === undefined) {
      const records = dataplanes.flatMap((dataplane) => this.#read(dataplane));
      this.#keeping = Promise.all(records.map((record) => this.#keep(record))).finally(() => {
        this.#keeping = undefined;
      });
    }
    await this.#keeping;
  }

  #read(dataplane: OpenDataPlane): DataplaneEvent[] {
    const { name, reader, header } = dataplane;
    const records: DataplaneEvent[] = [];
    for (let worker = 0; worker < layout.limits.maxWorkers; worker++) {
      const events = this.#progress.take(dataplane, worker, (from) => readRing(reader, worker, from));
      const ring = `${header.bootId.slice(0, 8)}/${name}.${String(worker)}`;
      for (const event of events) records.push(this.#record(event, name, worker, ring));
    }
    return records;
  }

  #record(event: TelemetryEvent, dataplane: string, worker: number, ring: string): DataplaneEvent {
    const { appliance, clock } = this.#options;
    const agoMs = Number(clock.monotonicNs() - event.toldAtNs) / 1e6;
    return {
      schema: 'kedge.dataplane-event/1',
      // The moment is part of it: a ring that was made anew counts from 0 again.
      id: `dataplane-event/${appliance}/${ring}/${String(event.number)}-${String(event.toldAtNs)}`,
      appliance,
      at: new Date(Math.max(0, clock.wallMs() - Math.max(0, agoMs))).toISOString(),
      epoch: String(event.epoch),
      dataplane,
      worker,
      kind: event.kind,
      oldLevel: event.oldLevel ?? null,
      newLevel: event.newLevel ?? null,
      value: String(event.value),
      seenAtNs: String(event.seenAtNs),
      toldAtNs: String(event.toldAtNs),
      droppedByPair: String(event.droppedByPair),
      droppedByEntry: String(event.droppedByEntry),
      gap: String(event.gap),
    };
  }

  async #keep(record: DataplaneEvent): Promise<void> {
    try {
      await this.#options.sink.append(record);
    } catch (error) {
      // A bridge that was restarted reads the rings from their beginning. Wall-clock time is told anew then, so
      // that the record differs in it from the one that is kept already.
      if (hasCode(error, 'LEDGER_ID_REUSED')) return;
      this.#unkept += 1;
      this.#options.onUnkept(error, record);
    }
  }
}

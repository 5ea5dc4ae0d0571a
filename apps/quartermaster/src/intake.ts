/**
 * The intake: streams of batches from the services' spools into the store, answered when they are durable.
 * It must not let one service speak for another, and holds no more than one batch of each stream: what the store does
 * not take yet waits at its sender.
 */
import { type Batch, type Kept, MAX_BATCH_BYTES } from '@kedge/bus';
import type { LedgerStore } from '@kedge/ledger-store';
import { KedgeError } from '@kedge/units';
import { setTimeout as pause } from 'node:timers/promises';

import type { QuartermasterLog } from './log.js';

/** Spools of one service; a service has one, and another after its state was lost. */
const SPOOLS_MAX = 64;
/** Until a store that has too much to do is asked again. */
const BUSY_MS = 5;

/** How one spool fares. */
export interface SpoolStanding {
  readonly service: string;
  readonly spool: string;
  readonly upTo: bigint;
  readonly streams: number;
  readonly records: bigint;
  readonly duplicates: bigint;
}

interface Counts {
  records: bigint;
  duplicates: bigint;
}

interface Source {
  readonly spools: Map<string, Counts>;
  streams: number;
  /** Why its records do not come in; undefined while they do. */
  trouble: string | undefined;
}

/** The intake of all services that may deliver. */
export class Intake {
  readonly #store: Pick<LedgerStore, 'deliver' | 'cursor'>;
  readonly #log: QuartermasterLog;
  readonly #sources: ReadonlyMap<string, Source>;

  /** @param services names of those that may deliver. */
  constructor(
    store: Pick<LedgerStore, 'deliver' | 'cursor'>,
    services: readonly string[],
    log: QuartermasterLog,
  ) {
    this.#store = store;
    this.#log = log;
    this.#sources = new Map(
      services.map((service) => [service, { spools: new Map(), streams: 0, trouble: undefined }]),
    );
  }

  /**
   * Takes the batches of one stream, one after the other.
   *
   * @param service proven by the socket that the stream came in by.
   * @throws KedgeError `LEDGER_BATCH` (no spool's id, no sequence, too large), `LEDGER_SOURCE` (nobody that may
   *   deliver), `LEDGER_GAP`, `LEDGER_FULL`, `LEDGER_STORE_FAILED`, `LEDGER_STORE_CLOSED`.
   */
  async *deliver(
    service: string,
    batches: AsyncIterable<Batch>,
    signal: AbortSignal,
  ): AsyncGenerator<Kept, void, undefined> {
    const source = this.#sources.get(service);
    if (source === undefined) {
      throw new KedgeError({
        code: 'LEDGER_SOURCE',
        message: `cannot take records of ${service}: it is no source of this ledger`,
        expected: `one of ${[...this.#sources.keys()].join(', ')}`,
      });
    }
    source.streams += 1;
    try {
      for await (const batch of batches) {
        const upTo = await this.#take(service, source, batch, signal);
        if (source.trouble !== undefined) {
          source.trouble = undefined;
          this.#log.info({ service, spool: batch.spool }, 'records come in again');
        }
        yield { spool: batch.spool, upTo };
      }
    } catch (error) {
      this.#tell(service, source, error);
      throw error;
    } finally {
      source.streams -= 1;
    }
  }

  /** Every spool that was heard of since the start. */
  standings(): readonly SpoolStanding[] {
    return [...this.#sources].flatMap(([service, { spools, streams }]) =>
      [...spools].map(([spool, { records, duplicates }]) => ({
        service,
        spool,
        upTo: this.#store.cursor(service, spool),
        streams,
        records,
        duplicates,
      })),
    );
  }

  /** What keeps records out, in plain words. */
  alarms(): readonly string[] {
    return [...this.#sources].flatMap(([service, { trouble }]) =>
      trouble === undefined ? [] : [`the records of ${service} do not come in: ${trouble}`],
    );
  }

  async #take(service: string, source: Source, batch: Batch, signal: AbortSignal): Promise<bigint> {
    const { spool, first, records } = batch;
    checkBatch(batch);
    const counts = countsOf(service, source, spool);
    const before = this.#store.cursor(service, spool);
    if (records.length === 0) return before;
    const upTo = await this.#deliverPatiently(service, spool, first, records, signal);
    const known = before >= first ? before - first + 1n : 0n;
    const count = BigInt(records.length);
    counts.records += count;
    counts.duplicates += known < count ? known : count;
    return upTo;
  }

  /** A store that has too much to do takes it a little later: the sender waits, and nothing is lost. */
  async #deliverPatiently(
    service: string,
    spool: string,
    first: bigint,
    records: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<bigint> {
    for (;;) {
      try {
        return await this.#store.deliver(service, spool, first, records);
      } catch (error) {
        if (!(error instanceof KedgeError) || error.code !== 'LEDGER_BUSY') throw error;
      }
      signal.throwIfAborted();
      await pause(BUSY_MS);
    }
  }

  /** Said once for each reason. That a caller left is none. */
  #tell(service: string, source: Source, error: unknown): void {
    if (!(error instanceof KedgeError) || error.code.startsWith('BUS_')) return;
    const trouble = `${error.code}: ${error.message}`;
    if (source.trouble === trouble) return;
    source.trouble = trouble;
    this.#log.error({ err: error, service }, 'records of a service are refused');
  }
}

function checkBatch({ spool, first, records }: Batch): void {
  const refuse = (field: string, expected: string): KedgeError =>
    new KedgeError({
      code: 'LEDGER_BATCH',
      message: `cannot take the batch: ${field} is wrong`,
      field,
      expected,
    });
  if (!/^[0-9a-f]{32}$/.test(spool)) throw refuse('spool', 'the id of a spool, 32 hexadecimal digits');
  if (records.length > 0 && first < 1n) throw refuse('first', 'a sequence, from 1');
  const bytes = records.reduce((sum, record) => sum + record.length, 0);
  if (bytes > MAX_BATCH_BYTES) throw refuse('records', `at most ${MAX_BATCH_BYTES} bytes`);
}

function countsOf(service: string, source: Source, spool: string): Counts {
  const known = source.spools.get(spool);
  if (known !== undefined) return known;
  if (source.spools.size >= SPOOLS_MAX) {
    throw new KedgeError({
      code: 'LEDGER_SOURCE',
      message: `cannot take another spool of ${service}`,
      expected: `at most ${SPOOLS_MAX} since the start`,
      help: 'a spool that is new at every start keeps nothing; look at its directory',
    });
  }
  const counts = { records: 0n, duplicates: 0n };
  source.spools.set(spool, counts);
  return counts;
}

/**
 * The records of a service on their way to the ledger: a durable spool, and a forwarder that drains it.
 * It must not decide what is recorded, and nothing that tightens ever waits for it (PO-22).
 */
import { type IntakeClient, intakeClient } from '@kedge/bus';
import type { LedgerRecord, Receipt, RecordSink } from '@kedge/contracts';
import { openSpool, type Spool, type SpoolStatus } from '@kedge/ledger';
import { type Clock, hasCode, KedgeError } from '@kedge/units';

import { type ForwarderStatus, SpoolForwarder } from './spool-forwarder.js';
import { Spreading } from './spreading.js';

/** See the fields. */
export interface OutboxOptions {
  /** Directory of the spool; undefined = storage that is not used: all records are lost, and counted. */
  readonly directory: string | undefined;
  /** Socket of the ledger's intake for this service; absent: records wait in the spool. */
  readonly ledger?: string | undefined;
  /** Largest size of the spool, bytes; default 64 MiB. */
  readonly maxBytes?: number;
  readonly clock: Pick<Clock, 'monotonicNs'>;
  readonly log: {
    info(fields: object, text: string): void;
    warn(fields: object, text: string): void;
    error(fields: object, text: string): void;
  };
}

/** How the records of a service stand. */
export interface OutboxStatus {
  /** Undefined while the spool is being opened, and where it cannot be. */
  readonly spool: SpoolStatus | undefined;
  /** Undefined where there is nobody to forward to. */
  readonly link: ForwarderStatus | undefined;
  /** Records that never reached the spool. */
  readonly lost: number;
}

/** Records that may wait for the spool at once. */
const PENDING_MAX = 2_048;
/** Until the ledger is looked for: whoever has just come back has other work, and what is durable has time. */
const FORWARD_AFTER_MS = 1_000;
/** Records wait so long for others, and go together. */
const GATHER_MS = 200;
/** For how long records may wait for the ledger before that is worth an alarm. */
const ALARM_MS = 60_000;

/** Opens the records of a service: at work when it returns, the spool is opened meanwhile. `close` once. */
export function openOutbox(options: OutboxOptions): Outbox {
  return new Outbox(options);
}

/** See {@link openOutbox}. */
export class Outbox implements RecordSink {
  readonly #options: OutboxOptions;
  readonly #opened: Promise<Spool>;
  #spool: Spool | undefined;
  #forwarder: SpoolForwarder | undefined;
  #client: IntakeClient | undefined;
  #failure: KedgeError | undefined;
  #pending = 0;
  #lost = 0;
  readonly #prompt: Spreading;
  readonly #patient: Spreading;
  #closed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    const spreading = {
      keep: (record: LedgerRecord) => this.#keep(record),
      lose: (error: unknown) => {
        this.#lose('a fact of several records', error);
      },
    };
    this.#prompt = new Spreading(spreading);
    this.#patient = new Spreading(spreading);
    this.#opened = this.#open();
    this.#opened.catch(() => undefined);
  }

  /**
   * Takes a record; resolves when it would survive a power cut.
   *
   * @throws KedgeError as `RecordSink.append`
   */
  async append(record: LedgerRecord): Promise<Receipt> {
    return await (await this.#opened).append(record);
  }

  /**
   * Takes records; resolves when they are durable, with true where all of them are. Never rejects: what cannot be kept
   * is counted and said.
   */
  async keep(records: Iterable<LedgerRecord | undefined>): Promise<boolean> {
    const kept: Promise<boolean>[] = [];
    for (const record of records) if (record !== undefined) kept.push(this.#keep(record));
    return (await Promise.all(kept)).every(Boolean);
  }

  /** Takes a record that nobody waits for. What cannot be kept is counted and said. */
  put(record: LedgerRecord): void {
    if (this.#pending >= PENDING_MAX) {
      this.#lose(record.id, undefined);
      return;
    }
    void this.#keep(record);
  }

  /**
   * Takes a long fact, as several records that are made one after the other: between them, and wherever undefined is
   * given instead of one, everything else has its turn. Nobody waits for them.
   */
  spread(records: Iterable<LedgerRecord | undefined>): void {
    this.#prompt.add(records);
  }

  /** As {@link spread}, of facts that have time: while they are held nothing of them is made. */
  spreadInTime(records: Iterable<LedgerRecord | undefined>): void {
    this.#patient.add(records);
  }

  /** Facts that have time wait until what is returned is called, 5 s at most: something else must not. */
  hold(): () => void {
    return this.#patient.hold();
  }

  /**
   * Resolves when records are taken.
   *
   * @throws KedgeError `LEDGER_SPOOL_FULL`, `LEDGER_SPOOL_FAILED`, `LEDGER_SPOOL_DAMAGED`, `LEDGER_SPOOL_CLOSED`: who
   *   may only do what is recorded does not do it.
   */
  async ready(): Promise<void> {
    const { state } = (await this.#opened).status();
    if (state === 'open') return;
    const codes = {
      full: 'LEDGER_SPOOL_FULL',
      failed: 'LEDGER_SPOOL_FAILED',
      closed: 'LEDGER_SPOOL_CLOSED',
    };
    throw new KedgeError({
      code: codes[state],
      message: 'nothing is changed that could not be recorded, and the spool takes no records',
      help: 'see whether the ledger runs and the disk has room',
    });
  }

  /** Records that never reached the spool. */
  get lost(): number {
    return this.#lost;
  }

  status(): OutboxStatus {
    return {
      spool: this.#spool?.status(),
      link: this.#forwarder?.status(),
      lost: this.#lost,
    };
  }

  /** What is not as it should be, in plain words. */
  get alarms(): readonly string[] {
    const { spool, link, lost } = this.status();
    return [
      ...(this.#failure === undefined ? [] : [`no records are kept: ${this.#failure.code}`]),
      ...(spool?.state === 'full' || spool?.state === 'failed'
        ? [`the spool takes no records: it is ${spool.state === 'full' ? 'full' : 'broken'}`]
        : []),
      ...(lost === 0 ? [] : [`records were lost: ${lost}`]),
      ...(link === undefined || link.waitingMs < ALARM_MS
        ? []
        : [
            `records wait for the ledger: ${link.waiting}, the oldest for ${Math.floor(link.waitingMs / 1e3)} s${
              link.trouble === undefined ? '' : ` (${link.trouble})`
            }`,
          ]),
    ];
  }

  /** Writes down what was taken, and closes. A second call does nothing. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([this.#prompt.close(), this.#patient.close()]);
    const spool = await this.#opened.catch(() => undefined);
    await this.#forwarder?.close();
    this.#client?.close();
    await spool?.close();
  }

  async #open(): Promise<Spool> {
    const { directory, ledger, maxBytes, clock, log } = this.#options;
    try {
      if (directory === undefined) {
        throw new KedgeError({
          code: 'LEDGER_SPOOL_FAILED',
          message: 'cannot open a spool: its storage does not answer',
        });
      }
      const spool = await openSpool({
        directory,
        ...(maxBytes === undefined ? {} : { maxBytes }),
        onTrouble: (error) => {
          log.error({ err: error }, 'the record spool is in trouble');
        },
      });
      const { recovery } = spool;
      if (recovery.cutBytes > 0) log.warn(recovery, 'the record spool had a torn end');
      this.#spool = spool;
      if (ledger !== undefined && !this.#closed) {
        this.#forwarder = new SpoolForwarder({
          spool,
          // Made with the first stream: what a client is made of takes its time, and a start has none.
          deliver: (batches, options) => {
            this.#client ??= intakeClient(ledger);
            return this.#client.deliver(batches, options);
          },
          nowNs: () => clock.monotonicNs(),
          log,
          beginMs: FORWARD_AFTER_MS,
          gatherMs: GATHER_MS,
        });
      }
      return spool;
    } catch (error) {
      this.#failure =
        error instanceof KedgeError
          ? error
          : new KedgeError({ code: 'LEDGER_SPOOL_FAILED', message: 'cannot open a spool', cause: error });
      log.error({ err: this.#failure }, 'the record spool cannot be opened');
      throw this.#failure;
    }
  }

  /** Whether it is kept. Never rejects. */
  async #keep(record: LedgerRecord): Promise<boolean> {
    this.#pending += 1;
    try {
      await this.append(record);
      return true;
    } catch (error) {
      // Told again after a restart it differs in its wall-clock time from the one that is kept already.
      if (hasCode(error, 'LEDGER_ID_REUSED')) return true;
      this.#lose(record.id, error);
      return false;
    } finally {
      this.#pending -= 1;
    }
  }

  #lose(id: string, error: unknown): void {
    this.#lost += 1;
    if (this.#lost === 1) this.#options.log.error({ err: error, id }, 'a record was lost');
  }
}

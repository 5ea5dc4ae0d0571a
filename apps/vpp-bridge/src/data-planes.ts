/**
 * The data planes of the board as the bridge sees them: their segments opened, opened again when replaced, and
 * whether their processes live.
 * It must not write anything, and must not take silence for death: only a process that is gone is dead (DP-2).
 */
import {
  layout,
  openSegment,
  SegmentError,
  type SegmentHeader,
  type SegmentReader,
  writerLives,
} from '@kedge/shared-memory-ipc';

/** A data plane whose segment could be opened. */
export interface OpenDataPlane {
  /** Without "dataplane-". */
  readonly name: string;
  readonly reader: SegmentReader;
  /** The header as last read whole. */
  readonly header: SegmentHeader;
  readonly alive: boolean;
}

/** Somebody who may still read a bank. */
export interface BankUser {
  /** "NAME/WORKER", or "NAME" where its segment cannot be read. */
  readonly who: string;
  /** The generation that it uses; undefined = cannot be known. */
  readonly generation: bigint | undefined;
  /** Process id, for people; 0 = unknown. */
  readonly pid: number;
}

interface Held {
  readonly name: string;
  readonly reader: SegmentReader;
  header: SegmentHeader | undefined;
}

/** Opens and holds the segments of the configured data planes. */
export class DataPlanes {
  readonly #directory: string;
  readonly #owners: ReadonlyMap<string, number>;
  readonly #held = new Map<string, Held>();
  /** Mappings of files that were replaced while their processes may live on. */
  #former: Held[] = [];
  /** Why a data plane cannot be opened. */
  readonly #refused = new Map<string, SegmentError>();

  /** @param owners uid by name, without "dataplane-". */
  constructor(directory: string, owners: ReadonlyMap<string, number>) {
    this.#directory = directory;
    this.#owners = owners;
  }

  /** Opens what is missing or was replaced. Cheap where nothing changed; called before every look. */
  refresh(): void {
    for (const [name, owner] of this.#owners) {
      const held = this.#held.get(name);
      if (held?.reader.current() === true) {
        this.#readHeader(held);
        continue;
      }
      if (held !== undefined) {
        this.#held.delete(name);
        this.#former.push(held);
      }
      try {
        const reader = openSegment({
          directory: this.#directory,
          name: `dataplane-${name}`,
          kind: 'dataplane',
          owner,
        });
        const opened: Held = { name, reader, header: undefined };
        this.#readHeader(opened);
        this.#held.set(name, opened);
        this.#refused.delete(name);
      } catch (error) {
        if (!(error instanceof SegmentError)) throw error;
        this.#refused.set(name, error);
      }
    }
    this.#former = this.#former.filter((held) => {
      if (held.header === undefined || writerLives(held.header)) return true;
      held.reader.close();
      return false;
    });
  }

  #readHeader(held: Held): void {
    try {
      held.header = held.reader.header;
    } catch (error) {
      // Its writer is renewing it; the one read before stands until that is done.
      if (!(error instanceof SegmentError)) throw error;
      if (error.code !== 'SEGMENT_OPENING') this.#refused.set(held.name, error);
    }
  }

  /** Those that can be read now, by name. */
  open(): OpenDataPlane[] {
    return [...this.#held.values()].flatMap(({ name, reader, header }) =>
      header === undefined ? [] : [{ name, reader, header, alive: writerLives(header) }],
    );
  }

  /** Names of all configured data planes. */
  names(): string[] {
    return [...this.#owners.keys()];
  }

  /**
   * Everybody who may be reading a bank: every slot of every data plane whose process exists, however stale, also
   * of a file that was replaced under it. What cannot be read is a user of an unknown generation, so that
   * nothing is overwritten on a guess.
   */
  bankUsers(): BankUser[] {
    this.refresh();
    const users: BankUser[] = [];
    for (const held of [...this.#held.values(), ...this.#former]) {
      let header: SegmentHeader;
      try {
        header = held.reader.header;
      } catch (error) {
        if (!(error instanceof SegmentError)) throw error;
        if (held.header === undefined || writerLives(held.header) || error.code === 'SEGMENT_OPENING')
          users.push({ who: held.name, generation: undefined, pid: held.header?.writerPid ?? 0 });
        continue;
      }
      if (!writerLives(header)) continue;
      for (let worker = 0; worker < layout.limits.maxWorkers; worker++) {
        const at = layout.dataplane.worker + worker * layout.worker.size + layout.worker.generation;
        const generation = held.reader.load64(at);
        if (generation !== 0n)
          users.push({ who: `${held.name}/${String(worker)}`, generation, pid: header.writerPid });
      }
    }
    for (const [name, { code }] of this.#refused)
      if (code !== 'SEGMENT_MISSING' && !this.#held.has(name))
        users.push({ who: name, generation: undefined, pid: 0 });
    return users;
  }

  close(): void {
    for (const { reader } of [...this.#held.values(), ...this.#former]) reader.close();
    this.#held.clear();
    this.#former = [];
  }
}

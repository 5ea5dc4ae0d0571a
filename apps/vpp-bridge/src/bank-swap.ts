/**
 * The bridge's own segment: which generation is in force, and how the next one is put beside it (DP-2).
 * It must never write a bank that anybody may read, and must not judge tables beyond whether they hold.
 */
import { levelTableHolds, stampLevelTable } from '@kedge/dataplane';
import { createSegment, layout, type SegmentWriter } from '@kedge/shared-memory-ipc';
import { KedgeError, type Level, LEVELS } from '@kedge/units';

import type { BankUser } from './data-planes.js';
import type { BuiltTables } from './tables.js';

/** Largest generation that workers follow (KEDGE_GENERATION_MAX). */
const GENERATION_MAX = (1n << 56n) - 1n;
const BANKS = BigInt(layout.limits.banks);

/** A level as it stands in a bank. */
export interface PublishedLevel {
  readonly level: Level;
  /** Whether the data plane can use it. */
  readonly valid: boolean;
  readonly entries: number;
  readonly shapes: { readonly ip4: number; readonly ip6: number };
  readonly classify: boolean;
}

/** What is in force. */
export interface Published {
  readonly generation: bigint;
  readonly builtAtNs: bigint;
  readonly hash: Buffer;
  readonly levels: readonly PublishedLevel[];
}

/** What became of an attempt to publish. */
export type Attempt =
  | { readonly outcome: 'published'; readonly generation: bigint }
  /** Somebody may still read the bank that is next; `why` names them. Nothing was written. */
  | { readonly outcome: 'waiting'; readonly why: string };

/** The tables segment, held by its one writer. */
export class BankSwap {
  readonly #segment: SegmentWriter;
  readonly #bankUsers: () => readonly BankUser[];
  readonly #now: () => bigint;
  #published: Published | undefined;

  /**
   * Creates the segment or takes over the one that survived; a surviving generation that holds stays in force.
   *
   * @throws SegmentError `SEGMENT_BUSY` (another bridge runs), `SEGMENT_OWNER`, `SEGMENT_DIRECTORY`, `SEGMENT_SYSTEM`.
   */
  constructor({
    directory,
    bankUsers,
    now,
  }: {
    readonly directory: string;
    readonly bankUsers: () => readonly BankUser[];
    readonly now: () => bigint;
  }) {
    this.#segment = createSegment({ directory, name: 'tables', kind: 'tables' });
    // Where it is allowed: what data planes read must not be on its way from a swap device.
    this.#segment.lockMemory();
    this.#bankUsers = bankUsers;
    this.#now = now;
    this.#published = this.#read(this.#segment.load64(layout.tables.generation));
  }

  /** What is in force; undefined when there is nothing that holds at any level. */
  get published(): Published | undefined {
    return this.#published;
  }

  /** Why an older file had to be replaced at the start; undefined = it was not. */
  get replaced(): string | undefined {
    return this.#segment.replaced;
  }

  /** Renews the heartbeat. */
  beat(serving: boolean): void {
    this.#segment.beat(serving);
  }

  close(): void {
    this.#segment.close();
  }

  /**
   * Puts tables beside the ones in force and makes them the ones in force, if nobody may be reading the bank that
   * they need. One attempt, never blocking.
   *
   * @throws KedgeError `GOVERNANCE_GENERATIONS` when there is no next generation.
   */
  attempt(tables: BuiltTables): Attempt {
    const generation = this.#next();
    const bank = generation % BANKS;
    const users = this.#bankUsers().filter(
      (user) => user.generation === undefined || user.generation % BANKS === bank,
    );
    if (users.length > 0) return { outcome: 'waiting', why: waitingFor(users, generation) };

    const at = bankOffset(bank);
    const builtAtNs = this.#now();
    this.#segment.store64(at + layout.bank.generation, 0n);
    for (const level of LEVELS) {
      const { table } = tables.levels[level];
      stampLevelTable(table, generation);
      this.#segment.write(at + layout.bank.level + (level - 1) * layout.levelTable.size, table);
    }
    this.#segment.store64(at + layout.bank.builtAtNs, builtAtNs);
    this.#segment.write(at + layout.bank.accordsHash, tables.hash);
    this.#segment.store64(at + layout.bank.generation, generation);
    this.#segment.store64(layout.tables.generation, generation);
    // Wakes the loaders, and is a full barrier: the next look at what workers use comes after this store, as the
    // two-bank rule demands.
    this.#segment.ring();
    this.#published = this.#read(generation);
    return { outcome: 'published', generation };
  }

  /** The number after every generation that any bank ever held, in the bank that is not in force. */
  #next(): bigint {
    const inForce = this.#segment.load64(layout.tables.generation);
    const held = [0n, 1n].map((bank) => this.#segment.load64(bankOffset(bank) + layout.bank.generation));
    let next = [inForce, ...held].reduce((most, each) => (each > most ? each : most), 0n) + 1n;
    // After a crash between the last two stores of an attempt the number that was never in force is left out.
    if (inForce !== 0n && next % BANKS === inForce % BANKS) next += 1n;
    if (next > GENERATION_MAX)
      throw new KedgeError({
        code: 'GOVERNANCE_GENERATIONS',
        message: `cannot publish tables: generation ${String(inForce)} has no next one`,
        help: 'the tables segment is damaged; stop the data planes, remove it and restart the bridge',
      });
    return next;
  }

  #read(generation: bigint): Published | undefined {
    if (generation === 0n || generation > GENERATION_MAX) return undefined;
    const at = bankOffset(generation % BANKS);
    if (this.#segment.load64(at + layout.bank.generation) !== generation) return undefined;
    const levels = LEVELS.map((level): PublishedLevel => {
      const start = at + layout.bank.level + (level - 1) * layout.levelTable.size;
      const bytes = this.#segment.bytes(start, layout.levelTable.size);
      const shapes = (family: number): number =>
        bytes.readUInt32LE(
          layout.levelTable.family + family * layout.familyTable.size + layout.familyTable.shapes,
        );
      return {
        level,
        valid: levelTableHolds(bytes, level, generation),
        entries: bytes.readUInt32LE(layout.levelTable.entries),
        shapes: { ip4: shapes(layout.enums.family.IP4), ip6: shapes(layout.enums.family.IP6) },
        classify: (bytes.readUInt32LE(layout.levelTable.flags) & layout.enums.levelFlag.CLASSIFY) !== 0,
      };
    });
    if (levels.every(({ valid }) => !valid)) return undefined;
    return {
      generation,
      builtAtNs: this.#segment.load64(at + layout.bank.builtAtNs),
      hash: this.#segment.bytes(at + layout.bank.accordsHash, 32),
      levels,
    };
  }
}

function bankOffset(bank: bigint): number {
  return layout.tables.bank + Number(bank) * layout.bank.size;
}

function waitingFor(users: readonly BankUser[], generation: bigint): string {
  const names = users
    .slice(0, 8)
    .map(({ who, generation: used, pid }) =>
      used === undefined
        ? `${who} (cannot be read, process ${String(pid)})`
        : `${who} (uses generation ${String(used)}, process ${String(pid)})`,
    );
  const more = users.length > 8 ? ` and ${String(users.length - 8)} more` : '';
  return `generation ${String(generation)} waits until its bank is free of ${names.join(', ')}${more}`;
}

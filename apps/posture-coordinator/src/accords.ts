/**
 * The accords that the coordinator keeps in force: who may loosen by them, which files are offered for the next ones,
 * and whether the data plane has them.
 * It must not decide about a change; the posture machine does.
 */
import type { AccordFiles, BoardSnapshot } from '@kedge/bus';
import { type Authority, authorityOf } from '@kedge/posture';
import type { Logger } from '@kedge/runtime';
import { layout, openSegment, type SegmentReader } from '@kedge/shared-memory-ipc';
import { KedgeError, nanosFromMillis } from '@kedge/units';
import { setTimeout as pause } from 'node:timers/promises';

import { AccordStore, type NamedSet, type OfferedSet, type Pointer, readOffered } from './accord-store.js';
import { inTime } from './storage.js';

/** What the accords of a coordinator are made with. */
export interface AccordsParts {
  /** Where the ones in force are kept. */
  readonly directory: string;
  /** The files that a reload reads. */
  readonly offered: AccordFiles;
  readonly board: string;
  /** The uid that owns the tables of the board; undefined = nobody looks at them. */
  readonly tablesOwner: number | undefined;
  /** How long the data plane may take to use the tables of a tighter set before it is given up, milliseconds. */
  readonly publishMs: number;
  /** How long storage may take to answer, milliseconds. */
  readonly storageAnswerMs: number;
  readonly logger: Logger;
}

/** Between looks at whether the data plane has come to the tables that it is to use, milliseconds. */
const LOOK_MS = 5;

/** One per process. */
export class Accords {
  readonly #parts: AccordsParts;
  readonly #store: AccordStore;
  #tables: SegmentReader | undefined;
  #trouble: string | undefined;
  /** Flushes that are under way, the last one. */
  #flushing: Promise<void> = Promise.resolve();

  private constructor(parts: AccordsParts, store: AccordStore) {
    this.#parts = parts;
    this.#store = store;
  }

  /** @throws KedgeError and Error as `AccordStore.open`. */
  static async open(parts: AccordsParts): Promise<Accords> {
    return new Accords(parts, await AccordStore.open(parts.directory, parts.offered));
  }

  get inForce(): NamedSet {
    return this.#store.inForce;
  }

  /** Who may loosen, by the accords in force. */
  get authority(): Authority {
    return authorityOf(this.inForce.set.accords);
  }

  /** What is wrong, in plain words. */
  alarms(snapshot: BoardSnapshot): readonly string[] {
    const trouble = this.#trouble === undefined ? [] : [this.#trouble];
    // While tighter ones are prepared the tables may be of either.
    if (this.prepared !== undefined) return trouble;
    return [
      ...trouble,
      ...this.behind(snapshot, this.inForce).map((what) => `the accords in force are not obeyed: ${what}`),
    ];
  }

  /** The set that the configured files hold now. @throws KedgeError as `readOffered`. */
  async offered(): Promise<OfferedSet> {
    return await readOffered(this.#parts.offered);
  }

  /** Keeps a copy durably. @throws Error of the file system. */
  async keep(set: OfferedSet): Promise<void> {
    await this.#store.keep(set);
  }

  /** Has nobody let go of a set until the function that this returns is called. */
  hold(set: NamedSet): () => void {
    return this.#store.hold(set);
  }

  /** The tighter set that is prepared, if one is. */
  get prepared(): NamedSet | undefined {
    return this.#store.prepared;
  }

  /**
   * Has the data plane use a tighter set, then overlay and underlay, before it is decided: all of it lasts when this
   * resolves. Tighter tables that stand for a moment before their epoch forbid nothing that is not about to be
   * forbidden; an epoch that stands before its tables would promise what nobody keeps.
   *
   * @param look the board as it is now.
   * @param given aborts when nobody waits for the answer any more.
   * @returns what does not use it, in time; empty = everybody does. Whoever called {@link adopt}s or withdraws.
   * @throws Error of the file system; KedgeError `STORAGE_SILENT`.
   */
  async prepare(to: NamedSet, look: () => BoardSnapshot, given: AbortSignal): Promise<readonly string[]> {
    const { publishMs, storageAnswerMs } = this.#parts;
    this.#store.prepare('tables', to);
    let board = look();
    const until = board.atNs + nanosFromMillis(publishMs);
    for (;;) {
      const behind = this.behind(board, to);
      if (behind.length === 0) break;
      if (given.aborted || board.atNs >= until) return behind;
      await pause(LOOK_MS);
      board = look();
    }
    this.#store.prepare('paths', to);
    await inTime('make other accords last', storageAnswerMs, this.#store.sync());
    return [];
  }

  /** What is prepared is decided. Memory only. */
  adopt(): void {
    this.#store.adopt();
  }

  /** What is prepared is not decided: what was in force comes back, or an alarm says that the tighter set stays. */
  withdraw(): void {
    try {
      this.#store.withdraw();
    } catch (error) {
      this.#trouble = 'tighter accords than those in force stay: the pointer to them cannot be moved back';
      this.#parts.logger.error({ err: error }, this.#trouble);
    }
  }

  /** @throws Error of the file system. */
  point(pointer: Pointer, to: NamedSet): void {
    this.#store.point(pointer, to);
  }

  /**
   * Takes a looser set back that has not reached the data plane: overlay and underlay go by what packets are judged by.
   *
   * @returns whether one was on the paths.
   */
  takeBack(): boolean {
    const { inForce, onPaths } = this.#store;
    if (onPaths.hash === inForce.hash) return false;
    try {
      this.#store.point('paths', inForce);
    } catch (error) {
      this.#fail(error);
    }
    return true;
  }

  /** A change has ended: what its pointers lead to is made to last, and what nobody uses any more is let go. */
  settle(waiting: () => readonly NamedSet[]): void {
    this.#flushing = this.#flushing
      .then(() => this.#store.flush(waiting))
      .then(
        () => {
          this.#trouble = undefined;
        },
        (error: unknown) => {
          this.#fail(error);
        },
      );
  }

  /**
   * Makes the pointers last.
   *
   * @returns whether they do; where they do not an alarm says so.
   */
  async lasting(): Promise<boolean> {
    const done = this.#flushing
      .then(() => inTime('make other accords last', this.#parts.storageAnswerMs, this.#store.sync()))
      .then(
        () => true,
        (error: unknown) => {
          this.#fail(error);
          return false;
        },
      );
    this.#flushing = done.then(() => undefined);
    return await done;
  }

  /** Resolves when every change that ended is on stable storage, or is an alarm. */
  async settled(): Promise<void> {
    await this.#flushing;
  }

  /** What of the data plane does not go by `set` yet. */
  behind({ dataplanes }: BoardSnapshot, set: NamedSet): readonly string[] {
    const tables = this.#look();
    if (tables === undefined) return [];
    if (typeof tables === 'string') return [tables];
    if (tables.hash !== set.hash)
      return [`the tables of generation ${tables.generation} are of other accords`];
    return dataplanes.flatMap(({ name, file, workers }) =>
      file.state !== 'open' || !file.alive
        ? []
        : workers
            .filter(({ live, generation }) => live && generation !== tables.generation)
            .map(({ index, generation }) => `${name}/${index} uses generation ${generation} of the tables`),
    );
  }

  close(): void {
    this.#tables?.close();
  }

  #fail(error: unknown): void {
    this.#trouble = 'the change of accords may not outlast a loss of power: its pointer cannot be flushed';
    this.#parts.logger.error({ err: error }, this.#trouble);
  }

  /** The generation in force and what it was made of; a sentence where that cannot be told, undefined where nobody asks. */
  #look(): { readonly generation: bigint; readonly hash: string } | string | undefined {
    const { board, tablesOwner: owner } = this.#parts;
    if (owner === undefined) return undefined;
    try {
      if (this.#tables?.current() !== true) {
        this.#tables?.close();
        this.#tables = undefined;
        this.#tables = openSegment({ directory: board, name: 'tables', kind: 'tables', owner });
      }
      const generation = this.#tables.load64(layout.tables.generation);
      const at = layout.tables.bank + Number(generation % BigInt(layout.limits.banks)) * layout.bank.size;
      const hash = this.#tables.bytes(at + layout.bank.accordsHash, 32).toString('hex');
      return { generation, hash };
    } catch {
      return 'there are no tables that can be read';
    }
  }
}

/** Why accords cannot be used, in one sentence. */
export function whyNot(error: unknown, files: AccordFiles): string {
  return error instanceof KedgeError ? error.message : `${files.accords} or ${files.zones} cannot be read`;
}

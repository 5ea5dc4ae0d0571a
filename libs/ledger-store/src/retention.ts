/**
 * Which bundles may go, by the times of their records and by the size of all; those that may are archived or removed.
 * It must not touch a hash, nor a bundle of which one entry has to stay.
 */
import { entriesOf, TILE_WIDTH, tilePath } from '@kedge/ledger';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';

import { archiveSegment, SEGMENT_BUNDLES } from './archive.js';
import { isMissing } from '@kedge/durable-files';
import { damaged } from './errors.js';
import { readRetention, type RetentionState, writeRetention } from './retention-state.js';
import type { RetentionOutcome, SealedRecord } from './store.js';
import type { TileFiles } from './tile-files.js';

const DAY_MS = 86_400_000;
/** Bundles that are decided at once. */
const BATCH = 1_024;

/** What retention goes by. */
export interface RetentionRules {
  readonly days: number;
  readonly breakGlassDays: number;
  readonly isBreakGlass: (record: SealedRecord) => boolean;
  readonly archiveExpired: boolean;
  readonly bundleBytes: number;
}

/** Where the files are. */
export interface RetentionPlaces {
  readonly origin: string;
  /** Of the tiles. */
  readonly log: string;
  readonly archive: string;
  /** The file of the state. */
  readonly state: string;
}

interface Lifetime {
  /** When the last ordinary entry may go, and when the last of all; milliseconds since 1970. */
  readonly ordinary: number;
  readonly all: number;
}

/** Retention of one log. One call at a time. */
export class Retention {
  readonly #rules: RetentionRules;
  readonly #places: RetentionPlaces;
  readonly #tiles: TileFiles;
  #state: RetentionState;
  #bytes = 0;
  #measured: number;

  private constructor(
    rules: RetentionRules,
    places: RetentionPlaces,
    tiles: TileFiles,
    state: RetentionState,
  ) {
    this.#rules = rules;
    this.#places = places;
    this.#tiles = tiles;
    this.#state = state;
    this.#measured = state.next;
  }

  /** @throws KedgeError `LEDGER_STORE_DAMAGED` */
  static async open(rules: RetentionRules, places: RetentionPlaces, tiles: TileFiles): Promise<Retention> {
    return new Retention(rules, places, tiles, await readRetention(places.state));
  }

  /** Entries below it may be gone. */
  get keptFrom(): number {
    return this.#state.next * TILE_WIDTH;
  }

  /**
   * Removes what may go.
   *
   * @param nowMs milliseconds since 1970.
   * @param inTiles entries that are on the disk for good.
   * @throws system errors; what was decided is removed with the next call.
   */
  async run(nowMs: number, inTiles: number): Promise<RetentionOutcome> {
    const bundles = Math.floor(inTiles / TILE_WIDTH);
    const counts = { prunedBundles: 0, archivedSegments: 0 };
    if (this.#state.removing.length > 0) await this.#decide({ ...this.#state, removing: [] });
    for (let more = true; more;) {
      const step = await this.#expired(nowMs, bundles);
      more = step.removing.length > 0 || step.next > this.#state.next;
      if (!more) break;
      counts.archivedSegments += step.archived;
      counts.prunedBundles += step.removing.length;
      await this.#decide(step);
    }
    await this.#measure(bundles);
    while (this.#bytes > this.#rules.bundleBytes) {
      const step = await this.#oldestSegment(bundles);
      if (step === undefined) break;
      counts.archivedSegments += 1;
      counts.prunedBundles += step.removing.length;
      await this.#decide(step);
    }
    return { ...counts, keptFrom: this.keptFrom };
  }

  /** Durable first, then removed: what is missing is always explained. */
  async #decide(state: RetentionState): Promise<void> {
    const removing = [...this.#state.removing, ...state.removing];
    const decided = { next: state.next, held: state.held, removing };
    await writeRetention(this.#places.state, decided);
    this.#state = decided;
    for (const index of removing) if (index < this.#measured) this.#bytes -= await this.#bytesOf(index);
    await this.#tiles.removeBundles(removing);
    this.#measured = Math.max(this.#measured, state.next);
    this.#state = { ...decided, removing: [] };
  }

  /** What has become too old. */
  async #expired(nowMs: number, bundles: number): Promise<RetentionState & { readonly archived: number }> {
    const { archiveExpired } = this.#rules;
    const held = new Map(this.#state.held);
    const removing: number[] = [];
    for (const [index, dueMs] of held) {
      if (dueMs > nowMs || removing.length >= BATCH) continue;
      held.delete(index);
      removing.push(index);
    }
    let { next } = this.#state;
    let archived = 0;
    const step = archiveExpired ? SEGMENT_BUNDLES : 1;
    while (removing.length < BATCH) {
      const end = archiveExpired ? (Math.floor(next / step) + 1) * step : next + 1;
      if (end > bundles) break;
      const lifetimes = new Map<number, Lifetime>();
      for (let index = next; index < end; index++) lifetimes.set(index, await this.#lifetimeOf(index));
      if ([...lifetimes.values()].some(({ ordinary }) => ordinary > nowMs)) break;
      if (archiveExpired) {
        await archiveSegment(this.#places.archive, end / step - 1, this.#places.origin, this.#tiles.read);
        archived += 1;
      }
      for (const [index, { all }] of lifetimes) {
        if (all > nowMs) held.set(index, all);
        else removing.push(index);
      }
      next = end;
    }
    return { next, held, removing, archived };
  }

  /** The oldest segment of which anything is left. */
  async #oldestSegment(bundles: number): Promise<RetentionState | undefined> {
    const first = Math.min(this.#state.next, ...this.#state.held.keys());
    const segment = Math.floor(first / SEGMENT_BUNDLES);
    const end = (segment + 1) * SEGMENT_BUNDLES;
    if (end > bundles) return undefined;
    await archiveSegment(this.#places.archive, segment, this.#places.origin, this.#tiles.read);
    const removing = Array.from({ length: SEGMENT_BUNDLES }, (_, at) => end - SEGMENT_BUNDLES + at);
    const held = new Map([...this.#state.held].filter(([index]) => index >= end));
    return { next: Math.max(this.#state.next, end), held, removing };
  }

  async #lifetimeOf(index: number): Promise<Lifetime> {
    const { days, breakGlassDays, isBreakGlass } = this.#rules;
    const path = tilePath({ level: 'entries', index, width: TILE_WIDTH });
    const bundle = this.#tiles.read(path);
    // Between reads others have their turn.
    await new Promise((resolve) => setImmediate(resolve));
    if (bundle === undefined) return { ordinary: 0, all: 0 };
    const entries = entriesOf(bundle, TILE_WIDTH);
    if (entries === undefined) throw damaged(path, 0, `${TILE_WIDTH} entries`);
    let [ordinary, all] = [0, 0];
    for (const entry of entries) {
      const record = JSON.parse(entry.toString()) as SealedRecord;
      const isGlass = isBreakGlass(record);
      const due = Date.parse(record.at) + (isGlass ? breakGlassDays : days) * DAY_MS;
      if (!isGlass) ordinary = Math.max(ordinary, due);
      all = Math.max(all, due);
    }
    return { ordinary, all };
  }

  async #measure(bundles: number): Promise<void> {
    if (this.#bytes === 0)
      for (const index of this.#state.held.keys()) this.#bytes += await this.#bytesOf(index);
    for (; this.#measured < bundles; this.#measured++) this.#bytes += await this.#bytesOf(this.#measured);
  }

  async #bytesOf(index: number): Promise<number> {
    const path = join(this.#places.log, tilePath({ level: 'entries', index, width: TILE_WIDTH }));
    try {
      return (await stat(path)).size;
    } catch (error) {
      if (isMissing(error)) return 0;
      throw error;
    }
  }
}

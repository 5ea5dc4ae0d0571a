/**
 * The records of a log in their order: ids that come twice, parts that are missing, epochs that fall.
 * It must not see a record itself; it is given what {@link summaryOf} says of each bundle, in order.
 */
import type { EntryFault, BundleSummary, Piece } from './record-check.js';
import { hashOf } from './record-check.js';
import { IdTable } from './id-table.js';

/** Records of several parts that may be unfinished at once; of more the oldest are taken as they are. */
const OPEN_MAX = 1_024;
/** So near to the end of the log parts may still be on their way. */
const END = 4_096;

interface Open {
  readonly pieces: Piece[];
  newest: number;
}

/** Takes bundle after bundle; {@link RecordRow.finish} says what is left. */
export class RecordRow {
  readonly #ids = new IdTable();
  readonly #open = new Map<string, Open>();
  readonly #idOf: (entry: number) => string;
  readonly #onFault: (fault: EntryFault) => void;
  #epoch: bigint | undefined;
  #records = 0;

  /** @param idOf the id of a record, for the few whose hashes are the same. */
  constructor(idOf: (entry: number) => string, onFault: (fault: EntryFault) => void) {
    this.#idOf = idOf;
    this.#onFault = onFault;
  }

  /** Records that were right by themselves. */
  get records(): number {
    return this.#records;
  }

  take({ ids, faults, epochs, pieces }: BundleSummary): void {
    faults.forEach(this.#onFault);
    for (const { entry, high, low } of ids) {
      this.#records += 1;
      const first = this.#ids.add(high, low, entry);
      if (first === undefined) continue;
      const id = this.#idOf(entry);
      if (id === this.#idOf(first))
        this.#onFault({ entry, what: 'id-twice', detail: `${id}, first at entry ${first}` });
    }
    for (const { entry, epoch } of epochs) {
      if (this.#epoch !== undefined && epoch <= this.#epoch) {
        const detail = `epoch ${String(epoch)} after ${String(this.#epoch)}`;
        this.#onFault({ entry, what: 'epoch-falls', detail });
      }
      this.#epoch = epoch;
    }
    for (const piece of pieces) this.#piece(piece);
  }

  /**
   * Says which records are not whole.
   *
   * @param size of the log.
   * @param pruned true where entries are gone by retention: their parts may have been among them.
   */
  finish(size: number, pruned: boolean): void {
    for (const [group, { pieces, newest }] of this.#open)
      this.#unfinished(group, pieces, pruned || newest >= size - END);
    this.#open.clear();
  }

  #piece(piece: Piece): void {
    const key = `${piece.kind === 'mutation-part' ? 'mutation' : 'snapshot'} ${piece.group}`;
    const open = this.#open.get(key) ?? { pieces: [], newest: piece.entry };
    open.pieces.push(piece);
    open.newest = piece.entry;
    this.#open.set(key, open);
    if (this.#isDone(open.pieces)) this.#open.delete(key);
    const [oldest] = this.#open;
    if (this.#open.size <= OPEN_MAX || oldest === undefined) return;
    this.#unfinished(oldest[0], oldest[1].pieces, false);
    this.#open.delete(oldest[0]);
  }

  /** True when nothing more is to come of a record; what is wrong with it was told then. */
  #isDone(pieces: readonly Piece[]): boolean {
    const newest = pieces.at(-1);
    if (newest === undefined) return true;
    return newest.kind === 'mutation-part' ? this.#isWholeMutation(pieces) : this.#isWholeSnapshot(pieces);
  }

  #isWholeMutation(pieces: readonly Piece[]): boolean {
    const parts = pieces.filter((each) => each.kind === 'mutation-part');
    const [first] = parts;
    const newest = parts.at(-1);
    if (first === undefined || newest === undefined) return true;
    const { entry, group, part } = newest;
    const isSecond = parts.slice(0, -1).some((each) => each.part === part);
    if (isSecond || newest.same !== first.same) {
      this.#onFault({ entry, what: 'parts-differ', detail: `part ${part} of ${group}` });
      return true;
    }
    if (parts.length < first.parts) return false;
    const items = parts.toSorted((a, b) => a.part - b.part).map((each) => each.items);
    if (hashOf(items) !== first.sha256)
      this.#onFault({ entry, what: 'part-hash', detail: `steps of ${group}` });
    return true;
  }

  #isWholeSnapshot(pieces: readonly Piece[]): boolean {
    const newest = pieces.at(-1);
    const snapshot = pieces.find((each) => each.kind === 'snapshot');
    const parts = pieces.filter((each) => each.kind === 'snapshot-part');
    if (newest?.kind === 'snapshot-part') {
      const { entry, section, part, group } = newest;
      if (parts.slice(0, -1).some((each) => each.section === section && each.part === part)) {
        this.#onFault({ entry, what: 'parts-differ', detail: `part ${part} of ${section} of ${group}` });
        return true;
      }
    }
    if (snapshot === undefined) return false;
    const wanted = snapshot.sections.reduce((sum, each) => sum + each.parts, 0);
    if (parts.length < wanted) return false;
    for (const { section, parts: count, sha256 } of snapshot.sections) {
      const own = parts.filter((each) => each.section === section).toSorted((a, b) => a.part - b.part);
      const isRow = own.length === count && own.every(({ part }, at) => part === at + 1);
      const what = !isRow
        ? 'parts-differ'
        : hashOf(own.map(({ items }) => items)) === sha256
          ? undefined
          : 'part-hash';
      const entry = own.at(-1)?.entry ?? snapshot.entry;
      if (what !== undefined) this.#onFault({ entry, what, detail: `${section} of ${snapshot.group}` });
    }
    return true;
  }

  #unfinished(key: string, pieces: readonly Piece[], mayBe: boolean): void {
    const entry = pieces[0]?.entry ?? 0;
    this.#onFault({ entry, what: mayBe ? 'parts-outstanding' : 'parts-missing', detail: key });
  }
}

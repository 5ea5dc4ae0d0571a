/**
 * The records of a log in their order: ids that come twice, parts that are missing, epochs that fall.
 * It must not see a record itself; it is given what {@link summaryOf} says of each bundle, in order.
 */
import type { EntryFault, BundleSummary, Piece } from './record-check.js';
import { hashOf, ID_NUMBERS } from './record-check.js';
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
  /** Snapshots that are whole, each with the sections that were told as incomplete. */
  readonly #finished = new Map<string, ReadonlySet<string>>();
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

  take({ first: from, ids, faults, epochs, pieces }: BundleSummary): void {
    faults.forEach(this.#onFault);
    for (let at = 0; at < ids.length; at += ID_NUMBERS) this.#id(from + (ids[at] ?? 0), ids, at);
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

  #id(entry: number, ids: Uint32Array, at: number): void {
    this.#records += 1;
    let id: string | undefined;
    const first = this.#ids.add(ids[at + 2] ?? 0, ids[at + 1] ?? 0, entry, (place) => {
      id ??= this.#idOf(entry);
      return id === this.#idOf(place);
    });
    if (first === undefined) return;
    this.#onFault({ entry, what: 'id-twice', detail: `${id ?? ''}, first at entry ${first}` });
  }

  #piece(piece: Piece): void {
    const finished = piece.kind === 'snapshot-part' ? this.#finished.get(piece.group) : undefined;
    if (finished !== undefined && piece.kind === 'snapshot-part') {
      // A section that was told as incomplete may get more later; of a complete one nothing was left.
      const { entry, section, source, part, group } = piece;
      if (!finished.has(section))
        this.#onFault({ entry, what: 'parts-differ', detail: partOf(part, source, section, group) });
      return;
    }

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
      const { entry, section, source, part, group } = newest;
      if (parts.slice(0, -1).some((each) => isSamePart(each, newest))) {
        this.#onFault({ entry, what: 'parts-differ', detail: partOf(part, source, section, group) });
        return true;
      }
    }
    if (snapshot === undefined) return false;
    const own = snapshot.sections.map((each) => ({
      ...each,
      came: parts.filter(({ section }) => section === each.section),
    }));
    if (own.some(({ came, parts: count }) => came.length < count)) return false;
    for (const section of own) {
      const what = faultOfSection(section);
      const entry = section.came.at(-1)?.entry ?? snapshot.entry;
      if (what !== undefined)
        this.#onFault({ entry, what, detail: `${section.section} of ${snapshot.group}` });
    }
    const incomplete = own.flatMap(({ section, complete }) => (complete ? [] : [section]));
    this.#finished.set(snapshot.group, new Set(incomplete));
    const [oldest] = this.#finished.keys();
    if (this.#finished.size > OPEN_MAX && oldest !== undefined) this.#finished.delete(oldest);
    return true;
  }

  #unfinished(key: string, pieces: readonly Piece[], mayBe: boolean): void {
    const entry = pieces[0]?.entry ?? 0;
    this.#onFault({ entry, what: mayBe ? 'parts-outstanding' : 'parts-missing', detail: key });
  }
}

type SnapshotPart = Extract<Piece, { kind: 'snapshot-part' }>;
type Section = Extract<Piece, { kind: 'snapshot' }>['sections'][number];

/** What is wrong with the parts of a section. The snapshot was made of those that came first. */
function faultOfSection({
  complete,
  parts: count,
  sha256,
  came,
}: Section & { readonly came: readonly SnapshotPart[] }): 'parts-differ' | 'part-hash' | undefined {
  const own = came.slice(0, count).toSorted(bySourceAndPart);
  const isWhole =
    came.length === count &&
    [...new Set(own.map(({ source }) => source))].every((source) => {
      const row = own.filter((each) => each.source === source);
      return row.every(({ part, parts }, at) => part === at + 1 && parts === row.length);
    });
  if (complete && !isWhole) return 'parts-differ';
  return hashOf(own.map(({ items }) => items)) === sha256 ? undefined : 'part-hash';
}

function bySourceAndPart(one: SnapshotPart, other: SnapshotPart): number {
  if (one.source !== other.source) return one.source < other.source ? -1 : 1;
  return one.part - other.part;
}

function isSamePart(one: SnapshotPart, other: SnapshotPart): boolean {
  return one.section === other.section && one.source === other.source && one.part === other.part;
}

function partOf(part: number, source: string, section: string, group: string): string {
  return `part ${part} of ${source} of ${section} of ${group}`;
}

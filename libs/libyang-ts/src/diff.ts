/**
 * What differs between two trees: to be read as changes, applied, reverted or printed.
 * Must not be more than what libyang found; the trees may be gone since.
 */
import { addon, FORMATS, type RawChange, type RawTree } from './addon.js';
import { chosen, type DataFormat, type DataTree, type JobOptions } from './data-tree.js';
import { bind, type Household, holdOf, TreeHold } from './tree-hold.js';
import { type DataKind, nodeOf, type YangValue } from './values.js';

/** Changes that are turned into objects at a time, between two turns of the event loop. */
const PIECE = 256;

/** One change. Keys of lists stand in the path of their entry and are no changes of their own. */
export interface Change {
  /** `move` is of an entry in a list that its user orders; everything else means what it says. */
  readonly op: 'create' | 'delete' | 'replace' | 'move';
  readonly path: string;
  readonly kind: DataKind;
  /** Of leaves and entries of leaf-lists: the value before, where there was one. */
  readonly before?: YangValue;
  /** The value afterwards, where there is one. */
  readonly after?: YangValue;
  /** Of entries in a list that its user orders: the path of the entry they stand behind; null for the first. */
  readonly position?: { readonly before?: string | null; readonly after?: string | null };
}

function changeOf(raw: RawChange): Change {
  const { value: before } = raw.before === undefined ? {} : nodeOf(raw.before);
  const { value: after } = raw.after === undefined ? {} : nodeOf(raw.after);
  const ordered = raw.behindBefore !== undefined || raw.behindAfter !== undefined;
  const position = {
    ...(raw.behindBefore === undefined ? {} : { before: raw.behindBefore || null }),
    ...(raw.behindAfter === undefined ? {} : { after: raw.behindAfter || null }),
  };
  return {
    op: raw.op,
    path: raw.path,
    kind: raw.kind as DataKind,
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
    ...(ordered ? { position } : {}),
  };
}

/**
 * Differences of two trees; it keeps their context alive. Defaults that stand in a tree only because its modules say so
 * are no differences.
 */
export class Diff implements Disposable, AsyncIterable<Change> {
  readonly #hold: TreeHold;

  /** Made by a context; nobody else has what it takes. */
  constructor(household: Household, raw: RawTree) {
    this.#hold = new TreeHold(household, raw, 'diff');
    bind(this, this.#hold);
  }

  /**
   * The changes in the order in which they can be done one by one: what is created comes after what it stands in, what
   * is deleted before it, and entries of a list that its user orders as each finds the others.
   *
   * @throws YangError those of every job
   */
  async *changes(options: JobOptions = {}): AsyncGenerator<Change, void, undefined> {
    const operation = 'read the changes of the diff';
    const { count, handle } = await this.#job(operation, options, (diff) => addon.readChanges(diff));
    for (let from = 0; from < count; from += PIECE)
      for (const change of addon.takeChanges(handle, from, PIECE)) yield changeOf(change);
  }

  [Symbol.asyncIterator](): AsyncGenerator<Change, void, undefined> {
    return this.changes();
  }

  /**
   * Makes of a tree like the first one a tree like the second. All of it or nothing; validation is the caller's.
   *
   * @throws YangError `YANG_DIFF` where it does not fit, `YANG_OTHER_CONTEXT`, and those of every job
   */
  async applyTo(tree: DataTree, options: JobOptions = {}): Promise<void> {
    const operation = 'apply the diff';
    const to = holdOf(operation, 'tree', tree);
    await this.#hold.household.queue.run({
      operation,
      holds: [this.#hold, to],
      signal: options.signal,
      begin: async () => addon.apply(this.#hold.raw(operation), to.raw(operation)),
    });
  }

  /** The diff that undoes this one. @throws YangError `YANG_DIFF`, and those of every job */
  async reverted(options: JobOptions = {}): Promise<Diff> {
    const operation = 'revert the diff';
    const raw = await this.#hold.household.queue.run({
      operation,
      holds: [this.#hold],
      signal: options.signal,
      begin: async () => addon.reverse(this.#hold.raw(operation)),
      discard: (diff) => addon.closeTree(diff),
    });
    return new Diff(this.#hold.household, raw);
  }

  /** The diff as libyang writes it: data with annotations of its module `yang`. @throws YangError those of every job */
  async print(
    options: JobOptions & { readonly format?: DataFormat; readonly pretty?: boolean } = {},
  ): Promise<string> {
    const operation = 'print the diff';
    const format = chosen(operation, 'format', FORMATS, options.format ?? 'xml');
    return this.#job(operation, options, (diff) =>
      addon.print(diff, format, options.pretty === true, 0, false),
    );
  }

  /** Frees the diff; while a job works on it, as soon as that is over. May be called again. */
  dispose(): void {
    this.#hold.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #job<T>(operation: string, { signal }: JobOptions, begin: (diff: RawTree) => Promise<T>): Promise<T> {
    return this.#hold.household.queue.run({
      operation,
      holds: [this.#hold],
      signal,
      begin: async () => begin(this.#hold.raw(operation)),
    });
  }
}

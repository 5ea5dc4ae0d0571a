/**
 * A tree of data: configuration, operational data, or a message.
 * Must not hand out a node: values and paths are all that leaves.
 */
import { addon, CHECKS, DEFAULTS, FORMATS, type RawTree } from './addon.js';
import { checkPath, checkText } from './limits.js';
import { bind, type Household, holdOf, TreeHold } from './tree-hold.js';
import { nodeOf, type Settable, textOf, type YangNode } from './values.js';
import { called, wrongArgument } from './yang-error.js';

/** What a tree was read as. A message is a request (RPC or action), its reply, or a notification. */
export type TreeKind = 'configuration' | 'operational' | 'rpc' | 'reply' | 'notification';

/** How a document is written. */
export type DataFormat = keyof typeof FORMATS;

/** Every job may be given a signal. */
export interface JobOptions {
  /**
   * A job that waits is dropped. One that runs cannot be stopped inside libyang: the promise is rejected at once, the
   * result is thrown away, and the trees stay busy until it is over; a tree that it changes has changed then.
   */
  readonly signal?: AbortSignal | undefined;
}

export interface PrintOptions extends JobOptions {
  /** Default `json`. */
  readonly format?: DataFormat;
  /** With line breaks and indentation. Default false. */
  readonly pretty?: boolean;
  /**
   * Which defaults are printed (RFC 6243): those that were set (`explicit`, the default), none that equal the module's
   * (`trim`), all, or all with a mark (`tagged`).
   */
  readonly defaults?: keyof typeof DEFAULTS;
  /** Containers without content and meaning too. Default false. */
  readonly emptyContainers?: boolean;
}

export interface ValidateOptions extends JobOptions {
  /** Constraints of all modules (the default), or only of those that have data in the tree. */
  readonly modules?: 'all' | 'present';
  /** For messages: the data that they refer to. */
  readonly against?: DataTree | undefined;
}

export interface FindOptions extends JobOptions {
  /** Most nodes to be selected; the context's limit by default. */
  readonly limit?: number;
}

/** A choice by its word, checked where the compiler did not see the caller. */
export function chosen<T extends string>(
  operation: string,
  field: string,
  of: Readonly<Record<T, number>>,
  word: T,
): number {
  if (Object.hasOwn(of, word)) return of[word];
  throw wrongArgument(operation, field, Object.keys(of).join(', '));
}

/** Data of one context; it keeps the context alive. Dispose of it when it is not needed: V8 hardly sees its memory. */
export class DataTree implements Disposable {
  readonly kind: TreeKind;
  readonly #hold: TreeHold;

  /** Made by a context; nobody else has what it takes. */
  constructor(household: Household, raw: RawTree, kind: TreeKind) {
    this.kind = kind;
    this.#hold = new TreeHold(household, raw, 'tree');
    bind(this, this.#hold);
  }

  /**
   * The node at an exact path, or undefined when it is not there.
   *
   * @throws YangError `YANG_PATH` where no module has the path; `YANG_BUSY`, `YANG_DISPOSED`, `YANG_ARGUMENT`
   */
  get(path: string): YangNode | undefined {
    const operation = `get ${shown(path)}`;
    checkPath(operation, path, this.#limits.pathBytes);
    const tree = this.#hold.idle(operation);
    const node = called(operation, () => addon.get(tree, path));
    return node === undefined ? undefined : nodeOf(node);
  }

  /**
   * Makes the node, with all that it stands in, or gives it the value. Types are checked at once, everything else by
   * {@link validate}. True when something changed.
   *
   * @throws YangError `YANG_PATH`, `YANG_INVALID` for a value that the type does not allow, `YANG_STATE` for state in
   *   configuration, `YANG_KEY`, `YANG_BUSY`, `YANG_DISPOSED`, `YANG_ARGUMENT`
   */
  set(path: string, value?: Settable): boolean {
    const operation = `set ${shown(path)}`;
    checkPath(operation, path, this.#limits.pathBytes);
    const text = textOf(operation, value);
    if (text !== undefined && text !== '') checkText(operation, 'value', text, this.#limits.pathBytes);
    const tree = this.#hold.idle(operation);
    return called(operation, () => addon.set(tree, path, text));
  }

  /**
   * Takes the node away with everything below it. False when it was not there, or only by default.
   *
   * @throws YangError `YANG_PATH`, `YANG_KEY`, `YANG_BUSY`, `YANG_DISPOSED`, `YANG_ARGUMENT`
   */
  remove(path: string): boolean {
    const operation = `remove ${shown(path)}`;
    checkPath(operation, path, this.#limits.pathBytes);
    const tree = this.#hold.idle(operation);
    return called(operation, () => addon.remove(tree, path));
  }

  /**
   * Puts an entry of a list that its user orders before or behind another entry of the same list.
   *
   * @throws YangError `YANG_NOT_FOUND`, `YANG_ORDER`, `YANG_PATH`, `YANG_BUSY`, `YANG_DISPOSED`, `YANG_ARGUMENT`
   */
  move(path: string, to: { readonly before: string } | { readonly behind: string }): void {
    const operation = `move ${shown(path)}`;
    const before = 'before' in to;
    const beside = before ? to.before : to.behind;
    checkPath(operation, path, this.#limits.pathBytes);
    checkPath(operation, beside, this.#limits.pathBytes);
    const tree = this.#hold.idle(operation);
    called(operation, () => addon.move(tree, path, beside, before));
  }

  /**
   * What an XPath 1.0 expression selects, in document order; prefixes are names of modules.
   *
   * @throws YangError `YANG_PATH`, `YANG_TOO_MANY`, and those of every job
   */
  async find(xpath: string, options: FindOptions = {}): Promise<readonly YangNode[]> {
    const operation = `find ${shown(xpath)}`;
    checkText(operation, 'xpath', xpath, this.#limits.pathBytes);
    const limit = options.limit ?? this.#limits.results;
    if (!Number.isInteger(limit) || limit < 1 || limit > this.#limits.results)
      throw wrongArgument(operation, 'limit', `a whole number from 1 to ${this.#limits.results}`);
    const found = await this.#job(operation, options, (tree) => addon.find(tree, xpath, limit));
    return found.map(nodeOf);
  }

  /** The tree as a document. @throws YangError those of every job, `YANG_ARGUMENT` */
  async print(options: PrintOptions = {}): Promise<string> {
    const operation = 'print the tree';
    const format = chosen(operation, 'format', FORMATS, options.format ?? 'json');
    const defaults = chosen(operation, 'defaults', DEFAULTS, options.defaults ?? 'explicit');
    const { pretty = false, emptyContainers = false } = options;
    return this.#job(operation, options, (tree) =>
      addon.print(tree, format, pretty === true, defaults, emptyContainers === true),
    );
  }

  /**
   * Holds the tree against its modules and adds their defaults. What does not hold leaves it as it was.
   *
   * @throws YangError `YANG_INVALID` with every problem that libyang gives, and those of every job
   */
  async validate(options: ValidateOptions = {}): Promise<void> {
    const operation = 'validate the tree';
    const { all, present } = CHECKS;
    const check = chosen(operation, 'modules', { all, present }, options.modules ?? 'all');
    const against = options.against === undefined ? undefined : holdOf(operation, 'against', options.against);
    await this.#hold.household.queue.run({
      operation,
      holds: against === undefined ? [this.#hold] : [this.#hold, against],
      signal: options.signal,
      begin: async () => addon.validate(this.#hold.raw(operation), check, against?.raw(operation)),
    });
  }

  /**
   * Adds everything of the other tree, its values before ours. All of it or nothing.
   *
   * @throws YangError `YANG_OTHER_CONTEXT`, and those of every job
   */
  async merge(from: DataTree, options: JobOptions = {}): Promise<void> {
    const operation = 'merge the trees';
    const other = holdOf(operation, 'from', from);
    await this.#hold.household.queue.run({
      operation,
      holds: [this.#hold, other],
      signal: options.signal,
      begin: async () => addon.merge(this.#hold.raw(operation), other.raw(operation)),
    });
  }

  /** A tree of its own with the same content. @throws YangError those of every job */
  async duplicate(options: JobOptions = {}): Promise<DataTree> {
    const operation = 'duplicate the tree';
    const raw = await this.#hold.household.queue.run({
      operation,
      holds: [this.#hold],
      signal: options.signal,
      begin: async () => addon.duplicate(this.#hold.raw(operation)),
      discard: (tree) => addon.closeTree(tree),
    });
    return new DataTree(this.#hold.household, raw, this.kind);
  }

  /** Frees the tree; while a job works on it, as soon as that is over. May be called again. */
  dispose(): void {
    this.#hold.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  get #limits(): Household['limits'] {
    return this.#hold.household.limits;
  }

  #job<T>(operation: string, { signal }: JobOptions, begin: (tree: RawTree) => Promise<T>): Promise<T> {
    return this.#hold.household.queue.run({
      operation,
      holds: [this.#hold],
      signal,
      begin: async () => begin(this.#hold.raw(operation)),
    });
  }
}

/** A path in a message: long ones are cut. */
function shown(path: unknown): string {
  const text = String(path);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

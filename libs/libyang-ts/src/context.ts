/**
 * A context: the modules that data is read by, and the door to everything else.
 * Must not change its modules while a tree of it is alive.
 */
import { addon, CHECKS, type ContextHandle, FORMATS, KINDS, type RawTree } from './addon.js';
import { chosen, type DataFormat, DataTree, type JobOptions, type TreeKind } from './data-tree.js';
import { Diff } from './diff.js';
import { JobQueue } from './job-queue.js';
import { checkDocument, checkPath, checkText, type Limits, limitsOf } from './limits.js';
import type { Module, ModuleSchema, SchemaNode } from './schema.js';
import { type Household, holdOf } from './tree-hold.js';
import { called, wrongArgument, YangError } from './yang-error.js';

export interface ContextOptions {
  /** Directories with modules, searched with all below them, in their order. Nothing else is searched. */
  readonly searchDirectories?: readonly string[];
  /** Which imported modules can hold data: those that are loaded by name, also those they refer to, or all. */
  readonly implement?: 'loaded' | 'referenced' | 'all';
  /** Whether the context implements ietf-yang-library, whose data is mandatory then. Default false. */
  readonly yangLibrary?: boolean;
  readonly limits?: Partial<Limits>;
}

export interface ModuleOptions {
  /** Features to turn on, or all. Default none. */
  readonly features?: readonly string[] | 'all';
}

export interface ParseOptions extends JobOptions {
  /** Default `json`. */
  readonly format?: DataFormat;
  /**
   * How much has to hold: constraints of all modules (the default), of those that have data, or only that every node is
   * known and its value fits its type.
   */
  readonly validate?: keyof typeof CHECKS;
}

export interface MessageOptions extends JobOptions {
  /** Default `json`. */
  readonly format?: DataFormat;
  /** The data that the message refers to; it is as it was afterwards. */
  readonly against?: DataTree;
}

/** What is given: text, or bytes of UTF-8. */
export type YangDocument = string | Uint8Array;

const IMPLEMENT = { loaded: 0, referenced: 1, all: 2 } as const;
const WITH_LIBRARY = 4;

/** Modules, and data by them. It works in the thread that made it; each thread may make its own. */
export class Context implements Disposable {
  readonly #household: Household;
  #handle: ContextHandle | undefined;

  /** @throws YangError `YANG_DIRECTORY`, `YANG_ARGUMENT`, `YANG_LIBRARY` */
  constructor(options: ContextOptions = {}) {
    const operation = 'make a YANG context';
    const limits = limitsOf(options.limits);
    const { searchDirectories = [], yangLibrary = false } = options;
    for (const directory of searchDirectories)
      checkText(operation, 'searchDirectories', directory, limits.pathBytes);
    const implement = chosen(operation, 'implement', IMPLEMENT, options.implement ?? 'loaded');
    this.#handle = called(operation, () =>
      addon.newContext([...searchDirectories], implement + (yangLibrary ? WITH_LIBRARY : 0)),
    );
    this.#household = { queue: new JobQueue(limits.waitingJobs), limits };
  }

  /** The bounds in force. */
  get limits(): Limits {
    return this.#household.limits;
  }

  /**
   * Loads a module from the search directories and implements it; its newest revision where none is named. A module that
   * is there already gets the features.
   *
   * @throws YangError `YANG_MODULE` with what is wrong with it, `YANG_CONTEXT_IN_USE` while trees or jobs of the context
   *   are alive, `YANG_DISPOSED`, `YANG_ARGUMENT`
   */
  load(name: string, options: ModuleOptions & { readonly revision?: string } = {}): Module {
    const operation = `load the module ${String(name)}`;
    checkText(operation, 'name', name, this.limits.pathBytes);
    const { revision } = options;
    if (revision !== undefined && !/^\d{4}-\d{2}-\d{2}$/.test(revision))
      throw wrongArgument(operation, 'revision', 'a date: 2018-02-20');
    const features = featuresOf(operation, options.features);
    const handle = this.#open(operation);
    return called(operation, () => addon.loadModule(handle, name, revision, features)) as Module;
  }

  /**
   * Loads a module from its text and implements it; what it imports comes from the search directories.
   *
   * @throws as {@link load}; `YANG_TOO_LARGE`, `YANG_ENCODING`
   */
  loadText(text: string, options: ModuleOptions & { readonly format?: 'yang' | 'yin' } = {}): Module {
    const operation = 'load a module from its text';
    checkDocument(operation, text, this.limits.moduleBytes);
    if (typeof text !== 'string') throw wrongArgument(operation, 'text', 'a string');
    const yin = chosen(operation, 'format', { yang: 0, yin: 1 }, options.format ?? 'yang') === 1;
    const features = featuresOf(operation, options.features);
    const handle = this.#open(operation);
    return called(operation, () => addon.parseModule(handle, text, yin, features)) as Module;
  }

  /** Every module, libyang's own included. @throws YangError `YANG_DISPOSED` */
  modules(): readonly Module[] {
    const operation = 'list the modules';
    const handle = this.#open(operation);
    return called(operation, () => addon.modules(handle)) as readonly Module[];
  }

  /** The module of that name that is implemented, or else imported; undefined when there is none. */
  module(name: string): Module | undefined {
    const named = this.modules().filter((module) => module.name === name);
    return named.find((module) => module.implemented) ?? named.at(-1);
  }

  /** What an implemented module defines. @throws YangError `YANG_NOT_FOUND`, `YANG_DISPOSED` */
  schema(name: string): ModuleSchema {
    const operation = `read the schema of ${String(name)}`;
    checkText(operation, 'name', name, this.limits.pathBytes);
    const handle = this.#open(operation);
    const schema = called(operation, () => addon.schema(handle, name)) as ModuleSchema | undefined;
    if (schema !== undefined) return schema;
    throw new YangError({
      code: 'YANG_NOT_FOUND',
      message: `cannot ${operation}: no module of this name is implemented`,
      field: 'name',
      expected: 'a module that was loaded',
    });
  }

  /**
   * The schema node at a path of data, with everything below it; `output` looks into what an operation answers.
   *
   * @throws YangError `YANG_PATH`, `YANG_DISPOSED`, `YANG_ARGUMENT`
   */
  schemaAt(path: string, { output = false }: { readonly output?: boolean } = {}): SchemaNode {
    const operation = `read the schema at ${String(path)}`;
    checkPath(operation, path, this.limits.pathBytes);
    const handle = this.#open(operation);
    return called(operation, () => addon.schemaAt(handle, path, output === true)) as SchemaNode;
  }

  /**
   * Reads configuration: state is refused, and mandatory state is not asked for.
   *
   * @throws YangError `YANG_INVALID` with every problem that libyang gives; `YANG_TOO_LARGE`, `YANG_TOO_DEEP`,
   *   `YANG_ENCODING`, `YANG_MALFORMED`; `YANG_ABORTED`, `YANG_QUEUE_FULL`, `YANG_DISPOSED`, `YANG_ARGUMENT`
   */
  parseConfiguration(document: YangDocument, options: ParseOptions = {}): Promise<DataTree> {
    return this.#parse('configuration', 'parse the configuration', document, options);
  }

  /** Reads operational data: configuration and state. @throws as {@link parseConfiguration} */
  parseOperational(document: YangDocument, options: ParseOptions = {}): Promise<DataTree> {
    return this.#parse('operational', 'parse the operational data', document, options);
  }

  /** Reads the request of an RPC, or of an action with the nodes it stands in. @throws as {@link parseConfiguration} */
  parseRequest(document: YangDocument, options: MessageOptions = {}): Promise<DataTree> {
    return this.#message('rpc', 'parse the request', document, options);
  }

  /** Reads the reply to an RPC or action, in the operation's own node. @throws as {@link parseConfiguration} */
  parseReply(document: YangDocument, options: MessageOptions = {}): Promise<DataTree> {
    return this.#message('reply', 'parse the reply', document, options);
  }

  /** Reads a notification, with the nodes it stands in. @throws as {@link parseConfiguration} */
  parseNotification(document: YangDocument, options: MessageOptions = {}): Promise<DataTree> {
    return this.#message('notification', 'parse the notification', document, options);
  }

  /** A tree with nothing in it. @throws YangError `YANG_DISPOSED`, `YANG_ARGUMENT` */
  emptyTree(kind: 'configuration' | 'operational'): DataTree {
    const operation = 'make a tree';
    const { configuration, operational } = KINDS;
    const number = chosen(operation, 'kind', { configuration, operational }, kind);
    const handle = this.#open(operation);
    return new DataTree(
      this.#household,
      called(operation, () => addon.emptyTree(handle, number)),
      kind,
    );
  }

  /**
   * What has to change to make the second tree of the first. Neither changes.
   *
   * @throws YangError `YANG_OTHER_CONTEXT`, and those of every job: `YANG_ABORTED`, `YANG_QUEUE_FULL`, `YANG_DISPOSED`
   */
  async diff(before: DataTree, after: DataTree, options: JobOptions = {}): Promise<Diff> {
    const operation = 'compare the trees';
    this.#open(operation);
    const [first, second] = [holdOf(operation, 'before', before), holdOf(operation, 'after', after)];
    for (const [field, hold] of Object.entries({ before: first, after: second }))
      if (hold.household !== this.#household)
        throw new YangError({
          code: 'YANG_OTHER_CONTEXT',
          message: `cannot ${operation}: a tree belongs to another context`,
          field,
          expected: 'a tree of this context',
        });
    const raw = await this.#household.queue.run({
      operation,
      holds: [first, second],
      signal: options.signal,
      begin: async () => addon.diff(first.raw(operation), second.raw(operation)),
      discard: (diff) => addon.closeTree(diff),
    });
    return new Diff(this.#household, raw);
  }

  /** Lets go of the context. Trees and diffs of it stay good; it is freed with the last of them. May be called again. */
  dispose(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle !== undefined) addon.closeContext(handle);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #open(operation: string): ContextHandle {
    if (this.#handle !== undefined) return this.#handle;
    throw new YangError({
      code: 'YANG_DISPOSED',
      message: `cannot ${operation}: the context was disposed of`,
      field: 'context',
      help: 'keep it until its last use is over',
    });
  }

  async #parse(
    kind: 'configuration' | 'operational',
    operation: string,
    document: YangDocument,
    options: ParseOptions,
  ): Promise<DataTree> {
    checkDocument(operation, document, this.limits.documentBytes);
    const format = chosen(operation, 'format', FORMATS, options.format ?? 'json');
    const check = chosen(operation, 'validate', CHECKS, options.validate ?? 'all');
    return this.#made(kind, operation, options, (context) =>
      addon.parse(context, document, format, KINDS[kind], check, this.limits.depth),
    );
  }

  async #message(
    kind: 'rpc' | 'reply' | 'notification',
    operation: string,
    document: YangDocument,
    options: MessageOptions,
  ): Promise<DataTree> {
    checkDocument(operation, document, this.limits.documentBytes);
    const format = chosen(operation, 'format', FORMATS, options.format ?? 'json');
    const against = options.against === undefined ? undefined : holdOf(operation, 'against', options.against);
    return this.#made(
      kind,
      operation,
      options,
      (context) =>
        addon.parseMessage(
          context,
          document,
          format,
          KINDS[kind],
          this.limits.depth,
          against?.raw(operation),
        ),
      against === undefined ? [] : [against],
    );
  }

  async #made(
    kind: TreeKind,
    operation: string,
    { signal }: JobOptions,
    begin: (context: ContextHandle) => Promise<RawTree>,
    holds: readonly ReturnType<typeof holdOf>[] = [],
  ): Promise<DataTree> {
    this.#open(operation);
    const raw = await this.#household.queue.run({
      operation,
      holds,
      signal,
      begin: async () => begin(this.#open(operation)),
      discard: (tree) => addon.closeTree(tree),
    });
    return new DataTree(this.#household, raw, kind);
  }
}

function featuresOf(
  operation: string,
  features: readonly string[] | 'all' | undefined,
): readonly string[] | undefined {
  if (features === undefined) return undefined;
  if (features === 'all') return ['*'];
  if (!Array.isArray(features)) throw wrongArgument(operation, 'features', "a list of names, or 'all'");
  for (const feature of features) checkText(operation, 'features', feature as string, 1024);
  return features as readonly string[];
}

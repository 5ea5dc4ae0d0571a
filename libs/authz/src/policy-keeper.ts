/**
 * Keeps an authoriser at the policies of its source: loads them when there is time, tries every change of a watched
 * directory, and has the authoriser use what passed.
 * It must not let a set through that was not tried, nor let go of the one in force for one that is broken.
 */
import type { Authoriser } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';
import { type FSWatcher, watch } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import type { PolicySet } from './candidate.js';
import { type CompiledEngine, compiledEngine, engineFile, loadEngine, useEngine } from './cedar.js';
import type { DeescalationAuthority } from './deescalation.js';
import { PolicyAuthoriser } from './policy-authoriser.js';
import { type PolicySource, policySourceOf, SET_MAX_FILES } from './policy-source.js';
import { shippedSet } from './shipped-set.js';
import { passed, tryPolicies } from './trial.js';

/** What policies are kept with. */
export interface KeeperOptions {
  /** A shipped set by name, or a directory by its absolute path. */
  readonly policies: string;
  /** See `AuthoriserOptions`. */
  readonly authority?: () => DeescalationAuthority;
  /** Told when another set is in force. */
  readonly onChanged?: (set: PolicySet) => void;
  /** Told why the newest policies are not in force; told undefined once they are again. Both once for each change. */
  readonly onTrouble?: (error: KedgeError | undefined) => void;
  /** The engine's file; default: the installed one. */
  readonly engine?: string;
}

/** Until policies that can be had at once are loaded although nobody asks: whoever has just come back has other work. */
const LATER_MS = 2_000;
/** After the last change of a directory, until it is read: whoever copies several files has time to end. */
const SETTLE_MS = 300;
/** However often it changes, it is read after this long. */
const SETTLE_MAX_MS = 1_500;
/** Between looks at a directory by which a change is found that no watch told of, like another one in its place. */
const LOOK_MS = 3_000;

/** One per process; `close` once. */
export class PolicyKeeper {
  readonly #options: KeeperOptions;
  readonly #source: PolicySource;
  readonly #authoriser: PolicyAuthoriser;
  #engine: Promise<CompiledEngine> | undefined;
  #running: Promise<PolicySet> | undefined;
  #next: Promise<PolicySet> | undefined;
  /** The directory as it was when it was read last. */
  #seen = '';
  #trouble: KedgeError | undefined;
  #watcher: FSWatcher | undefined;
  #watched = 0;
  #settling: { readonly since: number; timer: NodeJS.Timeout } | undefined;
  #looking: NodeJS.Timeout | undefined;
  #starting: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();

  /** Reads nothing yet. @throws KedgeError `AUTHZ_SET_UNKNOWN` */
  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#source = policySourceOf(options.policies);
    this.#authoriser = new PolicyAuthoriser({
      ...(options.authority === undefined ? {} : { authority: options.authority }),
      firstSet: () => this.#shipped(),
    });
  }

  get authoriser(): Authoriser & Pick<PolicyAuthoriser, 'explain'> {
    return this.#authoriser;
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** The set that decides, if one does. */
  get inForce(): PolicySet | undefined {
    return this.#authoriser.set;
  }

  /** Why the newest policies are not in force. */
  get trouble(): KedgeError | undefined {
    return this.#trouble;
  }

  /**
   * As {@link start}, when there is time for it: what a question brings at once is loaded with the first one, and by
   * then without one. Policies that nobody has tried yet are tried now.
   */
  startInTime(): void {
    if (this.#closed) return;
    const laterMs = this.#source.directory === undefined ? LATER_MS : 0;
    this.#starting = setTimeout(() => void this.start(), laterMs).unref();
  }

  /** Loads the policies and goes on watching them. Never rejects: trouble is told. */
  async start(): Promise<void> {
    await this.reload().catch(() => undefined);
    if (this.#closed || this.#source.directory === undefined) return;
    await this.#look();
  }

  /**
   * Reads the source and has what passes decide. Asked again while it runs, it is done once more after that, once for
   * all who asked.
   *
   * @throws KedgeError `AUTHZ_SET_UNREADABLE`, `AUTHZ_SET_TOO_LARGE`, `AUTHZ_SET_INVALID`, `AUTHZ_SET_BREAKS`,
   *   `AUTHZ_ENGINE`; the set in force stays.
   */
  reload(): Promise<PolicySet> {
    this.#next ??= Promise.resolve(this.#running?.catch(() => undefined)).then(() => {
      this.#next = undefined;
      this.#running = this.#reload();
      return this.#running;
    });
    return this.#next;
  }

  /** Watches no more; a trial that runs ends. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#starting);
    clearTimeout(this.#settling?.timer);
    clearTimeout(this.#looking);
    this.#watcher?.close();
    await (this.#next ?? this.#running)?.catch(() => undefined);
  }

  async #reload(): Promise<PolicySet> {
    try {
      // Seen before it is read: what changes in between is found again.
      this.#seen = await this.#appearance();
      this.#engine ??= compiledEngine(this.#options.engine);
      const engine = await this.#engine.catch((error: unknown) => {
        this.#engine = undefined;
        throw error;
      });
      const { name, directory } = this.#source;
      const { signal } = this.#closing;
      const set =
        directory === undefined
          ? shippedSet(name)
          : passed(name, await tryPolicies(this.#source, engine, { signal }));
      if (this.inForce?.generation !== set.generation) {
        useEngine(engine);
        this.#authoriser.use(set);
        this.#options.onChanged?.(set);
      }
      this.#told(undefined);
      return set;
    } catch (error) {
      const trouble = error instanceof KedgeError ? error : unexpected(this.#source.name, error);
      if (!this.#closed) this.#told(trouble);
      throw trouble;
    }
  }

  #told(trouble: KedgeError | undefined): void {
    if (trouble?.message === this.#trouble?.message) return;
    this.#trouble = trouble;
    this.#options.onTrouble?.(trouble);
  }

  /**
   * A shipped set, at once, for a request that comes before there was time. It is part of the release and needs no
   * trial; a directory of somebody else's does.
   */
  #shipped(): PolicySet | undefined {
    if (this.#source.directory !== undefined) return undefined;
    loadEngine(this.#options.engine ?? engineFile());
    const { name } = this.#source;
    return shippedSet(name);
  }

  /** Reads the directory again where it is another one than the one that was read last. */
  async #look(): Promise<void> {
    clearTimeout(this.#looking);
    const appearance = await this.#appearance();
    if (this.#closed) return;
    this.#watch(appearance);
    if (appearance !== this.#seen) await this.reload().catch(() => undefined);
    if (this.#closed) return;
    clearTimeout(this.#looking);
    this.#looking = setTimeout(() => void this.#look(), LOOK_MS).unref();
  }

  /** Names, sizes and times of the files, and the directory itself. */
  async #appearance(): Promise<string> {
    const { directory } = this.#source;
    if (directory === undefined) return '';
    try {
      const own = await stat(directory);
      const names = (await readdir(directory)).filter((name) => name.endsWith('.cedar')).sort();
      const lines = [String(own.ino)];
      for (const name of names.slice(0, SET_MAX_FILES + 1)) {
        const { ino, size, mtimeMs, ctimeMs } = await stat(join(directory, name));
        lines.push(`${name} ${ino} ${size} ${mtimeMs} ${ctimeMs}`);
      }
      return lines.join('\n');
    } catch {
      // What cannot be looked at is read, and its fault said.
      return 'gone';
    }
  }

  #watch(appearance: string): void {
    const { directory } = this.#source;
    const inode = Number(appearance.split('\n')[0]) || 0;
    if (directory === undefined || inode === this.#watched) return;
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watched = inode;
    if (inode === 0) return;
    try {
      this.#watcher = watch(directory, { persistent: false }, () => {
        this.#settle();
      });
      this.#watcher.on('error', () => {
        this.#watched = 0;
      });
    } catch {
      // No watch to be had: the looks find every change, later.
      this.#watched = 0;
    }
  }

  #settle(): void {
    if (this.#closed) return;
    const since = this.#settling?.since ?? performance.now();
    clearTimeout(this.#settling?.timer);
    const left = Math.max(0, Math.min(SETTLE_MS, since + SETTLE_MAX_MS - performance.now()));
    const timer = setTimeout(() => {
      this.#settling = undefined;
      void this.#look();
    }, left).unref();
    this.#settling = { since, timer };
  }
}

function unexpected(name: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'AUTHZ_SET_BREAKS',
    message: `cannot use the policies of ${name}: the engine does not take them`,
    cause,
  });
}

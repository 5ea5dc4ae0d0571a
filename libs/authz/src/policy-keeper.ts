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
import {
  type CompiledEngine,
  compiledEngine,
  engineFile,
  engineVersion,
  loadEngine,
  useEngine,
} from './cedar.js';
import type { DeescalationAuthority } from './deescalation.js';
import { filesOf, type KeptSet, readKept, writeKept } from './kept-set.js';
import { PolicyAuthoriser } from './policy-authoriser.js';
import { type PolicySource, policySourceOf, SET_MAX_FILES, trialOf } from './policy-source.js';
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
  /** Told what is to be known of the policies by whoever looks at alarms; undefined once it is nothing any more. */
  readonly onAlarm?: (sentence: string | undefined) => void;
  /** File in which the policies of a directory are kept for the next start; absent: they are not. */
  readonly kept?: string;
  /** The engine's file; default: the installed one. */
  readonly engine?: string;
}

/** Until policies that can be had at once are loaded although nobody asks: whoever has just come back has other work. */
const LATER_MS = 2_000;
/** How long storage may take to give what was kept; whoever starts goes on without it. */
const KEPT_ANSWER_MS = 1_000;
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
  /** What was kept before this process began. */
  #kept: KeptSet | undefined;
  /** Why nothing is kept, or was to be had. */
  #keptTrouble: KedgeError | undefined;
  /** Decides by what was kept, because the directory cannot be used. */
  #fellBack = false;
  #recalled = false;
  /** The directory is as it was when what was kept was tried: a question needs no trial. */
  #isAsKept = false;
  #keeping: Promise<void> = Promise.resolve();
  #alarmed: string | undefined;
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
      firstSet: () => this.#first(),
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

  /** What is to be known of the policies, in plain words. */
  get alarm(): string | undefined {
    if (this.#trouble !== undefined) {
      const { message } = this.#trouble;
      if (this.inForce === undefined)
        return `no policies are in force, only tightening is allowed: ${message}`;
      const instead = this.#fellBack ? ', those from before the start are' : '';
      return `the newest policies are not in force${instead}: ${message}`;
    }
    if (this.#keptTrouble === undefined) return undefined;
    return `the policies in force are not kept for the next start: ${this.#keptTrouble.message}`;
  }

  /**
   * As {@link start}, when there is time for it: what a question brings at once is loaded with the first one, and by
   * then without one. Policies that nobody has tried yet are tried now. Never rejects.
   */
  async startInTime(): Promise<void> {
    const { directory } = this.#source;
    if (directory !== undefined) {
      await this.#recall();
      this.#isAsKept = this.#isTried(this.#kept) && this.#kept.appearance === (await this.#appearance());
    }
    if (this.#closed) return;
    if (directory === undefined || this.#isAsKept)
      this.#starting = setTimeout(() => void this.start(), LATER_MS).unref();
    else await this.start();
  }

  /** Loads the policies and goes on watching them. Never rejects: trouble is told. */
  async start(): Promise<void> {
    await this.#recall();
    if (!(await this.#resume())) await this.reload().catch(() => this.#fallBack());
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
    await this.#keeping;
  }

  async #reload(): Promise<PolicySet> {
    try {
      // Seen before it is read: what changes in between is found again.
      const appearance = await this.#appearance();
      this.#seen = appearance;
      const engine = await this.#compiled();
      const { name, directory } = this.#source;
      const { signal } = this.#closing;
      const set =
        directory === undefined
          ? shippedSet(name)
          : passed(name, await tryPolicies(this.#source, engine, { signal }));
      this.#use(engine, set);
      this.#fellBack = false;
      this.#told(undefined);
      if (directory !== undefined) this.#keep(set, appearance);
      return set;
    } catch (error) {
      const trouble = error instanceof KedgeError ? error : unexpected(this.#source.name, error);
      if (!this.#closed) this.#told(trouble);
      throw trouble;
    }
  }

  async #compiled(): Promise<CompiledEngine> {
    this.#engine ??= compiledEngine(this.#options.engine);
    return await this.#engine.catch((error: unknown) => {
      this.#engine = undefined;
      throw error;
    });
  }

  #use(engine: CompiledEngine, set: PolicySet): void {
    if (this.inForce?.generation === set.generation) return;
    useEngine(engine);
    this.#authoriser.use(set);
    this.#isAsKept = false;
    this.#options.onChanged?.(set);
  }

  #told(trouble: KedgeError | undefined): void {
    if (trouble?.message !== this.#trouble?.message) {
      this.#trouble = trouble;
      this.#options.onTrouble?.(trouble);
    }
    this.#alarm();
  }

  #alarm(): void {
    const { alarm } = this;
    if (alarm === this.#alarmed) return;
    this.#alarmed = alarm;
    this.#options.onAlarm?.(alarm);
  }

  /** Reads what was kept, once. Storage that does not answer has kept nothing. */
  async #recall(): Promise<void> {
    const { kept } = this.#options;
    if (kept === undefined || this.#source.directory === undefined || this.#recalled) return;
    this.#recalled = true;
    let timer: NodeJS.Timeout | undefined;
    try {
      this.#kept = await Promise.race([
        readKept(kept),
        new Promise<undefined>((resolve) => {
          timer = setTimeout(() => {
            resolve(undefined);
          }, KEPT_ANSWER_MS);
        }),
      ]);
      // What another directory held says nothing about this one.
      if (this.#kept?.set.name !== this.#source.name) this.#kept = undefined;
    } catch (error) {
      this.#keptTroubled(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether what was kept was tried by this engine and schema. */
  #isTried(kept: KeptSet | undefined): kept is KeptSet {
    return kept !== undefined && kept.triedBy === trialOf(engineVersion(this.#options.engine));
  }

  /** Decides by what was kept, where the directory is still as it was: it passed its trial. */
  async #resume(): Promise<boolean> {
    const kept = this.#kept;
    if (!this.#isTried(kept)) return false;
    const appearance = await this.#appearance();
    if (kept.appearance !== appearance) return false;
    try {
      this.#use(await this.#compiled(), kept.set);
      this.#seen = appearance;
      return true;
    } catch {
      // Read anew it is found out why.
      return false;
    }
  }

  /** The directory cannot be used: what was in force before the start decides, and the trouble stays said. */
  async #fallBack(): Promise<void> {
    const kept = this.#kept;
    if (kept === undefined || this.inForce !== undefined || this.#closed) return;
    try {
      const engine = await this.#compiled();
      let { set } = kept;
      if (!this.#isTried(kept)) {
        const source = { ...this.#source, files: filesOf(set) };
        const tried = passed(set.name, await tryPolicies(source, engine, { signal: this.#closing.signal }));
        set = { ...tried, generation: set.generation };
      }
      // Whoever corrected the directory meanwhile was quicker.
      if (this.inForce !== undefined) return;
      this.#fellBack = true;
      this.#use(engine, set);
      this.#alarm();
    } catch (error) {
      this.#fellBack = false;
      this.#keptTroubled(error);
    }
  }

  /** Has a set kept for the next start; nobody waits for the disk. */
  #keep(set: PolicySet, appearance: string): void {
    const { kept: path } = this.#options;
    const triedBy = trialOf(engineVersion(this.#options.engine));
    if (path === undefined || triedBy === undefined || this.#isKept(set, appearance, triedBy)) return;
    const kept = { triedBy, appearance, set };
    this.#kept = kept;
    this.#keeping = this.#keeping.then(async () => {
      // Only the newest one: a storm of changes leaves one file.
      if (this.#kept !== kept) return;
      try {
        await writeKept(path, kept);
        this.#keptTrouble = undefined;
        this.#alarm();
      } catch (error) {
        this.#keptTroubled(error);
      }
    });
  }

  #isKept({ generation }: PolicySet, appearance: string, triedBy: string): boolean {
    const kept = this.#kept;
    if (kept === undefined || this.#keptTrouble !== undefined) return false;
    return kept.set.generation === generation && kept.appearance === appearance && kept.triedBy === triedBy;
  }

  #keptTroubled(error: unknown): void {
    this.#keptTrouble = error instanceof KedgeError ? error : unexpected(this.#source.name, error);
    this.#alarm();
  }

  /**
   * A set at once, for a request that comes before there was time. A shipped one is part of the release and needs no
   * trial; a directory of somebody else's does, where it is not as it was when what was kept of it was tried.
   */
  #first(): PolicySet | undefined {
    const { name, directory } = this.#source;
    if (directory !== undefined && !this.#isAsKept) return undefined;
    loadEngine(this.#options.engine ?? engineFile());
    return directory === undefined ? shippedSet(name) : this.#kept?.set;
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

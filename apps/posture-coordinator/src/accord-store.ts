/**
 * The accords in force, kept by the coordinator: a copy of each set under its own hash, and two pointers to the one
 * that counts. `tables` is followed by the bridge, `paths` by overlay and underlay.
 * It must not decide when a set comes into force; whoever moves the pointers does.
 *
 * The pointer of the tables is the one to believe: a loosening moves it last, a tightening first, before it is decided
 * and before the other one. Where the two differ at a start a change was interrupted, and the tables say what is in
 * force: of a tightening that was only prepared the tighter set, which nobody has to take back.
 */
import { accordDocument, type AccordFiles, accordUnreadable, refuseLargeAccord } from '@kedge/bus';
import { isMissing, syncDirectory } from '@kedge/durable-files';
import { accordsIdentity, type AccordSet, compileAccords, parseAccords } from '@kedge/posture';
import { KedgeError } from '@kedge/units';
import { createHash } from 'node:crypto';
import { renameSync, rmSync, symlinkSync } from 'node:fs';
import { mkdir, open, readdir, readlink, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Who follows which pointer. */
export type Pointer = 'tables' | 'paths';

/** A set and what identifies it. */
export interface NamedSet {
  readonly set: AccordSet;
  /** Of {@link accordsIdentity}, in hex: the name of its directory. */
  readonly hash: string;
}

/** A set that was read from files, with the documents that it was read from. */
export interface OfferedSet extends NamedSet {
  readonly documents: Readonly<Record<keyof AccordFiles, string>>;
}

const HASH = /^[0-9a-f]{64}$/;

/**
 * Reads and validates both files, and compiles them: what the tables cannot hold is refused here.
 *
 * @throws KedgeError `ACCORD_UNREADABLE`, `ACCORD_SYNTAX`, and those of `parseAccords` and `compileAccords`.
 */
export async function readOffered(files: AccordFiles): Promise<OfferedSet> {
  const accords = await textOf('accords', files.accords);
  const zones = await textOf('zones', files.zones);
  return offeredOf({ accords, zones }, files);
}

/**
 * The set that two documents make, validated and compiled.
 *
 * @param places where they stand, for people.
 * @throws KedgeError as {@link readOffered}.
 */
export function offeredOf(documents: OfferedSet['documents'], places: AccordFiles): OfferedSet {
  const read = (what: keyof AccordFiles): unknown => {
    refuseLargeAccord(what, places[what], Buffer.byteLength(documents[what]));
    return accordDocument(what, places[what], documents[what]);
  };
  const set = parseAccords(read('accords'), read('zones'));
  compileAccords(set.accords, set.zones);
  return { set, hash: hashOf(set), documents };
}

function hashOf(set: AccordSet): string {
  return createHash('sha256').update(accordsIdentity(set)).digest('hex');
}

async function textOf(what: string, path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      refuseLargeAccord(what, path, (await file.stat()).size);
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw cause instanceof KedgeError ? cause : accordUnreadable(what, path, cause);
  }
}

/** The store; the coordinator is its one writer. */
export class AccordStore {
  readonly #directory: string;
  /** What counts, by pointer. */
  readonly #at: Record<Pointer, NamedSet>;
  /** A set that pointers lead to before it counts. */
  #prepared: { readonly to: NamedSet; readonly pointers: Set<Pointer> } | undefined;
  /** How many have begun to bring a set into force, by hash. */
  readonly #held = new Map<string, number>();
  /** Keeping and letting go, one after the other: what is kept is not let go meanwhile. */
  #working: Promise<unknown> = Promise.resolve();

  private constructor(directory: string, inForce: NamedSet) {
    this.#directory = directory;
    this.#at = { tables: inForce, paths: inForce };
  }

  /**
   * What was in force last; where nothing ever was, what is offered.
   *
   * @throws KedgeError as {@link readOffered}, `ACCORD_COPY_DAMAGED`; Error of the file system.
   */
  static async open(directory: string, offered: AccordFiles): Promise<AccordStore> {
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const [tables, paths] = await Promise.all([pointed(directory, 'tables'), pointed(directory, 'paths')]);
    if (tables === undefined) {
      const first = await readOffered(offered);
      const store = new AccordStore(directory, first);
      await store.keep(first);
      store.point('paths', first);
      store.point('tables', first);
      await store.flush();
      return store;
    }
    const store = new AccordStore(directory, await kept(directory, tables));
    if (paths !== tables) {
      store.point('paths', store.inForce);
      await store.flush();
    }
    return store;
  }

  /** What packets are judged by, and who may loosen. */
  get inForce(): NamedSet {
    return this.#at.tables;
  }

  /** What overlay and underlay go by; another set only while a loosening runs. */
  get onPaths(): NamedSet {
    return this.#at.paths;
  }

  /** The set that is prepared, if one is. */
  get prepared(): NamedSet | undefined {
    return this.#prepared?.to;
  }

  /** Has nobody let go of a set until the function that this returns is called. */
  hold({ hash }: NamedSet): () => void {
    this.#held.set(hash, (this.#held.get(hash) ?? 0) + 1);
    return () => {
      const left = (this.#held.get(hash) ?? 1) - 1;
      if (left > 0) this.#held.set(hash, left);
      else this.#held.delete(hash);
    };
  }

  /** Keeps a copy, durably; nobody uses it before a pointer leads there. Whoever keeps it {@link hold}s it, too. */
  async keep(set: OfferedSet): Promise<void> {
    await this.#inTurn(() => this.#keep(set));
  }

  async #keep({ hash, documents }: OfferedSet): Promise<void> {
    const place = join(this.#directory, hash);
    if (
      await kept(this.#directory, hash).then(
        () => true,
        () => false,
      )
    )
      return;
    const draft = `${place}.draft`;
    await rm(draft, { recursive: true, force: true });
    await rm(place, { recursive: true, force: true });
    await mkdir(draft, { mode: 0o755 });
    for (const [name, text] of Object.entries(documents)) {
      const file = await open(join(draft, `${name}.json`), 'wx', 0o644);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    await syncDirectory(draft);
    await rename(draft, place);
    await syncDirectory(this.#directory);
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#working.then(work);
    this.#working = done.catch(() => undefined);
    await done;
  }

  /**
   * A set that is kept counts from now on: its pointer leads there at once, because what follows must not be seen
   * before. Where another one is prepared the pointer stays there until that counts or is withdrawn. {@link flush}
   * makes it last.
   *
   * @throws Error of the file system; nothing has changed then.
   */
  point(pointer: Pointer, to: NamedSet): void {
    if (this.#prepared?.pointers.has(pointer) !== true) this.#lead(pointer, to);
    this.#at[pointer] = to;
  }

  /**
   * Has a pointer lead to a set that does not count yet, and will or will not. One set at a time.
   *
   * @throws Error of the file system; the pointer leads where it did then.
   */
  prepare(pointer: Pointer, to: NamedSet): void {
    this.#prepared ??= { to, pointers: new Set() };
    this.#lead(pointer, to);
    this.#prepared.pointers.add(pointer);
  }

  /** What is prepared counts. Memory only: whoever decides it waits for no disk. */
  adopt(): void {
    if (this.#prepared === undefined) return;
    const { to, pointers } = this.#prepared;
    for (const pointer of pointers) this.#at[pointer] = to;
    this.#prepared = undefined;
  }

  /**
   * What is prepared will not count: its pointers lead back to what does.
   *
   * @throws Error of the file system; the tighter set stays where its pointer cannot be moved.
   */
  withdraw(): void {
    const moved = this.#prepared?.pointers ?? [];
    this.#prepared = undefined;
    for (const pointer of moved) this.#lead(pointer, this.#at[pointer]);
  }

  /** Makes the pointers last. */
  async sync(): Promise<void> {
    await syncDirectory(this.#directory);
  }

  #lead(pointer: Pointer, to: NamedSet): void {
    const draft = join(this.#directory, `${pointer}.draft`);
    rmSync(draft, { force: true });
    symlinkSync(to.hash, draft);
    renameSync(draft, join(this.#directory, pointer));
  }

  /**
   * Makes the pointers last, and lets go of every set that none leads to, that nobody holds and nobody waits with.
   *
   * @param waiting asked before each set that is let go: meanwhile others may have come to wait.
   */
  async flush(waiting: () => readonly NamedSet[] = () => []): Promise<void> {
    await this.#inTurn(async () => {
      await this.sync();
      for (const name of await readdir(this.#directory))
        if (HASH.test(name) && !this.#isUsed(name, waiting()))
          await rm(join(this.#directory, name), { recursive: true, force: true });
    });
  }

  #isUsed(name: string, waiting: readonly NamedSet[]): boolean {
    const sets = [this.#at.tables, this.#at.paths, this.#prepared?.to, ...waiting];
    return this.#held.has(name) || sets.some((set) => set?.hash === name);
  }
}

/** The hash that a pointer leads to; undefined where there is none. */
async function pointed(directory: string, pointer: Pointer): Promise<string | undefined> {
  try {
    await stat(directory);
    return await readlink(join(directory, pointer));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** A copy, read back whole. */
async function kept(directory: string, hash: string): Promise<NamedSet> {
  const place = join(directory, hash);
  const { set, hash: found } = await readOffered({
    accords: join(place, 'accords.json'),
    zones: join(place, 'zones.json'),
  });
  if (found === hash) return { set, hash };
  throw new KedgeError({
    code: 'ACCORD_COPY_DAMAGED',
    message: `cannot use the accords that were in force: their copy in ${place} was changed`,
    help: 'remove the directory of the accords in force; the next start takes the configured ones',
  });
}

/**
 * A participant's desired set in a file that survives kill -9 and power loss: the old set or the new one, never a mix.
 * It must not know what the items mean, and must not decide what to do about damage.
 */
import { isMissing, replaceFile } from '@kedge/durable-files';
import { desiredCodec, type DesiredKind, type DesiredSet, emptyDesiredSet } from '@kedge/reconcile';
import { KedgeError } from '@kedge/units';
import { createHash } from 'node:crypto';
import { link, mkdir, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Where a desired set is kept, and of what kind it is. */
export interface DesiredStoreOptions<Item> {
  /** Absolute path of the file. Its directory is made (0700) where it is missing. One process at a time. */
  readonly path: string;
  readonly kind: DesiredKind<Item>;
}

/** A desired set in memory and in its file. */
export interface DesiredStore<Item> {
  /** The set as it is meant now; {@link save} makes it durable. The next change builds on it. */
  readonly current: DesiredSet<Item>;
  /** The set that stands in the file: what goes into the world goes by it, as a start would. */
  readonly durable: DesiredSet<Item>;
  /**
   * Why the file that was found could not be taken (`RECONCILE_DESIRED_DAMAGED`); the set is empty then, which is the
   * strictest there is. Ends with the next good {@link save}; the damaged file is kept aside as PATH.damaged.
   */
  readonly damage: KedgeError | undefined;
  /** True where no file was there: nothing was ever wanted. */
  readonly absent: boolean;
  /**
   * Takes a set at once into memory and resolves when it is durable. Saves that come while one is written share the
   * next write: the newest set wins, and all of them resolve with it. Where one fails, those that came meanwhile fail
   * with it, for they were made from it.
   *
   * @throws KedgeError `BUS_DESIRED_FAILED` (storage failed; memory has the durable set again, and so has the file
   *   wherever it could be written at all), `RECONCILE_DESIRED_INVALID`; nothing is taken then.
   */
  save(set: DesiredSet<Item>): Promise<void>;
  /** Waits for what is under way. */
  close(): Promise<void>;
}

/** SHA-256 as hexadecimal text, for codecs. */
export const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

/**
 * Opens a desired set. A missing file is an empty set, a damaged one is an empty set with {@link DesiredStore.damage}.
 *
 * @throws KedgeError `BUS_DESIRED_FAILED` where the file or its directory cannot be used.
 */
export async function openDesiredStore<Item>({
  path,
  kind,
}: DesiredStoreOptions<Item>): Promise<DesiredStore<Item>> {
  if (!path.startsWith('/')) throw failed(path, 'open', undefined, 'an absolute path');
  const codec = desiredCodec(kind, sha256);
  let bytes: Buffer | undefined;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    bytes = await readFile(path);
  } catch (cause) {
    if (!isMissing(cause)) {
      throw failed(path, 'read', cause);
    }
  }
  let current = emptyDesiredSet<Item>();
  let damage: KedgeError | undefined;
  if (bytes !== undefined) {
    try {
      // What is no UTF-8 is damage as well: the checksum is over the text that the bytes stand for.
      current = codec.decode(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
    } catch (cause) {
      damage = damageOf(path, cause);
    }
  }
  return new OpenStore(path, codec.encode, current, damage, bytes === undefined);
}

class OpenStore<Item> implements DesiredStore<Item> {
  readonly absent: boolean;
  current: DesiredSet<Item>;
  durable: DesiredSet<Item>;
  damage: KedgeError | undefined;
  readonly #path: string;
  readonly #encode: (set: DesiredSet<Item>) => string;
  #next:
    | { readonly set: DesiredSet<Item>; readonly text: string; readonly done: PromiseWithResolvers<void> }
    | undefined;
  #writing: Promise<void> | undefined;

  constructor(
    path: string,
    encode: (set: DesiredSet<Item>) => string,
    current: DesiredSet<Item>,
    damage: KedgeError | undefined,
    absent: boolean,
  ) {
    this.#path = path;
    this.#encode = encode;
    this.current = current;
    this.durable = current;
    this.damage = damage;
    this.absent = absent;
  }

  async save(set: DesiredSet<Item>): Promise<void> {
    const text = this.#encode(set);
    this.current = set;
    const done = this.#next?.done ?? withResolvers();
    this.#next = { set, text, done };
    this.#writing ??= this.#write();
    await done.promise;
  }

  async close(): Promise<void> {
    await this.#writing;
  }

  /** Writes what waits until nothing waits. Never rejects. */
  async #write(): Promise<void> {
    // Saves of one turn of the event loop are one write.
    await Promise.resolve();
    for (let next = this.#takeNext(); next !== undefined; next = this.#takeNext()) {
      let named = false;
      try {
        if (this.damage !== undefined) await keepAside(this.#path);
        await replaceFile(this.#path, next.text, () => {
          named = true;
        });
        this.damage = undefined;
        this.durable = next.set;
        next.done.resolve();
      } catch (cause) {
        await this.#putBack(named);
        const error = failed(this.#path, 'write', cause);
        next.done.reject(error);
        // What came meanwhile was made from what has just failed.
        this.#takeNext()?.done.reject(error);
      }
    }
    this.#writing = undefined;
  }

  /**
   * What could not be made durable is in force nowhere: memory goes back, and so does the file where only the flush of
   * its name failed. Tried once; a disk that fails twice keeps what it has.
   */
  async #putBack(named: boolean): Promise<void> {
    if (named && this.damage === undefined) {
      await replaceFile(this.#path, this.#encode(this.durable)).catch(() => undefined);
    }
    this.current = this.durable;
  }

  #takeNext() {
    const next = this.#next;
    this.#next = undefined;
    return next;
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: KedgeError) => void;
}

function withResolvers(): PromiseWithResolvers<void> {
  let resolve: () => void = () => undefined;
  let reject: (error: KedgeError) => void = () => undefined;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** A second name for what is there: the first keeps it until a whole set takes its place. */
async function keepAside(path: string): Promise<void> {
  const aside = `${path}.damaged`;
  try {
    await rm(aside, { force: true });
    await link(path, aside);
  } catch (cause) {
    if (!isMissing(cause)) throw cause;
  }
}

function damageOf(path: string, cause: unknown): KedgeError {
  const inner = cause instanceof KedgeError ? cause : undefined;
  return new KedgeError({
    code: 'RECONCILE_DESIRED_DAMAGED',
    message: `cannot take the desired set in ${path}: ${inner?.field ?? 'text'} is wrong`,
    field: inner?.field ?? 'text',
    expected: inner?.expected ?? 'UTF-8 text',
    help: `put a whole set in its place; the participant stays at the strictest level until then`,
    cause,
  });
}

function failed(path: string, doing: string, cause: unknown, expected?: string): KedgeError {
  return new KedgeError({
    code: 'BUS_DESIRED_FAILED',
    message: `cannot ${doing} the desired set in ${path}`,
    ...(expected === undefined ? {} : { expected }),
    help: 'look at the disk and the owner of the directory; what was durable before still is',
    cause,
  });
}

/**
 * The fault layer (native/fault.c) from outside: writes its rules, reads its counters, moves its wall clock.
 * It must not be the process that is struck; that one is started with `environment()`.
 */
import { closeSync, fsyncSync, openSync, readSync, realpathSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Made by test/faults/Makefile. */
export const FAULT_LIBRARY = fileURLToPath(new URL('../build/kedge-fault.so', import.meta.url));

/** Calls that change storage; `sync` is fsync and fdatasync of files and directories. */
export const OPS = {
  open: 1,
  write: 2,
  sync: 3,
  rename: 4,
  truncate: 5,
  unlink: 6,
  link: 7,
  mkdir: 8,
} as const;
export type Op = keyof typeof OPS;

const ERRORS = { EIO: 5, ENOSPC: 28, EROFS: 30, EACCES: 13, EINTR: 4 } as const;
const ACTIONS = { fail: 1, short: 2, full: 3, delay: 4, hang: 5, killBefore: 6, killAfter: 7 } as const;

/** What is to happen to calls that match. */
export type FaultRule = {
  readonly ops: readonly Op[];
  /** fnmatch(3) on the path below the prefix; absent: all of them. At most 183 bytes. */
  readonly path?: string;
  /** Matching calls that pass before the first is struck; default 0. */
  readonly skip?: number;
  /** How many are struck; default: all that follow. */
  readonly limit?: number;
} & (
  | { readonly action: 'fail'; readonly error: keyof typeof ERRORS }
  /** Half of what was to be written is. */
  | { readonly action: 'short' }
  /** Files may grow by this many bytes together, then there is no space left. What lies inside of them needs none. */
  | { readonly action: 'full'; readonly bytes: number }
  | { readonly action: 'delay'; readonly ms: number }
  /** Until the rule is taken away. */
  | { readonly action: 'hang' }
  | { readonly action: 'killBefore' | 'killAfter' }
);

/** How a rule fared. */
export interface Struck {
  /** Calls that matched. */
  readonly seen: number;
  readonly struck: number;
}

/** What a process is started with. */
export type FaultEnvironment = Readonly<Record<string, string>>;

const MAGIC = 0x3146644b;
const HEAD = 64;
const RULE = 256;
const RULES = 16;
const AT = {
  ops: 4,
  action: 8,
  error: 12,
  skip: 16,
  limit: 24,
  bytes: 32,
  delay: 40,
  seen: 48,
  struck: 56,
  path: 72,
};

/** A control file and the prefix it is about. The caller removes the file. */
export class FaultLayer {
  readonly #control: string;
  readonly #prefix: string;
  readonly #log: string | undefined;
  readonly #snapshot: string | undefined;
  readonly #fd: number;
  readonly #active = new Set<number>();
  #next = 0;

  /**
   * @param control absolute path of a file that is made anew, outside of the prefix.
   * @param prefix an existing directory.
   * @param log every call is appended to this file; see {@link parseLog}.
   * @param snapshot a file of which the log keeps the content before each call.
   */
  constructor(options: {
    readonly control: string;
    readonly prefix: string;
    readonly log?: string;
    readonly snapshot?: string;
  }) {
    this.#control = options.control;
    this.#prefix = realpathSync(options.prefix);
    this.#log = options.log;
    this.#snapshot = options.snapshot;
    this.#fd = openSync(options.control, 'w+', 0o600);
    const bytes = Buffer.alloc(HEAD + RULES * RULE);
    bytes.writeUInt32LE(MAGIC, 0);
    bytes.writeUInt32LE(1, 4);
    writeSync(this.#fd, bytes, 0, bytes.length, 0);
    fsyncSync(this.#fd);
  }

  /** The environment that loads the layer into a process. */
  environment(): FaultEnvironment {
    return {
      LD_PRELOAD: FAULT_LIBRARY,
      KEDGE_FAULT_CONTROL: this.#control,
      KEDGE_FAULT_PREFIX: this.#prefix,
      ...(this.#log === undefined ? {} : { KEDGE_FAULT_LOG: this.#log }),
      ...(this.#snapshot === undefined ? {} : { KEDGE_FAULT_SNAPSHOT: this.#snapshot }),
    };
  }

  /** Puts a rule in force at once, also in processes that run. Rules are asked in their order. */
  add(rule: FaultRule): { counts(): Struck; remove(): void } {
    if (this.#active.size >= RULES) throw new RangeError(`at most ${RULES} rules at once`);
    // A place is not taken again at once: somebody may just be noticing that its rule is gone.
    while (this.#active.has(this.#next)) this.#next = (this.#next + 1) % RULES;
    const index = this.#next;
    this.#next = (index + 1) % RULES;
    const at = HEAD + RULE * index;
    const bytes = Buffer.alloc(RULE);
    bytes.writeUInt32LE(
      rule.ops.reduce((mask, op) => mask | (1 << OPS[op]), 0),
      AT.ops,
    );
    bytes.writeUInt32LE(ACTIONS[rule.action], AT.action);
    if (rule.action === 'fail') bytes.writeInt32LE(ERRORS[rule.error], AT.error);
    if (rule.action === 'full') bytes.writeBigUInt64LE(BigInt(rule.bytes), AT.bytes);
    if (rule.action === 'delay') bytes.writeBigUInt64LE(BigInt(rule.ms) * 1_000_000n, AT.delay);
    bytes.writeBigUInt64LE(BigInt(rule.skip ?? 0), AT.skip);
    bytes.writeBigUInt64LE(BigInt(rule.limit ?? 0), AT.limit);
    bytes.write(rule.path ?? '', AT.path, RULE - AT.path - 1);
    writeSync(this.#fd, bytes, 0, RULE, at);
    this.#activate(index, true);
    return {
      counts: () => {
        const seen = Buffer.alloc(16);
        readSync(this.#fd, seen, 0, 16, at + AT.seen);
        return { seen: Number(seen.readBigUInt64LE(0)), struck: Number(seen.readBigUInt64LE(8)) };
      },
      remove: () => {
        this.#activate(index, false);
      },
    };
  }

  /** Forgets every rule; what hangs goes on. */
  clear(): void {
    for (const index of [...this.#active]) this.#activate(index, false);
  }

  /** Moves the wall clock of the processes by this much against the true one, milliseconds. */
  stepWallClock(byMs: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(Math.trunc(byMs)) * 1_000_000n);
    writeSync(this.#fd, bytes, 0, 8, 8);
  }

  /** How often the processes have read the wall clock through the layer. */
  wallReadings(): number {
    const bytes = Buffer.alloc(8);
    readSync(this.#fd, bytes, 0, 8, 16);
    return Number(bytes.readBigUInt64LE(0));
  }

  close(): void {
    this.clear();
    closeSync(this.#fd);
  }

  #activate(index: number, active: boolean): void {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(active ? 1 : 0);
    writeSync(this.#fd, word, 0, 4, HEAD + RULE * index);
    if (active) this.#active.add(index);
    else this.#active.delete(index);
  }
}

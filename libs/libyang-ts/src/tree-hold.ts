/**
 * What stands between an object of this package and its tree in the addon: whether it is still there, and who uses it.
 * Must not be exported: whoever has one could free a tree under its owner.
 */
import { addon, type RawTree } from './addon.js';
import type { Held, JobQueue } from './job-queue.js';
import type { Limits } from './limits.js';
import { YangError } from './yang-error.js';

/** What all trees of a context have in common. */
export interface Household {
  readonly queue: JobQueue;
  readonly limits: Limits;
}

/** A tree of the addon, with the jobs that were asked for and are not over. */
export class TreeHold implements Held {
  readonly household: Household;
  /** Jobs that wait or run with it. */
  pending = 0;
  readonly #what: string;
  #raw: RawTree | undefined;

  constructor(household: Household, raw: RawTree, what: string) {
    this.household = household;
    this.#raw = raw;
    this.#what = what;
  }

  /** The tree, for a job whose turn has come. @throws YangError `YANG_DISPOSED` */
  raw(operation: string): RawTree {
    if (this.#raw === undefined)
      throw new YangError({
        code: 'YANG_DISPOSED',
        message: `cannot ${operation}: the ${this.#what} was disposed of`,
        field: this.#what,
        help: 'keep it until its last use is over',
      });
    return this.#raw;
  }

  /** The tree, for a call that is over when it returns. @throws YangError `YANG_DISPOSED`, `YANG_BUSY` */
  idle(operation: string): RawTree {
    const raw = this.raw(operation);
    if (this.pending > 0)
      throw new YangError({
        code: 'YANG_BUSY',
        message: `cannot ${operation}: a job was begun with the ${this.#what} and is not over`,
        field: this.#what,
        help: 'await it, or work on a duplicate',
      });
    return raw;
  }

  /** Lets go of the tree; a job that runs with it keeps it until it is over. */
  close(): void {
    const raw = this.#raw;
    this.#raw = undefined;
    if (raw !== undefined) addon.closeTree(raw);
  }
}

const holds = new WeakMap<object, TreeHold>();

/** Says which tree is behind an object. */
export function bind(object: object, hold: TreeHold): void {
  holds.set(object, hold);
}

/** The tree behind an object. @throws YangError `YANG_ARGUMENT` when there is none */
export function holdOf(operation: string, field: string, object: object): TreeHold {
  const hold = holds.get(object);
  if (hold !== undefined) return hold;
  throw new YangError({
    code: 'YANG_ARGUMENT',
    message: `cannot ${operation}: ${field} is wrong`,
    field,
    expected: 'a tree, or a diff, of this package',
  });
}

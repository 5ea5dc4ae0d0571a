/**
 * The errors of the store, each in one place.
 * It must not decide when one is due.
 */
import { KedgeError } from '@kedge/units';

/** Storage failed: the store takes nothing any more. */
export function storeFailed(doing: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'LEDGER_STORE_FAILED',
    message: `cannot ${doing}; the ledger's store takes nothing any more`,
    help: 'look at the disk, then start the service again; what was acknowledged is there',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The store was closed. */
export function storeClosed(directory: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_STORE_CLOSED',
    message: `cannot keep the record: the ledger's store ${directory} is closed`,
  });
}

/** There is no room on the disk. */
export function diskFull(directory: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'LEDGER_FULL',
    message: `cannot keep the record: there is no room for the ledger in ${directory}`,
    expected: 'space on its disk',
    help: 'move segments out of its archive, or make room; it goes on by itself',
    cause,
  });
}

/** More records wait than may. */
export function tooBusy(limit: number): KedgeError {
  return new KedgeError({
    code: 'LEDGER_BUSY',
    message: 'cannot keep the record now: the ledger has not written what was given before',
    expected: `at most ${limit} bytes that wait`,
    help: 'give it again later',
  });
}

/** A file that was durable is not what it was. */
export function damaged(path: string, at: number, expected: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'LEDGER_STORE_DAMAGED',
    message: `the ledger's file ${path} is damaged at byte ${at}`,
    expected,
    help: 'keep a copy of the directory, and compare with the witness what is still proven',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** An option is wrong. */
export function wrongOption(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_STORE_OPTIONS',
    message: `cannot open the ledger's store: ${field} is wrong`,
    field,
    expected,
  });
}

/** Records of a spool are missing between what is kept and what is given. */
export function gapBefore(first: bigint, next: bigint): KedgeError {
  return new KedgeError({
    code: 'LEDGER_GAP',
    message: `cannot take records from sequence ${first} on: those before are missing`,
    field: 'first',
    expected: `at most ${next}`,
  });
}

/** Another record has the id. */
export function idReused(id: string): KedgeError {
  return new KedgeError({
    code: 'LEDGER_ID_REUSED',
    message: `cannot keep the record: another one has the id ${id}`,
    field: 'id',
    expected: 'the same content for the same id',
  });
}

/** Retention could not do its work; the store goes on. */
export function retentionFailed(cause: unknown): KedgeError {
  return new KedgeError({
    code: 'LEDGER_RETENTION',
    message: 'cannot prune or archive the ledger; its records are kept',
    help: 'see the cause; the next run goes on where this one ended',
    cause,
  });
}

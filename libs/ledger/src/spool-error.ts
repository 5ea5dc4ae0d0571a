/**
 * The errors of a spool that several of its files give.
 * It must not decide when.
 */
import { KedgeError } from '@kedge/units';

/** Storage failed. */
export function failed(message: string, cause?: unknown): KedgeError {
  return new KedgeError({ code: 'LEDGER_SPOOL_FAILED', message, ...(cause === undefined ? {} : { cause }) });
}

/** A file is not as it was written. */
export function damaged(path: string, at: number): KedgeError {
  return new KedgeError({
    code: 'LEDGER_SPOOL_DAMAGED',
    message: `the spool file ${path} is damaged at byte ${at}`,
    expected: 'whole records, one after the other, up to the next file',
    help: 'keep a copy of the directory, then move the damaged file and all later ones away',
  });
}

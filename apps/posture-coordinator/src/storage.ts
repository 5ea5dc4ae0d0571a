/**
 * How long storage is waited for. A disk that hangs keeps a call for ever, and nothing that tightens may wait (PO-22).
 * It must not know what is stored.
 */
import { KedgeError } from '@kedge/units';

/** What storage is given to answer where nothing else is said, milliseconds. */
export const STORAGE_ANSWER_MS = 3_000;

/**
 * What `work` comes to, if it does so in time. What still happens to it later is nobody's business any more.
 *
 * @throws KedgeError `STORAGE_SILENT`, and whatever `work` throws in time.
 */
export async function inTime<T>(what: string, ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      work,
      new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => {
          reject(
            new KedgeError({
              code: 'STORAGE_SILENT',
              message: `cannot ${what}: storage has not answered for ${String(ms)} ms`,
              expected: 'storage that answers, or fails',
              help: 'look at the disk under the state directory, then restart the coordinator',
            }),
          );
        }, ms);
      }),
    ]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}

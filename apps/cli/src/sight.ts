/**
 * Looking at something that may not be there: what was seen, or why it could not be.
 * It must not decide whether that is bad.
 */
import type { Sight } from './examination.js';
import { failureOf } from './failure.js';

/** What `look` comes to; a failure keeps its code, the system's (`ENOENT`) as well as ours. */
export async function sight<T>(look: () => T | Promise<T>): Promise<Sight<T>> {
  try {
    return { seen: true, value: await look() };
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      typeof error.code === 'string' &&
      !/_/.test(error.code)
    ) {
      return { seen: false, code: error.code, message: error.message };
    }
    const { code, message } = failureOf(error);
    return { seen: false, code, message };
  }
}

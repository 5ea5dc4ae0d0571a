/**
 * The two files of a set of accords, as they stand behind a pointer that the coordinator replaces (PO-2), and what is
 * said of one that cannot be taken.
 * It must not open them, and must not know what accords say.
 */
import { KedgeError } from '@kedge/units';
import { realpathSync } from 'node:fs';

/** Where accords and zones are. */
export interface AccordFiles {
  readonly accords: string;
  readonly zones: string;
}

/** A pointer that changes under each of so many looks is somebody's fault; whoever asks, asks again. */
const LOOKS = 8;

/**
 * The files that stand behind two paths now: both of one set, where the paths lead through one pointer. Paths behind
 * which nothing stands come back as they are, so that whoever reads them says what is missing.
 */
export function filesBehind(paths: AccordFiles): AccordFiles {
  try {
    for (let look = 0; look < LOOKS; look += 1) {
      const accords = realpathSync.native(paths.accords);
      const zones = realpathSync.native(paths.zones);
      if (realpathSync.native(paths.accords) === accords) return { accords, zones };
    }
  } catch {
    // Whoever opens it learns why.
  }
  return paths;
}

/** `ACCORD_UNREADABLE`: a file of accords or zones that cannot be read, or is too large. */
export function accordUnreadable(
  what: string,
  path: string,
  { of = '', ...more }: { of?: string; expected?: string; help?: string; cause?: unknown } = {},
): KedgeError {
  return new KedgeError({
    code: 'ACCORD_UNREADABLE',
    message: `cannot read the ${what} from ${path}${of}`,
    ...more,
  });
}

/** @throws KedgeError `ACCORD_UNREADABLE` where a file of `size` bytes has more than `most`. */
export function refuseLargeAccord(what: string, path: string, size: number, most: number): void {
  if (size > most)
    throw accordUnreadable(what, path, {
      of: `: the file has ${String(size)} bytes`,
      expected: `at most ${String(most)} bytes`,
    });
}

/**
 * The document in the text of a file of accords or zones.
 *
 * @throws KedgeError `ACCORD_SYNTAX`
 */
export function accordDocument(what: string, path: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new KedgeError({
      code: 'ACCORD_SYNTAX',
      message: `cannot read the ${what} from ${path}: it is not JSON`,
      expected: 'RFC 7951 JSON',
      cause,
    });
  }
}

/**
 * The two files of a set of accords, as they stand behind a pointer that the coordinator replaces (PO-2): how they are
 * read, and what is said of one that cannot be taken.
 * It must not know what accords say.
 */
import { KedgeError } from '@kedge/units';
import { readFileSync, realpathSync, statSync } from 'node:fs';

/** Where accords and zones are. */
export interface AccordFiles {
  readonly accords: string;
  readonly zones: string;
}

/** Largest document of accords or of zones, bytes: whoever reads it has a heartbeat to keep. */
export const ACCORD_BYTES_MAX = 4 * 1024 * 1024;

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
export function accordUnreadable(what: string, path: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'ACCORD_UNREADABLE',
    message: `cannot read the ${what} from ${path}`,
    expected: 'a file that can be read',
    help: 'is the path right, and may whoever reads it read the file?',
    cause,
  });
}

/** @throws KedgeError `ACCORD_UNREADABLE` where a document of `size` bytes is too large. @param path where it stands, for people. */
export function refuseLargeAccord(what: string, path: string, size: number): void {
  if (size > ACCORD_BYTES_MAX)
    throw new KedgeError({
      code: 'ACCORD_UNREADABLE',
      message: `cannot read the ${what} from ${path}: it has ${String(size)} bytes`,
      expected: `at most ${String(ACCORD_BYTES_MAX)} bytes`,
    });
}

/**
 * The document in a file of accords or zones.
 *
 * @throws KedgeError `ACCORD_UNREADABLE`, `ACCORD_SYNTAX`
 */
export function readAccordDocument(what: string, path: string): unknown {
  let text: string;
  try {
    refuseLargeAccord(what, path, statSync(path).size);
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw cause instanceof KedgeError ? cause : accordUnreadable(what, path, cause);
  }
  return accordDocument(what, path, text);
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

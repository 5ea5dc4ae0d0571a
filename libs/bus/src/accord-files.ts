/**
 * The two files of a set of accords, as they stand behind a pointer that the coordinator replaces (PO-2).
 * It must not read what is in them.
 */
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

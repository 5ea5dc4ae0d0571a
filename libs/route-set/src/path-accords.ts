/**
 * The accords as overlay and underlay use them, from their files.
 * It must not decide what a level allows; accords do.
 */
import { type AccordFiles, filesBehind, readAccordDocument } from '@kedge/bus';
import { NOTHING_ALLOWED, parseAccords, type PathsAccord } from '@kedge/posture';
import { KedgeError, type Level } from '@kedge/units';

/** What each level allows on the paths: by accords that were in force once, or nothing at all. */
export interface PathAccords {
  readonly levels: Readonly<Record<Level, PathsAccord>>;
  /** Why those that the coordinator's pointer leads to are not gone by; undefined = they are. */
  readonly refusal: KedgeError | undefined;
  /** Whether any could ever be used; until then nothing is allowed at any level. */
  readonly usable: boolean;
  /** Takes up what the coordinator's pointer leads to since the last look. Cheap where that is the same (PO-2). */
  follow(): void;
}

/**
 * Reads accords (RFC 7951 JSON) and their zones, and follows them. Where none could ever be used nothing is allowed,
 * at any level; later ones that cannot be used change nothing, and are a refusal for as long as they are in force.
 */
export function readPathAccords(paths: AccordFiles): PathAccords {
  const accords = new FollowedAccords(paths);
  accords.follow();
  return accords;
}

class FollowedAccords implements PathAccords {
  readonly #paths: AccordFiles;
  #read = '';
  levels: Readonly<Record<Level, PathsAccord>> = NOTHING_ALLOWED;
  refusal: KedgeError | undefined;

  get usable(): boolean {
    return this.#read !== '';
  }

  constructor(paths: AccordFiles) {
    this.#paths = paths;
  }

  follow(): void {
    const behind = filesBehind(this.#paths);
    const read = `${behind.accords}\n${behind.zones}`;
    if (read === this.#read) {
      this.refusal = undefined;
      return;
    }
    try {
      this.levels = parseAccords(
        readAccordDocument('accords', behind.accords),
        readAccordDocument('zones', behind.zones),
      ).accords.levels;
      this.#read = read;
      this.refusal = undefined;
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      // What was in force stays; it is tried again at the next look.
      this.refusal = error;
    }
  }
}

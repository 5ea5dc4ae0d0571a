/**
 * The accords as overlay and underlay use them, from their files.
 * It must not decide what a level allows; accords do.
 */
import { NOTHING_ALLOWED, parseAccords, type PathsAccord } from '@kedge/posture';
import { KedgeError, type Level } from '@kedge/units';
import { readFileSync } from 'node:fs';

/** What each level allows on the paths, and why it is the tightest where accords cannot be used. */
export interface PathAccords {
  readonly levels: Readonly<Record<Level, PathsAccord>>;
  readonly refusal: KedgeError | undefined;
}

/** Reads accords (RFC 7951 JSON) and their zones. Where they cannot be used nothing is allowed, at any level. */
export function readPathAccords(paths: { readonly accords: string; readonly zones: string }): PathAccords {
  try {
    const { accords } = parseAccords(readJson(paths.accords), readJson(paths.zones));
    return { levels: accords.levels, refusal: undefined };
  } catch (error) {
    if (!(error instanceof KedgeError)) throw error;
    return { levels: NOTHING_ALLOWED, refusal: error };
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as unknown;
  } catch (cause) {
    throw new KedgeError({
      code: 'ROUTE_SET_ACCORDS',
      message: `cannot read the accords in ${path}`,
      expected: 'a readable file of JSON',
      cause,
    });
  }
}

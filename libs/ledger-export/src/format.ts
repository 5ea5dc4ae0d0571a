/**
 * What a format is: text before, between and behind its entries.
 * It must not hold one.
 */
import type { Exported } from './exported.js';

/** A format of a file. Entries can be written one after the other; nothing is kept of them. */
export interface Format {
  readonly mediaType: string;
  readonly head: string;
  readonly between: string;
  readonly tail: string;
  readonly entry: (exported: Exported) => string;
}

/** The pieces of a file with these entries, in their order. */
export function* pieces(format: Format, entries: Iterable<Exported>): Generator<string> {
  let some = false;
  for (const exported of entries) {
    yield (some ? format.between : format.head) + format.entry(exported);
    some = true;
  }
  yield (some ? '' : format.head) + format.tail;
}

/**
 * What a verification can find, and what it says of it to people.
 * It must not look for anything.
 */

/** Everything that can be wrong, and the sentence for it. A total table: what is found has to be explained. */
export const WHAT = {
  missing: 'is not there',
  torn: 'ends too early',
  damaged: 'does not hold what its path says',
  'other-hash': 'is not what the checkpoint stands for',
  moved: 'stands where something else belongs',
  'other-root': 'its root is not that of the files',
  malformed: 'is no signed note',
  forged: 'has a signature that does not hold',
  'other-key': 'is not signed by the log whose key was given',
  'other-origin': 'is signed, and is no checkpoint of this log',
  'not-cosigned': 'is not cosigned by the witness whose key was given',
  'older-than-kept': 'is older than a checkpoint that was kept: the log was put back',
  'other-than-kept': 'has another history than a checkpoint that was kept: the log has forked',
  'not-canonical': 'is not canonical JSON',
  'not-its-schema': 'is not as its schema says',
  'id-twice': 'has the id of another record',
  'wrongly-sampled': 'is of a session that was not to be recorded',
  'parts-missing': 'belongs to records of which parts are missing',
  'parts-differ': 'does not fit the other parts of its record',
  'part-hash': 'is not what the hash over all parts stands for',
  'epoch-falls': 'has an epoch that is not above that of the transition before it',
  'parts-outstanding': 'is the beginning of records that may not be whole yet, or were whole once',
} as const;

export type What = keyof typeof WHAT;

/** Worth knowing, and no proof that anything was changed. */
export const NOTICES: ReadonlySet<What> = new Set(['epoch-falls', 'parts-outstanding']);

/** What records are found to be together. */
export const TOGETHER: ReadonlySet<What> = new Set([
  ...(['id-twice', 'parts-missing', 'parts-differ', 'part-hash'] as const),
  ...(['epoch-falls', 'parts-outstanding'] as const),
]);

/** Something that was found. */
export interface Finding {
  /** Of a file, in the directory. */
  readonly path: string;
  readonly what: What;
  /** The first and the last entry that it touches; undefined where every one may be another. */
  readonly entries: readonly [first: number, last: number] | undefined;
  /** What it is about: a field, an id, a name; empty where nothing more is to be said. */
  readonly detail: string;
}

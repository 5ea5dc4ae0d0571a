/**
 * Revisions of the running intent, and what else of the datastores has to survive: as data, and as canonical text.
 * It must not decide what is kept or dropped, and must not touch storage.
 */
import { channelSchema, epochTextSchema, levelSchema, tierSchema } from '@kedge/contracts';
import { canonicalText, type Sha256 } from '@kedge/reconcile';
import { KedgeError } from '@kedge/units';
import { z } from 'zod';

const sha = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hexadecimal');
const number = z.int().min(1);
const wallMs = z.int().min(0);
/** One line that somebody wrote. */
const line = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'expected one line of text');

const holderSchema = z.strictObject({
  /** As claimed: a name for the record. */
  principal: line(128).min(1),
  /** Tier and channel as proven by the way in. */
  tier: tierSchema,
  channel: channelSchema,
});
/** Who changed something, or holds the lock. Two are the same where all three are. */
export type Holder = z.output<typeof holderSchema>;

/** True for the same principal by the same way in. */
export function isSameHolder(a: Holder, b: Holder): boolean {
  return a.principal === b.principal && a.tier === b.tier && a.channel === b.channel;
}

/**
 * Why a revision came about. `initial`: the first start. `commit`: the candidate. `rollback`: somebody asked for an
 * older one. The others put back what stood before a commit that had to be confirmed: `cancelled` on request,
 * `expired` when its time was over, `restarted` at the start after the service or the box died.
 */
export const CAUSES = ['initial', 'commit', 'rollback', 'cancelled', 'expired', 'restarted'] as const;
/** See {@link CAUSES}. */
export type Cause = (typeof CAUSES)[number];

const body = {
  /** From 1, in order, without gaps. */
  number,
  /** `id` of the revision before it; null for the first. */
  parent: sha.nullable(),
  /** Wall clock, milliseconds since 1970, for people. */
  atMs: wallMs,
  /** CLOCK_MONOTONIC nanoseconds, decimal: it means something within one boot. */
  atNs: z.string().regex(/^(0|[1-9]\d{0,18})$/, 'expected nanoseconds'),
  /** Level and epoch in force. */
  level: levelSchema,
  epoch: epochTextSchema,
  /** Null: the appliance itself. */
  by: holderSchema.nullable(),
  cause: z.enum(CAUSES),
  /** The revision whose document it has again; null where its document came from the candidate. */
  of: number.nullable(),
  /** Seconds in which it had to be confirmed; null where it had not. */
  confirmSeconds: z.int().min(1).nullable(),
  comment: line(512),
  /** Of its document. */
  hash: sha,
  /** Length of its document, bytes. */
  bytes: z.int().min(2),
  /** Hash of the modules, with their revisions, that accepted its document; null where none was asked. */
  modules: sha.nullable(),
};
const revisionSchema = z.strictObject({
  /** SHA-256 of the canonical text of everything else here: it proves all that came before as well. */
  id: sha,
  ...body,
});

/** A revision of running. */
export type Revision = z.output<typeof revisionSchema>;

/** Gives a revision its id. */
export function revisionOf(fields: Omit<Revision, 'id'>, sha256: Sha256): Revision {
  return { id: sha256(canonicalText(fields)), ...fields };
}

/** What stands in the datastores beside the history: numbers of revisions, and the candidate. */
const headsSchema = z.strictObject({
  schema: z.literal('kedge.intent-heads/1'),
  /** Transactions so far. */
  step: z.int().min(1),
  running: number,
  startup: number,
  /** Null: nothing was ever given to the compiler. */
  intended: number.nullable(),
  candidate: z.strictObject({
    /** The revision that it was made from. */
    base: number,
    hash: sha,
    bytes: z.int().min(2),
    /** Null: it is what `base` is. */
    by: holderSchema.nullable(),
    atMs: wallMs,
  }),
  /** A commit that has to be confirmed: it is running, and startup is what stands before it. */
  pending: z
    .strictObject({
      revision: number,
      by: holderSchema,
      seconds: z.int().min(1),
      /** By the wall clock, for people: the time itself is measured, and ends with the process. */
      untilMs: wallMs,
    })
    .nullable(),
  lock: z.strictObject({ by: holderSchema, atMs: wallMs, comment: line(512) }).nullable(),
});
/** See {@link headsSchema}. */
export type Heads = z.output<typeof headsSchema>;
/** See the field. */
export type Pending = NonNullable<Heads['pending']>;
/** See the field. */
export type Lock = NonNullable<Heads['lock']>;

/** What is written in one transaction, or not at all. */
export interface Keep {
  readonly heads: Heads;
  /** New ones, in their order. */
  readonly revisions: readonly Revision[];
  /** Documents that no one had before. */
  readonly documents: readonly { readonly hash: string; readonly text: string }[];
  /** Numbers of revisions that are dropped from the history. */
  readonly drop: readonly number[];
  /** Hashes of documents that nobody has any more. */
  readonly forget: readonly string[];
}

/** What a store has. */
export interface Kept {
  readonly heads: Heads;
  /** The history, oldest first; running is the last. */
  readonly revisions: readonly Revision[];
  /** Texts of all documents that heads name, by hash. */
  readonly documents: ReadonlyMap<string, string>;
}

/** The text of a revision as a store keeps it. */
export function revisionText(revision: Revision): string {
  return canonicalText(revision);
}

/**
 * A revision out of its text.
 *
 * @throws KedgeError `INTENT_STORE_DAMAGED` where it is none, or its id is not that of what it says.
 */
export function parsedRevision(text: string, sha256: Sha256): Revision {
  const revision = parsed(revisionSchema, text, 'a revision');
  const { id, ...fields } = revision;
  if (sha256(canonicalText(fields)) !== id) {
    throw damagedIntent(`revision ${revision.number} does not say what its id proves`);
  }
  return revision;
}

/** Heads as a store keeps them: their text behind its own hash. */
export function headsText(heads: Heads, sha256: Sha256): string {
  const text = canonicalText(heads);
  return `${sha256(text)} ${text}`;
}

/**
 * Heads out of their text.
 *
 * @throws KedgeError `INTENT_STORE_DAMAGED`.
 */
export function parsedHeads(text: string, sha256: Sha256): Heads {
  const content = text.slice(65);
  if (text[64] !== ' ' || sha256(content) !== text.slice(0, 64)) {
    throw damagedIntent('what stands in the datastores is not what its hash proves');
  }
  return parsed(headsSchema, content, 'what stands in the datastores');
}

/** Numbers of the revisions that stand in a datastore, each once. */
export function headRevisions({ running, startup, intended, pending }: Heads): readonly number[] {
  const all = [
    running,
    startup,
    ...(intended === null ? [] : [intended]),
    ...(pending === null ? [] : [pending.revision]),
  ];
  return [...new Set(all)].sort((a, b) => a - b);
}

/**
 * That all of it belongs together: one chain of revisions, heads that name some of them, and a document for each head
 * that is what its hash proves. Says nothing where it does.
 *
 * @throws KedgeError `INTENT_STORE_DAMAGED`.
 */
export function checkKept({ heads, revisions, documents }: Kept, sha256: Sha256): void {
  const byNumber = new Map(revisions.map((revision) => [revision.number, revision]));
  const last = revisions.at(-1);
  if (last?.number !== heads.running) throw damagedIntent('running is not the last revision');
  for (const [at, revision] of revisions.entries()) {
    const before = revisions[at - 1];
    if (before !== undefined && before.number >= revision.number)
      throw damagedIntent('revisions are out of order');
    // What was dropped in between cannot be asked.
    const follows = before?.number === revision.number - 1;
    if (follows && revision.parent !== before?.id) {
      throw damagedIntent(`revision ${revision.number} does not follow the one before it`);
    }
    if (revision.number === 1 && revision.parent !== null) throw damagedIntent('revision 1 follows one');
  }
  const proven = (hash: string, what: string): void => {
    const text = documents.get(hash);
    if (text === undefined || sha256(text) !== hash) {
      throw damagedIntent(`the document of ${what} is not what its hash proves`);
    }
  };
  for (const each of headRevisions(heads)) {
    const revision = byNumber.get(each);
    if (revision === undefined) throw damagedIntent(`revision ${each} is in force and not there`);
    proven(revision.hash, `revision ${each}`);
  }
  proven(heads.candidate.hash, 'the candidate');
  const { pending, running, startup } = heads;
  if (pending === null ? startup !== running : pending.revision !== running) {
    throw damagedIntent('startup and running do not fit each other');
  }
}

/** The error of a store that does not have what it has to. */
export function damagedIntent(what: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'INTENT_STORE_DAMAGED',
    message: `cannot use the kept intent: ${what}`,
    expected: 'what was written, whole',
    help: 'keep the file aside, put a copy of it or of the last export in its place',
    ...(cause === undefined ? {} : { cause }),
  });
}

function parsed<T>(schema: z.ZodType<T>, text: string, what: string): T {
  let value: T;
  try {
    value = schema.parse(JSON.parse(text));
  } catch (cause) {
    throw damagedIntent(`${what} cannot be read`, cause);
  }
  if (canonicalText(value) !== text) throw damagedIntent(`${what} is not in its canonical form`);
  return value;
}

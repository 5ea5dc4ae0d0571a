/**
 * The records that an appliance keeps (LE-1), as schemas, and the sink that takes them.
 * It must not know where records go; a spool, a ledger or a test collects them.
 *
 * 64-bit numbers are decimal strings in records; `at` is wall-clock time for people, `*Ns` is CLOCK_MONOTONIC
 * for measuring (PO-14). A schema's name ends in its version; a change that an old reader could misread gets a
 * new version, old versions stay readable.
 */
import type { Level } from '@kedge/units';
import { z } from 'zod';

import type { PlanValue } from './plan.js';
import {
  channelSchema,
  pathNameSchema,
  pathOutcomeSchema,
  tierSchema,
  transitionOutcomeSchema,
} from './vocabulary.js';

const U64_MAX = 18_446_744_073_709_551_615n;
const EPOCH_MAX = 281_474_976_710_655n;

const DECIMAL = /^(0|[1-9][0-9]{0,19})$/;

function decimal(max: bigint, what: string) {
  const digits = String(max).length;
  return z
    .string()
    .regex(DECIMAL, `expected ${what} as a decimal string`)
    .refine(
      // One with fewer digits is smaller.
      (text) => text.length < digits || !DECIMAL.test(text) || BigInt(text) <= max,
      `expected ${what} of at most ${String(max)}`,
    );
}

/** An unsigned 64-bit number as a decimal string without leading zeros. */
export const u64Schema = decimal(U64_MAX, 'an unsigned 64-bit number');
/** An epoch (48 bits, PO-15) as a decimal string; "0" = before the first decision. */
export const epochTextSchema = decimal(EPOCH_MAX, 'an epoch');
/** A posture level 1 to 5. */
export const levelSchema = z.literal([1, 2, 3, 4, 5]) satisfies z.ZodType<Level>;
/** A name of a service, participant, worker or path: printable ASCII without spaces. */
const nameSchema = z.string().regex(/^[!-~]{1,64}$/, 'expected 1 to 64 printable characters without spaces');
/** Text that people wrote, on one line. Lone surrogates have no canonical form (RFC 8785). */
const lineSchema = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'expected one line of text without control characters');

/**
 * Text of anybody as a record takes it: on one line, and cut where it is longer.
 *
 * @param most as the field allows, in UTF-16 code units; no character is cut in two.
 */
export function lineOf(text: string, most: number): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cs}]/gu, ' ')
    .slice(0, most)
    .replace(/\p{Cs}$/u, '');
}

/** A SHA-256 in hexadecimal. */
const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hexadecimal');
const idSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:/-]{7,199}$/, 'expected an id of 8 to 200 characters');
/**
 * A value as it stands in a YANG tree (RFC 7951) or in a MIB. Numbers are safe integers: 64-bit ones and decimals are
 * strings there. Bounded by the size of its record and by eight levels.
 */
const jsonValueSchema = z.custom<PlanValue>(
  (value) => isPlanValue(value, 8),
  'expected a JSON value of at most eight levels, with whole numbers below 2^53',
);

function isPlanValue(value: unknown, levels: number): boolean {
  if (value === null || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isSafeInteger(value);
  if (typeof value === 'string') return !/\p{Cs}/u.test(value);
  if (typeof value !== 'object' || levels === 0) return false;
  if (Array.isArray(value)) return value.every((item) => isPlanValue(item, levels - 1));
  return Object.entries(value).every(
    ([name, item]) => !/\p{Cs}/u.test(name) && isPlanValue(item, levels - 1),
  );
}

const head = {
  /**
   * Idempotent id: the same fact always gets the same id, so that a record that is written again after a crash
   * is one record. Made from what the fact is ("posture-transition/APPLIANCE/EPOCH"), never at random.
   */
  id: idSchema,
  /** Name of the appliance. */
  appliance: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$/, 'expected an appliance id'),
  /** Wall-clock time of the fact, UTC, RFC 3339 with milliseconds. For people, never for measuring. */
  at: z.iso.datetime({ precision: 3 }),
  /** The epoch that the fact belongs to: the decision's own, or the one in force. */
  epoch: epochTextSchema,
};

const participantReportSchema = z.strictObject({
  name: nameSchema,
  startedAtNs: u64Schema,
  /** "0" while it runs. */
  finishedAtNs: u64Schema,
  outcome: pathOutcomeSchema,
  level: levelSchema,
  /** Things withdrawn (tightening) or brought back (loosening). */
  changes: z.int().min(0).max(4_294_967_295),
});

const pathReportSchema = z.strictObject({
  path: pathNameSchema,
  budgetNs: u64Schema,
  startNs: u64Schema,
  /** "0" while it runs. */
  endNs: u64Schema,
  outcome: pathOutcomeSchema,
  participants: z.array(participantReportSchema).max(256),
});

/** How a transition went (PO-8). Written when it ends. */
export const postureTransitionRecordSchema = z.strictObject({
  schema: z.literal('kedge.posture-transition/1'),
  ...head,
  from: levelSchema,
  to: levelSchema,
  outcome: transitionOutcomeSchema.exclude(['running']),
  source: z.strictObject({
    channel: channelSchema,
    tier: tierSchema,
    principal: lineSchema(128),
    reason: lineSchema(512),
  }),
  receivedAtNs: u64Schema,
  decidedAtNs: u64Schema,
  storedAtNs: u64Schema,
  /** "0" where the journal could not be written. */
  journaledAtNs: u64Schema,
  completedAtNs: u64Schema,
  /** False only for a tightening whose journal write failed (PO-17). */
  durable: z.boolean(),
  paths: z.array(pathReportSchema).max(3),
});

/** What kind of event the warden recorded; the names of `enum kedge_violation_kind`. */
export const VIOLATION_KINDS = [
  'budget',
  'late-loosening',
  'stale-service',
  'dataplane-killed',
  'service-died',
  'alarm',
  'fail-closed-cleared',
] as const;

/** A missed deadline, a dead or stale service, and what was done about it (PO-13). */
export const budgetViolationSchema = z.strictObject({
  schema: z.literal('kedge.budget-violation/1'),
  ...head,
  kind: z.enum(VIOLATION_KINDS),
  /** The path it happened on; null where it belongs to none. */
  path: pathNameSchema.nullable(),
  /** Who was late, stale or killed. */
  subject: nameSchema,
  /** When the warden saw it. */
  seenAtNs: u64Schema,
  /** The deadline that passed; "0" where there was none. */
  deadlineNs: u64Schema,
  /** When the action was finished; "0" = none was taken. */
  actedAtNs: u64Schema,
  /** The level that was enforced; null = none. */
  level: levelSchema.nullable(),
  /** 0 = the action was done, otherwise errno or exit status of it. */
  outcome: z.int().min(-2_147_483_648).max(2_147_483_647),
});

/** Somebody asked, and this was the answer (PO-5, SE-2). Written for refusals always, also for malformed requests. */
export const authorisationDecisionSchema = z.strictObject({
  schema: z.literal('kedge.authorisation-decision/1'),
  ...head,
  allow: z.boolean(),
  /** The rule that decided; for a request that was not understood the code of the error. */
  rule: nameSchema,
  /** Why, in one sentence; empty where allowed. */
  reason: lineSchema(512),
  /** As claimed, cut to 128 characters and cleaned of control characters; empty where none was given. */
  principal: lineSchema(128),
  tier: tierSchema,
  channel: channelSchema,
  /** What was asked for. Not limited to the known actions: an unknown one is refused and recorded. */
  action: nameSchema,
  resource: lineSchema(128),
  /** The level in force when it was asked. */
  level: levelSchema,
  /** When it was asked. */
  askedAtNs: u64Schema,
});

/** What a packet worker told through its telemetry ring; the names of `enum kedge_telemetry_kind`. */
export const DATAPLANE_EVENT_KINDS = ['posture', 'tables', 'safe-level', 'segment'] as const;

/** A packet worker changed its level, its tables, or went to or left its safe level; or refused a segment (DP-8). */
export const dataplaneEventSchema = z.strictObject({
  schema: z.literal('kedge.dataplane-event/1'),
  ...head,
  /** Name of the data plane. */
  dataplane: nameSchema,
  worker: z.int().min(0).max(15),
  kind: z.enum(DATAPLANE_EVENT_KINDS),
  /** Null where it was none, as before the first. */
  oldLevel: levelSchema.nullable(),
  newLevel: levelSchema.nullable(),
  /** By kind: table generation in use; 0 for refused tables; why a segment was refused. */
  value: u64Schema,
  /** When the worker saw the change, and when it told. */
  seenAtNs: u64Schema,
  toldAtNs: u64Schema,
  /** Packets that the worker had dropped so far, by the verdict of a zone pair and of an entry. */
  droppedByPair: u64Schema,
  droppedByEntry: u64Schema,
  /** Events of this worker that were overwritten unread directly before this one. */
  gap: u64Schema,
});

/**
 * What happened to a session at the boundary. `admitted`, `resumed` and `ended` are routine; the others are what a
 * rule did to it, and are recorded always (LE-3).
 */
export const TRANSIT_KINDS = [
  'admitted',
  'resumed',
  'ended',
  'refused',
  'drained',
  'cut',
  'restricted',
] as const;

/** The frames of a session as they are kept at level 1. */
const framesSchema = z.strictObject({
  /** Whole headers in their order, hexadecimal. */
  headers: z.array(z.string().regex(/^([0-9a-f]{2}){1,64}$/, 'expected a header in hexadecimal')).max(256),
  /** Frames whose headers did not fit into this record. */
  omitted: u64Schema,
  /** SHA-256 of all payloads in their order, hexadecimal. */
  payloadSha256: sha256Schema,
});

/** A session crossed the boundary of the appliance, or was kept from it (SessionTransitArtifact). */
export const sessionTransitSchema = z.strictObject({
  schema: z.literal('kedge.session-transit/1'),
  ...head,
  /** Id of the session, given by the appliance, never by its peer: whether it is sampled follows from it. */
  session: nameSchema,
  kind: z.enum(TRANSIT_KINDS),
  /** Who is at the other end, as proven; empty where nothing was. */
  peer: lineSchema(128),
  /** Null where it was not proven. */
  tier: tierSchema.nullable(),
  /** The session type of its attestation. */
  sessionType: nameSchema,
  /** Management, incident response or health monitoring. */
  critical: z.boolean(),
  /** The level in force when it crossed. Queries ask for it by this name. */
  posture_level_at_transit: levelSchema,
  /** The share of routine sessions, in percent, that was recorded then; an auditor repeats the choice with it. */
  sampledPercent: z.int().min(0).max(100),
  /** What refused, drained, cut or restricted it; empty for routine. */
  reason: lineSchema(512),
  seenAtNs: u64Schema,
  /** Null above level 1. */
  frames: framesSchema.nullable(),
});

/** What became of a mutation; the outcomes of `Applied`, and `refused` for one that the gate did not let in. */
export const MUTATION_RESULTS = ['applied', 'unchanged', 'failed', 'cancelled', 'refused'] as const;

const mutationStepSchema = z.strictObject({
  step: lineSchema(128).min(1),
  kind: nameSchema,
  /** Where, as a YANG data path. */
  path: lineSchema(512),
  /** What was found there, and what was to be there. */
  before: jsonValueSchema,
  after: jsonValueSchema,
  /** Whether it holds now. */
  done: z.boolean(),
});

/** Something outside was changed, or was not (NetworkMutationArtifact). A long one takes several records. */
export const networkMutationSchema = z.strictObject({
  schema: z.literal('kedge.network-mutation/1'),
  ...head,
  /** Id of the mutation; the same in each part. */
  mutation: nameSchema,
  /** This record's number, from 1, and how many there are. */
  part: z.int().min(1).max(65_535),
  parts: z.int().min(1).max(65_535),
  principal: lineSchema(128),
  tier: tierSchema,
  channel: channelSchema,
  kind: z.enum(['ordinary', 'emergency']),
  /** The level in force when it ended. */
  level: levelSchema,
  /** What was written to: `device/NAME`, `routes/NAME`. */
  target: lineSchema(128).min(1),
  planId: nameSchema,
  /** SHA-256 of what was read when it was planned, hexadecimal. */
  base: sha256Schema,
  /** SHA-256 of the canonical JSON of all steps of all parts, hexadecimal. */
  stepsSha256: sha256Schema,
  steps: z.array(mutationStepSchema).max(256),
  result: z.enum(MUTATION_RESULTS),
  /** A code of docs/errors.md and a sentence; null unless it failed or was refused. */
  failure: z.strictObject({ code: nameSchema, message: lineSchema(512) }).nullable(),
  startedAtNs: u64Schema,
  finishedAtNs: u64Schema,
});

/** How bad a difference is, from the least. */
export const DRIFT_SEVERITIES = ['info', 'minor', 'major', 'critical'] as const;

/** Intent and the actual state of a device differ, or do so no longer (DriftEvent). */
export const driftEventSchema = z.strictObject({
  schema: z.literal('kedge.drift-event/1'),
  ...head,
  device: nameSchema,
  kind: z.enum(['appeared', 'changed', 'cleared']),
  /** Where, as a YANG data path. */
  path: lineSchema(512).min(1),
  intended: jsonValueSchema,
  actual: jsonValueSchema,
  severity: z.enum(DRIFT_SEVERITIES),
  cause: z.enum(['unmanaged-change', 'failed-commit', 'device-replaced', 'unknown']),
  /** What is to be done about it. */
  remediation: z.enum(['automatic', 'proposed', 'none']),
  level: levelSchema,
  /** When it was first seen. */
  sinceNs: u64Schema,
  seenAtNs: u64Schema,
});

/**
 * What became of the running intent (UN-4). The first five say why another revision is running: a commit, somebody's
 * rollback, or what stood before a commit that nobody confirmed, on request, in time, or at a restart. `waiting`: such a
 * return waits for the posture (UN-14). `refused`: nothing has changed.
 */
export const INTENT_CHANGE_KINDS = [
  'commit',
  'rollback',
  'cancelled',
  'expired',
  'restarted',
  'confirmed',
  'extended',
  'waiting',
  'lock-broken',
  'refused',
] as const;
/** Requests about the intent whose refusals are recorded. */
export const INTENT_REQUESTS = ['commit', 'rollback', 'confirm', 'cancel', 'unlock', 'remedy'] as const;

const revisionNumber = z.int().min(1).max(4_294_967_295).nullable();

/** The intent was changed, or was not (IntentChangeArtifact). */
export const intentChangeSchema = z.strictObject({
  schema: z.literal('kedge.intent-change/1'),
  ...head,
  kind: z.enum(INTENT_CHANGE_KINDS),
  /** What was asked for; null unless it was refused. */
  request: z.enum(INTENT_REQUESTS).nullable(),
  /** Empty where the appliance did it by itself; tier and channel are null then. */
  principal: lineSchema(128),
  tier: tierSchema.nullable(),
  channel: channelSchema.nullable(),
  /** The level in force. */
  level: levelSchema,
  /** The revision that it is about: the one that is running now, or that was asked for; null where none was named. */
  revision: revisionNumber,
  /** The one that was running before; null where that has not changed. */
  was: revisionNumber,
  /** The one whose document it has again. */
  of: revisionNumber,
  /** Id of the revision, SHA-256, hexadecimal: it proves all that came before it. Null where nothing was changed. */
  revisionId: sha256Schema.nullable(),
  /** SHA-256 of its document, hexadecimal. */
  documentSha256: sha256Schema.nullable(),
  /** Seconds in which it has to be confirmed; null where it has not. */
  confirmSeconds: z.int().min(1).max(86_400).nullable(),
  comment: lineSchema(512),
  /** A code of docs/errors.md and a sentence; null unless it was refused. */
  failure: z.strictObject({ code: nameSchema, message: lineSchema(512) }).nullable(),
  happenedAtNs: u64Schema,
});

/** What a forensic snapshot holds (LE-8). */
export const SNAPSHOT_SECTIONS = ['mesh', 'tunnels', 'routes', 'sessions', 'devices', 'processes'] as const;

/** The state of the appliance before the overlay was torn down (PostureForensicSnapshot): what its parts make up. */
export const forensicSnapshotSchema = z.strictObject({
  schema: z.literal('kedge.posture-forensic-snapshot/1'),
  ...head,
  startedAtNs: u64Schema,
  finishedAtNs: u64Schema,
  /** False where a section is not whole. */
  complete: z.boolean(),
  sections: z
    .array(
      z.strictObject({
        section: z.enum(SNAPSHOT_SECTIONS),
        complete: z.boolean(),
        /** Why it is not whole; empty where it is. */
        reason: lineSchema(512),
        /** Items in all parts, and the number of parts. */
        items: z.int().min(0).max(4_294_967_295),
        parts: z.int().min(0).max(65_535),
        /** SHA-256 of the canonical JSON of all items of all parts in one list, by source and part, hexadecimal. */
        sha256: sha256Schema,
      }),
    )
    .length(SNAPSHOT_SECTIONS.length),
});

/** A part of a section of a forensic snapshot. */
export const forensicPartSchema = z.strictObject({
  schema: z.literal('kedge.posture-forensic-part/1'),
  ...head,
  /** Id of the snapshot's record. */
  snapshot: idSchema,
  section: z.enum(SNAPSHOT_SECTIONS),
  /** The service that took it. Several may have items of one section: those of all of them make it up. */
  source: nameSchema,
  /** This record's number among those that its source has for the section, from 1, and how many there are. */
  part: z.int().min(1).max(65_535),
  parts: z.int().min(1).max(65_535),
  /** When the state was as it is here. */
  takenAtNs: u64Schema,
  /** Why what the source has is not whole; empty where it is. */
  reason: lineSchema(512),
  items: z
    .array(
      z.strictObject({
        /** Peer, tunnel, prefix, session, device or process. */
        name: lineSchema(128).min(1),
        /** Its state in a word, "connected". */
        state: nameSchema,
        facts: jsonValueSchema,
      }),
    )
    .max(4_096),
});

/** Every record that exists so far, told apart by `schema`. */
export const ledgerRecordSchema = z.discriminatedUnion('schema', [
  postureTransitionRecordSchema,
  budgetViolationSchema,
  authorisationDecisionSchema,
  dataplaneEventSchema,
  sessionTransitSchema,
  networkMutationSchema,
  driftEventSchema,
  intentChangeSchema,
  forensicSnapshotSchema,
  forensicPartSchema,
]);

/** See {@link postureTransitionRecordSchema}. */
export type PostureTransitionRecord = z.infer<typeof postureTransitionRecordSchema>;
/** See {@link budgetViolationSchema}. */
export type BudgetViolation = z.infer<typeof budgetViolationSchema>;
/** See {@link authorisationDecisionSchema}. */
export type AuthorisationDecision = z.infer<typeof authorisationDecisionSchema>;
/** See {@link dataplaneEventSchema}. */
export type DataplaneEvent = z.infer<typeof dataplaneEventSchema>;
/** See {@link sessionTransitSchema}. */
export type SessionTransit = z.infer<typeof sessionTransitSchema>;
/** See {@link networkMutationSchema}. */
export type NetworkMutation = z.infer<typeof networkMutationSchema>;
/** See {@link driftEventSchema}. */
export type DriftEvent = z.infer<typeof driftEventSchema>;
/** See {@link intentChangeSchema}. */
export type IntentChange = z.infer<typeof intentChangeSchema>;
/** See {@link forensicSnapshotSchema}. */
export type ForensicSnapshot = z.infer<typeof forensicSnapshotSchema>;
/** See {@link forensicPartSchema}. */
export type ForensicPart = z.infer<typeof forensicPartSchema>;
/** See {@link ledgerRecordSchema}. */
export type LedgerRecord = z.infer<typeof ledgerRecordSchema>;

/** The names of all record schemas, for sweeps. */
export const RECORD_SCHEMAS = [
  'kedge.posture-transition/1',
  'kedge.budget-violation/1',
  'kedge.authorisation-decision/1',
  'kedge.dataplane-event/1',
  'kedge.session-transit/1',
  'kedge.network-mutation/1',
  'kedge.drift-event/1',
  'kedge.intent-change/1',
  'kedge.posture-forensic-snapshot/1',
  'kedge.posture-forensic-part/1',
] as const satisfies readonly LedgerRecord['schema'][];

/** A field about a person. Paths are names of members, from the record down. */
export interface PersonalField {
  readonly path: readonly string[];
  /** The field that names the person; its own path where it does so itself. */
  readonly subject: readonly string[];
}

/**
 * The fields of each kind that are encrypted for their subject before they are hashed into the ledger (LE-9). All
 * of them are strings; an empty one, or one whose subject is empty, is about nobody.
 */
export const PERSONAL_FIELDS: { readonly [Schema in LedgerRecord['schema']]: readonly PersonalField[] } = {
  'kedge.posture-transition/1': [
    { path: ['source', 'principal'], subject: ['source', 'principal'] },
    { path: ['source', 'reason'], subject: ['source', 'principal'] },
  ],
  'kedge.budget-violation/1': [],
  'kedge.authorisation-decision/1': [{ path: ['principal'], subject: ['principal'] }],
  'kedge.dataplane-event/1': [],
  'kedge.session-transit/1': [{ path: ['peer'], subject: ['peer'] }],
  'kedge.network-mutation/1': [{ path: ['principal'], subject: ['principal'] }],
  'kedge.drift-event/1': [],
  'kedge.intent-change/1': [
    { path: ['principal'], subject: ['principal'] },
    { path: ['comment'], subject: ['principal'] },
  ],
  'kedge.posture-forensic-snapshot/1': [],
  'kedge.posture-forensic-part/1': [],
};

/** Proof that a record is on stable storage. */
export interface Receipt {
  /** The record's id. */
  readonly id: string;
  /** Position in the sink, from 1, only ever increasing. */
  readonly sequence: bigint;
  /** True where the same record was there already; `sequence` is then the old one. */
  readonly duplicate: boolean;
}

/**
 * Takes records. `append` resolves when the record would survive a power cut, never earlier; appended
 * twice, a record with the same id and the same content is one record.
 *
 * Nothing that tightens may wait for it (PO-22).
 *
 * @throws KedgeError `LEDGER_RECORD_INVALID` (the record breaks its schema), `LEDGER_ID_REUSED` (same id, other
 *   content), `LEDGER_SPOOL_FULL`, `LEDGER_SPOOL_FAILED` (storage failed; the sink takes nothing any more),
 *   `LEDGER_SPOOL_CLOSED`.
 */
export interface RecordSink {
  append(record: LedgerRecord): Promise<Receipt>;
}

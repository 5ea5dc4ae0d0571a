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
  return z
    .string()
    .regex(DECIMAL, `expected ${what} as a decimal string`)
    .refine(
      (text) => !DECIMAL.test(text) || BigInt(text) <= max,
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

const head = {
  /**
   * Idempotent id: the same fact always gets the same id, so that a record that is written again after a crash
   * is one record. Made from what the fact is ("posture-transition/APPLIANCE/EPOCH"), never at random.
   */
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:/-]{7,199}$/, 'expected an id of 8 to 200 characters'),
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

/** Every record that exists so far, told apart by `schema`. */
export const ledgerRecordSchema = z.discriminatedUnion('schema', [
  postureTransitionRecordSchema,
  budgetViolationSchema,
  authorisationDecisionSchema,
  dataplaneEventSchema,
]);

/** See {@link postureTransitionRecordSchema}. */
export type PostureTransitionRecord = z.infer<typeof postureTransitionRecordSchema>;
/** See {@link budgetViolationSchema}. */
export type BudgetViolation = z.infer<typeof budgetViolationSchema>;
/** See {@link authorisationDecisionSchema}. */
export type AuthorisationDecision = z.infer<typeof authorisationDecisionSchema>;
/** See {@link dataplaneEventSchema}. */
export type DataplaneEvent = z.infer<typeof dataplaneEventSchema>;
/** See {@link ledgerRecordSchema}. */
export type LedgerRecord = z.infer<typeof ledgerRecordSchema>;

/** The names of all record schemas, for sweeps. */
export const RECORD_SCHEMAS = [
  'kedge.posture-transition/1',
  'kedge.budget-violation/1',
  'kedge.authorisation-decision/1',
  'kedge.dataplane-event/1',
] as const satisfies readonly LedgerRecord['schema'][];

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

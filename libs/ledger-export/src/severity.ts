/**
 * How grave a record is, in the words of syslog (RFC 5424).
 * It must not know in which format that is said.
 */
import type { LedgerRecord } from '@kedge/contracts';

/** Severities with their numbers. */
export const SEVERITIES = { critical: 2, error: 3, warning: 4, notice: 5, informational: 6 } as const;
/** See {@link SEVERITIES}. */
export type Severity = keyof typeof SEVERITIES;

type Kinds = { readonly [Record in LedgerRecord as Record['schema']]: Record };
type Table = { readonly [Schema in keyof Kinds]: (record: Kinds[Schema]) => Severity };

const DRIFT = { info: 'informational', minor: 'notice', major: 'warning', critical: 'critical' } as const;
const TRANSITION = { completed: 'notice', recovered: 'notice', preempted: 'notice', late: 'error' } as const;
const VIOLATION = {
  budget: 'error',
  'late-loosening': 'warning',
  'stale-service': 'error',
  'dataplane-killed': 'critical',
  'service-died': 'error',
  alarm: 'error',
  'fail-closed-cleared': 'notice',
} as const;
const TRANSIT = {
  admitted: 'informational',
  resumed: 'informational',
  ended: 'informational',
  refused: 'warning',
  drained: 'notice',
  cut: 'warning',
  restricted: 'notice',
} as const;
const MUTATION = {
  applied: 'notice',
  unchanged: 'informational',
  failed: 'error',
  cancelled: 'notice',
  refused: 'warning',
} as const;
const INTENT = {
  commit: 'notice',
  rollback: 'notice',
  cancelled: 'notice',
  expired: 'warning',
  restarted: 'warning',
  confirmed: 'notice',
  extended: 'informational',
  waiting: 'error',
  'lock-broken': 'warning',
  refused: 'warning',
} as const;
const DATAPLANE = {
  posture: 'informational',
  tables: 'informational',
  'safe-level': 'warning',
  segment: 'error',
} as const;

const TABLE: Table = {
  'kedge.posture-transition/1': ({ outcome }) => TRANSITION[outcome],
  'kedge.budget-violation/1': ({ kind }) => VIOLATION[kind],
  'kedge.authorisation-decision/1': ({ allow }) => (allow ? 'informational' : 'warning'),
  'kedge.dataplane-event/1': ({ kind }) => DATAPLANE[kind],
  'kedge.session-transit/1': ({ kind }) => TRANSIT[kind],
  'kedge.network-mutation/1': ({ result }) => MUTATION[result],
  'kedge.drift-event/1': ({ kind, severity }) => (kind === 'cleared' ? 'notice' : DRIFT[severity]),
  'kedge.intent-change/1': ({ kind }) => INTENT[kind],
  'kedge.posture-forensic-snapshot/1': ({ complete }) => (complete ? 'notice' : 'warning'),
  'kedge.posture-forensic-part/1': () => 'informational',
};

/** How grave it is. */
export function severityOf<Schema extends keyof Kinds>(record: Kinds[Schema] & { schema: Schema }): Severity {
  return TABLE[record.schema](record);
}

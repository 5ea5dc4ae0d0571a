/**
 * Entries as documents of the Elastic Common Schema 8.11, one a line; what the schema has no field for is under "kedge".
 * It must not make up a category that the schema does not know.
 */
import type { LedgerRecord } from '@kedge/contracts';
import { canonicalJson } from '@kedge/ledger';

import { type Exported, factsOf } from './exported.js';
import type { Format } from './format.js';
import { SEVERITIES, severityOf } from './severity.js';

const VERSION = '8.11.0';

interface Event {
  readonly kind: 'event' | 'alert' | 'state';
  readonly category: readonly ('api' | 'configuration' | 'host' | 'network' | 'session')[];
  readonly type: readonly string[];
  readonly outcome: 'success' | 'failure' | 'unknown';
}
type Kinds = { readonly [Record in LedgerRecord as Record['schema']]: Record };
type Table = { readonly [Schema in keyof Kinds]: (record: Kinds[Schema]) => Event };

const TRANSITION = {
  completed: 'success',
  recovered: 'success',
  preempted: 'unknown',
  late: 'failure',
} as const;
const MUTATION = {
  applied: 'success',
  unchanged: 'success',
  failed: 'failure',
  cancelled: 'unknown',
  refused: 'failure',
} as const;
const TRANSIT = {
  admitted: { type: ['start', 'allowed'], outcome: 'success' },
  resumed: { type: ['info', 'allowed'], outcome: 'success' },
  ended: { type: ['end'], outcome: 'success' },
  refused: { type: ['denied'], outcome: 'failure' },
  drained: { type: ['end'], outcome: 'success' },
  cut: { type: ['end', 'denied'], outcome: 'failure' },
  restricted: { type: ['info', 'denied'], outcome: 'success' },
} as const;

const TABLE: Table = {
  'kedge.posture-transition/1': ({ outcome }) => ({
    kind: 'event',
    category: ['configuration'],
    type: ['change'],
    outcome: TRANSITION[outcome],
  }),
  'kedge.budget-violation/1': ({ kind }) =>
    kind === 'fail-closed-cleared'
      ? { kind: 'event', category: ['host'], type: ['info'], outcome: 'success' }
      : { kind: 'alert', category: ['host'], type: ['info'], outcome: 'failure' },
  'kedge.authorisation-decision/1': ({ allow }) => ({
    kind: 'event',
    category: ['api'],
    type: ['access', allow ? 'allowed' : 'denied'],
    outcome: allow ? 'success' : 'failure',
  }),
  'kedge.dataplane-event/1': ({ kind }) => ({
    kind: 'event',
    category: ['network'],
    type: ['info'],
    outcome: kind === 'segment' ? 'failure' : 'success',
  }),
  'kedge.session-transit/1': ({ kind }) => ({
    kind: 'event',
    category: ['network', 'session'],
    ...TRANSIT[kind],
  }),
  'kedge.network-mutation/1': ({ result }) => ({
    kind: 'event',
    category: ['configuration'],
    type: ['change'],
    outcome: MUTATION[result],
  }),
  'kedge.drift-event/1': ({ kind, severity }) => ({
    kind: kind !== 'cleared' && ['major', 'critical'].includes(severity) ? 'alert' : 'event',
    category: ['configuration'],
    type: [kind === 'cleared' ? 'info' : 'change'],
    outcome: 'unknown',
  }),
  'kedge.intent-change/1': ({ kind }) => ({
    kind: kind === 'waiting' ? 'alert' : 'event',
    category: ['configuration'],
    type: [kind === 'refused' ? 'denied' : kind === 'waiting' ? 'info' : 'change'],
    outcome: kind === 'refused' ? 'failure' : 'success',
  }),
  'kedge.posture-forensic-snapshot/1': ({ complete }) => ({
    kind: 'state',
    category: ['host'],
    type: ['info'],
    outcome: complete ? 'success' : 'failure',
  }),
  'kedge.posture-forensic-part/1': () => ({
    kind: 'state',
    category: ['host'],
    type: ['info'],
    outcome: 'unknown',
  }),
};

function eventOf<Schema extends keyof Kinds>(record: Kinds[Schema] & { schema: Schema }): Event {
  return TABLE[record.schema](record);
}

/** The document of an entry. */
export function ecsOf(exported: Exported): Readonly<Record<string, unknown>> {
  const { index, record, erased } = exported;
  const { kind, level, principal, device, session, outcome } = factsOf(exported);
  const labels = {
    epoch: record.epoch,
    ...(level === null ? {} : { posture_level: String(level) }),
    ...(session === null ? {} : { session }),
    ...(device === null ? {} : { device }),
  };
  return {
    '@timestamp': record.at,
    ecs: { version: VERSION },
    event: {
      ...eventOf(record),
      action: outcome === null ? kind : `${kind}-${outcome}`,
      dataset: 'kedge.ledger',
      id: record.id,
      module: 'kedge',
      provider: 'ledger',
      sequence: index,
      severity: SEVERITIES[severityOf(record)],
    },
    labels,
    log: { level: severityOf(record) },
    observer: { name: record.appliance, product: 'Kedge', type: 'router', vendor: 'Kedge' },
    ...(principal === null ? {} : { related: { user: [principal] }, user: { name: principal } }),
    kedge: { record, ...(erased.length === 0 ? {} : { erased }) },
  };
}

/** Documents, one a line. */
export const ECS: Format = {
  mediaType: 'application/x-ndjson',
  head: '',
  between: '',
  tail: '',
  entry: (exported) => `${canonicalJson(ecsOf(exported))}\n`,
};

/**
 * Records of the ledger, its checkpoint and how it stands, as text for people.
 * It must not ask anybody for anything.
 */
import type { GetCheckpointReply, LedgerEntry, LedgerStatusReply } from '@kedge/bus';
import type { LedgerRecord } from '@kedge/contracts';

import { durationText, levelText, plain, table } from './render.js';

interface RecordLine {
  readonly level: number | null;
  readonly who: string;
  readonly what: string;
  readonly outcome: string;
}

type Of<Schema extends LedgerRecord['schema']> = Extract<LedgerRecord, { readonly schema: Schema }>;

/** What of each kind fits into one line. */
const LINES: { readonly [Schema in LedgerRecord['schema']]: (record: Of<Schema>) => RecordLine } = {
  'kedge.posture-transition/1': ({ from, to, source, outcome }) => ({
    level: to,
    who: source.principal,
    what: `${from} → ${to} ${source.reason}`,
    outcome,
  }),
  'kedge.budget-violation/1': ({ level, subject, kind, path }) => ({
    level,
    who: subject,
    what: path ?? '',
    outcome: kind,
  }),
  'kedge.authorisation-decision/1': ({ level, principal, action, resource, allow, rule }) => ({
    level,
    who: principal,
    what: `${action} ${resource} (${rule})`,
    outcome: allow ? 'allow' : 'deny',
  }),
  'kedge.dataplane-event/1': ({ newLevel, dataplane, worker, kind }) => ({
    level: newLevel,
    who: `${dataplane}/${worker}`,
    what: kind,
    outcome: '',
  }),
  'kedge.session-transit/1': ({ posture_level_at_transit: level, peer, session, kind, reason }) => ({
    level,
    who: peer,
    what: reason === '' ? session : `${session} ${reason}`,
    outcome: kind,
  }),
  'kedge.network-mutation/1': ({ level, principal, target, steps, part, parts, failure, result }) => ({
    level,
    who: principal,
    what: `${target} ${failure === null ? `${steps.length} steps${parts > 1 ? `, part ${part} of ${parts}` : ''}` : failure.message}`,
    outcome: result,
  }),
  'kedge.drift-event/1': ({ level, device, path, severity, kind }) => ({
    level,
    who: device,
    what: `${path} (${severity})`,
    outcome: kind,
  }),
  'kedge.intent-change/1': ({ level, principal, kind, request, revision, was, comment, failure }) => ({
    level,
    who: principal,
    what: [
      revision === null ? '' : `revision ${revision}${was === null ? '' : ` after ${was}`}`,
      failure === null ? comment : `${request ?? ''}: ${failure.message}`,
    ]
      .filter((part) => part !== '')
      .join(', '),
    outcome: kind,
  }),
  'kedge.posture-forensic-snapshot/1': ({ sections, complete }) => ({
    level: 1,
    who: '',
    what: sections
      .map(({ section, items, complete: whole }) => `${section} ${items}${whole ? '' : '?'}`)
      .join(', '),
    outcome: complete ? 'complete' : 'incomplete',
  }),
  'kedge.posture-forensic-part/1': ({ section, part, items, snapshot }) => ({
    level: 1,
    who: '',
    what: `${section} part ${part}, ${items.length} of ${snapshot}`,
    outcome: '',
  }),
};

function lineOf(record: LedgerRecord): RecordLine {
  return (LINES[record.schema] as (record: LedgerRecord) => RecordLine)(record);
}

function cellsOf({ index, record: text }: LedgerEntry): readonly string[] {
  if (text === '') return [String(index), '', 'pruned: only its hash is left', '', '', '', ''];
  const record = JSON.parse(text) as LedgerRecord;
  const { level, who, what, outcome } = lineOf(record);
  return [
    String(index),
    record.at,
    record.schema.replace(/^kedge\./, '').replace(/\/\d+$/, ''),
    level === null ? '' : String(level),
    outcome,
    who,
    what.length > 60 ? `${what.slice(0, 59)}…` : what,
  ];
}

/** Entries as a table, and how many match. */
export function entriesText(count: bigint, entries: readonly LedgerEntry[], more: boolean): string {
  const last = entries.at(-1);
  const on = more && last !== undefined ? `; go on with --after ${last.index}` : '';
  const sum = `${count} records match, ${entries.length} are shown${on}`;
  if (entries.length === 0) return count === 0n ? 'no record matches' : sum;
  const columns = [
    { title: 'entry', right: true },
    { title: 'at' },
    { title: 'kind' },
    { title: 'level', right: true },
    { title: 'outcome' },
    { title: 'who' },
    { title: 'what' },
  ];
  return [table(columns, entries.map(cellsOf)), '', sum].join('\n');
}

/** One entry on one line, when it is not known what comes after it. */
export function entryLine(entry: LedgerEntry): string {
  const [index = '', at = '', kind = '', level = '', outcome = '', who = '', what = ''] =
    cellsOf(entry).map(plain);
  return `${index.padStart(8)}  ${at.padEnd(24)}  ${kind.padEnd(25)}  ${level.padStart(1)}  ${outcome.padEnd(10)}  ${who.padEnd(20)}  ${what}`.trimEnd();
}

/** A checkpoint as it is kept, the proof of growth behind it. */
export function checkpointText({ checkpoint, consistency }: GetCheckpointReply): string {
  return [
    checkpoint.trimEnd(),
    ...(consistency.length === 0
      ? []
      : [
          '',
          'consistency proof:',
          ...consistency.map((hash) => `  ${Buffer.from(hash).toString('base64')}`),
        ]),
  ].join('\n');
}

/** How the ledger stands. */
export function statusText(status: LedgerStatusReply): string {
  const { origin, size, keptFrom, flush, level, indexed, witness, snapshot, sources } = status;
  const facts = [
    ['log', origin],
    ['key', status.verifier],
    ['entries', `${size}${keptFrom > 0n ? `, bundles kept from ${keptFrom}` : ''}`],
    ['flush', flush === 'every' ? 'every record by itself' : 'in batches'],
    ['level', levelText(level)],
    ['index', indexed === size ? 'up to date' : `${size - indexed} entries behind`],
    [
      'witness',
      witness === undefined
        ? 'none is configured'
        : `${witness.state}, size ${witness.size}, ${witness.url}${witness.why === '' ? '' : `: ${witness.why}`}`,
    ],
    ...(snapshot === undefined
      ? []
      : [
          [
            'snapshot',
            `${snapshot.id}, ${snapshot.complete ? 'complete' : `incomplete: ${snapshot.missing.join('; ')}`}, after ${durationText(snapshot.tookNs)}`,
          ],
        ]),
    ...(status.keptOut === 0n ? [] : [['kept out', `${status.keptOut} that are no records`]]),
    ...(status.refusing ? [['REFUSES', status.why]] : []),
  ];
  const width = Math.max(...facts.map(([name = '']) => name.length));
  return [
    ...facts.map(([name = '', text = '']) => `${name.padEnd(width)}  ${plain(text)}`),
    '',
    table(
      [
        { title: 'source' },
        { title: 'spool' },
        { title: 'kept up to', right: true },
        { title: 'streams', right: true },
        { title: 'records', right: true },
        { title: 'again', right: true },
      ],
      sources.map(({ service, spool, upTo, streams, records, duplicates }) => [
        service,
        spool.slice(0, 8),
        String(upTo),
        String(streams),
        String(records),
        String(duplicates),
      ]),
    ),
    ...(status.alarms.length === 0 ? [] : ['', ...status.alarms.map((alarm) => `ALARM ${plain(alarm)}`)]),
  ].join('\n');
}

/**
 * The intent as text for people: revisions, findings, changes, and how it stands.
 * It must not ask anybody for anything.
 */
import type {
  IntentChangeMessage,
  IntentFindingMessage,
  IntentHolderMessage,
  IntentReply,
  IntentRevisionMessage,
  IntentStatusReply,
} from '@kedge/bus';

import { levelText, plain, table } from './render.js';

/** A time by the wall clock: 2026-03-01T08:00:00Z. */
export const timeText = (ms: bigint): string => new Date(Number(ms)).toISOString().replace(/\.\d{3}Z$/, 'Z');

function holderText(by: IntentHolderMessage | undefined): string {
  return by === undefined ? 'the appliance itself' : `${by.principal} (${by.channel}/${by.tier})`;
}

/** A revision in one line. */
export function revisionText(revision: IntentRevisionMessage | undefined): string {
  if (revision === undefined) return 'no revision';
  const { number, cause, of, atWallMs, by, comment } = revision;
  return plain(
    `revision ${number}, ${cause}${of === 0 ? '' : ` of ${of}`}, ${timeText(atWallMs)}, by ${holderText(by)}${comment === '' ? '' : `: ${comment}`}`,
  );
}

export function historyText(revisions: readonly IntentRevisionMessage[], total: number): string {
  const rows = revisions.map(({ number, atWallMs, cause, of, by, bytes, hash, comment }) => [
    String(number),
    timeText(atWallMs),
    of === 0 ? cause : `${cause} of ${of}`,
    by === undefined ? '-' : `${by.principal} ${by.channel}/${by.tier}`,
    String(bytes),
    hash.slice(0, 12),
    comment,
  ]);
  const columns = [
    { title: 'REVISION', right: true },
    ...['WHEN', 'CAUSE', 'BY'].map((title) => ({ title })),
    { title: 'BYTES', right: true },
    ...['DOCUMENT', 'COMMENT'].map((title) => ({ title })),
  ];
  return `${table(columns, rows)}\n${revisions.length} of ${total} revisions`;
}

export function findingsText(findings: readonly IntentFindingMessage[], complete: boolean): string {
  if (findings.length === 0) return 'valid';
  const lines = findings.map(({ path, message, appTag }) =>
    plain(`${path === '' ? '/' : path}: ${message}${appTag === '' ? '' : ` [${appTag}]`}`),
  );
  return [...lines, `${findings.length} findings${complete ? '' : ', and there may be more'}`].join('\n');
}

const SIGNS: Readonly<Record<string, string>> = { create: '+', delete: '-', replace: '~' };

export function changesText(changes: readonly IntentChangeMessage[]): string {
  if (changes.length === 0) return 'no difference';
  return changes
    .map(({ path, kind, before, after }) => {
      const values = [before, after].filter((value) => value !== undefined).join(' → ');
      return plain(`${SIGNS[kind] ?? '?'} ${path} ${values}`);
    })
    .join('\n');
}

/** What a request came to; refusals are told elsewhere. */
export function replyText(reply: Exclude<IntentReply, { outcome: 'refusal' }>): string {
  switch (reply.outcome) {
    case 'candidate': {
      const { base, changed } = reply.candidate;
      return changed ? `the candidate differs from revision ${base}` : `the candidate is revision ${base}`;
    }
    case 'locked':
      return plain(`locked by ${holderText(reply.locked.by)} since ${timeText(reply.locked.atWallMs)}`);
    case 'unlocked':
      return plain(`unlocked; it was locked by ${holderText(reply.unlocked.by)}`);
    case 'committed': {
      const { revision, confirmByWallMs } = reply.committed;
      const confirm = `\nconfirm it before ${timeText(confirmByWallMs)}, or it is put back: kedge intent confirm ${revision?.number ?? ''}`;
      return `${revisionText(revision)}${confirmByWallMs === 0n ? '' : confirm}`;
    }
    case 'unchanged':
      return `nothing to do: ${revisionText(reply.unchanged)}`;
    case 'confirmed':
      return `confirmed: ${revisionText(reply.confirmed)}`;
    case 'cancelled':
      return `revision ${reply.cancelled.was} is put back: ${revisionText(reply.cancelled.revision)}`;
  }
}

export function intentStatusText(status: IntentStatusReply): string {
  const { phase, level, frozen, running, startup, intended, candidate, lock, pending, validity } = status;
  const lines = [
    `${phase}, at ${levelText(level)}${frozen ? ': nothing else comes into force' : ''}`,
    `running ${running} (${validity})  startup ${startup}  intended ${intended === 0 ? '-' : intended}`,
    candidate === undefined || !candidate.changed
      ? 'candidate unchanged'
      : `candidate changed by ${holderText(candidate.by)} on top of ${candidate.base}, ${timeText(candidate.atWallMs)}`,
    lock === undefined
      ? 'no lock'
      : `locked by ${holderText(lock.by)} since ${timeText(lock.atWallMs)} ${lock.comment}`,
    ...(pending === undefined
      ? []
      : [
          pending.waiting
            ? `revision ${pending.revision} is to be put back, and waits for the level`
            : `revision ${pending.revision} of ${holderText(pending.by)} has to be confirmed before ${timeText(pending.untilWallMs)}`,
        ]),
    `${status.revisions} revisions, ${status.bytes} bytes`,
    ...status.alarms.map((alarm) => `alarm: ${alarm}`),
  ];
  return lines.map((line) => plain(line).trimEnd()).join('\n');
}

/**
 * Entries as syslog messages (RFC 5424), framed by their length (RFC 5425, RFC 6587).
 * It must not send anything.
 */
import { canonicalJson } from '@kedge/ledger';

import { type Exported, factsOf } from './exported.js';
import { SEVERITIES, severityOf } from './severity.js';

/** Facility 13: log audit. */
const FACILITY = 13;
/** What every receiver should take (RFC 5425 §4.3.1). */
export const SYSLOG_BYTES = 8_192;

/** What the messages of an installation have in common. */
export interface SyslogOptions {
  /** Private enterprise number of whoever runs it: the structured data is named kedge@NUMBER. */
  readonly enterpriseNumber: number;
  /** Bytes of a message, at most; {@link SYSLOG_BYTES} where nothing is said. A longer record is named, not sent. */
  readonly maxBytes?: number;
}

/**
 * The message of an entry. Its text is the record in canonical JSON, written in ASCII, so that it needs no mark of its
 * encoding.
 */
export function syslogMessage(
  exported: Exported,
  { enterpriseNumber, maxBytes = SYSLOG_BYTES }: SyslogOptions,
): string {
  const { index, record, erased } = exported;
  const { kind, level, principal, device, session, outcome } = factsOf(exported);
  const priority = 8 * FACILITY + SEVERITIES[severityOf(record)];
  const data = {
    index: String(index),
    id: record.id,
    epoch: record.epoch,
    level: level === null ? null : String(level),
    principal,
    device,
    session,
    outcome,
    erased: erased.length === 0 ? null : erased.join(' '),
  };
  const parameters = Object.entries(data)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => ` ${name}="${escaped(value ?? '')}"`);
  const head = `<${priority}>1 ${record.at} ${record.appliance} kedge - ${kind} [kedge@${enterpriseNumber}${parameters.join('')}]`;
  const message = `${head} ${ascii(canonicalJson(record))}`;
  const { id, schema } = record;
  return Buffer.byteLength(message) <= maxBytes
    ? message
    : `${head} ${canonicalJson({ id, omittedBytes: Buffer.byteLength(message), schema })}`;
}

/** A message as it goes over a stream: behind its length in bytes. */
export function framed(message: string): Buffer {
  return Buffer.from(`${Buffer.byteLength(message)} ${message}`, 'utf8');
}

/** The value of a parameter (RFC 5424 §6.3.3). */
function escaped(value: string): string {
  return value.replaceAll(/["\\\]]/g, '\\$&');
}

/** JSON that says the same in ASCII. */
function ascii(json: string): string {
  // One UTF-16 code unit at a time, as JSON escapes them.
  return json.replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

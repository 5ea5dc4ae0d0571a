/**
 * The front door of the ledger's exports.
 * It must not hold more than the list of formats.
 */
import { CSV } from './csv.js';
import { ECS } from './ecs.js';
import type { Format } from './format.js';
import { JSON_ARRAY, JSON_LINES } from './json.js';
import { SPLUNK_HEC } from './splunk.js';

export { ecsOf } from './ecs.js';
export { type Exported, exportedOf, type Facts, factsOf, type People } from './exported.js';
export { type Format, pieces } from './format.js';
export { SEVERITIES, type Severity, severityOf } from './severity.js';
export { framed, SYSLOG_BYTES, syslogMessage, type SyslogOptions } from './syslog.js';
export { SyslogSender, type SyslogSenderOptions, type SyslogStatus } from './syslog-sender.js';

/** The formats of files, by name. Syslog is none: its messages are sent. */
export const FORMATS = {
  json: JSON_ARRAY,
  jsonl: JSON_LINES,
  csv: CSV,
  'splunk-hec': SPLUNK_HEC,
  ecs: ECS,
} as const satisfies Readonly<Record<string, Format>>;
/** Name of a format of a file. */
export type FormatName = keyof typeof FORMATS;

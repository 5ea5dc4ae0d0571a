/**
 * Entries as events for Splunk's HTTP Event Collector: JSON objects one behind the other, as its endpoint
 * services/collector/event takes them.
 * It must not send anything.
 */
import { canonicalJson } from '@kedge/ledger';

import { type Exported, factsOf } from './exported.js';
import type { Format } from './format.js';

function event(exported: Exported): string {
  const { index, record, erased } = exported;
  const { kind } = factsOf(exported);
  return `${canonicalJson({
    // Seconds since 1970, with milliseconds.
    time: Date.parse(record.at) / 1_000,
    host: record.appliance,
    source: 'kedge:ledger',
    sourcetype: `kedge:${kind}`,
    event: record,
    fields: { ledger_index: String(index), ...(erased.length === 0 ? {} : { erased: erased.join(' ') }) },
  })}\n`;
}

/** Events for the collector. */
export const SPLUNK_HEC: Format = {
  mediaType: 'application/json',
  head: '',
  between: '',
  tail: '',
  entry: event,
};

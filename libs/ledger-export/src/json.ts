/**
 * Entries as one JSON array, or one JSON object a line.
 * It must not change a record: it is in its canonical form.
 */
import { canonicalJson } from '@kedge/ledger';

import type { Exported } from './exported.js';
import type { Format } from './format.js';

/** Members by their names: erased (fields whose person was forgotten), index, record. */
function json({ index, record, erased }: Exported): string {
  return canonicalJson({ index, record, ...(erased.length === 0 ? {} : { erased }) });
}

/** A JSON array. */
export const JSON_ARRAY: Format = {
  mediaType: 'application/json',
  head: '[\n',
  between: ',\n',
  tail: '\n]\n',
  entry: json,
};

/** One JSON object a line. */
export const JSON_LINES: Format = {
  mediaType: 'application/x-ndjson',
  head: '',
  between: '',
  tail: '',
  entry: (exported) => `${json(exported)}\n`,
};

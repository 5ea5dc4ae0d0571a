/**
 * All records that match, in a format, in pieces that belong one after the other.
 * It must not hold more than a piece, nor decide who may have them.
 */
import type { ExportPiece, ExportRequest } from '@kedge/bus';
import { type Exported, exportedOf, type Format, FORMATS } from '@kedge/ledger-export';
import type { LedgerStore } from '@kedge/ledger-store';
import { KedgeError } from '@kedge/units';
import { setImmediate } from 'node:timers/promises';

import type { Answers } from './answers.js';
import { EntryReader } from './entry-reader.js';

const PAGE = 512;
const PIECE_BYTES = 256 * 1024;

/** What an export reads from. */
export interface ExportParts {
  readonly store: LedgerStore;
  readonly answers: Answers;
  readonly signal: AbortSignal;
}

/**
 * The pieces, the first of which comes at once.
 *
 * @throws KedgeError `LEDGER_QUESTION`, and as questions do.
 */
export function exportPieces(
  request: ExportRequest,
  parts: ExportParts,
): AsyncGenerator<ExportPiece, void, undefined> {
  const format = Object.entries<Format>(FORMATS).find(([name]) => name === request.format)?.[1];
  if (format === undefined) {
    throw new KedgeError({
      code: 'LEDGER_QUESTION',
      message: `cannot export as ${JSON.stringify(request.format.slice(0, 40))}`,
      field: 'format',
      expected: `one of ${Object.keys(FORMATS).join(', ')}`,
    });
  }
  return piecesOf(request, format, parts);
}

async function* piecesOf(
  request: ExportRequest,
  format: Format,
  parts: ExportParts,
): AsyncGenerator<ExportPiece, void, undefined> {
  let text = format.head;
  let entries = 0;
  let some = false;
  yield { bytes: Buffer.alloc(0), entries: 0 };
  for await (const exported of exportedEntries(request, parts)) {
    text += (some ? format.between : '') + format.entry(exported);
    some = true;
    entries += 1;
    if (text.length < PIECE_BYTES) continue;
    yield { bytes: Buffer.from(text, 'utf8'), entries };
    [text, entries] = ['', 0];
  }
  yield { bytes: Buffer.from(text + format.tail, 'utf8'), entries };
}

/** Those whose bundles were pruned are left out. */
async function* exportedEntries(
  { filter, pseudonymised }: ExportRequest,
  { store, answers, signal }: ExportParts,
): AsyncGenerator<Exported, void, undefined> {
  const reader = new EntryReader(store);
  const people = pseudonymised ? 'pseudonyms' : { keyBy: (id: string) => store.keys.by(id) };
  for (let after: number | null | undefined; after !== null;) {
    const page = { limit: PAGE, ...(after === undefined ? {} : { after }) };
    const { rows, next } = await answers.find(filter, page, signal);
    for (const { index } of rows) {
      const entry = reader.entry(index);
      if (entry !== undefined) yield exportedOf(index, entry, people);
    }
    signal.throwIfAborted();
    await setImmediate();
    after = next;
  }
}

/**
 * Gives entries to an index without end, and says after each time how far it is: one line each.
 * It must not say what the index has not said.
 */
import { openLedgerIndex } from '@kedge/ledger-index';

import { entryAt } from './entries.mjs';

const index = await openLedgerIndex({ path: process.argv[2], origin: 'box' });
for (;;) {
  const first = index.upTo;
  const entries = Array.from({ length: 700 }, (_, at) => entryAt(first + at));
  process.stdout.write(`${await index.add(first, entries)}\n`);
}

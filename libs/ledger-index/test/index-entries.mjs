/**
 * Gives entries to an index, those of a file, one a line, from a number on, and says after each time how far it is: one
 * line each. Waits for its end when there are no more.
 * It must not say what the index has not said.
 */
import { openLedgerIndex } from '@kedge/ledger-index';
import { readFileSync } from 'node:fs';

const [, , path, file, from] = process.argv;
const entries = readFileSync(file, 'latin1').split('\n');
const index = await openLedgerIndex({ path, origin: 'box' });
for (let first = index.upTo; first < Number(from) + entries.length; first = index.upTo) {
  const batch = entries.slice(first - from, first - from + 700).map((line) => Buffer.from(line, 'latin1'));
  process.stdout.write(`${await index.add(first, batch)}\n`);
}
process.stdout.write(`${index.upTo}\n`);
setInterval(() => undefined, 60_000);

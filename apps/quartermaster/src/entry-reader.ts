/**
 * Single entries of the log, by their numbers.
 * It must not keep more than a few bundles in memory.
 */
import { readEntries, TILE_WIDTH, tileIn } from '@kedge/ledger';
import type { LedgerStore } from '@kedge/ledger-store';
import { KedgeError } from '@kedge/units';

/** Reads entries; neighbours share the bundle that was read. Use one for each question. */
export class EntryReader {
  readonly #store: Pick<LedgerStore, 'read' | 'size' | 'status'>;
  #bundle:
    { readonly index: number; readonly width: number; readonly entries: readonly Buffer[] } | undefined;
  #read = 0;

  constructor(store: Pick<LedgerStore, 'read' | 'size' | 'status'>) {
    this.#store = store;
  }

  /** Bundles that were read so far. */
  get bundles(): number {
    return this.#read;
  }

  /**
   * The entry as it was hashed; undefined where its bundle was pruned.
   *
   * @throws KedgeError `LEDGER_NO_ENTRY` (the log is not as long), `LEDGER_TILE_MISSING`, `LEDGER_TILE_DAMAGED`.
   */
  entry(index: number): Buffer | undefined {
    const { size } = this.#store;
    if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
      throw new KedgeError({
        code: 'LEDGER_NO_ENTRY',
        message: `there is no entry ${index}`,
        field: 'index',
        expected: size === 0 ? 'a ledger that has entries' : `0 to ${size - 1}`,
      });
    }
    const bundle = Math.floor(index / TILE_WIDTH);
    const within = index % TILE_WIDTH;
    if (this.#bundle?.index !== bundle || within >= this.#bundle.width) {
      const tile = tileIn(0, bundle, size);
      if (tile === undefined) return undefined;
      const entries = readEntries({ ...tile, level: 'entries' }, this.#store.read);
      this.#read += 1;
      if (typeof entries === 'string') {
        if (entries === 'missing' && index < this.#store.status().keptFrom) return undefined;
        throw new KedgeError({
          code: entries === 'missing' ? 'LEDGER_TILE_MISSING' : 'LEDGER_TILE_DAMAGED',
          message: `cannot read entry ${index}: its bundle is ${entries}`,
          help: 'kedge ledger verify says what else is wrong',
        });
      }
      this.#bundle = { index: bundle, width: entries.length, entries };
    }
    return this.#bundle.entries[within];
  }
}

/**
 * A store that is opened on files, and whether it is whole.
 * It must not change what it judges.
 */
import { checkLog, openCheckpoint } from '@kedge/ledger';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect } from 'vitest';

import { type LedgerStore, type LedgerStoreOptions, openLedgerStore } from '../src/index.js';
import { signer } from './material.mjs';

export const SCRIPT = join(import.meta.dirname, 'script.mjs');

export const openAt = (directory: string, more: Partial<LedgerStoreOptions> = {}): Promise<LedgerStore> =>
  openLedgerStore({ directory, signer, randomBytes, ...more });

/** What the log is found to be by its checkpoint alone. */
export function verdictOf(store: LedgerStore): ReturnType<typeof checkLog> {
  const { size, root } = openCheckpoint(store.checkpoint(), signer);
  expect(size).toBe(store.size);
  return checkLog({ size, root, read: store.read, keptFrom: store.status().keptFrom });
}

/** Ids of the entries that are there, by their index. */
export function idsIn(store: LedgerStore): Map<number, string> {
  return new Map(
    [...store.entriesFrom(0)].map(({ index, entry }) => [
      index,
      (JSON.parse(entry.toString()) as { id: string }).id,
    ]),
  );
}

/** What a script said was acknowledged. */
export interface Acknowledged {
  readonly what: string;
  readonly value: string;
  readonly sequence: number;
  readonly atNs: bigint;
}

export function acknowledgedIn(out: string): Acknowledged[] {
  return out
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' '))
    .filter(([what]) => ['record', 'cursor', 'erased'].includes(what ?? ''))
    .map((words) => ({
      what: words[0] ?? '',
      value: words[1] ?? '',
      sequence: words[0] === 'record' ? Number(words[2]) : 0,
      atNs: BigInt(words.at(-1) ?? 0),
    }));
}

/** All that was acknowledged before a time is there, and the log is what its checkpoint says. */
export function expectKept(
  store: LedgerStore,
  acknowledged: readonly Acknowledged[],
  where: string,
  beforeNs = 1n << 62n,
): void {
  expect(verdictOf(store).faults, where).toEqual([]);
  const ids = idsIn(store);
  const { keptFrom } = store.status();
  for (const { what, value, sequence, atNs } of acknowledged) {
    if (atNs >= beforeNs) continue;
    if (what === 'record' && sequence > keptFrom) {
      expect(ids.get(sequence - 1), `${value} ${where}`).toBe(`session/box-7/${value}`);
    }
    if (what === 'cursor')
      expect(Number(store.cursor('vpp-bridge', 'one')), where).toBeGreaterThanOrEqual(Number(value));
    if (what === 'erased') expect(store.keys.by(value), where).toBeUndefined();
  }
}

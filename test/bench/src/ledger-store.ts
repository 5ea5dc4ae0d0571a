/** A store for the ledger's benches, on the disk of this checkout, and the records that go into it. Must not measure. */
import type { SessionTransit } from '@kedge/contracts';
import { type NoteSigner, signerOf } from '@kedge/ledger';
import { type LedgerStore, type LedgerStoreOptions, openLedgerStore } from '@kedge/ledger-store';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** People that the records speak of. */
const SUBJECTS = 100;
/** Where a memory file system would make every flush free, the checkout lies on a disk. */
const PLACE = join(import.meta.dirname, '../build');

export interface StoreOfBench {
  readonly directory: string;
  readonly signer: NoteSigner;
  readonly store: LedgerStore;
  /** Closes it and removes its files. */
  end(): Promise<void>;
}

/** A new store. */
export async function storeForBench(more: Partial<LedgerStoreOptions> = {}): Promise<StoreOfBench> {
  const directory = mkdtempSync(join(PLACE, 'ledger-'));
  const signer = signerOf('kedge.example/bench', generateKeyPairSync('ed25519').privateKey);
  const store = await openLedgerStore({
    directory,
    signer,
    randomBytes,
    onTrouble: (error) => {
      throw error;
    },
    ...more,
  });
  const end = async (): Promise<void> => {
    await store.close();
    rmSync(directory, { recursive: true });
  };
  return { directory, signer, store, end };
}

/** A transit of a session, with one personal field. */
export function recordFor(number: number): SessionTransit {
  return {
    schema: 'kedge.session-transit/1',
    id: `session/bench/${number}`,
    appliance: 'bench',
    at: '2026-11-22T18:00:00.000Z',
    epoch: '7',
    session: `session-${number >> 1}`,
    kind: number % 2 === 0 ? 'admitted' : 'ended',
    peer: `spiffe://example/user/${number % SUBJECTS}`,
    tier: 'master',
    sessionType: 'interactive',
    critical: false,
    posture_level_at_transit: 3,
    sampledPercent: 100,
    reason: '',
    seenAtNs: String(1_000_000_000 + number),
    frames: null,
  };
}

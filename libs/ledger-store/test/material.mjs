/**
 * What the tests of the store have in common with the processes that they start: one key, and records.
 * It must not open a store.
 */
import { signerOf } from '@kedge/ledger';
import { createPrivateKey } from 'node:crypto';

/** The same key in every process. */
const privateKey = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]),
  format: 'der',
  type: 'pkcs8',
});

export const signer = signerOf('kedge.example/box-7', privateKey);

/** A transit of a session; every third is about nobody. */
export const recordOf = (number, at = '2026-11-22T18:00:00.000Z') => ({
  schema: 'kedge.session-transit/1',
  id: `session/box-7/${number}`,
  appliance: 'box-7',
  at,
  epoch: '7',
  session: `session-${number}`,
  kind: 'admitted',
  peer: number % 3 === 0 ? '' : `spiffe://example/${number % 7}`,
  tier: 'master',
  sessionType: 'interactive',
  critical: false,
  posture_level_at_transit: 3,
  sampledPercent: 100,
  reason: '',
  seenAtNs: String(number),
  frames: null,
});

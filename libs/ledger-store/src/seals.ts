/**
 * Sealing and hashing by machine code: the same bytes as the ledger's own functions make, for what is done to each
 * record.
 * It must not know records, nor keep keys.
 */
import { HASH_BYTES, sealValue, type SubjectKey } from '@kedge/ledger';

import { addon } from './addon.js';

/** Hashes that share memory: as many as a tile has, so that what keeps one does not keep much else. */
const SHARED_BYTES = 256 * HASH_BYTES;
let room = Buffer.alloc(0);

function hashRoom(): Buffer {
  if (room.length === 0) room = Buffer.allocUnsafeSlow(SHARED_BYTES);
  const out = room.subarray(0, HASH_BYTES);
  room = room.subarray(HASH_BYTES);
  return out;
}

/** What `sealValue` makes. */
export function sealNatively(value: string, key: SubjectKey, place: string): string {
  return addon.seal(value, key.bytes, place) ?? sealValue(value, key, place);
}

/** What `leafHash` makes. */
export function leafHashNatively(entry: Uint8Array): Buffer {
  const out = hashRoom();
  addon.hashLeaf(entry, out);
  return out;
}

/** What `nodeHash` makes. */
export function nodeHashNatively(left: Uint8Array, right: Uint8Array): Buffer {
  const out = hashRoom();
  addon.hashPair(left, right, out);
  return out;
}

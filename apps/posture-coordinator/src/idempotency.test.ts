import type { Epoch } from '@kedge/units';
import { describe, expect, it } from 'vitest';

import { IdempotencyStore, identityOf, KEY_LIFETIME_MS, KEYS_MAX } from './idempotency.js';

const asked = { idempotencyKey: 'a-key-of-its-own', level: 4, reason: 'why', principal: 'user:ada' };
const decision = { kind: 'decision', epoch: 7n as Epoch, from: 5, to: 4, durable: true } as const;

function storeAt() {
  const time = { ms: 1_000, wall: 1_700_000_000_000 };
  const store = new IdempotencyStore({
    monotonicNs: () => BigInt(time.ms) * 1_000_000n,
    wallMs: () => time.wall,
  });
  return { time, store };
}

describe('idempotency', () => {
  it('PO-5 what belongs to a request is its content, and whose key it is its channel and tier', () => {
    const same = identityOf('local', 'master', asked);
    expect(identityOf('local', 'master', { ...asked })).toEqual(same);
    for (const other of [{ level: 3 }, { reason: 'x' }, { principal: 'user:eve' }, { ifEpoch: 3n }]) {
      const identity = identityOf('local', 'master', { ...asked, ...other });
      expect(identity.keyHash).toEqual(same.keyHash);
      expect(identity.contentHash).not.toEqual(same.contentHash);
    }
    expect(identityOf('local', 'journeyman', asked).keyHash).not.toEqual(same.keyHash);
    expect(identityOf('console', 'master', asked).keyHash).not.toEqual(same.keyHash);
  });

  it('PO-5 a key is known for 24 hours on the monotonic clock, whatever the wall clock does', async () => {
    const { time, store } = storeAt();
    const identity = identityOf('local', 'master', asked);
    store.remember(identity, Promise.resolve(decision));
    time.wall += 10 * KEY_LIFETIME_MS;
    time.ms += KEY_LIFETIME_MS;
    const known = store.lookUp(identity);
    expect(known.kind === 'same' && (await known.reply)).toEqual(decision);
    expect(store.lookUp(identityOf('local', 'master', { ...asked, level: 1 })).kind).toBe('replayed');
    time.ms += 1;
    expect(store.lookUp(identity).kind).toBe('new');
  });

  it('PO-5 an answer that says "ask again" does not stick to its key; a settled wait does', async () => {
    const { store } = storeAt();
    const identity = identityOf('local', 'master', asked);
    store.remember(
      identity,
      Promise.resolve({ kind: 'refusal', code: 'POSTURE_WARDEN_STALE', message: 'no' }),
    );
    await Promise.resolve();
    expect(store.lookUp(identity).kind).toBe('new');
    store.remember(identity, Promise.resolve({ kind: 'waiting', behindEpoch: 6n as Epoch }));
    store.settle(identity, decision);
    const known = store.lookUp(identity);
    expect(known.kind === 'same' && (await known.reply)).toEqual(decision);
  });

  it('PO-5 the store is bounded, the oldest key goes first, and a flood of one way in costs no other a key', () => {
    const { store } = storeAt();
    const others = (['console', 'fleet', 'plugin'] as const).map((channel) =>
      identityOf(channel, 'master', asked),
    );
    const otherTier = identityOf('local', 'site_owner', asked);
    for (const identity of [...others, otherTier]) store.remember(identity, Promise.resolve(decision));
    const identities = Array.from({ length: KEYS_MAX + 1 }, (_, index) =>
      identityOf('local', 'master', { ...asked, idempotencyKey: `key-number-${index}` }),
    );
    for (const identity of identities) store.remember(identity, Promise.resolve(decision));
    expect(
      identities.map((identity) => store.lookUp(identity).kind).filter((kind) => kind === 'new'),
    ).toHaveLength(1);
    expect(identities[0] && store.lookUp(identities[0]).kind).toBe('new');
    for (const identity of [...others, otherTier]) expect(store.lookUp(identity).kind).toBe('same');
  });
});

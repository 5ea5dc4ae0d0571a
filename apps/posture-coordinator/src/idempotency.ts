/**
 * Which requests were answered already, by idempotency key: the same request gets the same answer for 24 hours,
 * the same key on another request is a replay.
 * It must not decide what an answer is.
 */
import type { Channel, Tier } from '@kedge/contracts';
import type { JournalRecord, Reply } from '@kedge/posture';
import type { Clock } from '@kedge/units';
import { createHash } from 'node:crypto';

/** How long a key is known, milliseconds. Measured on the monotonic clock within a process (PO-25). */
export const KEY_LIFETIME_MS = 86_400_000;
/** Keys that are known at once of each way in; its oldest goes first. No flood of one costs another a key. */
export const KEYS_MAX = 1_024;

/** What a key stands for, hashed: what is kept and journaled cannot be read back. */
export interface RequestIdentity {
  /** Channel and tier. */
  readonly way: string;
  /** 16 bytes, of channel, tier and key. */
  readonly keyHash: Uint8Array;
  /** 8 bytes, of everything else that was asked. */
  readonly contentHash: Uint8Array;
}

/** The identity of a request. Keys of different channels or tiers are different keys. */
export function identityOf(
  channel: Channel,
  tier: Tier,
  request: {
    readonly idempotencyKey: string;
    readonly level: number;
    readonly reason: string;
    readonly principal: string;
    readonly ifEpoch?: bigint;
    readonly documents?: { readonly accords: string; readonly zones: string } | undefined;
  },
): RequestIdentity {
  const hash = (...parts: readonly unknown[]): Buffer =>
    createHash('sha256')
      .update(JSON.stringify(parts.map(String)))
      .digest();
  return {
    way: wayOf(channel, tier),
    keyHash: hash('key', channel, tier, request.idempotencyKey).subarray(0, 16),
    contentHash: hash(
      'content',
      request.level,
      request.reason,
      request.principal,
      request.ifEpoch ?? '',
      // What says nothing more has the hash that it always had.
      ...(request.documents === undefined ? [] : [request.documents.accords, request.documents.zones]),
    ).subarray(0, 8),
  };
}

/** The way in that keys are counted by. */
export const wayOf = (channel: Channel, tier: Tier): string => `${channel}/${tier}`;

/**
 * How old a journaled decision is, milliseconds: by the monotonic clock where it is of this boot, so that no step of
 * the wall clock ends a key early (PO-25). Of another boot by the wall clock; one that went back makes a key live
 * longer, never shorter.
 */
export function ageMs(
  {
    decidedAtNs,
    decidedAtWallMs,
    bootId: of,
  }: Pick<JournalRecord, 'decidedAtNs' | 'decidedAtWallMs' | 'bootId'>,
  clock: Clock,
  bootId: Uint8Array,
): number {
  const age =
    Buffer.compare(of, bootId) === 0
      ? Number((clock.monotonicNs() - decidedAtNs) / 1_000_000n)
      : clock.wallMs() - decidedAtWallMs;
  return Math.max(0, age);
}

/** What is known about a key. */
export type Known =
  | { readonly kind: 'new' }
  | { readonly kind: 'same'; readonly reply: Promise<Reply> }
  | { readonly kind: 'replayed' };

interface Entry {
  readonly content: string;
  reply: Promise<Reply>;
  readonly atMs: number;
}

/** The answers that were given. Bounded; what a restart must know comes back from the journal. */
export class IdempotencyStore {
  readonly #clock: Clock;
  /** By way in, then by key. There are as many ways as channels and tiers. */
  readonly #ways = new Map<string, Map<string, Entry>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes up what the journal knows: decisions of at most the last 24 hours. @param bootId 16 bytes. */
  restore(keyed: readonly JournalRecord[], bootId: Uint8Array): void {
    for (const record of keyed) {
      const { keyHash, contentHash, epoch, from, to, channel, tier } = record;
      if (keyHash === undefined || contentHash === undefined || from === undefined || to === undefined)
        continue;
      if (channel === undefined || tier === undefined) continue;
      const age = ageMs(record, this.#clock, bootId);
      if (age > KEY_LIFETIME_MS) continue;
      this.#keep(wayOf(channel, tier), hex(keyHash), {
        content: hex(contentHash),
        reply: Promise.resolve({ kind: 'decision', epoch, from, to, durable: true }),
        atMs: this.#nowMs() - age,
      });
    }
  }

  lookUp({ way, keyHash, contentHash }: RequestIdentity): Known {
    const key = hex(keyHash);
    const entries = this.#ways.get(way);
    const entry = entries?.get(key);
    if (entry === undefined) return { kind: 'new' };
    if (this.#nowMs() - entry.atMs > KEY_LIFETIME_MS) {
      entries?.delete(key);
      return { kind: 'new' };
    }
    return entry.content === hex(contentHash) ? { kind: 'same', reply: entry.reply } : { kind: 'replayed' };
  }

  /** Remembers the answer that will be given; an answer that says "ask again" is forgotten when it comes. */
  remember(identity: RequestIdentity, reply: Promise<Reply>): void {
    const key = hex(identity.keyHash);
    const entry: Entry = { content: hex(identity.contentHash), reply, atMs: this.#nowMs() };
    const entries = this.#keep(identity.way, key, entry);
    void reply.then((answer) => {
      if (answer.kind === 'refusal' && ASK_AGAIN.has(answer.code) && entries.get(key) === entry) {
        entries.delete(key);
      }
    });
  }

  /** What became of a request that was answered with `waiting`. */
  settle(identity: RequestIdentity, reply: Reply): void {
    const entry = this.#ways.get(identity.way)?.get(hex(identity.keyHash));
    if (entry !== undefined && entry.content === hex(identity.contentHash))
      entry.reply = Promise.resolve(reply);
  }

  #keep(way: string, key: string, entry: Entry): Map<string, Entry> {
    const entries = this.#ways.get(way) ?? new Map<string, Entry>();
    this.#ways.set(way, entries);
    entries.delete(key);
    entries.set(key, entry);
    const [oldest] = entries.keys();
    if (entries.size > KEYS_MAX && oldest !== undefined) entries.delete(oldest);
    return entries;
  }

  #nowMs(): number {
    return Number(this.#clock.monotonicNs() / 1_000_000n);
  }
}

/** Refusals that pass by themselves: the same request may be made again under the same key. */
const ASK_AGAIN: ReadonlySet<string> = new Set([
  'POSTURE_RECOVERING',
  'POSTURE_BUSY',
  'POSTURE_WARDEN_STALE',
  'POSTURE_CALLER_GONE',
]);

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

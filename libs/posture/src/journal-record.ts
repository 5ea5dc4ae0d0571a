/**
 * The records of the decision journal as bytes, and what a whole journal says (PO-17). The format is defined by
 * kedge/journal.h, which boot reads without Node; a test holds the two together.
 * It must not touch a file: it turns bytes into meaning and back.
 */
import { CHANNELS, TIERS, type Channel, type Tier } from '@kedge/contracts';
import { EPOCH_MAX, EPOCH_NONE, isLevel, type Epoch, type Level } from '@kedge/units';

import { crc32 } from './crc32.js';

/** Bytes of one record. */
export const JOURNAL_RECORD_BYTES = 128;
/** "KdJ1" as little-endian bytes. */
export const JOURNAL_MAGIC = 0x314a644b;
export const JOURNAL_VERSION = 1;

/** Kinds of records by the number that stands in the file. */
export const JOURNAL_KINDS = { reserve: 1, decision: 2, completed: 3, checkpoint: 4 } as const;
/** See {@link JOURNAL_KINDS}. */
export type JournalKind = keyof typeof JOURNAL_KINDS;

const FLAG = { completed: 1, carried: 2, recovered: 4, accord: 8 } as const;
const FLAGS_KNOWN = 15;
const HOLDS_BYTES = 8;

/** Tightest level that each channel's source asked for and that nobody of equal authority loosened since (PO-4). */
export type Holds = Readonly<Partial<Record<Channel, Level>>>;

/** One record. */
export interface JournalRecord {
  readonly kind: JournalKind;
  /** From 1, growing by one from record to record. */
  readonly sequence: bigint;
  /** 0 exactly in `reserve` and in a `checkpoint` without a decision. */
  readonly epoch: Epoch;
  /** Epochs up to this one may be issued. */
  readonly reservedUpTo: Epoch;
  /** CLOCK_MONOTONIC nanoseconds of the boot `bootId`; `completed`: when it was finished. */
  readonly decidedAtNs: bigint;
  /** Milliseconds since 1970. */
  readonly decidedAtWallMs: number;
  /** 16 bytes. */
  readonly bootId: Uint8Array;
  /** 16 bytes of SHA-256 over channel, tier and idempotency key; undefined = no request stood behind it. */
  readonly keyHash: Uint8Array | undefined;
  /** 8 bytes of SHA-256 over what else the request said; undefined together with `keyHash`. */
  readonly contentHash: Uint8Array | undefined;
  /** Undefined where `epoch` is 0. */
  readonly from: Level | undefined;
  readonly to: Level | undefined;
  /** The level that was asked for; `to` is tighter where a loosening was pre-empted (PO-10). */
  readonly requested: Level | undefined;
  /** Undefined: the appliance itself. */
  readonly channel: Channel | undefined;
  readonly tier: Tier | undefined;
  /** `checkpoint` only: the transition of `epoch` is finished. */
  readonly completed: boolean;
  /** `decision` only: copied from an older file for its idempotency key alone. */
  readonly carried: boolean;
  /** Decided while recovering. */
  readonly recovered: boolean;
  /** Not the level, the accord of the level changed (PO-2). */
  readonly accord: boolean;
  readonly holds: Holds;
  /** How many records the file was made for; absent: it does not say. */
  readonly fileRecords?: number;
}

/** What a record says that tells of no decision; every other field is its writer's. */
export const NOTHING_DECIDED = {
  epoch: EPOCH_NONE,
  keyHash: undefined,
  contentHash: undefined,
  from: undefined,
  to: undefined,
  requested: undefined,
  channel: undefined,
  tier: undefined,
  completed: false,
  carried: false,
  recovered: false,
  accord: false,
  holds: {},
} as const;

const CHANNEL_NUMBERS: Readonly<Record<Channel, number>> = {
  console: 1,
  local: 2,
  fleet: 3,
  oob: 4,
  bpf: 5,
  plugin: 6,
};
const TIER_NUMBERS: Readonly<Record<Tier, number>> = {
  site_owner: 1,
  master: 2,
  journeyman: 3,
  apprentice: 4,
};
const channelOf = (number: number): Channel | undefined =>
  CHANNELS.find((name) => CHANNEL_NUMBERS[name] === number);
const tierOf = (number: number): Tier | undefined => TIERS.find((name) => TIER_NUMBERS[name] === number);
const kindOf = (number: number): JournalKind | undefined =>
  (Object.keys(JOURNAL_KINDS) as JournalKind[]).find((name) => JOURNAL_KINDS[name] === number);

/** The bytes of a record, {@link JOURNAL_RECORD_BYTES} of them. The caller guarantees the ranges named above. */
export function encodeJournalRecord(record: JournalRecord): Uint8Array {
  const bytes = new Uint8Array(JOURNAL_RECORD_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, JOURNAL_MAGIC, true);
  view.setUint16(4, JOURNAL_VERSION, true);
  view.setUint16(6, JOURNAL_KINDS[record.kind], true);
  view.setBigUint64(8, record.sequence, true);
  view.setBigUint64(16, record.epoch, true);
  view.setBigUint64(24, record.reservedUpTo, true);
  view.setBigUint64(32, record.decidedAtNs, true);
  view.setBigUint64(40, BigInt(Math.max(0, Math.trunc(record.decidedAtWallMs))), true);
  bytes.set(record.bootId.subarray(0, 16), 48);
  if (record.keyHash !== undefined) bytes.set(record.keyHash.subarray(0, 16), 64);
  if (record.contentHash !== undefined) bytes.set(record.contentHash.subarray(0, 8), 80);
  bytes[88] = record.from ?? 0;
  bytes[89] = record.to ?? 0;
  bytes[90] = record.requested ?? 0;
  bytes[91] = record.channel === undefined ? 0 : CHANNEL_NUMBERS[record.channel];
  bytes[92] = record.tier === undefined ? 0 : TIER_NUMBERS[record.tier];
  bytes[93] =
    (record.completed ? FLAG.completed : 0) |
    (record.carried ? FLAG.carried : 0) |
    (record.recovered ? FLAG.recovered : 0) |
    (record.accord ? FLAG.accord : 0);
  for (const channel of CHANNELS) bytes[96 + CHANNEL_NUMBERS[channel]] = record.holds[channel] ?? 0;
  view.setUint32(104, record.fileRecords ?? 0, true);
  view.setUint32(124, crc32(bytes.subarray(0, 124)), true);
  return bytes;
}

/** What stands at one place of a journal. */
export type JournalPlace =
  | { readonly place: 'record'; readonly record: JournalRecord }
  | { readonly place: 'untouched' }
  | { readonly place: 'damaged'; readonly why: string };

/** Reads {@link JOURNAL_RECORD_BYTES} bytes, checking them by themselves. */
export function decodeJournalRecord(bytes: Uint8Array): JournalPlace {
  const damaged = (why: string): JournalPlace => ({ place: 'damaged', why });
  if (bytes.length !== JOURNAL_RECORD_BYTES) return damaged('it is cut short');
  if (bytes.every((byte) => byte === 0)) return { place: 'untouched' };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== JOURNAL_MAGIC) return damaged('its magic number is wrong');
  if (view.getUint16(4, true) !== JOURNAL_VERSION) return damaged('its version is unknown');
  if (view.getUint32(124, true) !== crc32(bytes.subarray(0, 124))) return damaged('its checksum is wrong');
  const kind = kindOf(view.getUint16(6, true));
  const sequence = view.getBigUint64(8, true);
  const epoch = view.getBigUint64(16, true);
  const reservedUpTo = view.getBigUint64(24, true);
  if (kind === undefined) return damaged('its kind is unknown');
  if (sequence === 0n) return damaged('its sequence number is 0');
  if (epoch > EPOCH_MAX || reservedUpTo > EPOCH_MAX) return damaged('its epoch is out of range');
  if (epoch > reservedUpTo) return damaged('its epoch was not reserved');
  const [from = 0, to = 0, requested = 0, channel = 0, tier = 0, flags = 0] = bytes.subarray(88, 94);
  if (channel > CHANNELS.length || tier > TIERS.length) return damaged('its channel or tier is unknown');
  if ((flags & ~FLAGS_KNOWN) !== 0) return damaged('it has unknown flags');
  if (bytes.subarray(96, 96 + HOLDS_BYTES).some((level) => level > 5)) return damaged('a hold is no level');
  const without = kind === 'reserve' || (kind === 'checkpoint' && epoch === 0n);
  if (without) {
    if (epoch !== 0n || from !== 0 || to !== 0 || requested !== 0) return damaged('it names a decision');
  } else if (epoch === 0n || !isLevel(from) || !isLevel(to) || !isLevel(requested)) {
    return damaged('its decision is out of range');
  }
  const holds: Partial<Record<Channel, Level>> = {};
  for (const name of CHANNELS) {
    const level = bytes[96 + CHANNEL_NUMBERS[name]];
    if (isLevel(level)) holds[name] = level;
  }
  const wall = view.getBigUint64(40, true);
  const keyHash = bytes.slice(64, 80);
  const keyed = keyHash.some((byte) => byte !== 0);
  const fileRecords = view.getUint32(104, true);
  return {
    place: 'record',
    record: {
      kind,
      sequence,
      epoch: epoch as Epoch,
      reservedUpTo: reservedUpTo as Epoch,
      decidedAtNs: view.getBigUint64(32, true),
      decidedAtWallMs: wall <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(wall) : 0,
      bootId: bytes.slice(48, 64),
      keyHash: keyed ? keyHash : undefined,
      contentHash: keyed ? bytes.slice(80, 88) : undefined,
      from: isLevel(from) ? from : undefined,
      to: isLevel(to) ? to : undefined,
      requested: isLevel(requested) ? requested : undefined,
      channel: channelOf(channel),
      tier: tierOf(tier),
      completed: (flags & FLAG.completed) !== 0,
      carried: (flags & FLAG.carried) !== 0,
      recovered: (flags & FLAG.recovered) !== 0,
      accord: (flags & FLAG.accord) !== 0,
      holds,
      ...(fileRecords === 0 ? {} : { fileRecords }),
    },
  };
}

/** The decision that a journal ends with. */
export interface JournaledDecision {
  readonly epoch: Epoch;
  readonly from: Level;
  readonly to: Level;
  /** Its transition is finished; until then the stricter of `from` and `to` is in force. */
  readonly completed: boolean;
  readonly record: JournalRecord;
}

/** What a whole journal says. */
export interface JournalSummary {
  /** Undefined: whole. Otherwise what is wrong, and where (byte offset); the rest tells what stood before it. */
  readonly damage: { readonly offset: number; readonly why: string } | undefined;
  readonly last: JournaledDecision | undefined;
  /** Highest reservation seen, also behind a damaged place: no epoch up to it may be issued again. */
  readonly reservedUpTo: Epoch;
  readonly holds: Holds;
  /** Offset of the first untouched (or damaged) record. */
  readonly tail: number;
  /** Sequence number of the last record read; 0 = none. */
  readonly sequence: bigint;
  /** Every decision that had an idempotency key, oldest first. */
  readonly keyed: readonly JournalRecord[];
}

/**
 * Reads a whole journal. An empty or wholly untouched file counts as damaged, because a journal is created
 * together with its first record. Never throws.
 */
export function recoverJournal(bytes: Uint8Array): JournalSummary {
  let offset = 0;
  let why = bytes.length % JOURNAL_RECORD_BYTES === 0 ? undefined : 'its size is no multiple of a record';
  let where = bytes.length - (bytes.length % JOURNAL_RECORD_BYTES);
  let sequence = 0n;
  let reservedUpTo: Epoch = EPOCH_NONE;
  let last: JournaledDecision | undefined;
  let holds: Holds = {};
  const keyed: JournalRecord[] = [];
  const placeAt = (at: number): JournalPlace =>
    decodeJournalRecord(bytes.subarray(at, at + JOURNAL_RECORD_BYTES));

  for (; offset + JOURNAL_RECORD_BYTES <= bytes.length; offset += JOURNAL_RECORD_BYTES) {
    const found = placeAt(offset);
    if (found.place === 'untouched') break;
    const broken =
      found.place === 'damaged' ? found.why : outOfOrder(found.record, sequence, reservedUpTo, last?.epoch);
    if (broken !== undefined || found.place === 'damaged') {
      why = broken;
      where = offset;
      break;
    }
    const { record } = found;
    // A file that was cut between two records looks whole otherwise, and its end may have been the tighter one.
    const { fileRecords } = record;
    if (fileRecords !== undefined && fileRecords * JOURNAL_RECORD_BYTES !== bytes.length) {
      why ??= `it was made for ${fileRecords} records and is not of that length`;
    }
    sequence = record.sequence;
    reservedUpTo = record.reservedUpTo;
    if (record.kind === 'decision' && record.keyHash !== undefined) keyed.push(record);
    const decided = record.kind === 'checkpoint' || (record.kind === 'decision' && !record.carried);
    if (!record.carried && record.kind !== 'reserve') holds = record.holds;
    if (decided) {
      const { epoch, from, to, completed } = record;
      last =
        from === undefined || to === undefined
          ? undefined
          : { epoch, from, to, completed: record.kind === 'checkpoint' && completed, record };
    } else if (record.kind === 'completed' && last?.epoch === record.epoch) {
      last = { ...last, completed: true };
    }
  }
  const tail = offset;
  if (why === undefined && sequence === 0n) {
    why = 'it has no first record';
    where = 0;
  }
  if (why === undefined) {
    const stray = bytes.subarray(tail).findIndex((byte) => byte !== 0);
    if (stray >= 0) {
      why = 'something stands behind its end';
      where = tail + stray;
    }
  }
  if (why !== undefined) {
    // What still can be read behind the damage may have reserved more: none of it may be issued again.
    for (let at = tail; at + JOURNAL_RECORD_BYTES <= bytes.length; at += JOURNAL_RECORD_BYTES) {
      const found = placeAt(at);
      if (found.place === 'record' && found.record.reservedUpTo > reservedUpTo) {
        reservedUpTo = found.record.reservedUpTo;
      }
    }
  }
  return {
    damage: why === undefined ? undefined : { offset: where, why },
    last,
    reservedUpTo,
    holds,
    tail,
    sequence,
    keyed,
  };
}

function outOfOrder(
  record: JournalRecord,
  sequence: bigint,
  reservedUpTo: Epoch,
  lastEpoch: Epoch | undefined,
): string | undefined {
  if (sequence !== 0n && record.sequence !== sequence + 1n) return 'its sequence number does not follow';
  if (record.reservedUpTo < reservedUpTo) return 'its reservation goes back';
  if (lastEpoch === undefined) return undefined;
  if (record.kind === 'decision' && !record.carried && record.epoch <= lastEpoch)
    return 'its epoch goes back';
  if (record.kind === 'completed' && record.epoch > lastEpoch) return 'it completes what was not decided';
  return undefined;
}

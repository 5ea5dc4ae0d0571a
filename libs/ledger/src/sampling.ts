/**
 * Which sessions are recorded: a choice that follows from the session's id alone and that anyone can repeat (LE-3).
 * It must not know levels: which share goes with one is the accord's business.
 */
import type { SessionTransit, TRANSIT_KINDS } from '@kedge/contracts';
import { hash } from 'node:crypto';

type TransitKind = (typeof TRANSIT_KINDS)[number];

/** Kinds of transits of which a share is enough. A total table: a new kind has to say. */
const IS_ROUTINE: Readonly<Record<TransitKind, boolean>> = {
  admitted: true,
  resumed: true,
  ended: true,
  refused: false,
  drained: false,
  cut: false,
  restricted: false,
};

const PREFIX = 'kedge session sample 1\n';

/**
 * True for the sessions that belong to a share: the first eight bytes of SHA-256 over a fixed line and the id, as a
 * number, are below that share of 2^64. A session in a smaller share is in every larger one.
 *
 * @param percent whole number from 0 (none) to 100 (all).
 */
export function isInSample(session: string, percent: number): boolean {
  const number = hash('sha256', PREFIX + session, 'buffer').readBigUInt64BE(0);
  return number * 100n < BigInt(percent) << 64n;
}

/** True when a transit has to be recorded while routine sessions are recorded to this share. */
export function isRecorded(
  { kind, session }: Pick<SessionTransit, 'kind' | 'session'>,
  percent: number,
): boolean {
  return !IS_ROUTINE[kind] || isInSample(session, percent);
}

/**
 * True when the record of a transit had to be there by the share that it names: what an auditor asks of each one. What
 * should be there and is not shows in the row of a session's transits.
 */
export function isRightlyRecorded(transit: SessionTransit): boolean {
  return isRecorded(transit, transit.sampledPercent);
}

/**
 * For whom a reload of accords is decided: whoever came by the socket, or whoever the intent asks for by its own (PO-3).
 * It must not decide whether they may.
 */
import type { ReloadAccordsRequest } from '@kedge/bus';
import { CHANNELS, TIERS } from '@kedge/contracts';
import type { RefusalAnswer } from '@kedge/posture';
import type { CallAuthority } from '@kedge/runtime';

import type { WayIn } from './request-desk.js';

/** Longest ago that is told apart, milliseconds: whatever is older than a day is as good as never. */
const AGO_MAX_MS = 86_400_000n;

/**
 * The way in that a reload is decided by, or why its request is none of that way.
 *
 * @param intentSocket the one socket by which others may be named, and documents be given.
 */
export function wayOfReload(
  { documents, onBehalf }: ReloadAccordsRequest,
  call: Pick<CallAuthority, 'socket' | 'channel' | 'tier' | 'receivedAtNs'>,
  intentSocket: string | undefined,
): WayIn | RefusalAnswer {
  const { channel, tier, receivedAtNs } = call;
  if (onBehalf === undefined)
    return documents === undefined ? { channel, tier, receivedAtNs } : refusal('documents', 'none of them');
  // The directory of the socket proves who asks; what a message says of that is worth nothing by any other way.
  if (intentSocket === undefined || call.socket !== intentSocket)
    return refusal('on_behalf', 'nobody: a request is decided by the way in that it came');
  const named = {
    tier: TIERS.find((each) => each === onBehalf.tier),
    channel: CHANNELS.find((each) => each === onBehalf.channel),
  };
  if (named.tier === undefined) return refusal('on_behalf.tier', TIERS.join(', '));
  if (named.channel === undefined) return refusal('on_behalf.channel', CHANNELS.join(', '));
  const { askedMsAgo } = onBehalf;
  return {
    tier: named.tier,
    channel: named.channel,
    receivedAtNs,
    onBehalf: askedMsAgo === undefined || askedMsAgo > AGO_MAX_MS ? {} : { askedMsAgo: Number(askedMsAgo) },
  };
}

function refusal(field: string, expected: string): RefusalAnswer {
  return {
    kind: 'refusal',
    code: 'POSTURE_ON_BEHALF',
    message: `cannot reload the accords: ${field} cannot be given by this way in`,
    field,
    expected,
    help: 'commit accords and zones to the intent: it asks for them on behalf of whoever committed',
    rule: 'authority-by-the-way-in',
  };
}

/**
 * A request as policies see it: a tier, an action, a resource, and every attribute in the context; and its key in a
 * cache, which holds every attribute that a policy can see.
 * It must not hold a name that is only claimed, nor anything that is not in its key.
 */
import {
  ACTIONS,
  type AuthorisationAnswer,
  type AuthorisationRequest,
  CHANNELS,
  levelOfPostureResource,
} from '@kedge/contracts';
import { isLevel, isLooser, type Level } from '@kedge/units';
import { isIP } from 'node:net';

import { type Needs, trustOf } from './deescalation.js';

/** What a policy sees of a request, before the engine's own form. */
export interface SlimRequest {
  readonly tier: string;
  readonly action: string;
  readonly resource: string;
  readonly trust: number;
  readonly channel: string;
  readonly level: Level;
  /** The level asked for; `posture.set` only. */
  readonly target: Level | undefined;
  /** There only where the request loosens. */
  readonly needs: Needs | undefined;
  /** Seconds, a multiple of 30; undefined = none is known. */
  readonly secondFactorAge: number | undefined;
  readonly address: string | undefined;
  /** Minutes since midnight UTC, a multiple of 15; undefined = the clock is in doubt. */
  readonly minute: number | undefined;
  /** 1 (Monday) to 7. */
  readonly weekday: number | undefined;
  readonly breakGlass: boolean;
}

/** A second factor older than this has to be proven again, milliseconds on the monotonic clock (PO-25). */
export const SECOND_FACTOR_MAX_AGE_MS = 300_000;
/** Ages are rounded up, so that a limit in a policy is never passed by rounding. */
const AGE_STEP_S = 30;
/** Beyond this an age is none. */
const AGE_MAX_S = 86_400;
const MINUTE_STEP = 15;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const RESOURCE_MAX = 128;

type Denial = Extract<AuthorisationAnswer, { allow: false }>;
/** A request that can be asked, or the denial of one that cannot. */
export type Slimmed = { readonly slim: SlimRequest } | { readonly denial: Denial };

const deny = (rule: string, reason: string): { readonly denial: Denial } => ({
  denial: { allow: false, rule, reason },
});

/** A value of a request as it may stand in a sentence. */
function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : `(${typeof value})`;
  return text.replaceAll(/[\p{Cc}\p{Cs}]/gu, ' ').slice(0, 64);
}

/**
 * What policies are asked. Attributes of a wrong type deny with a reason: types end at a process's door.
 *
 * @param needsOf what a loosening needs, asked only where the request is one.
 */
export function slimmed(
  request: AuthorisationRequest,
  needsOf: (level: Level, target: Level) => Needs,
): Slimmed {
  const { tier, channel, action, resource, level, address, breakGlass } = request;
  if (trustOf(tier) === 0) return deny('unknown-principal', `nobody is known by the tier ${shown(tier)}`);
  if (!CHANNELS.includes(channel))
    return deny('unknown-channel', `no way in is known by the name ${shown(channel)}`);
  if (!ACTIONS.includes(action))
    return deny('unknown-action', `nobody may ${shown(action)}: no policy knows it`);
  if (typeof resource !== 'string' || !/^[^\p{Cc}\p{Cs}]+$/u.test(resource) || resource.length > RESOURCE_MAX)
    return deny('unknown-resource', 'the resource is no name of 1 to 128 characters');
  if (!isLevel(level))
    return deny('malformed-request', `the level in force is ${shown(level)}, expected 1 to 5`);
  if (breakGlass !== undefined && typeof breakGlass !== 'boolean')
    return deny('malformed-request', 'break-glass is neither true nor false');
  if (address !== undefined && !isAddress(address))
    return deny('malformed-request', `the address ${shown(address)} is none`);
  const age = ageOf(request.mfaAge);
  if (age === 'wrong') return deny('malformed-request', 'the age of the second factor is no number');
  const time = timeOf(request.wallMs);
  if (time === 'wrong') return deny('malformed-request', 'the time of day is no number');
  let target: Level | undefined;
  let needs: Needs | undefined;
  if (action === 'posture.set') {
    target = levelOfPostureResource(resource);
    if (target === undefined) return deny('unknown-resource', `${shown(resource)} names no posture level`);
    if (isLooser(target, level)) needs = needsOf(level, target);
  }
  return {
    slim: {
      tier,
      action,
      resource,
      trust: trustOf(tier),
      channel,
      level,
      target,
      needs,
      secondFactorAge: age,
      address,
      minute: time?.minute,
      weekday: time?.weekday,
      breakGlass: breakGlass === true,
    },
  };
}

/**
 * The key of a decision: two requests with one key are alike to every policy of one generation. Each generation has
 * a cache of its own. Undefined where a decision must not be kept: one under break-glass is made anew each time.
 */
export function decisionKey(slim: SlimRequest): string | undefined {
  if (slim.breakGlass) return undefined;
  const { needs } = slim;
  // No field holds a line feed, so none can run into the next.
  return (
    `${slim.tier}\n${slim.action}\n${slim.channel}\n${slim.level}\n${slim.secondFactorAge ?? ''}\n` +
    `${slim.address ?? ''}\n${slim.minute ?? ''}\n${slim.weekday ?? ''}\n` +
    `${needs === undefined ? '' : `${needs.tier} ${needs.secondFactor} ${needs.channels.join(' ')}`}\n${slim.resource}`
  );
}

/** Unknown, negative and very old ages are none; what is no number at all is wrong. */
function ageOf(mfaAge: unknown): number | undefined | 'wrong' {
  if (mfaAge === undefined) return undefined;
  if (typeof mfaAge !== 'number') return 'wrong';
  const seconds = Math.ceil(mfaAge / 1_000 / AGE_STEP_S) * AGE_STEP_S;
  return seconds >= 0 && seconds <= AGE_MAX_S ? Math.abs(seconds) : undefined;
}

function timeOf(wallMs: unknown): { minute: number; weekday: number } | undefined | 'wrong' {
  if (wallMs === undefined) return undefined;
  if (typeof wallMs !== 'number') return 'wrong';
  if (!(wallMs >= 0) || !Number.isFinite(wallMs)) return undefined;
  const minute = Math.floor((wallMs % DAY_MS) / MINUTE_MS);
  return {
    minute: minute - (minute % MINUTE_STEP),
    // 1 January 1970 was a Thursday.
    weekday: ((Math.floor(wallMs / DAY_MS) + 3) % 7) + 1,
  };
}

/** Only what the engine reads, too: it knows no zones, and no IPv4 inside of IPv6. */
function isAddress(address: unknown): address is string {
  if (typeof address !== 'string') return false;
  const version = isIP(address);
  return version === 4 || (version === 6 && !/[.%]/.test(address));
}

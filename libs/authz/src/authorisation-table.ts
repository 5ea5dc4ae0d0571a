/**
 * The authorisation table (PO-4): tightening is easy, loosening is hard, and every answer names its rule.
 * It must not consult anything but the request and the accords' authority, so that decisions can be replayed.
 */
import {
  type AuthorisationAnswer,
  type AuthorisationRequest,
  type Authoriser,
  type Channel,
  levelOfPostureResource,
  type Tier,
  TIERS,
} from '@kedge/contracts';
import { isLooser } from '@kedge/units';

/** Who may loosen to one level. */
export interface LoosenRule {
  /** The least trusted tier that may. */
  readonly deescalationTier: Tier;
  /** Whether a fresh second factor is needed too. */
  readonly secondFactor: boolean;
}

/** The part of the accords that the table asks. A step over several levels needs the authority of each (PO-9). */
export interface DeescalationAuthority {
  readonly 2: LoosenRule;
  readonly 3: LoosenRule;
  readonly 4: LoosenRule;
  readonly 5: LoosenRule;
  /** The only ways in by which level 1 may be left. */
  readonly leaveLockdownChannels: readonly (Channel | 're-attestation')[];
}

/** What holds where accords cannot be read: the tightest reading of PO-4. */
export const DEFAULT_AUTHORITY: DeescalationAuthority = {
  2: { deescalationTier: 'site_owner', secondFactor: true },
  3: { deescalationTier: 'site_owner', secondFactor: false },
  4: { deescalationTier: 'master', secondFactor: false },
  5: { deescalationTier: 'master', secondFactor: false },
  leaveLockdownChannels: ['console', 're-attestation', 'oob'],
};

/** A second factor older than this has to be proven again, milliseconds on the monotonic clock (PO-25). */
export const SECOND_FACTOR_MAX_AGE_MS = 300_000;

/** Channels of machines, which raise alarms and never give the all-clear. */
const TIGHTEN_ONLY: readonly Channel[] = ['bpf', 'plugin'];

const LEAST_TRUSTED: Readonly<Record<Exclude<AuthorisationRequest['action'], 'posture.set'>, Tier>> = {
  'posture.get': 'apprentice',
  'posture.watch': 'apprentice',
  'posture.history': 'apprentice',
  'governance.show': 'apprentice',
  'governance.plan': 'apprentice',
  'governance.flows': 'journeyman',
  'governance.reload': 'master',
  'mutation.propose': 'apprentice',
  'mutation.execute': 'journeyman',
};

/** True when `tier` is trusted at least as much as `least`. */
const trusted = (tier: Tier, least: Tier): boolean =>
  TIERS.indexOf(tier) >= 0 && TIERS.indexOf(tier) <= TIERS.indexOf(least);

const allow = (rule: string): AuthorisationAnswer => ({ allow: true, rule });
const deny = (rule: string, reason: string): AuthorisationAnswer => ({ allow: false, rule, reason });

/**
 * An authoriser by table.
 *
 * @param authority who may loosen, from the accords in force; asked anew for every decision, so that accords
 *   that are replaced count at once.
 */
export function tableAuthoriser(
  authority: DeescalationAuthority | (() => DeescalationAuthority) = DEFAULT_AUTHORITY,
): Authoriser {
  return {
    decide: (request) => {
      try {
        const { action } = request;
        if (action === 'posture.set') {
          return decideLevel(request, () => (typeof authority === 'function' ? authority() : authority));
        }
        const least: Tier | undefined = LEAST_TRUSTED[action];
        if (least === undefined)
          return deny('unknown-action', `nobody may ${String(action)}: no rule knows it`);
        return trusted(request.tier, least)
          ? allow(`${action}-${least}`)
          : deny(`${action}-${least}`, `${action} needs the tier ${least} or above`);
      } catch (error) {
        return deny(
          'authoriser-failed',
          `the authoriser failed: ${error instanceof Error ? error.name : 'unknown'}`,
        );
      }
    },
  };
}

function decideLevel(
  { resource, level, tier, channel, mfaAge }: AuthorisationRequest,
  authorityNow: () => DeescalationAuthority,
): AuthorisationAnswer {
  const target = levelOfPostureResource(resource);
  if (target === undefined) return deny('unknown-resource', `${resource} names no posture level`);
  if (!trusted(tier, 'journeyman')) {
    return deny('apprentice-looks-only', 'changing the posture needs the tier journeyman or above');
  }
  if (!isLooser(target, level)) return allow('tightening-by-any-source');
  // Only loosening asks the accords: whatever is wrong with them, tightening goes on.
  const authority = authorityNow();
  if (TIGHTEN_ONLY.includes(channel)) {
    return deny(`${channel}-tightens-only`, `the channel ${channel} may only tighten the posture`);
  }
  if (level === 1 && !authority.leaveLockdownChannels.includes(channel)) {
    return deny(
      'leave-lockdown-channel',
      `level 1 is left by ${authority.leaveLockdownChannels.join(', ')} only, not by ${channel}`,
    );
  }
  for (const passed of [2, 3, 4, 5] as const) {
    if (passed <= level || passed > target) continue;
    const rule = authority[passed];
    if (!trusted(tier, rule.deescalationTier)) {
      return deny(
        `loosening-to-${passed}-tier`,
        `loosening to level ${passed} needs the tier ${rule.deescalationTier} or above`,
      );
    }
    if (rule.secondFactor && !fresh(mfaAge)) {
      return deny(
        `loosening-to-${passed}-second-factor`,
        `loosening to level ${passed} needs a second factor that is fresh`,
      );
    }
  }
  return allow(`loosening-to-${target}`);
}

/** An age that is unknown, negative or no number is old. */
function fresh(age: number | undefined): boolean {
  return age !== undefined && age >= 0 && age <= SECOND_FACTOR_MAX_AGE_MS;
}

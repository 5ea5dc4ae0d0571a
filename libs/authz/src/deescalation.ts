/**
 * What the accords ask of whoever loosens, and the sum of it for one request (PO-4, PO-9).
 * It must not decide; policies hold a request against it.
 */
import { type Channel, type Tier, TIERS } from '@kedge/contracts';
import type { Level } from '@kedge/units';

/** Who may loosen to one level. */
export interface LoosenRule {
  /** The least trusted tier that may. */
  readonly deescalationTier: Tier;
  /** Whether a fresh second factor is needed too. */
  readonly secondFactor: boolean;
}

/** The part of the accords that policies see. A step over several levels needs the authority of each (PO-9). */
export interface DeescalationAuthority {
  readonly 2: LoosenRule;
  readonly 3: LoosenRule;
  readonly 4: LoosenRule;
  readonly 5: LoosenRule;
  /** The only ways in by which level 1 may be left. */
  readonly leaveLockdownChannels: readonly (Channel | 're-attestation')[];
}

/** What holds where there are no accords: the defaults of PO-4. */
export const DEFAULT_AUTHORITY: DeescalationAuthority = {
  2: { deescalationTier: 'site_owner', secondFactor: true },
  3: { deescalationTier: 'site_owner', secondFactor: false },
  4: { deescalationTier: 'master', secondFactor: false },
  5: { deescalationTier: 'master', secondFactor: false },
  leaveLockdownChannels: ['console', 're-attestation', 'oob'],
};

const TIGHTEST: LoosenRule = { deescalationTier: 'site_owner', secondFactor: true };

/** What holds where accords cannot be used: no accords can ask for more. */
export const TIGHTEST_AUTHORITY: DeescalationAuthority = {
  2: TIGHTEST,
  3: TIGHTEST,
  4: TIGHTEST,
  5: TIGHTEST,
  leaveLockdownChannels: ['console'],
};

/** How trusted a tier is: 4 site_owner to 1 apprentice, 0 what is no tier. */
export function trustOf(tier: Tier): number {
  const at = TIERS.indexOf(tier);
  return at < 0 ? 0 : TIERS.length - at;
}

/** What one loosening needs. */
export interface Needs {
  readonly tier: Tier;
  readonly secondFactor: boolean;
  /** The ways in by which level 1 may be left; the request says whether it leaves it. */
  readonly channels: readonly string[];
}

/** What loosening from `level` to `target` needs: of every level on the way the most (PO-9). */
export function needsOf(authority: DeescalationAuthority, level: Level, target: Level): Needs {
  let tier: Tier = 'apprentice';
  let secondFactor = false;
  for (const passed of [2, 3, 4, 5] as const) {
    if (passed <= level || passed > target) continue;
    const rule = authority[passed];
    // What is no tier is one that nobody reaches.
    if (trustOf(rule.deescalationTier) === 0 || trustOf(rule.deescalationTier) > trustOf(tier))
      tier = rule.deescalationTier;
    secondFactor ||= rule.secondFactor;
  }
  return { tier, secondFactor, channels: authority.leaveLockdownChannels };
}

/**
 * Who may ask the ledger what, by tier.
 * It must not look at anything but the tier that the socket proves (PO-3).
 */
import { type Tier, TIERS } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';

/** What can be asked of the ledger. */
export type LedgerAction = 'ledger.status' | 'ledger.read' | 'ledger.export' | 'ledger.erase';

/** The least trusted tier that may. Records name people, so who only looks on sees that there are records, no more. */
const LEAST_TRUSTED: Readonly<Record<LedgerAction, Tier>> = {
  'ledger.status': 'apprentice',
  'ledger.read': 'journeyman',
  'ledger.export': 'master',
  'ledger.erase': 'site_owner',
};

/** The rule that lets a tier, as it stands in records. */
export function ruleOf(action: LedgerAction): string {
  return `${action}-${LEAST_TRUSTED[action]}`;
}

/** @throws KedgeError `LEDGER_FORBIDDEN` */
export function requireTier(action: LedgerAction, tier: Tier): void {
  const least = LEAST_TRUSTED[action];
  if (TIERS.indexOf(tier) >= 0 && TIERS.indexOf(tier) <= TIERS.indexOf(least)) return;
  throw new KedgeError({
    code: 'LEDGER_FORBIDDEN',
    message: `${action} needs the tier ${least} or above, and this way in is of ${tier}`,
    expected: `the socket of ${least}, or of a tier above`,
    help: 'take another way in: --as',
  });
}

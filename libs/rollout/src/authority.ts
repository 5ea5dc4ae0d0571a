/**
 * In whose name a plan runs.
 * It must not let anything through: policies and the gate do.
 */
import type { Holder } from '@kedge/datastores';
import type { accordsTree } from '@kedge/intent-model';

/** The name of what the appliance does by itself. */
export const APPLIANCE = 'kedge:intent';

/**
 * The appliance itself, for an automatic remedy or a revision that it put back. The accord is what lets it: it comes in
 * with the least tier that the gate of the level lets execute, so that the gate decides as the accord says; where the gate
 * is open for every tier, as master, who may do what the appliance is told to do at every level at which it writes.
 */
export function applianceAt({ gate }: accordsTree.AccordsLevelUnderlay): Holder {
  return { principal: APPLIANCE, tier: gate['execute-tier'] ?? 'master', channel: 'local' };
}

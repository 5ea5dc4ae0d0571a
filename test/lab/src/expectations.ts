/**
 * What each level must do with each class of traffic, written down by hand.
 * It must never be computed from accords: it is what the drill holds them against.
 */
import type { Level } from '@kedge/units';

import type { RouteMode, RoutePurpose, RouteTier } from './route-topology.js';
import type { ClassName } from './topology.js';

export type Treatment = 'pass' | 'deprioritise' | 'drop';

/** Class and level to treatment. Deprioritised means: arrives, marked DSCP LE (DP-11). */
export const EXPECTED: Readonly<Record<ClassName, Readonly<Record<Level, Treatment>>>> = {
  management: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'pass', 1: 'pass' },
  critical: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'pass', 1: 'drop' },
  ordinary: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'drop', 1: 'drop' },
  unapproved: { 5: 'pass', 4: 'pass', 3: 'deprioritise', 2: 'drop', 1: 'drop' },
};

const EVERYBODY: readonly RouteTier[] = ['site_owner', 'master', 'journeyman', 'apprentice'];
const AUTHORISED: readonly RouteTier[] = ['site_owner', 'master', 'journeyman'];
const MASTERS: readonly RouteTier[] = ['site_owner', 'master'];

/** Routes of Kedge that a level leaves in the kernel: of these tiers, for these purposes (OV, table). */
export const ROUTES_EXPECTED: Readonly<
  Record<
    RouteMode,
    Readonly<
      Record<Level, { readonly tiers: readonly RouteTier[]; readonly purposes: readonly RoutePurpose[] }>
    >
  >
> = {
  overlay: {
    5: { tiers: EVERYBODY, purposes: ['ordinary', 'management', 'incident-response', 'monitoring'] },
    4: { tiers: EVERYBODY, purposes: ['ordinary', 'management', 'incident-response', 'monitoring'] },
    3: { tiers: EVERYBODY, purposes: ['ordinary', 'management', 'incident-response', 'monitoring'] },
    2: { tiers: EVERYBODY, purposes: ['management', 'incident-response'] },
    1: { tiers: EVERYBODY, purposes: [] },
  },
  underlay: {
    5: { tiers: EVERYBODY, purposes: ['ordinary', 'management', 'incident-response', 'monitoring'] },
    4: { tiers: EVERYBODY, purposes: ['ordinary', 'management', 'incident-response', 'monitoring'] },
    3: { tiers: MASTERS, purposes: ['ordinary', 'management', 'incident-response', 'monitoring'] },
    2: { tiers: MASTERS, purposes: ['management', 'incident-response', 'monitoring'] },
    1: { tiers: MASTERS, purposes: ['monitoring'] },
  },
};

/** Levels at which rules ahead of all tables prohibit what Kedge does not allow, also over routes of others (OV-15). */
export const PROHIBITED_AT: readonly Level[] = [2, 1];

/**
 * Whose ordinary and whose emergency change of the underlay the gate lets through (UN, table). At 2 emergency changes
 * of the site owner alone, and of those only what was approved beforehand: a lab has approved none.
 */
export const GATE_EXPECTED: Readonly<
  Record<Level, { readonly ordinary: readonly RouteTier[]; readonly emergency: readonly RouteTier[] }>
> = {
  5: { ordinary: AUTHORISED, emergency: AUTHORISED },
  4: { ordinary: AUTHORISED, emergency: AUTHORISED },
  3: { ordinary: MASTERS, emergency: MASTERS },
  2: { ordinary: [], emergency: [] },
  1: { ordinary: [], emergency: [] },
};

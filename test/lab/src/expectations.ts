/**
 * What each level must do with each class of traffic, written down by hand.
 * It must never be computed from accords: it is what the drill holds them against.
 */
import type { Level } from '@kedge/units';

import type { ClassName } from './topology.js';

export type Treatment = 'pass' | 'deprioritise' | 'drop';

/** Class and level to treatment. Deprioritised means: arrives, marked DSCP LE (DP-11). */
export const EXPECTED: Readonly<Record<ClassName, Readonly<Record<Level, Treatment>>>> = {
  management: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'pass', 1: 'pass' },
  critical: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'pass', 1: 'drop' },
  ordinary: { 5: 'pass', 4: 'pass', 3: 'pass', 2: 'drop', 1: 'drop' },
  unapproved: { 5: 'pass', 4: 'pass', 3: 'deprioritise', 2: 'drop', 1: 'drop' },
};

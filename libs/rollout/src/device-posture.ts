/**
 * The posture, as far as devices are concerned.
 * It must not decide what a level lets through.
 */
import type { accordsTree } from '@kedge/intent-model';
import { type Epoch, EPOCH_NONE, type Level, LOCKDOWN } from '@kedge/units';

/** The posture, as far as devices are concerned. */
export interface DevicePosture {
  readonly level: Level;
  readonly epoch: Epoch;
  /** What the accord of the level says of the underlay. */
  readonly underlay: accordsTree.AccordsLevelUnderlay;
}

/** Before anybody has said it: the strictest. */
export const NO_POSTURE: DevicePosture = {
  level: LOCKDOWN,
  epoch: EPOCH_NONE,
  underlay: { gate: { mode: 'frozen' } },
};

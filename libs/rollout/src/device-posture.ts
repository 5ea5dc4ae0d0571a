/**
 * The posture, as far as devices are concerned.
 * It must not decide what a level lets through.
 */
import type { accordsTree } from '@kedge/intent-model';
import { canonicalText } from '@kedge/reconcile';
import { type Epoch, EPOCH_NONE, type Level, LOCKDOWN } from '@kedge/units';

/** The posture, as far as devices are concerned. */
export interface DevicePosture {
  readonly level: Level;
  readonly epoch: Epoch;
  /** What the accord of the level says of the underlay. */
  readonly underlay: accordsTree.AccordsLevelUnderlay;
}

/** Whether both let the same through: accords may become others while the level stays. */
export function isSamePosture(a: DevicePosture, b: DevicePosture): boolean {
  return (
    a.level === b.level && a.epoch === b.epoch && canonicalText(a.underlay) === canonicalText(b.underlay)
  );
}

/** Before anybody has said it: the strictest. */
export const NO_POSTURE: DevicePosture = {
  level: LOCKDOWN,
  epoch: EPOCH_NONE,
  underlay: { gate: { mode: 'frozen' } },
};

/**
 * How a device stands, for people.
 * It must not decide what is done.
 */
import { mayCompile } from '@kedge/compiler';

import { isPending, isTended } from './rollout-machine.js';
import type { RolloutState } from './rollout-state.js';

/** How a device stands to the intent, and a sentence why where there is something to say. */
export interface Standing {
  readonly state:
    'new' | 'accorded' | 'drifted' | 'applying' | 'waiting' | 'refused' | 'unreachable' | 'retired';
  readonly why: string;
}

/** How a device stands now. */
export function standingOf(state: RolloutState): Standing {
  const { work, trouble, refusals, drifts, posture, intended, readAtMs } = state;
  const why = trouble === undefined ? '' : `${trouble.message} [${trouble.code}]`;
  if (!isTended(state)) return { state: 'retired', why: '' };
  if (work.phase === 'carrying') return { state: 'applying', why: '' };
  if (!state.isReached) return { state: 'unreachable', why };
  if (readAtMs === undefined) return { state: 'new', why: '' };
  const [first] = refusals;
  if (first !== undefined) return { state: 'refused', why: `${first.message} [${first.code}]` };
  if (isPending(state)) {
    const { mode } = posture.underlay.gate;
    if (!mayCompile(mode))
      return {
        state: 'waiting',
        why: `no plans are made at level ${String(posture.level)}: the mutation gate is ${mode}`,
      };
    if (intended?.isRecalled === true)
      return { state: 'waiting', why: 'its intent from before the start has not been accepted anew' };
    if (intended?.device['life-cycle'] === 'planned')
      return { state: 'waiting', why: 'the inventory has it as planned' };
    return { state: 'waiting', why };
  }
  return { state: drifts.length > 0 ? 'drifted' : 'accorded', why };
}

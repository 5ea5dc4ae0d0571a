/**
 * The one rule that needs no policy: whoever is trusted to may tighten, or apply the level in force again (PO-4, PO-22).
 * It must not depend on an engine, a file or the accords: whatever is wrong with them, tightening goes on.
 */
import {
  type AuthorisationAnswer,
  type AuthorisationRequest,
  CHANNELS,
  levelOfPostureResource,
} from '@kedge/contracts';
import { isLevel, isLooser } from '@kedge/units';

import { trustOf } from './deescalation.js';

/** Name of the rule in answers and records. */
export const BUILT_IN_TIGHTENING = 'built-in-tightening';

const TIGHTENS: AuthorisationAnswer = { allow: true, rule: BUILT_IN_TIGHTENING };

/** The answer to a tightening from journeyman on, by whatever channel; undefined = policies have to be asked. */
export function builtInAnswer(request: AuthorisationRequest): AuthorisationAnswer | undefined {
  const { action, resource, level, tier, channel } = request;
  if (action !== 'posture.set' || trustOf(tier) < trustOf('journeyman')) return undefined;
  const target = levelOfPostureResource(resource);
  if (target === undefined || !isLevel(level) || !CHANNELS.includes(channel)) return undefined;
  return isLooser(target, level) ? undefined : TIGHTENS;
}

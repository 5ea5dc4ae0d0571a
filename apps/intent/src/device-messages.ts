/**
 * Devices, differences and plans on the wire.
 * It must not decide anything.
 */
import type {
  IntentDeviceMessage,
  IntentDormantMessage,
  IntentDriftMessage,
  IntentPlanPart,
} from '@kedge/bus';
import { type Dormant, planText } from '@kedge/compiler';
import type { Plan, PlanValue } from '@kedge/contracts';
import type { Drift } from '@kedge/drift';
import { planData } from '@kedge/intent-model';

import type { DeviceView } from './device-views.js';
import { piecesOf } from './messages.js';

/** Refusals, and dormant nodes, in one message at most. */
const LISTED_MAX = 1000;

export function deviceMessage(view: DeviceView): IntentDeviceMessage {
  const { device, driver, state, why, revision, readAtMs, nextAtMs, drifts, refusals, dormant } = view;
  return {
    device,
    driver,
    state,
    why,
    revision,
    readAtWallMs: wallMs(readAtMs ?? 0),
    nextAtWallMs: wallMs(nextAtMs ?? 0),
    drifts,
    refusals: refusals
      .slice(0, LISTED_MAX)
      .map(({ code, path, message, expected }) => ({ code, path, message, expected })),
    dormant: dormantMessages(dormant),
    complete: refusals.length <= LISTED_MAX && dormant.length <= LISTED_MAX,
  };
}

export function driftMessage(drift: Drift): IntentDriftMessage {
  const { device, path, intended, actual, sinceMs, seenMs, severity, cause, remediation, exception } = drift;
  return {
    device,
    path,
    ...(intended === null ? {} : { intended: jsonOf(intended) }),
    ...(actual === null ? {} : { actual: jsonOf(actual) }),
    sinceWallMs: wallMs(sinceMs),
    seenWallMs: wallMs(seenMs),
    severity,
    cause,
    remediation,
    exception: exception ?? '',
  };
}

/**
 * A plan, part by part: what it comes to, then its text, then its data.
 *
 * @param plan undefined = there is nothing to do
 */
export function* planParts(plan: Plan | undefined, dormant: readonly Dormant[]): Generator<IntentPlanPart> {
  yield {
    part: 'head',
    head: {
      steps: plan?.steps.length ?? 0,
      dormant: dormantMessages(dormant),
      complete: dormant.length <= LISTED_MAX,
    },
  };
  if (plan === undefined) return;
  for (const text of piecesOf(planText(plan))) yield { part: 'text', text };
  const document = { 'kedge-plan:plans': { plan: [planData(plan)] } };
  for (const data of piecesOf(JSON.stringify(document))) yield { part: 'data', data };
}

function dormantMessages(dormant: readonly Dormant[]): readonly IntentDormantMessage[] {
  return dormant.slice(0, LISTED_MAX).map(({ path, why }) => ({ path, why }));
}

function jsonOf(value: PlanValue): string {
  return JSON.stringify(value);
}

/** A time as messages have it; clocks with fractions, and those before 1970, have none. */
function wallMs(ms: number): bigint {
  return BigInt(Math.max(0, Math.trunc(ms)));
}

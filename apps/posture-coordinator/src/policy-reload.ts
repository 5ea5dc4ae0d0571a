/**
 * Asking for the policies to be read again (`kedge authz reload`): checked, authorised by the policies in force, recorded.
 * It must not try or use policies itself; their keeper does.
 */
import type { PolicyKeeper } from '@kedge/authz';
import type { ReloadPoliciesReply, ReloadPoliciesRequest } from '@kedge/bus';
import type { Authoriser } from '@kedge/contracts';
import { levelInForce, type RefusalAnswer } from '@kedge/posture';
import { type Clock, KedgeError, millisOf, nanosOf } from '@kedge/units';

import { refusalReplyOf } from './posture-view.js';
import type { WayIn } from './request-desk.js';
import { recordable, sourceFault } from './set-request.js';
import type { TransitionDriver } from './transition-driver.js';

export interface ReloadParts {
  readonly driver: TransitionDriver;
  readonly authoriser: Authoriser;
  readonly policies: PolicyKeeper;
  readonly clock: Clock;
}

/** Has the policies read again; a refusal is recorded, and what was in force stays. */
export async function reloadPolicies(
  { driver, authoriser, policies, clock }: ReloadParts,
  request: ReloadPoliciesRequest,
  { channel, tier, receivedAtNs }: WayIn,
): Promise<ReloadPoliciesReply> {
  const source = {
    channel,
    tier,
    principal: recordable(request.principal, 128),
    reason: recordable(request.reason, 512),
  };
  const asked = { source, level: driver.machine.last.to, receivedAtNs };
  const refuse = (refusal: RefusalAnswer): ReloadPoliciesReply => {
    driver.recordRefusal(asked, refusal, 'authorisation.reload');
    return { outcome: 'refusal', refusal: refusalReplyOf(refusal) };
  };
  const fault = sourceFault(request, 'reload the policies');
  if (fault !== undefined) return refuse(fault);
  const answer = authoriser.decide({
    principal: source.principal,
    tier,
    channel,
    action: 'authorisation.reload',
    resource: 'authorisation',
    level: levelInForce(driver.machine),
    epoch: driver.machine.last.epoch,
    mfaAge: channel === 'console' ? millisOf(0) : undefined,
    address: undefined,
    at: nanosOf(clock.monotonicNs()),
    wallMs: clock.wallMs(),
    breakGlass: false,
  });
  if (!answer.allow) {
    const { rule, reason: message } = answer;
    return refuse({ kind: 'refusal', code: 'POSTURE_NOT_AUTHORISED', message, rule });
  }
  driver.recordGrant(asked, answer.rule, 'authorisation.reload');
  const before = policies.inForce?.generation;
  try {
    const { name, generation, policies: all } = await policies.reload();
    const changed = generation !== before;
    return { outcome: 'inForce', inForce: { set: name, generation, policies: all.length, changed } };
  } catch (error) {
    if (!(error instanceof KedgeError)) throw error;
    const { code, message, field = '', expected = '', help = '' } = error;
    return refuse({ kind: 'refusal', code, message, field, expected, help, rule: 'valid-policies' });
  }
}

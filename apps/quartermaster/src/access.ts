/**
 * Who may ask the ledger what: the policies are asked, with channel and tier as the socket proves them (PO-3).
 * It must not decide by itself.
 */
import type { Action, Authoriser } from '@kedge/contracts';
import type { CallAuthority } from '@kedge/runtime';
import { type Clock, type Epoch, KedgeError, type Level, millisOf, nanosOf } from '@kedge/units';

/** What can be asked of the ledger. */
export type LedgerAction = Extract<Action, `ledger.${string}`>;

/** What is asked with. */
export interface AccessParts {
  readonly authoriser: Authoriser;
  readonly clock: Clock;
  /** The posture in force. */
  readonly posture: () => { readonly epoch: bigint; readonly level: Level };
}

/** May somebody, and by which rule. */
export type Access = { readonly rule: string; readonly refusal?: KedgeError };

/** Asks the policies. @param principal as claimed; empty where nobody says. */
export function accessOf(
  { authoriser, clock, posture }: AccessParts,
  action: LedgerAction,
  { tier, channel }: Pick<CallAuthority, 'tier' | 'channel'>,
  principal = '',
): Access {
  const { epoch, level } = posture();
  const answer = authoriser.decide({
    principal,
    tier,
    channel,
    action,
    resource: 'ledger',
    level,
    epoch: epoch as Epoch,
    // The console directory counts as a fresh second factor until there is one.
    mfaAge: channel === 'console' ? millisOf(0) : undefined,
    address: undefined,
    at: nanosOf(clock.monotonicNs()),
    wallMs: clock.wallMs(),
    breakGlass: false,
  });
  const { rule } = answer;
  if (answer.allow) return { rule };
  const refusal = new KedgeError({
    code: 'LEDGER_FORBIDDEN',
    message: `${action} is not allowed: ${answer.reason}`,
    expected: 'what the policies permit',
    help: 'kedge authz explain says which policy; another way in: --as',
  });
  return { rule, refusal };
}

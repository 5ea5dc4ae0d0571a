/**
 * What a request for a level must look like, field by field (PO-5).
 * It must not ask whether it is allowed.
 */
import type { SetRequest } from '@kedge/bus';
import type { RefusalAnswer } from '@kedge/posture';
import { EPOCH_MAX, isEpoch, isLevel, type Epoch, type Level } from '@kedge/units';

/** A request that is well formed. */
export interface WellFormed {
  readonly level: Level;
  readonly reason: string;
  readonly principal: string;
  readonly idempotencyKey: string;
  readonly ifEpoch?: Epoch;
}

// eslint-disable-next-line no-control-regex -- what goes into records and logs stays on its line
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/u;
const KEY = /^[!-~]{8,64}$/;

/** The request, or the refusal that names the first field at fault. */
export function wellFormed(request: SetRequest): WellFormed | RefusalAnswer {
  const { level, reason, principal, idempotencyKey, ifEpoch } = request;
  if (!isLevel(level)) {
    return refusal(
      'POSTURE_LEVEL',
      'level',
      `${String(level)} is no posture level`,
      '1 (lockdown) to 5 (normal)',
    );
  }
  const fault = sourceFault(request, 'change the posture');
  if (fault !== undefined) return fault;
  if (typeof idempotencyKey !== 'string' || !KEY.test(idempotencyKey)) {
    return refusal(
      'POSTURE_IDEMPOTENCY_KEY',
      'idempotency_key',
      'the idempotency key is missing or malformed',
      '8 to 64 printable characters without spaces',
    );
  }
  if (ifEpoch !== undefined && !isEpoch(ifEpoch)) {
    return refusal(
      'POSTURE_IF_EPOCH',
      'if_epoch',
      `${String(ifEpoch)} is no epoch`,
      `0 to ${String(EPOCH_MAX)}`,
    );
  }
  return { level, reason, principal, idempotencyKey, ...(ifEpoch === undefined ? {} : { ifEpoch }) };
}

/** What is wrong with who asks and why; undefined = nothing. `what` says what they ask for. */
export function sourceFault(
  { reason, principal }: Pick<SetRequest, 'reason' | 'principal'>,
  what: string,
): RefusalAnswer | undefined {
  const reasonFault = textFault(reason, 512);
  if (reasonFault !== undefined) {
    return refusal(
      'POSTURE_REASON',
      'reason',
      `the reason ${reasonFault}`,
      '1 to 512 characters on one line',
      what,
    );
  }
  const principalFault = textFault(principal, 128);
  if (principalFault === undefined) return undefined;
  return refusal(
    'POSTURE_PRINCIPAL',
    'principal',
    `the principal ${principalFault}`,
    '1 to 128 characters on one line, like user:ada',
    what,
  );
}

function textFault(text: unknown, max: number): string | undefined {
  if (typeof text !== 'string' || text.trim() === '') return 'is missing';
  if (text.length > max) return 'is too long';
  return CONTROL.test(text) ? 'has control characters' : undefined;
}

function refusal(
  code: string,
  field: string,
  fault: string,
  expected: string,
  what = 'change the posture',
): RefusalAnswer {
  return {
    kind: 'refusal',
    code,
    message: `cannot ${what}: ${fault}`,
    field,
    expected,
    rule: 'well-formed',
  };
}

/** Text of a malformed request as far as it can be kept: one line, cut. */
export function recordable(text: unknown, max: number): string {
  return typeof text === 'string'
    ? text
        .slice(0, max * 2)
        .replaceAll(new RegExp(CONTROL, 'gu'), ' ')
        .slice(0, max)
    : '';
}

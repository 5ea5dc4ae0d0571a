/**
 * Who may ask the intent for what: policies decide, and who is not let in is told why and recorded (PO-5).
 * It must not hold a rule of its own, nor do what is asked.
 */
import type { IntentRefusalMessage, PostureBoard } from '@kedge/bus';
import type { Action, Authoriser, Channel, Tier } from '@kedge/contracts';
import {
  type Holder,
  type IntentRefusal,
  type Moment,
  type Posture,
  refusal,
  wrongField,
} from '@kedge/datastores';
import type { Outbox } from '@kedge/ledger-link';
import { type Clock, KedgeError, millisOf, nanosOf } from '@kedge/units';

import { type ChangeRecords, RESOURCE } from './change-records.js';
import { refusalMessage, thrownRefusal } from './messages.js';

/** What is known of a caller by the socket that it came in by. */
export interface Caller {
  readonly tier: Tier;
  readonly channel: Channel;
}

/** What the authority is given; all of it stays its caller's. */
export interface AuthorityParts {
  readonly policies: { readonly authoriser: Authoriser };
  readonly records: Pick<Outbox, 'put' | 'ready'>;
  readonly changes: ChangeRecords;
  readonly board: Pick<PostureBoard, 'snapshot'>;
  readonly clock: Clock;
  readonly log: { warn(fields: object, text: string): void };
}

/** What is done only where it can be written down. Editing the candidate puts nothing in force. */
const RECORDED: readonly Action[] = [
  'intent.commit',
  'intent.rollback',
  'intent.break-lock',
  'intent.remedy',
];

/** Lets in by the policies. */
export class IntentAuthority {
  readonly #parts: AuthorityParts;

  constructor(parts: AuthorityParts) {
    this.#parts = parts;
  }

  /** Lets somebody look who may. @throws KedgeError `INTENT_FORBIDDEN` */
  mayLook({ tier, channel }: Caller, action: 'intent.read' | 'intent.check' = 'intent.read'): void {
    const denied = this.#denied(action, { principal: '', tier, channel });
    if (denied !== undefined) throw thrownRefusal(forbidden(action, denied.reason));
  }

  /** Whoever may have it done, and may be recorded, by whom it is done then; everybody else with the refusal. */
  async admit(
    action: Action,
    principal: string,
    { tier, channel }: Caller,
  ): Promise<{ readonly by: Holder } | { readonly refusal: IntentRefusalMessage }> {
    const { log, records, changes, clock, board } = this.#parts;
    if (!/^[^\p{Cc}\p{Cs}]{1,128}$/u.test(principal)) {
      const wrong = wrongField('principal', '1 to 128 characters without control characters, "user:ada"');
      return { refusal: refusalMessage(wrong) };
    }
    const by: Holder = { principal, tier, channel };
    const denied = this.#denied(action, by);
    if (denied !== undefined) {
      records.put(changes.denied({ by, action, ...denied }, momentOf(clock), postureOf(board)));
      log.warn({ ...by, action, rule: denied.rule }, 'a request about the intent was denied');
      return { refusal: refusalMessage(forbidden(action, denied.reason), denied.rule) };
    }
    try {
      if (RECORDED.includes(action)) await records.ready();
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      return { refusal: refusalMessage(unrecorded(error.code)) };
    }
    return { by };
  }

  /** Records that a remedy was refused to somebody whom the policies had let in. @param what was to be remedied. */
  remedyRefused(by: Holder, what: string, refused: IntentRefusal): IntentRefusalMessage {
    const { log, records, changes, clock, board } = this.#parts;
    records.put(changes.remedyRefused({ by, what, refusal: refused }, momentOf(clock), postureOf(board)));
    log.warn({ ...by, what, code: refused.code }, 'a remedy was refused');
    return refusalMessage(refused);
  }

  #denied(
    action: Action,
    { principal, tier, channel }: Holder,
  ): { rule: string; reason: string } | undefined {
    const { policies, clock, board } = this.#parts;
    const { level, epoch } = postureOf(board);
    const answer = policies.authoriser.decide({
      principal,
      tier,
      channel,
      action,
      resource: RESOURCE,
      level,
      epoch,
      // The console directory counts as a fresh second factor until there is one.
      mfaAge: channel === 'console' ? millisOf(0) : undefined,
      address: undefined,
      at: nanosOf(clock.monotonicNs()),
      wallMs: clock.wallMs(),
      breakGlass: false,
    });
    return answer.allow ? undefined : { rule: answer.rule, reason: answer.reason };
  }
}

function forbidden(action: Action, reason: string): IntentRefusal {
  return refusal({
    code: 'INTENT_FORBIDDEN',
    message: `${action} is not allowed: ${reason}`,
    expected: 'what the policies permit',
    help: 'kedge authz explain says which policy; another way in: --as',
  });
}

function unrecorded(code: string): IntentRefusal {
  return refusal({
    code: 'INTENT_UNRECORDED',
    message: `cannot change the intent: it could not be recorded (${code})`,
    help: 'see whether the ledger runs and the disk has room',
  });
}

/** Now, by both clocks. */
export function momentOf(clock: Clock): Moment {
  return { ns: nanosOf(clock.monotonicNs()), wallMs: clock.wallMs() };
}

/** The posture that is obeyed here: the strictest of what is in force and where a transition goes. */
export function postureOf(board: Pick<PostureBoard, 'snapshot'>): Posture {
  const { word, gateLevel } = board.snapshot();
  return { level: gateLevel, epoch: word.epoch };
}

/**
 * Who may ask the intent for what: policies decide, and who is not let in is told why and recorded (PO-5).
 * It must not hold a rule of its own, nor do what is asked.
 */
import { gateViewOf, type IntentRefusalMessage, type PostureBoard } from '@kedge/bus';
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
  readonly socket: string;
}

/** What the authority is given; all of it stays its caller's. */
export interface AuthorityParts {
  /** The socket by which one only looks, whatever the policies say of its tier: many can open it. */
  readonly lookingSocket: string;
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

/** Why somebody is not let in. */
interface Denial {
  readonly rule: string;
  readonly reason: string;
  readonly refusal: IntentRefusal;
}

/** Lets in by the way in and the policies. */
export class IntentAuthority {
  readonly #parts: AuthorityParts;

  constructor(parts: AuthorityParts) {
    this.#parts = parts;
  }

  /** Lets somebody look who may. @throws KedgeError `INTENT_FORBIDDEN`, `INTENT_WAY` */
  mayLook(caller: Caller, action: 'intent.read' | 'intent.check' = 'intent.read'): void {
    const denied = this.#denied(action, '', caller);
    if (denied !== undefined) throw thrownRefusal(denied.refusal);
  }

  /** Whoever may have it done, and may be recorded, by whom it is done then; everybody else with the refusal. */
  async admit(
    action: Action,
    principal: string,
    caller: Caller,
  ): Promise<{ readonly by: Holder } | { readonly refusal: IntentRefusalMessage }> {
    const { log, records, changes, clock, board } = this.#parts;
    if (!/^[^\p{Cc}\p{Cs}]{1,128}$/u.test(principal)) {
      const wrong = wrongField('principal', '1 to 128 characters without control characters, "user:ada"');
      return { refusal: refusalMessage(wrong) };
    }
    const { tier, channel } = caller;
    const by: Holder = { principal, tier, channel };
    const denied = this.#denied(action, principal, caller);
    if (denied !== undefined) {
      const { rule, reason } = denied;
      records.put(changes.denied({ by, action, rule, reason }, momentOf(clock), postureOf(board)));
      log.warn({ ...by, action, rule }, 'a request about the intent was denied');
      return { refusal: refusalMessage(denied.refusal, rule) };
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

  #denied(action: Action, principal: string, { tier, channel, socket }: Caller): Denial | undefined {
    const { lookingSocket, policies, clock, board } = this.#parts;
    if (socket === lookingSocket && action !== 'intent.read') return onlyLooks(action);
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
    if (answer.allow) return undefined;
    const { rule, reason } = answer;
    return { rule, reason, refusal: forbidden(action, reason) };
  }
}

function onlyLooks(action: Action): Denial {
  const message = `${action} is not taken by the socket of the appliance's own services: by it one only looks`;
  return {
    rule: 'authority-by-the-way-in',
    reason: message,
    refusal: refusal({
      code: 'INTENT_WAY',
      message,
      expected: 'a socket of a channel and tier: console/intent, local/TIER/intent',
      help: 'kedge intent finds one by itself, or takes it by --as',
    }),
  };
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

/**
 * The posture that is obeyed here: the strictest of what is in force and where a transition goes, and the epoch that
 * gates give permits of.
 */
export function postureOf(board: Pick<PostureBoard, 'snapshot'>): Posture {
  const snapshot = board.snapshot();
  const { word, gateLevel } = snapshot;
  // The level is that of all paths: intent is brought to more than one.
  return { level: gateLevel, epoch: gateViewOf(snapshot, 'underlay')?.epoch ?? word.epoch };
}

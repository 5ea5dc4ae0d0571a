/**
 * Where every request for a level comes in, whichever way it came: checked field by field, known by its key, asked.
 * It must not decide about the posture, nor know ways in.
 */
import type { AccordDocuments, ReloadAccordsRequest, SetReply, SetRequest } from '@kedge/bus';
import type { Channel, Tier } from '@kedge/contracts';
import { accordsChange, type RefusalAnswer, type Reply, type Source } from '@kedge/posture';
import { KedgeError } from '@kedge/units';

import { offeredOf } from './accord-store.js';
import type { Accords } from './accords.js';
import { type IdempotencyStore, type RequestIdentity, identityOf } from './idempotency.js';
import { setReplyOf } from './posture-view.js';
import { recordable, type WellFormed, wellFormed } from './set-request.js';
import type { TransitionDriver } from './transition-driver.js';

/** Set calls of one way in that may be unanswered at once; no flood of one makes another wait. */
const OPEN_SETS_MAX = 64;

const REPLAYED: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_REPLAYED',
  message: 'cannot change the posture: the idempotency key belongs to another request',
  field: 'idempotency_key',
  expected: 'a key of its own for every request',
  rule: 'one-request-per-key',
};
const BUSY: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_BUSY',
  message: 'cannot take the request: too many are unanswered',
  expected: `at most ${OPEN_SETS_MAX}`,
  help: 'ask again in a moment',
};

/** Where documents of a request stand, for people. */
const IN_REQUEST: AccordDocuments = { accords: 'the request', zones: 'the request' };

const NO_ACCORDS: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_ACCORDS_NOT_KEPT',
  message: 'cannot reload the accords: this coordinator keeps none in force',
  expected:
    'accords, zones and accordsInForce in its configuration, and accords that could be used at its start',
  help: 'the alarms of kedge posture get say what is wrong with them',
};

const CALLER_GONE: RefusalAnswer = {
  kind: 'refusal',
  code: 'POSTURE_CALLER_GONE',
  message: 'cannot reload the accords: whoever asked waited no more when their turn came',
  expected: 'somebody who waits for the answer',
  help: 'ask again, and wait longer',
  rule: 'nobody-waits',
};

/** @param behind what does not use the tables, never empty. */
function notPublished(behind: readonly string[]): RefusalAnswer {
  return {
    kind: 'refusal',
    code: 'ACCORD_NOT_PUBLISHED',
    message: `cannot reload the accords: the data plane does not use them in time, ${behind[0] ?? 'nobody says why'}`,
    expected: 'every worker of every data plane at the tables of these accords before they are decided',
    help: 'nothing changed: look at the bridge and ask again',
    rule: 'tables-before-epoch',
  };
}

/** How a request came, as proven by the way in (PO-3). */
export interface WayIn {
  readonly channel: Channel;
  readonly tier: Tier;
  readonly receivedAtNs: bigint;
  /** Set where channel and tier are of somebody whom the intent asks for. */
  readonly onBehalf?: NonNullable<Source['onBehalf']>;
}

export interface DeskParts {
  readonly driver: TransitionDriver;
  readonly idempotency: IdempotencyStore;
  readonly accords: Accords | undefined;
}

/** One per process. */
export class RequestDesk {
  readonly #parts: DeskParts;
  readonly #troubles = new Map<string, string>();
  /** The reload that came last: one after the other, so that each is compared with what is in force. */
  #reloading: Promise<unknown> = Promise.resolve();
  /** By way in. */
  readonly #open = new Map<string, number>();

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** Asks for a level. A tightening is in force before this returns; the promise is the durable answer. */
  async ask(request: SetRequest, { channel, tier, receivedAtNs }: WayIn): Promise<Reply> {
    const { driver, idempotency } = this.#parts;
    const refuse = (refusal: RefusalAnswer): Reply => {
      this.refuse(request, { channel, tier, receivedAtNs }, refusal);
      return refusal;
    };
    const asked = wellFormed(request);
    if ('kind' in asked) return refuse(asked);
    const identity = identityOf(channel, tier, asked);
    const known = idempotency.lookUp(identity);
    if (known.kind === 'replayed') return refuse(REPLAYED);
    if (known.kind === 'same') return await known.reply;
    const { level, reason, principal, ifEpoch } = asked;
    // A tightening is never turned away for being one of many.
    const open = this.#open.get(identity.way) ?? 0;
    if (open >= OPEN_SETS_MAX && level >= driver.machine.last.to) return refuse(BUSY);
    this.#open.set(identity.way, open + 1);
    try {
      const reply = driver.request(
        {
          source: { channel, tier, principal, reason },
          level,
          receivedAtNs,
          ...(ifEpoch === undefined ? {} : { ifEpoch }),
        },
        identity,
      );
      idempotency.remember(identity, reply);
      return await reply;
    } finally {
      this.#open.set(identity.way, (this.#open.get(identity.way) ?? 1) - 1);
    }
  }

  /**
   * Asks for the accords that the request gives, or that the configured files hold (PO-2); the promise is the durable
   * answer.
   *
   * @param way by {@link wayOfReload}.
   * @param given aborts when the caller waits no more: what is not decided by then is not.
   */
  async reloadAccords(request: ReloadAccordsRequest, way: WayIn, given: AbortSignal): Promise<Reply> {
    const { driver, idempotency } = this.#parts;
    const { to: level } = driver.machine.last;
    const refuse = (refusal: RefusalAnswer): Reply => {
      this.refuseReload(request, way, refusal);
      return refusal;
    };
    const asked = wellFormed({ ...request, level });
    if ('kind' in asked) return refuse(asked);
    // Not the level: the same key stays the same request when that changes.
    const identity = identityOf(way.channel, way.tier, { ...asked, level: 0, documents: request.documents });
    const known = idempotency.lookUp(identity);
    if (known.kind === 'replayed') return refuse(REPLAYED);
    if (known.kind === 'same') return await known.reply;
    const open = this.#open.get(identity.way) ?? 0;
    if (open >= OPEN_SETS_MAX) return refuse(BUSY);
    this.#open.set(identity.way, open + 1);
    try {
      const reply = this.#reloading.then(() => this.#reload(asked, request.documents, identity, way, given));
      this.#reloading = reply.catch(() => undefined);
      idempotency.remember(identity, reply);
      return await reply;
    } finally {
      this.#open.set(identity.way, (this.#open.get(identity.way) ?? 1) - 1);
    }
  }

  async #reload(
    asked: WellFormed,
    documents: AccordDocuments | undefined,
    identity: RequestIdentity,
    way: WayIn,
    given: AbortSignal,
  ): Promise<Reply> {
    const { driver, accords } = this.#parts;
    const refuse = (refusal: RefusalAnswer): Reply => {
      this.refuseReload(asked, way, refusal);
      return refusal;
    };
    if (accords === undefined) return refuse(NO_ACCORDS);
    if (given.aborted) return refuse(CALLER_GONE);
    let letGo: (() => void) | undefined;
    try {
      const offered = documents === undefined ? await accords.offered() : offeredOf(documents, IN_REQUEST);
      const to = { set: offered.set, hash: offered.hash };
      letGo = accords.hold(to);
      const { reason, principal, ifEpoch } = asked;
      const { receivedAtNs, ...by } = way;
      const request = {
        source: { ...by, principal, reason },
        receivedAtNs,
        ...(ifEpoch === undefined ? {} : { ifEpoch }),
      };
      if (accords.inForce.hash !== to.hash) await accords.keep(offered);
      if (accordsChange(accords.inForce.set, to.set).direction === 'tighter') {
        const obstacle = driver.tighteningObstacle(request);
        if (obstacle !== undefined) return refuse(obstacle);
        const behind = await accords.prepare(to, () => driver.boardNow(), given);
        if (behind.length > 0) {
          accords.withdraw();
          return refuse(given.aborted ? CALLER_GONE : notPublished(behind));
        }
      }
      if (given.aborted) {
        accords.withdraw();
        return refuse(CALLER_GONE);
      }
      return await driver.changeAccords(request, accords, to, identity);
    } catch (error) {
      accords.withdraw();
      return refuse(refusalOf(error));
    } finally {
      letGo?.();
    }
  }

  /** Records that a reload was refused (PO-5). */
  refuseReload(
    { principal, reason }: { readonly principal: unknown; readonly reason: unknown },
    { channel, tier, receivedAtNs, onBehalf }: WayIn,
    refusal: RefusalAnswer,
  ): void {
    const { driver } = this.#parts;
    driver.recordRefusal(
      {
        source: {
          channel,
          tier,
          principal: recordable(principal, 128),
          reason: recordable(reason, 512),
          ...(onBehalf === undefined ? {} : { onBehalf }),
        },
        level: driver.machine.last.to,
        receivedAtNs,
      },
      refusal,
      'governance.reload',
    );
  }

  /** Records a refusal of something that never came to be a request (PO-5). */
  refuse(
    { principal, level }: Pick<SetRequest, 'principal' | 'level'>,
    { channel, tier, receivedAtNs }: WayIn,
    refusal: RefusalAnswer,
  ): void {
    this.#parts.driver.recordRefusal(
      { source: { channel, tier, principal: recordable(principal, 128), reason: '' }, level, receivedAtNs },
      refusal,
    );
  }

  /** What is wrong with a source of requests now; undefined = nothing any more. Shown among the alarms. */
  trouble(source: string, sentence: string | undefined): void {
    if (this.#troubles.get(source) === sentence) return;
    if (sentence === undefined) this.#troubles.delete(source);
    else this.#troubles.set(source, sentence);
    this.#parts.driver.emit('changed');
  }

  /** Every trouble that stands. */
  get troubles(): readonly string[] {
    return [...this.#troubles.values()];
  }

  /** An answer as the local API gives it. */
  replyOf(reply: Reply, receivedAtNs: bigint): SetReply {
    const report = reply.kind === 'decision' ? this.#parts.driver.report(reply.epoch) : undefined;
    return setReplyOf(reply, {
      receivedAtNs: report?.receivedAtNs ?? receivedAtNs,
      decidedAtNs: report?.decidedAtNs ?? 0n,
    });
  }
}

/** Accords that cannot be used, by path and reason. */
function refusalOf(error: unknown): RefusalAnswer {
  if (!(error instanceof KedgeError))
    return {
      kind: 'refusal',
      code: 'POSTURE_ACCORDS_NOT_KEPT',
      message: 'cannot reload the accords: their copy cannot be written',
      expected: 'storage that takes a copy of them',
      help: 'look at the disk under the directory of the accords in force',
    };
  const { code, message, field, expected, help } = error;
  return {
    kind: 'refusal',
    code,
    message,
    ...(field === undefined ? {} : { field }),
    ...(expected === undefined ? {} : { expected }),
    ...(help === undefined ? {} : { help }),
    rule: 'valid-accords',
  };
}

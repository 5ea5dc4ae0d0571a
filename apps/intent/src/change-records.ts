/**
 * What became of the intent, and who was not let at it, as records of the ledger.
 * It must not decide anything, nor say more of a revision than the revision does.
 */
import { type Action, type AuthorisationDecision, type IntentChange, lineOf } from '@kedge/contracts';
import {
  type Fact,
  type Holder,
  type IntentRefusal,
  isSameHolder,
  type Moment,
  type Posture,
  type Revision,
} from '@kedge/datastores';

/** Where records are made. */
export interface RecordPlace {
  readonly appliance: string;
  /** Which boot this is, for ids of what may happen more than once. */
  readonly bootId: string;
}

/** Who was refused by a policy, and what. */
export interface Denied {
  readonly by: Holder;
  readonly action: Action;
  readonly rule: string;
  readonly reason: string;
}

/** Who was let in and refused all the same, and what was to be remedied. */
export interface RemedyRefused {
  readonly by: Holder;
  readonly what: string;
  readonly refusal: IntentRefusal;
}

const NOTHING = {
  request: null,
  principal: '',
  tier: null,
  channel: null,
  revision: null,
  was: null,
  of: null,
  revisionId: null,
  documentSha256: null,
  confirmSeconds: null,
  comment: '',
  failure: null,
} as const;

/** Makes records. */
export class ChangeRecords {
  readonly #place: RecordPlace;
  #count = 0;

  constructor(place: RecordPlace) {
    this.#place = place;
  }

  /** The record of a fact. That of a revision follows from the revision alone: said twice it is one. */
  of(fact: Fact, at: Moment, posture: Posture): IntentChange {
    switch (fact.fact) {
      case 'running': {
        const { revision, was } = fact;
        const { number, id, level, epoch, cause, by, of, confirmSeconds, comment, atMs, atNs, hash } =
          revision;
        return {
          ...this.#head(`revision-${number}-${id.slice(0, 16)}`, atMs, epoch),
          ...NOTHING,
          kind: cause === 'initial' ? 'commit' : cause,
          ...(by ?? {}),
          level,
          revision: number,
          was,
          of,
          revisionId: id,
          documentSha256: hash,
          confirmSeconds,
          comment,
          happenedAtNs: atNs,
        };
      }
      case 'confirmed':
        return { ...this.#now(at, posture), kind: 'confirmed', ...fact.by, ...aboutRevision(fact.revision) };
      case 'extended':
        return {
          ...this.#now(at, posture),
          kind: 'extended',
          ...fact.by,
          ...aboutRevision(fact.revision),
          confirmSeconds: fact.seconds,
        };
      case 'waiting':
        return { ...this.#now(at, posture), kind: 'waiting', ...aboutRevision(fact.revision) };
      case 'lock-broken': {
        const { by, was } = fact;
        const whose = isSameHolder(by, was.by)
          ? ''
          : `was locked by ${was.by.principal} (${was.by.tier}, ${was.by.channel})`;
        return { ...this.#now(at, posture), kind: 'lock-broken', ...by, comment: lineOf(whose, 500) };
      }
      case 'refused': {
        const { request, by, comment, revision, refusal } = fact;
        const isRecorded = ['commit', 'rollback', 'confirm', 'cancel', 'unlock'].includes(request);
        return {
          ...this.#now(at, posture),
          kind: 'refused',
          request: isRecorded ? (request as NonNullable<IntentChange['request']>) : null,
          ...by,
          revision: revision !== null && revision >= 1 && revision <= 4_294_967_295 ? revision : null,
          comment: lineOf(comment, 512),
          failure: { code: refusal.code, message: lineOf(refusal.message, 500) },
        };
      }
    }
  }

  /** The record of a remedy that the devices' keeper refused (PO-5). */
  remedyRefused({ by, what, refusal }: RemedyRefused, at: Moment, posture: Posture): IntentChange {
    return {
      ...this.#now(at, posture),
      kind: 'refused',
      request: 'remedy',
      ...by,
      comment: lineOf(what, 512),
      failure: { code: refusal.code, message: lineOf(refusal.message, 500) },
    };
  }

  /** The record of a policy's refusal (PO-5). */
  denied({ by, action, rule, reason }: Denied, at: Moment, { level, epoch }: Posture): AuthorisationDecision {
    this.#count += 1;
    const { appliance } = this.#place;
    return {
      schema: 'kedge.authorisation-decision/1',
      id: `authorisation-decision/${appliance}/${this.#boot}/intent/${String(at.ns)}-${String(this.#count)}`,
      appliance,
      at: new Date(at.wallMs).toISOString(),
      epoch: String(epoch),
      allow: false,
      rule: rule.slice(0, 64),
      reason: lineOf(reason, 500),
      ...by,
      action,
      resource: RESOURCE,
      level,
      askedAtNs: String(at.ns),
    };
  }

  get #boot(): string {
    return this.#place.bootId.slice(0, 8);
  }

  #head(id: string, atMs: number, epoch: string) {
    const { appliance } = this.#place;
    return {
      schema: 'kedge.intent-change/1',
      id: `intent-change/${appliance}/${id}`,
      appliance,
      at: new Date(atMs).toISOString(),
      epoch,
    } as const;
  }

  #now(at: Moment, { level, epoch }: Posture) {
    this.#count += 1;
    return {
      ...this.#head(`${this.#boot}/${String(at.ns)}-${String(this.#count)}`, at.wallMs, String(epoch)),
      ...NOTHING,
      level,
      happenedAtNs: String(at.ns),
    };
  }
}

/** What requests about the intent are asked of. */
export const RESOURCE = 'intent';

function aboutRevision({ number, id, hash, of, confirmSeconds }: Revision) {
  return { revision: number, revisionId: id, documentSha256: hash, of, confirmSeconds };
}

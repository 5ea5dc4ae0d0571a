/**
 * The answers of the gate as records: who asked for what, whether they may, and by which rule (PO-5).
 * It must not decide anything.
 */
import { type Action, type AuthorisationDecision, type Channel, lineOf, type Tier } from '@kedge/contracts';
import type { Clock, Epoch, Level } from '@kedge/units';

/** Who asked, and for what. */
export interface Asked {
  readonly action: Action;
  /** As claimed; empty where none was understood. */
  readonly principal: string;
  readonly tier: Tier;
  readonly channel: Channel;
  readonly resource: string;
}

/** What they were told. */
export interface Told {
  readonly allow: boolean;
  readonly rule: string;
  /** Empty where allowed. */
  readonly reason: string;
  readonly epoch: Epoch | bigint;
  readonly level: Level;
}

/** Makes records of answers. */
export class Decisions {
  readonly #appliance: string;
  readonly #bootId: string;
  readonly #clock: Clock;
  #count = 0;

  constructor(appliance: string, bootId: string, clock: Clock) {
    this.#appliance = appliance;
    this.#bootId = bootId;
    this.#clock = clock;
  }

  recordOf({ principal, ...asked }: Asked, { reason, rule, epoch, ...told }: Told): AuthorisationDecision {
    const atNs = this.#clock.monotonicNs();
    this.#count += 1;
    const place = `${this.#appliance}/${this.#bootId.slice(0, 8)}`;
    return {
      schema: 'kedge.authorisation-decision/1',
      id: `authorisation-decision/${place}/underlay/${String(atNs)}-${String(this.#count)}`,
      appliance: this.#appliance,
      at: new Date(this.#clock.wallMs()).toISOString(),
      epoch: String(epoch),
      ...asked,
      ...told,
      rule: rule.slice(0, 64),
      reason: lineOf(reason, 512),
      principal: lineOf(principal, 128),
      askedAtNs: String(atNs),
    };
  }
}

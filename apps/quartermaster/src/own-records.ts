/**
 * What the quartermaster records about itself: who was refused, and who exported or erased what.
 * It must not decide any of it, and keeps no more waiting than a bound.
 */
import type { CallAuthority } from '@kedge/runtime';
import { type AuthorisationDecision, lineOf } from '@kedge/contracts';
import type { LedgerStore } from '@kedge/ledger-store';
import type { Clock, Level } from '@kedge/units';

import type { LedgerAction } from './access.js';
import type { QuartermasterLog } from './log.js';

/** Refusals that may wait for the store at once. */
const PENDING_MAX = 256;

/** Who asked, as the socket proves it. */
export type Asker = Pick<CallAuthority, 'tier' | 'channel'>;

/** What was decided. */
export interface OwnDecision {
  readonly allow: boolean;
  readonly rule: string;
  readonly reason: string;
  readonly principal: string;
  readonly action: LedgerAction;
  readonly resource: string;
}

/** What the records are made with. */
export interface OwnRecordParts {
  readonly appliance: string;
  readonly store: Pick<LedgerStore, 'append'>;
  readonly clock: Clock;
  /** The posture that a record belongs to. */
  readonly posture: () => { readonly epoch: bigint; readonly level: Level };
  readonly log: QuartermasterLog;
}

/** Records of the quartermaster's own decisions. */
export class OwnRecords {
  readonly #parts: OwnRecordParts;
  #pending = 0;
  #lost = 0;
  #number = 0;

  constructor(parts: OwnRecordParts) {
    this.#parts = parts;
  }

  /** Refusals that were not recorded. */
  get lost(): number {
    return this.#lost;
  }

  /** Resolves when it is durable. @throws KedgeError as the store does */
  async keep(asker: Asker, decision: OwnDecision): Promise<void> {
    await this.#parts.store.append(this.#recordOf(asker, decision));
  }

  /** Nobody waits for it; what could not be recorded is counted. */
  put(asker: Asker, decision: OwnDecision): void {
    if (this.#pending >= PENDING_MAX) {
      this.#lost += 1;
      return;
    }
    this.#pending += 1;
    this.keep(asker, decision)
      .catch((error: unknown) => {
        this.#lost += 1;
        this.#parts.log.warn({ err: error }, 'a refusal could not be recorded');
      })
      .finally(() => {
        this.#pending -= 1;
      });
  }

  #recordOf({ tier, channel }: Asker, decision: OwnDecision): AuthorisationDecision {
    const { appliance, clock, posture } = this.#parts;
    const { epoch, level } = posture();
    const [wallMs, askedAtNs] = [clock.wallMs(), clock.monotonicNs()];
    this.#number += 1;
    return {
      schema: 'kedge.authorisation-decision/1',
      id: `authorisation-decision/${appliance}/ledger/${wallMs}-${askedAtNs}-${this.#number}`,
      appliance,
      at: new Date(wallMs).toISOString(),
      epoch: String(epoch),
      ...decision,
      reason: lineOf(decision.reason, 512),
      principal: lineOf(decision.principal, 128),
      resource: lineOf(decision.resource, 128),
      tier,
      channel,
      level,
      askedAtNs: String(askedAtNs),
    };
  }
}

/**
 * The keeper of the one gate: who may pass it at the posture in force, and what is recorded of that. Routes and devices
 * share it.
 * It must not write to the network, nor know what is written under a permit.
 */
import { bindingOf, type GateRefusal, gateViewOf, mayFollow, type PostureBoard } from '@kedge/bus';
import type {
  Action,
  AuthorisationDecision,
  Authoriser,
  LedgerRecord,
  Mutation,
  Permit,
  Refusal,
} from '@kedge/contracts';
import { TIERS } from '@kedge/contracts';
import type { Outbox } from '@kedge/ledger-link';
import { isTrustedAs } from '@kedge/posture';
import { failureOf, type GateRule, type GateView, PostureGate } from '@kedge/reconcile';
import type { PathAccords } from '@kedge/route-set';
import {
  type Clock,
  type Epoch,
  EPOCH_NONE,
  type Level,
  LOCKDOWN,
  millisFromNanos,
  millisOf,
  nanosFromMillis,
  nanosOf,
} from '@kedge/units';

import { Decisions } from './decisions.js';

/** What the keeper is given; all of it stays its caller's. */
export interface GateParts {
  readonly config: { readonly appliance: string; readonly budgetMs: number };
  readonly board: PostureBoard;
  readonly accords: PathAccords;
  /** By what requests are decided, and what is to be known of it. */
  readonly policies: { readonly authoriser: Authoriser; readonly alarm: string | undefined };
  readonly records: Outbox;
  /** Which boot this is, for ids of records. */
  readonly bootId: string;
  readonly clock: Clock;
}

/** What somebody is told who was not let through. */
export type Said = Pick<GateRefusal, 'code' | 'message'> & Partial<GateRefusal>;

/** Who asks, as claimed and as proven, and about what: `routes/NAME`, `device/NAME`. */
export type Asking = Pick<Mutation, 'principal' | 'tier' | 'channel' | 'target'>;

const GATE_EVENTS = [
  'posture.decided',
  'posture.changed',
  'failclosed.set',
  'failclosed.cleared',
  'board.lost',
] as const;

/** Of a path's budget, in percent: after it nothing is written any more under an older permit. */
const WRITING_PERCENT = 70n;
/** Mutations that are named as those whose outcome is not recorded, the last ones; more are counted. */
const MOST_NAMED = 8;

/** See the head of the file; at work once it is made. `close` once. */
export class GateKeeper {
  readonly #parts: GateParts;
  readonly #decisions: Decisions;
  readonly #settle: () => void;
  #outcomesLost = 0;
  readonly #lostLast: string[] = [];
  /** The gate itself. */
  readonly gate: PostureGate;

  constructor(parts: GateParts) {
    const { config, board, accords, clock, bootId } = parts;
    this.#parts = parts;
    this.#decisions = new Decisions(config.appliance, bootId, clock);
    this.gate = new PostureGate({
      view: () => gateViewOf(board.snapshot(), 'underlay'),
      ruleOf: (level) => this.ruleOf(level),
      nowNs: () => clock.monotonicNs(),
    });
    this.#settle = () => {
      if (mayFollow(bindingOf(board.snapshot(), 'underlay'))) accords.follow();
      this.gate.settle();
    };
    for (const event of GATE_EVENTS) board.on(event, this.#settle);
  }

  /** Epoch and level that the gate obeys; a board that cannot be read counts as lockdown. */
  standing(): GateView {
    return this.gate.settle() ?? { epoch: EPOCH_NONE, level: LOCKDOWN };
  }

  /** What the accords say of mutations at a level. */
  ruleOf(level: Level): GateRule {
    const { gate, executeTier } = this.#parts.accords.levels[level].underlay;
    return {
      mode: gate,
      tiers: executeTier === undefined ? [] : TIERS.filter((tier) => isTrustedAs(tier, executeTier)),
    };
  }

  /** Why the policies do not let somebody ask for this at all; undefined where they do. */
  denied(action: Action, { principal, tier, channel, target }: Asking): GateRefusal | undefined {
    const { policies, clock } = this.#parts;
    const view = this.gate.settle();
    if (view === undefined) return undefined;
    const answer = policies.authoriser.decide({
      principal,
      tier,
      channel,
      action,
      resource: target,
      level: view.level,
      epoch: view.epoch,
      // The console directory counts as a fresh second factor until there is one.
      mfaAge: channel === 'console' ? millisOf(0) : undefined,
      address: undefined,
      at: nanosOf(clock.monotonicNs()),
      wallMs: clock.wallMs(),
      breakGlass: false,
    });
    if (answer.allow) return undefined;
    return refusalOf({ code: 'UNDERLAY_NOT_AUTHORISED', message: answer.reason, rule: answer.rule, ...view });
  }

  /** Records, without waiting, that somebody was let through. */
  recordAllowed(action: Action, asking: Asking): void {
    this.#parts.records.put(this.#permitRecord(action, asking));
  }

  /** Records, without waiting, that somebody was refused (PO-5). */
  recordRefused(
    action: Action,
    { principal, tier, channel, target }: Asking,
    { code, rule, message }: Pick<GateRefusal, 'code' | 'rule' | 'message'>,
  ): void {
    const { epoch, level } = this.standing();
    this.#parts.records.put(
      this.#decisions.recordOf(
        { action, principal, tier, channel, resource: target },
        { allow: false, rule: rule === '' ? code : rule, reason: message, epoch, level },
      ),
    );
  }

  /**
   * The permit on the disk, before anything is written under it (UN-13); why it is not there. A posture that changes
   * meanwhile is not held up by the disk.
   */
  async recordPermit(mutation: Mutation, { signal }: Permit): Promise<Said | undefined> {
    let leave: () => void = () => undefined;
    const aborted = new Promise<Said>((resolve) => {
      leave = () => {
        resolve(shut(mutation));
      };
      if (signal.aborted) leave();
      else signal.addEventListener('abort', leave);
    });
    const { records } = this.#parts;
    const record = this.#permitRecord('mutation.execute', mutation);
    const kept = records.append(record).then(
      () => undefined,
      (error: unknown) => {
        if (!this.#mayGoUnrecorded()) return unrecorded(mutation, failureOf(error).code);
        // The accord lets it go on (LE-5). That its record is lost is counted, and an alarm.
        records.put(record);
        return undefined;
      },
    );
    try {
      return await Promise.race([kept, aborted]);
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /**
   * What became of a mutation on the disk, before it is said (UN-13); what is to be said where it is not there. It is an
   * alarm then, also where the accord of the level lets changes go on without.
   */
  async recordOutcome(
    { id }: Pick<Mutation, 'id'>,
    outcome: Iterable<LedgerRecord | undefined>,
  ): Promise<Said | undefined> {
    if (await this.#parts.records.keep(outcome)) return undefined;
    this.#outcomesLost += 1;
    this.#lostLast.push(id);
    if (this.#lostLast.length > MOST_NAMED) this.#lostLast.shift();
    return this.#mayGoUnrecorded() ? undefined : outcomeUnrecorded(id);
  }

  /** What somebody has to look after. */
  get alarms(): readonly string[] {
    if (this.#outcomesLost === 0) return [];
    const more = this.#outcomesLost - this.#lostLast.length;
    const others = more === 0 ? '' : ` and of ${String(more)} before`;
    return [`what became of ${this.#lostLast.join(', ')}${others} is not recorded`];
  }

  /** Whether the accord of the level lets changes go on without records (LE-5). */
  #mayGoUnrecorded(): boolean {
    return this.#parts.accords.levels[this.standing().level].unrecordedChanges === true;
  }

  /**
   * For how many milliseconds something may still be written to take back what a posture that has changed now made
   * void. The rest of the budget is for everything else that the path has to do (UN-14).
   */
  msLeftToUndo(): number {
    const { board, clock, config } = this.#parts;
    const { budgetFromNs, budgetNs } = bindingOf(board.snapshot(), 'underlay');
    const now = clock.monotonicNs();
    const budget = budgetNs ?? nanosFromMillis(config.budgetMs);
    // A budget that was over before anything happened is that of another transition.
    const from = budgetFromNs !== undefined && budgetFromNs + budget > now ? budgetFromNs : now;
    const left = from + (budget * WRITING_PERCENT) / 100n - now;
    return left > 0n ? millisFromNanos(nanosOf(left)) : 0;
  }

  /** Every permit ends, and none is given any more. */
  close(): void {
    for (const event of GATE_EVENTS) this.#parts.board.off(event, this.#settle);
    this.gate.close();
  }

  #permitRecord(action: Action, { principal, tier, channel, target }: Asking): AuthorisationDecision {
    const { epoch, level }: { readonly epoch: Epoch; readonly level: Level } = this.standing();
    return this.#decisions.recordOf(
      { action, principal, tier, channel, resource: target },
      { allow: true, rule: `gate-${this.ruleOf(level).mode}`, reason: '', epoch, level },
    );
  }
}

/** A refusal with all its fields. */
export function refusalOf(said: Said | Refusal): GateRefusal {
  const {
    code,
    message,
    field = '',
    expected = '',
    help = '',
    rule = '',
    epoch = 0n,
    level = 0,
  } = said as Said;
  return { code, message, field, expected, help, rule, epoch, level };
}

/** The posture changed under a mutation. */
export function shut({ id }: Pick<Mutation, 'id'>): Said {
  return {
    code: 'GATE_SHUT',
    message: `cannot go on with ${id}: the posture changed, nothing of it was kept`,
    help: 'ask again under the new posture',
    rule: 'one-epoch-per-permit',
  };
}

function unrecorded({ id }: Pick<Mutation, 'id'>, code: string): Said {
  return {
    code: 'UNDERLAY_UNRECORDED',
    message: `cannot run ${id}: it could not be recorded (${code})`,
    help: 'see whether the ledger runs and the disk has room',
    rule: 'no-record-no-mutation',
  };
}

function outcomeUnrecorded(id: string): Said {
  return {
    code: 'UNDERLAY_OUTCOME_UNRECORDED',
    message: `${id} was let in and has come to its end, but that could not be recorded`,
    help: 'see whether the ledger runs and the disk has room; look at what is there now',
    rule: 'no-record-no-word',
  };
}

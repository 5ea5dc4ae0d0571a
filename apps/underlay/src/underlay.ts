/**
 * The underlay of an appliance: the gate that every mutation passes, and its first user, Kedge's routes in underlay
 * mode.
 * It must not write anything for anybody without a permit, and must not acknowledge an epoch while an older permit
 * is open.
 */
import {
  type AskReply,
  type AskRequest,
  type DesiredStore,
  type ExecuteReply,
  type ExecuteRequest,
  type GateRefusal,
  type HostedParticipant,
  type ListProposalsReply,
  type ListRoutesReply,
  type ListRoutesRequest,
  type ParticipantSlot,
  type PostureBoard,
  type ProposalReply,
  type ProposeRequest,
  type UnderlayStatusReply,
  type WithdrawRequest,
} from '@kedge/bus';
import type { Action, Channel, Mutation, Permit, Tier } from '@kedge/contracts';
import type { RecordedStep } from '@kedge/ledger';
import type { Outbox } from '@kedge/ledger-link';
import { gateAnswer, isTrustedAs } from '@kedge/posture';
import { failureOf, type PostureGate } from '@kedge/reconcile';
import {
  type ChangeFacts,
  changeOf,
  hostRoutes,
  MAX_CHANGED,
  type PathAccords,
  principalOf,
  type RouteChange,
  type RouteEdit,
  RouteRecords,
  RouteSet,
  type RouteSetOptions,
  settledWithin,
  statusOf,
  type TakenSection,
} from '@kedge/route-set';
import type { RouteSpec } from '@kedge/routes';
import { type Clock, KedgeError, type Level } from '@kedge/units';
import { randomUUID } from 'node:crypto';

import type { UnderlayConfig } from './config.js';
import type { Devices } from './devices.js';
import { type GateKeeper, refusalOf, type Said, shut } from './gate-keeper.js';
import { type KeptProposal, proposalMessageOf, Proposals, proposedChange } from './proposals.js';

/** What the underlay logs with. */
export interface UnderlayLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** What the underlay is given; all of it stays its caller's. */
export interface UnderlayParts {
  readonly config: UnderlayConfig;
  readonly board: PostureBoard;
  readonly slot: ParticipantSlot;
  readonly routes: DesiredStore<RouteSpec>;
  readonly proposals: DesiredStore<KeptProposal>;
  readonly accords: PathAccords;
  /** What is to be known of the policies by which requests are decided. */
  readonly policies: { readonly alarm: string | undefined };
  readonly keeper: GateKeeper;
  /** The other user of the gate, as far as it is told of here. */
  readonly devices: Pick<Devices, 'alarms' | 'figures' | 'items'>;
  readonly records: Outbox;
  /** Which boot this is, for ids of records. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly log: UnderlayLog;
  /** How `ip` is run; default: in the network namespace of this process. */
  readonly tools?: RouteSetOptions['tools'];
}

/** What is known of a caller by the socket that it came in by. */
export interface Caller {
  readonly tier: Tier;
  readonly channel: Channel;
  readonly signal: AbortSignal;
}

/** How long a change waits for the kernel before it is answered "not applied yet". */
const APPLY_WITHIN_MS = 5_000;
/** Mutations whose answers are remembered, so that the same id gets the same one. */
const MAX_ANSWERS = 1_024;
const LIMITS = { add: MAX_CHANGED, remove: MAX_CHANGED, all: MAX_CHANGED };
const NAMES = { add: 'change.add', remove: 'change.remove' };
const TARGET = 'routes/underlay';

interface Answered {
  readonly content: string;
  readonly reply: Promise<ExecuteReply>;
}

/** The underlay; at work once it is made. `close` once, after the gate was closed. */
export class Underlay {
  readonly #parts: UnderlayParts;
  readonly #keeper: GateKeeper;
  readonly #gate: PostureGate;
  readonly #routes: RouteSet;
  readonly #proposals: Proposals;
  readonly #host: HostedParticipant;
  readonly #answers = new Map<string, Answered>();
  /** The mutations that were let in so far, done or taken back; never rejects. No longer than there are permits. */
  #before: Promise<unknown> = Promise.resolve();
  readonly #records: RouteRecords;

  constructor(parts: UnderlayParts) {
    const { config, board, slot, accords, clock, log, tools, bootId, keeper, records: outbox } = parts;
    this.#parts = parts;
    this.#proposals = new Proposals(parts.proposals);
    this.#keeper = keeper;
    this.#gate = keeper.gate;
    this.#records = new RouteRecords({
      appliance: config.appliance,
      mode: 'underlay',
      bootId,
      clock,
      outbox,
      sections: () => [this.#devices()],
    });
    this.#routes = new RouteSet({
      mode: 'underlay',
      store: parts.routes,
      accords,
      log,
      records: this.#records,
      ...(tools === undefined ? {} : { tools }),
    });
    this.#host = hostRoutes(this.#routes, 'underlay', {
      board,
      slot,
      config,
      clock,
      log,
      acknowledgeable: (epoch, signal) => this.#gate.quiet(epoch, signal),
    });
  }

  /** Brought to the current posture (PO-19). */
  get serving(): boolean {
    return this.#host.serving;
  }

  beat(serving: boolean): void {
    this.#host.beat(serving);
  }

  status(): UnderlayStatusReply {
    const { policies, records, devices } = this.#parts;
    const hosted = this.#host.status();
    const view = this.#gate.settle();
    const { permits } = this.#gate;
    const status = statusOf(hosted, this.#routes);
    return {
      ...status,
      alarms: [
        ...status.alarms,
        ...(policies.alarm === undefined ? [] : [policies.alarm]),
        ...records.alarms,
        ...this.#keeper.alarms,
        ...devices.alarms,
      ],
      ...devices.figures,
      gate: view === undefined ? 'frozen' : this.#keeper.ruleOf(view.level).mode,
      epoch: view?.epoch ?? 0n,
      level: view?.level ?? 1,
      permits: permits.length,
      permitsOld:
        view === undefined ? permits.length : permits.filter(({ epoch }) => epoch < view.epoch).length,
      proposals: this.#proposals.all.length,
      appliedEpoch: hosted.standing?.epoch ?? 0n,
      appliedLevel: hosted.standing?.level ?? 0,
    };
  }

  /** @throws KedgeError `ROUTE_SET_REQUEST` */
  listRoutes(request: ListRoutesRequest): ListRoutesReply {
    const { epoch, level } = this.#host.status().wanted;
    return this.#routes.list(request, epoch, level);
  }

  /** @throws KedgeError `UNDERLAY_REQUEST` */
  ask({ kind }: AskRequest, caller: Caller): AskReply {
    const mutation = this.#mutation(`ask-${randomUUID()}`, 'ask', kindOf(kind), caller);
    const reply = this.#ask(mutation);
    if (reply.outcome === 'refusal') this.#keeper.recordRefused('mutation.execute', mutation, reply.refusal);
    else this.#keeper.recordAllowed('mutation.execute', mutation);
    return reply;
  }

  #ask(mutation: Mutation): AskReply {
    const denied = this.#keeper.denied('mutation.execute', mutation);
    if (denied !== undefined) return { outcome: 'refusal', refusal: denied };
    const answer = this.#gate.enter(mutation);
    if (!answer.granted) {
      this.#gate.withdraw(mutation.id);
      return { outcome: 'refusal', refusal: refusalOf(answer) };
    }
    const { level } = this.#gate.settle() ?? { level: 1 };
    answer.release();
    return { outcome: 'granted', granted: { epoch: answer.epoch, level } };
  }

  /**
   * A change under a permit. The same id again is the same mutation and gets the same answer.
   *
   * @throws KedgeError `UNDERLAY_REQUEST`, `ROUTES_SPEC`, `ROUTE_SET_REQUEST`, `ROUTE_SET_FULL`, `ROUTE_SET_DAMAGED`,
   *   `BUS_DESIRED_FAILED`
   */
  async execute(request: ExecuteRequest, caller: Caller): Promise<ExecuteReply> {
    const id = idOf(request.id);
    const content = JSON.stringify([caller.tier, caller.channel, request]);
    const known = this.#answers.get(id);
    if (known !== undefined) {
      if (known.content === content) return await known.reply;
      const reused = refused({
        code: 'UNDERLAY_ID_REUSED',
        message: `cannot run ${id}: another mutation had this id`,
        field: 'id',
        expected: 'an id of its own',
      });
      this.#keeper.recordRefused(
        'mutation.execute',
        { ...request, ...caller, target: TARGET },
        reused.refusal,
      );
      return reused;
    }
    const reply = this.#executed(request, caller);
    this.#answers.set(id, { content, reply });
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > MAX_ANSWERS && oldest !== undefined) this.#answers.delete(oldest);
    try {
      const answer = await reply;
      // Only what was done is done; who was refused may ask again under another posture.
      if (answer.outcome === 'refusal') this.#answers.delete(id);
      return answer;
    } catch (error) {
      this.#answers.delete(id);
      throw error;
    }
  }

  /** @throws KedgeError as {@link execute}; `UNDERLAY_PROPOSALS_FULL` */
  async propose(request: ProposeRequest, caller: Caller): Promise<ProposalReply> {
    const reply = await this.#propose(request, caller);
    const asked = { ...request, ...caller, target: TARGET };
    if (reply.outcome === 'refusal') this.#keeper.recordRefused('mutation.propose', asked, reply.refusal);
    else this.#keeper.recordAllowed('mutation.propose', asked);
    return reply;
  }

  async #propose(request: ProposeRequest, caller: Caller): Promise<ProposalReply> {
    const mutation = this.#mutation(idOf(request.id), request.principal, 'ordinary', caller);
    const change = this.#changeOf(request.change);
    if (!/^[^\p{Cc}\p{Cs}]{1,512}$/u.test(request.reason)) {
      throw wrong('reason', '1 to 512 characters without control characters');
    }
    const denied = this.#keeper.denied('mutation.propose', mutation) ?? this.#mayNotPropose(mutation);
    if (denied !== undefined) return { outcome: 'refusal', refusal: denied };
    const known = this.#proposals.get(mutation.id);
    const kept = this.#kept(mutation, change, request.reason);
    if (known !== undefined) {
      const same = JSON.stringify([known.add, known.remove]) === JSON.stringify([kept.add, kept.remove]);
      if (same) return { outcome: 'proposal', proposal: proposalMessageOf(known) };
      return refused({
        code: 'UNDERLAY_ID_REUSED',
        message: `cannot propose ${mutation.id}: another proposal has this id`,
        field: 'id',
        expected: 'an id of its own',
      });
    }
    const answer = this.#gate.propose(mutation);
    this.#gate.withdraw(mutation.id);
    if (answer.code !== 'GATE_PROPOSED') return { outcome: 'refusal', refusal: refusalOf(answer) };
    await this.#proposals.put(kept);
    this.#parts.log.info({ mutation: mutation.id, tier: mutation.tier }, 'a change was proposed');
    return { outcome: 'proposal', proposal: proposalMessageOf(kept) };
  }

  listProposals(): ListProposalsReply {
    return { proposals: this.#proposals.all.map(proposalMessageOf) };
  }

  /** Whoever may execute a proposal may take it away, and whoever is of its tier. */
  async withdraw(request: WithdrawRequest, caller: Caller): Promise<ProposalReply> {
    const reply = await this.#withdraw(request, caller);
    const asked = { ...request, ...caller, target: TARGET };
    if (reply.outcome === 'refusal') this.#keeper.recordRefused('mutation.propose', asked, reply.refusal);
    else this.#keeper.recordAllowed('mutation.propose', asked);
    return reply;
  }

  async #withdraw(request: WithdrawRequest, caller: Caller): Promise<ProposalReply> {
    principalOf(request.principal);
    const kept = this.#proposals.get(idOf(request.id));
    if (kept === undefined) return refused(unknownProposal(request.id, 'id'));
    if (!isTrustedAs(caller.tier, kept.tier)) {
      return refused({
        code: 'UNDERLAY_NOT_AUTHORISED',
        message: `cannot withdraw ${kept.id}: it was proposed by the tier ${kept.tier}`,
        rule: 'withdraw-by-its-tier',
      });
    }
    await this.#proposals.remove(kept.id);
    return { outcome: 'proposal', proposal: proposalMessageOf(kept) };
  }

  /** Records that a request was refused before it came to be one (PO-5). */
  recordFault(
    action: Action,
    { tier, channel, target = TARGET }: Omit<Caller, 'signal'> & { readonly target?: string | undefined },
    { code, message }: Pick<KedgeError, 'code' | 'message'>,
  ): void {
    this.#keeper.recordRefused(action, { principal: '', tier, channel, target }, { code, message, rule: '' });
  }

  async close(): Promise<void> {
    await this.#host.close();
    await this.#parts.routes.close();
    await this.#parts.proposals.close();
  }

  /* ---------------------------------------------------------- a mutation */

  async #execute(request: ExecuteRequest, caller: Caller): Promise<ExecuteReply> {
    const mutation = this.#mutation(request.id, request.principal, kindOf(request.kind), caller);
    let proposal: KeptProposal | undefined;
    let change: RouteChange;
    if (request.what === 'proposal') {
      proposal = this.#proposals.get(request.proposal);
      if (proposal === undefined) return refused(unknownProposal(request.proposal, 'proposal'));
      change = proposedChange(proposal);
    } else {
      change = this.#changeOf(request.what === 'change' ? request.change : undefined);
    }
    const startedAtNs = this.#records.now();
    const denied = this.#keeper.denied('mutation.execute', mutation);
    if (denied !== undefined) return this.#unexecuted(mutation, change, denied, startedAtNs);
    const answer = this.#gate.enter(mutation);
    if (!answer.granted) {
      this.#gate.withdraw(mutation.id);
      if (
        answer.code === 'GATE_PROPOSED' &&
        proposal === undefined &&
        this.#mayNotPropose(mutation) === undefined
      ) {
        await this.#proposals.put(this.#kept(mutation, change, 'asked to be executed'));
      }
      return this.#unexecuted(mutation, change, refusalOf(answer), startedAtNs);
    }
    let steps: readonly RecordedStep[] = [];
    let reply: ExecuteReply | undefined;
    let error: unknown;
    try {
      const unrecorded = await this.#keeper.recordPermit(mutation, answer);
      if (unrecorded !== undefined)
        return this.#unexecuted(mutation, change, refusalOf(unrecorded), startedAtNs);
      reply = await this.#inTurn(() => {
        // As the set stands when its turn has come.
        steps = this.#routes.stepsOf(change);
        return this.#write(mutation, change, answer, proposal);
      });
    } catch (thrown) {
      error = thrown;
    } finally {
      // Before the disk is waited for: an open permit holds up its path (PO-22).
      answer.release();
    }
    const { level } = this.#keeper.standing();
    const ended = outcomeOf(reply, error);
    const unrecorded = await this.#keeper.recordOutcome(
      mutation,
      this.#records.changeRecords({
        ...{ mutation, epoch: answer.epoch, level, startedAtNs },
        ...{ result: ended.result, failure: ended.failure },
        steps: steps.map((step) => ({ ...step, done: ended.result === 'applied' })),
      }),
    );
    if (reply === undefined) throw error;
    return unrecorded !== undefined && reply.outcome === 'done' ? refused(unrecorded) : reply;
  }

  /** A mutation that was not let in: answered, and recorded as what it was to be. */
  #unexecuted(
    mutation: Mutation,
    change: RouteChange,
    refusal: GateRefusal,
    startedAtNs: bigint,
  ): ExecuteReply {
    const steps = this.#routes.stepsOf(change);
    const { epoch, level } = this.#keeper.standing();
    const facts = { mutation, epoch, level, steps, startedAtNs };
    for (const record of this.#records.changeRecords({ ...facts, result: 'refused', failure: refusal }))
      if (record !== undefined) this.#parts.records.put(record);
    return { outcome: 'refusal', refusal };
  }

  /* ------------------------------------------------------------- records */

  /** What is kept of the gate and of the devices behind it before a lockdown. */
  #devices(): TakenSection {
    const { epoch, level } = this.#keeper.standing();
    const { mode } = this.#keeper.ruleOf(level);
    return {
      section: 'devices',
      items: [
        { name: 'gate', state: mode, facts: { epoch: String(epoch), level } },
        ...this.#gate.permits.map(({ mutation, epoch: of }) => ({
          name: mutation.id,
          state: 'permitted',
          facts: { target: mutation.target, tier: mutation.tier, epoch: String(of) },
        })),
        ...this.#proposals.all.map(({ id, tier, epoch: of }) => ({
          name: id,
          state: 'proposed',
          facts: { target: TARGET, tier, epoch: of },
        })),
        ...this.#parts.devices.items(),
      ],
    };
  }

  /** Carries out what is asked, and records whoever was refused. */
  async #executed(request: ExecuteRequest, caller: Caller): Promise<ExecuteReply> {
    const reply = await this.#execute(request, caller);
    if (reply.outcome === 'refusal')
      this.#keeper.recordRefused(
        'mutation.execute',
        { ...request, ...caller, target: TARGET },
        reply.refusal,
      );
    return reply;
  }

  /**
   * One mutation after the other: what is taken back is what stood before it, which nobody else may be changing. Who
   * waits while the posture changes is told so when its turn comes; those before it are then stopped as well.
   */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#before.then(work);
    this.#before = turn.catch(() => undefined);
    return await turn;
  }

  /** The writes of a mutation: the desired set, then the kernel. The permit is looked at before each (UN-14). */
  async #write(
    mutation: Mutation,
    change: RouteChange,
    permit: Permit,
    proposal: KeptProposal | undefined,
  ): Promise<ExecuteReply> {
    const { log } = this.#parts;
    if (!permit.check()) return refused(shut(mutation));
    const { level } = this.#host.status().wanted;
    const undo = this.#routes.inverse(change);
    const edit: RouteEdit = await this.#routes.edit(change, level);
    const applied =
      edit.changed === 0 ||
      (permit.check() && (await settledWithin(this.#host.reconcileNow(), APPLY_WITHIN_MS, permit.signal)));
    if (!applied && !permit.check()) {
      // The posture changed in between: what was not brought about is taken back, whole.
      return refused(await this.#takeBack(mutation, undo, level));
    }
    if (proposal !== undefined) await this.#forget(proposal);
    const { changed, withheld } = edit;
    const { id, principal, tier } = mutation;
    log.info({ mutation: id, principal, tier, epoch: permit.epoch, changed }, 'a change was executed');
    return { outcome: 'done', done: { changed, withheld, epoch: permit.epoch, applied } };
  }

  /** Takes a change back whose permit has ended; what is to be answered. */
  async #takeBack(mutation: Mutation, undo: RouteChange, level: Level): Promise<Said> {
    const { log } = this.#parts;
    try {
      await this.#routes.takeBack(undo, level);
    } catch (error) {
      log.error({ err: error, mutation: mutation.id }, 'a change was taken back in memory alone');
      return notTakenBack(mutation);
    } finally {
      // A round may have brought some of it about meanwhile. Not waited for: it waits for this permit.
      this.#host.reconcileNow().catch(() => undefined);
    }
    log.warn({ mutation: mutation.id }, 'a change was taken back, the posture changed under it');
    return shut(mutation);
  }

  /** A proposal that was executed waits no more. The change stands, whether that can be written or not. */
  async #forget({ id }: KeptProposal): Promise<void> {
    try {
      await this.#proposals.remove(id);
    } catch (error) {
      this.#parts.log.error({ err: error, proposal: id }, 'a proposal was executed and waits all the same');
    }
  }

  #mutation(id: string, principal: string, kind: Mutation['kind'], caller: Caller): Mutation {
    return {
      id: idOf(id),
      planId: `${TARGET}/${id}`,
      target: TARGET,
      principal: principalOf(principal),
      tier: caller.tier,
      channel: caller.channel,
      kind,
    };
  }

  #changeOf(change: ProposeRequest['change']): RouteChange {
    if (change === undefined) throw wrong('change', 'a change');
    return changeOf('underlay', change, LIMITS, NAMES);
  }

  #kept(
    { id, principal, tier, channel }: Mutation,
    { add, remove }: RouteChange,
    reason: string,
  ): KeptProposal {
    return {
      id,
      principal,
      tier,
      channel,
      reason,
      add: [...add],
      remove: remove.map((key) => {
        const [destination = '', metric = '0'] = key.split(' ');
        return { destination, metric: Number(metric) };
      }),
      epoch: String(this.#gate.settle()?.epoch ?? 0n),
      atWallMs: this.#parts.clock.wallMs(),
    };
  }

  #mayNotPropose({ tier, kind }: Mutation): GateRefusal | undefined {
    const view = this.#gate.settle();
    if (view === undefined) return undefined;
    const accord = this.#parts.accords.levels[view.level].underlay;
    if (accord.gate !== 'tiers' || gateAnswer(accord, { tier, kind }) !== 'refuse') return undefined;
    return refusalOf({
      code: 'UNDERLAY_NOT_AUTHORISED',
      message: `at level ${view.level} the tier ${tier} proposes nothing`,
      rule: 'propose-tier',
      ...view,
    });
  }
}

/** What a mutation that was let in came to. */
function outcomeOf(reply: ExecuteReply | undefined, error: unknown): Pick<ChangeFacts, 'result' | 'failure'> {
  if (reply === undefined) return { result: 'failed', failure: failureOf(error) };
  if (reply.outcome === 'done') return { result: reply.done.changed === 0 ? 'unchanged' : 'applied' };
  if (reply.refusal.code === 'GATE_SHUT') return { result: 'cancelled' };
  return { result: 'failed', failure: reply.refusal };
}

function refused(said: Said): { readonly outcome: 'refusal'; readonly refusal: GateRefusal } {
  return { outcome: 'refusal', refusal: refusalOf(said) };
}

function notTakenBack({ id }: Mutation): Said {
  return {
    code: 'UNDERLAY_NOT_TAKEN_BACK',
    message: `cannot go on with ${id}: the posture changed, it is not in force, but its file could not be written`,
    help: 'mend the disk: until it can be written a start of the service would bring the change back',
    rule: 'one-epoch-per-permit',
  };
}

function unknownProposal(id: string, field: string): Said {
  return {
    code: 'UNDERLAY_PROPOSAL_UNKNOWN',
    message: `there is no proposal ${JSON.stringify(id.slice(0, 64))}`,
    field,
    expected: 'the id of a proposal that waits',
  };
}

function wrong(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'UNDERLAY_REQUEST',
    message: `cannot take the request: ${field} is wrong`,
    field,
    expected,
  });
}

function idOf(id: string): string {
  if (!/^[A-Za-z0-9._-]{8,64}$/.test(id)) throw wrong('id', '8 to 64 characters of A-Z a-z 0-9 . _ -');
  return id;
}

function kindOf(kind: string): Mutation['kind'] {
  if (kind !== 'ordinary' && kind !== 'emergency') throw wrong('kind', 'ordinary or emergency');
  return kind;
}

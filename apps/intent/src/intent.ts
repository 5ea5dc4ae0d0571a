/**
 * The intent itself: who may ask it for what, what its calls come to, and that nothing of it changes unrecorded.
 * It must not know a schema of its own, nor put anything in force that the datastores do not.
 */
import type {
  IntentAsking,
  IntentChangeMessage,
  IntentCommitRequest,
  IntentCompareRequest,
  IntentConfirmRequest,
  IntentEditRequest,
  IntentHistoryReply,
  IntentHistoryRequest,
  IntentLoadRequest,
  IntentLockRequest,
  IntentPiece,
  IntentReply,
  IntentRollbackRequest,
  IntentSourceRequest,
  IntentStatusReply,
  IntentUnlockRequest,
  IntentValidateReply,
  PostureBoard,
} from '@kedge/bus';
import type { Action, Authoriser, Channel, Tier } from '@kedge/contracts';
import {
  frozenAt,
  type Held,
  type Holder,
  IntentDatastores,
  type IntentRefusal,
  type IntentSchema,
  isRefusal,
  type Moment,
  type Posture,
  refusal,
  type Reply,
  wrongField,
} from '@kedge/datastores';
import { type IntentStore, sha256 } from '@kedge/intent-store';
import type { Outbox } from '@kedge/ledger-link';
import { type Clock, KedgeError, millisOf, nanosOf } from '@kedge/units';

import { ChangeRecords, RESOURCE } from './change-records.js';
import type { IntentConfig } from './config.js';
import {
  candidateMessage,
  editsOf,
  FINDINGS_MAX,
  findingMessages,
  holderMessage,
  lockMessage,
  refusalMessage,
  replyMessage,
  revisionMessage,
  sourceOf,
  thrownRefusal,
} from './messages.js';

/** What the intent logs with. */
export interface IntentLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** What the intent is given; all of it stays its caller's. */
export interface IntentParts {
  readonly config: IntentConfig;
  readonly store: IntentStore;
  readonly schema: IntentSchema;
  readonly board: Pick<PostureBoard, 'snapshot' | 'on' | 'off'>;
  readonly policies: { readonly authoriser: Authoriser; readonly alarm: string | undefined };
  readonly records: Pick<Outbox, 'append' | 'put' | 'ready' | 'alarms'>;
  readonly bootId: string;
  readonly clock: Clock;
  readonly log: IntentLog;
  /** Told of every revision that is intended. They return at once and do not throw. */
  readonly onIntended?: readonly ((held: Held) => void)[];
  /** What else somebody should look at, one sentence each. */
  readonly moreAlarms?: () => readonly string[];
}

/** What is known of a caller by the socket that it came in by. */
export interface Caller {
  readonly tier: Tier;
  readonly channel: Channel;
}

/** What moves the level that is obeyed. */
export const LEVEL_CHANGES = [
  'posture.decided',
  'posture.staged',
  'posture.changed',
  'failclosed.set',
  'failclosed.cleared',
  'board.found',
  'board.lost',
] as const;
/** Bytes of one piece of a document. */
const PIECE_BYTES = 256 * 1024;
/** What is done only where it can be written down. Editing the candidate puts nothing in force. */
const RECORDED: readonly Action[] = ['intent.commit', 'intent.rollback', 'intent.break-lock'];
/** How often the datastores look whether there is something that could not be done before, milliseconds. */
const LOOK_MS = 10_000;

/** How the intent stands, in numbers. */
export interface IntentFigures {
  readonly revisions: number;
  readonly bytes: number;
  readonly running: number;
  /** 1 while a commit waits to be confirmed, or to be put back. */
  readonly pending: number;
  readonly alarms: number;
}

/** The intent; at work once it is opened. `close` once. */
export class Intent {
  readonly #parts: IntentParts;
  readonly #datastores: IntentDatastores;
  readonly #records: ChangeRecords;
  readonly #look: () => void;
  readonly #timer: NodeJS.Timeout;

  private constructor(parts: IntentParts, datastores: IntentDatastores, records: ChangeRecords) {
    this.#parts = parts;
    this.#datastores = datastores;
    this.#records = records;
    const { board } = parts;
    let seen = '';
    this.#look = () => {
      const posture = postureOf(board);
      const told = `${posture.level} ${String(posture.epoch)}`;
      if (told === seen) return;
      seen = told;
      datastores.posture(posture);
    };
    for (const change of LEVEL_CHANGES) board.on(change, this.#look);
    this.#look();
    this.#timer = setInterval(() => void datastores.tick(), LOOK_MS);
    this.#timer.unref();
  }

  /** @throws KedgeError `INTENT_STORE_FULL`, `INTENT_STORE_FAILED` where the first step cannot be kept. */
  static async open(parts: IntentParts): Promise<Intent> {
    const { config, store, schema, board, records: outbox, clock, log, bootId } = parts;
    const records = new ChangeRecords({ appliance: config.appliance, bootId });
    const datastores = await IntentDatastores.open({
      keeping: store,
      kept: store.kept,
      schema,
      around: { sha256, documentBytes: config.documentBytes, history: config.history },
      now: () => momentOf(clock),
      timers: {
        after: (ms, call) => {
          const timer = setTimeout(call, ms);
          return () => clearTimeout(timer);
        },
      },
      posture: postureOf(board),
      intend: (held) => {
        const { number, id } = held.revision;
        log.info({ revision: number, id }, 'another revision is intended');
        for (const listener of parts.onIntended ?? []) listener(held);
      },
      record: async (fact, at, posture) => {
        const revision = 'revision' in fact && fact.revision !== null ? fact.revision : undefined;
        const number = typeof revision === 'object' ? revision.number : revision;
        const say = fact.fact === 'waiting' ? log.error.bind(log) : log.info.bind(log);
        say(
          { fact: fact.fact, revision: number, level: posture.level },
          'the intent was asked for or changed',
        );
        await outbox.append(records.of(fact, at, posture));
      },
      onTrouble: (error, doing) => {
        log.error({ err: error, doing }, 'something about the intent went wrong');
      },
    });
    return new Intent(parts, datastores, records);
  }

  /** The datastores, for whoever holds devices to them. Requests come by the calls. */
  get datastores(): Pick<IntentDatastores, 'documentOf' | 'validate' | 'observed' | 'state'> {
    return this.#datastores;
  }

  /** True while changes are taken. */
  get serving(): boolean {
    const { phase } = this.#datastores.state;
    return phase !== 'opening' && phase !== 'failed';
  }

  status({ tier, channel }: Caller): IntentStatusReply {
    this.#mayLook({ tier, channel });
    const state = this.#datastores.state;
    if (state.phase === 'opening') throw thrownRefusal(OPENING);
    const { level, running, startup, intended, candidate, lock, modules, validity, history } = state;
    const pending = 'pending' in state ? state.pending : undefined;
    return {
      phase: state.phase,
      level,
      frozen: frozenAt(level).compilation,
      running: running.revision.number,
      startup: startup.revision.number,
      intended: intended?.revision.number ?? 0,
      candidate: candidateMessage(candidate),
      ...(lock === null ? {} : { lock: lockMessage(lock) }),
      ...(pending === undefined
        ? {}
        : {
            pending: {
              revision: pending.revision,
              by: holderMessage(pending.by),
              untilWallMs: BigInt(pending.untilMs),
              waiting: state.phase === 'waiting',
            },
          }),
      modules,
      validity: validity.state,
      revisions: history.length,
      bytes: BigInt(bytesOf(history)),
      alarms: this.#alarms(),
    };
  }

  figures(): IntentFigures {
    const state = this.#datastores.state;
    if (state.phase === 'opening') return { revisions: 0, bytes: 0, running: 0, pending: 0, alarms: 0 };
    return {
      revisions: state.history.length,
      bytes: bytesOf(state.history),
      running: state.running.revision.number,
      pending: 'pending' in state ? 1 : 0,
      alarms: this.#alarms().length,
    };
  }

  async *show({ source }: IntentSourceRequest, caller: Caller): AsyncGenerator<IntentPiece> {
    this.#mayLook(caller);
    const text = await this.#datastores.documentOf(sourceOf(source, 'source'));
    if (isRefusal(text)) throw thrownRefusal(text);
    const bytes = Buffer.from(text, 'utf8');
    for (let at = 0; at < bytes.length; at += PIECE_BYTES)
      yield { bytes: bytes.subarray(at, at + PIECE_BYTES) };
  }

  history({ limit, before }: IntentHistoryRequest, caller: Caller): IntentHistoryReply {
    this.#mayLook(caller);
    if (limit > 1000) throw thrownRefusal(wrongField('limit', 'at most 1000'));
    const state = this.#datastores.state;
    const all = state.phase === 'opening' ? [] : state.history;
    const meant = before === 0 ? all : all.filter(({ number }) => number < before);
    const revisions = meant.slice(-(limit === 0 ? 50 : limit)).reverse();
    return { revisions: revisions.map(revisionMessage), total: all.length };
  }

  async validate({ source }: IntentSourceRequest, caller: Caller): Promise<IntentValidateReply> {
    this.#mayLook(caller);
    const said = await this.#datastores.validate(sourceOf(source, 'source'));
    if (isRefusal(said)) throw thrownRefusal(said);
    const { findings, complete } = said;
    return { findings: findingMessages(findings), complete: complete && findings.length <= FINDINGS_MAX };
  }

  async *compare({ from, to }: IntentCompareRequest, caller: Caller): AsyncGenerator<IntentChangeMessage> {
    this.#mayLook(caller);
    const changes = await this.#datastores.compare(sourceOf(from, 'from'), sourceOf(to, 'to'));
    if (isRefusal(changes)) throw thrownRefusal(changes);
    for (const { path, kind, before, after } of changes) {
      yield {
        path,
        kind,
        ...(before === undefined ? {} : { before: JSON.stringify(before) }),
        ...(after === undefined ? {} : { after: JSON.stringify(after) }),
      };
    }
  }

  load({ document, ...asking }: IntentLoadRequest, caller: Caller): Promise<IntentReply> {
    return this.#change('intent.edit', asking, caller, (by) =>
      this.#datastores.request({ kind: 'load', by, text: document }),
    );
  }

  edit({ edits: messages, ...asking }: IntentEditRequest, caller: Caller): Promise<IntentReply> {
    return this.#change('intent.edit', asking, caller, async (by) => {
      const edits = editsOf(messages);
      return isRefusal(edits) ? edits : this.#datastores.request({ kind: 'edit', by, edits });
    });
  }

  discard(asking: IntentAsking, caller: Caller): Promise<IntentReply> {
    return this.#change('intent.edit', asking, caller, (by) =>
      this.#datastores.request({ kind: 'discard', by }),
    );
  }

  lock({ comment, ...asking }: IntentLockRequest, caller: Caller): Promise<IntentReply> {
    return this.#change('intent.lock', asking, caller, (by) =>
      this.#datastores.request({ kind: 'lock', by, comment }),
    );
  }

  unlock({ force, ...asking }: IntentUnlockRequest, caller: Caller): Promise<IntentReply> {
    return this.#change(force ? 'intent.break-lock' : 'intent.lock', asking, caller, (by) =>
      this.#datastores.request({ kind: 'unlock', by, force }),
    );
  }

  commit(request: IntentCommitRequest, caller: Caller): Promise<IntentReply> {
    return this.#change('intent.commit', request, caller, (by) =>
      this.#datastores.request({ kind: 'commit', by, comment: request.comment, ...termsOf(request) }),
    );
  }

  rollback(request: IntentRollbackRequest, caller: Caller): Promise<IntentReply> {
    const { to, comment } = request;
    return this.#change('intent.rollback', request, caller, (by) =>
      this.#datastores.request({ kind: 'rollback', by, to, comment, ...termsOf(request) }),
    );
  }

  confirm({ revision, ...asking }: IntentConfirmRequest, caller: Caller): Promise<IntentReply> {
    return this.#change('intent.commit', asking, caller, (by) =>
      this.#datastores.request({ kind: 'confirm', by, ...(revision === 0 ? {} : { revision }) }),
    );
  }

  cancel({ revision, ...asking }: IntentConfirmRequest, caller: Caller): Promise<IntentReply> {
    return this.#change('intent.commit', asking, caller, (by) =>
      this.#datastores.request({ kind: 'cancel', by, ...(revision === 0 ? {} : { revision }) }),
    );
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    const { board } = this.#parts;
    for (const change of LEVEL_CHANGES) board.off(change, this.#look);
    await this.#datastores.close();
  }

  /** Who may, and may be recorded, is let at the datastores. */
  async #change(
    action: Action,
    { principal }: IntentAsking,
    caller: Caller,
    make: (by: Holder) => Promise<Reply | IntentRefusal>,
  ): Promise<IntentReply> {
    const { log, records: outbox, clock } = this.#parts;
    const { tier, channel } = caller;
    if (!/^[^\p{Cc}\p{Cs}]{1,128}$/u.test(principal)) {
      const wrong = wrongField('principal', '1 to 128 characters without control characters, "user:ada"');
      return { outcome: 'refusal', refusal: refusalMessage(wrong) };
    }
    const by: Holder = { principal, tier, channel };
    const denied = this.#denied(action, by);
    if (denied !== undefined) {
      outbox.put(
        this.#records.denied({ by, action, ...denied }, momentOf(clock), postureOf(this.#parts.board)),
      );
      log.warn({ ...by, action, rule: denied.rule }, 'a request about the intent was denied');
      return { outcome: 'refusal', refusal: refusalMessage(forbidden(action, denied.reason), denied.rule) };
    }
    try {
      if (RECORDED.includes(action)) await outbox.ready();
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      return { outcome: 'refusal', refusal: refusalMessage(unrecorded(error.code)) };
    }
    const reply = await make(by);
    const { state } = this.#datastores;
    return replyMessage(reply, state.phase === 'opening' ? undefined : state.candidate);
  }

  /** @throws KedgeError `INTENT_FORBIDDEN` */
  #mayLook({ tier, channel }: Caller): void {
    const denied = this.#denied('intent.read', { principal: '', tier, channel });
    if (denied !== undefined) throw thrownRefusal(forbidden('intent.read', denied.reason));
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

  #alarms(): readonly string[] {
    const { policies, records } = this.#parts;
    const state = this.#datastores.state;
    if (state.phase === 'opening') return [];
    const number = state.running.revision.number;
    return [
      ...(state.phase === 'waiting'
        ? [
            `revision ${number} was not confirmed; what stood before it is put back when the level is 3 or looser`,
          ]
        : []),
      ...(state.phase === 'failed' ? [`what is kept of the intent cannot be written: ${state.why}`] : []),
      ...(state.validity.state === 'invalid'
        ? [`revision ${number} is running, and the modules in use do not accept it: it is not intended`]
        : []),
      ...(policies.alarm === undefined ? [] : [policies.alarm]),
      ...records.alarms,
      ...(this.#parts.moreAlarms?.() ?? []),
    ];
  }
}

const OPENING = refusal({
  code: 'INTENT_OPENING',
  message: 'cannot answer about the intent yet: what is kept of it is being read',
  help: 'ask again in a moment',
});

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

function momentOf(clock: Clock): Moment {
  return { ns: nanosOf(clock.monotonicNs()), wallMs: clock.wallMs() };
}

/** The posture that is obeyed: the strictest of what is in force and where a transition goes. */
export function postureOf(board: Pick<PostureBoard, 'snapshot'>): Posture {
  const { word, gateLevel } = board.snapshot();
  return { level: gateLevel, epoch: word.epoch };
}

function bytesOf(history: readonly { readonly hash: string; readonly bytes: number }[]): number {
  return [...new Map(history.map(({ hash, bytes }) => [hash, bytes])).values()].reduce(
    (sum, each) => sum + each,
    0,
  );
}

/** 0 on the wire is nothing. */
function termsOf({ confirmSeconds, ifRevision }: IntentCommitRequest): {
  readonly confirmSeconds?: number;
  readonly ifRevision?: number;
} {
  return {
    ...(confirmSeconds === 0 ? {} : { confirmSeconds }),
    ...(ifRevision === 0 ? {} : { ifRevision }),
  };
}

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
import type { Action, Authoriser } from '@kedge/contracts';
import {
  frozenAt,
  type Held,
  type Holder,
  IntentDatastores,
  type IntentRefusal,
  type IntentSchema,
  isRefusal,
  refusal,
  type Reply,
  type Revision,
  wrongField,
} from '@kedge/datastores';
import { type IntentStore, sha256 } from '@kedge/intent-store';
import type { Outbox } from '@kedge/ledger-link';
import type { Clock, Level } from '@kedge/units';

import { type Caller, IntentAuthority, momentOf, postureOf } from './authority.js';
import { ChangeRecords } from './change-records.js';
import { type IntentConfig, lookingSocket } from './config.js';
import {
  candidateMessage,
  editsOf,
  FINDINGS_MAX,
  findingMessages,
  holderMessage,
  lockMessage,
  piecesOf,
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
}

/** What is intended now: a revision that the modules accept, at a level that lets it into force. */
export interface Intended {
  readonly held: Held;
  /** Whoever asked for it, or first did where the appliance put it back; undefined: that is not known any more. */
  readonly by: Holder | undefined;
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
  /** Who may ask for what; also about devices. */
  readonly authority: IntentAuthority;
  readonly #parts: IntentParts;
  readonly #datastores: IntentDatastores;
  readonly #look: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #intend: ListenedTo<Held | undefined>;
  readonly #levels = new ListenedTo<Level>();
  readonly #alarmSources: (() => readonly string[])[] = [];

  private constructor(
    parts: IntentParts,
    datastores: IntentDatastores,
    authority: IntentAuthority,
    intend: ListenedTo<Held | undefined>,
  ) {
    this.#intend = intend;
    this.#parts = parts;
    this.#datastores = datastores;
    this.authority = authority;
    const { board } = parts;
    let seen = '';
    this.#look = () => {
      const posture = postureOf(board);
      const told = `${posture.level} ${String(posture.epoch)}`;
      if (told === seen) return;
      seen = told;
      datastores.posture(posture);
      this.#levels.say(posture.level);
    };
    for (const change of LEVEL_CHANGES) board.on(change, this.#look);
    this.#look();
    this.#timer = setInterval(() => void datastores.tick(), LOOK_MS);
    this.#timer.unref();
  }

  /** @throws KedgeError `INTENT_STORE_FULL`, `INTENT_STORE_FAILED` where the first step cannot be kept. */
  static async open(parts: IntentParts): Promise<Intent> {
    const { config, store, schema, board, policies, records: outbox, clock, log, bootId } = parts;
    const records = new ChangeRecords({ appliance: config.appliance, bootId });
    const intend = new ListenedTo<Held | undefined>();
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
        intend.say(held);
      },
      withhold: () => {
        log.warn({}, 'what was intended is no more, and what is instead is not known yet');
        intend.say(undefined);
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
    return new Intent(
      parts,
      datastores,
      new IntentAuthority({
        lookingSocket: lookingSocket(config),
        ...{ policies, records: outbox, changes: records, board, clock, log },
      }),
      intend,
    );
  }

  /**
   * Tells of what is intended: what is now, if anything is, and whatever comes to be. Undefined: what was told last is no
   * more, and nothing stands in its place yet. Listeners must not throw.
   */
  onIntended(listener: (intended: Intended | undefined) => void): void {
    this.#intend.on((held) => {
      if (held === undefined) {
        listener(undefined);
        return;
      }
      const state = this.#datastores.state;
      listener({ held, by: askedBy(held.revision, state.phase === 'opening' ? [] : state.history) });
    });
  }

  /** Tells of the level, now and whenever it or its epoch changes. Listeners must not throw. */
  onLevel(listener: (level: Level) => void): void {
    this.#levels.on(listener);
  }

  /** Shows what is wrong elsewhere among the alarms. */
  showAlarms(of: () => readonly string[]): void {
    this.#alarmSources.push(of);
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

  status(caller: Caller): IntentStatusReply {
    this.authority.mayLook(caller);
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
    this.authority.mayLook(caller);
    const text = await this.#datastores.documentOf(sourceOf(source, 'source'));
    if (isRefusal(text)) throw thrownRefusal(text);
    for (const bytes of piecesOf(text)) yield { bytes };
  }

  history({ limit, before }: IntentHistoryRequest, caller: Caller): IntentHistoryReply {
    this.authority.mayLook(caller);
    if (limit > 1000) throw thrownRefusal(wrongField('limit', 'at most 1000'));
    const state = this.#datastores.state;
    const all = state.phase === 'opening' ? [] : state.history;
    const meant = before === 0 ? all : all.filter(({ number }) => number < before);
    const revisions = meant.slice(-(limit === 0 ? 50 : limit)).reverse();
    return { revisions: revisions.map(revisionMessage), total: all.length };
  }

  async validate({ source }: IntentSourceRequest, caller: Caller): Promise<IntentValidateReply> {
    this.authority.mayLook(caller);
    const said = await this.#datastores.validate(sourceOf(source, 'source'));
    if (isRefusal(said)) throw thrownRefusal(said);
    const { findings, complete } = said;
    return { findings: findingMessages(findings), complete: complete && findings.length <= FINDINGS_MAX };
  }

  async *compare({ from, to }: IntentCompareRequest, caller: Caller): AsyncGenerator<IntentChangeMessage> {
    this.authority.mayLook(caller);
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
    const admitted = await this.authority.admit(action, principal, caller);
    if ('refusal' in admitted) return { outcome: 'refusal', refusal: admitted.refusal };
    const reply = await make(admitted.by);
    const { state } = this.#datastores;
    return replyMessage(reply, state.phase === 'opening' ? undefined : state.candidate);
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
      ...this.#alarmSources.flatMap((alarms) => alarms()),
    ];
  }
}

/** What was said last, and whoever is told of it. */
class ListenedTo<T> {
  readonly #listeners: ((value: T) => void)[] = [];
  #last: { readonly value: T } | undefined;

  say(value: T): void {
    this.#last = { value };
    for (const listener of this.#listeners) listener(value);
  }

  on(listener: (value: T) => void): void {
    this.#listeners.push(listener);
    if (this.#last !== undefined) listener(this.#last.value);
  }
}

/**
 * Whoever is answerable for a revision: who asked for it. What the appliance put back is that of whoever asked for the
 * revision whose document it has again; where nobody did, or the history knows it no more, of whoever made the one that
 * was taken back, for the way back was part of what they asked.
 */
export function askedBy(revision: Revision, history: readonly Revision[]): Holder | undefined {
  const seen = new Set<number>();
  let at: Revision | undefined = revision;
  while (at !== undefined && !seen.has(at.number)) {
    if (at.cause === 'commit' || at.cause === 'rollback') return at.by ?? undefined;
    seen.add(at.number);
    const of: number | null = at.of;
    at = history.find(({ number }) => number === of);
  }
  return history.find(({ number }) => number === revision.number - 1)?.by ?? revision.by ?? undefined;
}

const OPENING = refusal({
  code: 'INTENT_OPENING',
  message: 'cannot answer about the intent yet: what is kept of it is being read',
  help: 'ask again in a moment',
});

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

/**
 * The quartermaster itself: what its calls come to, how it stands, what it does by itself every day.
 * It must not decide the posture, and nothing that decides or applies one ever waits for it (PO-22).
 */
import type {
  Batch,
  EraseReply,
  EraseRequest,
  ExportPiece,
  ExportRequest,
  GetCheckpointReply,
  GetCheckpointRequest,
  Kept,
  LedgerStatusReply,
  PostureBoard,
  PostureDecided,
  ProveReply,
  ProveRequest,
  QueryReply,
  QueryRequest,
  TailReply,
  TailRequest,
} from '@kedge/bus';
import type { LedgerStore } from '@kedge/ledger-store';
import type { CallAuthority } from '@kedge/runtime';
import { type Clock, KedgeError, type Level } from '@kedge/units';
import { basename, dirname } from 'node:path';

import { accessOf, type AccessParts, type LedgerAction } from './access.js';
import { Anchoring, type AnchoringParts, sizeOf } from './anchoring.js';
import { Answers } from './answers.js';
import type { QuartermasterConfig } from './config.js';
import { controllerProcesses } from './controller-processes.js';
import { exportPieces } from './export-pieces.js';
import { FlushByPosture, flushModeAt } from './flush-by-posture.js';
import { ForensicSnapshots, snapshotId } from './forensic-snapshot.js';
import type { IndexFollower } from './index-follower.js';
import { Intake } from './intake.js';
import type { QuartermasterLog } from './log.js';
import { OwnRecords } from './own-records.js';
import type { FeedStanding, SyslogFeed } from './syslog-feed.js';

const DAY_MS = 86_400_000;
/** Retention does not compete with a start. */
const FIRST_RETENTION_MS = 60_000;

/** What the quartermaster is given; store, follower and board stay their caller's. */
export interface QuartermasterParts {
  readonly config: QuartermasterConfig;
  readonly store: LedgerStore;
  readonly follower: IndexFollower;
  readonly board: Pick<PostureBoard, 'snapshot' | 'on' | 'off'>;
  /** C2SP verifier key of the ledger. */
  readonly verifier: string;
  /** Undefined: nobody cosigns. */
  readonly anchoring: AnchoringParts | undefined;
  /** Closed by the quartermaster. */
  readonly feeds: readonly SyslogFeed[];
  /** What the store complained of last, of what keeps all records out. */
  readonly trouble: () => KedgeError | undefined;
  /** By what requests are decided, and what is to be known of it. */
  readonly policies: { readonly authoriser: AccessParts['authoriser']; readonly alarm: string | undefined };
  readonly clock: Clock;
  readonly log: QuartermasterLog;
}

/** What a call tells of itself. */
export type Asked = Pick<CallAuthority, 'tier' | 'channel' | 'signal' | 'socket'>;

/** The quartermaster; at work once it is made. `close` once. */
export class Quartermaster {
  readonly #parts: QuartermasterParts;
  readonly #intake: Intake;
  readonly #answers: Answers;
  readonly #own: OwnRecords;
  readonly #flush: FlushByPosture;
  readonly #snapshots: ForensicSnapshots;
  readonly #anchoring: Anchoring | undefined;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #closing = new AbortController();
  readonly #forget: () => void;
  readonly #decided = (decided: PostureDecided): void => {
    if (decided.to === 1) this.#snapshot('take', decided.epoch, decided.decidedAtNs);
  };
  #retention: string | undefined;

  constructor(parts: QuartermasterParts) {
    const { config, store, follower, board, clock, log } = parts;
    this.#parts = parts;
    this.#intake = new Intake(store, config.sources, log);
    this.#answers = new Answers(store, follower);
    this.#own = new OwnRecords({
      appliance: config.appliance,
      store,
      clock,
      posture: () => this.#posture(),
      log,
    });
    this.#snapshots = new ForensicSnapshots({
      appliance: config.appliance,
      store,
      clock,
      waitMs: config.snapshotWaitMs,
      services: config.sources,
      processes: controllerProcesses,
      recorded: (epoch) => this.#answers.forensic(epoch, this.#closing.signal),
      log,
    });
    this.#anchoring = parts.anchoring && new Anchoring(parts.anchoring);
    this.#flush = new FlushByPosture(board, (mode, level) => {
      store.setFlush(mode);
      this.#anchoring?.setPace(mode === 'every');
      log.info({ mode, level }, 'records are flushed by the posture');
    });
    board.on('posture.decided', this.#decided);
    this.#forget = store.onDurable(() => this.#anchoring?.grown());
    const { transition } = board.snapshot();
    // Started again while at level 1: what its parts were is in the log, or on its way.
    if (transition?.to === 1) this.#snapshot('resume', transition.epoch, transition.decidedAtNs);
    this.#timers.push(
      setTimeout(() => void this.#retain(), FIRST_RETENTION_MS),
      setInterval(() => void this.#retain(), DAY_MS),
    );
  }

  /** True while records are taken, or would be if there were room. */
  get serving(): boolean {
    const { state } = this.#parts.store.status();
    return state === 'open' || state === 'full';
  }

  /** How the feeds stand. */
  get feeds(): readonly FeedStanding[] {
    return this.#parts.feeds.map(({ standing }) => standing);
  }

  deliver(batches: AsyncIterable<Batch>, { socket, signal }: Asked): AsyncIterable<Kept> {
    return this.#intake.deliver(basename(dirname(socket)), batches, signal);
  }

  async query(request: QueryRequest, asked: Asked): Promise<QueryReply> {
    this.#require('ledger.read', 'query', asked);
    return await this.#answers.query(request, asked.signal);
  }

  tail(request: TailRequest, asked: Asked): AsyncIterable<TailReply> {
    this.#require('ledger.read', 'tail', asked);
    return this.#answers.tail(request, asked.signal);
  }

  prove({ index }: ProveRequest, asked: Asked): ProveReply {
    this.#require('ledger.read', 'proof', asked);
    const text = this.#parts.store.checkpoint();
    const own = { text, size: sizeOf(text) };
    const cosigned = this.#anchoring?.cosigned;
    return this.#answers.prove(
      Number(index),
      cosigned !== undefined && index < BigInt(cosigned.size) ? cosigned : own,
    );
  }

  checkpoint({ oldSize }: GetCheckpointRequest, asked: Asked): GetCheckpointReply {
    this.#require('ledger.status', 'checkpoint', asked);
    const text = this.#parts.store.checkpoint();
    const size = sizeOf(text);
    const cosigned = this.#anchoring?.cosigned;
    return {
      checkpoint: cosigned?.size === size ? cosigned.text : text,
      consistency: this.#answers.consistency(oldSize, size),
      verifier: this.#parts.verifier,
    };
  }

  /** Who asked is recorded before anything is destroyed. */
  async erase({ subject, reason, principal }: EraseRequest, asked: Asked): Promise<EraseReply> {
    const rule = this.#require('ledger.erase', 'subject', asked, principal);
    for (const [field, text, max] of [
      ['subject', subject, 512],
      ['reason', reason, 512],
      ['principal', principal, 128],
    ] as const) {
      if (text.trim() !== '' && text.length <= max) continue;
      throw new KedgeError({
        code: 'LEDGER_QUESTION',
        message: `cannot erase: ${field} is wrong`,
        field,
        expected: `1 to ${max} characters`,
      });
    }
    const { store, log } = this.#parts;
    const key = store.keys.of(subject)?.id;
    if (key === undefined) return { erased: false };
    const decision = { allow: true, rule, reason, principal };
    await this.#own.keep(asked, { ...decision, action: 'ledger.erase', resource: `key/${key}` });
    const erased = (await store.keys.erase(subject)) !== undefined;
    log.info({ key }, 'the key of a subject was destroyed');
    return { erased };
  }

  async *export(request: ExportRequest, asked: Asked): AsyncGenerator<ExportPiece, void, undefined> {
    const rule = this.#require('ledger.export', request.format, asked);
    const { store } = this.#parts;
    const pieces = exportPieces(request, { store, answers: this.#answers, signal: asked.signal });
    const form = request.pseudonymised ? 'pseudonymised' : 'with people';
    await this.#own.keep(asked, {
      allow: true,
      rule,
      reason: '',
      principal: '',
      action: 'ledger.export',
      resource: `ledger/${request.format} ${form}`,
    });
    yield* pieces;
  }

  status(asked?: Asked): LedgerStatusReply {
    if (asked !== undefined) this.#require('ledger.status', 'status', asked);
    const { config, store, follower, verifier } = this.#parts;
    const { state, size, keptFrom, keptOut } = store.status();
    const refusing = state !== 'open';
    const { last } = this.#snapshots;
    const witness = this.#anchoring?.standing;
    return {
      origin: config.origin,
      verifier,
      size: BigInt(size),
      keptFrom: BigInt(keptFrom),
      flush: flushModeAt(this.#flush.level),
      level: this.#flush.level,
      refusing,
      why: refusing ? this.#trouble() : '',
      indexed: BigInt(follower.upTo),
      sources: this.#intake.standings(),
      ...(witness === undefined ? {} : { witness }),
      alarms: this.#alarms(refusing),
      ...(last === undefined ? {} : { snapshot: last }),
      keptOut: BigInt(keptOut),
    };
  }

  async close(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearTimeout(timer);
    this.#closing.abort();
    this.#parts.board.off('posture.decided', this.#decided);
    this.#flush.close();
    this.#forget();
    this.#snapshots.close();
    await Promise.all([this.#anchoring?.close(), ...this.#parts.feeds.map((feed) => feed.close())]);
  }

  /** The rule that lets them. @throws KedgeError `LEDGER_FORBIDDEN`; that is recorded (PO-5) */
  #require(action: LedgerAction, what: string, asked: Asked, principal = ''): string {
    const { policies, clock } = this.#parts;
    const parts = { authoriser: policies.authoriser, clock, posture: () => this.#posture() };
    const { rule, refusal } = accessOf(parts, action, asked, principal);
    if (refusal === undefined) return rule;
    const reason = refusal.message;
    this.#own.put(asked, { allow: false, rule, reason, principal, action, resource: `ledger/${what}` });
    throw refusal;
  }

  #posture(): { readonly epoch: bigint; readonly level: Level } {
    const { word, gateLevel } = this.#parts.board.snapshot();
    return { epoch: word.epoch, level: gateLevel };
  }

  #snapshot(how: 'take' | 'resume', epoch: bigint, decidedAtNs: bigint): void {
    const { config, log } = this.#parts;
    if (this.#snapshots.last?.id === snapshotId(config.appliance, epoch)) return;
    this.#snapshots[how](epoch, decidedAtNs).catch((error: unknown) => {
      log.error({ err: error, epoch }, 'the forensic snapshot could not be recorded');
    });
  }

  async #retain(): Promise<void> {
    const { store, follower, clock, log } = this.#parts;
    try {
      const outcome = await store.retain(clock.wallMs());
      await follower.index?.prune(outcome.keptFrom);
      this.#retention = undefined;
      if (outcome.prunedBundles > 0 || outcome.archivedSegments > 0)
        log.info(outcome, 'old entries were let go');
    } catch (error) {
      this.#retention = error instanceof Error ? error.message : String(error);
      log.error({ err: error }, 'old entries could not be let go');
    }
  }

  /** Why no records are taken. */
  #trouble(): string {
    const trouble = this.#parts.trouble();
    return trouble === undefined ? 'its storage failed' : `${trouble.code}: ${trouble.message}`;
  }

  #alarms(refusing: boolean): readonly string[] {
    const { trouble } = this.#parts.follower;
    const { lost } = this.#own;
    const { alarm } = this.#parts.policies;
    return [
      ...(refusing ? [`the ledger takes no records: ${this.#trouble()}`] : []),
      ...this.#intake.alarms(),
      ...(alarm === undefined ? [] : [alarm]),
      ...(trouble === undefined ? [] : [`the index does not follow: ${trouble}`]),
      ...(this.#anchoring?.alarms() ?? []),
      ...this.#parts.feeds.flatMap((feed) => feed.alarms()),
      ...(this.#retention === undefined ? [] : [`old entries could not be let go: ${this.#retention}`]),
      ...(lost === 0 ? [] : [`${lost} refusals could not be recorded`]),
    ];
  }
}

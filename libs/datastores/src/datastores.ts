/**
 * The datastores at work: one event after the other through the machine, each transaction durable before anybody hears
 * of it, and what the machine wants done. It must not know storage, schema, clocks or the ledger; all of them are given.
 */
import type { PlanValue } from '@kedge/contracts';
import type { Timers } from '@kedge/reconcile';
import { hasCode, KedgeError, type Nanos } from '@kedge/units';

import type { KeysOf } from './data-path.js';
import { step, unknownRevision } from './datastores-machine.js';
import {
  type DatastoresEvent,
  type DatastoresEvents,
  type DatastoresState,
  type Effect,
  type Fact,
  type Held,
  INITIAL,
  type Moment,
  type Posture,
  type Reply,
  type RequestKind,
  type Surroundings,
} from './datastores-state.js';
import { type Finding, type IntentRefusal, isRefusal, refusal } from './refusal.js';
import type { Keep, Kept } from './revision.js';

/** What a schema says of a document. */
export interface Validation {
  /** Empty: it accepts it. */
  readonly findings: readonly Finding[];
  /** False where it stops at its first finding (UN-1). */
  readonly complete: boolean;
}

/** One difference between two documents. */
export interface Change {
  /** Data path of the node. */
  readonly path: string;
  readonly kind: 'create' | 'delete' | 'replace';
  /** Of `delete` and `replace`. */
  readonly before?: PlanValue;
  /** Of `create` and `replace`. */
  readonly after?: PlanValue;
}

/** The modules by which documents are judged; libyang, where it is wired. Both calls take canonical JSON. */
export interface IntentSchema {
  /** SHA-256 over the modules in use, their revisions and features, hexadecimal. */
  readonly modules: string;
  validate(text: string): Promise<Validation>;
  diff(from: string, to: string): Promise<readonly Change[]>;
  /** By what a list is keyed. */
  readonly keysOf: KeysOf;
}

/** Where transactions become durable. */
export interface IntentKeeping {
  /**
   * Resolves when the transaction is durable, wholly.
   *
   * @throws KedgeError `INTENT_STORE_FULL`: there was no room and nothing of it is there, now and after a restart. After
   *   anything else it may be there or not, and nothing may be written any more.
   */
  keep(keep: Keep): Promise<void>;
  /**
   * The document of this hash.
   *
   * @throws KedgeError `INTENT_STORE_DAMAGED` where it is not what its hash proves, or not there.
   */
  documentOf(hash: string): Promise<string>;
}

/** The datastores by their names, and revisions of running by their numbers. */
export const SOURCES = ['startup', 'candidate', 'running', 'intended', 'operational'] as const;
/** See {@link SOURCES}. */
export type Source = (typeof SOURCES)[number] | number;

/** What the datastores are made of. */
export interface IntentDatastoresOptions {
  readonly keeping: IntentKeeping;
  /** What was kept; undefined at the very first start. */
  readonly kept: Kept | undefined;
  readonly schema: IntentSchema;
  readonly around: Omit<Surroundings, 'keysOf'>;
  readonly now: () => Moment;
  readonly timers: Timers;
  /** The posture in force; told of changes by {@link IntentDatastores.posture}. */
  readonly posture: Posture;
  /** Gives the compiler what is intended now. Must not throw; returns at once. */
  readonly intend: (held: Held) => void;
  /** What was given is intended no more, and nothing stands in its place yet. Must not throw; returns at once. */
  readonly withhold: () => void;
  /** Writes a fact down; answers wait for it. What it rejects with is told to `onTrouble`. */
  readonly record: (fact: Fact, at: Moment, posture: Posture) => Promise<void>;
  /** What went wrong with nobody to be told: a record, a transaction of the machine's own, a defect. */
  readonly onTrouble: (error: unknown, doing: string) => void;
  /** From a transaction that found no room to the next try, milliseconds; default 1000. */
  readonly retryMs?: number;
}

type Request = {
  [K in RequestKind]: { readonly kind: K } & Omit<DatastoresEvents[K], 'id' | 'text'> & TextOf<K>;
}[RequestKind];
type TextOf<K extends RequestKind> = K extends 'load' ? { readonly text: string } : object;

/** Datastores in use. Requests are answered by values; `close` when done. */
export class IntentDatastores {
  readonly #options: IntentDatastoresOptions;
  #state: DatastoresState = INITIAL;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #waiting = new Map<string, (reply: Reply) => void>();
  #requests = 0;
  #cancelWake: (() => void) | undefined;
  readonly #retries = new Map<DatastoresEvent['kind'], () => void>();
  #closed = false;

  private constructor(options: IntentDatastoresOptions) {
    this.#options = options;
  }

  /**
   * Begins with what was kept. What did not outlive the restart is put back, or waits for the posture.
   *
   * @throws KedgeError `INTENT_STORE_FULL` and whatever else the first transaction fails with.
   */
  static async open(options: IntentDatastoresOptions): Promise<IntentDatastores> {
    const datastores = new IntentDatastores(options);
    const { kept, schema, posture } = options;
    await datastores.#happen({ kind: 'level', ...posture });
    const failure = await datastores.#happen({ kind: 'opened', kept, modules: schema.modules });
    if (failure !== undefined) throw failure;
    return datastores;
  }

  /** As it is durable. */
  get state(): DatastoresState {
    return this.#state;
  }

  /** Takes a request; resolves with its one answer. */
  async request(request: Request): Promise<Reply> {
    this.#requests += 1;
    const id = `request/${this.#requests}`;
    const answer = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve));
    if (this.#closed) this.#answer(id, CLOSING);
    else if (request.kind === 'rollback') await this.#rollBack(id, request);
    else await this.#happen({ ...request, id });
    return answer;
  }

  /** The posture is this one now. */
  posture({ level, epoch }: Posture): void {
    void this.#happen({ kind: 'level', level, epoch });
  }

  /** Looks whether something is due; asks the schema again that could not be asked. */
  async tick(): Promise<void> {
    await this.#happen({ kind: 'tick' });
  }

  /** Takes what was read of the world as `operational`. */
  async observed(text: string): Promise<void> {
    await this.#happen({ kind: 'observed', text });
  }

  /**
   * The document of a datastore or a revision, or why there is none.
   *
   * @throws KedgeError `INTENT_STORE_DAMAGED`, and what else the store fails with.
   */
  async documentOf(source: Source): Promise<string | IntentRefusal> {
    const state = this.#state;
    if (state.phase === 'opening') return NOTHING_THERE('running');
    if (typeof source === 'number') {
      const revision = state.history.find(({ number }) => number === source);
      if (revision === undefined) return unknownRevision(state.history, source);
      return this.#options.keeping.documentOf(revision.hash);
    }
    return state[source]?.text ?? NOTHING_THERE(source);
  }

  /**
   * What the schema has against a document.
   *
   * @throws KedgeError As {@link documentOf}, and what the schema throws.
   */
  async validate(source: Source): Promise<Validation | IntentRefusal> {
    const text = await this.documentOf(source);
    return isRefusal(text) ? text : this.#options.schema.validate(text);
  }

  /** The changes that lead from one document to another. @throws KedgeError As {@link validate}. */
  async compare(from: Source, to: Source): Promise<readonly Change[] | IntentRefusal> {
    const [before, after] = [await this.documentOf(from), await this.documentOf(to)];
    if (isRefusal(before)) return before;
    if (isRefusal(after)) return after;
    return before === after ? [] : this.#options.schema.diff(before, after);
  }

  /** Takes nothing any more; resolves when what was under way is done. Storage may be closed then. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelWake?.();
    for (const cancel of this.#retries.values()) cancel();
    await this.#turn;
    for (const id of [...this.#waiting.keys()]) this.#answer(id, CLOSING);
  }

  /** The document is read first: the machine asks nobody. */
  async #rollBack(id: string, request: Extract<Request, { kind: 'rollback' }>): Promise<void> {
    let text: string | IntentRefusal;
    try {
      text = await this.documentOf(request.to);
    } catch (error) {
      this.#answer(id, refusalOf(error));
      return;
    }
    await this.#happen({ ...request, id, text: isRefusal(text) ? undefined : text });
  }

  /** One event after the other. Resolves with what its transaction failed with. */
  #happen(event: Unmarked): Promise<KedgeError | undefined> {
    const turn = this.#turn.then(() => this.#take({ ...event, at: this.#options.now() }));
    this.#turn = turn;
    return turn;
  }

  async #take(event: DatastoresEvent): Promise<KedgeError | undefined> {
    if (this.#closed) return undefined;
    this.#retries.get(event.kind)?.();
    const { keeping, around, schema, onTrouble } = this.#options;
    let result;
    try {
      result = step(this.#state, event, { ...around, keysOf: schema.keysOf });
    } catch (error) {
      result = { kind: 'refused', why: error instanceof Error ? error.message : 'it failed' } as const;
    }
    if (result.kind === 'refused') {
      onTrouble(new Error(result.why), `an event that does not belong: ${event.kind}`);
      if ('id' in event) this.#answer(event.id, DEFECT);
      return undefined;
    }
    const [first] = result.effects;
    if (first?.do === 'keep') {
      try {
        await keeping.keep(first.keep);
      } catch (error) {
        return this.#notKept(event, error);
      }
    }
    this.#state = result.state;
    this.#carryOut(result.effects);
    return undefined;
  }

  /** What could not be written has not happened. */
  #notKept(event: DatastoresEvent, error: unknown): KedgeError {
    const known =
      error instanceof KedgeError
        ? error
        : new KedgeError({ code: 'INTENT_STORE_FAILED', message: 'cannot keep the intent', cause: error });
    const isFull = hasCode(known, 'INTENT_STORE_FULL');
    // A commit whose time is over stays only because that cannot be written: nothing more is done for it.
    const { phase } = this.#state;
    if (phase === 'confirming' && this.#options.now().ns >= this.#state.deadline) this.#options.withhold();
    if (!isFull && event.kind !== 'opened') void this.#happen({ kind: 'storeFailed', why: known.message });
    switch (event.kind) {
      case 'validated':
        // Its request is answered in its turn, and waits for the schema no more.
        if (isFull) void this.#happen({ ...event, failure: known.toJSON() });
        break;
      case 'opened':
        break;
      case 'level':
      case 'tick':
        this.#options.onTrouble(known, event.kind);
        if (isFull) this.#again(event);
        break;
      default:
        if ('id' in event) this.#answer(event.id, refusalOf(known));
        else this.#options.onTrouble(known, event.kind);
    }
    return known;
  }

  /** What nobody waits for is tried again; a newer event of its kind takes its place. */
  #again(event: DatastoresEvent): void {
    const { timers, retryMs = 1000 } = this.#options;
    const cancel = timers.after(retryMs, () => {
      this.#retries.delete(event.kind);
      void this.#happen(event);
    });
    this.#retries.set(event.kind, () => {
      cancel();
      this.#retries.delete(event.kind);
    });
  }

  #carryOut(effects: readonly Effect[]): void {
    const { intend, withhold, record, onTrouble } = this.#options;
    let recorded: Promise<unknown> = Promise.resolve();
    for (const effect of effects) {
      switch (effect.do) {
        case 'keep':
          break;
        case 'validate':
          void this.#validated(effect.id, effect.text);
          break;
        case 'intend':
          intend(effect.held);
          break;
        case 'withhold':
          withhold();
          break;
        case 'wake':
          this.#wake(effect.at);
          break;
        case 'record': {
          const { fact, at, posture } = effect;
          const written = record(fact, at, posture).catch((error: unknown) =>
            onTrouble(error, `a record: ${fact.fact}`),
          );
          recorded = Promise.all([recorded, written]);
          break;
        }
        case 'answer': {
          const { id, reply } = effect;
          void recorded.then(() => this.#answer(id, reply));
          break;
        }
      }
    }
  }

  async #validated(id: string, text: string): Promise<void> {
    try {
      await this.#happen({ kind: 'validated', id, ...(await this.#options.schema.validate(text)) });
    } catch (error) {
      this.#options.onTrouble(error, 'a validation');
      const failure = {
        code: 'INTENT_UNCHECKED',
        message: `it could not be validated: ${error instanceof Error ? error.message : 'the schema failed'}`,
      };
      await this.#happen({ kind: 'validated', id, findings: [], complete: false, failure });
    }
  }

  #wake(at: Nanos | undefined): void {
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    if (at === undefined) return;
    const { now, timers } = this.#options;
    const ms = Number((at - now().ns) / 1_000_000n) + 1;
    this.#cancelWake = timers.after(Math.max(ms, 0), () => {
      // Timers may come early: Node's count from when its loop last looked at the clock. Asked again they are not lost.
      if (now().ns < at) this.#wake(at);
      else void this.tick();
    });
  }

  #answer(id: string, reply: Reply): void {
    this.#waiting.get(id)?.(reply);
    this.#waiting.delete(id);
  }
}

type Unmarked = {
  [K in DatastoresEvent['kind']]: Omit<Extract<DatastoresEvent, { kind: K }>, 'at'>;
}[DatastoresEvent['kind']];

const CLOSING = refusal({
  code: 'INTENT_CLOSING',
  message: 'cannot answer about the intent: the service is ending',
  help: 'ask again when it runs',
});

const DEFECT = refusal({
  code: 'INTENT_DEFECT',
  message: 'the request met a state that it should not have met',
  help: 'the log says more; it is a defect',
});

const NOTHING_THERE = (source: string): IntentRefusal =>
  refusal({
    code: 'INTENT_NOTHING_THERE',
    message: `nothing stands in ${source} yet`,
    field: 'source',
    expected: 'a datastore that holds something',
  });

function refusalOf(error: unknown): IntentRefusal {
  const known = error instanceof KedgeError ? error : undefined;
  return refusal(
    known?.toJSON() ?? { code: 'INTENT_STORE_FAILED', message: 'cannot read what is kept of the intent' },
  );
}

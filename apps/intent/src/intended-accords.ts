/**
 * Accords of the intent on their way to the coordinator: what is intended is asked for, written down before, looked at
 * after, and taken back where it is intended no more (PO-2).
 * It must not decide what follows from what; accords-standing.ts does. Nor may it judge who may: the coordinator does.
 */
import {
  type AccordDocuments,
  accordDocument,
  intentPostureClient,
  type PostureClient,
  type SetReply,
} from '@kedge/bus';
import { frozenAt, type Holder, type Revision } from '@kedge/datastores';
import { treesOf, type WholeIntent } from '@kedge/intent-model';
import { sha256 } from '@kedge/intent-store';
import { accordsIdentity, parseAccords } from '@kedge/posture';
import { canonicalText } from '@kedge/reconcile';
import { type Clock, KedgeError, type Level } from '@kedge/units';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { AccordsMemoryFile, type KeptDocuments } from './accords-memory.js';
import {
  type AskedAnswer,
  beginning,
  type Standing,
  standingAlarm,
  type StandingEffect,
  type StandingEvent,
  stepStanding,
} from './accords-standing.js';
import type { Intended, IntentLog } from './intent.js';

/** How long the coordinator may take to say what is in force, milliseconds. */
const LOOK_DEADLINE_MS = 5_000;
/** How long it may take to answer for accords: others may be prepared before these are, milliseconds. */
const ASK_DEADLINE_MS = 30_000;

/** What accords of the intent are brought into force with; all of it stays its caller's. */
export interface IntendedAccordsParts {
  /** The coordinator's socket for the intent. */
  readonly socket: string;
  /** Where it keeps the accords in force, each set under its hash. */
  readonly inForce: string;
  /** Where what was asked for is written down. */
  readonly directory: string;
  readonly level: Level;
  readonly clock: Clock;
  readonly log: IntentLog;
}

/** One for each intent; `close` once. */
export class IntendedAccords {
  readonly #parts: IntendedAccordsParts;
  readonly #client: PostureClient;
  readonly #file: AccordsMemoryFile;
  readonly #closing = new AbortController();
  #state: Standing;
  #level: Level;
  #isWithheld = false;
  #revision: Revision | undefined;
  #documents: AccordDocuments | undefined;
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<void> = Promise.resolve();
  #said: string | undefined;

  private constructor(parts: IntendedAccordsParts, file: AccordsMemoryFile) {
    this.#parts = parts;
    this.#client = intentPostureClient(parts.socket);
    this.#file = file;
    this.#level = parts.level;
    this.#state = beginning(file.memory, frozenAt(parts.level).compilation);
  }

  /** Begins with what was written down. @throws Error of the file system. */
  static async open(parts: IntendedAccordsParts): Promise<IntendedAccords> {
    return new IntendedAccords(parts, await AccordsMemoryFile.open(parts.directory, parts.log));
  }

  /** What is wrong, in plain words. */
  get alarms(): readonly string[] {
    return [standingAlarm(this.#state), this.#file.damage].filter((each) => each !== undefined);
  }

  /** This is intended now. Returns at once. */
  intended({ held, by }: Intended): void {
    this.#revision = held.revision;
    const { number: revision, id } = held.revision;
    try {
      this.#documents = documentsOf(held.text);
      const hash = this.#documents === undefined ? undefined : hashOf(this.#documents);
      this.#happen({ kind: 'intended', intended: { revision, id, by, hash } });
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      const { code, message } = error;
      this.#happen({
        kind: 'intended',
        intended: { revision, id, by, hash: undefined, fault: { code, message } },
      });
    }
    if (!this.#isWithheld) return;
    this.#isWithheld = false;
    this.#mayAsk();
  }

  /** What was intended last is no more, and nothing stands in its place yet: it is asked for no further. */
  withheld(): void {
    this.#isWithheld = true;
    this.#mayAsk();
  }

  /** The level is this one now. */
  level(level: Level): void {
    if (level === this.#level) return;
    this.#level = level;
    this.#mayAsk();
  }

  #mayAsk(): void {
    this.#happen({ kind: 'level', frozen: this.#isWithheld || frozenAt(this.#level).compilation });
  }

  /** Asks for nothing any more; resolves when what was under way is over. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    await this.#working;
    this.#client.close();
  }

  #happen(event: StandingEvent): void {
    if (this.#closing.signal.aborted) return;
    const { log } = this.#parts;
    const result = stepStanding(this.#state, event);
    if (result.kind === 'refused') {
      log.error({ event: event.kind, phase: this.#state.phase, why: result.why }, 'an event does not belong');
      return;
    }
    this.#state = result.state;
    const alarm = standingAlarm(result.state);
    if (alarm !== this.#said) {
      if (alarm === undefined)
        log.info({}, 'the accords of the intent stand as intended, or are on their way');
      else log.error({ alarm }, 'the accords of the intent are not in force');
      this.#said = alarm;
    }
    for (const effect of result.effects) this.#carryOut(effect);
  }

  #carryOut(effect: StandingEffect): void {
    if (effect.do === 'wake') {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#happen({ kind: 'woken' }), effect.afterMs);
      this.#timer.unref();
      return;
    }
    this.#working = this.#done(effect).then((event) => this.#happen(event));
  }

  /** Never rejects: what fails is an event. */
  async #done(effect: Exclude<StandingEffect, { do: 'wake' }>): Promise<StandingEvent> {
    try {
      switch (effect.do) {
        case 'look':
          return await this.#look();
        case 'keep':
          await this.#file.keep(
            effect.memory,
            effect.documentsOf === undefined ? undefined : await this.#standing(effect.documentsOf),
          );
          return { kind: 'kept' };
        case 'ask':
          return { kind: 'answered', answer: await this.#ask(effect) };
      }
    } catch (error) {
      const code = error instanceof KedgeError ? `${error.code} ` : '';
      const message = error instanceof Error ? error.message : 'it failed';
      if (!this.#closing.signal.aborted)
        this.#parts.log.warn({ err: error, doing: effect.do }, 'accords of the intent cannot be brought on');
      return { kind: 'failed', why: `${code}${message}` };
    }
  }

  async #look(): Promise<StandingEvent> {
    const { signal } = this.#closing;
    const { accordsHash, transition } = await this.#client.get({}, { deadlineMs: LOOK_DEADLINE_MS, signal });
    return { kind: 'looked', inForce: accordsHash, running: transition?.outcome === 'running' };
  }

  async #ask({ asked, by, back }: Extract<StandingEffect, { do: 'ask' }>): Promise<AskedAnswer> {
    const documents = back ? this.#file.before : this.#documents;
    const revision = this.#revision;
    if (documents === undefined || revision === undefined)
      throw new Error('the documents of what is asked for are not there');
    const { accords, zones } = documents;
    this.#parts.log.info(
      { revision: asked.revision, hash: asked.hash, key: asked.key, ...by },
      'accords are asked for',
    );
    const reply = await this.#client.reloadAccords(
      {
        principal: by.principal,
        reason: reasonOf(revision, back),
        idempotencyKey: asked.key,
        documents: { accords, zones },
        onBehalf: onBehalf(by, revision, this.#parts.clock),
      },
      { deadlineMs: ASK_DEADLINE_MS, signal: this.#closing.signal },
    );
    this.#parts.log.info({ revision: asked.revision, key: asked.key, outcome: reply.outcome }, 'an answer');
    return answerOf(reply);
  }

  /** The documents of the set in force, as the coordinator keeps them, proven by its hash. */
  async #standing(hash: string): Promise<KeptDocuments> {
    const text = (name: string) => readFile(join(this.#parts.inForce, hash, `${name}.json`), 'utf8');
    const [accords, zones] = await Promise.all([text('accords'), text('zones')]);
    if (hashOf({ accords, zones }) !== hash)
      throw new KedgeError({
        code: 'ACCORD_COPY_DAMAGED',
        message: `cannot keep what stands before the accords of the intent: its copy in ${this.#parts.inForce} was changed`,
        help: 'look at the alarms of kedge posture get',
      });
    return { hash, accords, zones };
  }
}

/** Accords and zones of a document of intent as the coordinator takes them; undefined where it has none. */
export function documentsOf(text: string): AccordDocuments | undefined {
  const { accords: tree } = treesOf(JSON.parse(text) as WholeIntent);
  if (tree === undefined) return undefined;
  const { 'kedge-accords:accords': accords, ...zones } = tree;
  return { accords: canonicalText({ 'kedge-accords:accords': accords }), zones: canonicalText(zones) };
}

/** @throws KedgeError as `parseAccords`; `ACCORD_SYNTAX`. */
function hashOf({ accords, zones }: AccordDocuments): string {
  const set = parseAccords(
    accordDocument('accords', 'the intent', accords),
    accordDocument('zones', 'the intent', zones),
  );
  return sha256(accordsIdentity(set));
}

/** The same for one revision: under one key it is one request. */
function reasonOf({ number, comment }: Revision, back: boolean): string {
  const why = back ? 'back to what stood before the accords of the intent' : comment;
  return `intent revision ${String(number)}${why === '' ? '' : `: ${why}`}`.slice(0, 512);
}

/**
 * For whom, and how long ago they asked: by the clock that says longer, for a boot in between ends what one of them
 * measures, and a step the other (PO-25). One that went back says nothing.
 */
function onBehalf({ tier, channel }: Holder, { atNs, atMs }: Revision, clock: Clock) {
  const ages = [Number((clock.monotonicNs() - BigInt(atNs)) / 1_000_000n), clock.wallMs() - atMs];
  const isKnown = ages.every((age) => age >= 0);
  return { tier, channel, ...(isKnown ? { askedMsAgo: BigInt(Math.max(...ages)) } : {}) };
}

function answerOf(reply: SetReply): AskedAnswer {
  if (reply.outcome !== 'refusal') return { kind: reply.outcome };
  const { code, message } = reply.refusal;
  return { kind: 'refusal', code, message };
}

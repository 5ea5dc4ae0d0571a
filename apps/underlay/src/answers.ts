/**
 * Answers that are remembered: the same mutation, asked for again, is not carried out again.
 * It must not know what an answer says.
 */
import { KedgeError } from '@kedge/units';

/** How much is remembered. */
export interface AnswerBounds {
  /** Answers. */
  readonly count: number;
  /** What they weigh together. */
  readonly weight: number;
}

/** What is to be known of an answer. */
export interface AnswerRules<Answer> {
  readonly bounds: AnswerBounds;
  /** Whether it is one for good; who asks again after another one asks anew. */
  readonly isFinal: (answer: Answer) => boolean;
  /** Of all that is kept of it. */
  readonly weightOf: (answer: Answer) => number;
  /** The same answer with less weight, for when there is too much; what is too much even so is forgotten. */
  readonly lighter: (answer: Answer) => Answer;
}

interface Entry<Answer> {
  /** Of the whole request: another one with the same id is another mutation. */
  readonly content: string;
  /** While there is no answer yet. */
  reply: Promise<Answer> | undefined;
  readonly abandoned: AbortController;
  /** Those that wait for it. */
  callers: number;
  answer: Answer | undefined;
  /** Of the answer. */
  weight: number;
  isLight: boolean;
}

/** See the head of the file. */
export class Answers<Answer> {
  readonly #rules: AnswerRules<Answer>;
  readonly #entries = new Map<string, Entry<Answer>>();
  #weight = 0;

  constructor(rules: AnswerRules<Answer>) {
    this.#rules = rules;
  }

  /**
   * The answer to a request: of the work, or of the same work before.
   *
   * @param content of the whole request
   * @param signal who asks leaves when it aborts; when all have left, the signal of the work aborts.
   * @throws KedgeError `UNDERLAY_ID_REUSED`
   * @throws what the work throws, and what the signal was aborted with
   */
  async of(
    id: string,
    content: string,
    signal: AbortSignal,
    work: (abandoned: AbortSignal) => Promise<Answer>,
  ): Promise<Answer> {
    let entry = this.#entries.get(id);
    if (entry !== undefined && entry.content !== content)
      throw new KedgeError({
        code: 'UNDERLAY_ID_REUSED',
        message: `cannot run ${id}: another mutation had this id`,
        field: 'id',
        expected: 'an id of its own',
      });
    entry ??= this.#begin(id, content, work);
    if (entry.reply === undefined) return entry.answer as Answer;
    return await this.#join(entry, entry.reply, signal);
  }

  #begin(id: string, content: string, work: (abandoned: AbortSignal) => Promise<Answer>): Entry<Answer> {
    const abandoned = new AbortController();
    const reply = work(abandoned.signal);
    const nothing = { answer: undefined, weight: 0, isLight: false };
    const entry: Entry<Answer> = { content, reply, abandoned, callers: 0, ...nothing };
    this.#entries.set(id, entry);
    reply.then(
      (answer) => {
        if (this.#rules.isFinal(answer)) this.#keep(entry, answer);
        else this.#entries.delete(id);
      },
      () => {
        this.#entries.delete(id);
      },
    );
    return entry;
  }

  async #join(entry: Entry<Answer>, reply: Promise<Answer>, signal: AbortSignal): Promise<Answer> {
    entry.callers += 1;
    let leave: () => void = () => undefined;
    const left = new Promise<never>((_resolve, reject) => {
      leave = () => {
        entry.callers -= 1;
        if (entry.callers === 0) entry.abandoned.abort(signal.reason);
        reject(signal.reason as Error);
      };
      if (signal.aborted) leave();
      else signal.addEventListener('abort', leave, { once: true });
    });
    try {
      return await Promise.race([reply, left]);
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  #keep(entry: Entry<Answer>, answer: Answer): void {
    const { bounds, lighter } = this.#rules;
    this.#put(entry, answer);
    // It would hold the answer with all its weight.
    entry.reply = undefined;
    for (const [id, old] of this.#entries) {
      if (this.#entries.size <= bounds.count) break;
      this.#forget(id, old);
    }
    for (const old of this.#entries.values()) {
      if (this.#weight <= bounds.weight) return;
      if (old.answer === undefined || old.isLight) continue;
      old.isLight = true;
      this.#put(old, lighter(old.answer));
    }
    for (const [id, old] of this.#entries) {
      if (this.#weight <= bounds.weight) return;
      this.#forget(id, old);
    }
  }

  #put(entry: Entry<Answer>, answer: Answer): void {
    this.#weight -= entry.weight;
    entry.answer = answer;
    entry.weight = this.#rules.weightOf(answer);
    this.#weight += entry.weight;
  }

  /** What is still being worked at stays. */
  #forget(id: string, { answer, weight }: Entry<Answer>): void {
    if (answer === undefined) return;
    this.#weight -= weight;
    this.#entries.delete(id);
  }
}

/**
 * The client of a witness: offers checkpoints, knows what the witness holds, and tells a log that was put back or has
 * forked from a witness that is away (LE-4).
 * It must not believe a witness what no signature says, and not try again by itself.
 */
import {
  type Checkpoint,
  isConsistent,
  type NoteVerifier,
  openCheckpoint,
  type OpenedCheckpoint,
} from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { Agent, request as httpRequest } from 'node:http';
import { Agent as TlsAgent, request as httpsRequest } from 'node:https';

import { addCheckpointText, originHash, sizeOf } from './add-checkpoint.js';

const ANSWER_MAX_BYTES = 131_072;
/** The witness may have moved between a question and the next; more often than this it makes no sense. */
const ATTEMPTS = 4;

/** What is to be anchored. */
export interface AnchorRequest {
  /** The checkpoint as its log has signed it. */
  readonly checkpoint: string;
  /** The consistency proof from a size, at most that of the checkpoint, to it. */
  readonly proofFrom: (size: number) => readonly Buffer[] | Promise<readonly Buffer[]>;
}

/**
 * What came of it. `cosigned`: the checkpoint with the witness's signature. `older`: the witness holds a larger one
 * that this log has signed: the log was put back. `fork`: it holds one that this log has signed and has not grown out
 * of. `unreachable`: no answer in time; later it may. `refused`: an answer from which nothing follows about the log,
 * as when the witness does not watch it, or shows nothing that proves what it says.
 */
export type AnchorVerdict =
  | { readonly verdict: 'cosigned'; readonly checkpoint: string; readonly atS: number }
  | { readonly verdict: 'older' | 'fork'; readonly held: Checkpoint; readonly heldNote: string }
  | { readonly verdict: 'unreachable' | 'refused'; readonly why: string };

/** Who is asked, and for whom. */
export interface AnchorOptions {
  /** Where the witness is served: "https://witness.example:8443". */
  readonly url: string;
  readonly witness: NoteVerifier;
  readonly log: NoteVerifier;
  /** An answer has to be there within this time; default 5 s. */
  readonly answerMs?: number;
  /** Certificates to trust, PEM; default those of the system. */
  readonly ca?: string;
  /** Size that the witness was known to hold; default 0, it says so itself. */
  readonly heldSize?: number;
}

/** A way to a witness. */
export interface Anchor {
  /** Size that the witness is known to hold. */
  readonly heldSize: number;
  /** Offers a checkpoint. One at a time; the caller waits. @throws KedgeError `WITNESS_ANCHOR_UNSIGNED` */
  anchor(request: AnchorRequest): Promise<AnchorVerdict>;
  /** Ends connections. */
  close(): void;
}

/** Opens a way to a witness; nothing is sent yet. @throws KedgeError `WITNESS_OPTIONS` */
export function openAnchor(options: AnchorOptions): Anchor {
  const { url, witness, log } = options;
  if (!/^https?:\/\/[^/?#]+(\/[^?#]*)?$/.test(url) || witness.kind !== 'witness' || log.kind !== 'log') {
    throw new KedgeError({
      code: 'WITNESS_OPTIONS',
      message: 'cannot ask the witness',
      expected: 'an address of http or https, the key of a witness, and the key of a log',
    });
  }
  return new OpenAnchor(options);
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

class OpenAnchor implements Anchor {
  readonly #options: AnchorOptions;
  readonly #prefix: string;
  readonly #agent: Agent;
  #heldSize: number;

  constructor(options: AnchorOptions) {
    this.#options = options;
    this.#prefix = options.url.replace(/\/$/, '');
    const keep = { keepAlive: true, maxSockets: 1 };
    this.#agent = options.url.startsWith('https:') ? new TlsAgent(keep) : new Agent(keep);
    this.#heldSize = options.heldSize ?? 0;
  }

  get heldSize(): number {
    return this.#heldSize;
  }

  async anchor({ checkpoint: note, proofFrom }: AnchorRequest): Promise<AnchorVerdict> {
    const { log } = this.#options;
    let own: OpenedCheckpoint;
    try {
      own = openCheckpoint(note, log);
    } catch (cause) {
      throw new KedgeError({
        code: 'WITNESS_ANCHOR_UNSIGNED',
        message: `cannot anchor: this is no checkpoint that ${log.name} has signed`,
        cause,
      });
    }
    // What was known may be of a longer log that is gone; then the witness is asked.
    let oldSize = this.#heldSize <= own.size ? this.#heldSize : 0;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const proof = await proofFrom(oldSize);
      const reply = await this.#ask(
        '/add-checkpoint',
        addCheckpointText({ oldSize, proof, checkpoint: note }),
      );
      if (typeof reply === 'string') return { verdict: 'unreachable', why: reply };
      if (reply.status === 200) return this.#cosigned(note, own, reply.body);
      if (reply.status >= 500) return { verdict: 'unreachable', why: `the witness answered ${reply.status}` };
      const size = reply.status === 409 ? sizeOf(reply.body) : undefined;
      if (size === undefined || size > own.size || size === oldSize) {
        return await this.#refused(own, proofFrom, reply);
      }
      oldSize = size;
      this.#heldSize = size;
    }
    return { verdict: 'unreachable', why: 'what the witness holds changed again and again' };
  }

  close(): void {
    this.#agent.destroy();
  }

  #cosigned(note: string, own: Checkpoint, lines: string): AnchorVerdict {
    const { log, witness } = this.#options;
    try {
      const checkpoint = note + lines;
      const [by] = openCheckpoint(checkpoint, log, [witness]).witnesses;
      if (by?.atS === undefined) return { verdict: 'refused', why: 'the answer has no cosignature of it' };
      this.#heldSize = own.size;
      return { verdict: 'cosigned', checkpoint, atS: by.atS };
    } catch {
      return { verdict: 'refused', why: 'the answer has a cosignature that does not hold' };
    }
  }

  /** A refusal counts against the log only with a checkpoint that the log itself has signed. */
  async #refused(
    own: Checkpoint,
    proofFrom: AnchorRequest['proofFrom'],
    { status, body }: Reply,
  ): Promise<AnchorVerdict> {
    const { log, witness } = this.#options;
    const why = `the witness answered ${status}: ${body.split('\n')[0]?.slice(0, 120) ?? ''}`;
    if (status !== 409 && status !== 422) return { verdict: 'refused', why };
    const reply = await this.#ask(`/${originHash(log.name)}/checkpoint`);
    if (typeof reply === 'string') return { verdict: 'unreachable', why: reply };
    let held: OpenedCheckpoint;
    try {
      held = openCheckpoint(reply.body, log, [witness]);
    } catch {
      return { verdict: 'refused', why: `${why}; it shows no checkpoint of this log` };
    }
    if (held.witnesses.length === 0)
      return { verdict: 'refused', why: `${why}; it has not cosigned what it shows` };
    const found = { held, heldNote: reply.body };
    if (held.size > own.size) return { verdict: 'older', ...found };
    const proof = await proofFrom(held.size);
    const [first, firstRoot] = [held.size, held.root];
    const isGrown = isConsistent({ first, firstRoot, second: own.size, secondRoot: own.root, proof });
    return isGrown ? { verdict: 'refused', why } : { verdict: 'fork', ...found };
  }

  /** An answer, or why there is none. */
  #ask(path: string, body?: string): Promise<Reply | string> {
    const { answerMs = 5_000, ca } = this.#options;
    return new Promise((resolve) => {
      const secure = this.#prefix.startsWith('https:');
      const ask = secure ? httpsRequest : httpRequest;
      const asked = ask(
        `${this.#prefix}${path}`,
        {
          method: body === undefined ? 'GET' : 'POST',
          agent: this.#agent,
          signal: AbortSignal.timeout(answerMs),
          ...(ca === undefined ? {} : { ca }),
          ...(body === undefined ? {} : { headers: { 'content-length': Buffer.byteLength(body) } }),
        },
        (response) => {
          const chunks: Buffer[] = [];
          let length = 0;
          response.on('data', (chunk: Buffer) => {
            length += chunk.length;
            if (length > ANSWER_MAX_BYTES) response.destroy(new RangeError('the answer is too long'));
            else chunks.push(chunk);
          });
          response.once('end', () => {
            resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') });
          });
          response.once('error', (error) => {
            resolve(error.message);
          });
        },
      );
      asked.once('error', (error: NodeJS.ErrnoException) => {
        resolve(
          error.name === 'AbortError' || error.name === 'TimeoutError' ? 'no answer in time' : error.message,
        );
      });
      asked.end(body);
    });
  }
}

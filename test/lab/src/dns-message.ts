/**
 * The two DNS messages that a lab needs (RFC 1035): a question as it comes in, an answer as it goes out.
 * It must not believe anything in a message before it was looked at, and must not know what names there are.
 */

/** What a question asks for; other types are numbers without a name here. */
export const DNS_TYPES = { a: 1, aaaa: 28 } as const;
/** The only class of names that is answered. */
export const DNS_CLASS_IN = 1;
/** Over UDP a question is no longer than this, and so is an answer (RFC 1035 §2.3.4). */
export const DNS_BYTES = 512;

const HEADER_BYTES = 12;
const NAME_BYTES = 255;
const LABEL_BYTES = 63;
const ANSWER_FLAGS = 0x8400; // an answer, by who is responsible for the name
const RECURSION_DESIRED = 0x0100;
const NO_SUCH_NAME = 3;
/** Points to the name of the question, which begins behind the header. */
const NAME_OF_QUESTION = 0xc000 | HEADER_BYTES;
/** Nobody keeps an answer: every conversation asks anew. */
const TTL_S = 0;

export interface DnsQuestion {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** In lower case, without the last dot. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** The question as it came, from its name to its class; of the message that was read. */
  readonly bytes: Uint8Array;
}

/** The question of a message, or undefined for everything that is not one ordinary question. */
export function questionOf(message: Uint8Array): DnsQuestion | undefined {
  if (message.length < HEADER_BYTES || message.length > DNS_BYTES) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const flags = view.getUint16(2);
  // Answers, and questions of another kind; not one question; records that belong into an answer.
  if ((flags & 0xf800) !== 0 || view.getUint16(4) !== 1) return undefined;
  if (view.getUint16(6) !== 0 || view.getUint16(8) !== 0) return undefined;
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = message[at];
    // A pointer has nothing to point to in front of the first name.
    if (length === undefined || length > LABEL_BYTES) return undefined;
    at += 1;
    if (length === 0) break;
    const label = message.subarray(at, at + length);
    if (label.length < length || at + length - HEADER_BYTES >= NAME_BYTES) return undefined;
    const text = String.fromCharCode(...label);
    if (!/^[\w-]+$/.test(text)) return undefined;
    labels.push(text.toLowerCase());
    at += length;
  }
  if (at + 4 > message.length) return undefined;
  return {
    id: view.getUint16(0),
    recursionDesired: (flags & RECURSION_DESIRED) !== 0,
    name: labels.join('.'),
    type: view.getUint16(at),
    class: view.getUint16(at + 2),
    bytes: message.subarray(HEADER_BYTES, at + 4),
  };
}

/**
 * The answer to a question.
 *
 * @param addresses of 4 bytes for A, of 16 for AAAA, at most 8; empty where the name has none of the type that was
 *   asked for; undefined where there is no such name.
 */
export function answerTo(question: DnsQuestion, addresses: readonly Uint8Array[] | undefined): Uint8Array {
  const records = (addresses ?? []).slice(0, 8);
  const message = new Uint8Array(
    records.reduce((bytes, { length }) => bytes + 12 + length, HEADER_BYTES + question.bytes.length),
  );
  const view = new DataView(message.buffer);
  const recursion = question.recursionDesired ? RECURSION_DESIRED : 0;
  view.setUint16(0, question.id);
  view.setUint16(2, ANSWER_FLAGS | recursion | (addresses === undefined ? NO_SUCH_NAME : 0));
  view.setUint16(4, 1);
  view.setUint16(6, records.length);
  message.set(question.bytes, HEADER_BYTES);
  let at = HEADER_BYTES + question.bytes.length;
  for (const address of records) {
    view.setUint16(at, NAME_OF_QUESTION);
    view.setUint16(at + 2, question.type);
    view.setUint16(at + 4, question.class);
    view.setUint32(at + 6, TTL_S);
    view.setUint16(at + 10, address.length);
    message.set(address, at + 12);
    at += 12 + address.length;
  }
  return message;
}

/**
 * The answer to a plan: as it is remembered, and as it goes out in parts.
 * It must hold nothing that is not sent: it may be remembered for long.
 */
import type { CarriedOutMessage, CarryOutReply, DeviceReadingPart, GateRefusal } from '@kedge/bus';
import type { CarriedOut } from '@kedge/driver-host';
import type { Reading } from '@kedge/driver-kit';

/** Bytes of a tree in one reply. */
const PIECE_BYTES = 256 * 1024;
/** Ids and differences in one reply. */
const ITEMS_AT_ONCE = 512;

/** A reading on its way. */
interface ReadText {
  readonly tree: Buffer;
  readonly own: readonly string[];
}

/** What somebody is told about a plan. */
export type PlanAnswer =
  | { readonly is: 'refusal'; readonly refusal: GateRefusal }
  | {
      readonly is: 'carried';
      /** With all its steps and differences. */
      readonly carried: CarriedOutMessage;
      /** The device as it was read last, where that could be and is still remembered. */
      readonly read: ReadText | undefined;
    };

/** The answer about what was carried out. */
export function carriedAnswer({ applied, rolledBack, remaining, reading }: CarriedOut): PlanAnswer {
  const { outcome, done, failure } = applied;
  return {
    is: 'carried',
    carried: {
      result: outcome,
      done,
      ...(failure === undefined ? {} : { failure: { ...failure, step: failure.step ?? '' } }),
      ...(rolledBack === undefined ? {} : { rolledBack }),
      remaining: remaining.map(({ path, intended, actual }) => ({
        path,
        intended: JSON.stringify(intended),
        actual: JSON.stringify(actual),
      })),
      wasRead: reading !== undefined,
    },
    read: reading === undefined ? undefined : textOf(reading),
  };
}

/** What an answer takes while it is remembered, bytes of text. */
export function weightOf(answer: PlanAnswer): number {
  const { read, ...rest } = { read: undefined, ...answer };
  const text = Buffer.byteLength(JSON.stringify(rest));
  return read === undefined ? text : text + read.tree.length + Buffer.byteLength(JSON.stringify(read.own));
}

/** The same answer without the reading, which whoever asks again can ask for. */
export function lighter(answer: PlanAnswer): PlanAnswer {
  if (answer.is === 'refusal') return answer;
  return { ...answer, carried: { ...answer.carried, wasRead: false }, read: undefined };
}

/** An answer in parts; at least one. */
export function* repliesOf(answer: PlanAnswer): Generator<CarryOutReply> {
  if (answer.is === 'refusal') {
    yield { outcome: 'refusal', refusal: answer.refusal };
    return;
  }
  const { carried, read } = answer;
  const { done, remaining } = carried;
  for (let at = 0; at === 0 || at < Math.max(done.length, remaining.length); at += ITEMS_AT_ONCE) {
    const [from, to] = [at, at + ITEMS_AT_ONCE];
    yield {
      outcome: 'carried',
      carried: { ...carried, done: done.slice(from, to), remaining: remaining.slice(from, to) },
    };
  }
  if (read === undefined) return;
  for (const reading of partsOf(read)) yield { outcome: 'reading', reading };
}

/** A reading in parts; at least one. */
export function readingParts(reading: Reading): Generator<DeviceReadingPart> {
  return partsOf(textOf(reading));
}

function textOf({ tree, own }: Reading): ReadText {
  return { tree: Buffer.from(JSON.stringify(tree), 'utf8'), own };
}

function* partsOf({ tree, own }: ReadText): Generator<DeviceReadingPart> {
  for (let at = 0; at === 0 || at < tree.length; at += PIECE_BYTES)
    yield { tree: tree.subarray(at, at + PIECE_BYTES), own: [] };
  for (let at = 0; at < own.length; at += ITEMS_AT_ONCE)
    yield { tree: Buffer.alloc(0), own: own.slice(at, at + ITEMS_AT_ONCE) };
}

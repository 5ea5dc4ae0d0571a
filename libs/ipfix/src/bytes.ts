/**
 * Bytes in network order: numbers, fixed and variable text, fields of an element's length.
 * It must not know messages or templates.
 */
import { type Element, VARIABLE } from './templates.js';

export type Value = bigint | number | string | Uint8Array;

const utf8 = new TextEncoder();
/** Longest value of a variable field; far above every name that there is. */
export const TEXT_MAX = 512;

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** The bytes of a text, of too long a one its last: what tells names apart stands at their end. */
export function textBytes(text: string, most: number): Uint8Array {
  const whole = utf8.encode(text);
  let from = Math.max(0, whole.length - most);
  while (isContinuation(whole[from]) && from > 0) from += 1;
  return whole.subarray(from);
}

/** An unsigned number in `length` bytes; what does not fit is cut off above. */
export function numberBytes(value: bigint | number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let rest = BigInt.asUintN(length * 8, BigInt(value));
  for (let at = length - 1; at >= 0; at -= 1) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** One value as its element asks for it. Fixed text ends with at least one zero. */
export function fieldBytes({ length, type }: Element, value: Value): Uint8Array {
  if (typeof value === 'bigint' || typeof value === 'number') return numberBytes(value, length);
  if (length === VARIABLE) {
    const content = typeof value === 'string' ? textBytes(value, TEXT_MAX) : value.subarray(0, TEXT_MAX);
    return content.length < 255
      ? joined([Uint8Array.of(content.length), content])
      : joined([Uint8Array.of(255), numberBytes(content.length, 2), content]);
  }
  const content = typeof value === 'string' ? textBytes(value, type === 'text' ? length - 1 : length) : value;
  const field = new Uint8Array(length);
  field.set(content.subarray(0, length));
  return field;
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

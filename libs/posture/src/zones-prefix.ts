/**
 * Address prefixes as RFC 6991 writes them (`ip-prefix`), read into canonical form.
 * It must not know what a prefix is used for.
 */

/** Bits in an address of a family. */
export const FAMILY_BITS = { 4: 32, 6: 128 } as const;
/** An address family. */
export type Family = keyof typeof FAMILY_BITS;
/** Both families, in the order in which they are compiled. */
export const FAMILIES = [4, 6] as const satisfies readonly Family[];

/** A prefix; bits behind its length are zero. */
export interface Prefix {
  readonly family: Family;
  /** 0..32 or 0..128. */
  readonly length: number;
  /** Canonical text: RFC 5952 for IPv6, no leading zeros, host bits zero. */
  readonly text: string;
}

/** What matches every address of a family. */
export const ANY_PREFIX: Readonly<Record<Family, Prefix>> = {
  4: { family: 4, length: 0, text: '0.0.0.0/0' },
  6: { family: 6, length: 0, text: '::/0' },
};

/** What {@link prefixOf} takes, for error messages. */
export const PREFIX_EXPECTED = 'an IPv4 or IPv6 prefix such as 10.0.0.0/8 or fd00::/8';

const OCTET = /^(0|[1-9]\d{0,2})$/;
const GROUP = /^[0-9a-fA-F]{1,4}$/;

function ip4Bytes(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = parts.map((part) => (OCTET.test(part) ? Number(part) : 256));
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

/** Groups of one side of a "::", with an embedded IPv4 address allowed at the end. */
function groupsOf(text: string, last: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (last && index === parts.length - 1 && part.includes('.')) {
      const bytes = ip4Bytes(part);
      if (bytes === undefined) return undefined;
      const [a = 0, b = 0, c = 0, d = 0] = bytes;
      groups.push(a * 256 + b, c * 256 + d);
    } else if (GROUP.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups;
}

function ip6Groups(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head = '', tail] = halves;
  const before = groupsOf(head, tail === undefined);
  const after = tail === undefined ? [] : groupsOf(tail, true);
  if (before === undefined || after === undefined) return undefined;
  const missing = 8 - before.length - after.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  return [...before, ...Array.from({ length: missing }, () => 0), ...after];
}

function masked(words: readonly number[], wordBits: number, length: number): number[] {
  return words.map((word, index) => {
    const keep = Math.min(wordBits, Math.max(0, length - index * wordBits));
    const span = 2 ** (wordBits - keep);
    return Math.floor(word / span) * span;
  });
}

/** RFC 5952: lower case, the longest run of two or more zero groups (the first of equals) as "::". */
function ip6Text(groups: readonly number[]): string {
  let best = { at: -1, length: 1 };
  for (let at = 0; at < groups.length; at++) {
    let length = 0;
    while (at + length < groups.length && groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (best.at < 0) return text(groups);
  return `${text(groups.slice(0, best.at))}::${text(groups.slice(best.at + best.length))}`;
}

/** A prefix from its text, or undefined where it is none. */
export function prefixOf(text: string): Prefix | undefined {
  const parts = /^([^/]+)\/(\d{1,3})$/.exec(text);
  if (parts === null) return undefined;
  const [, address = '', digits = ''] = parts;
  if (address.includes(':')) {
    const length = Number(digits);
    // RFC 6991's pattern lets an IPv6 length have one leading zero ("08"), an IPv4 length none.
    if (length > 128 || (digits.length === 3 && digits.startsWith('0'))) return undefined;
    const groups = ip6Groups(address);
    if (groups === undefined) return undefined;
    return { family: 6, length, text: `${ip6Text(masked(groups, 16, length))}/${String(length)}` };
  }
  const length = Number(digits);
  if (length > 32 || !OCTET.test(digits)) return undefined;
  const bytes = ip4Bytes(address);
  if (bytes === undefined) return undefined;
  return { family: 4, length, text: `${masked(bytes, 8, length).join('.')}/${String(length)}` };
}

/**
 * Addresses and prefixes from text to the bytes of a flow key.
 * It must accept nothing that the C library's inet_pton would refuse.
 */
import { isIPv4, isIPv6 } from 'node:net';

export type Family = 4 | 6;

/** The bytes of an address (4 or 16), or undefined where the text is none of that family. */
export function addressBytes(text: string, family: Family): Uint8Array | undefined {
  if (family === 4) return isIPv4(text) ? Uint8Array.from(text.split('.'), Number) : undefined;
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const bytes = new Uint8Array(16);
  const [head = '', tail] = text.split('::');
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  bytes.set(left, 0);
  bytes.set(right, 16 - right.length);
  return bytes;
}

/** Bytes of the colon-separated groups on one side of `::`; a dotted IPv4 tail counts as two groups. */
function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/** `address/length`, or an address alone (its whole width). Undefined where the text is neither. */
export function prefixBytes(text: string, family: Family): { bytes: Uint8Array; length: number } | undefined {
  const [address = '', width, ...rest] = text.split('/');
  const bytes = addressBytes(address, family);
  const most = family === 4 ? 32 : 128;
  if (bytes === undefined || rest.length > 0) return undefined;
  if (width === undefined) return { bytes, length: most };
  if (!/^(0|[1-9][0-9]{0,2})$/.test(width) || Number(width) > most) return undefined;
  return { bytes, length: Number(width) };
}

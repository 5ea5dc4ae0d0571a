/**
 * Addresses from text to the bytes of an information element.
 * It must not resolve names.
 */

const GROUPS = 8;

/** 4 bytes of an IPv4 address, 16 of an IPv6 address, or undefined for what is neither. */
export function addressBytes(text: string): Uint8Array | undefined {
  return text.includes(':') ? ip6Bytes(text) : ip4Bytes(text);
}

function ip4Bytes(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return Uint8Array.from(parts, Number);
}

function ip6Bytes(text: string): Uint8Array | undefined {
  const [head = '', tail, ...rest] = text.split('::');
  if (rest.length > 0) return undefined;
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  const missing = GROUPS - left.length - right.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...left, ...Array.from({ length: missing }, () => 0), ...right];
  if (!groups.every((group) => group >= 0)) return undefined;
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** The groups on one side of `::`; a dotted tail counts as two. -1 stands for what is no group. */
function groupsOf(text: string): number[] {
  if (text === '') return [];
  const parts = text.split(':');
  return parts.flatMap((part, at) => {
    const dotted = at === parts.length - 1 && part.includes('.') ? ip4Bytes(part) : undefined;
    if (dotted !== undefined) {
      const [a = 0, b = 0, c = 0, d = 0] = dotted;
      return [(a << 8) | b, (c << 8) | d];
    }
    return [/^[\da-f]{1,4}$/i.test(part) ? parseInt(part, 16) : -1];
  });
}

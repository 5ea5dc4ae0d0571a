/**
 * Sets of places in a block, as bits in memory and as few bytes as they need in the file.
 * It must not know what a place stands for.
 */

/** Places of a block. A question looks at each block once; what is not in a whole one is looked through. */
export const BLOCK = 16_384;
const WORDS = BLOCK / 32;
const BITMAP_BYTES = BLOCK / 8;
/** As many places take as much room one by one as in a bitmap. */
const FEW = BITMAP_BYTES / 2;

/** One bit for each place. */
export type Places = Uint32Array;

/** A set with no place in it. */
export function noPlaces(): Places {
  return new Uint32Array(WORDS);
}

/** Makes it the set of all places from one up to another, that one not included. */
export function fill(places: Places, from: number, to: number): void {
  places.fill(0);
  const [first, last] = [from >>> 5, to >>> 5];
  places.fill(0xffff_ffff, first, last);
  if (last < WORDS) places[last] = (1 << (to & 31)) - 1;
  clearBelow(places, from);
}

/** Takes the places below one out. */
export function clearBelow(places: Places, from: number): void {
  const word = from >>> 5;
  places.fill(0, 0, word);
  if (word < WORDS) places[word] = (places[word] ?? 0) & (0xffff_ffff << (from & 31));
}

/** Takes out what is not in the other as well. */
export function intersect(places: Places, other: Places): void {
  for (let at = 0; at < WORDS; at++) places[at] = (places[at] ?? 0) & (other[at] ?? 0);
}

/** How many places are in it. */
export function countOf(places: Places): number {
  let count = 0;
  for (let at = 0; at < WORDS; at++) {
    let word = places[at] ?? 0;
    // Bits of pairs, of fours, of bytes; then the bytes.
    word -= (word >>> 1) & 0x5555_5555;
    word = (word & 0x3333_3333) + ((word >>> 2) & 0x3333_3333);
    count += Math.imul((word + (word >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
  }
  return count;
}

/** The places in it, ascending. */
export function listOf(places: Places): number[] {
  const list: number[] = [];
  for (let at = 0; at < WORDS; at++) {
    for (let word = places[at] ?? 0; word !== 0; word &= word - 1) {
      list.push(at * 32 + 31 - Math.clz32(word & -word));
    }
  }
  return list;
}

/** Adds places, one by one. */
export function addList(places: Places, list: readonly number[]): void {
  for (const place of list) places[place >>> 5] = (places[place >>> 5] ?? 0) | (1 << (place & 31));
}

/** The bytes of a set, given by its places in ascending order. */
export function bytesOf(list: readonly number[]): Buffer {
  if (list.length < FEW) {
    const bytes = Buffer.alloc(2 * list.length);
    list.forEach((place, at) => bytes.writeUInt16LE(place, 2 * at));
    return bytes;
  }
  const bytes = Buffer.alloc(BITMAP_BYTES);
  for (const place of list) bytes[place >>> 3] = (bytes[place >>> 3] ?? 0) | (1 << (place & 7));
  return bytes;
}

/** Adds the places of bytes to a set. False where they are not those of so many places. */
export function addBytes(places: Places, bytes: Uint8Array, count: number): boolean {
  if (bytes.length !== (count < FEW ? 2 * count : BITMAP_BYTES)) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (count >= FEW) {
    for (let at = 0; at < WORDS; at++) places[at] = (places[at] ?? 0) | view.getUint32(4 * at, true);
    return true;
  }
  for (let at = 0; at < count; at++) {
    const place = view.getUint16(2 * at, true);
    if (place >= BLOCK) return false;
    places[place >>> 5] = (places[place >>> 5] ?? 0) | (1 << (place & 31));
  }
  return true;
}

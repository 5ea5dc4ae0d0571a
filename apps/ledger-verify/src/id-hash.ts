/**
 * A short keyed hash over the bytes of an id: HalfSipHash-2-4 with 64 bits (Aumasson and Bernstein).
 * It must not be used with a key that whoever wrote the ids knows: nobody can make ids collide under a key made afterwards.
 */

/** Two numbers of 32 bits, made at random for each verification. */
export type IdKey = readonly [number, number];

const state = new Int32Array(4);

function rounds(times: number): void {
  let [a, b, c, d] = [state[0] ?? 0, state[1] ?? 0, state[2] ?? 0, state[3] ?? 0];
  for (let n = 0; n < times; n++) {
    a = (a + b) | 0;
    b = ((b << 5) | (b >>> 27)) ^ a;
    a = (a << 16) | (a >>> 16);
    c = (c + d) | 0;
    d = ((d << 8) | (d >>> 24)) ^ c;
    a = (a + d) | 0;
    d = ((d << 7) | (d >>> 25)) ^ a;
    c = (c + b) | 0;
    b = ((b << 13) | (b >>> 19)) ^ c;
    c = (c << 16) | (c >>> 16);
  }
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}

function take(word: number): void {
  state[3] = (state[3] ?? 0) ^ word;
  rounds(2);
  state[0] = (state[0] ?? 0) ^ word;
}

function half(): number {
  rounds(4);
  return (state[1] ?? 0) ^ (state[3] ?? 0);
}

/** Writes the two halves of the hash over a range of bytes, the lower one first. */
export function hashId(
  bytes: Uint8Array,
  from: number,
  to: number,
  [low, high]: IdKey,
  into: Uint32Array,
  at: number,
): void {
  state[0] = low;
  state[1] = high ^ 0xee;
  state[2] = 0x6c796765 ^ low;
  state[3] = 0x74656462 ^ high;
  let next = from;
  for (; next + 4 <= to; next += 4) {
    const [a, b, c, d] = [bytes[next] ?? 0, bytes[next + 1] ?? 0, bytes[next + 2] ?? 0, bytes[next + 3] ?? 0];
    take(a | (b << 8) | (c << 16) | (d << 24));
  }
  let last = (to - from) << 24;
  for (let shift = 0; next < to; next++, shift += 8) last |= (bytes[next] ?? 0) << shift;
  take(last);
  state[2] = (state[2] ?? 0) ^ 0xee;
  into[at] = half();
  state[1] = (state[1] ?? 0) ^ 0xdd;
  into[at + 1] = half();
}

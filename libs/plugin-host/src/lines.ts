/**
 * Lines out of a stream of bytes, in bounded memory.
 * It must not know what stands in them.
 */

/** Longest line between a plugin's process and its host, bytes. */
export const LINE_BYTES_MAX = 8_192;

/** A line, and whether it was longer than allowed. */
export interface CutLine {
  readonly text: string;
  readonly cut: boolean;
}

/** Takes bytes, gives lines. One per stream. */
export class LineSplitter {
  readonly #max: number;
  #held: Buffer[] = [];
  #bytes = 0;
  #cut = false;

  /** @param max longest line in bytes; what is beyond is dropped, and the line says so. */
  constructor(max: number) {
    this.#max = max;
  }

  *push(chunk: Buffer): Generator<CutLine> {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(10, from);
      this.#hold(chunk.subarray(from, end < 0 ? chunk.length : end));
      if (end < 0) return;
      yield this.#take();
      from = end + 1;
    }
  }

  /** What stands after the last line end, if anything does. */
  rest(): CutLine | undefined {
    return this.#bytes > 0 || this.#cut ? this.#take() : undefined;
  }

  /** True where the line that is being read is longer than allowed already. */
  get overlong(): boolean {
    return this.#cut;
  }

  #hold(part: Buffer): void {
    const room = this.#max - this.#bytes;
    if (part.length > room) this.#cut = true;
    const kept = part.subarray(0, Math.max(0, room));
    if (kept.length === 0) return;
    this.#held.push(Buffer.from(kept));
    this.#bytes += kept.length;
  }

  #take(): CutLine {
    const line = { text: Buffer.concat(this.#held).toString('utf8'), cut: this.#cut };
    this.#held = [];
    this.#bytes = 0;
    this.#cut = false;
    return line;
  }
}

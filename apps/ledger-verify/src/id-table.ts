/**
 * Where an id was seen first, for millions of ids, by 64 bits of their hashes.
 * It must not say that two ids are the same: who asks compares them.
 */

/** An open table: each row is two halves of a hash, and where it was seen. */
export class IdTable {
  #bits = 12;
  #size = 0;
  #halves = new Uint32Array(2 << this.#bits);
  /** One more than the index; 0 = free. */
  #places = new Float64Array(1 << this.#bits);

  /** Where the same 64 bits were seen first; undefined where they are new, and kept then. */
  add(high: number, low: number, index: number): number | undefined {
    if (this.#size * 4 >= this.#places.length * 3) this.#grow();
    const at = this.#find(high, low);
    const place = this.#places[at] ?? 0;
    if (place !== 0) return place - 1;
    this.#put(at, high, low, index + 1);
    this.#size += 1;
    return undefined;
  }

  #put(at: number, high: number, low: number, place: number): void {
    this.#halves[2 * at] = high;
    this.#halves[2 * at + 1] = low;
    this.#places[at] = place;
  }

  #find(high: number, low: number): number {
    const mask = this.#places.length - 1;
    let at = low & mask;
    while (this.#places[at] !== 0 && (this.#halves[2 * at] !== high || this.#halves[2 * at + 1] !== low)) {
      at = (at + 1) & mask;
    }
    return at;
  }

  #grow(): void {
    const [halves, places] = [this.#halves, this.#places];
    this.#bits += 1;
    this.#halves = new Uint32Array(2 << this.#bits);
    this.#places = new Float64Array(1 << this.#bits);
    places.forEach((place, from) => {
      if (place === 0) return;
      const [high = 0, low = 0] = [halves[2 * from], halves[2 * from + 1]];
      this.#put(this.#find(high, low), high, low, place);
    });
  }
}

/**
 * Where an id was seen first, for millions of ids, by 64 bits of their hashes.
 * It must not say by itself that two ids are the same: who asks compares them.
 */

/** An open table: each row is two halves of a hash, and where it was seen. */
export class IdTable {
  #bits = 12;
  #size = 0;
  #halves = new Uint32Array(2 << this.#bits);
  /** One more than the index; 0 = free. */
  #places = new Float64Array(1 << this.#bits);

  /**
   * Where an id was seen first; undefined where it is new, and kept then.
   *
   * @param isSame whether the id seen at a place is the same one; asked only where the 64 bits are.
   */
  add(high: number, low: number, index: number, isSame: (place: number) => boolean): number | undefined {
    if (this.#size * 4 >= this.#places.length * 3) this.#grow();
    let at = this.#find(high, low, low);
    for (let place = this.#places[at] ?? 0; place !== 0; place = this.#places[at] ?? 0) {
      if (isSame(place - 1)) return place - 1;
      at = this.#find(high, low, at + 1);
    }
    this.#put(at, high, low, index + 1);
    this.#size += 1;
    return undefined;
  }

  #put(at: number, high: number, low: number, place: number): void {
    this.#halves[2 * at] = high;
    this.#halves[2 * at + 1] = low;
    this.#places[at] = place;
  }

  /** The next row with these 64 bits, or a free one. */
  #find(high: number, low: number, from: number): number {
    const mask = this.#places.length - 1;
    let at = from & mask;
    while (this.#places[at] !== 0 && (this.#halves[2 * at] !== high || this.#halves[2 * at + 1] !== low)) {
      at = (at + 1) & mask;
    }
    return at;
  }

  #free(from: number): number {
    const mask = this.#places.length - 1;
    let at = from & mask;
    while (this.#places[at] !== 0) at = (at + 1) & mask;
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
      this.#put(this.#free(low), high, low, place);
    });
  }
}

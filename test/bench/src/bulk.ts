/** The many routes of the benches, as literal data. Must not say by which way they go. */

const PER_SECOND_OCTET = 4_096;

/** `count` different destinations, none of them among those of a lab's own. At most 500,000. */
export function bulkDestinations(count: number): readonly string[] {
  return Array.from({ length: count }, (_, n) => {
    const rest = n % PER_SECOND_OCTET;
    return `10.${String(100 + Math.floor(n / PER_SECOND_OCTET))}.${String(rest >> 4)}.${String((rest & 15) * 16)}/28`;
  });
}

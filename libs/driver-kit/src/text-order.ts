/**
 * The order in which people expect names: numbers within them by their value.
 * It must not depend on a locale: the same names stand in the same order everywhere.
 */

/** Negative, zero or positive, as for a sort: "port2" before "port10"; texts that differ are never equal. */
export function compareNames(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    const [m, n] = [digitsAt(a, i), digitsAt(b, j)];
    if (m > i && n > j) {
      const [left, right] = [stripped(a.slice(i, m)), stripped(b.slice(j, n))];
      if (left.length !== right.length) return left.length - right.length;
      if (left !== right) return left < right ? -1 : 1;
      [i, j] = [m, n];
      continue;
    }
    const [c, d] = [a.charCodeAt(i), b.charCodeAt(j)];
    if (c !== d) return c - d;
    i += 1;
    j += 1;
  }
  const rest = a.length - i - (b.length - j);
  return rest === 0 ? (a < b ? -1 : a > b ? 1 : 0) : rest;
}

/** Where the digits that begin at a place end. */
function digitsAt(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.charCodeAt(at) >= 48 && text.charCodeAt(at) <= 57) at += 1;
  return at;
}

function stripped(digits: string): string {
  return digits.replace(/^0+(?=.)/, '');
}

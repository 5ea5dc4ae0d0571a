/**
 * Entries as a busy appliance has them, made fast and the same in every run: their fields are those that an index
 * looks at, their sealed names are noise.
 * Must not be taken for entries that could be opened.
 */

/** Wall-clock milliseconds of the first one, and from one to the next. */
export const MADE = { beginMs: Date.UTC(2026, 0, 1), stepMs: 50, devices: 200, people: 2_000 } as const;

/** The level changes after so many entries. */
const ENTRIES_PER_LEVEL = 50_000;
/** Crossings of one session. */
const CROSSINGS = 4;
const NOISE = 'A'.repeat(100);

/** 32 random-looking bits of a number. */
function mixed(number: number): number {
  let bits = Math.imul(number ^ (number >>> 16), 0x45d9_f3b5);
  bits = Math.imul(bits ^ (bits >>> 15), 0x2c1b_3c6d);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** The id of a person's key. */
export function madeKeyId(person: number): string {
  return mixed(person + 1)
    .toString(16)
    .padStart(8, '0')
    .repeat(2);
}

/** The id of the session that an entry may belong to. */
export function madeSession(number: number): string {
  return `session-${mixed(Math.floor(number / CROSSINGS)).toString(16)}-${Math.floor(number / CROSSINGS)}`;
}

/** The entry of a number, from 0. */
export function madeEntry(number: number): Buffer {
  const bits = mixed(number);
  const at = new Date(MADE.beginMs + MADE.stepMs * number + (bits % 500)).toISOString();
  const period = Math.floor(number / ENTRIES_PER_LEVEL);
  const level = 1 + (mixed(period + 77) % 5);
  const head = `"appliance":"box-7","at":"${at}","epoch":"${100 + period}","id":"made/box-7/${number}"`;
  const name = `{"sealed":{"data":"${NOISE}","key":"${madeKeyId((bits >>> 8) % MADE.people)}"}}`;
  const device = `sw${(bits >>> 12) % MADE.devices}`;
  const share = bits % 100;
  if (share < 80) {
    const kind = ['admitted', 'ended', 'resumed', 'refused', 'cut', 'ended'][(bits >>> 20) % 6] ?? 'ended';
    return Buffer.from(
      `{${head},"critical":false,"frames":null,"kind":"${kind}","peer":${name},"posture_level_at_transit":${level},` +
        `"reason":"","sampledPercent":100,"schema":"kedge.session-transit/1","seenAtNs":"123456789",` +
        `"session":"${madeSession(number)}","sessionType":"operator","tier":"master"}`,
    );
  }
  if (share < 90) {
    const rest = `"allow":${(bits >>> 20) % 10 > 0},"level":${level},"principal":${name}`;
    return Buffer.from(`{${head},${rest},"schema":"kedge.authorisation-decision/1"}`);
  }
  if (share < 97) {
    const rest = `"level":${level},"principal":${name},"result":"applied","schema":"kedge.network-mutation/1"`;
    return Buffer.from(`{${head},${rest},"target":"device/${device}"}`);
  }
  const rest = `"device":"${device}","kind":"changed","level":${level},"schema":"kedge.drift-event/1"`;
  return Buffer.from(`{${head},${rest}}`);
}

/**
 * What the board may have shown, given what was ordered and answered: pure, so that it can be tested with plants.
 * It must not know what was done to the lab.
 */
import type { SocketDirectory } from '@kedge/lab';
import type { Level } from '@kedge/units';

/** A change of the posture word as it was seen. */
export interface Sight {
  readonly atNs: bigint;
  readonly epoch: bigint;
  readonly level: Level;
}

/** A request and what became of it; `lost`: nobody knows. */
export interface Order {
  readonly way: SocketDirectory;
  readonly level: Level;
  readonly sentNs: bigint;
  readonly answeredNs: bigint;
  readonly outcome: 'decision' | 'refusal' | 'waiting' | 'lost';
  readonly epoch?: bigint;
  readonly from?: number;
  readonly to?: number;
}

export interface Offence {
  readonly kind: 'epoch-back' | 'epoch-twice' | 'answer-lost' | 'unasked-loosening' | 'unauthorised';
  readonly atNs: bigint;
  readonly message: string;
}

/** How long before a tightening a request may lie that still waits for its turn. */
const WAITS_NS = 60_000_000_000n;
/** How long an order without an answer may be on its way. */
const JUST_NS = 10_000_000_000n;
/** By when the watcher has surely seen what was stored before an answer was given. */
const SEEN_NS = 500_000_000n;

/** Everything that contradicts PO-4, PO-10 and PO-17. Both lists are in the order of time. */
export function judgeOrders(sights: readonly Sight[], orders: readonly Order[]): readonly Offence[] {
  const found: Offence[] = [];
  const levels = new Map<bigint, Level>();
  for (const [at, sight] of sights.entries()) {
    const { atNs, epoch, level } = sight;
    const before = sights[at - 1];
    const known = levels.get(epoch);
    if (known !== undefined && known !== level) {
      found.push({
        kind: 'epoch-twice',
        atNs,
        message: `epoch ${epoch} was level ${known} and is level ${level}`,
      });
    }
    levels.set(epoch, level);
    if (before === undefined) continue;
    if (epoch < before.epoch) {
      found.push({
        kind: 'epoch-back',
        atNs,
        message: `the word went from epoch ${before.epoch} back to ${epoch}`,
      });
    }
    const tightened = orders.filter(
      ({ outcome, answeredNs, from = 0, to = 0 }) => outcome === 'decision' && answeredNs < atNs && to < from,
    );
    if (level > before.level) {
      const last = tightened.filter(({ to = 0 }) => to < level).at(-1);
      const asked = orders.some(
        (order) =>
          order.outcome !== 'refusal' &&
          order.level >= level &&
          order.sentNs < atNs &&
          (last === undefined ||
            order.sentNs >= last.sentNs ||
            (order.outcome !== 'decision' && order.sentNs + WAITS_NS > last.sentNs)),
      );
      if (!asked) {
        found.push({
          kind: 'unasked-loosening',
          atNs,
          message: `epoch ${epoch} loosened to level ${level} and nobody asked for it`,
        });
      }
    }
  }
  for (const order of orders) {
    const { outcome, epoch = 0n, from = 0, to = 0, way, sentNs } = order;
    const seen = sights.filter(({ atNs }) => atNs < order.answeredNs + SEEN_NS).at(-1);
    if (outcome === 'decision' && to < from && seen !== undefined && seen.epoch < epoch) {
      found.push({
        kind: 'answer-lost',
        atNs: order.answeredNs,
        message: `epoch ${epoch} to level ${to} was answered, and the word is epoch ${seen.epoch} level ${seen.level} after it`,
      });
    }
    // An answer that only says where the posture stands already is no loosening.
    const stood = sights.filter(({ atNs }) => atNs < sentNs).at(-1)?.epoch ?? 0n;
    if (outcome !== 'decision' || to <= from || epoch <= stood) continue;
    const tiers = to >= 4 ? ['local/site_owner', 'local/master'] : ['local/site_owner'];
    const may = (by: SocketDirectory): boolean => by === 'console' || (from > 1 && tiers.includes(by));
    // Who asks for what was just decided is answered with that decision; who asks for less than a loosening that
    // runs, with what is left of it (PO-10). A lost answer may have been either.
    const given = orders.some(
      (other) =>
        may(other.way) &&
        other.level >= to &&
        (other.outcome === 'decision'
          ? (other.epoch ?? 0n) <= epoch && (other.epoch ?? 0n) + 2n >= epoch
          : other.outcome !== 'refusal' &&
            other.sentNs < order.answeredNs &&
            other.sentNs + JUST_NS > sentNs),
    );
    if (given) continue;
    found.push({
      kind: 'unauthorised',
      atNs: sentNs,
      message: `${way} loosened from ${from} to ${to} (epoch ${epoch})`,
    });
  }
  return found;
}

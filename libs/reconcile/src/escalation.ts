/**
 * The rules of the pre-escalation snapshot (PO-18) and of giving back what an escalation took (OV-14).
 * It must not touch the world: what was read comes in, what is to be said goes out.
 */
import { type Epoch, isTighter, type Level } from '@kedge/units';

import { type Allows, allowedAt, type DesiredKind, desiredSet, type DesiredSet } from './desired-set.js';

/** What a set and the world did not agree about. Reported, never fatal (PO-18). */
export interface WorldReport<Item> {
  /** Wanted and allowed, and not there (a peer gone, a route taken away by hand). Stays wanted. */
  readonly missing: readonly Item[];
  /** There under our mark, and not wanted. The next plan takes it away, unless it was adopted. */
  readonly unwanted: readonly Item[];
  /** There in another form than wanted. The wanted form stands. */
  readonly changed: readonly { readonly desired: Item; readonly actual: Item }[];
}

/** A set as it was reconciled with the world, and what was found meanwhile. */
export interface EscalationSnapshot<Item> {
  readonly set: DesiredSet<Item>;
  readonly report: WorldReport<Item>;
}

/**
 * True for a tightening out of a level that withholds nothing of the set: the moment of the snapshot. Later
 * tightenings see a world that lacks things because a level took them, which says nothing about the set.
 */
export function isFirstEscalation<Item>(
  set: DesiredSet<Item>,
  move: { readonly from: Level; readonly to: Level },
  allows: Allows<Item>,
): boolean {
  return isTighter(move.to, move.from) && set.items.every((item) => allows(item, move.from));
}

/**
 * Reconciles a set with the world as it was read at the level that is still in force. Pure and total: whatever the
 * world looks like, there is a set afterwards, and what differs is said.
 *
 * What is missing stays in the set, because only an order takes something out of it (OV-14); what is there under
 * our mark without being wanted comes into the set only where `adopts` says so.
 */
export function preEscalationSnapshot<Item>(given: {
  readonly kind: DesiredKind<Item>;
  readonly set: DesiredSet<Item>;
  /** What stands in the world under our mark. Of several with one key the first counts. */
  readonly actual: readonly Item[];
  /** The level in force until now, and the epoch that tightens it. */
  readonly level: Level;
  readonly epoch: Epoch;
  readonly allows: Allows<Item>;
  /** Whether two items with one key are alike. */
  readonly same: (desired: Item, actual: Item) => boolean;
  /** Which unwanted things are taken for wanted (added and not yet written down before a crash). Default: none. */
  readonly adopts?: (actual: Item) => boolean;
}): EscalationSnapshot<Item> {
  const { kind, set, level, epoch, allows, same, adopts = () => false } = given;
  const there = new Map<string, Item>();
  for (const item of given.actual) {
    const key = kind.keyOf(item);
    if (!there.has(key)) there.set(key, item);
  }
  const report = worldReport(kind, set, [...there.values()], level, allows, same);
  const adopted = report.unwanted.filter((item) => !isWanted(kind, set, item) && adopts(item));
  return {
    set: desiredSet(kind, epoch, [...set.items, ...adopted]),
    report: { ...report, unwanted: report.unwanted.filter((item) => !adopted.includes(item)) },
  };
}

/** What a set and the world do not agree about at a level. */
export function worldReport<Item>(
  kind: DesiredKind<Item>,
  set: DesiredSet<Item>,
  actual: readonly Item[],
  level: Level,
  allows: Allows<Item>,
  same: (desired: Item, actual: Item) => boolean,
): WorldReport<Item> {
  const there = new Map(actual.map((item) => [kind.keyOf(item), item]));
  const wanted = new Map(allowedAt(set, level, allows).map((item) => [kind.keyOf(item), item]));
  return {
    missing: [...wanted].filter(([key]) => !there.has(key)).map(([, item]) => item),
    unwanted: [...there].filter(([key]) => !wanted.has(key)).map(([, item]) => item),
    changed: [...wanted].flatMap(([key, desired]) => {
      const found = there.get(key);
      return found === undefined || same(desired, found) ? [] : [{ desired, actual: found }];
    }),
  };
}

function isWanted<Item>(kind: DesiredKind<Item>, set: DesiredSet<Item>, item: Item): boolean {
  const key = kind.keyOf(item);
  return set.items.some((each) => kind.keyOf(each) === key);
}

/** A legitimate change of a set: an order that was authorised, at whatever level it came. */
export type Edit<Item> =
  { readonly do: 'put'; readonly item: Item } | { readonly do: 'remove'; readonly key: string };

/**
 * The set after orders, one after the other. What a level withholds can be put and removed like anything else:
 * it comes into the world, or does not come back, when the level allows it (OV-14).
 */
export function editedSet<Item>(
  kind: DesiredKind<Item>,
  set: DesiredSet<Item>,
  edits: readonly Edit<Item>[],
): DesiredSet<Item> {
  const items = new Map(set.items.map((item) => [kind.keyOf(item), item]));
  for (const edit of edits) {
    if (edit.do === 'put') items.set(kind.keyOf(edit.item), edit.item);
    else items.delete(edit.key);
  }
  return desiredSet(kind, set.epochTaken, [...items.values()]);
}

/** What a restoration gives back, beside what it does not, and why. */
export interface Restoration<Item> {
  /** What has to stand in the world at the level: exactly this, no more and no less. */
  readonly items: readonly Item[];
  /** In the snapshot, allowed, and not given back: an order removed it meanwhile. */
  readonly removed: readonly Item[];
  /** Not in the snapshot, and given all the same: an order added or changed it meanwhile. */
  readonly added: readonly Item[];
  /** In the set, and still withheld by the level. */
  readonly withheld: readonly Item[];
}

/**
 * What applying `level` gives after orders meanwhile: the pre-escalation set, less what was legitimately removed,
 * plus what was legitimately added, as far as the level allows (OV-14).
 */
export function restorationAt<Item>(
  kind: DesiredKind<Item>,
  snapshot: DesiredSet<Item>,
  edits: readonly Edit<Item>[],
  level: Level,
  allows: Allows<Item>,
  same: (before: Item, now: Item) => boolean,
): Restoration<Item> {
  const set = editedSet(kind, snapshot, edits);
  const before = new Map(snapshot.items.map((item) => [kind.keyOf(item), item]));
  const now = new Map(set.items.map((item) => [kind.keyOf(item), item]));
  const items = allowedAt(set, level, allows);
  return {
    items,
    removed: allowedAt(snapshot, level, allows).filter((item) => !now.has(kind.keyOf(item))),
    added: items.filter((item) => {
      const old = before.get(kind.keyOf(item));
      return old === undefined || !same(old, item);
    }),
    withheld: set.items.filter((item) => !allows(item, level)),
  };
}

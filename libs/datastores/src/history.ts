/**
 * Which revisions a bounded history lets go of.
 * It must never let go of one that stands in a datastore.
 */
import type { Revision } from './revision.js';

/** How much is kept. */
export interface HistoryBounds {
  /** Revisions, at least 2. */
  readonly revisions: number;
  /** Bytes of all their documents together, each document once. */
  readonly bytes: number;
}

/** What is kept where nothing else is said. */
export const HISTORY_BOUNDS: HistoryBounds = { revisions: 500, bytes: 64 * 1024 * 1024 };

/**
 * The revisions that go, oldest first: as many as it takes to be inside the bounds. Those of `inForce` stay whatever
 * they cost; with them alone a history may be larger than its bounds.
 */
export function dropped(
  history: readonly Revision[],
  inForce: ReadonlySet<number>,
  bounds: HistoryBounds,
): readonly Revision[] {
  const users = new Map<string, number>();
  let bytes = 0;
  for (const { hash, bytes: size } of history) {
    const count = users.get(hash) ?? 0;
    if (count === 0) bytes += size;
    users.set(hash, count + 1);
  }
  let count = history.length;
  const gone: Revision[] = [];
  for (const revision of history) {
    if (count <= bounds.revisions && bytes <= bounds.bytes) break;
    if (inForce.has(revision.number)) continue;
    gone.push(revision);
    count -= 1;
    const left = (users.get(revision.hash) ?? 1) - 1;
    users.set(revision.hash, left);
    if (left === 0) bytes -= revision.bytes;
  }
  return gone;
}

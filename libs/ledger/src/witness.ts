/**
 * What a witness says to a checkpoint that it is offered, given the newest one that it has of the log (LE-4).
 * It must not keep anything nor sign: who accepts keeps the checkpoint durably first, and cosigns then.
 */
import type { Checkpoint } from './checkpoint.js';
import { isConsistent } from './merkle-tree.js';

/**
 * `accepted`: the log has grown, or stands where it stood. `older`: the log has fewer entries than were seen before: it
 * was put back, or this is an old checkpoint. `fork`: as many entries, but others. `unproven`: the proof does not show
 * that the log has only grown; with a proof made for these two sizes it is a fork.
 */
export type WitnessVerdict = 'accepted' | 'older' | 'fork' | 'unproven';

/**
 * Judges a checkpoint whose signature was verified.
 *
 * @param held the newest that was accepted; undefined = the first one ever, which is taken as it is.
 * @param proof the consistency proof from the size of `held`.
 */
export function witnessVerdict(
  held: Checkpoint | undefined,
  offered: Checkpoint,
  proof: readonly Uint8Array[],
): WitnessVerdict {
  if (held === undefined) return 'accepted';
  if (held.origin !== offered.origin) return 'unproven';
  if (offered.size < held.size) return 'older';
  if (offered.size === held.size) return held.root.equals(offered.root) ? 'accepted' : 'fork';
  const grown = isConsistent({
    first: held.size,
    firstRoot: held.root,
    second: offered.size,
    secondRoot: offered.root,
    proof,
  });
  return grown ? 'accepted' : 'unproven';
}

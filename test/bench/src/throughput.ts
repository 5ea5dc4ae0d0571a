/**
 * The search for throughput: the largest rate at which no more than a given share of frames is lost (RFC 2544, with
 * a loss ratio above zero). Must not send a frame: it says at which rate the next trial is made.
 */

/** What one trial found; rates in frames per second. */
export interface Trial {
  /** What was really offered. */
  readonly offered: number;
  /** Share of the offered frames that did not come, or came too late to count. */
  readonly lost: number;
}

export interface Search {
  /** The rate of the largest trial that was good; 0 = none. */
  readonly rate: number;
  /** The smallest offered rate that was not; Infinity = none. */
  readonly above: number;
  readonly trials: number;
}

export interface SearchLimits {
  /** The largest share of loss that a good trial has. */
  readonly loss: number;
  /** The search ends when the good and the bad rate are so close, as a share of the good one. */
  readonly precision: number;
  /** Trials, at most. */
  readonly trials: number;
  /** A bad trial is made again so often before it is believed: the machine belongs to others too. */
  readonly again: number;
}

/** Rate 0 asks a trial for as much as can be offered. */
export async function throughputOf(
  trial: (rate: number) => Promise<Trial>,
  limits: SearchLimits,
): Promise<Search> {
  let good = 0;
  let bad = Number.POSITIVE_INFINITY;
  let trials = 0;
  let next = 0;
  for (;;) {
    let last = await trial(next);
    trials += 1;
    for (
      let i = 0;
      i < limits.again && last.lost > limits.loss && trials < limits.trials && next !== 0;
      i += 1
    ) {
      last = await trial(next);
      trials += 1;
    }
    if (last.lost <= limits.loss) good = Math.max(good, last.offered);
    else bad = Math.min(bad, next === 0 ? last.offered : next);
    // What carried everything that could be offered has no upper end that could be found.
    const done = bad === Number.POSITIVE_INFINITY || bad - good <= good * limits.precision;
    if (done || trials >= limits.trials) return { rate: good, above: bad, trials };
    // Under overload it carried about what it can: a better guess than the middle.
    const carried = last.offered * (1 - last.lost);
    const middle = (good + bad) / 2;
    next = next === 0 && carried > bad / 20 ? carried : middle;
  }
}

/**
 * Keeps a log anchored: offers its newest checkpoint whenever there is one, and tries again with longer and longer
 * pauses while the witness is away.
 * It must not offer one that a newer one has replaced, nor go on after a verdict against the log.
 */
import type { Anchor, AnchorRequest, AnchorVerdict } from './anchor.js';

/** What is anchored, and how patiently. */
export interface AnchoringOptions {
  readonly anchor: Anchor;
  /** The newest checkpoint; undefined = there is none yet. */
  readonly latest: () => AnchorRequest | undefined;
  readonly onVerdict: (verdict: AnchorVerdict) => void;
  /** Told what no verdict is: a proof that could not be made. It is tried again. */
  readonly onError: (error: unknown) => void;
  /** The first pause, and the longest; default 1 s and 5 min. */
  readonly pauseMs?: number;
  readonly pauseMaxMs?: number;
  /** A number from 0 to below 1: pauses of many boxes shall not fall together. */
  readonly random: () => number;
}

/** An anchoring that goes on until it is stopped. */
export interface Anchoring {
  /** There is a newer checkpoint. */
  wake(): void;
  /** Resolves when nothing is under way any more. */
  stop(): Promise<void>;
}

/** Starts; offers the newest checkpoint at once. */
export function startAnchoring(options: AnchoringOptions): Anchoring {
  const { anchor, latest, onVerdict, onError, pauseMs = 1_000, pauseMaxMs = 300_000, random } = options;
  let stopped = false;
  let wanted = true;
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;

  /** Milliseconds until the next attempt; undefined = when there is something new. */
  const attempt = async (): Promise<number | undefined> => {
    wanted = false;
    const request = latest();
    if (request === undefined) return undefined;
    let isOpen = true;
    try {
      const verdict = await anchor.anchor(request);
      onVerdict(verdict);
      if (verdict.verdict === 'older' || verdict.verdict === 'fork') stopped = true;
      isOpen = verdict.verdict === 'unreachable' || verdict.verdict === 'refused';
    } catch (error) {
      onError(error);
    }
    failures = isOpen ? failures + 1 : 0;
    if (!isOpen) return undefined;
    const pause = Math.min(pauseMaxMs, pauseMs * 2 ** Math.min(failures - 1, 30));
    return pause / 2 + (pause / 2) * random();
  };
  const run = async (): Promise<void> => {
    let pause: number | undefined;
    do pause = await attempt();
    while (!stopped && wanted && pause === undefined);
    running = undefined;
    if (!stopped && pause !== undefined) timer = setTimeout(start, pause).unref();
  };
  const start = (): void => {
    timer = undefined;
    running = run();
  };
  start();
  return {
    wake: () => {
      wanted = true;
      // While the witness is away a newer checkpoint waits with the older one.
      if (!stopped && running === undefined && timer === undefined) start();
    },
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}

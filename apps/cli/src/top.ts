/**
 * `kedge top` at work: reads an appliance again and again and shows it, on a terminal, as text or as JSON.
 * It must not judge or lay out anything; top-model.ts and top-view.ts do. It changes nothing on the appliance.
 */
import type { GovernanceClient, PlanReply, PostureClient } from '@kedge/bus';
import { KedgeError } from '@kedge/units';
import { setTimeout as sleep } from 'node:timers/promises';

import { EXIT } from './exit-status.js';
import type { Sight } from './examination.js';
import { failureOf } from './failure.js';
import { leaving } from './leaving.js';
import { jsonText } from './render.js';
import { sight } from './sight.js';
import { type TargetOptions, withGovernance, withPosture } from './target.js';
import { type Baseline, type Reading, type Sort, SORTS, type Top, topOf } from './top-model.js';
import { type NameList, namesAfter, NO_NAMES } from './top-names.js';
import { openTerminal, type Terminal } from './top-terminal.js';
import { type Look, screenOf } from './top-view.js';

export interface TopOptions extends TargetOptions {
  /** Deadline of each call, milliseconds. */
  readonly timeout: number;
  readonly json?: boolean;
  /** Seconds between two readings, 0.2 to 60. */
  readonly interval: number;
  /** Ends after so many intervals. */
  readonly count?: number;
  readonly ascii?: boolean;
}

/** Entries are told over the last so many seconds; the bridge counts them second by second. */
const ENTRIES_WINDOW_S = 10;
/** Asking for entries more often than the bridge counts them would tell nothing new. */
const ENTRIES_EVERY_MS = 1_000;
/** How long flow records may be quiet: the longest deadline that there is. Then the stream is opened again. */
const FLOWS_QUIET_MS = 600_000;
/** Between two tries to follow flow records. */
const FLOWS_RETRY_MS = 5_000;
/** A stream that was not refused for so long is there, also where no flow ends. */
const FLOWS_SETTLE_MS = 1_000;
/** Text that is no screen: wide enough for a mail, as long as it has to be for an appliance of usual size. */
const PAGE = { columns: 80, rows: 60 };

/** Shows one state after the other. */
interface Display {
  /** `opening`: the first reading, which has nothing to be compared with. */
  readonly show: (top: Top, opening: boolean) => void;
  readonly close: () => void;
}

/** Until the user leaves, or `--count` intervals were shown. @throws KedgeError when nobody answers at the start. */
export function topRun(options: TopOptions): Promise<number> {
  const stop = new AbortController();
  const signal = AbortSignal.any([leaving(), stop.signal]);
  return withPosture(options, (posture, _way, { title }) =>
    withGovernance(options, async (governance) => {
      const names = followNames(governance, signal);
      const read = reader(posture, governance, { title, timeout: options.timeout, names: names.now, signal });
      const first = await read();
      if (!first.coordinator.seen && !first.bridge.seen) {
        stop.abort();
        const { code, message } = first.coordinator;
        throw new KedgeError({
          code,
          message,
          help: 'kedge lab status, or the log of the service, tells more',
        });
      }
      const display = displayOf(options, () => {
        stop.abort();
      });
      // At once, also where a call is under way and a deadline far.
      signal.addEventListener(
        'abort',
        () => {
          display.close();
        },
        { once: true },
      );
      try {
        await repeat(options, first, read, display, signal);
      } finally {
        display.close();
        stop.abort();
        await names.ended;
      }
      return EXIT.ok;
    }),
  );
}

/** Readings at a steady pace; one that takes longer than the interval delays the next and is never overtaken. */
async function repeat(
  { interval, count = Number.POSITIVE_INFINITY }: TopOptions,
  first: Reading,
  read: () => Promise<Reading>,
  display: Display,
  signal: AbortSignal,
): Promise<void> {
  let baseline: Baseline | undefined;
  let reading = first;
  let nextMs = performance.now();
  for (let shown = 0; ; shown += 1) {
    const made = topOf(reading, baseline);
    baseline = made.baseline;
    display.show(made.top, shown === 0);
    if (shown >= count) return;
    nextMs = Math.max(nextMs + interval * 1_000, performance.now());
    await sleep(nextMs - performance.now(), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    reading = await read();
    if (signal.aborted) return;
  }
}

/** Makes readings. A call that fails is part of the reading. */
function reader(
  posture: PostureClient,
  governance: GovernanceClient,
  {
    title,
    timeout,
    names,
    signal,
  }: {
    readonly title: string;
    readonly timeout: number;
    readonly names: () => Sight<NameList>;
    readonly signal: AbortSignal;
  },
): () => Promise<Reading> {
  const call = { deadlineMs: timeout, signal };
  let hits: { readonly atMs: number; readonly found: Sight<PlanReply> } | undefined;
  return async () => {
    const beganMs = performance.now();
    const known = hits !== undefined && beganMs - hits.atMs < ENTRIES_EVERY_MS ? hits : undefined;
    const bridge = sight(() => governance.show({}, call));
    const answered = bridge.then(() => performance.now());
    // Which level is compared with does not matter: what is asked for is what the one in force does.
    const plan = known?.found ?? sight(() => governance.plan({ level: 5, windowS: ENTRIES_WINDOW_S }, call));
    const coordinator = sight(() => posture.get({}, call));
    const found = await plan;
    if (known === undefined) hits = { atMs: beganMs, found };
    return {
      atMs: await answered,
      atWallMs: Date.now(),
      target: title,
      coordinator: await coordinator,
      bridge: await bridge,
      hits: found,
      names: names(),
    };
  };
}

/** Follows the flow records of the bridge until the signal aborts; a bridge that has none is asked again at times. */
function followNames(
  governance: GovernanceClient,
  signal: AbortSignal,
): { readonly now: () => Sight<NameList>; readonly ended: Promise<void> } {
  let list = NO_NAMES;
  let now: Sight<NameList> = { seen: true, value: list };
  const take = (): void => {
    now = { seen: true, value: list };
  };
  const follow = async (): Promise<void> => {
    while (!signal.aborted) {
      const settled = setTimeout(take, FLOWS_SETTLE_MS);
      try {
        for await (const batch of governance.watchFlows({}, { deadlineMs: FLOWS_QUIET_MS, signal })) {
          list = namesAfter(list, batch);
          take();
        }
      } catch (error) {
        const { code, message } = failureOf(error);
        if (code !== 'BUS_DEADLINE') now = { seen: false, code, message };
      } finally {
        clearTimeout(settled);
      }
      await sleep(FLOWS_RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  };
  return { now: () => now, ended: follow() };
}

function displayOf(options: TopOptions, leave: () => void): Display {
  const dumb = (process.env['TERM'] ?? 'dumb') === 'dumb';
  const ascii = options.ascii === true || (process.stdout.isTTY && dumb);
  const pace = `every ${options.interval} s`;
  if (options.json === true || !process.stdout.isTTY || dumb) {
    const look: Look = { ...PAGE, colour: false, ascii, paused: false, sort: 'packets', pace };
    return {
      show: (top, opening) => {
        // It has no rates, and nobody waits before a screen.
        if (opening) return;
        process.stdout.write(
          options.json === true ? `${jsonText(top, 0)}\n` : `${screenOf(top, look).join('\n')}\n\n`,
        );
      },
      close: () => undefined,
    };
  }
  return screen({ ascii, pace, colour: (process.env['NO_COLOR'] ?? '') === '' }, leave);
}

/** The live screen with its keys. */
function screen(fixed: Pick<Look, 'ascii' | 'pace' | 'colour'>, leave: () => void): Display {
  let sort: Sort = SORTS[0];
  let paused = false;
  let newest: Top | undefined;
  let shown: Top | undefined;
  const draw = (): void => {
    if (shown === undefined) return;
    const { columns, rows } = terminal;
    terminal.draw(screenOf(shown, { ...fixed, columns, rows, paused, sort }));
  };
  const keys: Readonly<Record<string, () => void>> = {
    q: leave,
    '\u0003': leave,
    p: () => {
      paused = !paused;
      if (!paused) shown = newest;
    },
    s: () => {
      sort = SORTS[(SORTS.indexOf(sort) + 1) % SORTS.length] ?? SORTS[0];
    },
  };
  const terminal: Terminal = openTerminal({
    onKey: (key) => {
      keys[key.toLowerCase()]?.();
      draw();
    },
    onResize: draw,
  });
  return {
    show: (top) => {
      newest = top;
      // Readings go on behind a paused screen, so that rates are right when it goes on.
      if (!paused) shown = top;
      draw();
    },
    close: () => {
      terminal.close();
    },
  };
}

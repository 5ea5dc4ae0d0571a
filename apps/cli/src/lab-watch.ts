/**
 * The live view of a lab in the foreground: every change of the posture on a line that stays, and what each
 * class gets through per second on one that is refreshed in place (on a terminal), or printed when it changes.
 * It must not change anything in the lab.
 */
import type { PostureState } from '@kedge/bus';
import type { EndReport, Lab, ZoneName } from '@kedge/lab';

import { durationText, levelText } from './render.js';

const EVERY_MS = 1_000;

interface Reading {
  readonly atMs: number;
  readonly sent: ReadonlyMap<string, number>;
  readonly received: ReadonlyMap<string, number>;
  readonly low: ReadonlyMap<string, number>;
}

type Account = ReadonlyMap<ZoneName, EndReport>;

async function reading(lab: Lab): Promise<Reading> {
  const { SENDING_ZONES } = await import('@kedge/lab');
  const report: Account = await lab.traffic().report();
  const sent = new Map<string, number>();
  const received = new Map<string, number>();
  const low = new Map<string, number>();
  const add = (map: Map<string, number>, name: string, value: number): void => {
    map.set(name, (map.get(name) ?? 0) + value);
  };
  for (const [zone, { flows }] of report) {
    for (const flow of flows) {
      if (SENDING_ZONES.some((name) => name === zone)) add(sent, flow.class, flow.packets);
      else {
        add(received, flow.class, flow.packets);
        add(low, flow.class, flow.le);
      }
    }
  }
  return { atMs: performance.now(), sent, received, low };
}

/** What a class gets through, in words. */
function share(now: Reading, before: Reading, name: string): string {
  const seconds = (now.atMs - before.atMs) / 1_000;
  const rate = (pick: (reading: Reading) => ReadonlyMap<string, number>): number =>
    ((pick(now).get(name) ?? 0) - (pick(before).get(name) ?? 0)) / seconds;
  const through = rate(({ received }) => received);
  const low = rate(({ low: marked }) => marked);
  if (through < 0.5) return `${name} ✗`;
  return `${name} ${through.toFixed(0)}/s${low > through / 2 ? ' low priority' : ''}`;
}

function change(state: PostureState): string {
  const { transition, level, epoch } = state;
  const parts = [`level ${levelText(level)}`, `epoch ${epoch}`];
  if (transition !== undefined && transition.epoch > 0n) {
    const { from, to, outcome, source } = transition;
    parts.push(`${from} → ${to} ${outcome}`);
    const path = transition.paths.find(({ path: name }) => name === 'dataplane');
    if (path !== undefined && path.endNs > 0n) {
      parts.push(`data plane ${durationText(path.endNs - path.startNs)} of ${durationText(path.budgetNs)}`);
    }
    if (source !== undefined && source.principal !== '') parts.push(`${source.principal}: ${source.reason}`);
  }
  for (const { path, level: forced } of state.failClosed) parts.push(`FAIL-CLOSED ${path} at ${forced}`);
  for (const alarm of state.alarms) parts.push(`ALARM ${alarm}`);
  return parts.join('  ');
}

const timeNow = (): string => new Date().toTimeString().slice(0, 8);

/** Shows the lab until the signal aborts or the lab ends. */
export async function watchLab(lab: Lab, signal: AbortSignal): Promise<void> {
  const terminal = process.stdout.isTTY;
  const { CLASS_NAMES } = await import('@kedge/lab');
  let live = '';
  const clear = (): void => {
    if (terminal && live !== '') process.stdout.write('\r\u001b[2K');
  };
  const say = (line: string): void => {
    clear();
    process.stdout.write(`${line}\n`);
    if (terminal) process.stdout.write(live);
  };
  const showLive = (line: string): void => {
    const width = process.stdout.columns;
    const fitting = terminal && line.length >= width ? `${line.slice(0, Math.max(1, width - 2))}…` : line;
    if (terminal) {
      clear();
      live = fitting;
      process.stdout.write(live);
    } else if (line !== live) {
      live = line;
      process.stdout.write(`${timeNow()}  ${line}\n`);
    }
  };

  const follow = async (): Promise<void> => {
    let told = '';
    while (!signal.aborted && lab.alive()) {
      try {
        for await (const state of lab.posture('console').watch({}, { deadlineMs: 5_000, signal })) {
          // Beats move all the time; only what is decided or forced is news.
          const line = change(state);
          if (line === told || state.transition?.outcome === 'running') continue;
          told = line;
          say(`${timeNow()}  ${line}`);
        }
      } catch {
        if (signal.aborted) return;
        say(`${timeNow()}  the posture coordinator does not answer`);
      }
      await pause(500, signal);
    }
  };

  const count = async (): Promise<void> => {
    let before: Reading | undefined;
    while (!signal.aborted && lab.alive()) {
      try {
        const now = await reading(lab);
        const last = before;
        if (last !== undefined) {
          const shares = CLASS_NAMES.map((name) => share(now, last, name));
          // On paper only what starts and stops is news, not every packet more or less.
          showLive(
            terminal ? shares.join('   ') : shares.map((text) => text.replace(/ \d+\/s/, ' ✓')).join('   '),
          );
        }
        before = now;
      } catch {
        before = undefined;
        showLive('the traffic does not answer');
      }
      await pause(EVERY_MS, signal);
    }
  };

  await Promise.all([follow(), count()]);
  clear();
  if (!lab.alive()) process.stdout.write('the lab has ended\n');
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

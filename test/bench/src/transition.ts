/**
 * A whole transition, 5 → 1 and back, with many routes, each path beside its budget and the overlay beside plain
 * `ip`; services that die, until they have acknowledged again; kedge-boot. Must not judge correctness.
 */
import { addRoutes, FULL_BUDGETS, type Lab, type LabRoute, labUp, linksOf } from '@kedge/lab';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Bench } from './bench.js';
import { bootTimes } from './boot-time.js';
import { bulkDestinations } from './bulk.js';
import { type BenchReport, type Goal, goalOf, hostOf, type Row, rowOf } from './figures.js';
import { plainRoutes } from './plain-routes.js';
import { restarts, SUBJECTS } from './restart.js';

const ROUTES = 10_000;
const TRANSITIONS = 10;
const DEATHS = 20;
const BOOTS = 100;
const PATHS = ['dataplane', 'overlay', 'underlay'] as const;
type Path = (typeof PATHS)[number];
/** Milliseconds of the contract; the data plane's is held by another bench, here it is shown. */
const BUDGET_MS: Readonly<Record<Path, number>> = { dataplane: 1, overlay: 5_000, underlay: 10_000 };
const OVERLAY_GOAL_MS = 500;
const RATIO_GOAL = 1.3;
const RESTART_GOAL_MS = 300;
const BOOT_GOAL_MS = 50;
const WITHIN_MS = 30_000;

function bulkRoutes(): readonly LabRoute[] {
  const [over] = linksOf('overlay');
  return bulkDestinations(ROUTES).map((destination) => ({
    destination,
    family: 4,
    via: over.via4,
    dev: over.name,
    metric: 0,
    purpose: 'ordinary',
    tier: 'journeyman',
    probe: destination.slice(0, destination.indexOf('/')),
  }));
}

/** Nanoseconds, or what became of a path that did not end. */
type Span = number | { readonly outcome: string };

/** Goes to a level by the console and waits for the end; nanoseconds of each path by the stamps of the acting ends. */
async function transition(lab: Lab, level: number): Promise<Record<Path, Span>> {
  const console_ = lab.posture('console');
  const reply = await console_.set(
    {
      level,
      reason: 'benchmark',
      principal: 'bench:transition',
      idempotencyKey: `bench-${String(process.pid)}-${String(performance.now())}`,
    },
    { deadlineMs: 10_000 },
  );
  if (reply.outcome !== 'decision') throw new Error(`bench: level ${String(level)} was not decided`);
  const { epoch } = reply.decision;
  for (const until = performance.now() + WITHIN_MS; performance.now() < until; await sleep(50)) {
    const { transition: report } = await console_.get({}, { deadlineMs: 5_000 });
    if (report?.epoch !== epoch || report.outcome === 'running') continue;
    const spans = PATHS.map((name): readonly [Path, Span] => {
      const path = report.paths.find((each) => each.path === name);
      const ended = path !== undefined && path.endNs > 0n;
      return [name, ended ? Number(path.endNs - path.startNs) : { outcome: path?.outcome ?? 'unknown' }];
    });
    return Object.fromEntries(spans) as Record<Path, Span>;
  }
  throw new Error(`bench: level ${String(level)} was not reached within ${String(WITHIN_MS)} ms`);
}

interface Part {
  readonly rows: readonly Row[];
  readonly goals: readonly Goal[];
  readonly ratios: Readonly<Record<string, number>>;
}

async function transitionPart(lab: Lab, samples: number): Promise<Part> {
  await addRoutes(lab, 'overlay', bulkRoutes());
  const plain = await plainRoutes(ROUTES);
  const taken = { down: [] as Record<Path, Span>[], up: [] as Record<Path, Span>[] };
  const beside = { down: [] as number[], up: [] as number[] };
  try {
    for (let n = 0; n < samples; n += 1) {
      taken.down.push(await transition(lab, 1));
      beside.down.push(await plain.withdraw());
      taken.up.push(await transition(lab, 5));
      beside.up.push(await plain.restore());
    }
  } finally {
    plain.close();
  }
  const rows: Row[] = [];
  const goals: Goal[] = [];
  const ratios: Record<string, number> = {};
  for (const [way, name] of [
    ['down', '5 → 1'],
    ['up', '1 → 5'],
  ] as const) {
    const rowOfPath = (path: Path): Row => {
      const spans = taken[way].map((each) => each[path]);
      const others = spans.filter((span) => typeof span !== 'number').map(({ outcome }) => outcome);
      return rowOf(
        `${name}: ${path}, budget ${String(BUDGET_MS[path])} ms`,
        spans.filter((span) => typeof span === 'number'),
        'ms',
        others.length === 0 ? {} : { invalid: `${String(others.length)} did not end: ${others.join(', ')}` },
      );
    };
    const [dataplane, overlay, underlay] = [
      rowOfPath('dataplane'),
      rowOfPath('overlay'),
      rowOfPath('underlay'),
    ];
    const plainly = rowOf(`${name}: plain ip, ${String(ROUTES)} routes and two reads`, beside[way], 'ms');
    rows.push(dataplane, overlay, underlay, plainly);
    const ratio = Math.round((overlay.p50 / plainly.p50) * 100) / 100;
    ratios[`${name}: overlay p50 / plain ip p50`] = ratio;
    goals.push(
      goalOf(`${name}: overlay p99, ms`, OVERLAY_GOAL_MS, overlay.p99),
      goalOf(`${name}: underlay p99, ms`, BUDGET_MS.underlay, underlay.p99),
      goalOf(`${name}: overlay / plain ip`, RATIO_GOAL, ratio),
    );
  }
  return { rows, goals, ratios };
}

async function restartPart(lab: Lab, samples: number, progress: (line: string) => void): Promise<Part> {
  const rows: Row[] = [];
  for (const subject of SUBJECTS) {
    progress(`${subject.service}: killed, and back`);
    rows.push(
      rowOf(`${subject.service}: killed → acknowledged again`, await restarts(lab, subject, samples), 'ms'),
    );
  }
  const goals = rows.map((row) => goalOf(`${row.name}, p50, ms`, RESTART_GOAL_MS, row.p50));
  return { rows, goals, ratios: {} };
}

export const transitionBench: Bench = async ({ samples, progress }): Promise<BenchReport> => {
  const host = hostOf();
  progress('kedge-boot');
  const boot = rowOf('kedge-boot with a full journal, start to end', bootTimes(samples ?? BOOTS), 'ms');
  progress('a lab');
  // What dies is started again at once, however often: the back-off is not what is measured.
  const budgets = { ...FULL_BUDGETS, restartMaxMs: FULL_BUDGETS.restartMinMs };
  const lab = await labUp({ name: 'bench', budgets });
  try {
    const restarted = await restartPart(lab, samples ?? DEATHS, progress);
    progress(`5 → 1 → 5 with ${String(ROUTES)} routes`);
    const moved = await transitionPart(lab, samples ?? TRANSITIONS);
    return {
      bench: 'transition',
      host,
      rows: [...moved.rows, ...restarted.rows, boot],
      ratios: moved.ratios,
      goals: [...moved.goals, ...restarted.goals, goalOf('kedge-boot p99, ms', BOOT_GOAL_MS, boot.p99)],
    };
  } finally {
    await lab.down();
  }
};

/**
 * The chaos drill: every service killed and stopped at every step of a tightening and of a loosening, the
 * bridge away, the warden stopped and killed, under traffic that says what really got through.
 * It must stand outside: services are struck by a watcher of the board, nothing in them helps.
 */
import { KedgeError, type Level } from '@kedge/units';
import { randomUUID } from 'node:crypto';

import { type ArmedStrike, armStrike, type BoardTrace, type Step } from './board-watch.js';
import {
  askFor,
  DRILL_RATES,
  graceNs,
  leakViolations,
  LEAST_OFFERED,
  nowNs,
  settle,
  sleep,
  underLoad,
  type Violation,
  wayInFor,
} from './drill.js';
import { EXPECTED } from './expectations.js';
import { acknowledgedBy } from './judge.js';
import { allRoutesAt, expectedRoutes, kernelRoutes } from './kernel-routes.js';
import { connectLab, type Lab, labDown, type LabService, labUp } from './lab.js';
import { ROUTE_MODES, type RouteMode } from './route-topology.js';
import type { LabBudgets } from './settings.js';
import { CLASS_NAMES, DATAPLANE, type SocketDirectory } from './topology.js';

/** Services that are struck at every step. */
export const STRUCK_SERVICES = ['posture-coordinator', 'vpp-bridge', 'forwarder', ...ROUTE_MODES] as const;
/** `acknowledged`: by the data plane; `carried`: by overlay and underlay. */
export const STEPS = [
  'received',
  'decided',
  'stored',
  'journaled',
  'acknowledged',
  'carried',
  'verified',
] as const;
export type StepName = (typeof STEPS)[number];
export type Way = 'tightening' | 'loosening';
export type Blow = 'KILL' | 'STOP';

const LOOSE: Level = 5;
const TIGHT: Level = 2;
const STAGE_COMPLETE = 7;
const CALL_MS = 2_000;
const CONVERGED_WITHIN_MS = 20_000;
const HOLD_MS = 150;
const CLOSED_WITHIN_MS = 2_000;
const DECIDED_WITHIN_MS = 5_000;
const HEALTH_MS = 500;
const FLOWING_MS = 60;

/** One thing that was done to the lab, and what came of it. */
export interface ChaosAct {
  readonly name: string;
  readonly ok: boolean;
  /** Processes that were struck; undefined when the step was not seen. */
  readonly struck?: number;
  /** From the request until everything was right again. */
  readonly convergedMs?: number;
  /** Paths that the warden forced closed meanwhile. */
  readonly failClosed?: readonly RouteMode[];
  /** Disallowed packets per second that were offered while the tighter level bound, smallest zone pair. */
  readonly offered?: number;
  readonly violations: readonly ChaosViolation[];
}

export interface ChaosViolation {
  readonly kind: Violation['kind'] | 'not-converged' | 'not-struck' | 'loosened' | 'left' | 'not-closed';
  readonly message: string;
  readonly packets?: number;
}

export interface ChaosReport {
  readonly ok: boolean;
  readonly dataplane: string;
  readonly seconds: number;
  readonly acts: readonly ChaosAct[];
  readonly violations: readonly (ChaosViolation & { readonly act: string })[];
}

export interface ChaosOptions {
  /** The lab to drill; with budgets a lab of its own is brought up under this name. */
  readonly name: string;
  readonly budgets?: LabBudgets;
  /** Only acts whose name contains or matches this. The killing of the warden, which ends the lab, is always last. */
  readonly only?: string | RegExp;
  readonly progress?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** What the watcher waits for, by step. A loosening is in the journal before its line is on the board. */
function watched(step: StepName): Step {
  switch (step) {
    case 'received':
      return 'now';
    case 'decided':
    case 'stored':
    case 'journaled':
    case 'acknowledged':
    case 'carried':
    case 'verified':
      return step;
  }
}

/** A lab, its trace, and who may end what is done with both. */
export interface Stage {
  readonly lab: Lab;
  readonly trace: BoardTrace;
  readonly signal: AbortSignal | undefined;
}

/** Everything is right again: the level asked for, on every worker, finished, and all services serving. */
async function isConverged(stage: Stage, level: Level): Promise<boolean> {
  const { lab, trace } = stage;
  const { word, line, failClosed } = trace.now;
  if (word.level !== level || !acknowledgedBy(trace.now, word.epoch, level)) return false;
  if (line.epoch !== word.epoch || line.stage !== STAGE_COMPLETE) return false;
  if (failClosed.some(({ level: forced }) => forced !== 0)) return false;
  const behind = trace.now.participants.some(
    (each) => each.epoch !== word.epoch || each.level !== level || (each.outcome !== 1 && each.outcome !== 2),
  );
  if (behind) return false;
  try {
    // Every way in that is used: a connection that was cut has to be up again before the next request counts.
    const health = await Promise.all(
      [
        lab.posture('console'),
        lab.posture('local/site_owner'),
        lab.governance(),
        lab.overlay(),
        lab.underlay(),
      ].map((client) => client.health({ deadlineMs: HEALTH_MS })),
    );
    if (health.some((answer) => answer !== 'SERVING')) return false;
    // A forwarder that was stopped after its acknowledgement looks well on the board; packets do not lie.
    const afterNs = nowNs();
    await sleep(FLOWING_MS, stage.signal);
    if ((await lab.traffic().received('management', afterNs, nowNs())).packets === 0) return false;
    for (const mode of ROUTE_MODES) {
      const { own } = await kernelRoutes(lab, mode);
      if (own.join() !== expectedRoutes(mode, level).join()) return false;
    }
    return true;
  } catch (error) {
    if (stage.signal?.aborted === true) throw error;
    return false;
  }
}

/**
 * Asks until the level is in force and everything is right. A request whose answer was lost is made again with
 * its key, which makes it the same one; one that was refused because the service is recovering is made anew.
 *
 * @param way by which it is asked.
 */
export async function converge(
  stage: Stage,
  level: Level,
  key: string,
  asked: boolean,
  way: (from: Level, to: Level) => SocketDirectory = wayInFor,
): Promise<number | undefined> {
  const { lab, trace, signal } = stage;
  const begun = performance.now();
  let mayAsk = !asked;
  let requestKey = key;
  let again = begun + 1_000;
  while (performance.now() - begun < CONVERGED_WITHIN_MS) {
    signal?.throwIfAborted();
    if (await isConverged(stage, level)) return performance.now() - begun;
    const { word, line } = trace.now;
    const idle = line.stage === STAGE_COMPLETE && line.epoch === word.epoch && word.level !== level;
    if (mayAsk || (idle && performance.now() > again)) {
      try {
        const reply = await lab
          .posture(way(word.level, level))
          .set(
            { level, reason: 'chaos drill', principal: 'service:drill', idempotencyKey: requestKey },
            { deadlineMs: CALL_MS },
          );
        mayAsk = false;
        // The answer was kept but the decision is not in force any more, or it was refused: ask anew next time.
        requestKey = randomUUID();
        if (reply.outcome !== 'decision') again = performance.now() + 300;
        else again = performance.now() + 1_000;
      } catch {
        mayAsk = true;
        await sleep(50, signal);
      }
    }
    await sleep(20, signal);
  }
  return undefined;
}

/** Smallest rate at which any class was offered that the tighter level drops. */
async function offeredRate(lab: Lab, afterNs: bigint, level: Level): Promise<number> {
  const untilNs = nowNs();
  const closed = CLASS_NAMES.filter((name) => EXPECTED[name][level] === 'drop');
  if (closed.length === 0) return 0;
  const counts = await Promise.all(closed.map((name) => lab.traffic().sent(name, afterNs, untilNs)));
  return Math.min(...counts.map(({ packets }) => (packets * 1e9) / Number(untilNs - afterNs)));
}

/** What got through since `states` began that should not have, and what is still closed that should be open. */
async function judge(stage: Stage, since: number, level: Level): Promise<ChaosViolation[]> {
  const { lab, trace } = stage;
  const found: ChaosViolation[] = (
    await leakViolations(lab.traffic(), trace.states.slice(since), graceNs(lab), nowNs())
  ).map(({ kind, message, packets }) => ({ kind, message, ...(packets === undefined ? {} : { packets }) }));
  const afterNs = nowNs();
  await sleep(HOLD_MS, stage.signal);
  for (const name of CLASS_NAMES.filter((candidate) => EXPECTED[candidate][level] !== 'drop')) {
    const { packets } = await lab.traffic().received(name, afterNs, nowNs());
    if (packets === 0) {
      found.push({ kind: 'blocked', message: `nothing of ${name} arrives at level ${level} after recovery` });
    }
  }
  for (const { differences } of await allRoutesAt(lab, level)) {
    for (const message of differences) found.push({ kind: 'routes', message });
  }
  return found;
}

const pathIndex = (mode: RouteMode): number => 1 + ROUTE_MODES.indexOf(mode);

/** Paths that were forced closed in any state since `since`. */
function closedSince(trace: BoardTrace, since: number): readonly RouteMode[] {
  return ROUTE_MODES.filter((mode) =>
    trace.states.slice(since).some(({ failClosed }) => (failClosed[pathIndex(mode)]?.level ?? 0) !== 0),
  );
}

/** Kills a service whenever it comes back, while `work` goes on; how often it was. */
async function keptAway(lab: Lab, service: LabService, work: () => Promise<void>): Promise<number> {
  let away = true;
  let kills = 0;
  const killing = (async () => {
    while (away) {
      for (const { pid } of lab.serviceProcesses(service)) {
        try {
          process.kill(pid, 'SIGKILL');
          kills += 1;
        } catch {
          // It went by itself.
        }
      }
      await sleep(20);
    }
  })();
  try {
    await work();
  } finally {
    away = false;
    await killing;
  }
  return kills;
}

/**
 * Brings the lab to a level and aims: the processes to strike. A service may be started anew at any time, by a warden
 * that missed its beat on a crowded machine as well; then there is nobody to aim at for a moment, and it has to be right
 * again before the act begins. What kept it from that, otherwise.
 */
export async function aimAt(
  stage: Stage,
  service: LabService,
  level: Level,
): Promise<{ readonly pids: readonly number[] } | { readonly missing: string }> {
  for (const end = performance.now() + CONVERGED_WITHIN_MS; ;) {
    if ((await converge(stage, level, randomUUID(), false)) === undefined)
      return { missing: `the lab did not come to level ${level} before the act (${await describe(stage)})` };
    const pids = stage.lab.serviceProcesses(service).map(({ pid }) => pid);
    if (pids.length > 0) return { pids };
    if (performance.now() > end)
      return {
        missing: `no process of ${service} was there to be struck within ${CONVERGED_WITHIN_MS / 1000} s`,
      };
    await sleep(20, stage.signal);
  }
}

async function strikeOnce(
  stage: Stage,
  service: (typeof STRUCK_SERVICES)[number],
  blow: Blow,
  step: StepName,
  way: Way,
): Promise<ChaosAct> {
  const { lab, trace, signal } = stage;
  const name = `${blow} ${service} at ${step} of a ${way}`;
  const [from, to] = way === 'tightening' ? [LOOSE, TIGHT] : [TIGHT, LOOSE];
  const violations: ChaosViolation[] = [];
  const aimed = await aimAt(stage, service, from);
  if ('missing' in aimed) {
    return { name, ok: false, violations: [{ kind: 'not-converged', message: aimed.missing }] };
  }
  const since = trace.states.length - 1;
  const begunNs = nowNs();
  const epochBefore = trace.now.word.epoch;
  const armed: ArmedStrike = await armStrike({
    board: lab.board,
    afterEpoch: epochBefore,
    when: watched(step),
    signal: blow,
    pids: aimed.pids,
    journal: lab.journal,
    timeoutMs: 5_000,
  });
  const key = randomUUID();
  let asked: boolean;
  if (step === 'received') await armed.struck;
  try {
    const reply = await lab
      .posture(wayInFor(from, to))
      .set(
        { level: to, reason: `chaos drill: ${name}`, principal: 'service:drill', idempotencyKey: key },
        { deadlineMs: CALL_MS },
      );
    asked = reply.outcome === 'decision';
  } catch {
    asked = false;
  }
  const struck = await armed.struck;
  if (!struck.seen || struck.processes === 0) {
    violations.push({
      kind: 'not-struck',
      message: struck.seen
        ? `nobody was left to strike`
        : `the step "${step}" was not seen within 5 s (after epoch ${epochBefore}; word ${struck.wordEpoch}, line ${struck.lineEpoch} stage ${struck.stage})`,
    });
  }
  const convergedMs = await converge(stage, to, key, asked);
  if (convergedMs === undefined) {
    violations.push({
      kind: 'not-converged',
      message: `not at level ${to} again within ${CONVERGED_WITHIN_MS / 1000} s (${await describe(stage)})`,
    });
  }
  violations.push(...(await judge(stage, since, to)));
  const offered = await offeredRate(lab, begunNs, TIGHT);
  if (offered < LEAST_OFFERED * 0.9) {
    violations.push({
      kind: 'evidence',
      message: `only ${offered.toFixed(0)} disallowed packets/s were offered`,
    });
  }
  signal?.throwIfAborted();
  return {
    name,
    ok: violations.length === 0,
    struck: struck.processes,
    ...(convergedMs === undefined ? {} : { convergedMs: Math.round(convergedMs) }),
    offered: Math.round(offered),
    failClosed: closedSince(trace, since),
    violations,
  };
}

/** As {@link strikeOnce}; once more where the process had been started anew between aiming and striking. */
async function strikeAct(...given: Parameters<typeof strikeOnce>): Promise<ChaosAct> {
  const act = await strikeOnce(...given);
  return act.struck === 0 && act.violations.every(({ kind }) => kind === 'not-struck')
    ? strikeOnce(...given)
    : act;
}

export async function describe({ lab, trace }: Stage): Promise<string> {
  const { word, line, failClosed, workers } = trace.now;
  const health = async (ask: () => Promise<string>): Promise<string> => {
    try {
      return await ask();
    } catch (error) {
      return error instanceof KedgeError ? error.code : 'unreachable';
    }
  };
  const parts = [
    `word ${word.epoch}/${word.level}`,
    `line ${line.epoch} ${line.from}→${line.to} stage ${line.stage}`,
    `fail-closed ${failClosed.map(({ level }) => level).join('/')}`,
    `workers ${workers.map(({ live, epoch, level }) => `${live ? 'live' : 'gone'} ${epoch}/${level}`).join(', ')}`,
    `coordinator ${await health(() => lab.posture('console').health({ deadlineMs: CALL_MS }))}`,
    `participants ${trace.now.participants.map((each) => `${each.name} ${each.epoch}/${each.level} outcome ${each.outcome}`).join(', ')}`,
    `overlay ${await health(() => lab.overlay().health({ deadlineMs: CALL_MS }))}`,
    `underlay ${await health(() => lab.underlay().health({ deadlineMs: CALL_MS }))}`,
    `bridge ${await health(() => lab.governance().health({ deadlineMs: CALL_MS }))}`,
  ];
  const words = lab.logTail('posture-coordinator', 4);
  return `${parts.join(', ')}; last words of the coordinator: ${words}`;
}

/** The bridge is killed whenever it comes back, while the posture goes down and up. */
async function bridgeGone(stage: Stage): Promise<ChaosAct> {
  const { lab, trace } = stage;
  const name = 'the bridge is away during 5 → 1 → 5';
  const violations: ChaosViolation[] = [];
  await converge(stage, LOOSE, randomUUID(), false);
  const since = trace.states.length - 1;
  const kills = await keptAway(lab, 'vpp-bridge', async () => {
    await sleep(100, stage.signal);
    for (const [from, to] of [
      [5, 1],
      [1, 5],
    ] as const) {
      try {
        const behind = { waitMs: DECIDED_WITHIN_MS, signal: stage.signal };
        const epoch = await askFor(lab, from, to, `chaos drill: ${name}`, behind);
        const there = await trace.until(
          (state) => state.word.epoch >= epoch && acknowledgedBy(state, epoch, to),
          5_000,
        );
        if (there === undefined) {
          violations.push({
            kind: 'not-converged',
            message: `${from} → ${to} did not reach the data plane without the bridge (${await describe(stage)})`,
          });
        }
      } catch (error) {
        if (!(error instanceof KedgeError) || error.code !== 'DRILL_REFUSED') throw error;
        violations.push({ kind: 'not-converged', message: error.message });
      }
      await sleep(300, stage.signal);
    }
  });
  const convergedMs = await converge(stage, LOOSE, randomUUID(), true);
  if (convergedMs === undefined) {
    violations.push({
      kind: 'not-converged',
      message: `not right again after the bridge came back (${await describe(stage)})`,
    });
  }
  violations.push(...(await judge(stage, since, LOOSE)));
  return {
    name,
    ok: violations.length === 0,
    struck: kills,
    ...(convergedMs === undefined ? {} : { convergedMs: Math.round(convergedMs) }),
    violations,
  };
}

/**
 * Overlay or underlay is away while the posture tightens: at its deadline the warden cuts the path by itself, and
 * when the service comes back it brings the world to the posture and the line is cleared (PO-12, PO-19).
 */
async function pathGone(stage: Stage, mode: RouteMode): Promise<ChaosAct> {
  const { lab, trace } = stage;
  const name = pathGoneName(mode);
  const violations: ChaosViolation[] = [];
  await converge(stage, LOOSE, randomUUID(), false);
  const since = trace.states.length - 1;
  const budgetMs = lab.settings.budgets[mode === 'overlay' ? 'overlayMs' : 'underlayMs'];
  const kills = await keptAway(lab, mode, async () => {
    await sleep(100, stage.signal);
    const reply = await lab.posture('local/site_owner').set(
      {
        level: TIGHT,
        reason: `chaos drill: ${name}`,
        principal: 'service:drill',
        idempotencyKey: randomUUID(),
      },
      { deadlineMs: CALL_MS },
    );
    const epoch = reply.outcome === 'decision' ? reply.decision.epoch : 0n;
    const closed = await trace.until(
      ({ failClosed, word }) => word.epoch >= epoch && (failClosed[pathIndex(mode)]?.level ?? 0) !== 0,
      budgetMs + CLOSED_WITHIN_MS,
    );
    if (closed === undefined) {
      violations.push({
        kind: 'not-closed',
        message: `the warden did not close the ${mode} within its ${budgetMs} ms (${await describe(stage)})`,
      });
    }
    const until = performance.now() + CLOSED_WITHIN_MS;
    let left = -1;
    while (left !== 0 && performance.now() < until) {
      left = (await kernelRoutes(lab, mode)).own.length;
      if (left !== 0) await sleep(50, stage.signal);
    }
    if (left !== 0) {
      violations.push({
        kind: 'not-closed',
        message: `${left} routes of the ${mode} are left after its deadline`,
      });
    }
    const other = ROUTE_MODES.find((each) => each !== mode) ?? mode;
    const should = expectedRoutes(other, TIGHT).join();
    let is = '';
    // A crowded machine may make it late as well; it has to get there all the same.
    for (const end = performance.now() + CLOSED_WITHIN_MS * 2; is !== should && performance.now() < end;) {
      is = (await kernelRoutes(lab, other)).own.join();
      if (is !== should) await sleep(50, stage.signal);
    }
    if (is !== should) {
      violations.push({
        kind: 'routes',
        message: `the ${other} is not at level ${TIGHT} while the ${mode} is away`,
      });
    }
  });
  for (const level of [TIGHT, LOOSE]) {
    if ((await converge(stage, level, randomUUID(), level === TIGHT)) === undefined) {
      violations.push({
        kind: 'not-converged',
        message: `not at level ${level} after the ${mode} came back (${await describe(stage)})`,
      });
    }
  }
  violations.push(...(await judge(stage, since, LOOSE)));
  return {
    name,
    ok: violations.length === 0,
    struck: kills,
    failClosed: closedSince(trace, since),
    violations,
  };
}

const pathGoneName = (mode: RouteMode): string => `the ${mode} is away during 5 → 2 → 5`;

/** While the warden is stopped nothing loosens (PO-12), and everything still tightens. */
async function wardenStopped(stage: Stage): Promise<ChaosAct> {
  const { lab, trace } = stage;
  const name = 'STOP warden during a loosening and a tightening';
  const violations: ChaosViolation[] = [];
  await converge(stage, TIGHT, randomUUID(), false);
  const since = trace.states.length - 1;
  process.kill(lab.pid, 'SIGSTOP');
  try {
    await sleep(lab.settings.budgets.beatStaleMs + 300, stage.signal);
    const word = trace.now.word;
    const ask = async (level: Level): Promise<string> => {
      try {
        const reply = await lab.posture('console').set(
          {
            level,
            reason: `chaos drill: ${name}`,
            principal: 'service:drill',
            idempotencyKey: randomUUID(),
          },
          { deadlineMs: CALL_MS },
        );
        return reply.outcome;
      } catch (error) {
        return error instanceof KedgeError ? error.code : 'failed';
      }
    };
    await ask(LOOSE);
    await sleep(1_000, stage.signal);
    const loosened = trace.states.slice(since).find((state) => state.word.level > TIGHT);
    if (loosened !== undefined) {
      violations.push({
        kind: 'loosened',
        message: `level ${loosened.word.level} was stored while the warden was silent (epoch ${loosened.word.epoch}, was ${word.epoch})`,
      });
    }
    await ask(1);
    const tightened = await trace.until(
      (state) => state.word.level === 1 && acknowledgedBy(state, state.word.epoch, 1),
      5_000,
    );
    if (tightened === undefined) {
      violations.push({
        kind: 'not-converged',
        message: `level 1 did not reach the data plane while the warden was silent (${await describe(stage)})`,
      });
    }
  } finally {
    if (lab.alive()) process.kill(lab.pid, 'SIGCONT');
  }
  const convergedMs = await converge(stage, LOOSE, randomUUID(), false);
  if (convergedMs === undefined) {
    violations.push({
      kind: 'not-converged',
      message: `not at level ${LOOSE} again after the warden went on (${await describe(stage)})`,
    });
  }
  violations.push(...(await judge(stage, since, LOOSE)));
  return {
    name,
    ok: violations.length === 0,
    struck: 1,
    ...(convergedMs === undefined ? {} : { convergedMs: Math.round(convergedMs) }),
    violations,
  };
}

/** The lab ends with its warden, and nothing of it is left. */
async function wardenKilled({ lab, trace }: Stage): Promise<ChaosAct> {
  const name = 'KILL warden';
  const violations: ChaosViolation[] = [];
  const pids = lab.processes().map(({ pid }) => pid);
  trace.close();
  process.kill(lab.pid, 'SIGKILL');
  const begun = performance.now();
  const { existsSync } = await import('node:fs');
  let left = pids;
  while (left.length > 0 && performance.now() - begun < 5_000) {
    await sleep(20);
    left = left.filter((pid) => existsSync(`/proc/${pid}/ns/pid`) && isAlive(pid));
  }
  if (left.length > 0) {
    violations.push({ kind: 'left', message: `processes outlived the warden: ${left.join(', ')}` });
  }
  lab.close();
  await labDown(lab.name);
  return {
    name,
    ok: violations.length === 0,
    struck: 1,
    convergedMs: Math.round(performance.now() - begun),
    violations,
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

type Act = (stage: Stage) => Promise<ChaosAct>;

/** Every act by name, in the order in which they are played: each ends where the next begins. */
function acts(): readonly { readonly name: string; readonly play: Act }[] {
  const strikes = STRUCK_SERVICES.flatMap((service) =>
    (['KILL', 'STOP'] as const).flatMap((blow) =>
      STEPS.flatMap((step) =>
        (['tightening', 'loosening'] as const).map((way) => ({
          name: `${blow} ${service} at ${step} of a ${way}`,
          play: (stage: Stage) => strikeAct(stage, service, blow, step, way),
        })),
      ),
    ),
  );
  return [
    ...strikes,
    { name: 'the bridge is away during 5 → 1 → 5', play: bridgeGone },
    ...ROUTE_MODES.map((mode) => ({
      name: pathGoneName(mode),
      play: (stage: Stage) => pathGone(stage, mode),
    })),
    { name: 'STOP warden during a loosening and a tightening', play: wardenStopped },
  ];
}

/** How many acts a whole chaos drill plays, the killing of the warden included. */
export const CHAOS_ACTS = acts().length + 1;

/**
 * Plays the whole chaos drill. The lab is gone afterwards: its last act kills the warden.
 *
 * @throws KedgeError as {@link labUp}, {@link connectLab}, `LAB_WATCH`, `LAB_TRAFFIC`
 */
export async function chaosDrill(options: ChaosOptions): Promise<ChaosReport> {
  const { name, budgets, only = '', progress = () => undefined, signal } = options;
  const lab =
    budgets === undefined
      ? connectLab(name)
      : await labUp({ name, budgets, foreground: true, ...(signal === undefined ? {} : { signal }) });
  const begun = performance.now();
  const played: ChaosAct[] = [];
  const note = (act: ChaosAct): void => {
    played.push(act);
    progress(
      `${act.ok ? 'ok  ' : 'FAIL'} ${act.name}${act.convergedMs === undefined ? '' : `  ${act.convergedMs} ms`}`,
    );
    for (const { message } of act.violations) progress(`       ${message}`);
  };
  try {
    await underLoad(lab, DRILL_RATES, async () => {
      const stage: Stage = { lab, trace: await lab.trace(), signal };
      await settle(lab, stage.trace, signal);
      for (const act of acts().filter(({ name: each }) =>
        typeof only === 'string' ? each.includes(only) : only.test(each),
      ))
        note(await act.play(stage));
      note(await wardenKilled(stage));
    });
  } finally {
    lab.close();
    if (budgets !== undefined && lab.alive()) await lab.down();
  }
  const violations = played.flatMap((act) =>
    act.violations.map((violation) => ({ act: act.name, ...violation })),
  );
  return {
    ok: violations.length === 0,
    dataplane: DATAPLANE,
    seconds: Math.round((performance.now() - begun) / 100) / 10,
    acts: played,
    violations,
  };
}

export type { LabService };

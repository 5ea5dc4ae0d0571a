/**
 * The live drill (PO-21): every level down and up under traffic, judged at the receivers.
 * It must judge by expectations.ts and by packets, never by what accords or the coordinator say is right.
 */
import type { PathReport, SetReply, TransitionReport } from '@kedge/bus';
import { PATHS } from '@kedge/contracts';
import { KedgeError, type Level } from '@kedge/units';
import { randomUUID } from 'node:crypto';

import { type BoardState, type BoardTrace } from './board-watch.js';
import { type DrillLedger, type GateAnswer, judgeLedger, type Witnessed } from './drill-ledger.js';
import { EXPECTED, GATE_EXPECTED, type Treatment } from './expectations.js';
import { acknowledgedBy, allowances, closedSpans, lastAcknowledgement, leaks } from './judge.js';
import {
  allRoutesAt,
  routesFingerprint,
  routesFingerprints,
  type RoutesFound,
  type Wanted,
} from './kernel-routes.js';
import type { Lab } from './lab.js';
import { ROUTE_MODES, type RouteMode, type RouteTier } from './route-topology.js';
import { wantedRoutes } from './seed.js';
import { CLASS_NAMES, type ClassName, DATAPLANE, type SocketDirectory, TIERS } from './topology.js';
import type { Traffic } from './traffic.js';

/** Packets per second and flow while a drill runs; two flows a class make 2,000 per zone pair. */
export const DRILL_RATES: Readonly<Record<ClassName, number>> = {
  management: 100,
  critical: 1_010,
  ordinary: 1_010,
  unapproved: 1_010,
};
/** Disallowed packets per second and zone pair that have to be offered, or the drill proves too little. */
export const LEAST_OFFERED = 2_000;

/** Of what an open class sends, this part has to arrive. The rest is what a crowded machine may lose. */
const FLOWS = 0.95;
/** What was sent later than this before a count may still be on its way. */
const IN_FLIGHT_NS = 50_000_000n;
const SET_DEADLINE_MS = 10_000;
const COMPLETE_WITHIN_MS = 30_000;
const SECOND_NS = 1_000_000_000;

export interface DrillParticipant {
  readonly name: string;
  /** From the start of the budget to its acknowledgement, milliseconds. */
  readonly ms: number;
  readonly outcome: string;
  readonly changes: number;
}

export interface DrillPath {
  readonly ms: number;
  readonly budgetMs: number;
  readonly ok: boolean;
  readonly participants: readonly DrillParticipant[];
}

export interface DrillTraffic {
  readonly sent: number;
  readonly received: number;
  readonly allowed: Treatment;
  /** Arrived marked DSCP LE. */
  readonly deprioritised: number;
}

/** Kedge's routes of one mode in the kernel after a step. */
export interface DrillRoutes {
  /** How many there are. */
  readonly there: number;
  /** What the step took away, and what it brought back. */
  readonly withdrawn: readonly string[];
  readonly restored: readonly string[];
  /** Addresses whose way the kernel was asked for. */
  readonly asked: number;
  readonly ok: boolean;
}

/** Whom the gate let through after a step, of those who asked. */
export interface DrillGate {
  readonly mode: string;
  readonly ordinary: readonly RouteTier[];
  readonly emergency: readonly RouteTier[];
  readonly ok: boolean;
}

export interface DrillStep {
  readonly epoch: string;
  readonly from: Level;
  readonly to: Level;
  readonly ok: boolean;
  readonly paths: Readonly<Record<string, DrillPath>>;
  readonly traffic: Readonly<Record<ClassName, DrillTraffic>>;
  readonly routes: Readonly<Record<RouteMode, DrillRoutes>>;
  readonly gate: DrillGate;
}

export type ViolationKind =
  /** A class got through after the last acknowledgement, or the deadline, of a level that drops it. */
  | 'leak'
  /** A class that the level lets through did not arrive. */
  | 'blocked'
  /** It arrived with another mark than it should have. */
  | 'marking'
  /** Routes or rules in the kernel are not what the level leaves, or did not come back as they were. */
  | 'routes'
  /** The gate let through whom it should not, or not whom it should. */
  | 'gate'
  /** The ledger does not hold what the drill saw, or holds more of it. */
  | 'ledger'
  /** A path missed its budget or did not end well. */
  | 'budget'
  /** The transition did not complete. */
  | 'incomplete'
  /** The account is not complete, or too little was offered: the drill proves too little. */
  | 'evidence';

export interface Violation {
  readonly kind: ViolationKind;
  readonly epoch: string;
  readonly level: Level;
  readonly class?: ClassName;
  readonly packets?: number;
  readonly message: string;
}

/** Routes and rules of each mode before the first step and after the last, as SHA-256 of all that the kernel tells. */
export interface DrillReturn {
  readonly before: Readonly<Record<RouteMode, string>>;
  readonly after: Readonly<Record<RouteMode, string>>;
  /** Byte for byte; what a course that ends at level 5 has to come to. */
  readonly identical: boolean;
}

export interface DrillReport {
  readonly ok: boolean;
  /** Which data plane was drilled. */
  readonly dataplane: string;
  readonly steps: readonly DrillStep[];
  readonly routes: DrillReturn;
  /** What the drill saw at each level, held against the ledger. */
  readonly ledger: DrillLedger;
  readonly violations: readonly Violation[];
}

/** Every level down and up again, then the longest way at once (PO-21). */
export const FULL_COURSE: readonly Level[] = [4, 3, 2, 1, 2, 3, 4, 5, 1, 5];

export interface DrillOptions {
  readonly course?: readonly Level[];
  /** How long each level is held under traffic, milliseconds, at least 200. */
  readonly dwellMs?: number;
  /** Told in words what happens. */
  readonly progress?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** CLOCK_MONOTONIC now: Node's high-resolution clock is the same one. */
export const nowNs = (): bigint => process.hrtime.bigint();

/**
 * The way in that may ask for this: level 1 is left by the console alone, and so is every level that a restart holds for
 * the console because it does not know who tightened to it (PO-4).
 */
export function wayInFor(from: Level, to: Level): SocketDirectory {
  return to > from ? 'console' : 'local/site_owner';
}

/**
 * Asks for a level.
 *
 * @param options.waitMs for so long asks again while another transition is under way; not at all by default.
 * @throws KedgeError `DRILL_REFUSED` when it is refused, or would have to wait longer
 */
export async function askFor(
  lab: Lab,
  from: Level,
  to: Level,
  reason: string,
  { waitMs = 0, signal }: { readonly waitMs?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<bigint> {
  const ask = (): Promise<SetReply> =>
    lab
      .posture(wayInFor(from, to))
      .set(
        { level: to, reason, principal: 'service:drill', idempotencyKey: randomUUID() },
        { deadlineMs: SET_DEADLINE_MS },
      );
  const end = performance.now() + waitMs;
  let reply = await ask();
  while (reply.outcome === 'waiting' && performance.now() < end) {
    await sleep(50, signal);
    reply = await ask();
  }
  switch (reply.outcome) {
    case 'decision':
      return reply.decision.epoch;
    case 'refusal':
      throw new KedgeError({
        code: 'DRILL_REFUSED',
        message: `cannot drill ${from} → ${to}: ${reply.refusal.message} [${reply.refusal.code}]`,
      });
    case 'waiting':
      throw new KedgeError({
        code: 'DRILL_REFUSED',
        message: `cannot drill ${from} → ${to}: another transition (epoch ${reply.waiting.behindEpoch}) is under way`,
        help: 'wait until it is finished: kedge transition show',
      });
  }
}

/** Waits until the coordinator says that a transition has ended; undefined when it does not in time. */
async function reportOf(
  lab: Lab,
  epoch: bigint,
  signal?: AbortSignal,
): Promise<TransitionReport | undefined> {
  for (const until = performance.now() + COMPLETE_WITHIN_MS; performance.now() < until;) {
    const reply = await lab.posture('console').transition({ epoch }, { deadlineMs: SET_DEADLINE_MS });
    if (reply.outcome === 'report' && reply.report.outcome !== 'running' && reply.report.completedAtNs > 0n) {
      return reply.report;
    }
    await sleep(20, signal);
  }
  return undefined;
}

const GOOD_ENDS = new Set(['applied', 'unchanged']);
const ms = (ns: bigint): number => Number(ns) / 1e6;

function drillPath(path: PathReport): DrillPath {
  const participants = path.participants.map((participant) => ({
    name: participant.name,
    ms: ms(participant.finishedAtNs - path.startNs),
    outcome: participant.outcome,
    changes: participant.changes,
  }));
  const took = path.endNs - path.startNs;
  return {
    ms: ms(took),
    budgetMs: ms(path.budgetNs),
    ok:
      path.endNs > 0n &&
      took <= path.budgetNs &&
      GOOD_ENDS.has(path.outcome) &&
      participants.length > 0 &&
      participants.every(({ outcome }) => GOOD_ENDS.has(outcome)),
    participants,
  };
}

interface StepResult {
  readonly step: DrillStep;
  readonly witnessed: Witnessed;
  readonly violations: readonly Violation[];
}

/** How the traffic of one level looked between its last acknowledgement and now. */
async function judgeTraffic(
  traffic: Traffic,
  epoch: bigint,
  level: Level,
  afterNs: bigint,
): Promise<{ counts: Record<ClassName, DrillTraffic>; violations: Violation[] }> {
  const untilNs = nowNs() - IN_FLIGHT_NS;
  const violations: Violation[] = [];
  const counts: Partial<Record<ClassName, DrillTraffic>> = {};
  const said = { epoch: String(epoch), level };
  for (const name of CLASS_NAMES) {
    const [sent, received] = await Promise.all([
      traffic.sent(name, afterNs, untilNs),
      traffic.received(name, afterNs, untilNs),
    ]);
    const allowed = EXPECTED[name][level];
    counts[name] = { sent: sent.packets, received: received.packets, allowed, deprioritised: received.le };
    const about = { ...said, class: name };
    if (!sent.complete || !received.complete) {
      violations.push({
        kind: 'evidence',
        ...about,
        message: `the account of ${name} does not reach back to the acknowledgement`,
      });
    }
    const offered = (sent.packets * SECOND_NS) / Number(untilNs - afterNs);
    if (allowed === 'drop' && offered < LEAST_OFFERED * 0.9) {
      violations.push({
        kind: 'evidence',
        ...about,
        message: `only ${offered.toFixed(0)} packets/s of ${name} were offered, ${LEAST_OFFERED} are needed`,
      });
    }
    if (allowed === 'drop' && received.packets > 0) {
      violations.push({
        kind: 'leak',
        ...about,
        packets: received.packets,
        message: `${received.packets} of ${sent.packets} packets of ${name} arrived that were sent after the last acknowledgement of level ${level}`,
      });
    }
    if (allowed !== 'drop' && (sent.packets === 0 || received.packets < sent.packets * FLOWS)) {
      violations.push({
        kind: 'blocked',
        ...about,
        packets: sent.packets - received.packets,
        message: `only ${received.packets} of ${sent.packets} packets of ${name} arrived at level ${level}`,
      });
    }
    const marked =
      allowed === 'deprioritise' ? received.packets - received.le : received.le + received.otherMarks;
    if (allowed !== 'drop' && marked > 0) {
      violations.push({
        kind: 'marking',
        ...about,
        packets: marked,
        message: `${marked} packets of ${name} arrived ${allowed === 'deprioritise' ? 'without' : 'with'} the low-priority mark at level ${level}`,
      });
    }
  }
  return { counts: counts as Record<ClassName, DrillTraffic>, violations };
}

/** What the drill holds the routes against, from step to step. */
interface RouteBook {
  readonly wanted: Wanted;
  /** Of both modes at level 5, before the first step. */
  readonly normal: Readonly<Record<RouteMode, string>>;
  last: readonly RoutesFound[];
}

async function openRouteBook(lab: Lab): Promise<RouteBook> {
  const wanted = await wantedRoutes(lab);
  return { wanted, normal: await routesFingerprints(lab), last: await allRoutesAt(lab, 5, wanted) };
}

/** What the routes and rules have come to after the last step. */
async function routesReturned(lab: Lab, before: DrillReturn['before']): Promise<DrillReturn> {
  const after = await routesFingerprints(lab);
  return { before, after, identical: ROUTE_MODES.every((mode) => before[mode] === after[mode]) };
}

/** Holds the kernel's routes against the level, and at 5 against what they were, byte for byte. */
async function judgeRoutes(
  lab: Lab,
  book: RouteBook,
  epoch: bigint,
  level: Level,
): Promise<{ routes: Record<RouteMode, DrillRoutes>; violations: Violation[] }> {
  const found = await allRoutesAt(lab, level, book.wanted);
  const violations: Violation[] = [];
  const routes: Partial<Record<RouteMode, DrillRoutes>> = {};
  const wrong = (message: string): void => {
    violations.push({ kind: 'routes', epoch: String(epoch), level, message });
  };
  for (const { mode, own, others, asked, differences } of found) {
    const before = book.last.find((each) => each.mode === mode);
    const known = violations.length;
    for (const difference of differences) wrong(difference);
    if (before !== undefined && before.others.join('\n') !== others.join('\n'))
      wrong(`routes of others were touched in the ${mode} on the way to level ${level}`);
    if (level === 5 && (await routesFingerprint(lab, mode)) !== book.normal[mode])
      wrong(`the ${mode} is back at level 5, and its routes and rules are not byte for byte what they were`);
    routes[mode] = {
      there: own.length,
      withdrawn: before?.own.filter((line) => !own.includes(line)) ?? [],
      restored: own.filter((line) => before?.own.includes(line) !== true),
      asked,
      ok: violations.length === known,
    };
  }
  book.last = found;
  return { routes: routes as Record<RouteMode, DrillRoutes>, violations };
}

/** Asks the gate as every tier, by the socket of each, for both kinds of change. */
async function judgeGate(
  lab: Lab,
  epoch: bigint,
  level: Level,
): Promise<{ gate: DrillGate; answers: GateAnswer[]; violations: Violation[] }> {
  const answers: GateAnswer[] = [];
  const granted = { ordinary: [] as RouteTier[], emergency: [] as RouteTier[] };
  for (const tier of TIERS) {
    for (const kind of ['ordinary', 'emergency'] as const) {
      const answer = await lab.underlay(`local/${tier}`).ask({ kind }, { deadlineMs: SET_DEADLINE_MS });
      const allow = answer.outcome === 'granted';
      answers.push({ tier, allow });
      if (allow) granted[kind].push(tier);
    }
  }
  const { gate: mode } = await lab.underlay().status({}, { deadlineMs: SET_DEADLINE_MS });
  const violations = (['ordinary', 'emergency'] as const).flatMap((kind): Violation[] => {
    const [is, should] = [granted[kind].join(', '), GATE_EXPECTED[level][kind].join(', ')];
    if (is === should) return [];
    const message = `at level ${level} the gate lets ${kind} changes of ${is || 'nobody'} through, it should be ${should || 'nobody'}`;
    return [{ kind: 'gate', epoch: String(epoch), level, message }];
  });
  return { gate: { mode, ...granted, ok: violations.length === 0 }, answers, violations };
}

async function drillStep(
  lab: Lab,
  trace: BoardTrace,
  book: RouteBook,
  from: Level,
  to: Level,
  options: DrillOptions,
): Promise<StepResult> {
  const { dwellMs = 500, signal } = options;
  const traffic = lab.traffic();
  const violations: Violation[] = [];
  const epoch = await askFor(lab, from, to, `drill ${from} → ${to}`);
  const report = await reportOf(lab, epoch, signal);
  const said = { epoch: String(epoch), level: to };
  const reached = await trace.until(
    (state) => state.word.epoch >= epoch && acknowledgedBy(state, epoch, to),
    1_000,
  );
  if (report === undefined || reached === undefined) {
    violations.push({
      kind: 'incomplete',
      ...said,
      message: `the transition ${from} → ${to} did not complete${reached === undefined ? ': not every packet worker acknowledged it' : ''}`,
    });
  }
  const acknowledged = lastAcknowledgement(trace.states, epoch, to) ?? nowNs();
  const [, routes, gate] = await Promise.all([
    sleep(Math.max(200, dwellMs), signal),
    judgeRoutes(lab, book, epoch, to),
    judgeGate(lab, epoch, to),
  ]);
  const judged = await judgeTraffic(traffic, epoch, to, acknowledged);
  const paths = Object.fromEntries((report?.paths ?? []).map((path) => [path.path, drillPath(path)]));
  for (const [name, path] of Object.entries(paths)) {
    if (path.ok) continue;
    violations.push({
      kind: 'budget',
      ...said,
      message: `path ${name} took ${path.ms.toFixed(3)} ms of ${path.budgetMs} ms (${path.participants.map(({ name: who, outcome }) => `${who} ${outcome}`).join(', ') || 'nobody took part'})`,
    });
  }
  for (const path of report === undefined ? [] : PATHS) {
    if (paths[path] === undefined)
      violations.push({ kind: 'budget', ...said, message: `the report does not name the path ${path}` });
  }
  violations.push(...judged.violations, ...routes.violations, ...gate.violations);
  return {
    step: {
      epoch: String(epoch),
      from,
      to,
      ok: violations.length === 0,
      paths,
      traffic: judged.counts,
      routes: routes.routes,
      gate: gate.gate,
    },
    witnessed: { epoch: String(epoch), from, to, gate: gate.answers },
    violations,
  };
}

/** Whatever got through while its class was closed, over the whole of a trace. */
export async function leakViolations(
  traffic: Traffic,
  states: readonly BoardState[],
  graceNs: bigint,
  untilNs: bigint,
): Promise<readonly Violation[]> {
  const found = await leaks(traffic, closedSpans(allowances(states, graceNs), untilNs));
  return found.map(({ span, packets, first, last }) => {
    const about = { epoch: String(span.epoch), level: span.level, class: span.class };
    if (packets === 0) {
      return {
        kind: 'evidence' as const,
        ...about,
        message: `the account of ${span.class} does not reach back to its closing`,
      };
    }
    const when =
      first === undefined || last === undefined
        ? ''
        : `; sent ${(Number(first.sentAtNs - span.afterNs) / 1e6).toFixed(3)} to ${(Number(last.sentAtNs - span.afterNs) / 1e6).toFixed(3)} ms after it`;
    return {
      kind: 'leak' as const,
      ...about,
      packets,
      message: `${packets} packets of ${span.class} got through after level ${span.level} bound them (${span.because})${when}`,
    };
  });
}

/** The level in force, by the board. */
export function levelNow(trace: BoardTrace): Level {
  return trace.now.word.level;
}

/** Sets the rates of a drill, and gives back what puts the lab's own rates back. */
export async function underLoad<T>(
  lab: Lab,
  rates: Readonly<Record<ClassName, number>>,
  run: () => Promise<T>,
): Promise<T> {
  const traffic = lab.traffic();
  for (const name of CLASS_NAMES) await traffic.rate(name, rates[name]);
  try {
    return await run();
  } finally {
    for (const name of CLASS_NAMES) await traffic.rate(name, lab.settings.rates[name]).catch(() => undefined);
  }
}

/** Brings the lab to level 5 and waits until every class arrives: only then a drop means something. */
export async function settle(lab: Lab, trace: BoardTrace, signal?: AbortSignal): Promise<void> {
  const from = levelNow(trace);
  if (from !== 5) {
    const epoch = await askFor(lab, from, 5, 'drill: start at level 5');
    await reportOf(lab, epoch, signal);
  }
  const traffic = lab.traffic();
  for (const until = performance.now() + 15_000; ;) {
    const afterNs = nowNs();
    await sleep(200, signal);
    const counts = await Promise.all(CLASS_NAMES.map((name) => traffic.received(name, afterNs, nowNs())));
    const missing = CLASS_NAMES.filter((_name, at) => (counts[at]?.packets ?? 0) === 0);
    if (missing.length === 0) return;
    if (performance.now() > until) {
      throw new KedgeError({
        code: 'DRILL_NO_TRAFFIC',
        message: `cannot start the drill: nothing of ${missing.join(', ')} arrives at level 5`,
        help: 'kedge lab status shows which part is missing',
      });
    }
  }
}

/**
 * Runs the drill on a lab that is up. Ends with the lab at the last level of its course.
 *
 * @throws KedgeError `DRILL_REFUSED`, `DRILL_NO_TRAFFIC`, `LAB_WATCH`, `LAB_TRAFFIC`, and what calls throw
 */
export async function drill(lab: Lab, options: DrillOptions = {}): Promise<DrillReport> {
  const { course = FULL_COURSE, progress = () => undefined, signal } = options;
  const trace = await lab.trace();
  const steps: DrillStep[] = [];
  const violations: Violation[] = [];
  const witnessed: Witnessed[] = [];
  const sinceMs = Date.now();
  const { routes, ledger } = await underLoad(lab, DRILL_RATES, async () => {
    progress('level 5, all classes flowing');
    await settle(lab, trace, signal);
    const book = await openRouteBook(lab);
    let from: Level = 5;
    for (const to of course) {
      const result = await drillStep(lab, trace, book, from, to, options);
      steps.push(result.step);
      witnessed.push(result.witnessed);
      violations.push(...result.violations);
      progress(stepLine(result.step));
      for (const violation of result.violations) progress(`  VIOLATION ${violation.message}`);
      from = to;
    }
    // Every instant of the drill once more, by the exact rule: sent after it was closed, received before it opened.
    const everywhere = await leakViolations(lab.traffic(), trace.states, graceNs(lab), nowNs());
    violations.push(...everywhere.filter((leak) => !violations.some((known) => sameLeak(known, leak))));
    const lost = [...(await lab.traffic().report()).entries()].filter(([, report]) => report.lost > 0);
    for (const [zone, report] of lost) {
      violations.push({
        kind: 'evidence',
        epoch: '0',
        level: from,
        message: `the receiver in ${zone} lost ${report.lost} packets`,
      });
    }
    const held = await judgeLedger(lab, witnessed, sinceMs, signal);
    for (const { level, message } of held.wrong) {
      violations.push({ kind: 'ledger', epoch: '0', level, message });
      progress(`  VIOLATION ${message}`);
    }
    return { routes: await routesReturned(lab, book.normal), ledger: held.ledger };
  });
  return { ok: violations.length === 0, dataplane: DATAPLANE, steps, routes, ledger, violations };
}

/** From a decision until its level binds at the latest: budget and silence, then nothing forwards any more. */
export const graceNs = (lab: Lab): bigint =>
  BigInt(Math.round((lab.settings.budgets.dataplaneMs + lab.settings.budgets.silenceKillMs) * 1e6));

function sameLeak(a: Violation, b: Violation): boolean {
  return a.kind === b.kind && a.epoch === b.epoch && a.class === b.class;
}

function stepLine(step: DrillStep): string {
  const time = PATHS.map((name) => {
    const path = step.paths[name];
    return path === undefined ? `${name} no report` : `${name} ${path.ms.toFixed(3)}/${path.budgetMs} ms`;
  }).join(', ');
  const routes = ROUTE_MODES.map((mode) => {
    const { withdrawn, restored, there } = step.routes[mode];
    return `${mode} routes ${there} (-${withdrawn.length} +${restored.length})`;
  }).join(', ');
  const seen = CLASS_NAMES.map((name) => {
    const { sent, received, allowed } = step.traffic[name];
    const mark = allowed === 'pass' ? '' : allowed === 'drop' ? ' drop' : ' low';
    return `${name} ${received}/${sent}${mark}`;
  }).join(', ');
  return `${step.from} → ${step.to}  ${time}  ${seen}  ${routes}, gate ${step.gate.mode}`;
}

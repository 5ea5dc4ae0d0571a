/**
 * The soak: a lab of its own, struck by the acts of a seed under traffic, and judged from outside all the while.
 * It must not help the lab, except that a convergence ends every fault before it asks.
 */
import {
  allRoutesAt,
  type BoardTrace,
  converge,
  describe,
  DRILL_RATES,
  graceNs,
  KEDGE_PROTOCOLS,
  kernelRoutes,
  type Lab,
  labUp,
  leakViolations,
  nowNs,
  ROUTE_NAMESPACES,
  type RouteMode,
  SHORT_BUDGETS,
  type Stage,
  underLoad,
} from '@kedge/lab';
import type { Level } from '@kedge/units';
import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

import { IpFault } from './ip-fault.js';
import { judgeOrders, type Offence, type Order } from './judge-orders.js';
import { type ActName, actsOf, type PlannedAct } from './plan.js';

const run = promisify(execFile);
const CALL_MS = 3_000;

export interface SoakOptions {
  readonly name: string;
  readonly minutes: number;
  readonly seed: number;
  readonly progress?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface SoakViolation {
  readonly kind: string;
  readonly message: string;
  /** How many acts had been done. */
  readonly act: number;
}

export interface SoakReport {
  readonly ok: boolean;
  readonly seed: number;
  readonly seconds: number;
  readonly acts: Readonly<Partial<Record<ActName, number>>>;
  readonly orders: Readonly<Record<Order['outcome'], number>>;
  readonly transitions: number;
  readonly convergedMs: { readonly p50: number; readonly max: number; readonly count: number };
  readonly violations: readonly SoakViolation[];
}

/**
 * Plays a seed for so many minutes. The lab is gone afterwards.
 *
 * @throws KedgeError as labUp, `LAB_WATCH`
 */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const lab = await labUp({ name: options.name, budgets: SHORT_BUDGETS, foreground: true });
  try {
    const trace = await lab.trace();
    return await underLoad(lab, DRILL_RATES, () => new Soak(lab, trace, options).play());
  } finally {
    if (lab.alive()) wake(lab.pid);
    await lab.down();
  }
}

function signalTo(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    // It went by itself.
    return false;
  }
}
const wake = (pid: number): void => {
  signalTo(pid, 'SIGCONT');
};

class Soak {
  readonly #lab: Lab;
  readonly #trace: BoardTrace;
  readonly #options: SoakOptions;
  readonly #stage: Stage;
  readonly #ip: IpFault;
  readonly #counts: Partial<Record<ActName, number>> = {};
  readonly #orders: Order[] = [];
  readonly #open = new Set<Promise<void>>();
  readonly #stopped = new Map<number, NodeJS.Timeout>();
  readonly #converged: number[] = [];
  readonly #violations: SoakViolation[] = [];
  #ipTimer: NodeJS.Timeout | undefined;
  #done = 0;
  #keys = 0;
  #judged = 0;

  constructor(lab: Lab, trace: BoardTrace, options: SoakOptions) {
    this.#lab = lab;
    this.#trace = trace;
    this.#options = options;
    this.#stage = { lab, trace, signal: options.signal };
    this.#ip = new IpFault(lab);
  }

  async play(): Promise<SoakReport> {
    const { minutes, seed, signal } = this.#options;
    const begun = performance.now();
    for (const act of actsOf(seed)) {
      if (performance.now() - begun > minutes * 60_000 || signal?.aborted === true || !this.#lab.alive())
        break;
      await pause(act.pauseMs);
      await this.#do(act);
      this.#done += 1;
      this.#counts[act.act] = (this.#counts[act.act] ?? 0) + 1;
    }
    if (this.#lab.alive()) await this.#converge(5);
    else this.#violate('lab-ended', 'the lab ended by itself');
    for (const { kind, message } of this.#ordersJudged()) this.#violate(kind, message);
    const sorted = [...this.#converged].sort((a, b) => a - b);
    const count = (outcome: Order['outcome']): number =>
      this.#orders.filter((order) => order.outcome === outcome).length;
    return {
      ok: this.#violations.length === 0,
      seed,
      seconds: Math.round((performance.now() - begun) / 1_000),
      acts: this.#counts,
      orders: {
        decision: count('decision'),
        refusal: count('refusal'),
        waiting: count('waiting'),
        lost: count('lost'),
      },
      transitions: new Set(this.#trace.states.map(({ line }) => line.epoch)).size,
      convergedMs: {
        p50: Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0),
        max: Math.round(sorted.at(-1) ?? 0),
        count: sorted.length,
      },
      violations: this.#violations,
    };
  }

  async #do(act: PlannedAct): Promise<void> {
    switch (act.act) {
      case 'order':
        this.#order(act);
        return;
      case 'kill':
        for (const { pid } of this.#lab.serviceProcesses(act.service)) signalTo(pid, 'SIGKILL');
        return;
      case 'stop':
        for (const { pid } of this.#lab.serviceProcesses(act.service)) this.#stop(pid, act.forMs);
        return;
      case 'stop-warden':
        this.#stop(this.#lab.pid, act.forMs);
        return;
      case 'ip-fails':
        this.#ip.failing(true);
        clearTimeout(this.#ipTimer);
        this.#ipTimer = setTimeout(() => {
          this.#ip.failing(false);
        }, act.forMs);
        return;
      case 'route-removed':
      case 'route-added':
        await this.#route(act.act, act.mode, act.pick);
        return;
      case 'converge':
        await this.#converge(act.level);
        return;
    }
  }

  #order({ way, level }: Extract<PlannedAct, { act: 'order' }>): void {
    const sentNs = nowNs();
    this.#keys += 1;
    const asked = this.#lab.posture(way).set(
      {
        level,
        reason: 'soak',
        principal: 'service:soak',
        idempotencyKey: `soak-${process.pid}-${this.#keys}`,
      },
      { deadlineMs: CALL_MS },
    );
    const order: Promise<void> = asked
      .then(
        (reply): Partial<Order> & Pick<Order, 'outcome'> =>
          reply.outcome === 'decision'
            ? {
                outcome: 'decision',
                epoch: reply.decision.epoch,
                from: reply.decision.from,
                to: reply.decision.to,
              }
            : { outcome: reply.outcome },
        () => ({ outcome: 'lost' as const }),
      )
      .then((answer) => {
        this.#orders.push({ way, level, sentNs, answeredNs: nowNs(), ...answer });
        this.#open.delete(order);
      });
    this.#open.add(order);
  }

  #stop(pid: number, forMs: number): void {
    if (!signalTo(pid, 'SIGSTOP')) return;
    clearTimeout(this.#stopped.get(pid));
    this.#stopped.set(
      pid,
      setTimeout(() => {
        this.#stopped.delete(pid);
        wake(pid);
      }, forMs),
    );
  }

  /** Somebody changes what is Kedge's by hand: takes a route away, or puts one there in Kedge's name. */
  async #route(what: 'route-removed' | 'route-added', mode: RouteMode, pick: number): Promise<void> {
    const namespace = this.#lab.reach(`/run/netns/${ROUTE_NAMESPACES[mode]}`);
    try {
      if (what === 'route-added') {
        await run('nsenter', [
          `--net=${namespace}`,
          ...['ip', 'route', 'add', 'blackhole', `198.51.${Math.floor(pick * 256)}.0/24`],
          ...['metric', '77', 'proto', KEDGE_PROTOCOLS[mode]],
        ]);
        return;
      }
      const { own } = await kernelRoutes(this.#lab, mode);
      const line = own[Math.floor(pick * own.length)];
      if (line === undefined) return;
      const [destination = ''] = line.split(' ');
      await run('nsenter', [
        `--net=${namespace}`,
        ...['ip', destination.includes(':') ? '-6' : '-4', 'route', 'del', destination],
      ]);
    } catch {
      // What was picked went meanwhile, or stands already.
    }
  }

  /** Ends every fault, asks for a level, and waits until all of it is right. */
  async #converge(level: Level): Promise<void> {
    for (const [pid, timer] of this.#stopped) {
      clearTimeout(timer);
      wake(pid);
    }
    this.#stopped.clear();
    clearTimeout(this.#ipTimer);
    this.#ip.failing(false);
    await Promise.all(this.#open);
    const sentNs = nowNs();
    const key = `soak-converge-${process.pid}-${(this.#keys += 1)}`;
    // What is asked until it is so counts as asked for by the console.
    this.#orders.push({ way: 'console', level, sentNs, answeredNs: sentNs, outcome: 'lost' });
    let took: number | undefined;
    try {
      // What the console holds, nobody else may loosen (PO-4).
      took = await converge(this.#stage, level, key, false, () => 'console');
    } catch (error) {
      this.#violate('watch', error instanceof Error ? error.message : String(error));
      return;
    }
    if (took === undefined) {
      this.#violate('not-converged', `not at level ${level}: ${await this.#wrongs(level)}`);
    } else {
      this.#converged.push(took);
    }
    const since = Math.max(0, this.#judged - 1);
    const states = this.#trace.states.slice(since);
    this.#judged = this.#trace.states.length;
    const leaks = await leakViolations(this.#lab.traffic(), states, graceNs(this.#lab), nowNs());
    for (const { kind, message } of leaks) {
      if (kind === 'leak') this.#violate(kind, message);
    }
    this.#options.progress?.(
      `${String(this.#done).padStart(5)} acts, ${this.#orders.length} orders, level ${level} in ${took === undefined ? '(never)' : `${Math.round(took)} ms`}, ${this.#violations.length} violations`,
    );
  }

  /** What is not right, as far as it can be told from outside. */
  async #wrongs(level: Level): Promise<string> {
    const afterNs = nowNs();
    const routes = await allRoutesAt(this.#lab, level).catch((error: unknown) => [
      { differences: [String(error)] },
    ]);
    await pause(200);
    const flowing = await this.#lab.traffic().received('management', afterNs, nowNs());
    return [
      ...routes.flatMap(({ differences }) => differences),
      `${flowing.packets} management packets in ${Number((nowNs() - afterNs) / 1_000_000n)} ms`,
      ...['overlay', 'underlay'].map((name) => `${name}: ${this.#lab.logTail(name, 3)}`),
      await describe(this.#stage),
    ].join('; ');
  }

  #ordersJudged(): readonly Offence[] {
    const sights = this.#trace.states
      .filter(({ word }, at, all) => {
        const before = all[at - 1]?.word;
        return before?.epoch !== word.epoch || before.level !== word.level;
      })
      .map(({ atNs, word }) => ({ atNs, epoch: word.epoch, level: word.level }));
    const orders = [...this.#orders].sort((a, b) => (a.sentNs < b.sentNs ? -1 : 1));
    return judgeOrders(sights, orders);
  }

  #violate(kind: string, message: string): void {
    this.#violations.push({ kind, message, act: this.#done });
    this.#options.progress?.(`FAIL ${kind} after act ${this.#done}: ${message}`);
  }
}

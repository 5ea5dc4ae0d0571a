/**
 * The result of a drill as a page shows it: read from its JSON, bounded, with everything that is absent named.
 * It must take nothing on trust: what is not of the kind it should be counts as absent.
 */

/** More than this is not drawn; the page says how much was left out. */
export const BOUNDS = {
  steps: 64,
  violations: 200,
  participants: 8,
  paths: 6,
  classes: 8,
  levels: 5,
  acts: 300,
  /** Routes that are named of those that a step withdrew or brought back. */
  named: 3,
  /** Characters of a name, and of a message. */
  name: 60,
  text: 300,
} as const;

/** The paths in the order of a transition. */
const PATH_NAMES: Readonly<Record<string, string>> = {
  dataplane: 'data plane',
  overlay: 'overlay',
  underlay: 'underlay',
};

export interface ParticipantView {
  readonly name: string;
  readonly ms: number;
  readonly outcome: string;
  readonly changes: number;
}

export interface PathView {
  readonly ms: number;
  readonly budgetMs: number;
  readonly ok: boolean;
  readonly participants: readonly ParticipantView[];
  /** Participants beyond the bound. */
  readonly more: number;
}

export type Treatment = 'pass' | 'deprioritise' | 'drop';

export interface TrafficView {
  readonly sent: number;
  readonly received: number;
  readonly allowed: Treatment;
  readonly deprioritised: number;
}

/** Routes of one mode after a step. */
export interface RoutesView {
  readonly there: number;
  readonly withdrawn: number;
  readonly restored: number;
  /** The first of them, as the kernel shows them. */
  readonly named: readonly string[];
  readonly ok: boolean;
}

/** Whom the gate of the underlay let through after a step. */
export interface GateView {
  readonly mode: string;
  readonly ordinary: readonly string[];
  readonly emergency: readonly string[];
  readonly ok: boolean;
}

/** Of one level, how many records the drill expected in the ledger and how many are there. */
export interface LedgerView {
  readonly level: number;
  readonly seen: number;
  readonly held: number;
  readonly ok: boolean;
}

export interface StepView {
  readonly epoch: string;
  readonly from: number;
  readonly to: number;
  readonly ok: boolean;
  /** By the path's own name. */
  readonly paths: ReadonlyMap<string, PathView>;
  readonly traffic: ReadonlyMap<string, TrafficView>;
  /** By mode; empty where no routes were looked at. */
  readonly routes: ReadonlyMap<string, RoutesView>;
  readonly gate: GateView | undefined;
}

export interface ViolationView {
  readonly kind: string;
  readonly epoch: string;
  readonly level: number | undefined;
  readonly message: string;
}

/** A drill of every level. */
export interface DrillView {
  readonly ok: boolean;
  readonly dataplane: string;
  readonly steps: readonly StepView[];
  /** Names of all paths, those of the contract first, whether they were drilled or not. */
  readonly paths: readonly { readonly key: string; readonly title: string }[];
  readonly classes: readonly string[];
  /** By level; empty where the ledger was not asked. */
  readonly ledger: readonly LedgerView[];
  readonly violations: readonly ViolationView[];
  readonly left: { readonly steps: number; readonly violations: number };
}

/** A chaos drill. */
export interface ChaosView {
  readonly ok: boolean;
  readonly seconds: number;
  readonly acts: readonly {
    readonly name: string;
    readonly ok: boolean;
    readonly struck: number | undefined;
    readonly convergedMs: number | undefined;
    readonly offered: number | undefined;
  }[];
  readonly violations: readonly ViolationView[];
  readonly left: { readonly acts: number; readonly violations: number };
}

type Json = Readonly<Record<string, unknown>>;

const record = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown, most: number = BOUNDS.name): string => {
  const said = typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';
  return said.length > most ? `${said.slice(0, most)}…` : said;
};
const number = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined;
const count = (value: unknown): number => Math.max(0, Math.trunc(number(value) ?? 0));
const levelOf = (value: unknown): number => Math.min(5, Math.max(1, count(value)));

function pathView(value: unknown): PathView | undefined {
  const path = record(value);
  const budgetMs = number(path['budgetMs']);
  const ms = number(path['ms']);
  if (budgetMs === undefined || ms === undefined) return undefined;
  const participants = list(path['participants']).map(record);
  return {
    ms,
    budgetMs,
    ok: path['ok'] === true,
    participants: participants.slice(0, BOUNDS.participants).map((each) => ({
      name: text(each['name']),
      ms: number(each['ms']) ?? 0,
      outcome: text(each['outcome']),
      changes: count(each['changes']),
    })),
    more: Math.max(0, participants.length - BOUNDS.participants),
  };
}

function trafficView(value: unknown): TrafficView {
  const traffic = record(value);
  const allowed = traffic['allowed'];
  return {
    sent: count(traffic['sent']),
    received: count(traffic['received']),
    allowed: allowed === 'pass' || allowed === 'deprioritise' ? allowed : 'drop',
    deprioritised: count(traffic['deprioritised']),
  };
}

function routesView(value: unknown): RoutesView {
  const routes = record(value);
  const withdrawn = list(routes['withdrawn']);
  const restored = list(routes['restored']);
  return {
    there: count(routes['there']),
    withdrawn: withdrawn.length,
    restored: restored.length,
    named: [...withdrawn.slice(0, BOUNDS.named), ...restored.slice(0, BOUNDS.named)]
      .slice(0, BOUNDS.named)
      .map((each) => text(each)),
    ok: routes['ok'] === true,
  };
}

function gateView(value: unknown): GateView | undefined {
  const gate = record(value);
  if (typeof gate['mode'] !== 'string') return undefined;
  const tiers = (given: unknown): readonly string[] =>
    list(given)
      .slice(0, BOUNDS.classes)
      .map((each) => text(each));
  return {
    mode: text(gate['mode']),
    ordinary: tiers(gate['ordinary']),
    emergency: tiers(gate['emergency']),
    ok: gate['ok'] === true,
  };
}

function ledgerView(value: unknown): LedgerView {
  const { level, seen, held, ok } = record(value);
  return { level: levelOf(level), seen: count(seen), held: count(held), ok: ok === true };
}

function mapped<T>(value: unknown, view: (value: unknown) => T | undefined): ReadonlyMap<string, T> {
  return new Map(
    Object.entries(record(value))
      .slice(0, BOUNDS.classes)
      .flatMap(([name, each]) => {
        const seen = view(each);
        return seen === undefined ? [] : [[text(name), seen] as const];
      }),
  );
}

function violationsOf(report: Json): { shown: readonly ViolationView[]; left: number } {
  const all = list(report['violations']).map(record);
  return {
    shown: all.slice(0, BOUNDS.violations).map((each) => ({
      kind: text(each['kind']),
      epoch: text(each['epoch'] ?? each['act']),
      level: number(each['level']),
      message: text(each['message'], BOUNDS.text),
    })),
    left: Math.max(0, all.length - BOUNDS.violations),
  };
}

/** A drill's result as it is drawn. Never throws. */
export function drillView(json: unknown): DrillView {
  const report = record(json);
  const all = list(report['steps']).map(record);
  const steps = all.slice(0, BOUNDS.steps).map((step): StepView => ({
    epoch: text(step['epoch']),
    from: levelOf(step['from']),
    to: levelOf(step['to']),
    ok: step['ok'] === true,
    paths: mapped(step['paths'], pathView),
    traffic: mapped(step['traffic'], trafficView),
    routes: mapped(step['routes'], routesView),
    gate: gateView(step['gate']),
  }));
  const names = new Set([...Object.keys(PATH_NAMES), ...steps.flatMap(({ paths }) => [...paths.keys()])]);
  const violations = violationsOf(report);
  return {
    ok: report['ok'] === true,
    dataplane: text(report['dataplane']),
    steps,
    paths: [...names].slice(0, BOUNDS.paths).map((key) => ({ key, title: PATH_NAMES[key] ?? key })),
    classes: [...new Set(steps.flatMap(({ traffic }) => [...traffic.keys()]))].slice(0, BOUNDS.classes),
    ledger: list(record(report['ledger'])['levels']).slice(0, BOUNDS.levels).map(ledgerView),
    violations: violations.shown,
    left: { steps: all.length - steps.length, violations: violations.left },
  };
}

/** A chaos drill's result as it is drawn. Never throws. */
export function chaosView(json: unknown): ChaosView {
  const report = record(json);
  const all = list(report['acts']).map(record);
  const acts = all.slice(0, BOUNDS.acts);
  const violations = violationsOf(report);
  return {
    ok: report['ok'] === true,
    seconds: number(report['seconds']) ?? 0,
    acts: acts.map((act) => ({
      name: text(act['name']),
      ok: act['ok'] === true,
      struck: number(act['struck']),
      convergedMs: number(act['convergedMs']),
      offered: number(act['offered']),
    })),
    violations: violations.shown,
    left: { acts: all.length - acts.length, violations: violations.left },
  };
}

/**
 * The way from the routes that were read to those that are desired, as a plan, and the plan as `ip -batch` lines.
 * It must not run anything and never mentions what is not Kedge's.
 */
import { createHash } from 'node:crypto';

import type { Plan, Step } from '@kedge/contracts';
import type { Epoch } from '@kedge/units';

import type { KernelEntry, RouteWorld } from './route-world.js';

/** The step's kind, in the words of iproute2; a change is a delete and an add with nothing between. */
export type StepKind = 'add' | 'remove' | 'change';

const INVERSE: Readonly<Record<StepKind, StepKind>> = { add: 'remove', remove: 'add', change: 'change' };

function isProhibition(entry: KernelEntry): boolean {
  return entry.kind === 'rule' && / prohibit /.test(entry.text);
}

/** True when rules of the world prohibit what the guard table does not know. */
export function isProtected(world: RouteWorld): boolean {
  return world.entries.some(isProhibition);
}

function stepOf(id: string, entry: KernelEntry, before: string | null, after: string | null): Step {
  if (before !== null && after !== null) return newStep(id, entry, before, after);
  const made = before === null ? ADDING : REMOVING;
  const known = made.get(entry);
  if (known?.id === id) return known;
  const step = newStep(id, entry, before, after);
  made.set(entry, step);
  return step;
}

/** Steps by what they add or remove: the same ten thousand go and come with every transition. */
const ADDING = new WeakMap<KernelEntry, Step>();
const REMOVING = new WeakMap<KernelEntry, Step>();

function newStep(id: string, entry: KernelEntry, before: string | null, after: string | null): Step {
  const kind: StepKind = before === null ? 'add' : after === null ? 'remove' : 'change';
  const [place, ...keys] = entry.key.split(' ');
  return {
    id,
    kind,
    path:
      place === 'route'
        ? `/kedge-routes:routes/route[table='${keys[0] ?? ''}'][destination='${keys[1] ?? ''}'][metric='${keys[2] ?? ''}']`
        : `/kedge-routes:routes/rule[family='${keys[0] ?? ''}'][preference='${keys[1] ?? ''}']`,
    before,
    after,
    inverse: { kind: INVERSE[kind], before: after, after: before },
    dependsOn: [],
    safePoint: true,
  };
}

/**
 * Where a step stands. Tightening: the guard table is right before the rules look at it, the rules stand before
 * routes go. Loosening: routes come, the prohibition goes first of the rules, the guard table is emptied last.
 * So at no moment is something allowed prohibited, or something prohibited allowed longer than needed.
 */
function rankOf(entry: KernelEntry, step: Step, protects: boolean): number {
  if (entry.kind === 'rule') {
    // The families apart, because iproute2 takes them in different batches; IPv4 goes with the routes.
    const six = entry.family === 6;
    if (step.kind !== 'remove') return (isProhibition(entry) ? 3 : 2) + (six ? 0 : 2);
    return (isProhibition(entry) ? 8 : 9) + (six ? 2 : 0);
  }
  if (entry.table === 'guard') {
    if (step.kind !== 'remove') return 1;
    return protects ? 0 : 12;
  }
  return step.kind === 'remove' ? 6 : 7;
}

/** One more than the highest that {@link rankOf} gives. */
const RANKS = 13;

/** SHA-256 of what was read, independent of the order in which it was read. */
function baseOf(world: RouteWorld): string {
  const texts = world.entries.map(({ text }) => text).sort();
  return createHash('sha256')
    .update(`${world.mode}\n${texts.join('\n')}`)
    .digest('hex');
}

/** What stands once per key, and what stands there besides. */
function byKey(entries: readonly KernelEntry[], wanted: ReadonlyMap<string, KernelEntry>) {
  const first = new Map<string, KernelEntry>();
  const more: KernelEntry[] = [];
  for (const entry of entries) {
    const other = first.get(entry.key);
    // Of several entries with one key the right one is kept.
    if (other === undefined) first.set(entry.key, entry);
    else if (wanted.get(entry.key)?.text === entry.text) {
      more.push(other);
      first.set(entry.key, entry);
    } else more.push(entry);
  }
  return { first, more };
}

/** What is wanted by its key; a level's world is asked again and again. */
const WANTED = new WeakMap<RouteWorld, ReadonlyMap<string, KernelEntry>>();

function wantedOf(desired: RouteWorld): ReadonlyMap<string, KernelEntry> {
  let wanted = WANTED.get(desired);
  if (wanted === undefined) {
    wanted = new Map(desired.entries.map((entry) => [entry.key, entry]));
    WANTED.set(desired, wanted);
  }
  return wanted;
}

/** Steps of plans after which no route of the mode is left: whoever carries them out may empty all tables at once. */
const EMPTYING = new WeakSet<readonly Step[]>();

function stepsBetween(actual: RouteWorld, desired: RouteWorld): Step[] {
  const wanted = wantedOf(desired);
  const { first: there, more } = byKey(actual.entries, wanted);
  const protects = isProtected(desired);
  const ranks: Step[][] = Array.from({ length: RANKS }, () => []);
  const put = (entry: KernelEntry, step: Step): void => {
    ranks[rankOf(entry, step, protects)]?.push(step);
  };
  for (const [index, entry] of more.entries())
    put(entry, stepOf(`${entry.key} ${String(index + 1)}`, entry, entry.text, null));
  for (const [key, entry] of there) {
    const target = wanted.get(key);
    if (target === undefined) put(entry, stepOf(key, entry, entry.text, null));
    else if (target.text !== entry.text) put(target, stepOf(key, target, entry.text, target.text));
  }
  for (const [key, entry] of wanted) if (!there.has(key)) put(entry, stepOf(key, entry, null, entry.text));
  return ranks.flat();
}

/**
 * The plan that turns `actual` into `desired`. Same input, same plan; empty when there is nothing to do. Every step
 * is a safe point: each leaves the kernel in a state that is right by itself.
 *
 * @param epoch the epoch under which it is made.
 */
export function planOf(actual: RouteWorld, desired: RouteWorld, epoch: Epoch): Plan {
  const steps = stepsBetween(actual, desired);
  if (!desired.entries.some(({ kind }) => kind === 'route')) EMPTYING.add(steps);
  const base = baseOf(actual);
  const target = `routes/${desired.mode}`;
  return { id: `${target}/${String(epoch)}/${base.slice(0, 16)}`, epoch, target, base, steps };
}

/** What is not as it should be, one sentence each; at most `limit`, then a count. Strangers count when it protects. */
export function worldDifferences(actual: RouteWorld, desired: RouteWorld, limit = 20): string[] {
  const strangers = isProtected(desired)
    ? actual.strangers.map((rule) => `a rule of somebody else's is asked first: ${rule}`)
    : [];
  const steps = stepsBetween(actual, desired);
  const differences = [
    ...strangers,
    ...steps.slice(0, limit).map(({ kind, path, before, after }) => {
      if (kind === 'add') return `missing: ${textOf(after)}`;
      return kind === 'remove' ? `too much: ${textOf(before)}` : `other than it should be: ${path}`;
    }),
  ];
  const more = strangers.length + steps.length - limit;
  return more > 0 ? [...differences.slice(0, limit), `and ${String(more)} more`] : differences;
}

function textOf(value: Step['before']): string {
  return typeof value === 'string' ? value : '';
}

/** The object of a step: route or rule, and its family. */
export function objectOf({ id }: Step): { readonly object: 'route' | 'rule'; readonly family: 4 | 6 } {
  if (id.startsWith('rule ')) return id.startsWith('6', 5) ? RULE6 : RULE4;
  return id.includes(':') ? ROUTE6 : ROUTE4;
}

const [ROUTE4, ROUTE6] = [{ object: 'route', family: 4 } as const, { object: 'route', family: 6 } as const];
const [RULE4, RULE6] = [{ object: 'rule', family: 4 } as const, { object: 'rule', family: 6 } as const];

/**
 * The lines of `ip -batch` for steps; IPv6 rules need `ip -6 -batch`. One step gives one line, a change two, so the
 * step of a line is given too.
 */
export function batchLines(steps: readonly Step[]): { readonly line: string; readonly step: Step }[] {
  return steps.flatMap((step) => {
    const { object } = objectOf(step);
    const line = (verb: 'add' | 'del', text: Step['before']): { line: string; step: Step }[] =>
      typeof text === 'string' ? [{ line: `${object} ${verb} ${text}`, step }] : [];
    return [...line('del', step.before), ...line('add', step.after)];
  });
}

/** The steps of one family, and what `ip -FAMILY -force -batch -` reads in order to do them. */
export interface FamilyBatch {
  readonly family: 4 | 6;
  readonly steps: readonly Step[];
  readonly text: string;
}

/**
 * A plan as one batch per family, IPv4's first, empty where a family has no step. Where it leaves no route of the mode, the kernel is asked once for all of them
 * instead of once for each: after the rules that come, before those that go, as the steps themselves stand.
 *
 * @param protocol the mode's number, all of whose routes go then.
 */
export function batchesOf({ steps }: Plan, protocol: number): FamilyBatch[] {
  return ([4, 6] as const).map((family) => {
    const own = steps.filter((step) => objectOf(step).family === family);
    const isRoute = (step: Step): boolean => objectOf(step).object === 'route';
    if (!EMPTYING.has(steps) || !own.some(isRoute))
      return { family, steps: own, text: own.map(linesOf).join('') };
    const rules = own.filter((step) => !isRoute(step));
    const text = [
      ...rules.filter(({ after }) => after !== null).map(linesOf),
      `route flush table all proto ${String(protocol)}\n`,
      ...rules.filter(({ after }) => after === null).map(linesOf),
    ].join('');
    return { family, steps: own, text };
  });
}

function linesOf(step: Step): string {
  const { object } = objectOf(step);
  const { before, after } = step;
  const del = typeof before === 'string' ? `${object} del ${before}\n` : '';
  return typeof after === 'string' ? `${del}${object} add ${after}\n` : del;
}

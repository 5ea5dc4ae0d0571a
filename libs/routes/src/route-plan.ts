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

/**
 * The plan that turns `actual` into `desired`. Same input, same plan; empty when there is nothing to do. Every step
 * is a safe point: each leaves the kernel in a state that is right by itself.
 *
 * @param epoch the epoch under which it is made.
 */
export function planOf(actual: RouteWorld, desired: RouteWorld, epoch: Epoch): Plan {
  const wanted = new Map(desired.entries.map((entry) => [entry.key, entry]));
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
  const base = baseOf(actual);
  const target = `routes/${desired.mode}`;
  return {
    id: `${target}/${String(epoch)}/${base.slice(0, 16)}`,
    epoch,
    target,
    base,
    steps: ranks.flat(),
  };
}

/** What is not as it should be, one sentence each; at most `limit`, then a count. Strangers count when it protects. */
export function worldDifferences(actual: RouteWorld, desired: RouteWorld, limit = 20): string[] {
  const { steps } = planOf(actual, desired, 0n as Epoch);
  const differences = [
    ...(isProtected(desired)
      ? actual.strangers.map((rule) => `a rule of somebody else's is asked first: ${rule}`)
      : []),
    ...steps.map(({ kind, path, before, after }) => {
      if (kind === 'add') return `missing: ${textOf(after)}`;
      return kind === 'remove' ? `too much: ${textOf(before)}` : `other than it should be: ${path}`;
    }),
  ];
  const more = differences.length - limit;
  return more > 0 ? [...differences.slice(0, limit), `and ${String(more)} more`] : differences;
}

function textOf(value: Step['before']): string {
  return typeof value === 'string' ? value : '';
}

/** The object of a step: route or rule, and its family. */
export function objectOf(step: Step): { readonly object: 'route' | 'rule'; readonly family: 4 | 6 } {
  const [object, detail = ''] = step.id.split(' ');
  if (object === 'rule') return { object, family: detail === '6' ? 6 : 4 };
  return { object: 'route', family: (step.id.split(' ')[2] ?? '').includes(':') ? 6 : 4 };
}

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

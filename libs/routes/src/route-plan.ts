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

function grouped(entries: readonly KernelEntry[]): Map<string, KernelEntry[]> {
  const groups = new Map<string, KernelEntry[]>();
  for (const entry of entries) {
    const group = groups.get(entry.key);
    if (group === undefined) groups.set(entry.key, [entry]);
    else group.push(entry);
  }
  return groups;
}

function isProhibition(entry: KernelEntry): boolean {
  return entry.kind === 'rule' && / prohibit /.test(entry.text);
}

function stepOf(
  id: string,
  entry: KernelEntry,
  before: string | null,
  after: string | null,
): { readonly entry: KernelEntry; readonly step: Step } {
  const kind: StepKind = before === null ? 'add' : after === null ? 'remove' : 'change';
  const [place, ...keys] = entry.key.split(' ');
  return {
    entry,
    step: {
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
    },
  };
}

/**
 * Where a step stands. Tightening: the guard table is right before the rules look at it, the rules stand before
 * routes go. Loosening: routes come, the prohibition goes first of the rules, the guard table is emptied last.
 * So at no moment is something allowed prohibited, or something prohibited allowed longer than needed.
 */
function rankOf({ entry, step }: { entry: KernelEntry; step: Step }, protects: boolean): number {
  if (entry.kind === 'rule') {
    if (step.kind !== 'remove') return isProhibition(entry) ? 3 : 2;
    if (isProhibition(entry)) return 6;
    return 7;
  }
  if (entry.table === 'guard') {
    if (step.kind !== 'remove') return 1;
    return protects ? 0 : 8;
  }
  return step.kind === 'remove' ? 4 : 5;
}

/** SHA-256 of what was read, independent of the order in which it was read. */
function baseOf(world: RouteWorld): string {
  const hash = createHash('sha256').update(world.mode);
  for (const text of world.entries.map(({ text }) => text).toSorted()) hash.update('\n').update(text);
  return hash.digest('hex');
}

/**
 * The plan that turns `actual` into `desired`. Same input, same plan; empty when there is nothing to do. Every step
 * is a safe point: each leaves the kernel in a state that is right by itself.
 *
 * @param epoch the epoch under which it is made.
 */
export function planOf(actual: RouteWorld, desired: RouteWorld, epoch: Epoch): Plan {
  const there = grouped(actual.entries);
  const wanted = grouped(desired.entries);
  const protects = desired.entries.some(isProhibition);
  const steps: { entry: KernelEntry; step: Step }[] = [];
  for (const [key, entries] of there) {
    const target = wanted.get(key)?.[0];
    const right = target === undefined ? -1 : entries.findIndex(({ text }) => text === target.text);
    for (const [place, entry] of entries.entries()) {
      if (place === right) continue;
      const id = place === 0 ? key : `${key} ${String(place)}`;
      const replaced = right < 0 && place === entries.length - 1 ? target : undefined;
      steps.push(stepOf(id, replaced ?? entry, entry.text, replaced?.text ?? null));
    }
  }
  for (const [key, [entry]] of wanted)
    if (entry !== undefined && !there.has(key)) steps.push(stepOf(key, entry, null, entry.text));
  const ranked = steps.map((each, place) => ({ ...each, place, rank: rankOf(each, protects) }));
  ranked.sort((a, b) => a.rank - b.rank || a.place - b.place);
  const base = baseOf(actual);
  const target = `routes/${desired.mode}`;
  return {
    id: `${target}/${String(epoch)}/${base.slice(0, 16)}`,
    epoch,
    target,
    base,
    steps: ranked.map(({ step }) => step),
  };
}

/** What is not as it should be, one sentence each; at most `limit`, then a count. Strangers count when it protects. */
export function worldDifferences(actual: RouteWorld, desired: RouteWorld, limit = 20): string[] {
  const { steps } = planOf(actual, desired, 0n as Epoch);
  const differences = [
    ...(desired.entries.some(isProhibition)
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

/**
 * Plans and differences as text that a network engineer reads: one line for each.
 * It must not leave anything out of a plan but what steps depend on.
 */
import type { Plan, PlanValue } from '@kedge/contracts';
import { canonicalText } from '@kedge/reconcile';

import type { Difference } from './difference.js';

const SIGN: Readonly<Record<string, string>> = { add: '+', remove: '-', set: '~' };

/**
 * A plan, a line for each step: "." where work may stop after it, "|" where it may not; "+", "-" or "~"; what it is
 * about; the value, of a change both; what asks for it where that is another node.
 */
export function planText({ target, epoch, base, steps }: Plan): string {
  const lines = steps.map(({ id, kind, before, after, path, safePoint, origin, atomicGroup }) => {
    const name = id.slice(id.indexOf('/') + 1);
    const why = origin === undefined || origin === path ? '' : `  for ${origin}`;
    const group = atomicGroup === undefined ? '' : `  with ${atomicGroup}`;
    return `${safePoint ? '.' : '|'} ${SIGN[kind] ?? '?'} ${name} ${valuesText(before, after)}${group}${why}`;
  });
  const count = steps.length === 1 ? '1 step' : `${String(steps.length)} steps`;
  return [`${target}: ${count}, epoch ${String(epoch)}, over ${base.slice(0, 16)}`, ...lines, ''].join('\n');
}

/** Differences, a line for each: "+" is intended and missing, "-" is there and not intended. */
export function differencesText(differences: readonly Difference[]): string {
  return differences
    .map(({ path, intended, actual }) => {
      const sign = actual === null ? '+' : intended === null ? '-' : '~';
      return `${sign} ${path} ${valuesText(actual, intended)}\n`;
    })
    .join('');
}

function valuesText(before: PlanValue, after: PlanValue): string {
  if (before === null) return canonicalText(after);
  return after === null ? canonicalText(before) : `${canonicalText(before)} -> ${canonicalText(after)}`;
}

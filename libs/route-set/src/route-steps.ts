/**
 * A change of routes as steps of a mutation: what was wanted before, and what is to be wanted.
 * It must not change anything.
 */
import type { PlanValue } from '@kedge/contracts';
import { canonicalJson, type RecordedStep } from '@kedge/ledger';
import { routeKey, type RouteSpec } from '@kedge/routes';
import { hash } from 'node:crypto';

import { type RouteChange, routeMessageOf } from './route-change.js';

/** The steps of a change over a set; what is as it is to be already takes none. None is done yet. */
export function changeSteps(
  items: readonly RouteSpec[],
  { add, remove }: RouteChange,
): readonly RecordedStep[] {
  const there = new Map(items.map((route) => [routeKey(route), route]));
  const step = (key: string, before: PlanValue, after: PlanValue): RecordedStep => {
    const kind = before === null ? 'add' : after === null ? 'remove' : 'change';
    const [destination = '', metric = ''] = key.split(' ');
    return {
      step: `${kind} ${key}`.slice(0, 128),
      kind,
      path: `/kedge-routes:routes/desired[destination='${destination}'][metric='${metric}']`,
      before,
      after,
      done: false,
    };
  };
  return [
    ...remove.filter((key) => there.has(key)).map((key) => step(key, valueOf(there.get(key)), null)),
    ...add
      .map((route) => step(routeKey(route), valueOf(there.get(routeKey(route))), valueOf(route)))
      .filter(({ before, after }) => JSON.stringify(before) !== JSON.stringify(after)),
  ];
}

/** SHA-256 of what was found where the steps change something. */
export function baseOf(steps: readonly RecordedStep[]): string {
  return hash('sha256', canonicalJson(steps.map(({ before }) => before)), 'hex');
}

function valueOf(route: RouteSpec | undefined): PlanValue {
  return route === undefined ? null : { ...routeMessageOf(route) };
}

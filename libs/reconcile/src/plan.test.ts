import type { Plan, Step } from '@kedge/contracts';
import type { Epoch } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { checkPlan, inverseOf } from './plan.js';

const step = (id: string, more: Partial<Step> = {}): Step => ({
  id,
  kind: 'add',
  path: `/vlans/vlan[id='${id}']`,
  before: null,
  after: { name: id },
  inverse: { kind: 'remove', before: { name: id }, after: null },
  dependsOn: [],
  safePoint: true,
  ...more,
});
const planOf = (steps: Step[]): Plan => ({
  id: 'plan-1',
  epoch: 7n as Epoch,
  target: 'device/sw1',
  base: 'ab'.repeat(32),
  steps,
});

/** What applying steps to a world of places and values leaves. */
function applied(world: Readonly<Record<string, unknown>>, steps: readonly Step[]): Record<string, unknown> {
  const next = { ...world };
  for (const { path, before, after } of steps) {
    expect(next[path] ?? null).toEqual(before);
    if (after === null) Reflect.deleteProperty(next, path);
    else next[path] = after;
  }
  return next;
}

const plans = fc
  .array(
    fc.record({ place: fc.nat(5), value: fc.nat(9), safePoint: fc.boolean(), parents: fc.array(fc.nat(20)) }),
    {
      maxLength: 12,
    },
  )
  .map((rows) => {
    const world: Record<string, number> = {};
    return planOf(
      rows.map(({ place, value, safePoint, parents }, index) => {
        const path = `/place[${place}]`;
        const before = world[path] ?? null;
        world[path] = value;
        return step(`s${index}`, {
          path,
          kind: 'set',
          before,
          after: value,
          inverse: { kind: before === null ? 'remove' : 'set', before: value, after: before },
          dependsOn: [...new Set(parents.filter((parent) => parent < index))].map((parent) => `s${parent}`),
          // The end of a plan is a safe point.
          safePoint: safePoint || index === rows.length - 1,
        });
      }),
    );
  });

describe('a plan', () => {
  it('that holds together is accepted, one that does not is refused by its step', () => {
    checkPlan(planOf([]));
    checkPlan(
      planOf([step('a', { atomicGroup: 'g' }), step('b', { dependsOn: ['a'], atomicGroup: 'g' }), step('c')]),
    );
    const wrong: [Step[], string][] = [
      [[step('a'), step('a')], 'steps[1].id'],
      [[step('a', { dependsOn: ['b'] }), step('b')], 'steps[0].dependsOn'],
      [[step('a', { dependsOn: ['a'] })], 'steps[0].dependsOn'],
      [[step('a', { atomicGroup: 'g' }), step('b'), step('c', { atomicGroup: 'g' })], 'steps[2].atomicGroup'],
    ];
    for (const [steps, field] of wrong) {
      expect(() => {
        checkPlan(planOf(steps));
      }).toThrow(expect.objectContaining({ code: 'RECONCILE_PLAN_INVALID', field }));
    }
  });

  it('is undone by its inverse, wherever it was interrupted', () => {
    fc.assert(
      fc.property(plans, fc.nat(12), (plan, length) => {
        const done = plan.steps.slice(0, length);
        const undo = inverseOf(plan, new Set(done.map(({ id }) => id)));
        checkPlan(undo);
        expect(applied(applied({}, done), undo.steps)).toEqual({});
      }),
    );
  });

  it('undone twice is itself', () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const twice = inverseOf(inverseOf(plan));
        const sorted = ({ steps, ...rest }: Plan) => ({
          ...rest,
          steps: steps.map((each) => ({ ...each, dependsOn: [...each.dependsOn].sort() })),
        });
        expect(sorted(twice)).toEqual(sorted(plan));
      }),
    );
  });

  it('keeps its safe points: undoing may stop where doing could have stopped', () => {
    const plan = planOf([
      step('a', { safePoint: false }),
      step('b'),
      step('c', { safePoint: false }),
      step('d'),
    ]);
    expect(inverseOf(plan).steps.map(({ id, safePoint }) => `${id} ${String(safePoint)}`)).toEqual([
      'd false',
      'c true',
      'b false',
      'a true',
    ]);
  });
});

/**
 * What can be said about a plan without applying it: whether it holds together, and how it is undone.
 * It must not read or change the world.
 */
import type { Plan, Step } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';

/**
 * Checks that a plan can be applied from front to back: step ids are unique, every dependency stands before its
 * dependant, and the steps of an atomic group stand together.
 *
 * @throws KedgeError `RECONCILE_PLAN_INVALID`, naming the step.
 */
export function checkPlan(plan: Plan): void {
  const done = new Set<string>();
  const left = new Set<string>();
  let group: string | undefined;
  for (const [index, step] of plan.steps.entries()) {
    const field = `steps[${index}]`;
    if (done.has(step.id)) throw invalid(plan, `${field}.id`, `a step id of its own, not ${step.id} again`);
    for (const id of step.dependsOn) {
      if (!done.has(id))
        throw invalid(plan, `${field}.dependsOn`, `steps that stand before ${step.id}, not ${id}`);
    }
    if (step.atomicGroup !== group) {
      if (group !== undefined) left.add(group);
      group = step.atomicGroup;
      if (group !== undefined && left.has(group)) {
        throw invalid(plan, `${field}.atomicGroup`, `the steps of group ${group} one after the other`);
      }
    }
    done.add(step.id);
  }
}

/**
 * The plan that undoes another one, or the part of it that was done: inverse steps in reverse order, dependencies
 * turned round, atomic groups kept. Undone twice it is the plan itself.
 *
 * A place is a safe point where it was one before, except that what was the end is now the start: the last step
 * of an undoing is always one, because the target stands again where it stood.
 *
 * @param done ids of the steps that hold; all of them when left out.
 * @throws KedgeError `RECONCILE_PLAN_INVALID`
 */
export function inverseOf(
  plan: Plan,
  done: ReadonlySet<string> = new Set(plan.steps.map(({ id }) => id)),
): Plan {
  checkPlan(plan);
  const held = plan.steps.filter(({ id }) => done.has(id));
  return {
    ...plan,
    id: plan.id.endsWith(UNDO) ? plan.id.slice(0, -UNDO.length) : `${plan.id}${UNDO}`,
    steps: held.toReversed().map((step, index): Step => {
      // Where one may stop after undoing this step is where one could have stopped before doing it.
      const before = held[held.length - 2 - index];
      return {
        ...step,
        kind: step.inverse.kind,
        before: step.inverse.before,
        after: step.inverse.after,
        inverse: { kind: step.kind, before: step.before, after: step.after },
        dependsOn: held.filter(({ dependsOn }) => dependsOn.includes(step.id)).map(({ id }) => id),
        safePoint: before === undefined || before.safePoint,
      };
    }),
  };
}

const UNDO = '/undo';

function invalid(plan: Plan, field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'RECONCILE_PLAN_INVALID',
    message: `cannot use the plan ${plan.id}: ${field} is wrong`,
    field,
    expected,
  });
}

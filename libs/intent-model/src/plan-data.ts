/**
 * Plans in the form of yang/kedge-plan.yang, and back: what stands in a datastore, goes over a wire or to a person.
 * It must not judge a plan; whether its steps hold together is asked in libs/reconcile.
 */
import type { Inverse, Plan, PlanValue, Step } from '@kedge/contracts';
import { epochOf, KedgeError } from '@kedge/units';

import type {
  Plan as PlanData,
  PlanStep as StepData,
  PlanStepInverse as InverseData,
} from './operations-tree.js';

/** The node that a step's path leads to. */
interface Target {
  /** Its name with its module, as it stands in a value. */
  readonly member: string;
  /** True for one entry of a list or leaf-list: it stands in an array of one. */
  readonly entry: boolean;
}

/**
 * A plan as data of kedge-plan.
 *
 * @throws KedgeError `INTENT_PATH` when the path of a step is no instance identifier in the form of JSON
 */
export function planData(plan: Plan): PlanData {
  return {
    id: plan.id,
    epoch: plan.epoch.toString(),
    target: plan.target,
    base: plan.base,
    ...(plan.steps.length === 0 ? {} : { step: plan.steps.map(stepData) }),
  };
}

/**
 * The plan that data of kedge-plan mean. The data have been validated by the module before.
 *
 * @throws KedgeError `INTENT_PATH` as above, `INTENT_VALUE` when a value holds anything else than the node of its
 *   step, `UNITS_EPOCH`
 */
export function planFrom(data: PlanData): Plan {
  return {
    id: data.id,
    epoch: epochOf(data.epoch),
    target: data.target,
    base: data.base,
    steps: (data.step ?? []).map(stepFrom),
  };
}

function stepData(step: Step): StepData {
  const target = targetOf(step.path);
  return {
    id: step.id,
    path: step.path,
    ...changeData(step, target),
    inverse: changeData(step.inverse, target),
    ...(step.atomicGroup === undefined ? {} : { 'atomic-group': step.atomicGroup }),
    ...(step.dependsOn.length === 0 ? {} : { 'depends-on': step.dependsOn }),
    'safe-point': step.safePoint,
  };
}

function stepFrom(data: StepData): Step {
  const target = targetOf(data.path);
  const group = data['atomic-group'];
  return {
    id: data.id,
    path: data.path,
    ...changeFrom(data, target, data.id),
    inverse: changeFrom(data.inverse, target, data.id),
    ...(group === undefined ? {} : { atomicGroup: group }),
    dependsOn: data['depends-on'] ?? [],
    safePoint: data['safe-point'],
  };
}

function changeData({ kind, before, after }: Inverse, target: Target): InverseData {
  const value = (given: PlanValue): Readonly<Record<string, unknown>> => ({
    [target.member]: target.entry ? [given] : given,
  });
  return {
    kind,
    ...(before === null ? {} : { before: value(before) }),
    ...(after === null ? {} : { after: value(after) }),
  };
}

function changeFrom({ kind, before, after }: InverseData, target: Target, id: string): Inverse {
  const value = (given: Readonly<Record<string, unknown>> | undefined, field: string): PlanValue => {
    if (given === undefined) return null;
    const [[member, content] = [], ...more] = Object.entries(given);
    const entries = target.entry && Array.isArray(content) ? (content as unknown[]) : undefined;
    if (member !== target.member || more.length > 0 || (target.entry && entries?.length !== 1))
      throw new KedgeError({
        code: 'INTENT_VALUE',
        message: `cannot read the step ${id}: its value ${field} is not the node at its path`,
        field,
        expected: target.entry ? `${target.member} with one entry` : target.member,
      });
    return (entries === undefined ? content : entries[0]) as PlanValue;
  };
  return { kind, before: value(before, 'before'), after: value(after, 'after') };
}

/** One step of an instance identifier: a name, and the predicates behind it. */
const NODE =
  /\/(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)((?:\[(?:[1-9]\d*|(?:\.|(?:[A-Za-z_][\w.-]*:)?[A-Za-z_][\w.-]*)\s*=\s*(?:'[^']*'|"[^"]*"))\])*)/y;

/** The node that an instance identifier (RFC 7951 §6.11) leads to: a name without a module is of the one before. */
function targetOf(path: string): Target {
  const steps: RegExpExecArray[] = [];
  NODE.lastIndex = 0;
  do {
    const step = NODE.exec(path);
    if (step === null || (steps.length === 0 && step[1] === undefined))
      throw new KedgeError({
        code: 'INTENT_PATH',
        message: `cannot tell which node ${path} leads to`,
        field: 'path',
        expected: "an instance identifier such as /module:list[key='value']/leaf",
      });
    steps.push(step);
  } while (NODE.lastIndex < path.length);
  const module = steps.findLast((step) => step[1] !== undefined)?.[1] ?? '';
  const [, , name = '', predicates = ''] = steps.at(-1) ?? [];
  return { member: `${module}:${name}`, entry: predicates !== '' };
}

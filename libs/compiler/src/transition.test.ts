/**
 * The planner over a pure simulated device: any state to any other, step by step, with what must hold in between.
 * Must not know how an order comes about.
 */
import { canonicalText, checkPlan, inverseOf } from '@kedge/reconcile';
import type { Plan, PlanValue, Step } from '@kedge/contracts';
import {
  changeOf,
  type DeviceObject,
  type DeviceObjects,
  isWithin,
  type MadeFeatures,
  madeTree,
  objectsAfter,
  objectsOf,
  picksFrom,
  subnetOf,
} from '@kedge/driver-kit';
import type { Epoch } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { stepsBetween, type TransitionRules } from './index.js';

const FEATURES: MadeFeatures = {
  ports: ['port1', 'port2', 'port10'],
  bridges: 2,
  vlans: true,
  routes: true,
  tunnels: ['gre', 'vxlan'],
  filters: true,
  details: true,
};
const RUNS = { numRuns: 150 };

/** Objects of a made-up device. */
const states = fc.integer().map((seed) => objectsOf(madeTree(picksFrom(seed), FEATURES)));

/** The simulated device: holds objects, refuses a step whose `before` it does not hold. */
function applied(state: DeviceObjects, step: Step): DeviceObjects {
  const held = state.get(step.path);
  const expected = step.before === null ? undefined : canonicalText(step.before);
  expect(held === undefined ? undefined : canonicalText(held.value), step.id).toBe(expected);
  return objectsAfter(state, changeOf(step));
}

const plain = (objects: DeviceObjects): [string, PlanValue][] =>
  [...objects.values()]
    .map(({ path, value }): [string, PlanValue] => [path, value as unknown as PlanValue])
    .sort(([a], [b]) => (a < b ? -1 : 1));

const planOf = (steps: readonly Step[]): Plan => ({
  id: 'device/x/1',
  epoch: 1n as Epoch,
  target: 'device/x',
  base: '',
  steps,
});

/** What a state has that cannot be right by itself, one sentence each. */
function faultsOf(state: DeviceObjects): string[] {
  const faults: string[] = [];
  const all = [...state.values()];
  const find = <Kind extends DeviceObject['kind']>(kind: Kind, name: string) =>
    all.find(
      (each): each is Extract<DeviceObject, { kind: Kind }> => each.kind === kind && each.interface === name,
    );
  for (const each of all) {
    const name = each.interface ?? '';
    if (each.interface !== undefined && find('interface', name) === undefined)
      faults.push(`${each.id} without ${name}`);
    if (each.kind === 'bridge-port' && find('interface', each.value.bridge) === undefined)
      faults.push(`${each.id} without its bridge`);
    if (each.kind === 'member') {
      const bridge = find('bridge-port', name)?.value.bridge;
      if (bridge === undefined) faults.push(`${each.id} without a port`);
      else if (
        !all.some(
          (other) =>
            other.kind === 'bridge-vlan' && other.interface === bridge && other.value.id === each.value.id,
        )
      )
        faults.push(`${each.id} of a VLAN that ${bridge} does not know`);
    }
    if (
      each.kind === 'pvid' &&
      !all.some(
        (other) => other.kind === 'member' && other.interface === name && other.value.id === each.value,
      )
    )
      faults.push(`${each.id} without membership`);
    if (each.kind === 'route') {
      const hop = each.value['next-hop']?.['next-hop-address'];
      if (
        hop !== undefined &&
        !all.some(
          (other) =>
            other.kind === 'address' &&
            isWithin(hop, subnetOf(other.value.ip, other.value['prefix-length']) ?? ''),
        )
      )
        faults.push(`${each.id} without an address that reaches ${hop}`);
    }
    if (
      each.kind === 'acl-attachment' &&
      !all.some((other) => other.kind === 'acl' && other.value.name === each.value.acl)
    )
      faults.push(`${each.id} without its list`);
  }
  const ips = all.flatMap((each) => (each.kind === 'address' ? [each.value.ip] : []));
  if (new Set(ips).size !== ips.length) faults.push('one address twice');
  return faults;
}

describe('the way between two states of a device', () => {
  it('UN-3 carries any state into any other, and a second plan is empty', () => {
    fc.assert(
      fc.property(states, states, (before, after) => {
        const steps = stepsBetween(before, after);
        const end = steps.reduce(applied, before);
        expect(plain(end)).toEqual(plain(after));
        expect(stepsBetween(end, after)).toEqual([]);
      }),
      RUNS,
    );
  });

  it('UN-3 keeps at every step what objects need, in both directions', () => {
    let [visited, safe] = [0, 0];
    fc.assert(
      fc.property(states, states, (before, after) => {
        fc.pre(faultsOf(before).length === 0 && faultsOf(after).length === 0);
        const plan = planOf(stepsBetween(before, after));
        checkPlan(plan);
        for (const [way, from] of [
          [plan, before],
          [inverseOf(plan), after],
        ] as const) {
          let state: DeviceObjects = from;
          for (const step of way.steps) {
            state = applied(state, step);
            visited += 1;
            if (step.safePoint) safe += 1;
            expect(faultsOf(state), step.id).toEqual([]);
          }
        }
      }),
      RUNS,
    );
    expect(visited).toBeGreaterThan(1000);
    expect(safe).toBeGreaterThan(visited / 4);
  });

  it('UN-14 has at a safe point everything that was there before and will be there after', () => {
    fc.assert(
      fc.property(states, states, (before, after) => {
        const steps = stepsBetween(before, after);
        let state: DeviceObjects = before;
        for (const step of steps) {
          state = applied(state, step);
          if (!step.safePoint) continue;
          for (const path of before.keys())
            if (after.has(path)) expect(state.has(path), `${path} after ${step.id}`).toBe(true);
        }
        expect(steps.at(-1)?.safePoint ?? true).toBe(true);
      }),
      RUNS,
    );
  });

  it('UN-3 is undone by its inverse, from any place where it stopped', () => {
    fc.assert(
      fc.property(states, states, fc.nat(), (before, after, at) => {
        const plan = planOf(stepsBetween(before, after));
        const held = plan.steps.slice(0, at % (plan.steps.length + 1));
        const there = held.reduce(applied, before);
        const back = inverseOf(plan, new Set(held.map(({ id }) => id)));
        checkPlan(back);
        expect(plain(back.steps.reduce(applied, there))).toEqual(plain(before));
      }),
      RUNS,
    );
  });

  it('UN-3 is the same whatever the order in which objects are given', () => {
    fc.assert(
      fc.property(states, states, (before, after) => {
        const turned = (objects: DeviceObjects): DeviceObjects => new Map([...objects].reverse());
        const steps = stepsBetween(before, after);
        expect(JSON.stringify(stepsBetween(turned(before), turned(after)))).toBe(JSON.stringify(steps));
      }),
      RUNS,
    );
  });

  it('UN-3 holds with a kind of device that loses routes and IPv6 addresses when a link goes down', () => {
    const rules: TransitionRules = {
      upsets: ({ before, after }, was, is) => {
        if (before?.kind !== 'enabled' || !before.value || (after?.kind === 'enabled' && after.value))
          return [];
        return [...was.values(), ...is.values()]
          .filter(
            (each) =>
              (each.kind === 'address' &&
                each.interface === before.interface &&
                each.value.ip.includes(':')) ||
              (each.kind === 'route' && each.value['next-hop']?.['outgoing-interface'] === before.interface),
          )
          .map(({ path }) => path);
      },
    };
    let downs = 0;
    fc.assert(
      fc.property(states, states, (before, after) => {
        let state: DeviceObjects = before;
        for (const step of stepsBetween(before, after, rules)) {
          const change = changeOf(step);
          const lost = new Set(rules.upsets?.(change, before, after) ?? []);
          downs += lost.size;
          for (const path of lost) expect(state.has(path), `${step.id} takes ${path} away`).toBe(false);
          state = applied(state, step);
        }
        expect(plain(state)).toEqual(plain(after));
      }),
      RUNS,
    );
    expect(downs).toBeGreaterThan(50);
  });

  it('UN-10 keeps together what is written together, or says that it cannot', () => {
    const rules: TransitionRules = {
      atomicWith: ({ kind, interface: name }) =>
        kind === 'member' || kind === 'pvid' ? `membership of ${name ?? ''}` : undefined,
    };
    let groups = 0;
    fc.assert(
      fc.property(states, states, (before, after) => {
        const steps = stepsBetween(before, after, rules);
        checkPlan(planOf(steps));
        expect(plain(steps.reduce(applied, before))).toEqual(plain(after));
        for (const [place, { atomicGroup, safePoint }] of steps.entries())
          if (atomicGroup !== undefined && steps[place + 1]?.atomicGroup === atomicGroup) {
            groups += 1;
            expect(safePoint).toBe(false);
          }
      }),
      RUNS,
    );
    expect(groups).toBeGreaterThan(50);
  });
});

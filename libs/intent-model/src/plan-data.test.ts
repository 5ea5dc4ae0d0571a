/**
 * Holds plans as data against plans as they are: nothing is lost on the way, and what is not the node of a step is
 * refused. Must not apply a plan.
 */
import type { Plan, PlanValue, Step } from '@kedge/contracts';
import { type Epoch, EPOCH_MAX } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { planData, planFrom } from './plan-data.js';

const INTERFACE = '/ietf-interfaces:interfaces/interface';
const PATHS = [
  `${INTERFACE}[name='br0']/kedge-bridging:bridge/vlan[id='20']`,
  `${INTERFACE}[name="o'hara ]["]/kedge-bridging:bridge-port/pvid`,
  `${INTERFACE}[name='port1']/description`,
  "/kedge-zones:zones/zone[name='guest']/port[.='eth1']",
  '/ietf-routing:routing',
];

const value: fc.Arbitrary<PlanValue> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.string(),
  fc.constant([null]),
  fc.dictionary(
    fc.string(),
    fc.integer().filter((one) => !Object.is(one, -0)),
    { noNullPrototype: true },
  ),
);
const change = fc.record({ kind: fc.constantFrom('add', 'remove', 'set'), before: value, after: value });
const step: fc.Arbitrary<Step> = fc
  .record({
    id: fc.stringMatching(/^[!-~]{1,20}$/),
    path: fc.constantFrom(...PATHS),
    change,
    inverse: change,
    group: fc.option(fc.constantFrom('a', 'b'), { nil: undefined }),
    dependsOn: fc.array(fc.stringMatching(/^[!-~]{1,5}$/), { maxLength: 3 }),
    safePoint: fc.boolean(),
  })
  .map(({ change: forth, group, ...rest }) => ({
    ...rest,
    ...forth,
    ...(group === undefined ? {} : { atomicGroup: group }),
  }));
const plan: fc.Arbitrary<Plan> = fc.record({
  id: fc.stringMatching(/^[!-~]{1,20}$/),
  epoch: fc.bigInt({ min: 0n, max: EPOCH_MAX }).map((number) => number as Epoch),
  target: fc.constantFrom('device/switch-1', 'routes/overlay'),
  base: fc.constant('ab'.repeat(32)),
  steps: fc.array(step, { maxLength: 5 }),
});

const one = (path: string, before: PlanValue, after: PlanValue): Plan => ({
  id: 'p',
  epoch: 7n as Epoch,
  target: 'device/switch-1',
  base: '00'.repeat(32),
  steps: [
    {
      id: 's',
      kind: 'set',
      path,
      before,
      after,
      inverse: { kind: 'set', before: after, after: before },
      dependsOn: [],
      safePoint: true,
    },
  ],
});

describe('a plan as data', () => {
  it('UN-2 comes back as it was, through JSON', () => {
    fc.assert(
      fc.property(plan, (given) => {
        const text = JSON.stringify(planData(given));
        expect(planFrom(JSON.parse(text) as ReturnType<typeof planData>)).toEqual(given);
      }),
      { numRuns: 500 },
    );
  });

  it('UN-2 names each value after the node that the path leads to, entries of lists in an array', () => {
    const valueAt = (path: string, after: PlanValue): unknown => planData(one(path, null, after)).step?.[0];
    expect(valueAt(PATHS[0] ?? '', { id: 20 })).toMatchObject({
      after: { 'kedge-bridging:vlan': [{ id: 20 }] },
      inverse: { before: { 'kedge-bridging:vlan': [{ id: 20 }] } },
    });
    expect(valueAt(PATHS[1] ?? '', 20)).toMatchObject({ after: { 'kedge-bridging:pvid': 20 } });
    expect(valueAt(PATHS[2] ?? '', 'desk')).toMatchObject({
      after: { 'ietf-interfaces:description': 'desk' },
    });
    expect(valueAt(PATHS[3] ?? '', 'eth1')).toMatchObject({ after: { 'kedge-zones:port': ['eth1'] } });
    expect(valueAt(PATHS[2] ?? '', 'desk')).not.toHaveProperty('before');
    expect(planData(one(PATHS[2] ?? '', null, null)).epoch).toBe('7');
  });

  it('UN-2 is refused where a path leads to no node, or a value is another one than its node', () => {
    for (const path of [
      '',
      '/',
      'interfaces',
      '/interfaces',
      `${INTERFACE}[name=br0]`,
      `${INTERFACE}/`,
      '//x:y',
    ])
      expect(() => planData(one(path, 1, 2)), path).toThrow(expect.objectContaining({ code: 'INTENT_PATH' }));
    const data = planData(one(PATHS[0] ?? '', null, { id: 20 }));
    const values = [
      { 'kedge-bridging:name': [{ id: 20 }] },
      { vlan: [{ id: 20 }] },
      { 'kedge-bridging:vlan': { id: 20 } },
      { 'kedge-bridging:vlan': [] },
      { 'kedge-bridging:vlan': [{ id: 20 }, { id: 30 }] },
      { 'kedge-bridging:vlan': [{ id: 20 }], 'kedge-bridging:pvid': 20 },
      {},
    ];
    for (const after of values)
      expect(() => planFrom({ ...data, step: data.step?.map((row) => ({ ...row, after })) ?? [] })).toThrow(
        expect.objectContaining({ code: 'INTENT_VALUE', field: 'after' }),
      );
    expect(() => planFrom({ ...data, epoch: '-1' })).toThrow(
      expect.objectContaining({ code: 'UNITS_EPOCH' }),
    );
  });
});

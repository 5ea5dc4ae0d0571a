/**
 * What the intent asks of devices, taken apart and checked: inventory entry, plan, and for whom.
 * It must not believe anything of a plan but its form; whether its steps hold together is asked when it is carried out.
 */
import { type CarryOutRequest, MAX_DEVICE_BYTES, MAX_PLAN_BYTES } from '@kedge/bus';
import { channelSchema, type Mutation, networkMutationSchema, type Plan, tierSchema } from '@kedge/contracts';
import type { InventoryDevice } from '@kedge/driver-kit';
import { planFrom } from '@kedge/intent-model';
import { principalOf } from '@kedge/route-set';
import { KedgeError } from '@kedge/units';
import { z } from 'zod';

import { recordedSteps } from './plan-records.js';

/** A plan that is to be carried out, and for whom. */
export interface AskedWork {
  readonly mutation: Mutation;
  readonly device: InventoryDevice;
  readonly plan: Plan;
}

const text = (most: number) => z.string().min(1).max(most);

/** The parts of an inventory entry that drivers go by; modules have judged the rest. */
const deviceSchema = z.looseObject({
  id: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,40}$/),
  driver: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/),
  capability: z.array(text(64)).max(64).optional(),
  management: z.looseObject({}),
  interface: z.array(z.looseObject({ name: text(64), type: text(128) })).optional(),
});

const valueSchema = z.record(z.string(), z.unknown());
const change = { kind: text(64), before: valueSchema.optional(), after: valueSchema.optional() };

/** An entry of /kedge-plan:plans/plan. */
const planSchema = z.strictObject({
  id: z.string().regex(/^[!-~]{1,128}$/),
  epoch: z.string(),
  target: z.string(),
  base: z.string().regex(/^[0-9a-f]{64}$/),
  step: z
    .array(
      z.strictObject({
        id: text(128),
        path: text(1024),
        ...change,
        inverse: z.strictObject(change),
        'atomic-group': text(128).optional(),
        'depends-on': z.array(text(128)).optional(),
        'safe-point': z.boolean(),
      }),
    )
    .max(65_536)
    .optional(),
});

/**
 * The device of a request.
 *
 * @throws KedgeError `UNDERLAY_REQUEST`
 */
export function deviceIn({ device }: Pick<CarryOutRequest, 'device'>): InventoryDevice {
  return parsed('device', device, MAX_DEVICE_BYTES, deviceSchema) as unknown as InventoryDevice;
}

/**
 * The work of a request.
 *
 * @throws KedgeError `UNDERLAY_REQUEST`, `ROUTE_SET_REQUEST` for the principal, `INTENT_PATH`, `INTENT_VALUE`
 */
export function workIn(request: CarryOutRequest): AskedWork {
  const device = deviceIn(request);
  const plan = planFrom(
    // zod says "or undefined" of what is optional; what JSON brings is there or not.
    parsed('plan', request.plan, MAX_PLAN_BYTES, planSchema) as Parameters<typeof planFrom>[0],
  );
  const target = `device/${device.id}`;
  if (plan.target !== target) throw wrong('plan', `a plan whose target is ${target}`);
  const stepSchema = networkMutationSchema.shape.steps.element;
  for (const step of recordedSteps(plan, new Set()))
    if (!stepSchema.safeParse(step).success)
      throw wrong('plan', `steps that can be recorded, unlike ${step.step}: printable kinds, plain values`);
  if (!/^[A-Za-z0-9._-]{8,64}$/.test(request.id))
    throw wrong('id', '8 to 64 characters of A-Z a-z 0-9 . _ -');
  const tier = tierSchema.safeParse(request.tier).data;
  if (tier === undefined) throw wrong('tier', tierSchema.options.join(', '));
  const channel = channelSchema.safeParse(request.channel).data;
  if (channel === undefined) throw wrong('channel', channelSchema.options.join(', '));
  const { kind } = request;
  if (kind !== 'ordinary' && kind !== 'emergency') throw wrong('kind', 'ordinary or emergency');
  const principal = principalOf(request.principal);
  return {
    mutation: { id: request.id, planId: plan.id, target, principal, tier, channel, kind },
    device,
    plan,
  };
}

function parsed<Schema extends z.ZodType>(
  field: string,
  json: string,
  mostBytes: number,
  schema: Schema,
): z.output<Schema> {
  if (Buffer.byteLength(json) > mostBytes) throw wrong(field, `at most ${String(mostBytes)} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw wrong(field, 'JSON');
  }
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  throw wrong([field, ...(issue?.path ?? [])].join('.'), issue?.message ?? 'what the .proto file says');
}

function wrong(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'UNDERLAY_REQUEST',
    message: `cannot take the request: ${field} is wrong`,
    field,
    expected,
  });
}

/**
 * A request as people write it down, for `kedge authz explain` and for policy tests.
 * It must not decide anything.
 */
import {
  ACTIONS,
  type AuthorisationRequest,
  channelSchema,
  postureResource,
  tierSchema,
} from '@kedge/contracts';
import { EPOCH_NONE, isLevel, type Level, millisOf, nanosOf } from '@kedge/units';
import { z } from 'zod';

const levelSchema = z.custom<Level>(isLevel, 'expected a level, 1 to 5');

/** Who asks for what, when, and by which way in. */
export const askingSchema = z.strictObject({
  tier: tierSchema,
  channel: channelSchema,
  action: z.enum(ACTIONS),
  /** The level in force. */
  level: levelSchema,
  /** `posture.set`: the level asked for. */
  to: levelSchema.optional(),
  /** Other actions: what it is asked of; default "posture". */
  resource: z.string().min(1).max(128).optional(),
  /** Seconds since a second factor was proven; absent = never. The console counts as one that is fresh. */
  secondFactorAge: z.number().min(0).max(86_400).optional(),
  address: z.string().max(45).optional(),
  /** Wall-clock time as in "2026-03-02T08:00:00Z"; absent = the clock is in doubt. */
  time: z.iso.datetime({ offset: true }).optional(),
  breakGlass: z.boolean().optional(),
});

/** See {@link askingSchema}. */
export type Asking = z.output<typeof askingSchema>;

/** The request that it stands for. */
export function requestOf(asking: Asking): AuthorisationRequest {
  const { tier, channel, action, level, to, resource, address, time } = asking;
  const age = asking.secondFactorAge ?? (channel === 'console' ? 0 : undefined);
  return {
    principal: 'user:somebody',
    tier,
    channel,
    action,
    resource: to === undefined ? (resource ?? 'posture') : postureResource(to),
    level,
    epoch: EPOCH_NONE,
    mfaAge: age === undefined ? undefined : millisOf(age * 1_000),
    address,
    at: nanosOf(0n),
    wallMs: time === undefined ? undefined : Date.parse(time),
    breakGlass: asking.breakGlass ?? false,
  };
}

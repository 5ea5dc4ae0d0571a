/**
 * Notifications of the host's governance daemon (kedge.bascule.v1): requests for a level that name an event.
 * It must not give them any right that another local request does not have.
 */
import type { Notification, NotifyReply } from '@kedge/bus';
import type { CallAuthority } from '@kedge/runtime';
import { Controller, Inject } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import { COORDINATOR, type CoordinatorParts } from './posture.controller.js';
import { postureStateOf } from './posture-view.js';

const EVENT_ID = /^[A-Za-z0-9._:-]{1,64}$/;
const REASON_MAX = 400;

@Controller()
export class BasculeController {
  readonly #parts: CoordinatorParts;

  constructor(@Inject(COORDINATOR) parts: CoordinatorParts) {
    this.#parts = parts;
  }

  @GrpcMethod('Bascule', 'Notify')
  async notify(@Payload() told: Notification, @Ctx() call: CallAuthority): Promise<NotifyReply> {
    const { desk, driver, reports, records } = this.#parts;
    const { eventId, reason, ...request } = told;
    const fault = EVENT_ID.test(eventId)
      ? reason.length > REASON_MAX
        ? {
            code: 'POSTURE_REASON',
            field: 'reason',
            message: 'cannot change the posture: the reason is too long',
            expected: `1 to ${REASON_MAX} characters on one line`,
          }
        : undefined
      : {
          code: 'POSTURE_EVENT_ID',
          field: 'event_id',
          message: 'cannot change the posture: the notification names no event',
          expected: '1 to 64 letters, digits and . _ : -',
        };
    const refusal =
      fault === undefined ? undefined : ({ kind: 'refusal', rule: 'well-formed', ...fault } as const);
    if (refusal !== undefined) desk.refuse(request, call, refusal);
    const reply =
      refusal ??
      (await desk.ask(
        // An empty reason stays one: whoever tells of an event says what it was.
        { ...request, reason: reason.trim() === '' ? '' : `${reason} (event ${eventId})` },
        call,
      ));
    return {
      ...desk.replyOf(reply, call.receivedAtNs),
      level: postureStateOf(driver, reports, records).level,
    };
  }
}

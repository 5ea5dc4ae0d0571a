/**
 * The intent's calls about devices: kedge.intent.v1.IntentDevices, on the sockets of the intent.
 * It must hold no logic; `DeviceCalls` answers.
 */
import type {
  IntentDeviceMessage,
  IntentDeviceRequest,
  IntentDriftMessage,
  IntentPlanPart,
  IntentPlanRequest,
  IntentRemedyReply,
  IntentRemedyRequest,
} from '@kedge/bus';
import type { CallAuthority } from '@kedge/runtime';
import { Controller } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import { DeviceCalls } from './device-calls.js';

@Controller()
export class IntentDevicesController {
  readonly #calls: DeviceCalls;

  constructor(calls: DeviceCalls) {
    this.#calls = calls;
  }

  @GrpcMethod('IntentDevices', 'ListDevices')
  listDevices(
    @Payload() request: IntentDeviceRequest,
    @Ctx() call: CallAuthority,
  ): AsyncIterable<IntentDeviceMessage> {
    return this.#calls.list(request, call);
  }

  @GrpcMethod('IntentDevices', 'ListDrifts')
  listDrifts(
    @Payload() request: IntentDeviceRequest,
    @Ctx() call: CallAuthority,
  ): AsyncIterable<IntentDriftMessage> {
    return this.#calls.drifts(request, call);
  }

  @GrpcMethod('IntentDevices', 'Plan')
  plan(@Payload() request: IntentPlanRequest, @Ctx() call: CallAuthority): AsyncIterable<IntentPlanPart> {
    return this.#calls.plan(request, call);
  }

  @GrpcMethod('IntentDevices', 'Remedy')
  remedy(@Payload() request: IntentRemedyRequest, @Ctx() call: CallAuthority): Promise<IntentRemedyReply> {
    return this.#calls.remedy(request, call);
  }

  @GrpcMethod('IntentDevices', 'Check')
  check(
    @Payload() request: IntentDeviceRequest,
    @Ctx() call: CallAuthority,
  ): AsyncIterable<IntentDeviceMessage> {
    return this.#calls.check(request, call);
  }
}

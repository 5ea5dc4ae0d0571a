/**
 * The calls about devices: kedge.underlay.v1.Devices, on the socket of the intent.
 * It must hold no logic; `Devices` answers.
 */
import type { CarryOutReply, CarryOutRequest, DeviceReadingPart, DeviceReadRequest } from '@kedge/bus';
import type { CallAuthority } from '@kedge/runtime';
import { Controller } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import { Devices } from './devices.js';

@Controller()
export class DevicesController {
  readonly #devices: Devices;

  constructor(devices: Devices) {
    this.#devices = devices;
  }

  @GrpcMethod('Devices', 'Read')
  read(@Payload() request: DeviceReadRequest, @Ctx() call: CallAuthority): AsyncIterable<DeviceReadingPart> {
    return this.#devices.read(request, call);
  }

  @GrpcMethod('Devices', 'CarryOut')
  carryOut(@Payload() request: CarryOutRequest, @Ctx() call: CallAuthority): AsyncIterable<CarryOutReply> {
    return this.#devices.carryOut(request, call);
  }
}

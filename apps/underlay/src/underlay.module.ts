/**
 * The one module of the underlay.
 * It must hold nothing but the wiring of its controllers.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { Devices } from './devices.js';
import { DevicesController } from './devices.controller.js';
import { Underlay } from './underlay.js';
import { UnderlayController } from './underlay.controller.js';

@Module({})
export class UnderlayModule {
  static around(underlay: Underlay, devices: Devices): DynamicModule {
    return {
      module: UnderlayModule,
      controllers: [UnderlayController, DevicesController],
      providers: [
        { provide: Underlay, useValue: underlay },
        { provide: Devices, useValue: devices },
      ],
    };
  }
}

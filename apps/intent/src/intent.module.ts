/**
 * The one module of the intent.
 * It must hold nothing but the wiring of its controllers.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { DeviceCalls } from './device-calls.js';
import type { DeviceViews } from './device-views.js';
import { IntentDevicesController } from './intent-devices.controller.js';
import { Intent } from './intent.js';
import { IntentController } from './intent.controller.js';

@Module({})
export class IntentModule {
  /** @param devices undefined = the intent looks after none. */
  static around(intent: Intent, devices?: DeviceViews): DynamicModule {
    return {
      module: IntentModule,
      controllers: [IntentController, IntentDevicesController],
      providers: [
        { provide: Intent, useValue: intent },
        { provide: DeviceCalls, useValue: new DeviceCalls(intent.authority, devices) },
      ],
    };
  }
}

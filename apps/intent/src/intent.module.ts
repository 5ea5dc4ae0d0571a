/**
 * The one module of the intent.
 * It must hold nothing but the wiring of its controller.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { Intent } from './intent.js';
import { IntentController } from './intent.controller.js';

@Module({})
export class IntentModule {
  static around(intent: Intent): DynamicModule {
    return {
      module: IntentModule,
      controllers: [IntentController],
      providers: [{ provide: Intent, useValue: intent }],
    };
  }
}

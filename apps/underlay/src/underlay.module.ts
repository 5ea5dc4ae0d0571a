/**
 * The one module of the underlay.
 * It must hold nothing but the wiring of its controller.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { Underlay } from './underlay.js';
import { UnderlayController } from './underlay.controller.js';

@Module({})
export class UnderlayModule {
  static around(underlay: Underlay): DynamicModule {
    return {
      module: UnderlayModule,
      controllers: [UnderlayController],
      providers: [{ provide: Underlay, useValue: underlay }],
    };
  }
}

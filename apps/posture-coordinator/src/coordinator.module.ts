/**
 * The one module of the coordinator.
 * It must hold wiring only.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { BasculeController } from './bascule.controller.js';
import { COORDINATOR, type CoordinatorParts, PostureController } from './posture.controller.js';

@Module({})
export class CoordinatorModule {
  static of(parts: CoordinatorParts): DynamicModule {
    return {
      module: CoordinatorModule,
      controllers: [PostureController, BasculeController],
      providers: [{ provide: COORDINATOR, useValue: parts }],
    };
  }
}

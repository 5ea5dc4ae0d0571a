/**
 * The one module of the overlay.
 * It must hold nothing but the wiring of its controller.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { Overlay } from './overlay.js';
import { OverlayController } from './overlay.controller.js';

@Module({})
export class OverlayModule {
  static around(overlay: Overlay): DynamicModule {
    return {
      module: OverlayModule,
      controllers: [OverlayController],
      providers: [{ provide: Overlay, useValue: overlay }],
    };
  }
}

/**
 * The one module of the bridge.
 * It must hold nothing but the wiring of its controller.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { Governance } from './governance.js';
import { GovernanceController } from './governance.controller.js';

@Module({})
export class BridgeModule {
  static around(governance: Governance): DynamicModule {
    return {
      module: BridgeModule,
      controllers: [GovernanceController],
      providers: [{ provide: Governance, useValue: governance }],
    };
  }
}
